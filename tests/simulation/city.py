"""The city that every seed plays in: its charter, its two rooms, its people's keys.

Made once a process: keys and signed records are the same in every seed, so that verifying them costs
once (`remember_signatures`).
"""

from __future__ import annotations

from functools import cache
from random import Random

import nacl.bindings
import nacl.exceptions

from shared import codec
from shared.client.core import Keyring
from shared.contracts import (
    Charter,
    Institution,
    Kind,
    Policy,
    RecordKind,
    Setting,
    Signed,
    Tier,
)
from shared.identifiers import WallMs, slot_of
from shared.identity import Signer, signing

BEGAN_MS = 1_790_000_000_000
"""The wall clock of the world when a seed begins; instances and people may differ by their skew."""
CITIZENS = ("ada", "ben", "cleo", "dara", "eli", "fay")
"""They speak, and see each other."""
VIEWERS = ("vic", "wim", "xen", "yara", "zoe")
"""Members who only look."""
PASSERS_BY = ("anon-1", "anon-2", "anon-3")
"""Anonymous viewers of the public stage."""


@cache
def charter() -> tuple[Charter, Signed]:
    institution = Signer(codec.sha256(b"institution"))
    content = Charter(
        name="simulated",
        created_ms=BEGAN_MS - 86_400_000,
        tier_max=Tier.FULL,
        quorum=1,
        institutions=(Institution("the institution", institution.public_key),),
    )
    payload = codec.encode(content)
    return content, institution.sign_record(RecordKind.CHARTER, bytes(32), payload)


@cache
def city_id() -> bytes:
    return codec.sha256(charter()[1].payload)


@cache
def sanctuary_in_slot(word: str, slot: int) -> bytes:
    """An id that falls into a slot, so that two fanouts own one room each."""
    count = 0
    while True:
        sanctuary = codec.sha256(f"{word}/{count}".encode())[:16]
        if slot_of(sanctuary) == slot:
            return sanctuary
        count += 1


def commons_policy(close_limit: int) -> Policy:
    return Policy(
        sanctuary=sanctuary_in_slot("commons", 0),
        name="Commons",
        kind=Kind.COMMONS,
        setting=Setting.OPEN,
        tier_max=Tier.FULL,
        capacity=100,
        close_limit=close_limit,
        close_back=max(0, close_limit - 2),
    )


def stage_policy(tier_max: Tier) -> Policy:
    return Policy(
        sanctuary=sanctuary_in_slot("stage", 1),
        name="Stage",
        kind=Kind.STAGE,
        setting=Setting.OPEN,
        tier_max=tier_max,
        capacity=100,
        public=True,
    )


@cache
def keys_of(name: str) -> Keyring:
    random = Random(f"keys of {name}")
    return Keyring.new(random.randbytes, WallMs(BEGAN_MS - 3_600_000))


_good: dict[bytes, bool] = {}
_verify = signing.verify


def remember_signatures() -> None:
    """Verify each (key, message, signature) once a process: the same record is checked by several
    instances, which in the simulation share one processor; what was signed here is good. Nothing
    else changes: every other first look is libsodium's.
    """

    def open_once(signed: bytes, pk: bytes) -> bytes:
        key = pk + signed
        if key not in _good:
            if len(_good) > 50_000:
                _good.clear()
            try:
                nacl_open(signed, pk)
            except nacl.exceptions.BadSignatureError:
                _good[key] = False
            else:
                _good[key] = True
        if not _good[key]:
            raise nacl.exceptions.BadSignatureError("remembered")
        return signed[64:]

    def sign(message: bytes, sk: bytes) -> bytes:
        signed = nacl_sign(message, sk)
        _good[sk[32:] + signed] = True  # libsodium made it: it need not look at it again
        return signed

    nacl_open, nacl_sign = nacl.bindings.crypto_sign_open, nacl.bindings.crypto_sign
    if getattr(nacl_open, "remembers", False):
        return
    open_once.remembers = True  # type: ignore[attr-defined]
    nacl.bindings.crypto_sign_open, nacl.bindings.crypto_sign = open_once, sign

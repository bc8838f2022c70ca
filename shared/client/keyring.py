"""A person's keys: identity, the next identity (pre-rotation) and this device. Pure.

The identity key is used on a gesture only (inception, consent that widens); the device key signs
tokens, joins, openings and narrowing records. The next key's hash stands in the inception, so that a
stolen identity key cannot name its own successor.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from shared.codec import Refused, encode, sha256
from shared.contracts.records import Inception, RecordKind, Signed
from shared.contracts.refusals import Refusal
from shared.identifiers import U53, CitizenId, WallMs
from shared.identity import Signer, did_of

_SEED_BYTES = 32


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """The file's form: seeds in base64, citizen ids by city in hex."""

    version: int
    created_ms: U53
    identity: str
    next_identity: str
    device: str
    citizens: dict[str, str] = {}


@dataclass(slots=True)
class Keyring:
    """One person on one device. `citizens` are the ids that cities gave, by city id."""

    identity: Signer
    next_identity: Signer
    device: Signer
    created_ms: WallMs
    citizens: dict[bytes, CitizenId] = field(default_factory=dict)

    @classmethod
    def new(cls, random_bytes: Callable[[int], bytes], now_ms: WallMs) -> Keyring:
        seeds = [random_bytes(_SEED_BYTES) for _ in range(3)]
        return cls(Signer(seeds[0]), Signer(seeds[1]), Signer(seeds[2]), now_ms)

    @property
    def did(self) -> str:
        return did_of(self.identity.public_key)

    def inception(self, city: bytes) -> Signed:
        """The record that enrols this person; the same bytes every time."""
        record = Inception(
            identity_key=self.identity.public_key,
            next_key_hash=sha256(self.next_identity.public_key),
            devices=(self.device.public_key,),
            created_ms=self.created_ms,
        )
        return self.identity.sign_record(RecordKind.INCEPTION, city, encode(record))

    def dump(self) -> bytes:
        """Everything, private keys included, as JSON: for a file of mode 0600, and nothing else."""
        stored = _Stored(
            version=1,
            created_ms=self.created_ms,
            identity=base64.b64encode(self.identity.seed).decode(),
            next_identity=base64.b64encode(self.next_identity.seed).decode(),
            device=base64.b64encode(self.device.seed).decode(),
            citizens={city.hex(): citizen.hex() for city, citizen in self.citizens.items()},
        )
        return msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n"

    @classmethod
    def load(cls, content: bytes) -> Keyring:
        """Raises: Refused(MALFORMED) unless `content` is what `dump` made."""
        try:
            stored = msgspec.json.decode(content, type=_Stored)
            seeds = [
                base64.b64decode(each, validate=True)
                for each in (stored.identity, stored.next_identity, stored.device)
            ]
            citizens = {
                bytes.fromhex(city): CitizenId(bytes.fromhex(citizen))
                for city, citizen in stored.citizens.items()
            }
        except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError, ValueError):
            raise Refused(Refusal.MALFORMED) from None
        if stored.version != 1 or any(len(seed) != _SEED_BYTES for seed in seeds):
            raise Refused(Refusal.MALFORMED)
        return cls(
            Signer(seeds[0]),
            Signer(seeds[1]),
            Signer(seeds[2]),
            WallMs(stored.created_ms),
            citizens,
        )

    def __repr__(self) -> str:
        return "Keyring(…)"

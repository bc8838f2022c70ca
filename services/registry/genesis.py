"""The genesis charter: from a TOML text and the founding institution's key. Pure.

The city id is the SHA-256 of its payload, so the signature stands in for a city id that does not
exist yet: it covers 32 zero bytes in that place.
"""

from __future__ import annotations

import tomllib
from typing import Annotated

import msgspec

from shared.codec import ZERO_HASH, Refused, decode_canonical, encode
from shared.contracts import Charter, Institution, RecordKind, Refusal, Signed, Tier
from shared.identifiers import WallMs
from shared.identity import Signer, key_of, verify_record
from shared.identity.signing import is_small_order


class CharterUnusable(Exception):  # noqa: N818  (the state of what was read)
    """What is wrong with the charter, in one line."""


class _Institution(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    key: str | None = None


class _Seed(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    tier_max: str
    quorum: Annotated[int, msgspec.Meta(ge=1, le=100)]
    institutions: Annotated[list[_Institution], msgspec.Meta(min_length=1, max_length=100)]
    press: list[str] = []


def make_charter(toml: str, institution: Signer, now_ms: WallMs) -> Signed:
    """The signed charter of a new city. Raises: CharterUnusable."""
    try:
        seed = msgspec.convert(tomllib.loads(toml), _Seed)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CharterUnusable(str(error)) from None
    if seed.tier_max.upper() not in Tier.__members__:
        known = ", ".join(tier.name.lower() for tier in Tier)
        raise CharterUnusable(f"tier_max {seed.tier_max!r} is none of {known}")
    institutions = []
    for place, named in enumerate(seed.institutions):
        if named.key is None and place > 0:
            raise CharterUnusable(f"institution {named.name!r} has no key")
        key = institution.public_key if named.key is None else _key(named.key)
        institutions.append(Institution(named.name, key))
    if institutions[0].key != institution.public_key:
        raise CharterUnusable(
            f"the first institution, {institutions[0].name!r}, is to sign, and the key that was given "
            "is not its own"
        )
    if seed.quorum > len(institutions):
        raise CharterUnusable(f"a quorum of {seed.quorum} among {len(institutions)} institutions")
    charter = Charter(
        name=seed.name,
        created_ms=now_ms,
        tier_max=Tier[seed.tier_max.upper()],
        quorum=seed.quorum,
        institutions=tuple(institutions),
        press=tuple(_key(did) for did in seed.press),
    )
    signed = institution.sign_record(RecordKind.CHARTER, ZERO_HASH, encode(charter))
    read_charter(signed)
    return signed


def read_charter(record: Signed) -> Charter:
    """The charter, if it holds. Raises: CharterUnusable."""
    try:
        charter = decode_canonical(record.payload, Charter)
    except Refused as refused:
        raise CharterUnusable(f"the charter is {refused.reason}") from None
    keys = [institution.key for institution in charter.institutions]
    if len(dict.fromkeys(keys)) != len(keys) or any(map(is_small_order, (*keys, *charter.press))):
        raise CharterUnusable("the charter names a key twice, or one that anybody can sign for")
    if not verify_record(keys[0], RecordKind.CHARTER, ZERO_HASH, record):
        raise CharterUnusable(f"the charter: {Refusal.BAD_SIGNATURE}")
    return charter


def _key(did: str) -> bytes:
    try:
        return key_of(did)
    except Refused:
        raise CharterUnusable(f"{did!r} is not a did:key of an Ed25519 key") from None

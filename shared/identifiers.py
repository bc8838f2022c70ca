"""The names of things: ids, the two clocks, slots. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, NewType

import msgspec

CitizenId = NewType("CitizenId", bytes)
SanctuaryId = NewType("SanctuaryId", bytes)
StrandId = NewType("StrandId", bytes)
SessionId = NewType("SessionId", bytes)
GatewayId = NewType("GatewayId", str)
MonotonicNs = NewType("MonotonicNs", int)
"""A point on this process's monotonic clock, nanoseconds: for durations and deadlines only."""
WallMs = NewType("WallMs", int)
"""Unix time in milliseconds: for stamps and expiry only."""

Bytes8 = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
"""An instance's or gateway's name; a single NATS subject token."""
U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
U53 = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A count that JavaScript's numbers hold exactly."""

SLOTS = 64
"""Fixed for the life of a city: design, section 2."""

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK = 0xFFFFFFFFFFFFFFFF


def slot_of(sanctuary: bytes) -> int:
    """The slot 0…63 that owns a sanctuary: 64-bit FNV-1a of the 16-byte id, mod 64.

    Source: draft-eastlake-fnv; test vectors in tests/unit/test_identifiers.py.
    """
    value = _FNV_OFFSET
    for byte in sanctuary:
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return value % SLOTS


def slots_of(ordinal: int, replicas: int) -> tuple[int, ...]:
    """The slots that the `ordinal`-th of `replicas` owners holds (`slot % replicas == ordinal`)."""
    assert 0 <= ordinal < replicas <= SLOTS
    return tuple(range(ordinal, SLOTS, replicas))


def slug_of(name: str) -> str:
    """A sanctuary's name as a slug: "Emotive Commons" → `emotive-commons`. A slug is its own slug."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def sanctuary_of_slug(slug: str) -> SanctuaryId:
    """A seeded sanctuary's id: the first 16 bytes of SHA-256 of `synchronia/sanctuary/` ‖ slug."""
    return SanctuaryId(hashlib.sha256(b"synchronia/sanctuary/" + slug.encode()).digest()[:16])

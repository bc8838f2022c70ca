"""The one canonical form of what is signed, and MessagePack in and out of the contracts. Pure."""

from __future__ import annotations

import hashlib
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Hashable

import msgspec

from shared.contracts.records import Seal
from shared.contracts.refusals import Refusal
from shared.contracts.sample import BODY_BYTES_MAX, Sample
from shared.identifiers import StrandId

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_sample_decoder = msgspec.msgpack.Decoder(Sample)
encode = _encoder.encode
"""A contract's MessagePack bytes, in shortest form."""


class Refused(Exception):  # noqa: N818  (a refusal is an outcome, not an error)
    """A peer's bytes were not taken; `reason` is the catalogue's name."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@cache
def _decoder(kind: Hashable) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def decode(payload: bytes | memoryview | msgspec.Raw, kind: type[T]) -> T:
    """Bytes → contract. `kind` may be a union of tagged structs.

    Raises: Refused(MALFORMED) if the bytes are not MessagePack of that shape; Refused(OUT_OF_RANGE)
    if the shape fits and a bound does not.
    """
    try:
        value: T = _decoder(cast("Hashable", kind)).decode(payload)
    except msgspec.ValidationError as error:
        raise Refused(reason_of(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Refusal.MALFORMED) from None
    return value


_BOUND_MARKS = (">=", "<=", "< ", "> ", "length", "enum value", "out of range")


def reason_of(error: msgspec.ValidationError) -> Refusal:
    """A bound that was missed is OUT_OF_RANGE; a shape or type that was not is MALFORMED.

    Reads msgspec's sentence (0.22: "Expected `int` <= 1000 - at `$[2]`"), as it gives no code; a
    unit test holds each sentence to its name.
    """
    sentence = str(error)
    if "of at least length" in sentence or "of at most length" in sentence:
        return Refusal.MALFORMED  # a field too few or too many
    return (
        Refusal.OUT_OF_RANGE
        if any(mark in sentence for mark in _BOUND_MARKS)
        else Refusal.MALFORMED
    )


def decode_canonical(payload: bytes, kind: type[T]) -> T:
    """As `decode`, and refuses bytes that are not the canonical form of their content.

    Raises: Refused(MALFORMED | OUT_OF_RANGE | NOT_CANONICAL).
    """
    value = decode(payload, kind)
    if _encoder.encode(value) != payload:
        raise Refused(Refusal.NOT_CANONICAL)
    return value


def decode_sample(body: bytes) -> Sample:
    """A sample's body, canonical, with labels ascending and the note in NFC.

    Raises: Refused(OVERSIZE | MALFORMED | OUT_OF_RANGE | NOT_CANONICAL).
    """
    if len(body) > BODY_BYTES_MAX:
        raise Refused(Refusal.OVERSIZE)
    try:
        sample = _sample_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refused(reason_of(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Refusal.MALFORMED) from None
    if _encoder.encode(sample) != body:
        raise Refused(Refusal.NOT_CANONICAL)
    previous = -1
    for label in sample.labels:
        if label <= previous:
            raise Refused(Refusal.NOT_CANONICAL)
        previous = label
    if sample.note is not None and not unicodedata.is_normalized("NFC", sample.note):
        raise Refused(Refusal.NOT_CANONICAL)
    return sample


def sha256(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()


def body_hash(body: bytes) -> bytes:
    """What a seal says of one body: the first 16 bytes of its SHA-256."""
    return hashlib.sha256(body).digest()[:16]


def strand_id(opening_payload: bytes) -> StrandId:
    """A strand's id: the SHA-256 of its opening's payload."""
    return StrandId(hashlib.sha256(opening_payload).digest())


def array_header(count: int) -> bytes:
    """The MessagePack header of an array of `count` elements, shortest form (0 ≤ count < 2³²)."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 65536:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


ZERO_HASH = bytes(32)
"""Stands for "no previous record" in chains and seals."""


def seal_of(payload: bytes) -> Seal:
    """A seal's payload, canonical. Raises: Refused."""
    return decode_canonical(payload, Seal)

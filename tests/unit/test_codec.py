"""One form for one content: canonical bytes, names of refusals, hashes and headers."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec import (
    Refused,
    array_header,
    body_hash,
    decode,
    decode_canonical,
    decode_sample,
    encode,
    reason_of,
    seal_of,
    sha256,
    strand_id,
)
from shared.contracts import (
    BODY_BYTES_MAX,
    VOCABULARY,
    Grant,
    Opening,
    Provenance,
    Refusal,
    Sample,
    Seal,
    Signed,
)

samples = st.builds(
    Sample,
    seq=st.integers(0, 2**32 - 1),
    t_ms=st.integers(0, 2**53 - 1),
    valence=st.integers(-1000, 1000),
    arousal=st.integers(-1000, 1000),
    dominance=st.none() | st.integers(-1000, 1000),
    confidence=st.integers(0, 1000),
    provenance=st.sampled_from(Provenance),
    labels=st.sets(st.integers(0, len(VOCABULARY) - 1), max_size=4).map(lambda s: tuple(sorted(s))),
    note=st.none() | st.sampled_from(["", "ruhig", "größer", "\U0001f600", "日本"]),
    salt=st.binary(min_size=8, max_size=8),
)


@given(samples)
def test_a_sample_has_one_form_and_every_reader_agrees_on_it(sample: Sample) -> None:
    body = encode(sample)
    assert decode_sample(body) == sample
    assert msgpack.packb(msgpack.unpackb(body)) == body


def fields(sample: Sample) -> list[Any]:
    array: list[Any] = msgpack.unpackb(encode(sample))
    return array


@given(samples, st.integers(0, 9), st.sampled_from([None, True, 1.0, "x", b"x", [], {}, -1]))
def test_a_field_of_another_type_is_refused_and_never_raises_otherwise(
    sample: Sample, field: int, value: Any
) -> None:
    array = fields(sample)
    array[field] = value
    try:
        read = decode_sample(msgpack.packb(array))
    except Refused:
        return
    assert encode(read) == msgpack.packb(array)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    for read in (decode_sample, seal_of, lambda b: decode(b, Signed)):
        with suppress(Refused):
            read(payload)


@given(samples, st.integers(0, 100), st.binary(min_size=1, max_size=1))
def test_a_changed_byte_is_another_sample_or_none(sample: Sample, at: int, byte: bytes) -> None:
    body = encode(sample)
    changed = body[: at % len(body)] + byte + body[at % len(body) + 1 :]
    try:
        read = decode_sample(changed)
    except Refused:
        return
    assert (read == sample) == (changed == body)
    assert encode(read) == changed


GOOD = Sample(7, 1_700_000_000_000, 5, -5, None, 1000, Provenance.DECLARED, (1,), None, b"8 bytes.")
LONGER_FORMS = {
    "seq as uint8": lambda b: b[:1] + b"\xcc\x07" + b[2:],
    "t_ms as int64": lambda b: b.replace(b"\xcf", b"\xd3", 1),
    "valence as uint8": lambda b: b.replace(b"\x05\xfb", b"\xcc\x05\xfb"),
    "arousal as int8": lambda b: b.replace(b"\x05\xfb", b"\x05\xd0\xfb"),
    "array16": lambda b: b"\xdc\x00\x0a" + b[1:],
    "labels as array16": lambda b: b.replace(b"\x91\x01\xc0", b"\xdc\x00\x01\x01\xc0"),
    "salt as bin16": lambda b: b.replace(b"\xc4\x08", b"\xc5\x00\x08"),
}


@pytest.mark.parametrize("form", LONGER_FORMS.values(), ids=LONGER_FORMS)
def test_a_longer_form_of_the_same_content_is_not_canonical(form: Any) -> None:
    body = encode(GOOD)
    other = form(body)
    assert msgpack.unpackb(other) == msgpack.unpackb(body)
    with pytest.raises(Refused) as refused:
        decode_sample(other)
    assert refused.value.reason is Refusal.NOT_CANONICAL


def broken(**changes: Any) -> bytes:
    return encode(msgspec.structs.replace(GOOD, **changes))


ROWS: list[tuple[str, bytes, Refusal]] = [
    ("nothing", b"", Refusal.MALFORMED),
    ("not MessagePack", b"\xc1", Refusal.MALFORMED),
    ("cut off", encode(GOOD)[:-1], Refusal.MALFORMED),
    ("two of them", encode(GOOD) * 2, Refusal.MALFORMED),
    ("a map", b"\x80", Refusal.MALFORMED),
    ("a field too few", msgpack.packb(fields(GOOD)[:-1]), Refusal.MALFORMED),
    ("a field too many", msgpack.packb([*fields(GOOD), 0]), Refusal.MALFORMED),
    ("a float", broken(valence=1.5), Refusal.MALFORMED),
    ("a whole float", broken(valence=5.0), Refusal.MALFORMED),
    ("a text for a number", broken(seq="7"), Refusal.MALFORMED),
    ("a text for bytes", broken(salt="8 bytes."), Refusal.MALFORMED),
    ("text that is not UTF-8", encode(GOOD).replace(b"\xc0\xc4", b"\xa1\xff\xc4"), Refusal.MALFORMED),
    ("deep nesting", b"\x91" * 650, Refusal.MALFORMED),
    ("seq below zero", broken(seq=-1), Refusal.OUT_OF_RANGE),
    ("seq beyond 32 bits", broken(seq=2**32), Refusal.OUT_OF_RANGE),
    ("a stamp beyond 53 bits", broken(t_ms=2**53), Refusal.OUT_OF_RANGE),
    ("valence beyond 1", broken(valence=1001), Refusal.OUT_OF_RANGE),
    ("arousal below −1", broken(arousal=-1001), Refusal.OUT_OF_RANGE),
    ("dominance beyond 1", broken(dominance=1001), Refusal.OUT_OF_RANGE),
    ("confidence below 0", broken(confidence=-1), Refusal.OUT_OF_RANGE),
    ("a provenance nobody knows", broken(provenance=3), Refusal.OUT_OF_RANGE),
    ("five labels", broken(labels=(1, 2, 3, 4, 5)), Refusal.OUT_OF_RANGE),
    ("a label nobody knows", broken(labels=(len(VOCABULARY),)), Refusal.OUT_OF_RANGE),
    ("a note too long", broken(note="x" * 141), Refusal.OUT_OF_RANGE),
    ("a salt too short", broken(salt=b"7 bytes"), Refusal.OUT_OF_RANGE),
    ("labels that descend", broken(labels=(2, 1)), Refusal.NOT_CANONICAL),
    ("a label twice", broken(labels=(1, 1)), Refusal.NOT_CANONICAL),
    ("a note that is not NFC", broken(note="e\u0301"), Refusal.NOT_CANONICAL),
    ("longer than a body may be", b"\xc4" * (BODY_BYTES_MAX + 1), Refusal.OVERSIZE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_bad_body_has_one_name(body: bytes, reason: Refusal) -> None:
    with pytest.raises(Refused) as refused:
        decode_sample(body)
    assert refused.value.reason is reason
    assert str(refused.value) == reason.value


SENTENCES: dict[str, Refusal] = {
    "Expected `int` <= 1000 - at `$[2]`": Refusal.OUT_OF_RANGE,
    "Expected `int` >= 0 - at `$[0]`": Refusal.OUT_OF_RANGE,
    "Expected `bytes` of length >= 32 - at `$[1]`": Refusal.OUT_OF_RANGE,
    "Expected `array` of length <= 4 - at `$[7]`": Refusal.OUT_OF_RANGE,
    "Invalid enum value 3 - at `$[6]`": Refusal.OUT_OF_RANGE,
    "Integer value out of range - at `$[0]`": Refusal.OUT_OF_RANGE,
    "Expected `array` of at least length 10, got 9": Refusal.MALFORMED,
    "Expected `array` of at most length 10, got 11": Refusal.MALFORMED,
    "Expected `int`, got `str` - at `$[0]`": Refusal.MALFORMED,
    "Invalid value 'x' - at `key` in `$`": Refusal.MALFORMED,
}


@pytest.mark.parametrize(("sentence", "reason"), SENTENCES.items())
def test_each_sentence_of_msgspec_has_its_name(sentence: str, reason: Refusal) -> None:
    assert reason_of(msgspec.ValidationError(sentence)) is reason


def test_integers_beyond_64_bits_and_extensions_are_refused() -> None:
    huge = msgpack.packb([2**63 + 5, *fields(GOOD)[1:]])
    extension = encode(GOOD).replace(b"\xc0\xc4\x08", b"\xd4\x01\x00\xc4\x08")
    for body in (huge, extension):
        with pytest.raises(Refused):
            decode_sample(body)


def test_a_signed_payload_has_one_form() -> None:
    seal = Seal(bytes(32), 1, 32, 5, 0, (bytes(16),), bytes(32))
    payload = encode(seal)
    assert seal_of(payload) == seal
    assert decode_canonical(payload, Seal) == seal
    for other in (payload[:-1], payload[:-1] + b"\xcc\x00", payload + b"\xc0"):
        with pytest.raises(Refused):
            seal_of(other)
    without_total = msgpack.packb(msgpack.unpackb(payload)[:-1])
    with pytest.raises(Refused) as refused:
        seal_of(without_total)
    assert refused.value.reason is Refusal.NOT_CANONICAL


def test_a_record_of_another_kind_is_malformed() -> None:
    opening = encode(Seal(bytes(32), 1, 32, 5, 0, (), bytes(32)))
    for kind in (Opening, Grant):
        with pytest.raises(Refused) as refused:
            decode(opening, kind)
        assert refused.value.reason in (Refusal.MALFORMED, Refusal.OUT_OF_RANGE)


def test_hashes_are_sha_256() -> None:
    payload = b"synchronia"
    whole = hashlib.sha256(payload).digest()
    assert sha256(payload) == strand_id(payload) == whole
    assert body_hash(payload) == whole[:16]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 255, 65535, 65536, 2**32 - 1])
def test_array_headers_are_the_shortest(count: int) -> None:
    packer = msgpack.Packer()
    assert array_header(count) == packer.pack_array_header(count)

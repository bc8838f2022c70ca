"""Golden bytes: what travels today is what was written down, and a second reader agrees."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest

from shared.codec import decode, encode
from shared.contracts import Sample
from tests.contract.examples import contracts, example
from tests.contract.golden_write import GOLDEN, kept, main, reading, rows

NAMES = list(contracts())


def test_no_golden_file_is_without_a_contract() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_a_contract_writes_today_is_on_file(name: str) -> None:
    missing = [row for row in rows(name) if row not in kept(name)]
    assert not missing, "new, or grown? python -m tests.contract.golden_write"


@pytest.mark.parametrize("name", NAMES)
def test_everything_ever_written_is_still_read_as_it_was(name: str) -> None:
    """A field that was appended since is behind the old ones, which have not moved."""
    for row in kept(name):
        golden = bytes.fromhex(row["hex"])
        read = decode(golden, contracts()[name])
        old = msgpack.unpackb(golden, raw=False)
        now = msgpack.unpackb(encode(read), raw=False)
        assert has_grown_from(now, old)
        assert now != old or reading(read) == row["reads"]


def has_grown_from(now: Any, old: Any) -> bool:
    """Whether every array of `old` begins the one that stands in its place in `now`."""
    if isinstance(old, list):
        pairs = zip(now, old, strict=False)
        return len(now) >= len(old) and all(has_grown_from(n, o) for n, o in pairs)
    return bool(now == old)


@pytest.mark.parametrize("name", NAMES)
def test_an_independent_reader_sees_the_same_and_its_writer_makes_the_same_bytes(name: str) -> None:
    for full in (True, False):
        event = example(contracts()[name], full=full)
        payload = encode(event)
        read = msgpack.unpackb(payload, raw=False)
        assert read == flattened(event)
        assert msgpack.packb(read, use_bin_type=True) == payload, "shortest form"


def flattened(value: Any) -> Any:
    """The arrays that a struct is on the wire, by its definition alone."""
    if isinstance(value, msgspec.Raw):
        return msgpack.unpackb(bytes(value), raw=False)
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        head = [] if tag is None else [tag]
        return head + [flattened(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, tuple):
        return [flattened(item) for item in value]
    if isinstance(value, dict):
        return {key: flattened(item) for key, item in value.items()}
    return value


def test_the_body_in_the_protocol_s_text_is_the_body_of_the_code() -> None:
    body = bytes.fromhex("9a00cf0000018bcfe568006419c0cd03e8029101c0c4080102030405060708")
    sample = decode(body, Sample)
    assert (sample.seq, sample.t_ms, sample.valence, sample.arousal) == (
        0,
        1_700_000_000_000,
        100,
        25,
    )
    assert (sample.confidence, sample.provenance, sample.labels) == (1000, 2, (1,))
    assert encode(sample) == body


def test_golden_bytes_are_not_written_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("sys.argv", ["golden_write"])
    assert main() == 1

"""Contracts grow at their end only: longer and older arrays are read, the rest is refused by name."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest

from shared.codec import Refused, decode, decode_canonical, decode_sample, encode
from shared.contracts import (
    BODY_BYTES_MAX,
    CLOSES,
    MEANING,
    NOTE_CODE_POINTS_MAX,
    VOCABULARY,
    Approval,
    Charter,
    ClientMessage,
    CloseCode,
    ConsentRecord,
    EdgeOp,
    FanoutControl,
    FollowRequest,
    GatewayControl,
    Grant,
    Inception,
    JoinRequest,
    MemberEvent,
    Opening,
    OpeningsAsk,
    Policy,
    Refusal,
    RegistryControl,
    Sample,
    SanctuaryControl,
    Seal,
    ServerMessage,
    SigEntry,
    Withdrawal,
)
from shared.contracts.records import ConsentException
from tests.contract.examples import contracts, example

RECORDS: tuple[type[msgspec.Struct], ...] = (
    Inception,
    JoinRequest,
    FollowRequest,
    Opening,
    Seal,
    Grant,
    ConsentException,
    Withdrawal,
    Approval,
    Charter,
    Policy,
)
UNIONS: dict[str, Any] = {
    "ClientMessage": ClientMessage,
    "ServerMessage": ServerMessage,
    "ConsentRecord": ConsentRecord,
    "EdgeOp": EdgeOp,
    "FanoutControl": FanoutControl,
    "GatewayControl": GatewayControl,
    "MemberEvent": MemberEvent,
    "RegistryControl": RegistryControl,
    "SanctuaryControl": SanctuaryControl,
    "SigEntry": SigEntry,
}
BUS = {name: kind for name, kind in contracts().items() if kind is not Sample}


def as_array(event: msgspec.Struct) -> list[Any]:
    array: list[Any] = msgpack.unpackb(encode(event), raw=False)
    return array


@pytest.mark.parametrize("name", BUS)
def test_a_reader_accepts_fields_it_does_not_know_at_the_end(name: str) -> None:
    event = example(BUS[name], full=True)
    longer = msgpack.packb([*as_array(event), "from the future", {"a": 1}])
    assert decode(longer, BUS[name]) == event or "Raw" in repr(event)


def test_a_sample_s_body_has_exactly_its_fields() -> None:
    body = as_array(example(Sample, full=True))
    decode_sample(msgpack.packb(body))
    for wrong in ([*body, None], body[:-1]):
        with pytest.raises(Refused) as refused:
            decode_sample(msgpack.packb(wrong))
        assert refused.value.reason is Refusal.MALFORMED


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_what_is_signed_is_refused_with_unknown_fields(kind: type[msgspec.Struct]) -> None:
    """Else two payloads would say the same, and a hash would not name one record."""
    event = example(kind, full=True)
    assert decode_canonical(encode(event), kind) == event
    with pytest.raises(Refused) as refused:
        decode_canonical(msgpack.packb([*as_array(event), None]), kind)
    assert refused.value.reason is Refusal.NOT_CANONICAL


@pytest.mark.parametrize("name", contracts())
def test_an_older_writer_s_shorter_array_is_read_down_to_what_is_required(name: str) -> None:
    kind = contracts()[name]
    fields = msgspec.structs.fields(kind)
    required = sum(field.required for field in fields)
    array = as_array(example(kind, full=True))
    tags = len(array) - len(fields)
    for count in range(required, len(fields) + 1):
        read = decode(msgpack.packb(array[: tags + count]), kind)
        for field in fields[count:]:
            default = field.default
            if default is msgspec.NODEFAULT:
                default = field.default_factory()
            assert getattr(read, field.name) == default
    if required:
        with pytest.raises(Refused) as refused:
            decode(msgpack.packb(array[: tags + required - 1]), kind)
        assert refused.value.reason is Refusal.MALFORMED


@pytest.mark.parametrize("name", [n for n, k in contracts().items() if k.__struct_config__.tag])
def test_another_version_of_a_contract_is_refused_and_not_misread(name: str) -> None:
    kind = contracts()[name]
    array = as_array(example(kind, full=True))
    for tag in (f"{array[0]}x", "sig/2", None, 7):
        with pytest.raises(Refused) as refused:
            decode(msgpack.packb([tag, *array[1:]]), kind)
        assert refused.value.reason in (Refusal.MALFORMED, Refusal.OUT_OF_RANGE)


@pytest.mark.parametrize("name", UNIONS)
def test_every_member_of_a_union_is_told_apart_by_its_tag(name: str) -> None:
    for kind in UNIONS[name].__args__:
        event = example(kind, full=False)
        read = decode(encode(event), UNIONS[name])
        assert type(read) is kind


def test_an_ask_of_before_epochs_were_asked_for_is_read() -> None:
    assert decode(msgpack.packb(["openings ask/1", 3]), OpeningsAsk) == OpeningsAsk(3, -1)


def test_the_longest_sample_fits_its_bound_and_a_longer_one_does_not() -> None:
    """140 code points of four bytes, and every other field at its longest."""
    longest = Sample(
        2**32 - 1,
        2**53 - 1,
        -1000,
        -1000,
        -1000,
        1000,
        example(Sample, full=True).provenance,  # type: ignore[attr-defined]
        tuple(range(len(VOCABULARY) - 4, len(VOCABULARY))),
        "\U0001f600" * NOTE_CODE_POINTS_MAX,
        b"8 bytes.",
    )
    body = encode(longest)
    assert len(body) <= BODY_BYTES_MAX
    assert decode_sample(body) == longest
    with pytest.raises(Refused) as refused:
        decode_sample(encode(msgspec.structs.replace(longest, note="x" * 141)))
    assert refused.value.reason is Refusal.OUT_OF_RANGE


def test_the_catalogues_are_whole() -> None:
    assert set(MEANING) == set(Refusal)
    assert set(CLOSES) == set(CloseCode)
    assert len(set(MEANING.values())) == len(MEANING)


def test_the_vocabulary_is_sorted_and_its_first_words_never_move() -> None:
    assert list(VOCABULARY) == sorted(VOCABULARY)
    assert VOCABULARY[:3] == ("affectionate", "afraid", "amused")
    assert VOCABULARY.index("worried") == 16

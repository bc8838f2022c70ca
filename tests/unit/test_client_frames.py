"""Both subprotocols carry the same, and the gateway's JSON is what the client reads."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
import msgspec
import pytest

from services.gateway.core.json_twin import message_of, objects_in, twin_of
from shared.client.core import (
    decode_frame,
    decode_frame_json,
    encode_frames,
    encode_frames_json,
    to_builtins,
)
from shared.codec import Refused, array_header, encode
from shared.contracts.client import (
    FRAME_BYTES_MAX,
    FRAME_MESSAGES_MAX,
    ClientMessage,
    Enrol,
    Held,
    Hello,
    Join,
    Limits,
    Record,
    Samples,
    SampleShown,
    ServerMessage,
    Snapshot,
    StrandShown,
    Time,
    Welcome,
)
from shared.contracts.records import Signed
from shared.contracts.sample import Provenance, Sample

SIGNED = Signed(b"\x91\x01", b"s" * 64)
DECLARED = Provenance.DECLARED
BODY = encode(
    Sample(3, 1_700_000_000_000, 1, -1, None, 1000, DECLARED, (1, 2), "a note", b"saltsalt")
)
STRAND = b"t" * 32
SERVER: list[ServerMessage] = [
    Hello(1, b"n" * 16, 5, "http://x", b"c" * 32, "gateway-0", Limits(1, 2, 3, 4, 5, 6)),
    Welcome(b"n" * 16, None, 7),
    Snapshot(b"p" * 16, 2, recovered=True),
    StrandShown(b"p" * 16, STRAND, b"z" * 16, SIGNED, 4, BODY, SIGNED, 2),
    StrandShown(b"p" * 16, STRAND, b"z" * 16, SIGNED, 0, None, None),
    SampleShown(STRAND, BODY),
]
CLIENT: list[ClientMessage] = [
    Join(1, b"p" * 16, SIGNED, (Held(STRAND, 4),)),
    Enrol(2, SIGNED),
    Samples(b"p" * 16, STRAND, 9, (BODY, BODY)),
    Record(3, SIGNED),
]


def test_a_servers_frame_is_read() -> None:
    assert decode_frame(encode(SERVER)) == SERVER


def test_messages_of_unknown_names_are_left_out() -> None:
    frame = msgpack.packb([["from the future", 1], ["welcome", b"n" * 16, None, 7]])
    assert decode_frame(frame) == [Welcome(b"n" * 16, None, 7)]
    text = b'[{"type": "from the future"}]'
    assert decode_frame_json(text) == []


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x01", b"\x91", b"nonsense"])
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    for read in (decode_frame, decode_frame_json):
        with pytest.raises(Refused):
            read(frame)


def test_the_gateways_json_says_the_same_as_its_messagepack() -> None:
    assert decode_frame_json(twin_of([encode(message) for message in SERVER])) == SERVER


def test_the_gateway_reads_the_clients_json_as_the_same_bytes() -> None:
    (frame,) = encode_frames_json(CLIENT)
    assert [message_of(fields) for fields in objects_in(frame)] == [encode(m) for m in CLIENT]


def test_every_message_of_the_server_can_be_read_from_json() -> None:
    for kind in get_args(ServerMessage):
        message = _example(kind)
        assert decode_frame_json(msgspec.json.encode([to_builtins(message)])) == [message]


def _example(kind: Any) -> Any:
    """A message with each field at a plain value of its type."""
    values = [_value(field) for field in msgspec.structs.fields(kind)]
    return msgspec.convert(
        [kind.__struct_config__.tag, *msgspec.to_builtins(values, builtin_types=[bytes])],
        kind,
    )


def _value(field: msgspec.structs.FieldInfo) -> Any:
    for size in (0, 8, 16, 32):
        for value in (7, "word", b"b" * size, True, 70_000, SIGNED, (), Limits(1, 2, 3, 4, 5, 6)):
            plain = msgspec.to_builtins(value, builtin_types=[bytes])
            try:
                msgspec.convert(plain, field.type)
            except msgspec.ValidationError:
                continue
            return value
    raise AssertionError(field)


def test_frames_keep_within_their_limits_and_in_order() -> None:
    times = [Time(n) for n in range(2 * FRAME_MESSAGES_MAX + 1)]
    frames = encode_frames(times)
    assert [len(msgpack.unpackb(frame)) for frame in frames] == [64, 64, 1]
    assert [m[1] for frame in frames for m in msgpack.unpackb(frame)] == list(range(129))
    texts = [msgspec.json.decode(frame) for frame in encode_frames_json(times)]
    assert [m["client_ms"] for text in texts for m in text] == list(range(129))
    big = Samples(b"p" * 16, STRAND, 0, (bytes(700),) * 32)
    frames = encode_frames([big] * 7)
    assert all(len(frame) <= FRAME_BYTES_MAX for frame in frames)
    assert sum(len(msgpack.unpackb(frame)) for frame in frames) == 7
    assert encode_frames([]) == []


def test_one_message_makes_one_frame() -> None:
    (frame,) = encode_frames([Time(1)])
    assert frame == array_header(1) + encode(Time(1))

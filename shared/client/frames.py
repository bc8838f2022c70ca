"""Frames of the two subprotocols: MessagePack arrays, and their JSON twin. Pure.

A frame is an array of messages; in JSON each is an object of `type` and the contract's field names,
bytes as base64url without padding (`shared.contracts.client`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, get_args

import msgspec

from shared.codec import Refused, array_header, encode
from shared.contracts.client import (
    FRAME_BYTES_MAX,
    FRAME_MESSAGES_MAX,
    ClientMessage,
    Samples,
    ServerMessage,
)
from shared.contracts.refusals import Refusal
from shared.contracts.sample import Sample

_decoder = msgspec.msgpack.Decoder(list[ServerMessage])
_one_decoder = msgspec.msgpack.Decoder(ServerMessage)
_raws_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_sample_decoder = msgspec.msgpack.Decoder(Sample)
_HEADER_BYTES_MAX = 3
_SERVER_KINDS: dict[str, Any] = {
    kind.__struct_config__.tag: kind for kind in get_args(ServerMessage)
}


def decode_frame(frame: bytes | memoryview) -> list[ServerMessage]:
    """A server's frame; messages of a name this version does not know are left out.

    Raises: Refused(MALFORMED) if it is no array of messages.
    """
    try:
        return _decoder.decode(frame)
    except msgspec.ValidationError:
        return _known_ones(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Refusal.MALFORMED) from None


def _known_ones(frame: bytes | memoryview) -> list[ServerMessage]:
    known: list[ServerMessage] = []
    try:
        for raw in _raws_decoder.decode(frame):
            try:
                known.append(_one_decoder.decode(raw))
            except msgspec.ValidationError:
                continue
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Refusal.MALFORMED) from None
    return known


def encode_frames(messages: Sequence[ClientMessage]) -> list[bytes]:
    """Messages in order, in as few frames as the limits on bytes and messages allow."""
    return _framed((encode(message) for message in messages), array_header, b"", b"")


def encode_frames_json(messages: Sequence[ClientMessage]) -> list[bytes]:
    """As `encode_frames`, for the JSON subprotocol (UTF-8 text frames)."""
    objects = (msgspec.json.encode(to_builtins(message)) for message in messages)
    return _framed(objects, lambda _count: b"[", b",", b"]")


def _framed(parts: Iterable[bytes], header: Any, comma: bytes, tail: bytes) -> list[bytes]:
    frames: list[bytes] = []
    held: list[bytes] = []
    held_bytes = 0
    for part in parts:
        room = FRAME_BYTES_MAX - _HEADER_BYTES_MAX - len(tail) - held_bytes
        if held and (len(held) == FRAME_MESSAGES_MAX or len(part) + len(comma) > room):
            frames.append(header(len(held)) + comma.join(held) + tail)
            held, held_bytes = [], 0
        held.append(part)
        held_bytes += len(part) + len(comma)
    if held:
        frames.append(header(len(held)) + comma.join(held) + tail)
    return frames


def to_builtins(message: msgspec.Struct) -> dict[str, Any]:
    """A message as the JSON subprotocol's object: `type`, field names, bytes as base64url."""
    config = message.__struct_config__
    named: dict[str, Any] = {} if config.tag is None else {"type": config.tag}
    for name in message.__struct_fields__:
        named[name] = _plain(getattr(message, name))
    if isinstance(message, Samples):
        named["samples"] = [_plain(_sample_decoder.decode(body)) for body in message.bodies]
    return named


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    if isinstance(value, msgspec.Struct):
        return to_builtins(value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def decode_frame_json(frame: bytes | str) -> list[ServerMessage]:
    """A server's JSON frame; unknown names are left out. Raises: Refused(MALFORMED)."""
    try:
        objects = msgspec.json.decode(frame, type=list[dict[str, Any]])
        return [
            _from_object(kind, each)
            for each in objects
            if (kind := _SERVER_KINDS.get(each.get("type", ""))) is not None
        ]
    except (msgspec.ValidationError, msgspec.DecodeError, binascii.Error, KeyError, TypeError):
        raise Refused(Refusal.MALFORMED) from None


@cache
def _fields(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _from_object(kind: Any, each: dict[str, Any]) -> Any:
    """Reads by name; a field that is absent takes the contract's default."""
    values = {
        field.name: _typed(field.type, each[field.name])
        for field in _fields(kind)
        if field.name in each or field.required
    }
    array = [values.get(field.name, field.default) for field in _fields(kind)]
    tag = kind.__struct_config__.tag
    return msgspec.convert(msgspec.to_builtins(([] if tag is None else [tag]) + array), kind)


def _typed(kind: Any, value: Any) -> Any:
    """`msgspec.convert` reads bytes as padded standard base64; ours is base64url without padding."""
    if value is None:
        return None
    if isinstance(value, str) and _holds_bytes(kind):
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        return base64.b64encode(raw).decode()
    if isinstance(value, dict):
        struct = next(k for k in _kinds(kind) if isinstance(k, type(msgspec.Struct)))
        return msgspec.to_builtins(_from_object(struct, value))
    if isinstance(value, list):
        inner = next(arg for k in _kinds(kind) for arg in get_args(k) if arg is not Ellipsis)
        return [_typed(inner, each) for each in value]
    return value


@cache
def _kinds(kind: Any) -> tuple[Any, ...]:
    """The plain types in an annotation: `Annotated` and unions taken apart."""
    if hasattr(kind, "__metadata__"):
        return _kinds(get_args(kind)[0])
    if type(kind).__name__ in {"UnionType", "_UnionGenericAlias"}:
        return tuple(k for arg in get_args(kind) for k in _kinds(arg))
    return (kind,)


def _holds_bytes(kind: Any) -> bool:
    return bytes in _kinds(kind)

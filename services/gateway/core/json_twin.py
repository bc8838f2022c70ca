"""The JSON subprotocol: the same messages as objects, both ways. Pure.

An object has `type` (the message's name) and the contract's field names; bytes are base64url without
padding; structs within are objects too. Beside a `body` stand its decoded fields as `sample`. The
twin of a batch is made once, and only while a JSON session listens.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast, get_args

import msgspec
from msgspec import inspect

from shared.codec import Refused, decode, encode, reason_of
from shared.contracts.client import ClientMessage, ServerMessage
from shared.contracts.refusals import Refusal
from shared.contracts.sample import Sample

_json_decoder = msgspec.json.Decoder()
_json_encoder = msgspec.json.Encoder()
_CLIENT = {kind.__struct_config__.tag: kind for kind in get_args(ClientMessage)}
_NESTING_MAX = 8


def text_of(value: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    """Raises: Refused(MALFORMED) for anything but base64url without padding, in its one form."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Refusal.MALFORMED) from None
    if text_of(value) != text:
        raise Refused(Refusal.MALFORMED)
    return value


# ── to a client ──────────────────────────────────────────────────────────────────────────────────


def _value_out(value: Any) -> Any:
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, msgspec.Struct):
        return _struct_out(value)
    if isinstance(value, tuple | list):
        return [_value_out(part) for part in value]
    return value


def _struct_out(struct: msgspec.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        fields[name] = _value_out(value)
        if name == "body" and value is not None:
            fields["sample"] = _struct_out(decode(value, Sample))
    return fields


def plain(struct: msgspec.Struct) -> dict[str, Any]:
    """Any struct's object, without a type."""
    return _struct_out(struct)


def read(message: bytes) -> msgspec.Struct:
    """One encoded server message. Raises: Refused if it is none."""
    return decode(message, cast("type[msgspec.Struct]", ServerMessage))


def fields_of(struct: msgspec.Struct) -> dict[str, Any]:
    """A server message's object. Raises: Refused if a body within is none."""
    return {"type": struct.__struct_config__.tag, **_struct_out(struct)}


def object_of(message: bytes) -> dict[str, Any]:
    """The object of one encoded server message. Raises: Refused if it is none."""
    return fields_of(read(message))


def twin_of(messages: list[bytes]) -> bytes:
    """The JSON text of a frame. A message that is none of ours (a newer service's) is left out: the
    bus's contracts are not the client's fault.
    """
    objects = []
    for message in messages:
        try:
            objects.append(object_of(message))
        except Refused:
            continue
    return _json_encoder.encode(objects)


# ── from a client ────────────────────────────────────────────────────────────────────────────────


def _value_in(value: Any, kind: inspect.Type) -> Any:
    """Bring a JSON value into the shape that `msgspec.convert` checks against the contract."""
    match kind:
        case inspect.UnionType():
            if value is None:
                return None
            return _value_in(value, next(t for t in kind.types if type(t) is not inspect.NoneType))
        case inspect.BytesType():
            if not isinstance(value, str):
                raise Refused(Refusal.MALFORMED)
            return bytes_of(value)
        case inspect.StructType():
            return _struct_in(value, kind)
        case inspect.VarTupleType():
            if not isinstance(value, list):
                raise Refused(Refusal.MALFORMED)
            return [_value_in(part, kind.item_type) for part in value]
        case _:
            return value


def _struct_in(fields: Any, kind: inspect.StructType) -> list[Any]:
    if not isinstance(fields, dict):
        raise Refused(Refusal.MALFORMED)
    values = [] if kind.tag is None else [kind.tag]
    for field in kind.fields:
        if field.name in fields:
            values.append(_value_in(fields[field.name], field.type))
        elif field.required:
            raise Refused(Refusal.MALFORMED)
        else:
            values.append(msgspec.to_builtins(field.default))
    return values


_KINDS = {tag: inspect.type_info(kind) for tag, kind in _CLIENT.items()}


def objects_in(payload: bytes) -> list[Any]:
    """A text frame's objects. Raises: Refused(MALFORMED) unless it is a JSON array."""
    try:
        objects = _json_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Refusal.MALFORMED) from None
    if not isinstance(objects, list):
        raise Refused(Refusal.MALFORMED)
    return objects


def message_of(fields: Any) -> bytes:
    """One client message's MessagePack bytes from its object, checked against the contract.

    Raises: Refused(MALFORMED | OUT_OF_RANGE | UNKNOWN_KIND).
    """
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise Refused(Refusal.MALFORMED)
    tag = fields["type"]
    if tag not in _KINDS:
        raise Refused(Refusal.UNKNOWN_KIND)
    kind = _KINDS[tag]
    assert isinstance(kind, inspect.StructType)
    try:
        return encode(msgspec.convert(_struct_in(fields, kind), _CLIENT[tag]))
    except msgspec.ValidationError as error:
        raise Refused(reason_of(error)) from None
    except (RecursionError, OverflowError):
        raise Refused(Refusal.MALFORMED) from None


def ref_of(fields: Any) -> int | None:
    """The `ref` of an object that could not be read further, if it has a good one."""
    ref = fields.get("ref") if isinstance(fields, dict) else None
    return ref if type(ref) is int and 0 <= ref < 2**32 else None

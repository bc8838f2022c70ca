"""Writes docs/asyncapi.yaml from the contracts: `python -m tests.contract.asyncapi_write`.

Schemas describe the JSON subprotocol's objects (JSON Schema draft 7, as AsyncAPI 3 takes it). Where the
same thing is an array in MessagePack, `x-messagepack` gives the order of its fields; `x-bytes` what is
bin there and base64url here.
"""

from __future__ import annotations

import ast
import inspect as source
import textwrap
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml
from msgspec import inspect

from services.gateway.frames import close_name
from shared.contracts.client import (
    FRAME_BYTES_MAX,
    FRAME_MESSAGES_MAX,
    SUBPROTOCOL,
    SUBPROTOCOL_JSON,
    ClientMessage,
    Closeness,
    Coarse,
    Gap,
    Hello,
    Move,
    PolicyChanged,
    Released,
    SampleShown,
    SealShown,
    ServerMessage,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)
from shared.contracts.refusals import CLOSES
from shared.contracts.sample import Sample
from shared.contracts.window import POST_BYTES_MAX, PostedWindow, ToSpeak, WindowTaken

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
WATCHED = (
    Hello,
    Move,
    Snapshot,
    StrandShown,
    SampleShown,
    SealShown,
    Skipped,
    StrandEnded,
    Released,
    Coarse,
    Struck,
    Gap,
    Closeness,
    PolicyChanged,
)
"""What may come on an event stream, beside `close`."""
HEAD = """\
# The protocol as AsyncAPI 3, made from shared/contracts by `python -m tests.contract.asyncapi_write`;
# a test holds it to them. docs/protocol.md says what it all means.
"""


def field_texts(kind: type) -> dict[str, str]:
    """The docstrings that stand under a struct's fields."""
    [tree] = ast.parse(textwrap.dedent(source.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            texts[field.target.id] = source.cleandoc(str(text.value.value))
    return texts


def text_of(kind: type) -> str | None:
    """A struct's own docstring."""
    own = kind.__doc__
    return source.cleandoc(own) if own and not own.startswith(f"{kind.__name__}(") else None


def base64_length(count: int) -> int:
    """Signs of base64url without padding."""
    return -(-count * 4 // 3)


class Schemas:
    """Schemas by name, each made when it is first referred to."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def ref(self, kind: type[msgspec.Struct]) -> dict[str, str]:
        if kind.__name__ not in self.made:
            self.made[kind.__name__] = {}
            self.made[kind.__name__] = self._struct(kind)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}

    def whole(self, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """A struct's schema where it stands alone."""
        return self._struct(kind)

    def _struct(self, kind: type[msgspec.Struct]) -> dict[str, Any]:
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        texts = field_texts(kind)
        properties: dict[str, Any] = {}
        required = [field.name for field in info.fields if field.required]
        order = [field.name for field in info.fields]
        if info.tag is not None:
            properties["type"] = {"const": info.tag}
            required.insert(0, "type")
            order.insert(0, "type")
        for field in info.fields:
            schema = self.of(field.type)
            if not field.required:
                schema["default"] = msgspec.to_builtins(field.default)
            if field.name in texts:
                # a reference takes no neighbours in draft 7
                schema = {"allOf": [schema]} if "$ref" in schema else schema
                schema["description"] = texts[field.name]
            properties[field.name] = schema
        if kind in {SampleShown, StrandShown}:
            properties["sample"] = {
                "allOf": [self.ref(Sample)],
                "description": "The body's decoded fields, in JSON alone; the body is what was signed.",
            }
            if kind is SampleShown:
                required.append("sample")
        schema = {"type": "object", "title": info.tag or kind.__name__}
        if text := text_of(kind):
            schema["description"] = text
        return schema | {"required": required, "properties": properties, "x-messagepack": order}

    def of(self, info: inspect.Type) -> dict[str, Any]:
        match info:
            case inspect.IntType():
                return {"type": "integer"} | _bounds(minimum=info.ge, maximum=_at_most(info))
            case inspect.StrType():
                bounds = _bounds(minLength=info.min_length, maxLength=info.max_length)
                return {"type": "string"} | bounds
            case inspect.BoolType():
                return {"type": "boolean"}
            case inspect.NoneType():
                return {"type": "null"}
            case inspect.BytesType():
                return _bytes(info)
            case inspect.EnumType():
                names = ", ".join(f"{each.value} {each.name.lower()}" for each in info.cls)
                return {"enum": [each.value for each in info.cls], "description": names}
            case inspect.StructType():
                return {**self.ref(info.cls)}
            case inspect.VarTupleType():
                bounds = _bounds(minItems=info.min_length, maxItems=info.max_length)
                return {"type": "array", "items": self.of(info.item_type)} | bounds
            case inspect.UnionType():
                return {"oneOf": [self.of(each) for each in info.types]}
            case _:
                raise AssertionError(f"no schema of {info}")


def _at_most(info: inspect.IntType) -> int | None:
    return info.le if info.lt is None else info.lt - 1


def _bounds(**bounds: int | None) -> dict[str, int]:
    return {name: value for name, value in bounds.items() if value is not None}


def _bytes(info: inspect.BytesType) -> dict[str, Any]:
    least, most = info.min_length or 0, info.max_length
    count = f"{least}" if least == most else f"{least}…{'' if most is None else most}"
    return {
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]*$",
        "minLength": base64_length(least),
        **({} if most is None else {"maxLength": base64_length(most)}),
        "x-bytes": count,
    }


def _message(schemas: Schemas, kind: type[msgspec.Struct]) -> dict[str, Any]:
    tag = str(kind.__struct_config__.tag)
    message: dict[str, Any] = {"name": tag, "title": tag}
    if text := text_of(kind):
        message["summary"] = " ".join(text.split("\n\n")[0].split())
    return message | {"contentType": "application/json", "payload": schemas.ref(kind)}


CLOSE = {
    "name": "close",
    "title": "close",
    "summary": "The last event of a stream that ends from the server's side.",
    "contentType": "application/json",
    "payload": {
        "type": "object",
        "required": ["type", "code", "reason"],
        "properties": {
            "type": {"const": "close"},
            "code": {"enum": [int(code) for code in CLOSES]},
            "reason": {"enum": [close_name(code) for code in CLOSES]},
        },
    },
}


def _answer(
    schemas: Schemas, kind: type[msgspec.Struct], name: str, *, without: str = ""
) -> dict[str, Any]:
    """An answer over HTTP: its fields alone, without a name among them."""
    whole = schemas.whole(kind)
    properties = {
        field: schema
        for field, schema in whole["properties"].items()
        if field not in {"type", without}
    }
    message = _message(schemas, kind) | {"name": name, "title": name}
    return message | {
        "payload": {"type": "object", "required": list(properties), "properties": properties}
    }


REFUSED_POST = {
    "name": "refused post",
    "title": "refused post",
    "summary": "Why a request was refused; the status is in docs/protocol.md.",
    "contentType": "application/json",
    "payload": {
        "type": "object",
        "required": ["refused"],
        "properties": {
            "refused": {"type": "string"},
            "meaning": {"type": "string"},
            "now_ms": {"type": "integer"},
        },
    },
}


def _posting(schemas: Schemas) -> dict[str, dict[str, Any]]:
    """What devices without sockets send and get."""
    window = _message(schemas, PostedWindow) | {"contentType": "application/msgpack"}
    return {
        "ToSpeak": _answer(schemas, ToSpeak, "to speak"),
        "PostedWindow": window,
        "WindowTaken": _answer(schemas, WindowTaken, "window taken", without="ref"),
        "RefusedPost": REFUSED_POST,
    }


def document() -> dict[str, Any]:
    """The whole of it."""
    schemas = Schemas()
    said, told = get_args(ClientMessage), get_args(ServerMessage)
    messages = {kind.__name__: _message(schemas, kind) for kind in (*said, *told)}
    messages["Close"] = CLOSE
    messages |= _posting(schemas)

    def shown(names: list[str]) -> dict[str, Any]:
        return {name: {"$ref": f"#/components/messages/{name}"} for name in names}

    def of_channel(channel: str, names: list[str]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]

    said_names = [kind.__name__ for kind in said]
    told_names = [kind.__name__ for kind in told]
    watched_names = [*(kind.__name__ for kind in WATCHED), "Close"]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Synchronia",
            "version": "1",
            "description": "A consent-first, real-time affect network. Signing, joining and consent are "
            "told in docs/protocol.md; this file tells what travels, field by field.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "sockets": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": "`wss` behind TLS; what `make up` starts has none.",
            },
            "http": {"host": "127.0.0.1:8080", "protocol": "http"},
        },
        "channels": {
            "live": {
                "address": "/v1/live",
                "title": "Speak and listen",
                "description": "WebSocket. A frame is an array of messages; from the client at most "
                f"{FRAME_MESSAGES_MAX} messages and {FRAME_BYTES_MAX} bytes. Subprotocol "
                f"`{SUBPROTOCOL_JSON}`: text, objects as below. Subprotocol `{SUBPROTOCOL}`: binary, "
                "MessagePack, every object an array of its fields in the order of `x-messagepack`, "
                "bytes as bin.",
                "servers": [{"$ref": "#/servers/sockets"}],
                "messages": shown([*said_names, *told_names]),
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "query": {
                            "type": "object",
                            "properties": {
                                "watch": {
                                    "type": "string",
                                    "pattern": "^[0-9a-fA-F]{32}$",
                                    "description": "Watch this public stage, without a token.",
                                }
                            },
                        },
                        "bindingVersion": "0.1.0",
                    }
                },
            },
            "watch": {
                "address": "/v1/watch/{sanctuary}",
                "title": "Watch what is public",
                "description": "Server-Sent Events: `event` is the message's name, `data` its object, "
                "`id` what the viewer holds behind it, to be sent back as Last-Event-ID.",
                "servers": [{"$ref": "#/servers/http"}],
                "parameters": {
                    "sanctuary": {"description": "A sanctuary's id in hex, or its slug."}
                },
                "messages": shown(watched_names),
            },
            "to_speak": {
                "address": "/v1/signatures/{sanctuary}",
                "title": "What to sign",
                "description": "GET, answered with one object.",
                "servers": [{"$ref": "#/servers/http"}],
                "parameters": {
                    "sanctuary": {"description": "A sanctuary's id in hex, or its slug."}
                },
                "messages": shown(["ToSpeak", "RefusedPost"]),
            },
            "signatures": {
                "address": "/v1/signatures",
                "title": "Speak without a socket",
                "description": "POST of a whole sealed window in MessagePack, an array in the order of "
                f"`x-messagepack`; at most {POST_BYTES_MAX} bytes. The answer is one object.",
                "servers": [{"$ref": "#/servers/http"}],
                "messages": shown(["PostedWindow", "WindowTaken", "RefusedPost"]),
            },
        },
        "operations": {
            "hear": {
                "action": "receive",
                "title": "What clients say",
                "channel": {"$ref": "#/channels/live"},
                "messages": of_channel("live", said_names),
            },
            "tell": {
                "action": "send",
                "title": "What clients are told",
                "channel": {"$ref": "#/channels/live"},
                "messages": of_channel("live", told_names),
            },
            "show": {
                "action": "send",
                "title": "What anonymous viewers are shown",
                "channel": {"$ref": "#/channels/watch"},
                "messages": of_channel("watch", watched_names),
                "bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}},
            },
            "ask": {
                "action": "send",
                "title": "What devices are told to sign",
                "channel": {"$ref": "#/channels/to_speak"},
                "messages": of_channel("to_speak", ["ToSpeak", "RefusedPost"]),
                "bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}},
            },
            "take": {
                "action": "receive",
                "title": "What devices post",
                "channel": {"$ref": "#/channels/signatures"},
                "messages": of_channel("signatures", ["PostedWindow"]),
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
                "reply": {
                    "channel": {"$ref": "#/channels/signatures"},
                    "messages": of_channel("signatures", ["WindowTaken", "RefusedPost"]),
                },
            },
        },
        "components": {"messages": messages, "schemas": schemas.made},
    }


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # untyped
    """Repeats what is repeated instead of pointing at it, and sets long text as blocks."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def written() -> str:
    """The file's text."""
    body: str = yaml.dump(
        document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return HEAD + body


if __name__ == "__main__":
    DOCUMENT.write_text(written(), encoding="utf-8")

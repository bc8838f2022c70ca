"""A client made of docs/asyncapi.yaml: it knows no contract, and checks every message both ways."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import yaml

from tests.support.wire import ANSWER_S_MAX, Message, Wire, base64url

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"


class Document:
    """The description as a reader uses it: schemas by channel and name, arrays and objects."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole
        self._schemas: dict[str, dict[str, dict[str, Any]]] = {}
        for channel, row in whole["channels"].items():
            messages = [self.at(ref["$ref"]) for ref in row["messages"].values()]
            self._schemas[channel] = {each["name"]: each["payload"] for each in messages}

    @classmethod
    def read(cls) -> Document:
        return cls(yaml.safe_load(DOCUMENT.read_text(encoding="utf-8")))

    sample_example: ClassVar[dict[str, Any]] = {
        "seq": 0,
        "t_ms": 1,
        "valence": 0,
        "arousal": 0,
        "dominance": None,
        "confidence": 1000,
        "provenance": 2,
        "labels": [],
        "note": None,
        "salt": "A" * 11,
    }

    def at(self, ref: str) -> dict[str, Any]:
        """What a local reference points at. Raises: KeyError."""
        node: Any = self.whole
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
        assert isinstance(node, dict)
        return node

    def names(self, channel: str) -> set[str]:
        return set(self._schemas[channel])

    def properties(self, channel: str, name: str) -> dict[str, Any]:
        properties = self._resolved(self._schemas[channel][name])["properties"]
        assert isinstance(properties, dict)
        return properties

    def order(self, channel: str, name: str) -> list[str]:
        """Of a message's fields in MessagePack."""
        return list(self._resolved(self._schemas[channel][name])["x-messagepack"])

    def check(self, channel: str, fields: dict[str, Any]) -> None:
        """As `check_named`, by the message's own word."""
        self.check_named(channel, fields["type"], fields)

    def check_named(self, channel: str, name: str, fields: dict[str, Any]) -> None:
        """Raises: KeyError for a message that the channel does not have, ValidationError for fields that
        do not fit, AssertionError for fields that are not documented.
        """
        schema = self._schemas[channel][name]
        whole = {**schema, "components": self.whole["components"]}
        jsonschema.Draft7Validator(whole).validate(fields)
        known = set(self._resolved(schema)["properties"])
        assert set(fields) <= known, f"not documented: {set(fields) - known}"

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema without the wrapping that its description may have needed."""
        if "allOf" in schema:
            [schema] = schema["allOf"]
        return self._resolved(self.at(schema["$ref"])) if "$ref" in schema else schema

    # ── objects and arrays ───────────────────────────────────────────────────────────────────────

    def _message(self, name: str) -> dict[str, Any]:
        return self._resolved(self._schemas["live"][name])

    def object_of(self, array: Message) -> dict[str, Any]:
        """A MessagePack message's array as the JSON object that the document makes of it."""
        fields = self._out(array, self._message(array[0]))
        assert isinstance(fields, dict)
        return fields

    def array_of(self, fields: dict[str, Any]) -> Message:
        array = self._in(fields, self._message(fields["type"]))
        assert isinstance(array, list)
        return array

    def _choice(self, value: Any, schema: dict[str, Any]) -> dict[str, Any]:
        """The part of a `oneOf` that is not nil; no union of ours has more."""
        schema = self._resolved(schema)
        if "oneOf" in schema and value is not None:
            [other] = [part for part in schema["oneOf"] if part.get("type") != "null"]
            return self._resolved(other)
        return schema

    def _out(self, value: Any, schema: dict[str, Any]) -> Any:
        schema = self._choice(value, schema)
        if "x-messagepack" in schema:
            return {
                name: self._out(part, schema["properties"][name])
                for name, part in zip(schema["x-messagepack"], value, strict=False)
            }
        if isinstance(value, bytes):
            assert "x-bytes" in schema
            return base64url(value)
        if isinstance(value, list | tuple):
            return [self._out(part, schema["items"]) for part in value]
        return value

    def _in(self, value: Any, schema: dict[str, Any]) -> Any:
        schema = self._choice(value, schema)
        if "x-messagepack" in schema:
            names = [name for name in schema["x-messagepack"] if name in value]
            return [self._in(value[name], schema["properties"][name]) for name in names]
        if "x-bytes" in schema and isinstance(value, str):
            return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        if isinstance(value, list):
            return [self._in(part, schema["items"]) for part in value]
        return value


class DocumentedWire(Wire):
    """A socket of the JSON subprotocol that speaks by the document and checks all that it hears."""

    document: Document
    said: list[str]
    told: list[str]

    @classmethod
    async def dial(cls, url: str, document: Document) -> DocumentedWire:
        cls.document = document
        wire = await cls.connect(url, subprotocols=["synchronia.v1.json"])
        assert isinstance(wire, DocumentedWire)
        return wire

    def __init__(self, socket: Any) -> None:
        super().__init__(socket)
        self.said, self.told = [], []

    async def send(self, *messages: object) -> None:
        objects = []
        for message in messages:
            assert isinstance(message, list)
            fields = self.document.object_of(message)
            self.document.check("live", fields)
            self.said.append(fields["type"])
            objects.append(fields)
        await self.socket.send(json.dumps(objects))

    async def receive(self) -> Message:
        while not self._waiting:
            frame = await self._frame(ANSWER_S_MAX)
            assert isinstance(frame, str)
            for fields in json.loads(frame):
                self.document.check("live", fields)
                self.told.append(fields["type"])
                self._waiting.append(self.document.array_of(fields))
        return self._waiting.pop(0)

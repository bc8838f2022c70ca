"""docs/asyncapi.yaml says what the contracts say, and its schemas take and refuse what they should."""

from __future__ import annotations

from typing import Any, get_args

import jsonschema
import msgspec
import pytest
import yaml

from services.gateway.core import json_twin
from services.gateway.signatures import told
from services.gateway.sse import close_event
from shared.codec import encode
from shared.contracts.client import ClientMessage, Refused, ServerMessage
from shared.contracts.refusals import CLOSES, MEANING, Refusal
from shared.contracts.window import PostedWindow, ToSpeak, WindowTaken
from tests.contract.asyncapi_write import DOCUMENT, written
from tests.contract.examples import example
from tests.support.documented import Document

SAID = {kind.__name__: kind for kind in get_args(ClientMessage)}
POSTING = {"ToSpeak", "PostedWindow", "WindowTaken", "RefusedPost"}
TOLD = {kind.__name__: kind for kind in get_args(ServerMessage)}


@pytest.fixture(scope="module")
def document() -> Document:
    return Document.read()


def test_the_file_is_what_the_contracts_make() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == written(), "changed? python -m tests.contract.asyncapi_write"


def test_every_message_has_its_place_and_its_words(document: Document) -> None:
    live = document.whole["channels"]["live"]["messages"]
    assert set(live) == set(SAID) | set(TOLD)
    messages = document.whole["components"]["messages"]
    assert set(messages) == set(live) | {"Close"} | POSTING
    for name, message in messages.items():
        assert message.get("summary"), f"{name} has no docstring"
    operations = document.whole["operations"]
    for operation, names in (("hear", SAID), ("tell", TOLD)):
        refs = [row["$ref"].rpartition("/")[2] for row in operations[operation]["messages"]]
        assert set(refs) == set(names)


def test_every_reference_leads_somewhere(document: Document) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                document.at(node["$ref"])
            for part in node.values():
                walk(part)
        elif isinstance(node, list):
            for part in node:
                walk(part)

    walk(document.whole)


@pytest.mark.parametrize("name", sorted(SAID | TOLD))
@pytest.mark.parametrize("size", ["full", "least"])
def test_examples_of_a_contract_are_taken(document: Document, name: str, size: str) -> None:
    """Both forms: the object as JSON has it, and the array through the documented order."""
    kind = (SAID | TOLD)[name]
    made = example(kind, full=size == "full")
    array = msgspec.msgpack.decode(encode(made))
    fields = document.object_of(array)
    for key in ("body", "bodies"):  # an example's body is no sample
        if fields.get(key):
            assert name in {"SampleShown", "StrandShown", "Samples"}
    if name == "SampleShown":
        fields["sample"] = dict(document.sample_example)
    document.check("live", fields)
    assert document.array_of(fields) == array
    if name in SAID:
        assert json_twin.message_of(fields) == encode(made)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "time?"},
        {"type": "time?", "client_ms": -1},
        {"type": "time?", "client_ms": 2**53},
        {"type": "time?", "client_ms": "1"},
        {"type": "leave", "ref": 1, "sanctuary": "AAAA"},
        {"type": "leave", "ref": 1, "sanctuary": "A" * 21 + "="},
        {"type": "samples", "sanctuary": "A" * 22, "strand": "A" * 43, "epoch": 0, "bodies": []},
        {"type": "token", "jwt": "x" * 2049},
        {"type": "enrol", "ref": 1, "record": ["AA", "A" * 86]},
        {"type": "sing"},
    ],
)
def test_what_the_gateway_refuses_the_schemas_refuse(
    document: Document, fields: dict[str, Any]
) -> None:
    with pytest.raises((jsonschema.ValidationError, KeyError)):
        document.check("live", fields)
    with pytest.raises(Exception, match=r"malformed|out of range|unknown kind"):
        json_twin.message_of(fields)


def test_the_last_event_of_a_stream_is_documented(document: Document) -> None:
    for code in CLOSES:
        [_, data] = close_event(code).decode().strip().split("\n")
        document.check("watch", yaml.safe_load(data.removeprefix("data: ")))


@pytest.mark.parametrize("kind", [ToSpeak, WindowTaken])
@pytest.mark.parametrize("size", ["full", "least"])
def test_what_a_device_is_answered_is_documented(
    document: Document, kind: type[msgspec.Struct], size: str
) -> None:
    made = example(kind, full=size == "full")
    assert isinstance(made, ToSpeak | WindowTaken)
    response = told(made, {})
    assert isinstance(response.body, bytes)
    channel = "to_speak" if kind is ToSpeak else "signatures"
    name = "to speak" if kind is ToSpeak else "window taken"
    fields = msgspec.json.decode(response.body)
    document.check_named(channel, name, fields)
    if size == "full":
        assert set(fields) == set(document.properties(channel, name))


@pytest.mark.parametrize("reason", list(Refusal))
def test_a_device_is_refused_as_documented(document: Document, reason: Refusal) -> None:
    response = told(Refused(None, reason.value, MEANING[reason], 1), {})
    assert isinstance(response.body, bytes)
    document.check_named("signatures", "refused post", msgspec.json.decode(response.body))
    waits = {429, 503}
    assert ("Retry-After" in response.headers) == (response.status in waits)


@pytest.mark.parametrize("size", ["full", "least"])
def test_a_posted_window_is_documented_as_it_travels(document: Document, size: str) -> None:
    made = example(PostedWindow, full=size == "full")
    array = msgspec.msgpack.decode(encode(made))
    properties = document.properties("signatures", "signatures/1")
    assert document.order("signatures", "signatures/1") == ["type", *made.__struct_fields__]
    assert len(array) == len(properties)

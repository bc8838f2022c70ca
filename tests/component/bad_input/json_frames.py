"""Bad text frames of the JSON subprotocol, and the exact refusal of each. The session stays."""

from __future__ import annotations

import json
from typing import Any

from tests.component.bad_input.frames import HERE, SIGNATURE, STRAND
from tests.support.wire import base64url

ID = base64url(HERE)
RECORD = {"payload": base64url(b"x"), "signature": base64url(SIGNATURE)}


def _text(**fields: Any) -> str:
    return json.dumps([fields])


def _leave(sanctuary: str, ref: object = 1) -> str:
    return _text(type="leave", ref=ref, sanctuary=sanctuary)


def _samples(**fields: Any) -> str:
    whole = {"sanctuary": ID, "strand": base64url(STRAND), "epoch": 0, "bodies": ["kA"]}
    return _text(type="samples", **(whole | fields))


# (name, the frame's text, refusal)
JSON_FRAMES: tuple[tuple[str, str, str], ...] = (
    ("not JSON", "hello", "malformed"),
    ("no text", "", "malformed"),
    ("an object", '{"type": "time?", "client_ms": 1}', "malformed"),
    ("a number", "7", "malformed"),
    ("null", "null", "malformed"),
    ("a comma too many", '[{"type": "time?", "client_ms": 1},]', "malformed"),
    ("a comment", '[/* now */ {"type": "time?", "client_ms": 1}]', "malformed"),
    ("a name without quotes", '[{type: "time?", client_ms: 1}]', "malformed"),
    ("a frame cut short", '[{"type": "time?", "client', "malformed"),
    ("a byte order mark", '\ufeff[{"type": "time?", "client_ms": 1}]', "malformed"),
    ("two frames in one", '[{"type": "time?", "client_ms": 1}][]', "malformed"),
    ("nested ten thousand deep", "[" * 10_000 + "]" * 10_000, "malformed"),
    ("not a number", '[{"type": "time?", "client_ms": NaN}]', "malformed"),
    ("infinity", '[{"type": "time?", "client_ms": 1e999}]', "malformed"),
    (
        "a number of 400 digits",
        '[{"type": "time?", "client_ms": ' + "9" * 400 + "}]",
        "out of range",
    ),
    ("65 objects", "[" + ",".join(['{"type":"time?","client_ms":1}'] * 65) + "]", "oversize"),
    ("an array as on the other subprotocol", '[["time?", 1]]', "malformed"),
    ("an object without type", '[{"client_ms": 1}]', "malformed"),
    ("a type that is null", '[{"type": null, "client_ms": 1}]', "malformed"),
    ("a type that is a list", '[{"type": ["time?"], "client_ms": 1}]', "malformed"),
    ("half of a surrogate pair", '[{"type": "\\ud800", "client_ms": 1}]', "malformed"),
    ("a type that nobody knows", '[{"type": "dance"}]', "unknown kind"),
    ("a server's type", '[{"type": "sample", "strand": "", "body": ""}]', "unknown kind"),
    ("a field too few", _text(type="leave", ref=1), "malformed"),
    ("fields by number", '[{"type": "leave", "1": 1, "2": "' + ID + '"}]', "malformed"),
    ("a ref that is text", _leave(ID, "1"), "malformed"),
    ("a ref that is half", _leave(ID, 1.5), "malformed"),
    ("a ref that is true", _leave(ID, ref=True), "malformed"),
    ("a ref below zero", _leave(ID, -1), "out of range"),
    ("a time above 53 bits", '[{"type": "time?", "client_ms": 9007199254740992}]', "out of range"),
    ("bytes in hex", _leave(HERE.hex()), "out of range"),
    ("bytes padded", _leave(ID + "=="), "malformed"),
    ("the other base64", _leave("+/" + ID[2:]), "malformed"),
    ("white space in base64", _leave(ID[:11] + "\n" + ID[11:]), "malformed"),
    ("bits that stand for nothing", _leave(ID[:-1] + chr(ord(ID[-1]) + 1)), "malformed"),
    ("a letter too few", _leave(ID[:-1]), "malformed"),
    ("bytes as a list of numbers", _text(type="leave", ref=1, sanctuary=[0] * 16), "malformed"),
    ("bytes that are null", _text(type="leave", ref=1, sanctuary=None), "malformed"),
    ("a record as a list", _text(type="record", ref=1, record=["eA", "AA"]), "malformed"),
    (
        "a record without signature",
        _text(type="record", ref=1, record={"payload": "eA"}),
        "malformed",
    ),
    (
        "a record with half a signature",
        _text(type="record", ref=1, record=RECORD | {"signature": base64url(bytes(32))}),
        "out of range",
    ),
    ("a record that is text", _text(type="enrol", ref=1, record="eA"), "malformed"),
    ("bodies in one text", _samples(bodies="kA"), "malformed"),
    ("a body decoded", _samples(bodies=[{"seq": 0, "valence": 1}]), "malformed"),
    ("no bodies", _samples(bodies=[]), "out of range"),
    ("an empty body", _samples(bodies=[""]), "out of range"),
    ("an epoch that is null", _samples(epoch=None), "malformed"),
    (
        "what is held as pairs",
        _text(type="join", ref=1, sanctuary=ID, record=RECORD, held=[["", 1]]),
        "malformed",
    ),
    ("samples without a seat", _samples(), "not a member"),
)

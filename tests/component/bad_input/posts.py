"""Bad windows posted by devices without sockets, and the status and name of each refusal."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.component.bad_input.frames import HERE
from tests.component.bad_input.http import request
from tests.support.wire import pack

Window = list[Any]
"""A good one: name, join, epoch, opening, bodies, seal."""

AT = {"join": 1, "epoch": 2, "opening": 3, "bodies": 4, "seal": 5}


def with_field(window: Window, name: str, value: object) -> Window:
    at = AT[name]
    return [*window[:at], value, *window[at + 1 :]]


def _with(name: str, value: object) -> Callable[[Window], bytes]:
    return lambda window: pack(with_field(window, name, value))


# (name, a good window → the body that is posted, refusal)
POSTS: tuple[tuple[str, Callable[[Window], bytes], str], ...] = (
    # the whole
    ("nil", lambda w: pack(None), "malformed"),
    ("text", lambda w: pack("signatures/1"), "malformed"),
    ("JSON", lambda w: json.dumps({"epoch": 0}).encode(), "malformed"),
    ("a form", lambda w: b"join=a&epoch=0&seal=b", "malformed"),
    ("base64 of a good one", lambda w: base64.b64encode(pack(w)), "malformed"),
    ("hex of a good one", lambda w: pack(w).hex().encode(), "malformed"),
    ("packed twice", lambda w: pack(pack(w)), "malformed"),
    ("in an array, as in a frame", lambda w: pack([w]), "malformed"),
    ("twice", lambda w: pack(w) * 2, "malformed"),
    ("a byte behind it", lambda w: pack(w) + b"\x00", "malformed"),
    ("fields by number", lambda w: pack(dict(enumerate(w))), "malformed"),
    ("its name in bytes", lambda w: pack([b"signatures/1", *w[1:]]), "malformed"),
    ("its name left out", lambda w: pack(w[1:]), "malformed"),
    ("what a socket would send", lambda w: pack(["samples", HERE, HERE * 2, 0, w[4]]), "malformed"),
    ("what a gateway would say", lambda w: pack(["window", 1, HERE, 0, *w[3:]]), "malformed"),
    ("a length that lies", lambda w: b"\xdd\xff\xff\xff\xff", "malformed"),
    (
        "a byte that MessagePack never uses",
        lambda w: pack(w[:5]).replace(b"\x95", b"\x96", 1) + b"\xc1",
        "malformed",
    ),
    ("one byte above the limit", lambda w: bytes(65_537), "oversize"),
    # its fields
    ("no join", _with("join", None), "malformed"),
    (
        "a join in one string of bytes",
        lambda w: pack(with_field(w, "join", w[1][0] + w[1][1])),
        "malformed",
    ),
    ("an epoch that is nil", _with("epoch", None), "malformed"),
    ("an epoch in text", _with("epoch", "0"), "malformed"),
    ("an epoch that is true", _with("epoch", True), "malformed"),
    ("no opening", _with("opening", None), "malformed"),
    (
        "an opening without signature",
        lambda w: pack(with_field(w, "opening", w[3][:1])),
        "malformed",
    ),
    ("the join for an opening", lambda w: pack(with_field(w, "opening", w[1])), "malformed"),
    ("the opening for a join", lambda w: pack(with_field(w, "join", w[3])), "malformed"),
    ("no bodies", _with("bodies", None), "malformed"),
    (
        "bodies in one string of bytes",
        lambda w: pack(with_field(w, "bodies", b"".join(w[4]))),
        "malformed",
    ),
    ("a body in text", _with("bodies", ["calm"]), "malformed"),
    ("a body that is not in bytes", _with("bodies", [[0, 1, 2]]), "malformed"),
    ("a body of 4097 bytes", _with("bodies", [bytes(4097)]), "out of range"),
    ("33 bodies", _with("bodies", [b"\x90"] * 33), "out of range"),
    (
        "fewer bodies than the seal speaks of",
        lambda w: pack(with_field(w, "bodies", w[4][:1])),
        "bad seal",
    ),
    (
        "more bodies than the seal speaks of",
        lambda w: pack(with_field(w, "bodies", w[4] + w[4][:1])),
        "bad seal",
    ),
    ("its bodies crosswise", lambda w: pack(with_field(w, "bodies", w[4][::-1])), "bad seal"),
    ("no seal", _with("seal", None), "malformed"),
    ("the opening for a seal", lambda w: pack(with_field(w, "seal", w[3])), "malformed"),
)

STATUS = {
    "bad signature": 403,
    "unknown citizen": 403,
    "unknown device": 403,
    "not invited": 403,
    "not a member": 403,
    "no such room": 404,
    "wrong session": 409,
    "wrong challenge": 409,
    "wrong policy": 409,
    "unknown strand": 409,
    "oversize": 413,
}
"""docs/protocol.md, "Without a socket": what is not named there is 400."""

_PATH = "/v1/signatures"

# (name, bytes on a bare TCP connection, status, refusal; nothing where the answer has no body)
POST_REQUESTS: tuple[tuple[str, bytes, str, str], ...] = (
    ("GET where one posts", request("GET", _PATH), "405", "method not allowed"),
    ("PUT", request("PUT", _PATH, "Content-Length: 0"), "405", "method not allowed"),
    ("DELETE", request("DELETE", _PATH), "405", "method not allowed"),
    ("HEAD", request("HEAD", _PATH), "405", ""),
    ("a method of one's own", request("DANCE", _PATH), "405", "method not allowed"),
    (
        "POST where one asks",
        request("POST", f"{_PATH}/open-stage", "Content-Length: 0"),
        "405",
        "method not allowed",
    ),
    ("a query", request("POST", f"{_PATH}?room=1", "Content-Length: 0"), "400", "query"),
    ("a query where one asks", request("GET", f"{_PATH}/open-stage?now"), "400", "query"),
    (
        "another site's origin",
        request("POST", _PATH, "Content-Length: 0", "Origin: https://else.where"),
        "403",
        "origin",
    ),
    (
        "the origin null",
        request("POST", _PATH, "Content-Length: 0", "Origin: null"),
        "403",
        "origin",
    ),
    (
        "another site's origin where one asks",
        request("GET", f"{_PATH}/open-stage", "Origin: https://else.where"),
        "403",
        "origin",
    ),
    ("no body", request("POST", _PATH), "400", "malformed"),
    ("a body of no bytes", request("POST", _PATH, "Content-Length: 0"), "400", "malformed"),
    (
        "a body announced above the limit",
        request("POST", _PATH, "Content-Length: 65537"),
        "413",
        "oversize",
    ),
    (
        "a body of a terabyte, announced",
        request("POST", _PATH, f"Content-Length: {2**40}"),
        "413",
        "oversize",
    ),
    (
        "chunks above the limit",
        request("POST", _PATH, "Transfer-Encoding: chunked")
        + (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 3
        + b"0\r\n\r\n",
        "413",
        "oversize",
    ),
    (
        "a chunk whose length is no number",
        request("POST", _PATH, "Transfer-Encoding: chunked") + b"zz\r\n",
        "400",
        "malformed",
    ),
    ("a name that can be none", request("GET", f"{_PATH}/Open_Stage"), "404", "not found"),
    ("no name where one asks", request("GET", f"{_PATH}/"), "404", "not found"),
    ("a path that climbs", request("GET", f"{_PATH}/../../etc/passwd"), "404", "not found"),
)

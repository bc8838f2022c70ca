"""Bad requests on a bare TCP connection, and the status of the answer; bad WebSocket frames."""

from __future__ import annotations

from tests.component.bad_input.frames import HERE, STAGE
from tests.support.wire import pack


def request(method: str, path: str, *lines: str, version: str = "HTTP/1.1") -> bytes:
    head = (f"{method} {path} {version}", "Host: here", "Connection: close", *lines, "", "")
    return "\r\n".join(head).encode("latin-1")


def _get(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", *lines, "", "")).encode("latin-1")


def _upgrade(
    path: str = "/v1/live", *more: str, method: str = "GET", **changes: str | None
) -> bytes:
    """A WebSocket hand-shake; a header that is None is left out, `_` stands for `-`."""
    headers: dict[str, str | None] = {
        "Host": "here",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Protocol": "synchronia.v1",
    }
    headers |= changes
    lines = (f"{k.replace('_', '-')}: {v}" for k, v in headers.items() if v is not None)
    return "\r\n".join((f"{method} {path} HTTP/1.1", *lines, *more, "", "")).encode("latin-1")


# (name, bytes on a bare TCP connection, the status of the answer)
HTTP: tuple[tuple[str, bytes, str], ...] = (
    # other tongues
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"),
    ("SOCKS", b"\x05\x01\x00", "400"),
    ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "400"),
    ("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    ("HTTP/0.9", b"GET /livez\r\n\r\n", "400"),
    ("a version to come", request("GET", "/livez", version="HTTP/1.2"), "505"),
    ("a version in small letters", request("GET", "/livez", version="http/1.1"), "505"),
    # the request line
    ("a request line of one word", b"HELLO\r\n\r\n", "400"),
    ("a request line of four words", request("GET", "/livez /readyz"), "400"),
    ("two spaces in the request line", request("GET", " /livez"), "400"),
    ("an empty line first", b"\r\n" + _get("/livez", "Host: here"), "400"),
    ("a space first", b" " + _get("/livez", "Host: here"), "400"),
    ("a path that is not ASCII", request("GET", "/caf\xe9"), "400"),
    ("a zero in the path", request("GET", "/livez\0"), "400"),
    ("a method that is none", request("G(E)T", "/livez"), "400"),
    ("a head of bare line feeds", b"GET /livez HTTP/1.1\nHost: here\n\n\r\n\r\n", "400"),
    ("a path of 9000 signs", request("GET", "/" + "a" * 9000), "431"),
    # headers
    ("a header of 20 kB", _get("/", "Host: here", "X: " + "a" * 20_000), "431"),
    ("101 headers", _get("/livez", "Host: here", *[f"X-{n}: 1" for n in range(101)]), "431"),
    ("a header without a colon", _get("/livez", "Host here", "Connection: close"), "400"),
    ("a header without a name", request("GET", "/livez", ": nothing"), "400"),
    ("a space before the colon", request("GET", "/livez", "Host : there"), "400"),
    ("a header folded over two lines", request("GET", "/livez", "X: one", " two"), "400"),
    ("a zero in a header", request("GET", "/livez", "X: a\0b"), "400"),
    ("a bare carriage return in a header", request("GET", "/livez", "X: a\rY: b"), "400"),
    ("two hosts", request("GET", "/livez", "Host: there"), "400"),
    # paths and methods
    ("no such path", request("GET", "/nowhere"), "404"),
    ("a path that climbs", request("GET", "/../../etc/passwd"), "404"),
    ("a path that climbs in hex", request("GET", "/%2e%2e/%2e%2e/etc/passwd"), "404"),
    ("a path in capitals", request("GET", "/LIVEZ"), "404"),
    ("a path with a slash behind it", request("GET", "/livez/"), "404"),
    ("a method that is not allowed", request("POST", "/livez", "Content-Length: 0"), "405"),
    ("a method of one's own", request("DANCE", "/livez"), "405"),
    ("DELETE", request("DELETE", "/readyz"), "405"),
    ("the metrics, which are not for anybody", request("GET", "/metrics"), "404"),
    ("TRACE", request("TRACE", "/"), "405"),
    ("OPTIONS", request("OPTIONS", "/v1/live"), "405"),
    ("a length that is no number", request("POST", "/livez", "Content-Length: ten"), "400"),
    ("a length below zero", request("POST", "/livez", "Content-Length: -1"), "400"),
    ("two lengths", request("POST", "/livez", "Content-Length: 1", "Content-Length: 2"), "400"),
    (
        "a length and chunks",
        request("POST", "/livez", "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        "400",
    ),
    # the WebSocket hand-shake
    ("live without upgrade", _get("/v1/live", "Host: here", "Connection: close"), "426"),
    ("another upgrade", _upgrade(Upgrade="h2c"), "426"),
    ("an upgrade that is not said twice", _upgrade(Connection="close"), "400"),
    ("an upgrade by POST", _upgrade(method="POST"), "405"),
    ("an upgrade with a body", _upgrade(Content_Length="3"), "400"),
    ("an upgrade with chunks", _upgrade(Transfer_Encoding="chunked"), "400"),
    ("no such subprotocol", _upgrade(Sec_WebSocket_Protocol="chat"), "400"),
    ("a subprotocol of no name", _upgrade(Sec_WebSocket_Protocol=""), "400"),
    ("no WebSocket key", _upgrade(Sec_WebSocket_Key=None), "400"),
    ("a WebSocket key of 15 bytes", _upgrade(Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAA"), "400"),
    ("a WebSocket key that is no base64", _upgrade(Sec_WebSocket_Key="*" * 24), "400"),
    (
        "two WebSocket keys",
        _upgrade("/v1/live", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        "400",
    ),
    ("WebSocket version 8", _upgrade(Sec_WebSocket_Version="8"), "426"),
    ("no WebSocket version", _upgrade(Sec_WebSocket_Version=None), "426"),
    ("no host", _upgrade(Host=None), "400"),
    ("a host that is none", _upgrade(Host="a b"), "400"),
    ("another site's origin", _upgrade(Origin="https://else.where"), "403"),
    ("the origin null", _upgrade(Origin="null"), "403"),
    ("an origin that has ours within", _upgrade(Origin="http://here.else.where"), "403"),
    ("an origin with a path", _upgrade(Origin="http://here/page"), "403"),
    ("two origins", _upgrade("/v1/live", "Origin: http://here", Origin="http://here"), "400"),
    ("a sanctuary that is not hex", _upgrade("/v1/live?watch=commons"), "400"),
    ("half a sanctuary", _upgrade(f"/v1/live?watch={HERE.hex()[:16]}"), "400"),
    ("two sanctuaries", _upgrade(f"/v1/live?watch={STAGE.hex()}&watch={STAGE.hex()}"), "400"),
    ("a question that nobody knows", _upgrade("/v1/live?token=secret"), "400"),
)

_WATCH = "/v1/watch/"
_EVENTS = "Accept: text/event-stream"

# (name, bytes, status, name of the refusal); requests for event streams
WATCH: tuple[tuple[str, bytes, str, str], ...] = (
    (
        "a room that is not public",
        request("GET", _WATCH + "emotive-commons", _EVENTS),
        "404",
        "not found",
    ),
    (
        "a room that is not public, by its id",
        request("GET", _WATCH + HERE.hex(), _EVENTS),
        "404",
        "not found",
    ),
    ("a room that is not", request("GET", _WATCH + "no-such-room", _EVENTS), "404", "not found"),
    ("no room", request("GET", _WATCH, _EVENTS), "404", "not found"),
    (
        "a slash behind the room",
        request("GET", _WATCH + "open-stage/", _EVENTS),
        "404",
        "not found",
    ),
    ("a slug in capitals", request("GET", _WATCH + "Open-Stage", _EVENTS), "404", "not found"),
    ("a slug in hex signs", request("GET", _WATCH + "open%2Dstage", _EVENTS), "404", "not found"),
    ("a slug of 65 signs", request("GET", _WATCH + "a" * 65, _EVENTS), "404", "not found"),
    ("an id of 31 digits", request("GET", _WATCH + STAGE.hex()[:31], _EVENTS), "404", "not found"),
    ("a path that climbs out", request("GET", _WATCH + "../../livez", _EVENTS), "404", "not found"),
    ("a query", request("GET", _WATCH + "open-stage?since=1", _EVENTS), "400", "query"),
    ("a body", request("GET", _WATCH + "open-stage", "Content-Length: 3") + b"abc", "400", "body"),
    ("chunks", request("GET", _WATCH + "open-stage", "Transfer-Encoding: chunked"), "400", "body"),
    (
        "another site's origin",
        request("GET", _WATCH + "open-stage", "Origin: https://else.where"),
        "403",
        "origin",
    ),
    ("the origin null", request("GET", _WATCH + "open-stage", "Origin: null"), "403", "origin"),
    (
        "two origins",
        request("GET", _WATCH + "open-stage", "Origin: http://here", "Origin: http://here"),
        "400",
        "repeated header",
    ),
    ("two hosts", request("GET", _WATCH + "open-stage", "Host: there"), "400", "repeated header"),
    ("no host", b"GET /v1/watch/open-stage HTTP/1.1\r\n\r\n", "400", "host"),
    ("HEAD", request("HEAD", _WATCH + "open-stage"), "405", ""),
    (
        "POST",
        request("POST", _WATCH + "open-stage", "Content-Length: 0"),
        "405",
        "method not allowed",
    ),
    (
        "PUT",
        request("PUT", _WATCH + "open-stage", "Content-Length: 0"),
        "405",
        "method not allowed",
    ),
    (
        "OPTIONS of another site's page",
        request(
            "OPTIONS",
            _WATCH + "open-stage",
            "Origin: https://else.where",
            "Access-Control-Request-Method: GET",
        ),
        "405",
        "method not allowed",
    ),
)


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """A client's WebSocket frame with a mask of zeros (RFC 6455, section 5.2)."""
    assert len(payload) < 126
    head = bytes((first, (0x80 if masked else 0) | len(payload)))
    return head + (bytes(4) if masked else b"") + payload


# (name, raw bytes behind the upgrade, the close code)
WEBSOCKET: tuple[tuple[str, bytes, int], ...] = (
    ("an unmasked frame", frame(0x82, pack([]), masked=False), 4000),
    ("a text frame", frame(0x81, b"[]"), 4000),
    ("a reserved opcode", frame(0x83, b""), 4000),
    ("a reserved opcode for control", frame(0x8B, b""), 4000),
    ("a compressed frame", frame(0xC2, b"\x90"), 4000),
    ("the second reserved bit", frame(0xA2, b"\x90"), 4000),
    ("the third reserved bit", frame(0x92, b"\x90"), 4000),
    ("a length of 2⁶⁴ − 1", b"\x82\xff" + b"\xff" * 8 + bytes(4), 4000),
    ("a length in more bytes than need be", b"\x82\xfe\x00\x05" + bytes(4) + b"\x90" * 5, 4000),
    ("a length in eight bytes for 200", b"\x82\xff" + (200).to_bytes(8, "big") + bytes(204), 4000),
    (
        "a frame of 70 000 bytes",
        b"\x82\xff" + (70_000).to_bytes(8, "big") + bytes(4) + bytes(70_000),
        4004,
    ),
    ("a frame of a gigabyte, announced", b"\x82\xff" + (2**30).to_bytes(8, "big") + bytes(4), 4004),
    (
        "70 000 bytes in two pieces",
        b"\x02\xfe"
        + (35_000).to_bytes(2, "big")
        + bytes(4 + 35_000)
        + b"\x80\xfe"
        + (35_000).to_bytes(2, "big")
        + bytes(4 + 35_000),
        4004,
    ),
    ("three thousand empty pieces", frame(0x02, b"") + frame(0x00, b"") * 3000, 4004),
    ("a continuation of nothing", frame(0x80, b"\x90"), 4000),
    ("a message within a message", frame(0x02, b"\x91") + frame(0x82, b"\x90"), 4000),
    ("a text within a message", frame(0x02, b"\x91") + frame(0x81, b"[]"), 4000),
    ("a ping of 126 bytes", b"\x89\xfe\x00\x7e" + bytes(4) + bytes(126), 4000),
    ("a ping in pieces", frame(0x09, b"x"), 4000),
    ("a close in pieces", frame(0x08, b""), 4000),
    ("half a close code", frame(0x88, b"\x03"), 4000),
    ("a close code that nobody may send", frame(0x88, b"\x03\xed"), 4000),
    ("a close whose reason is no text", frame(0x88, b"\x03\xe8\xff\xfe"), 4000),
)

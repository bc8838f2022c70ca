"""A request's head, read just far enough to know whose it is. Pure.

RFC 9112 (HTTP/1.1) and RFC 6455, section 4.2.1 (the opening handshake). What is refused is refused by
name; nothing of the request is echoed.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from http import HTTPMethod

from shared.contracts.client import SUBPROTOCOL, SUBPROTOCOL_JSON
from shared.identifiers import SanctuaryId, sanctuary_of_slug

LIVE_PATH = "/v1/live"
WATCH_PATH = "/v1/watch/"
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_HOST = re.compile(r"[A-Za-z0-9.\-_:\[\]]{1,255}")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-_:\[\]]{1,255}")
_SANCTUARY = re.compile(r"[0-9a-fA-F]{32}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SLUG_SIGNS_MAX = 64
_HELD = re.compile(r"[A-Za-z0-9_-]{16}")
_HEADERS_MAX = 100
_METHODS = frozenset(method.value.encode() for method in HTTPMethod)


class HeadRefused(Exception):  # noqa: N818  (a refusal is an outcome)
    """Answered with `status` and `name`; then the connection is closed."""

    def __init__(self, status: int, name: str, **headers: str) -> None:
        super().__init__(name)
        self.status = status
        self.name = name
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Head:
    """Header names in lower case; of repeated ones the values, joined by a comma."""

    method: str
    path: str
    query: str
    headers: dict[str, str] = field(repr=False)

    @property
    def asks_websocket(self) -> bool:
        return "websocket" in tokens(self.headers.get("upgrade", ""))


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A good WebSocket handshake. `protocol` nil: the client named none, and gets MessagePack."""

    key: str
    origin: str
    protocol: str | None
    watch: SanctuaryId | None

    @property
    def is_json(self) -> bool:
        return self.protocol == SUBPROTOCOL_JSON


@dataclass(frozen=True, slots=True)
class WatchAsked:
    """A good request for an event stream. `held`: what `Last-Event-ID` says of a former one."""

    sanctuary: SanctuaryId
    origin: str
    held: str
    is_foreign: bool
    """Whether the browser must be told that a page of another host may read it."""


def tokens(value: str) -> list[str]:
    """A comma-separated header's parts, in lower case."""
    return [part.strip().lower() for part in value.split(",")]


def read_head(raw: bytes) -> Head:
    """The head without its final empty line. Raises: HeadRefused(400 | 405 | 431 | 505)."""
    lines = raw.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise HeadRefused(400, "malformed")
    if parts[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise HeadRefused(505, "http version")
    if parts[0] not in _METHODS:
        raise HeadRefused(405, "method not allowed")
    if len(lines) - 1 > _HEADERS_MAX:
        raise HeadRefused(431, "too many headers")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise HeadRefused(400, "malformed")
        text = value.strip(b" \t").decode("latin-1")
        if any(sign < " " and sign != "\t" for sign in text) or "\x7f" in text:
            raise HeadRefused(400, "malformed")
        key = name.decode("ascii").lower()
        if key in {"host", "origin", "sec-websocket-key"} and key in headers:
            raise HeadRefused(400, "repeated header")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    target = parts[1].decode("ascii")
    path, _, query = target.partition("?")
    return Head(parts[0].decode("ascii"), path, query, headers)


def read_upgrade(head: Head, *, origins: frozenset[str], public_origin: str) -> Upgrade:
    """A handshake for `/v1/live`. `Connection: keep-alive, Upgrade` (Firefox) is as good as any.

    Raises: HeadRefused(400 | 403 | 405 | 426).
    """
    headers = head.headers
    if head.method != "GET":
        raise HeadRefused(405, "method not allowed")
    if "upgrade" not in tokens(headers.get("connection", "")):
        raise HeadRefused(400, "connection without upgrade")
    if headers.get("sec-websocket-version") != "13":
        raise HeadRefused(426, "websocket version")
    _refuse_body(headers)
    key = headers.get("sec-websocket-key", "")
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise HeadRefused(400, "websocket key")
    except (binascii.Error, ValueError):
        raise HeadRefused(400, "websocket key") from None
    origin, _ = read_origin(headers, origins, public_origin)
    return Upgrade(key, origin, _protocol(headers), _watch(head.query))


def read_watch(head: Head, *, origins: frozenset[str], public_origin: str) -> WatchAsked:
    """A GET of `/v1/watch/<sanctuary>`. A name that can be none is answered as one that is none.

    Raises: HeadRefused(400 | 403 | 404).
    """
    headers = head.headers
    _refuse_body(headers)
    if head.query:
        raise HeadRefused(400, "query")
    origin, is_foreign = read_origin(headers, origins, public_origin)
    sanctuary = sanctuary_named(head.path.removeprefix(WATCH_PATH))
    held = headers.get("last-event-id", "")
    return WatchAsked(
        sanctuary, origin, held if _HELD.fullmatch(held) else "", is_foreign=is_foreign
    )


def sanctuary_named(name: str) -> SanctuaryId:
    """A sanctuary by its id in hex, or by its slug. Raises: HeadRefused(404) for what can be none."""
    if _SANCTUARY.fullmatch(name):
        return SanctuaryId(bytes.fromhex(name))
    if len(name) <= _SLUG_SIGNS_MAX and _SLUG.fullmatch(name):
        return sanctuary_of_slug(name)
    raise HeadRefused(404, "not found")


def _refuse_body(headers: dict[str, str]) -> None:
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise HeadRefused(400, "body")


def read_origin(
    headers: dict[str, str], origins: frozenset[str], public_origin: str
) -> tuple[str, bool]:
    """The page's origin (or what stands for it), and whether it is another host's that may come.

    Raises: HeadRefused(400 | 403).
    """
    host = headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise HeadRefused(400, "host")
    origin = headers.get("origin")
    if origin is None:
        return public_origin or f"http://{host}", False
    if not _ORIGIN.fullmatch(origin):
        raise HeadRefused(403, "origin")
    is_own = origin.partition("://")[2].lower() == host.lower() or origin == public_origin
    if not is_own and origin.lower() not in origins:
        raise HeadRefused(403, "origin")
    return origin, not is_own


def _protocol(headers: dict[str, str]) -> str | None:
    offered = headers.get("sec-websocket-protocol")
    if offered is None:
        return None
    for name in offered.split(","):
        if name.strip() in {SUBPROTOCOL, SUBPROTOCOL_JSON}:
            return name.strip()
    raise HeadRefused(400, "subprotocol")


def _watch(query: str) -> SanctuaryId | None:
    if not query:
        return None
    name, _, value = query.partition("=")
    if name != "watch" or not _SANCTUARY.fullmatch(value):
        raise HeadRefused(400, "query")
    return SanctuaryId(bytes.fromhex(value))

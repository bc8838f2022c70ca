"""Plain HTTP at the door: health, metrics, and where to read on. Errors are JSON, by name."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from services.gateway.head import LIVE_PATH, WATCH_PATH

WELCOME = """\
Synchronia: a consent-first, real-time affect network.

This is a gateway. Sockets: /v1/live (subprotocols synchronia.v1, synchronia.v1.json).
What is public, as Server-Sent Events: /v1/watch/<sanctuary>.
The protocol is written down in docs/protocol.md; `synchronia citizen --help` speaks and listens.
Health: /livez, /readyz, /metrics.
"""
KEEP_ALIVE_S = 30.0
READY_FOR_S = 0.25
"""How long one round trip over the bus answers for; a flood of probes asks no more often."""
HEAD_BYTES_MAX = 8190


def refusal(name: str) -> bytes:
    """The body of every error: its name, and nothing of what was asked."""
    return json.dumps({"refused": name}).encode() + b"\n"


def raw_refusal(status: int, name: str) -> bytes:
    """A whole response, for connections that never become aiohttp's."""
    body = refusal(name)
    extra = "Sec-WebSocket-Version: 13\r\n" if status == HTTPStatus.UPGRADE_REQUIRED else ""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        extra = "Allow: GET\r\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _refused(status: HTTPStatus, name: str, **headers: str) -> web.Response:
    return web.Response(
        status=status, body=refusal(name), content_type="application/json", headers=headers
    )


_SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)  # noqa: LOG001  (nobody's child)
"""aiohttp would log what a client sent."""


class _Quiet(RequestHandler):
    """aiohttp's connection, without its error pages: they quote the request."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        if self.transport is not None and request.writer.output_size > 0:
            raise ConnectionError("the response had begun")
        name = "malformed" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal"
        response = _refused(HTTPStatus(status), name)
        response.force_close()
        return response


class HttpServer(web.Server):
    """Makes one protocol a connection; `close` ends those that are open."""

    def __call__(self) -> RequestHandler:
        return _Quiet(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE_S,
            access_log=_SILENT,
            logger=_SILENT,
            max_line_size=HEAD_BYTES_MAX,
            max_headers=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            lingering_time=1.0,
        )


class Pages:
    """What is behind each path."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        is_ready: Callable[[], bool],
        round_trip: Callable[[], Awaitable[bool]],
        now_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._is_ready = is_ready
        self._round_trip = round_trip
        self._now_s = now_s
        self._came_back = False
        self._asked_s = float("-inf")
        self._asking = asyncio.Lock()

    def server(self) -> HttpServer:
        return HttpServer(self.answer, request_factory=None)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith(WATCH_PATH):  # a GET went elsewhere
            return _refused(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", Allow="GET")
        if path not in {"/", "/livez", "/readyz", "/metrics", LIVE_PATH}:
            return _refused(HTTPStatus.NOT_FOUND, "not found")
        if request.method not in {"GET", "HEAD"}:
            return _refused(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", Allow="GET, HEAD")
        match path:
            case "/livez":
                return web.Response(text="alive\n")
            case "/readyz":
                if await self._ready():
                    return web.Response(text="ready\n")
                return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")
            case "/metrics":
                return web.Response(
                    body=generate_latest(self._registry),
                    headers={"Content-Type": CONTENT_TYPE_LATEST},
                )
            case "/":
                return web.Response(text=WELCOME)
            case _:
                return _refused(
                    HTTPStatus.UPGRADE_REQUIRED, "upgrade required", Upgrade="websocket"
                )

    async def _ready(self) -> bool:
        if not self._is_ready():
            return False
        async with self._asking:
            if self._now_s() - self._asked_s > READY_FOR_S:
                self._came_back = await self._round_trip()
                self._asked_s = self._now_s()
        return self._came_back

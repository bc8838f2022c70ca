"""Plain HTTP at the door: the page, the list of rooms, and health. Errors are JSON, by name.

Metrics are not here but on the health port, as every service's: this port is for anybody.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from services.gateway.head import LIVE_PATH, WATCH_PATH, HeadRefused, tokens
from services.gateway.page_files import PageFiles
from services.gateway.signatures import Signatures
from shared.contracts.sanctuary import ListedRoom

KEEP_ALIVE_S = 30.0
ROOMS_PATH = "/v1/sanctuaries"
GiveBack = Callable[[asyncio.Transport, bytes], None]
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


def _rooms_told(rooms: list[ListedRoom] | None) -> web.Response:
    if rooms is None:
        return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")
    told = [
        {
            "sanctuary": room.sanctuary.hex(),
            "name": room.name,
            "kind": room.kind.value,
            "setting": room.setting.value,
            "public": room.public,
            "purpose": room.purpose,
        }
        for room in rooms
    ]
    return web.json_response({"sanctuaries": told}, headers={"Cache-Control": "no-cache"})


_SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)  # noqa: LOG001  (nobody's child)
"""aiohttp would log what a client sent."""


_OURS = tuple(f"GET {path}".encode() for path in (LIVE_PATH, WATCH_PATH))
"""How the head of a request begins that is not HTTP's to answer."""


class _Quiet(RequestHandler):
    """aiohttp's connection, without its error pages: they quote the request.

    A connection that is kept alive may be used for a socket or an event stream next (reverse proxies
    do): between two requests it is given back to the door, with the bytes that came.
    """

    __slots__ = ("_give_back", "_is_amid_head")

    def __init__(self, manager: web.Server, give_back: GiveBack, **options: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self._give_back = give_back
        self._is_amid_head = False

    def data_received(self, data: bytes) -> None:
        transport = self.transport
        may_go_over = self._is_idle and not self._is_amid_head
        if may_go_over and transport is not None and data.startswith(_OURS):
            self.transport = None  # not to be closed by the farewell
            self.connection_lost(None)
            self._give_back(transport, data)
            return
        super().data_received(data)
        self._is_amid_head = self._is_idle

    def eof_received(self) -> bool:  # type: ignore[override]  # the loop reads the answer
        """A client that has nothing more to say (`nc -N`) still gets its answer; then it is over."""
        if self._is_idle:
            return False
        self.close()
        return True

    @property
    def _is_idle(self) -> bool:
        """It waits for a request; what came last, if anything, made none."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages

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
    """Makes one protocol a connection; `shutdown` ends those that are open."""

    give_back: GiveBack
    """Set by the door."""

    def __call__(self) -> RequestHandler:
        return _Quiet(
            self,
            self.give_back,
            keepalive_timeout=KEEP_ALIVE_S,
            access_log=_SILENT,
            logger=_SILENT,
            max_line_size=HEAD_BYTES_MAX,
            max_headers=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            lingering_time=1.0,
            auto_decompress=False,  # a few bytes would be unpacked into as many millions
        )


class Pages:
    """What is behind each path."""

    def __init__(
        self,
        files: PageFiles,
        signatures: Signatures,
        *,
        rooms: Callable[[], list[ListedRoom] | None],
        is_ready: Callable[[], bool],
        round_trip: Callable[[], Awaitable[bool]],
        now_s: Callable[[], float],
    ) -> None:
        self._files = files
        self._signatures = signatures
        self._rooms = rooms
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
        asks_upgrade = "websocket" in tokens(request.headers.get("Upgrade", ""))
        if request.method == "GET" and (
            path.startswith(WATCH_PATH) or (path == LIVE_PATH and asks_upgrade)
        ):
            # ahead of another answer, so the door did not see it (RFC 9110, section 15.5.20)
            response = _refused(HTTPStatus.MISDIRECTED_REQUEST, "misdirected")
            response.force_close()
            return response
        if path.startswith(WATCH_PATH):
            return _refused(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", Allow="GET")
        if self._signatures.is_ours(path):
            return await self._posted(request)
        is_page = path in self._files.paths
        if not is_page and path not in {"/livez", "/readyz", ROOMS_PATH, LIVE_PATH}:
            return _refused(HTTPStatus.NOT_FOUND, "not found")
        if request.method not in {"GET", "HEAD"}:
            return _refused(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", Allow="GET, HEAD")
        if is_page:
            return self._files.answer(path, request.headers)
        match path:
            case "/livez":
                return web.Response(text="alive\n")
            case "/readyz":
                if await self._ready():
                    return web.Response(text="ready\n")
                return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")
            case _ if path == ROOMS_PATH:
                return _rooms_told(self._rooms())
            case _:
                return _refused(
                    HTTPStatus.UPGRADE_REQUIRED, "upgrade required", Upgrade="websocket"
                )

    async def _posted(self, request: web.BaseRequest) -> web.Response:
        try:
            return await self._signatures.answer(request)
        except HeadRefused as refused:
            response = _refused(HTTPStatus(refused.status), refused.name, **refused.headers)
            response.force_close()  # a body may still be under way
            return response

    async def _ready(self) -> bool:
        if not self._is_ready():
            return False
        async with self._asking:
            if self._now_s() - self._asked_s > READY_FOR_S:
                self._came_back = await self._round_trip()
                self._asked_s = self._now_s()
        return self._came_back

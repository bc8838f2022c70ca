"""`/livez`, `/readyz` and `/metrics` of one process, on loopback or the pod's address.

A protocol of its own instead of an HTTP library: three fixed answers, and a service that was killed
must be back within 2 s, of which importing aiohttp would take 0.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_HEAD_BYTES_MAX = 8192
_HEAD_S_MAX = 5.0


class Readiness:
    """Named conditions; ready is all of them, and at least one."""

    def __init__(self) -> None:
        self._conditions: dict[str, bool] = {}

    def set(self, condition: str, *, is_ready: bool) -> bool:
        """Whether this changed anything."""
        changed = self._conditions.get(condition) is not is_ready
        self._conditions[condition] = is_ready
        return changed

    @property
    def is_ready(self) -> bool:
        return bool(self._conditions) and all(self._conditions.values())

    def lines(self) -> str:
        return "".join(
            f"{condition}: {'yes' if is_ready else 'no'}\n"
            for condition, is_ready in self._conditions.items()
        )


class _Door(asyncio.Protocol):
    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._head = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by behaviour, not by class
        self._transport = cast("asyncio.Transport", transport)
        self._timeout = asyncio.get_running_loop().call_later(_HEAD_S_MAX, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._transport.write(self._answer(bytes(self._head.split(b"\r\n", 1)[0])))
            self._transport.close()
        elif len(self._head) > _HEAD_BYTES_MAX:
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._timeout.cancel()


def answer(request_line: bytes, readiness: Readiness, registry: CollectorRegistry) -> bytes:
    """The whole response to one request line, e.g. ``GET /readyz HTTP/1.1``."""
    parts = request_line.split(b" ")
    path = parts[1].split(b"?")[0] if len(parts) == 3 and parts[0] == b"GET" else b""
    status, kind, body = "404 Not Found", "text/plain; charset=utf-8", b"not found\n"
    if path == b"/livez":
        status, body = "200 OK", b"alive\n"
    elif path == b"/readyz":
        status = "200 OK" if readiness.is_ready else "503 Service Unavailable"
        body = readiness.lines().encode()
    elif path == b"/metrics":
        status, kind, body = "200 OK", CONTENT_TYPE_LATEST, generate_latest(registry)
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


async def serve(
    host: str, port: int, readiness: Readiness, registry: CollectorRegistry
) -> asyncio.Server:
    """Listen; port 0 takes a free one. Raises: OSError."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: _Door(lambda line: answer(line, readiness, registry)), host, port
    )

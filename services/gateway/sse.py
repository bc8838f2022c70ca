"""Event streams: `GET /v1/watch/<sanctuary>`, one more form of session over plain HTTP.

The response has no length and ends with the connection, so that everybody gets the very same bytes,
unframed. It begins with the first snapshot: until then a refusal is still possible.
"""

from __future__ import annotations

import asyncio
import json
import socket

from services.gateway.connection import Hub
from services.gateway.core import Form
from services.gateway.frames import close_name
from services.gateway.head import WatchAsked
from services.gateway.http import raw_refusal
from services.gateway.websocket import TCP_NOTSENT_LOWAT
from shared.contracts.refusals import CloseCode
from shared.identifiers import SanctuaryId, SessionId

COMMENT = b":\n\n"
"""Keeps the connection alive through whatever lies between."""
SILENT_MS_MAX = 60_000
"""A peer that acknowledges nothing for so long is gone (TCP_USER_TIMEOUT): it never says a word."""
TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)
"""Linux's number."""


def close_event(code: CloseCode) -> bytes:
    """The last event of a stream that ends from here. It leaves the id as it is."""
    fields = {"type": "close", "code": int(code), "reason": close_name(code)}
    return b"event: close\ndata: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


class EventStream(asyncio.Protocol):
    """One watcher's connection. What it sends behind its head is not looked at."""

    def __init__(
        self, hub: Hub, asked: WatchAsked, address: str, transport: asyncio.Transport
    ) -> None:
        self.hub = hub
        self.asked = asked
        self.address = address
        self.transport = transport
        self.session: SessionId | None = None
        self.is_broken = False
        self._is_paused = False
        self._is_closing = False
        self._has_begun = False

    @property
    def form(self) -> Form:
        return Form.EVENTS

    @property
    def origin(self) -> str:
        return self.asked.origin

    @property
    def watch(self) -> SanctuaryId | None:
        return self.asked.sanctuary

    @property
    def held(self) -> str:
        return self.asked.held

    # ── from the transport ───────────────────────────────────────────────────────────────────────

    def pause_writing(self) -> None:
        self._is_paused = True
        self.hub.paused(self)

    def resume_writing(self) -> None:
        self._is_paused = False
        self.hub.resumed(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._is_closing = True
        self.hub.gone(self)

    # ── to the client ────────────────────────────────────────────────────────────────────────────

    def write(self, events: bytes) -> None:
        """Whole events; the response's head goes ahead of the first."""
        if not self._has_begun:
            self._has_begun = True
            events = self._head() + events
        self.transport.write(events)

    def _head(self) -> bytes:
        foreign = (
            f"Access-Control-Allow-Origin: {self.asked.origin}\r\nVary: Origin\r\n"
            if self.asked.is_foreign
            else ""
        )
        return (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            f"X-Accel-Buffering: no\r\n{foreign}Connection: close\r\n\r\n"
        ).encode()

    def ping(self) -> None:
        if not self._is_closing and not self._is_paused:
            self.write(COMMENT)

    def close(self, code: CloseCode) -> None:
        """Say why, and end; a peer that does not read is cut off by the hub's patience."""
        self._end(close_event(code))

    def refuse(self, status: int, name: str) -> None:
        """The stream never begins."""
        self._has_begun = True
        self._end(raw_refusal(status, name))

    def _end(self, last: bytes) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self.write(last)
        self.hub.closing(self)
        self.transport.close()


def take_over(
    hub: Hub,
    asked: WatchAsked,
    address: str,
    transport: asyncio.Transport,
    *,
    unsent_bytes_max: int,
) -> EventStream:
    """Make a connection whose head the door has found good an event stream."""
    tcp = transport.get_extra_info("socket")
    tcp.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_bytes_max)
    tcp.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, SILENT_MS_MAX)
    transport.set_write_buffer_limits(0)
    stream = EventStream(hub, asked, address, transport)
    transport.set_protocol(stream)
    hub.opened(stream)
    return stream

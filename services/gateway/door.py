"""The one port: reads a request's head and hands the transport on: to picows, to aiohttp, or to an
event stream.

Bounds: bytes and seconds of a head, connections in all and from one address. One queue of deadlines
for all heads and farewells, since each kind has one length: no timer a connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from services.gateway import sse, websocket
from services.gateway.connection import Hub
from services.gateway.core.neighbourhood import neighbourhood
from services.gateway.head import (
    LIVE_PATH,
    WATCH_PATH,
    HeadRefused,
    Upgrade,
    WatchAsked,
    read_head,
    read_upgrade,
    read_watch,
)
from services.gateway.http import HttpServer, raw_refusal
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Turns
from shared.identifiers import MonotonicNs

FAREWELL_NS = 900_000_000
"""How long a closed client has to answer our close, or to read it; less than the second within which a
withdrawal ends everything, since a transport may hold bytes ahead of the close."""
BROKEN_NS = 200_000_000
"""The same for one whose answer we could not understand."""
_SECOND_NS = 1_000_000_000
_END = b"\r\n\r\n"


class Door:
    """Counts connections and gives out protocols. `refused` counts by name."""

    def __init__(
        self,
        hub: Hub,
        http: HttpServer,
        settings: GatewaySettings,
        turns: Turns,
        *,
        may_enter: Callable[[], bool],
        sessions: Callable[[], int],
        now_ns: Callable[[], MonotonicNs],
    ) -> None:
        self.hub = hub
        self.http = http
        http.give_back = self._give_back
        self.settings = settings
        self.turns = turns
        self.may_enter = may_enter
        self._sessions = sessions
        self.refused: dict[str, int] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called when `next_deadline` may have come nearer."""
        self._now_ns = now_ns
        self._origins = frozenset(origin.lower() for origin in settings.origins_allowed)
        self._heads: deque[tuple[int, Entrance]] = deque()
        self._farewells: deque[tuple[int, asyncio.Transport]] = deque()
        self._broken: deque[tuple[int, asyncio.Transport]] = deque()
        self._open: dict[Entrance, str] = {}
        """Those whose head has not come yet, and their addresses."""
        self._of_address: dict[str, int] = {}

    def entrance(self) -> Entrance:
        """The protocol of a new connection."""
        return Entrance(self)

    def _give_back(self, transport: asyncio.Transport, data: bytes) -> None:
        """A connection that was HTTP's goes on as something else."""
        entrance = self.entrance()
        transport.set_protocol(entrance)
        entrance.connection_made(transport)
        entrance.data_received(data)

    def admit(self, entrance: Entrance, address: str) -> bool:
        total = len(self._open) + len(self.http.connections) + self._sessions()
        here = self._of_address.get(address, 0)
        if (
            total >= self.settings.connections_max
            or here >= self.settings.connections_per_address_max
        ):
            self.count("too many connections")
            return False
        self._of_address[address] = here + 1
        self._open[entrance] = address
        self._heads.append((self._now_ns() + self.settings.head_s_max * _SECOND_NS, entrance))
        self.changed()
        return True

    def passed(self, entrance: Entrance) -> None:
        """Its head is here, or it has gone."""
        address = self._open.pop(entrance, None)
        if address is not None:
            left = self._of_address[address] - 1
            if left:
                self._of_address[address] = left
            else:
                del self._of_address[address]

    def part(self, transport: asyncio.Transport, *, is_broken: bool = False) -> None:
        """A close was sent: end the connection if the peer does not."""
        if is_broken:
            self._broken.append((self._now_ns() + BROKEN_NS, transport))
        else:
            self._farewells.append((self._now_ns() + FAREWELL_NS, transport))
        self.changed()

    def asked_in(self, raw_head: bytes) -> Upgrade | WatchAsked | None:
        """What a head asks of us; nil: it is HTTP's. Raises: HeadRefused."""
        head = read_head(raw_head)
        is_live = head.path == LIVE_PATH and head.asks_websocket
        is_watch = head.path.startswith(WATCH_PATH) and head.method == "GET"
        if not is_live and not is_watch:
            return None
        if not self.may_enter():
            raise HeadRefused(503, "not ready")
        read = read_upgrade if is_live else read_watch
        return read(head, origins=self._origins, public_origin=self.settings.public_origin)

    def count(self, name: str) -> None:
        self.refused[name] = self.refused.get(name, 0) + 1

    def next_deadline(self) -> MonotonicNs | None:
        firsts = [queue[0][0] for queue in (self._heads, self._farewells, self._broken) if queue]
        return MonotonicNs(min(firsts)) if firsts else None

    def tick(self) -> None:
        now_ns = self._now_ns()
        while self._heads and self._heads[0][0] <= now_ns:
            entrance = self._heads.popleft()[1]
            if entrance in self._open and not entrance.is_waiting:
                entrance.refuse(408, "head too slow")
        for queue in (self._farewells, self._broken):
            while queue and queue[0][0] <= now_ns:
                queue.popleft()[1].abort()

    def close(self) -> None:
        """End what has not said what it wants."""
        for entrance in list(self._open):
            entrance.abort()


class Entrance(asyncio.Protocol):
    """Holds a connection until its head is complete."""

    __slots__ = ("_address", "_door", "_head", "_transport", "is_waiting")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._head = bytearray()
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self.is_waiting = False
        """Its head is here, and it is not its turn yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by descent
        peer = transport.get_extra_info("peername")
        self._address = neighbourhood(peer[0]) if peer else ""
        if not self._door.admit(self, self._address):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._head += data
        end = self._head.find(_END)
        if end < 0 or end > self._door.settings.head_bytes_max:
            if len(self._head) > self._door.settings.head_bytes_max:
                self.refuse(431, "head too large")
            elif not _may_be_http(self._head):
                self.refuse(400, "malformed")
            return
        if not self._door.turns.admit(self._enter):
            self.is_waiting = True
            transport.pause_reading()

    def _enter(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self.is_waiting:
            self.is_waiting = False
            transport.resume_reading()
        end = self._head.find(_END)
        try:
            asked = self._door.asked_in(bytes(self._head[:end]))
        except HeadRefused as refused:
            self.refuse(refused.status, refused.name)
            return
        self._door.passed(self)
        whole = bytes(self._head)
        self._head.clear()
        hub, unsent_bytes_max = self._door.hub, self._door.settings.unsent_bytes_max
        if isinstance(asked, Upgrade):
            tail = whole[end + len(_END) :]
            websocket.take_over(
                hub, asked, self._address, transport, tail, unsent_bytes_max=unsent_bytes_max
            )
            return
        if isinstance(asked, WatchAsked):
            sse.take_over(hub, asked, self._address, transport, unsent_bytes_max=unsent_bytes_max)
            return
        handler = self._door.http()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(whole)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._door.passed(self)
        self._transport = None

    def refuse(self, status: int, name: str) -> None:
        """Answer by name and close; a peer that does not read is cut off."""
        if self._transport is None:
            return
        self._door.count(name)
        self._door.passed(self)
        self._transport.write(raw_refusal(status, name))
        self._door.part(self._transport)
        self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _may_be_http(head: bytearray) -> bool:
    """Whether the first bytes could still become a request line."""
    return all(0x21 <= sign <= 0x7E for sign in head[:16].split(b" ")[0])

"""Those who speak and those who look on: real sessions with real seats, then plain sockets.

A viewer is seated by the client's own `Session` over a bare protocol; its socket then goes to the sink,
which reads faster than any Python could.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from shared.client.core import (
    Keyring,
    RecordActed,
    RecordDurable,
    Seated,
    SeatRefused,
    Session,
    decode_frame,
    encode_frames,
)
from shared.contracts.client import SUBPROTOCOL, Left
from shared.contracts.records import Tier
from shared.runtime.clock import monotonic_ns, wall_ms

SEATING_MAX = 32
"""Sessions that enrol at a time."""
SEAT_S_MAX = 60.0
TICK_S = 0.02
_MASK = bytes(4)


def upgrade(host: str, path: str, protocol: str | None) -> bytes:
    """RFC 6455 section 4.1: the opening handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def client_frame(payload: bytes, *, kind: int = 0x2) -> bytes:
    """One whole frame with a mask of zeros, which leaves the payload as it is."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | kind, 0x80 | length)) + _MASK + payload
    return bytes((0x80 | kind, 0x80 | 126)) + length.to_bytes(2, "big") + _MASK + payload


def server_frame(held: bytes | bytearray) -> tuple[int, bytes, int] | None:
    """(kind, payload, bytes used) of the first whole frame, if one is there."""
    if len(held) < 2:
        return None
    length, at = held[1] & 0x7F, 2
    if length == 126:
        length, at = int.from_bytes(held[2:4], "big"), 4
    elif length == 127:
        length, at = int.from_bytes(held[2:10], "big"), 10
    if len(held) < at + length:
        return None
    return held[0] & 0x0F, bytes(held[at : at + length]), at + length


class Citizen(asyncio.Protocol):
    """A session on a bare socket, until it has a seat (and, for a speaker, a grant)."""

    def __init__(self, host: str, sanctuary: bytes, of: Citizen | None = None) -> None:
        """`of`: somebody who is seated already, and opens one more window."""
        if of is None:
            self.session = Session(Keyring.new(os.urandom, wall_ms()), os.urandom)
        else:
            self.session = Session(of.session.keyring, os.urandom)
            self.session.citizen = of.session.citizen
        self.session.join(sanctuary)
        self.seated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.acted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._host = host
        self._held = bytearray()
        self._is_open = self._is_granting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.transport.write(upgrade(self._host, "/v1/live", SUBPROTOCOL))
        self._tick()

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._is_open:
            head, found, rest = bytes(self._held).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self._fail(ConnectionError(head.split(b"\r\n")[0].decode(errors="replace")))
                return
            self._is_open = True
            self._held = bytearray(rest)
        while (frame := server_frame(self._held)) is not None:
            kind, payload, used = frame
            del self._held[:used]
            if kind == 0x2:
                self._frame(payload)
            elif kind == 0x9:
                self._pong(payload)
            elif kind == 0x8:
                code, why = int.from_bytes(payload[:2], "big"), payload[2:].decode()
                self._fail(ConnectionError(f"the city closed the connection: {code} {why}"))

    def _pong(self, payload: bytes) -> None:
        assert self.transport is not None
        self.transport.write(client_frame(payload, kind=0xA))

    def _tick(self) -> None:
        """What the session repeats or has put off, until what it is here for is done."""
        if self._is_busy:
            self.session.tick(monotonic_ns(), wall_ms())
            self.flush()
            asyncio.get_running_loop().call_later(TICK_S, self._tick)

    @property
    def _is_busy(self) -> bool:
        return not self.seated.done() or (self._is_granting and not self.granted.done())

    def _frame(self, payload: bytes) -> None:
        messages = decode_frame(payload)
        if any(isinstance(message, Left) for message in messages) and not self.left.done():
            self.left.set_result(None)
        for event in self.session.receive(messages, monotonic_ns(), wall_ms()):
            if isinstance(event, Seated) and not self.seated.done():
                self.seated.set_result(None)
            elif isinstance(event, SeatRefused) and not event.will_retry:
                self._fail(ConnectionError(f"no seat: {event.reason}"))
            elif isinstance(event, RecordActed) and not self.acted.done():
                self.acted.set_result(None)
            elif isinstance(event, RecordDurable) and not self.granted.done():
                self.granted.set_result(None)
        self.flush()

    def flush(self) -> None:
        assert self.transport is not None
        if not self._is_open:
            return
        for frame in encode_frames(self.session.take()):
            self.transport.write(client_frame(frame))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionError("the city closed the connection"))

    def _fail(self, error: Exception) -> None:
        for awaited in (self.seated, self.granted, self.acted, self.left):
            if not awaited.done():
                awaited.set_exception(error)
                awaited.exception()  # looked at, whether or not anybody waits

    async def grant(self, sanctuary: bytes, tier: Tier) -> None:
        """Until it is recorded, and so seen."""
        self.granted = asyncio.get_running_loop().create_future()
        self.session.grant(sanctuary, tier, monotonic_ns(), wall_ms())
        self._is_granting = True
        self._tick()
        await asyncio.wait_for(self.granted, SEAT_S_MAX)

    async def withdraw(self) -> None:
        """Everything, until every gateway has acted on it."""
        self.acted = asyncio.get_running_loop().create_future()
        self.session.withdraw(None, monotonic_ns(), wall_ms())
        self.flush()
        await asyncio.wait_for(self.acted, SEAT_S_MAX)

    async def leave(self, sanctuary: bytes) -> None:
        """Stay connected, and see nothing more of the room."""
        self.session.leave(sanctuary, wall_ms())
        self.flush()
        await asyncio.wait_for(self.left, SEAT_S_MAX)

    def hand_over(self) -> socket.socket:
        """Its socket, read here no more; the transport keeps the connection open."""
        assert self.transport is not None
        self.transport.pause_reading()
        own = self.transport.get_extra_info("socket")
        return socket.socket(fileno=os.dup(own.fileno()))


async def seat(
    url: str, sanctuary: bytes, count: int, *, of: Sequence[Citizen] = ()
) -> list[Citizen]:
    """`count` new citizens with a seat each, or as many windows more of those in `of`, who then come
    from as many addresses (a gateway limits connections by address). Raises: TimeoutError, OSError.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    host, port = parts.hostname, parts.port
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(SEATING_MAX)

    async def enter(number: int) -> Citizen:
        one = of[number % len(of)] if of else None
        local = (f"127.0.1.{1 + number % 200}", 0) if of else None
        async with gate:
            _, citizen = await loop.create_connection(
                lambda: Citizen(parts.netloc, sanctuary, one), host, port, local_addr=local
            )
            await asyncio.wait_for(citizen.seated, SEAT_S_MAX)
            return citizen

    async with asyncio.TaskGroup() as group:
        entering = [group.create_task(enter(number)) for number in range(count)]
    return [task.result() for task in entering]


def plain_sockets(port: int, count: int) -> list[socket.socket]:
    """Connected, nothing said."""
    return [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]


def peer_sockets(
    port: int, count: int, *, first: Sequence[bytes] = (), path: str = "/"
) -> list[socket.socket]:
    """WebSockets to a peer; `first` are frames that each says once it is open."""
    opened = plain_sockets(port, count)
    for each in opened:
        each.sendall(upgrade(f"127.0.0.1:{port}", path, None))
    for each in opened:
        held = b""
        while b"\r\n\r\n" not in held:
            part = each.recv(4096)
            if not part:
                raise ConnectionError(f"the peer closed: {held[:200]!r}")
            held += part
        for frame in first:
            each.sendall(frame)
    return opened

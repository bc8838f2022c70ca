"""The asyncio shell around `Session`: a WebSocket (picows), reconnects, one timer.

It reconnects at once the first time, then after a jittered wait that grows; it follows `move` and
the catalogue of close codes ("come back or not").
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from shared.client.events import Event, MoveWanted, SessionReady
from shared.client.frames import (
    decode_frame,
    decode_frame_json,
    encode_frames,
    encode_frames_json,
)
from shared.client.session import Session
from shared.codec import Refused
from shared.contracts.client import SUBPROTOCOL, SUBPROTOCOL_JSON, ServerMessage, Snapshot
from shared.contracts.refusals import CLOSES, CloseCode
from shared.identifiers import MonotonicNs, SanctuaryId
from shared.runtime.clock import monotonic_ns, wall_ms
from shared.runtime.wheel import Timer

BACKOFF_S_FIRST = 0.05
BACKOFF_S_MAX = 5.0
BACKOFF_GROWTH = 1.5
"""A gateway that was killed is back in some 0.6 s: at twice, the next attempt came up to 1.2 s after
it, and the sample after that too late for the city's two seconds (measured with test_kill)."""
SLOW_DOWN_S = 5.0
"""What TOO_FAST and TOO_MANY_CONNECTIONS ask for."""
HELLO_WAIT_S = 5.0
FAREWELL_S_MAX = 0.5
"""How long what was sent last may take to leave, before the socket is closed whatever it holds."""
SERVER_FRAME_BYTES_MAX = 16 * 1024 * 1024
"""A snapshot of a full room with long notes; the gateway's own bounds lie far below."""

_MESSAGES = (WSMsgType.BINARY, WSMsgType.TEXT)
"""No set: an enum's hash is that of its name, made anew for every frame."""

Intake = Callable[[bytes, MonotonicNs], Sequence[ServerMessage]]
"""Reads a frame; what it returns goes to the session. A light reader may keep the rest to itself."""


class Timers(Protocol):
    """Where a connection sets its one timer."""

    def at(self, due_ns: MonotonicNs, call: Callable[[], None], /) -> Timer:
        """Call then or soon after; at once if that is over."""


class LoopTimers:
    """The running loop's own."""

    def at(self, due_ns: MonotonicNs, call: Callable[[], None], /) -> Timer:
        wait_s = max(0.0, (due_ns - monotonic_ns()) / 1e9)
        return asyncio.get_running_loop().call_later(wait_s, call)


class UrlRefused(ValueError):  # noqa: N818  (the sentence is for a person)
    """Not an address of a city."""


class ConnectionEnded(Exception):  # noqa: N818  (an outcome, with the catalogue's words)
    """The city closed with a code that says: do not come back."""

    def __init__(self, code: int, meaning: str) -> None:
        super().__init__(f"the city closed the connection ({code}): {meaning}")
        self.code = code
        self.meaning = meaning


def live_url(url: str, *, watch: str | None = None) -> str:
    """`http://host:port` → `ws://host:port/v1/live`. Raises: UrlRefused."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise UrlRefused(f"{url!r} is no address; give one like http://127.0.0.1:8080")
    query = "" if watch is None else f"?watch={watch}"
    return f"{scheme}://{parts.netloc}/v1/live{query}"


class _Socket(WSListener):
    """Hands frames to its connection; forgets it once the connection has moved on."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.close_code: int | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.connection.connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in _MESSAGES:
            self.connection.frame(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            self.close_code = int(frame.get_close_code())  # type: ignore[call-overload]
            transport.send_close()
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.connection.lost(transport)


class Connection:
    """Keeps one session connected until `stop`."""

    def __init__(
        self,
        session: Session,
        url: str,
        *,
        is_json: bool = False,
        on_events: Callable[[list[Event], MonotonicNs], None] = lambda _events, _now: None,
        on_disconnected: Callable[[int | None], None] = lambda _code: None,
        intake: Intake | None = None,
        dice: random.Random | None = None,
        watch: SanctuaryId | None = None,
        timers: Timers | None = None,
    ) -> None:
        """`watch`: a public stage, seen without identity. `timers`: shared by many connections."""
        self.session = session
        self.is_stopped = False
        self.is_reachable: bool | None = None
        """Whether the last attempt got as far as a WebSocket."""
        self.attempts_failed = 0
        """In a row."""
        self.connects = 0
        self.unreadable = 0
        self._url = live_url(url, watch=None if watch is None else watch.hex())
        self._is_json = is_json
        self._on_events = on_events
        self._on_disconnected = on_disconnected
        reader = decode_frame_json if is_json else decode_frame
        self._intake: Intake = intake or (lambda frame, _now: reader(frame))
        self._encode = encode_frames_json if is_json else encode_frames
        self._kind = WSMsgType.TEXT if is_json else WSMsgType.BINARY
        self._dice = dice or random.Random()  # noqa: S311  (spreads reconnects; no secret)
        self._transport: WSTransport | None = None
        self._timers: Timers = timers or LoopTimers()
        self._timer: Timer | None = None
        self._timer_ns: MonotonicNs | None = None
        self._wait_s = 0.0
        self._waker = asyncio.Event()

    async def run(self) -> None:
        """Connect, and again, until `stop`. Raises: ConnectionEnded if told not to come back."""
        while not self.is_stopped:
            code = await self._once()
            self._transport = None
            self._cancel_timer()
            self.session.disconnected()
            self._on_disconnected(code)
            if self.is_stopped:
                return
            self._obey(code)
            await self._rest()

    async def _once(self) -> int | None:
        """One socket's life; its close code, if it had one."""
        protocol = SUBPROTOCOL_JSON if self._is_json else SUBPROTOCOL
        try:
            transport, socket = await ws_connect(
                lambda: _Socket(self),
                self._url,
                websocket_handshake_timeout=HELLO_WAIT_S,
                max_frame_size=SERVER_FRAME_BYTES_MAX,
                enable_auto_ping=True,
                extra_headers={"Sec-WebSocket-Protocol": protocol},
            )
        except (OSError, WSError, TimeoutError):
            self.is_reachable = False
            self.attempts_failed += 1
            return None
        self.is_reachable = True
        self.attempts_failed = 0
        asyncio.get_running_loop().call_later(HELLO_WAIT_S, self._leave_if_silent, transport)
        await transport.wait_disconnected()
        return socket.close_code if isinstance(socket, _Socket) else None

    def _obey(self, code: int | None) -> None:
        if code is None:
            return
        try:
            meaning = CLOSES[CloseCode(code)]
        except ValueError:
            return
        if not meaning.come_back:
            raise ConnectionEnded(code, meaning.meaning)
        if code in {CloseCode.TOO_FAST, CloseCode.TOO_MANY_CONNECTIONS}:
            self._wait_s = SLOW_DOWN_S

    async def _rest(self) -> None:
        """Nothing the first time, then a random part of a growing wait."""
        wait_s = self._wait_s * self._dice.uniform(0.5, 1.0)
        self._wait_s = min(BACKOFF_S_MAX, max(BACKOFF_S_FIRST, self._wait_s * BACKOFF_GROWTH))
        if wait_s <= 0:
            return
        self._waker.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._waker.wait()
        except TimeoutError:
            return

    # From the socket.

    def connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.connects += 1
        if self.is_stopped:
            transport.disconnect()

    def lost(self, transport: WSTransport) -> None:
        """Nothing more is written to it: what the session holds waits for the next socket."""
        if transport is self._transport:
            self._transport = None

    def frame(self, payload: bytes) -> None:
        now_ns = monotonic_ns()
        try:
            messages = self._intake(payload, now_ns)
        except Refused:
            self.unreadable += 1
            return
        if not messages:
            return
        events = self.session.receive(messages, now_ns, wall_ms())
        for event in events:
            if isinstance(event, SessionReady | Snapshot):
                self._wait_s = 0.0
            elif isinstance(event, MoveWanted):
                self._move(event.within_s)
        if events:
            self._on_events(events, now_ns)
        self.flush()

    def _move(self, within_s: int) -> None:
        """Come back at a random moment of the time given, so that a drained crowd spreads out."""
        transport = self._transport
        moment_s = self._dice.uniform(0, max(0, within_s) * 0.9)
        asyncio.get_running_loop().call_later(moment_s, self._leave, transport)

    def _leave(self, transport: WSTransport | None) -> None:
        if transport is not None and transport is self._transport:
            transport.send_close()
            transport.disconnect()

    def _leave_if_silent(self, transport: WSTransport) -> None:
        if self.session.hello is None:
            self._leave(transport)

    # To the socket.

    def flush(self) -> None:
        """Send what the session holds, and set the timer to its next deadline."""
        transport = self._transport
        if transport is None:
            return
        messages = self.session.take()
        if messages:
            for frame in self._encode(messages):
                transport.send(self._kind, frame)
        deadline_ns = self.session.next_deadline()
        if deadline_ns != self._timer_ns:
            self._cancel_timer()
            if deadline_ns is not None:
                self._timer = self._timers.at(deadline_ns, self._tick)
                self._timer_ns = deadline_ns

    def _tick(self) -> None:
        self._timer = self._timer_ns = None
        self.session.tick(monotonic_ns(), wall_ms())
        self.flush()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_ns = None

    def drop(self) -> None:
        """Cut the socket without a word, as a network does; `run` comes back by itself."""
        if self._transport is not None:
            self._transport.disconnect(False)

    def stop(self) -> None:
        """Send what is held, close the socket, end `run`."""
        self.flush()
        self.is_stopped = True
        self._cancel_timer()
        self._waker.set()
        if self._transport is not None:
            self._transport.send_close()
            self._transport.disconnect()
            later = asyncio.get_running_loop().call_later
            later(FAREWELL_S_MAX, self._transport.disconnect, False)

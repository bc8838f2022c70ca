"""WebSocket sockets: picows reads, we write.

picows parses and unmasks what comes. What goes out is framed once for all recipients and handed to
the transport as it is; picows' own writes (the 101, answers to broken frames) pass a guard, which
lets no text of an exception out and turns its close codes into those of the catalogue.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # missing from its stub

from services.gateway import frames
from services.gateway.connection import Hub
from services.gateway.core import Form
from services.gateway.head import Upgrade
from shared.contracts.client import FRAME_BYTES_MAX
from shared.contracts.refusals import CloseCode
from shared.identifiers import SanctuaryId, SessionId

FRAME_BYTES_READ_MAX = 2 * FRAME_BYTES_MAX
"""Above this picows stops reading the frame at its head; up to it the core names what is wrong."""
READ_BUFFER_BYTES = 2048
"""picows' smallest: an idle connection costs some 9 kB."""
TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
"""Linux's number; absent from Python 3.11's socket module on some builds."""
_MESSAGE_TOO_BIG = 1009


class LiveSocket(WSListener):
    """One client's socket: its state between bytes and sessions."""

    def __init__(
        self, hub: Hub, upgrade: Upgrade, address: str, transport: asyncio.Transport
    ) -> None:
        self.hub = hub
        self.upgrade = upgrade
        self.address = address
        self.transport = transport
        self.session: SessionId | None = None
        self.is_closing = False
        self.is_paused = False
        self.is_broken = False
        self._opcode: Any = WSMsgType.TEXT if upgrade.is_json else WSMsgType.BINARY
        self._parts: list[bytes] | None = None
        self._parts_bytes = 0
        self.descriptor: int = transport.get_extra_info("socket").fileno()
        """For whole frames, while the transport is open and holds nothing."""
        self._is_knocking = False

    @property
    def form(self) -> Form:
        return Form.JSON if self.upgrade.is_json else Form.MESSAGEPACK

    @property
    def origin(self) -> str:
        return self.upgrade.origin

    @property
    def watch(self) -> SanctuaryId | None:
        return self.upgrade.watch

    @property
    def held(self) -> str:
        return ""  # said in each join

    # ── from picows ──────────────────────────────────────────────────────────────────────────────

    def on_ws_connected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self.hub.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
        opcode = frame.msg_type
        if opcode == WSMsgType.CLOSE:
            self._peer_closes()
        elif self.is_closing:
            return
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.hub.broke(self, CloseCode.MALFORMED)
        elif opcode == WSMsgType.PING:
            if not self.is_paused:  # else its pongs would pile up
                self.transport.write(frames.frame(frames.PONG, frame.get_payload_as_bytes()))
            self.hub.heard(self)
        elif opcode == WSMsgType.PONG:
            self.hub.heard(self)
        elif frame.fin and self._parts is None and opcode == self._opcode:
            self.hub.received(self, frame.get_payload_as_bytes())
        else:
            self._fragment(opcode, frame)

    def _fragment(self, opcode: Any, frame: WSFrame) -> None:
        is_first = opcode == self._opcode and self._parts is None
        is_next = opcode == WSMsgType.CONTINUATION and self._parts is not None
        if not is_first and not is_next:
            self.hub.broke(self, CloseCode.MALFORMED)
            return
        parts = self._parts = self._parts or []
        part = frame.get_payload_as_bytes()
        self._parts_bytes += len(part) + 64  # empty fragments take room too
        if self._parts_bytes > 2 * FRAME_BYTES_MAX:
            self._parts = None
            self.hub.broke(self, CloseCode.OVERSIZE)
            return
        parts.append(part)
        if frame.fin:
            self._parts, self._parts_bytes = None, 0
            self.hub.received(self, b"".join(parts))

    def _peer_closes(self) -> None:
        if not self.is_closing:
            self.is_closing = True
            self.transport.write(frames.frame(frames.CLOSE, (1000).to_bytes(2, "big")))
            self.hub.closing(self)
        self.transport.close()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self.is_closing = True
        self.hub.gone(self)

    def pause_writing(self) -> None:
        self.is_paused = True
        if self._is_knocking:
            self.hub.took_nothing(self)
        else:
            self.hub.paused(self)

    def resume_writing(self) -> None:
        self.is_paused = False
        self.hub.resumed(self)

    # ── to the client ────────────────────────────────────────────────────────────────────────────

    def write_whole(self, frame: bytes) -> bool:
        """Write a frame past the transport wholly or not at all: to who often has no room. Where a frame
        ends, a segment does too (MSG_EOR), so that none begins in the room that is left of the one before
        and then finds no other. False: the core has it again.
        """
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, self.descriptor)
        try:
            taken = tcp.send(frame, socket.MSG_EOR)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = -1
        finally:
            tcp.detach()  # it stays the transport's
        return taken == len(frame) or self.unsent(frame, taken)

    def unsent(self, frame: bytes, taken: int) -> bool:
        """The socket took only so many bytes of a frame that was written past the transport (-1: it is
        broken). A part must be followed by the rest; of a whole frame nothing needs to leave our hands.
        False: the core has it again.
        """
        if taken == 0 and self._waits_for_room():
            return False
        self.transport.write(frame[max(taken, 0) :])
        return True

    def _waits_for_room(self) -> bool:
        """A transport says when there is room again only if something waits in it: with nobody's data.
        False: there is room for that.
        """
        self._is_knocking = True
        self.transport.write(frames.PONG_FRAME)
        self._is_knocking = False
        return self.is_paused

    def ping(self) -> None:
        if not self.is_closing and not self.is_paused:
            self.transport.write(frames.PING_FRAME)

    def close(self, code: CloseCode) -> None:
        """Send the close; the peer's answer, or the hub's patience, ends the connection."""
        if self.is_closing:
            return
        self.is_closing = True
        self.transport.write(frames.CLOSE_FRAMES[code])
        self.hub.closing(self)

    def break_off(self, code: CloseCode) -> None:
        """What came is no WebSocket: read on without looking, so that our close can be read too (a
        socket closed over unread bytes is reset), but not for long.
        """
        self.is_broken = True
        self.transport.set_protocol(_Deaf())
        self.hub.broke(self, code)


class _Deaf(asyncio.Protocol):
    """Takes and forgets."""


class _Guard:
    """The transport as picows sees it: reads are its own, writes go through us."""

    __slots__ = ("_live", "_transport")

    def __init__(self, live: LiveSocket, transport: asyncio.Transport) -> None:
        self._live = live
        self._transport = transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return 1  # so that picows writes through this object, never around it

    def write(self, data: bytes | bytearray | memoryview) -> None:
        written = bytes(data)
        if written.startswith(b"HTTP/1.1 101 "):
            self._transport.write(written)
            return
        # all else that picows says by itself is the farewell to a peer that broke the protocol
        code = CloseCode.MALFORMED
        if len(written) >= 4 and int.from_bytes(written[2:4], "big") == _MESSAGE_TOO_BIG:
            code = CloseCode.OVERSIZE
        self._live.break_off(code)

    def writelines(self, parts: list[Any]) -> None:
        self.write(b"".join(bytes(part) for part in parts))

    def close(self) -> None:
        """Not yet: the farewell is to be read first."""

    def abort(self) -> None:
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class _Log:
    """picows' logger: it would write a peer's bytes into ours. A fault of our own is passed on."""

    __slots__ = ("_faulted",)

    def __init__(self, faulted: Callable[[], None]) -> None:
        self._faulted = faulted

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802, ARG002
        return False

    def _quiet(self, *_: object, **__: object) -> None:
        pass

    debug = info = warning = error = log = _quiet

    def exception(self, *_: object, **__: object) -> None:
        self._faulted()


def take_over(
    hub: Hub,
    upgrade: Upgrade,
    address: str,
    transport: asyncio.Transport,
    tail: bytes,
    *,
    unsent_bytes_max: int,
) -> LiveSocket:
    """Answer a handshake that the door has found good, and read frames from now on. `tail`: what came
    behind the head.
    """
    transport.get_extra_info("socket").setsockopt(
        socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_bytes_max
    )
    transport.set_write_buffer_limits(0)
    live = LiveSocket(hub, upgrade, address, transport)

    def listener_of(_: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        extra = {} if upgrade.protocol is None else {"Sec-WebSocket-Protocol": upgrade.protocol}
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), live)

    protocol = WSProtocol(
        None,
        None,
        False,  # the server's side
        listener_of,
        _Log(hub.faulted),
        True,  # an exception in a callback closes that socket
        None,  # no handshake timer: the head is here
        False,  # no automatic pings
        20,
        20,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,  # no automatic pongs: see on_ws_frame
        FRAME_BYTES_READ_MAX,
        None,
        READ_BUFFER_BYTES,
    )
    transport.set_protocol(protocol)
    protocol.connection_made(_Guard(live, transport))
    # picows 2.3.1 takes `Connection: Upgrade` alone; the door has checked the client's own words
    head = (
        "GET /v1/live HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {upgrade.key}\r\n\r\n"
    )
    feed(protocol, head.encode() + tail)
    return live


def feed(protocol: Any, data: bytes) -> None:
    """Hand bytes that are here already to a buffered protocol."""
    view = memoryview(data)
    while view:
        buffer = protocol.get_buffer(len(view))
        size = min(len(buffer), len(view))
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]

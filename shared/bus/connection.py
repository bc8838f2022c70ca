"""One NATS connection, with the three short cuts that the benchmark asked for.

nats-py keeps what it is good at: hand-shake, nkeys, pings, reconnecting, re-subscribing, and parsing
all but whole messages. Its queue and task for each subscription, and its flusher, are passed by. One
hop of 200 bytes over nats-server 2.15.1, both ends in one process, two shared cores under load, four
runs, 2026-11: p50 26–47 µs and p99 0.08–0.17 ms, instead of 47–158 µs and 0.3–7.7 ms with nats-py's own
`publish` and callbacks; 5 µs of processor time a message with encoding and decoding, instead of 7
without.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import nats.aio.client
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

Receive = Callable[[str, str | None, bytes, bytes | None], None]
"""subject, reply subject, payload, raw headers."""

RECONNECT_S = 0.1
PING_S = 2
PINGS_OUTSTANDING_MAX = 2
"""A silent broker is given up after PING_S × (PINGS_OUTSTANDING_MAX + 1) s."""
CONNECT_S_MAX = 2


class _WholeMessages(Parser):
    """nats-py's parser, behind a short way for messages that came whole: no regular expression, no
    copy of what is behind each of them (a fifth of fanout's time at a thousand small messages a second).
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._receivers = connection.receivers

    async def parse(self, data: bytes = b"") -> None:
        if not self.buf and self.state == AWAITING_CONTROL_LINE:
            data = self._take(data)
        if data or self.buf:
            await super().parse(data)

    def _take(self, data: bytes) -> bytes:
        """Hand over whole messages to their receivers; returns what is left from the first that is not
        whole, has headers, is nobody's, or is no message.

        `MSG <subject> <sid> [reply] <bytes>`, payload, each ended by CR LF (NATS' client protocol).
        """
        at, length = 0, len(data)
        while data.startswith(b"MSG ", at):
            end_of_line = data.find(b"\r\n", at)
            if end_of_line < 0:
                break
            words = data[at + 4 : end_of_line].split(b" ")
            if not (3 <= len(words) <= 4 and words[1].isdigit() and words[-1].isdigit()):
                break
            begin = end_of_line + 2
            end = begin + int(words[-1])
            receive = self._receivers.get(int(words[1]))
            if receive is None or end + 2 > length:
                break
            reply = words[2].decode() if len(words) == 4 else None
            at = end + 2
            receive(words[0].decode(), reply, data[begin:end], None)
        return data[at:] if at else data


class Connection(nats.aio.client.Client):
    """nats-py's client; messages reach their receiver within the turn that parsed them, and
    published bytes go straight to the transport.
    """

    def __init__(self) -> None:
        super().__init__()
        self.receivers: dict[int, Receive] = {}
        """By the subscription's number."""
        self._ps = _WholeMessages(self)

    async def listen(self, subject: str, queue: str, receive: Receive) -> int:
        """Subscribe; returns the subscription's number. `receive` is called from the read loop, and
        must not raise: nats-py's read loop would log that and die silently.
        """
        # registered before the broker can know of it; subscribe() takes the next number at once
        number: int = self._sid + 1
        self.receivers[number] = receive
        # a future instead of a callback: nats-py starts no queue and no task for it
        subscription = await self.subscribe(
            subject, queue=queue, future=asyncio.get_running_loop().create_future()
        )
        assert subscription._id == number  # noqa: SLF001
        return number

    async def unlisten(self, number: int) -> None:
        self.receivers.pop(number, None)
        subscription = self._subs.get(number)
        if subscription is not None and not self.is_closed:
            await subscription.unsubscribe()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        receive = self.receivers.get(sid)
        if receive is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        receive(subject.decode(), reply.decode() or None, data, headers or None)

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:  # noqa: FBT001, FBT002
        # nats-py's own commands take the same way as ours: in its queue, which is emptied a turn
        # later, a subscription was overtaken by the publication (or the PING of `flush`) behind it,
        # and the answer found nobody
        if self.is_writable:
            self.write(cmd)
        else:
            await super()._send_command(cmd, priority)

    async def abandon(self) -> None:
        """Give up a connection that was never established: nats-py leaves its socket open then."""
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]
            with contextlib.suppress(OSError):
                await self._transport.wait_closed()  # type: ignore[no-untyped-call]

    @property
    def is_writable(self) -> bool:
        """Connected, with a transport that takes bytes."""
        if not self.is_connected:
            return False
        writer = getattr(self._transport, "_io_writer", None)
        return writer is not None and not writer.transport.is_closing()

    def write(self, command: bytes) -> int:
        """Hand bytes to the transport; returns how many it holds unsent. Only while `is_writable`."""
        writer: asyncio.StreamWriter = self._transport._io_writer  # type: ignore[union-attr]  # noqa: SLF001
        writer.transport.write(command)
        return writer.transport.get_write_buffer_size()

    async def wait_written(self) -> None:
        """Until the transport's buffer is low again. Raises: OSError when the connection is lost."""
        assert self._transport is not None
        await self._transport.drain()  # type: ignore[no-untyped-call]

"""The narrow bus of one process, over one NATS connection."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

import msgspec
import nats.errors

from shared.bus import jetstream
from shared.bus.connection import (
    CONNECT_S_MAX,
    PING_S,
    PINGS_OUTSTANDING_MAX,
    RECONNECT_S,
    Connection,
)
from shared.bus.counts import BusCounts
from shared.bus.errors import BusLost, NoBroker
from shared.codec import Refused, decode, encode
from shared.runtime import logs
from shared.subjects import Ask, Publish, Reply

OnEvent = Callable[[str, Any, str | None], None]
OnAnswer = Callable[[Ask, Any], None]
OnMessage = Callable[[bytes, bytes | None], bool]
"""payload, raw headers → whether this was the last one wanted."""

WAITING_BYTES_MAX = 8 * 1024 * 1024
"""What may wait in this process for a broker that does not read. Policy when full: newest wins, the
oldest are dropped and counted as `full`; their readers see a hole in the numbers and ask again."""
TRANSPORT_BYTES_HIGH = 256 * 1024
"""Above this the transport is left alone until it is low again; what waits here can be dropped."""
_FLUSH_S_MAX = 5
_INBOX = "_INBOX."


class Subscription:
    """Interest in one subject; `close` ends it."""

    __slots__ = ("_connection", "_number", "subject")

    def __init__(self, connection: Connection, number: int, subject: str) -> None:
        self._connection = connection
        self._number = number
        self.subject = subject

    async def close(self) -> None:
        await self._connection.unlisten(self._number)


class Bus:
    """Made by `Bus.connect`; its `run` must be supervised, and fails when the bus or a callback does.

    `publish`, `ask` and `carry_out` never wait: the bytes are with the transport (which sends once a
    turn) when they return, or in the bounded queue behind a transport that is full. While the
    connection is away what is published is dropped and counted as `disconnected`: core NATS is at
    most once, and what is newest then is what matters after.
    """

    def __init__(self, instance: str, log: Any) -> None:
        self.instance = instance
        self.counts = BusCounts()
        self.on_reconnect: list[Callable[[], None]] = []
        self._log = log
        self._connection = Connection()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._backed_up = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._events: asyncio.Queue[BaseException | str] = asyncio.Queue()
        self._inbox = f"{_INBOX}{instance}.{os.urandom(6).hex()}."
        self._answers: dict[str, OnMessage] = {}
        self._inbox_open = False
        self._asked = 0
        self._closing = False
        self._broken = False

    @classmethod
    async def connect(
        cls,
        instance: str,
        url: str,
        *,
        seed: Path | None,
        log: Any = None,
        deadline_s: float = 10.0,
    ) -> Bus:
        """Connect as `instance`, with the nkey seed in the file `seed` (None: a broker without keys).

        Raises: NoBroker if there is none after `deadline_s`, or it refuses the key.
        """
        bus = cls(instance, logs.get_logger() if log is None else log)
        last: list[Exception] = []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s

        async def failed(error: Exception) -> None:
            last[:] = [error]
            bus._events.put_nowait(error)
            if bus._inbox_open:
                return
            if "authorization" in str(error).lower():
                raise NoBroker(f"the broker at {url} refused the key of {instance}")
            if loop.time() > deadline:
                # nats-py can swallow the cancellation of `timeout` when it races with an error
                raise TimeoutError

        async def disconnected() -> None:
            bus._events.put_nowait("disconnected")

        async def reconnected() -> None:
            bus._events.put_nowait("reconnected")

        async def closed() -> None:
            bus._events.put_nowait("closed")

        try:
            async with asyncio.timeout(deadline_s):
                await bus._connection.connect(
                    url,
                    name=instance,
                    nkeys_seed=None if seed is None else str(seed),
                    inbox_prefix=f"_INBOX.{instance}",
                    error_cb=failed,
                    disconnected_cb=disconnected,
                    reconnected_cb=reconnected,
                    closed_cb=closed,
                    reconnect_time_wait=RECONNECT_S,  # type: ignore[arg-type]  # floats work
                    max_reconnect_attempts=-1,
                    ping_interval=PING_S,
                    max_outstanding_pings=PINGS_OUTSTANDING_MAX,
                    connect_timeout=CONNECT_S_MAX,
                )
                await bus._connection.listen(f"{bus._inbox}*", "", bus._receive_answer)
                bus._inbox_open = True
        except NoBroker:
            await bus._connection.abandon()
            raise
        except TimeoutError:
            await bus._connection.abandon()
            reason = str(last[0]) if last else "no answer"
            raise NoBroker(f"no broker at {url} within {deadline_s:g} s: {reason}") from None
        except OSError as error:
            raise NoBroker(f"{seed}: {error.strerror}") from None
        return bus

    async def run(self) -> None:
        """The bus's supervised task: callbacks of nats-py as events, and the sender.

        Raises: BusLost when the connection ended for good; whatever a subscriber's callback raised.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_events(), name="bus events")
            group.create_task(self._send_waiting(), name="bus sender")

    def _break(self, error: BaseException) -> None:
        """A callback failed: hear nothing more, with a state that may be half changed, until `run`
        has ended the process.
        """
        self._broken = True
        self._events.put_nowait(error)

    # ── publishing ───────────────────────────────────────────────────────────────────────────────

    def publish(self, subject: str, event: msgspec.Struct) -> None:
        """Encode now, send in order; never waits."""
        self.publish_bytes(subject, encode(event))

    def publish_bytes(self, subject: str, payload: bytes) -> None:
        self.send(subject, "", payload)

    def send(self, subject: str, reply: str, payload: bytes, headers: bytes = b"") -> None:
        """`publish_bytes` with a reply subject and raw headers. For this package."""
        connection = self._connection
        size = len(headers) + len(payload)
        if size > connection.max_payload:
            self.counts.dropped["oversize"] += 1
            self._log.error("dropped an oversize message", subject=_family(subject), bytes=size)
            return
        if not connection.is_writable:
            self.counts.dropped["disconnected"] += 1
            return
        if headers:
            head = f"HPUB {subject} {reply} {len(headers)} {size}\r\n"
        else:
            head = f"PUB {subject} {reply} {size}\r\n"
        command = b"".join((head.encode(), headers, payload, b"\r\n"))
        self.counts.published += 1
        self.counts.published_bytes += len(payload)
        if self._backed_up.is_set():
            self._waiting.append(command)
            self._waiting_bytes += len(command)
            while self._waiting_bytes > WAITING_BYTES_MAX:
                self._waiting_bytes -= len(self._waiting.popleft())
                self.counts.dropped["full"] += 1
        elif connection.write(command) > TRANSPORT_BYTES_HIGH:
            self._backed_up.set()
            self._all_sent.clear()

    @property
    def waiting_bytes(self) -> int:
        """What waits behind a transport that is full, 0 … WAITING_BYTES_MAX."""
        return self._waiting_bytes

    async def _send_waiting(self) -> None:
        while True:
            await self._backed_up.wait()
            try:
                await self._connection.wait_written()
            except OSError:
                self._drop_waiting()
            while self._waiting:
                if not self._connection.is_writable:
                    self._drop_waiting()
                    break
                command = self._waiting.popleft()
                self._waiting_bytes -= len(command)
                if self._connection.write(command) > TRANSPORT_BYTES_HIGH:
                    break
            if not self._waiting:
                self._backed_up.clear()
                self._all_sent.set()

    def _drop_waiting(self) -> None:
        self.counts.dropped["disconnected"] += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    async def flush(self) -> None:
        """Until the broker has taken everything published so far. Raises: TimeoutError, after 5 s."""
        async with asyncio.timeout(_FLUSH_S_MAX):
            await self._all_sent.wait()
            try:
                await self._connection.flush(_FLUSH_S_MAX)
            except nats.errors.Error as error:
                raise TimeoutError(str(error)) from None

    # ── subscribing ──────────────────────────────────────────────────────────────────────────────

    async def subscribe(
        self, subject: str, kind: Any, on_event: OnEvent, *, queue: str | None = None
    ) -> Subscription:
        """Call `on_event(subject, event, reply subject)` for each message, in order of arrival.

        `kind` is a contract or a union of contracts; bytes that are not one are counted and dropped.
        An exception of `on_event` ends `run`, and with it the process. There is no queue in between:
        what is not yet read waits in the socket, at most 64 kB in this process.
        """

        def receive(subject: str, reply: str | None, payload: bytes, headers: bytes | None) -> None:
            if self._broken:
                return
            self.counts.received += 1
            self.counts.received_bytes += len(payload)
            if headers is not None:
                # ours never carry any: it is JetStream's own, sent here because somebody who may
                # ask it gave this subject for the answer
                self.counts.undecodable[_family(subject)] += 1
                return
            try:
                event = decode(payload, kind)
            except Refused:
                self.counts.undecodable[_family(subject)] += 1
                return
            if reply is not None and not reply.startswith(_INBOX):
                # an asker must not have us write on a subject that is only ours: an answer goes to
                # an inbox or nowhere
                self.counts.dropped["reply"] += 1
                reply = None
            try:
                on_event(subject, event, reply)
            except Exception as error:  # noqa: BLE001  (message boundary: the supervised task raises it)
                self._break(error)

        number = await self._connection.listen(subject, queue or "", receive)
        return Subscription(self._connection, number, subject)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def ask(self, ask: Ask, on_answer: OnAnswer) -> None:
        """Send `ask` with a reply subject of the own inbox; `on_answer(ask, event)` when it is
        answered (for each part of an answer that comes in several), nothing when it is not: the core
        repeats it by its own timer.
        """

        def answered(payload: bytes, headers: bytes | None) -> bool:
            if headers is not None:
                if jetstream.read_headers(headers)[0]:  # 503: nobody listens
                    self.counts.asks_unanswered += 1
                    return True
                self.counts.undecodable["_INBOX"] += 1  # JetStream's, as above
                return False
            try:
                event = decode(payload, ask.answer)
            except Refused:
                self.counts.undecodable["_INBOX"] += 1
                return True
            on_answer(ask, event)
            return getattr(event, "is_last", True)  # a long state comes in parts

        token = self._expect(answered)
        self.send(ask.subject, self._inbox + token, encode(ask.event))
        asyncio.get_running_loop().call_later(ask.within_s, self._give_up, token)

    async def request(
        self, subject: str, event: msgspec.Struct, answer_kind: Any, *, timeout_s: float
    ) -> Any:
        """`ask`, for those who may wait. Raises: TimeoutError, never early (so that a caller may
        repeat at once); Refused if the answer is unreadable.
        """
        async with asyncio.timeout(timeout_s):
            payload, headers = await self.request_bytes(subject, encode(event), timeout_s=timeout_s)
            if headers is not None:  # 503, nobody listens; or JetStream's, as above
                await asyncio.get_running_loop().create_future()
        return decode(payload, answer_kind)

    async def request_bytes(
        self, subject: str, payload: bytes, *, headers: bytes = b"", timeout_s: float
    ) -> tuple[bytes, bytes | None]:
        """Payload and raw headers of the first answer, the broker's own "nobody listens" included.
        Raises: TimeoutError.
        """
        answer: asyncio.Future[tuple[bytes, bytes | None]] = (
            asyncio.get_running_loop().create_future()
        )

        def answered(payload: bytes, headers: bytes | None) -> bool:
            if not answer.done():
                answer.set_result((payload, headers))
            return True

        with self.inbox(answered) as reply:
            async with asyncio.timeout(timeout_s):
                self.send(subject, reply, payload, headers)
                return await answer

    @contextmanager
    def inbox(self, on_message: OnMessage) -> Iterator[str]:
        """A reply subject of the own inbox, while one waits. For this package and `doctor`."""
        token = self._expect(on_message)
        try:
            yield self._inbox + token
        finally:
            self._answers.pop(token, None)

    def _expect(self, on_message: OnMessage) -> str:
        self._asked += 1
        token = str(self._asked)
        self._answers[token] = on_message
        return token

    def _give_up(self, token: str) -> None:
        if self._answers.pop(token, None) is not None:
            self.counts.asks_unanswered += 1

    def _receive_answer(
        self, subject: str, _: str | None, payload: bytes, headers: bytes | None
    ) -> None:
        token = subject[len(self._inbox) :]
        on_message = self._answers.get(token)
        if on_message is None or self._broken:
            return
        try:
            if on_message(payload, headers):
                self._answers.pop(token, None)
        except Exception as error:  # noqa: BLE001  (message boundary, as above)
            self._break(error)

    def carry_out(
        self,
        effects: Iterable[Publish | Ask | Reply],
        *,
        reply: str | None = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        """Do what a core returned. A `Reply` to an event that asked for none is dropped."""
        for effect in effects:
            match effect:
                case Publish(subject, event):
                    self.publish(subject, event)
                case Ask():
                    assert on_answer is not None, "a core asked, and nobody takes the answer"
                    self.ask(effect, on_answer)
                case Reply(event):
                    if reply is not None:
                        self.publish(reply, event)
                case _:
                    assert_never(effect)

    # ── streams and epochs ───────────────────────────────────────────────────────────────────────

    async def append(
        self, subject: str, payload: bytes, *, expected_last_subject_seq: int | None = None
    ) -> int:
        """Store in the stream that takes `subject`; returns its number there, once it is durable.

        Raises: WrongSequence, StreamRefused, TimeoutError (unknown whether stored: read before
        repeating, or repeat with `expected_last_subject_seq`).
        """
        return await jetstream.append(self, subject, payload, expected_last_subject_seq)

    def read_stream(self, stream: str) -> AsyncIterator[tuple[int, str, bytes]]:
        """All that a stream holds, oldest first: (number, subject, payload)."""
        return jetstream.read_stream(self, stream)

    async def take_epochs(self, bucket: str, slots: Iterable[int]) -> dict[int, int]:
        """The next revision of each slot's key: this owner's epochs. Raises: as `append`."""
        return await jetstream.take_epochs(self, bucket, slots)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_connected(self) -> bool:
        return self._connection.is_writable

    async def round_trip(self, *, timeout_s: float = 1.0) -> bool:
        """Whether a message to the own inbox comes back: the whole way, not only the socket."""
        came_back = asyncio.get_running_loop().create_future()

        def received(_: bytes, __: bytes | None) -> bool:
            if not came_back.done():
                came_back.set_result(None)
            return True

        with self.inbox(received) as subject:
            try:
                async with asyncio.timeout(timeout_s):
                    self.send(subject, "", b"")
                    await came_back
            except TimeoutError:
                return False
        return True

    async def close(self) -> None:
        """Send what waits, then end the connection; `run` is to be cancelled afterwards."""
        self._closing = True
        if self.is_connected:
            try:
                await self.flush()
            except TimeoutError:
                self._log.warning("closing with messages unsent", bytes=self._waiting_bytes)
        await self._connection.close()

    async def _follow_events(self) -> None:
        while True:
            event = await self._events.get()
            match event:
                case "disconnected":
                    self._drop_waiting()
                    if not self._closing:
                        self._log.warning("bus disconnected")
                case "reconnected":
                    self.counts.reconnects += 1
                    self._log.info("bus reconnected")
                    for call in self.on_reconnect:
                        call()
                case "closed":
                    if not self._closing:
                        raise BusLost("the broker ended the connection for good")
                case nats.errors.Error() | OSError():
                    self.counts.errors += 1
                    if not isinstance(event, OSError | nats.errors.UnexpectedEOF):
                        self._log.warning("bus error", error=str(event))
                case BaseException():
                    raise event
                case _:
                    raise AssertionError(event)


def _family(subject: str) -> str:
    """The subject's first token: the only part that may stand in a log or a label."""
    return subject.split(".", 1)[0]

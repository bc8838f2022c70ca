"""The gateway at work: sockets and the bus in, the core's effects out."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, assert_never, cast

from services.gateway import frames
from services.gateway.connection import Connection
from services.gateway.core import (
    Answer,
    Close,
    Cut,
    Effect,
    Form,
    Gateway,
    Pace,
    Ping,
    RefuseWatch,
    Respond,
    Write,
    WriteMany,
)
from services.gateway.door import Door
from services.gateway.http import Pages
from services.gateway.metrics import GatewayMetrics, Sweeps
from services.gateway.page_files import PageFiles
from services.gateway.send_each import send_each
from services.gateway.settings import GatewaySettings
from services.gateway.signatures import Signatures
from services.gateway.sse import EventStream
from services.gateway.turns import Turns
from services.gateway.websocket import LiveSocket
from shared import subjects
from shared.contracts import (
    Answers,
    ConsentActed,
    EdgeBatch,
    FanoutControl,
    FollowAnswered,
    GatewayControl,
    PostAnswered,
    PostAsk,
    RecordAnswered,
    RegistryControl,
    SanctuaryControl,
    SeatAnswered,
    ToSpeak,
)
from shared.contracts.refusals import CloseCode
from shared.identifiers import MonotonicNs, SanctuaryId, SessionId
from shared.runtime.clock import monotonic_ns, wall_ms
from shared.runtime.runner import Runtime
from shared.subjects import Ask, Publish

BACKLOG = 1024
"""Connections that the kernel may hold for us."""
_DRAIN_MARGIN_S = 1.5
_FAREWELL_S = 0.5


class Service:
    """One gateway process. `address` is known after `start`."""

    def __init__(self, runtime: Runtime, page: PageFiles) -> None:
        settings: GatewaySettings = runtime.settings
        self._runtime = runtime
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self.core = Gateway(settings, gateway=runtime.instance, random_bytes=runtime.random_bytes)
        self._pace = Pace()
        self.sweeps = Sweeps()
        self._sockets: dict[SessionId, Connection] = {}
        self._writers: dict[SessionId, Callable[[bytes], None]] = {}
        self._parting: set[SessionId] = set()
        """Those who have gone and are not forgotten yet: nothing is written to them any more."""
        self._turns = Turns(self._loop.call_soon, monotonic_ns)
        self._turn_is_due = False
        self._is_sweeping = False
        self._emptied = asyncio.Event()
        self._requests: dict[int, asyncio.Future[Answer]] = {}
        """Of devices that post, by number."""
        self._request = 0
        signatures = Signatures(self._to_speak, self._post, settings)
        pages = Pages(
            page,
            signatures,
            rooms=lambda: self.core.listing.rooms(monotonic_ns()),
            is_ready=lambda: self.core.city is not None and not self.core.is_draining,
            round_trip=runtime.bus.round_trip,
            now_s=lambda: monotonic_ns() / 1e9,
        )
        self._http = pages.server()
        self._door = Door(
            self,
            self._http,
            settings,
            self._turns,
            may_enter=lambda: self.core.city is not None,
            sessions=lambda: self.core.sessions,
            now_ns=monotonic_ns,
        )
        GatewayMetrics(runtime.registry, self.core, self.sweeps, self._turns, self._door.refused)
        self.address: tuple[str, int] = ("", 0)

    async def start(self) -> None:
        runtime, core = self._runtime, self.core
        runtime.ready("city", False)
        back = Answers | SeatAnswered | FollowAnswered | RecordAnswered | ConsentActed
        control = GatewayControl | FanoutControl | SanctuaryControl | RegistryControl
        await runtime.bus.subscribe(subjects.edge(core.gateway), EdgeBatch, self._receive)
        await runtime.bus.subscribe(subjects.back(core.gateway), back, self._receive)
        await runtime.bus.subscribe(subjects.posted(core.gateway), PostAsk, self._post_for)
        await runtime.control.subscribe(subjects.control("*"), control, self._receive)
        self._carry_out(core.start(monotonic_ns(), wall_ms()))
        runtime.every("gateway", core.next_deadline, self._tick)
        door_wheel = runtime.every("door", self._door.next_deadline, self._door.tick)
        self._door.changed = door_wheel.nudge
        self._server = await self._loop.create_server(
            self._door.entrance,
            self._settings.host,
            self._settings.port,
            backlog=BACKLOG,
            reuse_port=self._settings.shares_port,
        )
        self.address = self._server.sockets[0].getsockname()[:2]
        runtime.log.info("listening", host=self.address[0], port=self.address[1])
        deadline_s = self._settings.drain_within_s + _DRAIN_MARGIN_S
        runtime.on_drain("clients", self._drain, deadline_s=deadline_s)

    # ── the bus and time ─────────────────────────────────────────────────────────────────────────

    def _receive(self, subject: str, event: Any, _: str | None) -> None:
        self._did(self.core.receive(subject, event, monotonic_ns(), wall_ms()))

    def _answered(self, ask: Ask, event: Any) -> None:
        self._did(self.core.answered(ask, event, monotonic_ns(), wall_ms()))
        self._runtime.ready("city", self.core.city is not None)

    def _tick(self) -> None:
        self._did(self.core.tick(monotonic_ns(), wall_ms()))

    # ── sockets ──────────────────────────────────────────────────────────────────────────────────

    def opened(self, live: Connection) -> None:
        session, effects = self.core.connected(
            monotonic_ns(),
            wall_ms(),
            address=live.address,
            origin=live.origin,
            form=live.form,
            watch=live.watch,
            held=live.held,
        )
        live.session = session
        self._sockets[session] = live
        write = live.write if isinstance(live, EventStream) else live.transport.write
        self._writers[session] = write
        self._did(effects)

    def received(self, live: Connection, payload: bytes) -> None:
        if live.session is not None:
            self._turns.do(partial(self._frame, live, live.session, payload, monotonic_ns()))

    def _frame(
        self, live: Connection, session: SessionId, payload: bytes, read_ns: MonotonicNs
    ) -> None:
        try:
            now_ns = monotonic_ns()
            self._did(self.core.frame(session, payload, now_ns, wall_ms(), read_ns=read_ns))
        except Exception:  # noqa: BLE001  (whatever it is: that socket is closed, everybody else stays)
            self.faulted()
            live.transport.abort()

    def heard(self, live: Connection) -> None:
        if live.session is not None:
            self._did(self.core.heard(live.session, monotonic_ns()))

    def broke(self, live: Connection, code: CloseCode) -> None:
        if live.session is not None:
            self._did(self.core.broke(live.session, code, monotonic_ns()))
        live.close(code)

    def paused(self, live: Connection) -> None:
        if live.session is not None:
            self.core.paused(live.session)

    def took_nothing(self, live: Connection) -> None:
        if live.session is not None:
            self.core.took_nothing(live.session)

    def resumed(self, live: Connection) -> None:
        if live.session is not None:
            self.core.resumed(live.session)
            self._end_turn_soon()

    def closing(self, live: Connection) -> None:
        """A close was written, ours or our answer: nothing may follow it."""
        self._door.part(live.transport, is_broken=live.is_broken)
        self._part(live)

    def gone(self, live: Connection) -> None:
        self._part(live)

    def faulted(self) -> None:
        """Our own code failed on what a socket brought."""
        self.sweeps.faults += 1
        error = sys.exc_info()[1]
        where = "".join(traceback.format_tb(error.__traceback__)[-4:]) if error else ""
        # the error's own text may quote what a client sent
        self._runtime.log.error("frame fault", error=type(error).__name__, where=where)

    def _part(self, live: Connection) -> None:
        session = live.session
        if session in self._sockets and session not in self._parting:
            self._parting.add(session)
            self._turns.do(partial(self._forget, session))

    def _forget(self, session: SessionId) -> None:
        self._parting.remove(session)
        del self._sockets[session], self._writers[session]
        self._did(self.core.closed(session, monotonic_ns()))
        if not self._sockets:
            self._emptied.set()

    # ── devices without sockets ──────────────────────────────────────────────────────────────────

    def _to_speak(self, sanctuary: SanctuaryId) -> Awaitable[Answer]:
        number, answer = self._new_request()
        self._did(self.core.to_speak(number, sanctuary, monotonic_ns(), wall_ms()))
        return answer

    def _post(self, body: bytes) -> Awaitable[Answer]:
        number, answer = self._new_request()
        self._did(self.core.post(number, body, monotonic_ns(), wall_ms()))
        return answer

    def _post_for(self, _: str, event: PostAsk, reply: str | None) -> None:
        """A post that another gateway has passed on."""
        if reply is None:
            return
        number, answer = self._new_request()

        def tell(done: asyncio.Future[Answer]) -> None:
            told = done.result()
            assert not isinstance(told, ToSpeak), "nobody asked what to sign"
            self._runtime.bus.publish(reply, PostAnswered(told))

        answer.add_done_callback(tell)
        now_ns = monotonic_ns()
        self._did(self.core.post(number, event.body, now_ns, wall_ms(), is_passed_on=True))

    def _new_request(self) -> tuple[int, asyncio.Future[Answer]]:
        """The core answers each within seconds, whatever becomes of the one who asked."""
        self._request += 1
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._requests[self._request] = future
        return self._request, future

    # ── effects and sweeps ───────────────────────────────────────────────────────────────────────

    def _did(self, effects: Iterable[Effect]) -> None:
        self._carry_out(effects)
        self._end_turn_soon()

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Publish(subject, event):
                    is_control = subject.startswith("control.")
                    bus = self._runtime.control if is_control else self._runtime.bus
                    bus.publish(subject, event)
                case Ask():
                    self._runtime.bus.ask(effect, self._answered)
                case Write():
                    if effect.session not in self._parting:
                        self._writers[effect.session](_bytes_of(effect))
                case WriteMany():
                    raise AssertionError("only a sweep writes to many")
                case Close(session, code):
                    self._sockets[session].close(code)
                case Cut(session):
                    self._sockets[session].transport.abort()
                case RefuseWatch(session, status, name):
                    stream = self._sockets[session]
                    assert isinstance(stream, EventStream)
                    self._door.count(name)
                    stream.refuse(status, name)
                case Ping(session):
                    self._sockets[session].ping()
                case Respond(number, answer):
                    request = self._requests.pop(number)
                    if not request.done():  # else its connection has gone
                        request.set_result(answer)
                case _:
                    assert_never(effect)

    def _write(self, effect: Write | WriteMany) -> None:
        """Of a sweep: whole frames go past the transports, which hold nothing of who is written to."""
        written = _bytes_of(effect)
        sessions = [effect.session] if isinstance(effect, Write) else effect.sessions
        if self._parting:
            sessions = [session for session in sessions if session not in self._parting]
        count = len(sessions)
        if effect.form is Form.EVENTS:
            for session in sessions:
                self._writers[session](written)
        else:
            lives = []
            slow = self.core.slow
            for session in sessions:
                live = cast("LiveSocket", self._sockets[session])
                if live.transport.is_closing():
                    continue  # its descriptor may be another's by now
                if session in slow:
                    count -= not live.write_whole(written)
                else:
                    lives.append(live)
            for place, taken in send_each([live.descriptor for live in lives], written):
                count -= not lives[place].unsent(written, taken)
        self.sweeps.writes += count
        self.sweeps.bytes_out += count * len(written)

    def _end_turn_soon(self) -> None:
        """Once everything that has arrived was received, flush; not before."""
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_is_due = False
        self._carry_out(self.core.flush(monotonic_ns(), wall_ms()))
        if not self._is_sweeping and self.core.wants_sweep:
            self._is_sweeping = True
            self._sweep()

    def _sweep(self) -> None:
        """One slice; then the loop gets its turn, or a rest."""
        begin_ns = monotonic_ns()
        self._carry_out(self.core.flush(begin_ns, wall_ms()))  # the stall guard, before any write
        for effect in self.core.sweep(self._settings.writes_per_slice):
            self._write(effect)
        now_ns = monotonic_ns()
        self.core.handed(now_ns)
        self._pace.worked(begin_ns, now_ns)
        self.sweeps.slice(now_ns - begin_ns)
        self._is_sweeping = self.core.wants_sweep
        rest_ns = self._pace.rest_ns(now_ns)
        if rest_ns > 0:
            self._is_sweeping = True  # what comes meanwhile goes out behind the rest
            self._loop.call_later(rest_ns / 1e9, self._rested)
        elif self._is_sweeping:
            self._loop.call_soon(self._sweep)

    def _rested(self) -> None:
        self._is_sweeping = self.core.wants_sweep
        if self._is_sweeping:
            self._sweep()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    async def _drain(self) -> None:
        """Ask everybody to come back elsewhere, wait for them, then close."""
        self._server.close()
        self._door.close()
        self.core.drain(self._settings.drain_within_s)
        self._end_turn_soon()
        await self._wait_emptied(self._settings.drain_within_s)
        self._carry_out(self.core.close_all(CloseCode.GOING_AWAY, monotonic_ns()))
        await self._http.shutdown(_FAREWELL_S)

    async def _wait_emptied(self, seconds: float) -> None:
        if not self._sockets:
            return
        self._emptied.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._emptied.wait()
        except TimeoutError:
            self._runtime.log.info("clients stayed", connections=len(self._sockets))


async def start(runtime: Runtime) -> None:
    # packing the page takes a tenth of a second of a core: on a busy machine long enough, with several
    # gateways starting at once, for the supervisor to miss heartbeats
    page = await asyncio.to_thread(PageFiles)
    await Service(runtime, page).start()


def _bytes_of(effect: Write | WriteMany) -> bytes:
    """As they go to the socket."""
    if effect.form is Form.EVENTS:
        return effect.payload
    opcode = frames.TEXT if effect.form is Form.JSON else frames.BINARY
    return frames.frame(opcode, effect.payload)

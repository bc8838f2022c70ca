"""The speakers' process of a replay: each person with keys, a strand, seals and a grant of their own.

Open loop: samples fall due on a fixed schedule of whole milliseconds, which is also their stamp; what
the tool or the city delays shows as latency and is never hidden by waiting.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection as Pipe

from load.fine_selector import FineSelector
from load.plan import (
    Begin,
    Failed,
    Felt,
    GrantActed,
    GrantSigned,
    Leave,
    PersonReport,
    Progress,
    Ready,
    Silenced,
    SpeakersPlan,
    SpeakersReport,
    Stop,
    TurnedAway,
)
from load.recordings import Cue, cues
from shared.client.connection import Connection, ConnectionEnded
from shared.client.core import (
    Declined,
    Event,
    Interrupted,
    Keyring,
    Mood,
    RecordActed,
    RecordDeclined,
    RecordDurable,
    SeatRefused,
    Session,
    StrandWriter,
    VoiceOpened,
    WindowTaken,
)
from shared.contracts.records import Tier
from shared.contracts.refusals import Refusal
from shared.contracts.sample import Provenance
from shared.identifiers import MonotonicNs, WallMs
from shared.runtime.clock import monotonic_ns, wall_ms

ENTER_S_MAX = 60.0
CLOSE_S_MAX = 3.0
SILENCE_S = 1.5
"""How long after `acted` a withdrawn person stays silent: a late byte would have come by then."""
WITHDRAWAL_STEP_NS, WITHDRAWAL_SPREAD_NS = 3_000_000, 20_000_000
"""Withdrawals follow a sample by 0, 3, 6, … 18 ms in turn: they meet it at each hop of its way."""
PROGRESS_S = 0.5


class Person:
    """One recorded person."""

    def __init__(self, troupe: Troupe, name: str, tier: Tier) -> None:
        self.troupe = troupe
        self.tier = tier
        self.session = Session(Keyring.new(os.urandom, wall_ms()), os.urandom)
        self.connection = Connection(
            self.session, troupe.plan.common.url, on_events=self._on_events
        )
        self.report = PersonReport(name, b"", tier)
        self.writers: dict[bytes, StrandWriter] = {}
        self.refused = ""
        self.is_turned_away = False
        self.acted_ns = self.recorded_ns = 0
        self.changed = asyncio.Event()
        self.signed_ns = 0
        self._unsure: dict[tuple[bytes, int], Felt] = {}
        self.is_withdrawn = False
        self.withdraws_next = False

    def _on_events(self, events: list[Event], now_ns: MonotonicNs) -> None:
        for event in events:
            match event:
                case VoiceOpened():
                    self.writers[event.strand] = self.session.writers[event.strand]
                case WindowTaken():
                    for number in event.admitted:
                        felt = self._unsure.pop((event.strand, number), None)
                        if felt is not None:
                            felt.is_sure = True
                case Interrupted():
                    self.report.interrupted += 1
                case SeatRefused():
                    self.refused = event.reason
                    self.is_turned_away = not event.will_retry
                case RecordDeclined() | Declined(reason=Refusal.TOO_MANY_ENROLMENTS):
                    self.refused = event.reason
                    self.is_turned_away = True
                case RecordActed():
                    self.acted_ns = now_ns
                case RecordDurable():
                    self.recorded_ns = now_ns
                case _:
                    pass
        self.changed.set()

    def felt(self, number: int, felt: Felt) -> None:
        """Keep what was sent, until it is known to be admitted."""
        self.report.cells.append(felt)
        seat = self.session.seats[self.troupe.plan.common.sanctuary]
        assert seat.writer is not None
        self._unsure[seat.writer.strand, number] = felt

    async def until(self, met: Callable[[], bool]) -> None:
        while not met():
            self.changed.clear()
            await self.changed.wait()

    async def _until_let_in(self, met: Callable[[], bool]) -> None:
        """Raises: TurnedAway."""
        await self.until(lambda: met() or self.is_turned_away)
        if not met():
            raise TurnedAway

    def sign(self, tier: Tier) -> None:
        """A grant, or for WITHHELD a withdrawal. The audience's books hear of it first."""
        session, sanctuary = self.session, self.troupe.plan.common.sanctuary
        now_ns = monotonic_ns()
        assert session.citizen is not None
        self.signed_ns = now_ns
        self.acted_ns = self.recorded_ns = 0
        if tier is Tier.WITHHELD:
            session.withdraw(sanctuary, now_ns, wall_ms())
        else:
            session.grant(sanctuary, tier, now_ns, wall_ms())
        self.troupe.tell(GrantSigned(session.citizen, tier, now_ns))
        self.connection.flush()

    async def enter(self) -> None:
        """Enrol, grant, join, open a strand. Raises: TimeoutError, TurnedAway."""
        async with asyncio.timeout(ENTER_S_MAX):
            await self._until_let_in(lambda: self.session.is_ready)
            assert self.session.citizen is not None
            self.report.citizen = self.session.citizen
            # the audience's books know everyone of ours, those who grant nothing too
            self.troupe.tell(GrantSigned(self.session.citizen, Tier.WITHHELD, monotonic_ns()))
            if self.tier is not Tier.WITHHELD:
                self.sign(self.tier)
                await self._until_let_in(lambda: not self.session.chain.in_flight)
            sanctuary = self.troupe.plan.common.sanctuary
            self.session.join(sanctuary, speak=True, name=self.report.person)
            self.connection.flush()
            await self._until_let_in(lambda: self.session.can_feel(sanctuary))

    def finish(self) -> PersonReport:
        report = self.report
        for writer in self.writers.values():
            report.sent += writer.tally.sent
            report.admitted += writer.tally.admitted
            report.unanswered += writer.tally.unanswered
            for reason, count in writer.tally.refused.items():
                report.refused[reason] = report.refused.get(reason, 0) + count
        report.strands = len(self.writers)
        return report


class Troupe:
    """All people of a replay."""

    def __init__(self, plan: SpeakersPlan, pipe: Pipe) -> None:
        self.plan = plan
        self.people = [
            Person(self, recording.person, tier)
            for recording, tier in zip(plan.recordings, plan.tiers, strict=True)
        ]
        self._pipe = pipe
        self._begin_ns: int | None = None
        self._is_leaving = False
        self._stop = asyncio.Event()
        self._orders = asyncio.Event()
        self._sent = 0
        self._at_ms = 0
        self._late_ns_max = 0
        self._withdrawals: list[Silenced] = []
        self._silenced: dict[bytes, asyncio.Event] = {}

    def tell(self, message: object) -> None:
        self._pipe.send(message)

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._on_orders)
        try:
            async with asyncio.TaskGroup() as group:
                for person in self.people:
                    group.create_task(self._keep(person))
                if await self._enter_all():
                    await self._perform(group)
                await self._until(lambda: self._is_leaving)
                for person in self.people:
                    person.connection.stop()
        finally:
            loop.remove_reader(self._pipe.fileno())

    async def _keep(self, person: Person) -> None:
        try:
            await person.connection.run()
        except ConnectionEnded as ended:
            self.tell(Failed(f"{person.report.person} was sent away: {ended}"))

    async def _enter_all(self) -> bool:
        try:
            async with asyncio.TaskGroup() as group:
                for person in self.people:
                    group.create_task(person.enter())
        except* (TimeoutError, TurnedAway):
            pass  # said below, in words
        sanctuary = self.plan.common.sanctuary
        total = len(self.people)
        speaking = sum(each.session.can_feel(sanctuary) for each in self.people)
        if speaking < total:
            why = ", ".join(sorted({each.refused for each in self.people if each.refused}))
            self.tell(Failed(f"{speaking} of {total} people could speak: {why or 'no answer'}"))
            return False
        self.tell(Ready([person.report.citizen for person in self.people]))
        return True

    async def _perform(self, group: asyncio.TaskGroup) -> None:
        await self._until(lambda: self._begin_ns is not None)
        gc.collect()
        gc.freeze()  # what lives now lives to the end: no collector's pause amid the measuring
        assert self._begin_ns is not None
        began_ns = self._begin_ns
        # stamps are whole milliseconds of the wall clock, and so is the schedule
        zero_ns = self.plan.common.wall_zero_ns
        began_ms = (began_ns + zero_ns) // 1_000_000
        withdrawing = group.create_task(self._withdraw_in_turn())
        await self._play(began_ms)
        withdrawing.cancel()
        elapsed_s = (monotonic_ns() - began_ns) / 1e9
        await self._close()
        totals = {
            strand: writer.next_seq
            for person in self.people
            for strand, writer in person.writers.items()
            if writer.finished
        }
        reports = [person.finish() for person in self.people]
        late_ms = self._late_ns_max / 1e6
        self.tell(SpeakersReport(reports, totals, self._withdrawals, late_ms, elapsed_s))

    async def _play(self, began_ms: int) -> None:
        plan, zero_ns = self.plan, self.plan.common.wall_zero_ns
        told_ns = 0
        for cue in cues(plan.recordings, is_looped=plan.is_looped):
            offset_ms = int(cue.at_ms / plan.speed)
            if plan.seconds is not None and offset_ms > plan.seconds * 1000:
                return
            stamp_ms = began_ms + offset_ms
            due_ns = stamp_ms * 1_000_000 - zero_ns
            now_ns = monotonic_ns()
            if now_ns < due_ns and await self._is_stopped_before(due_ns):
                return
            now_ns = monotonic_ns()
            self._late_ns_max = max(self._late_ns_max, now_ns - due_ns)
            self._feel(cue, WallMs(stamp_ms), now_ns, due_ns)
            if now_ns - told_ns > PROGRESS_S * 1e9:
                told_ns = now_ns
                self.tell(Progress(self._sent, cue.at_ms))

    async def _is_stopped_before(self, due_ns: int) -> bool:
        try:
            async with asyncio.timeout((due_ns - monotonic_ns()) / 1e9):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    def _feel(self, cue: Cue, stamp_ms: WallMs, now_ns: MonotonicNs, due_ns: int) -> None:
        person = self.people[cue.person]
        mood = Mood(cue.valence, cue.arousal, provenance=Provenance.SCRIPTED)
        sanctuary = self.plan.common.sanctuary
        number = person.session.feel(sanctuary, mood, now_ns, wall_ms(), t_ms=stamp_ms)
        if number is None:
            person.report.not_sent += 1
            return
        person.connection.flush()
        self._sent += 1
        if person.withdraws_next:
            person.withdraws_next = False
            person.changed.set()
        if person.tier is Tier.COARSE:
            person.felt(number, Felt(due_ns, cell_of(cue.valence, cue.arousal)))

    async def _withdraw_in_turn(self) -> None:
        """One person after another withdraws, is silent for a while, and grants again."""
        every_s = self.plan.withdraw_every_s
        visible = [each for each in self.people if each.tier >= Tier.COARSE]
        if every_s is None or not visible:
            return
        turn = 0
        async with asyncio.TaskGroup() as group:
            while not await self._is_stopped_before(monotonic_ns() + int(every_s * 1e9)):
                behind_ns = turn * WITHDRAWAL_STEP_NS % WITHDRAWAL_SPREAD_NS
                group.create_task(self._withdraw(visible[turn % len(visible)], behind_ns))
                turn += 1

    async def _withdraw(self, person: Person, behind_ns: int) -> None:
        """Soon behind one of the person's own samples, so that there is something under way to stop."""
        if not person.session.is_ready or person.session.chain.in_flight or person.is_withdrawn:
            return
        citizen = person.report.citizen
        person.is_withdrawn = True
        person.withdraws_next = True
        await person.until(lambda: not person.withdraws_next)
        await self._is_stopped_before(monotonic_ns() + behind_ns)
        person.sign(Tier.WITHHELD)
        await person.until(lambda: not person.session.chain.in_flight)
        sent_ns, acted_ns, recorded_ns = person.signed_ns, person.acted_ns, person.recorded_ns
        if acted_ns:
            self.tell(GrantActed(citizen, Tier.WITHHELD, acted_ns))
        await self._is_stopped_before(monotonic_ns() + int(SILENCE_S * 1e9))
        answered = self._silenced[citizen] = asyncio.Event()
        self.tell(Silenced(citizen, person.tier, sent_ns, acted_ns, recorded_ns))
        await answered.wait()
        if not self._stop.is_set():
            person.sign(person.tier)
        person.is_withdrawn = False

    async def _close(self) -> None:
        """Closing seals, and their answers; what does not come is counted, not waited for."""
        sanctuary = self.plan.common.sanctuary
        for person in self.people:
            person.session.hush(sanctuary, wall_ms())
            person.connection.flush()

        def is_taken(person: Person) -> bool:
            writers = person.writers.values()
            return all(w.finished for w in writers if w.closing_window is not None)

        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                for person in self.people:
                    await person.until(partial(is_taken, person))
        except TimeoutError:
            return

    def _on_orders(self) -> None:
        while self._pipe.poll():
            order = self._pipe.recv()
            match order:
                case Begin():
                    self._begin_ns = order.at_ns
                case Stop():
                    self._stop.set()
                case Silenced():
                    self._withdrawals.append(order)
                    self._silenced.pop(order.citizen).set()
                case Leave():
                    self._is_leaving = True
                    self._stop.set()
                case _:
                    raise AssertionError(order)
        self._orders.set()

    async def _until(self, met: Callable[[], bool]) -> None:
        while not met():
            self._orders.clear()
            await self._orders.wait()


def cell_of(valence: int, arousal: int) -> int:
    """The 5 × 5 cell of a mood in thousandths, as `shared.contracts.client.Coarse` defines it."""
    column, row = (min(4, (axis + 1000) * 5 // 2000) for axis in (valence, arousal))
    return 5 * row + column


def speakers_process(plan: SpeakersPlan, pipe: Pipe) -> None:
    """The whole of a speakers' process. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(FineSelector())) as runner:
        try:
            runner.run(Troupe(plan, pipe).live())
        except (EOFError, BrokenPipeError):
            return  # the parent is gone; so are we

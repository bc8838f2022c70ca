"""The speakers' process of a run: each person with keys, a strand, seals and a grant of their own.

Open loop: samples fall due on a fixed schedule of whole milliseconds, which is also their stamp; what
the tool or the city delays shows as latency and is never hidden by waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection as Pipe

import uvloop

from load.story.recordings import Cue
from load.story.schedule import Change
from load.swarm.alarm import Alarm
from load.swarm.entering import enter_in_turn
from load.swarm.light import LightReader
from load.swarm.person import Person
from load.swarm.plan import (
    Begin,
    Failed,
    Felt,
    Leave,
    Progress,
    Ready,
    Silenced,
    SpeakersPlan,
    SpeakersReport,
    Standing,
    Stop,
)
from load.swarm.post import Post
from load.swarm.ticks import Ticks
from shared.client.connection import ConnectionEnded
from shared.client.core import Mood
from shared.contracts.records import Tier
from shared.contracts.sample import Provenance
from shared.identifiers import MonotonicNs, WallMs
from shared.runtime.clock import monotonic_ns, pause, wall_ms

CLOSE_S_MAX = 3.0
ACTED_S_MAX = 3.0
"""A withdrawal acts within a second, whatever happens; this process may be late too."""
SILENCE_S = 2.5
"""How long a withdrawn person stays withdrawn, and speaks on: above the second that a byte may take to
be read, so that a city that goes on delivering is seen to.
"""
WITHDRAWAL_STEP_NS, WITHDRAWAL_SPREAD_NS = 3_000_000, 20_000_000
"""Withdrawals follow a sample by 0, 3, 6, … 18 ms in turn: they meet it at each hop of its way."""
PROGRESS_S = 0.5
STANDING_MS = 2000
"""How often a process counts all its people through: for scrapes, which come less often."""
BREATH_NS = 2_000_000
"""Behind its time this process sends what is due, one after another; after so long it lets the loop read
answers and write, or it would send to nobody and fall behind for good."""


class Troupe:
    """All people of this process."""

    def __init__(self, plan: SpeakersPlan, pipe: Pipe) -> None:
        self.plan = plan
        ears, ticks = LightReader(), Ticks()
        self.people = [
            Person(plan.common, role, self.tell, intake=ears, timers=ticks) for role in plan.roles
        ]
        self._by_number = {person.role.number: person for person in self.people}
        coarse = {change.who for change in plan.changes if change.tier is Tier.COARSE}
        self._keeping_cells = {
            each.role.number
            for each in self.people
            if each.tier is Tier.COARSE or each.role.number in coarse
        }
        self._post = Post(pipe, self._on_order)
        self._begin_ns: int | None = None
        self._is_leaving = False
        self._stop = asyncio.Event()
        self._alarm = Alarm()
        self._due: Counter[int] = Counter()
        self._late_ns_max = self._late_ns_lately = 0
        self._standing_told_ms = -STANDING_MS
        self._withdrawals: list[Silenced] = []
        self._silenced: dict[bytes, asyncio.Event] = {}

    def tell(self, message: object) -> None:
        self._post.tell(message)

    async def live(self) -> None:
        async with self._post, asyncio.TaskGroup() as group:
            if await self._enter_all(group):
                await self._perform(group)
            await self._post.until(lambda: self._is_leaving)
            for person in self.people:
                person.connection.stop()

    async def _keep(self, person: Person) -> None:
        try:
            await person.connection.run()
        except ConnectionEnded as ended:
            self.tell(Failed(f"{person.report.person} was sent away: {ended}"))

    async def _enter_all(self, connections: asyncio.TaskGroup) -> bool:
        async def enter(person: Person) -> None:
            connections.create_task(self._keep(person))
            await person.enter()

        is_full = await enter_in_turn((partial(enter, each) for each in self.people), self.tell)
        total = len(self.people)
        speaking = sum(each.is_in for each in self.people)
        if not is_full or speaking < total:
            why = ", ".join(sorted({each.refused for each in self.people if each.refused}))
            self.tell(Failed(f"{speaking} of {total} people could speak: {why or 'no answer'}"))
            return False
        self.tell(Ready())
        return True

    async def _perform(self, group: asyncio.TaskGroup) -> None:
        await self._post.until(lambda: self._begin_ns is not None)
        gc.collect()
        gc.freeze()  # what lives now lives to the end: no collector's pause amid the measuring
        assert self._begin_ns is not None
        began_ns = self._begin_ns
        # stamps are whole milliseconds of the wall clock, and so is the schedule
        zero_ns = self.plan.common.wall_zero_ns
        began_ms = (began_ns + zero_ns) // 1_000_000
        withdrawing = group.create_task(self._withdraw_in_turn())
        changing = group.create_task(self._change_in_time(began_ns))
        with self._alarm:
            await self._play(began_ms)
        withdrawing.cancel()
        changing.cancel()
        elapsed_s = (monotonic_ns() - began_ns) / 1e9
        self._tell_progress(int(elapsed_s * 1000))
        await self._close()
        totals: dict[bytes, int] = {}
        visible: dict[bytes, bytes] = {}
        for person in self.people:
            totals |= person.totals()
            visible |= person.visible()
        reports = [person.finish() for person in self.people]
        late_ms = self._late_ns_max / 1e6
        self.tell(SpeakersReport(reports, totals, visible, self._withdrawals, late_ms, elapsed_s))

    async def _play(self, began_ms: int) -> None:
        plan, zero_ns = self.plan, self.plan.common.wall_zero_ns
        told_ns = 0
        breath_ns = monotonic_ns()
        for cue in plan.score.cues():
            if plan.seconds is not None and cue.at_ms > plan.seconds * 1000:
                return
            stamp_ms = began_ms + cue.at_ms
            due_ns = MonotonicNs(stamp_ms * 1_000_000 - zero_ns)
            now_ns = monotonic_ns()
            if self._stop.is_set():
                return
            if now_ns < due_ns or now_ns - breath_ns > BREATH_NS:
                await (self._alarm.until(due_ns) if now_ns < due_ns else pause(0))
                if self._stop.is_set():
                    return
                now_ns = breath_ns = monotonic_ns()
            self._late_ns_lately = max(self._late_ns_lately, now_ns - due_ns)
            self._late_ns_max = max(self._late_ns_max, now_ns - due_ns)
            self._feel(cue, WallMs(stamp_ms), now_ns, due_ns)
            if now_ns - told_ns > PROGRESS_S * 1e9:
                told_ns = now_ns
                self._tell_progress(cue.at_ms)

        if plan.until_ms is not None:
            await self._is_stopped_before((began_ms + plan.until_ms) * 1_000_000 - zero_ns)

    def _tell_progress(self, at_ms: int) -> None:
        due, self._due = self._due, Counter()
        standing = None
        if at_ms >= self._standing_told_ms + STANDING_MS:
            self._standing_told_ms, standing = at_ms, self._standing()
        self.tell(Progress(due.total(), at_ms, due=due, standing=standing))

    def _standing(self) -> Standing:
        found = Standing(os.getpid(), late_s=self._late_ns_lately / 1e9)
        self._late_ns_lately = 0
        for person in self.people:
            found.connections["people", person.state] += 1
            found.unsent += person.report.not_sent
            for writer in person.writers.values():
                found.refused.update(writer.tally.refused)
        return found

    async def _is_stopped_before(self, due_ns: int) -> bool:
        try:
            async with asyncio.timeout(max(0.0, (due_ns - monotonic_ns()) / 1e9)):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    def _feel(self, cue: Cue, stamp_ms: WallMs, now_ns: MonotonicNs, due_ns: int) -> None:
        person = self._by_number[cue.person]
        if not person.is_present:
            return
        mood = Mood(cue.valence, cue.arousal, provenance=Provenance.SCRIPTED)
        number = person.session.feel(person.sanctuary, mood, now_ns, wall_ms(), t_ms=stamp_ms)
        if number is None:
            person.report.not_sent += 1
            return
        person.connection.flush()
        self._due[cue.at_ms // 1000] += 1
        if person.withdraws_next:
            person.withdraws_next = False
            person.changed.set()
        if cue.person in self._keeping_cells:
            person.felt(number, Felt(due_ns, cell_of(cue.valence, cue.arousal)))

    async def _change_in_time(self, began_ns: int) -> None:
        """What the story has them do, each at its time."""
        async with asyncio.TaskGroup() as group:
            for turn, change in enumerate(self.plan.changes):
                at_ns = began_ns + change.at_ms * 1_000_000
                if at_ns > monotonic_ns() and await self._is_stopped_before(at_ns):
                    return
                self._change(change, turn, group)

    def _change(self, change: Change, turn: int, group: asyncio.TaskGroup) -> None:
        person = self._by_number[change.who]
        match change.do:
            case "enter":
                person.come()
            case "leave":
                person.go()
            case "reconnect":
                person.connection.drop()
            case "withdraw":
                if person.tier is not Tier.WITHHELD:
                    behind_ns = turn * WITHDRAWAL_STEP_NS % WITHDRAWAL_SPREAD_NS
                    group.create_task(self._withdraw(person, behind_ns))
            case "grant":
                assert change.tier is not None
                group.create_task(person.regrant(change.tier))
            case _:
                raise AssertionError(change)

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
        sent_ns, connects = person.signed_ns, person.connection.connects
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACTED_S_MAX):
                await person.until(lambda: bool(person.acted_ns))
        if person.connection.connects != connects or not person.session.is_ready:
            await person.until(lambda: bool(person.acted_ns))  # its own socket was cut meanwhile
        acted_ns = person.acted_ns
        await self._is_stopped_before(monotonic_ns() + int(SILENCE_S * 1e9))
        recorded_ns = person.recorded_ns
        answered = self._silenced[citizen] = asyncio.Event()
        self.tell(Silenced(citizen, person.tier, sent_ns, acted_ns, recorded_ns))
        await answered.wait()
        if not self._stop.is_set():
            person.sign(person.tier)
        person.is_withdrawn = False

    async def _close(self) -> None:
        """Closing seals, and their answers; what does not come is counted, not waited for."""
        for person in self.people:
            person.session.hush(person.sanctuary, wall_ms())
            person.connection.flush()
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                for person in self.people:
                    await person.until(person.is_closed)
        except TimeoutError:
            return

    def _on_order(self, order: object) -> None:
        match order:
            case Begin():
                self._begin_ns = order.at_ns
            case Stop():
                self._end()
            case Silenced():
                self._withdrawals.append(order)
                self._silenced.pop(order.citizen).set()
            case Leave():
                self._is_leaving = True
                self._end()
            case _:
                raise AssertionError(order)

    def _end(self) -> None:
        self._stop.set()
        self._alarm.ring()


def cell_of(valence: int, arousal: int) -> int:
    """The 5 × 5 cell of a mood in thousandths, as `shared.contracts.client.Coarse` defines it."""
    column, row = (min(4, (axis + 1000) * 5 // 2000) for axis in (valence, arousal))
    return 5 * row + column


def speakers_process(plan: SpeakersPlan, pipe: Pipe) -> None:
    """The whole of a speakers' process. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(Troupe(plan, pipe).live())
        except asyncio.CancelledError:
            return  # the parent is gone; so are we

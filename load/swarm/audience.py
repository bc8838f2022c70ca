"""The viewers' process of a run: separate citizens, each with a session, a seat and books.

Members of an audience receive the same bytes, so a frame is decoded once and its meaning applied to
each viewer that got it; a few viewers verify everything themselves.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import get_args

import msgspec
import uvloop

from load.swarm.attackers import FORGED_SALT
from load.swarm.entering import enter_in_turn
from load.swarm.latency import STEP_NS
from load.swarm.plan import (
    TWO_IN_A_TICK,
    AudiencePlan,
    AudienceReport,
    Begin,
    CoarseSeen,
    Failed,
    Finish,
    GrantActed,
    GrantSigned,
    Leave,
    Progress,
    Ready,
    Silenced,
    Standing,
    TurnedAway,
)
from load.swarm.post import Post
from load.swarm.relay import Relay
from shared.client.accounts import Accounts, AccountsReport, GrantsSigned
from shared.client.connection import Connection, ConnectionEnded
from shared.client.core import (
    Declined,
    Event,
    Keyring,
    Seated,
    Session,
    Viewer,
    WindowJudged,
    decode_frame,
)
from shared.client.events import SeatRefused, ViewerMessage
from shared.contracts.client import (
    Closeness,
    Coarse,
    Gap,
    Rung,
    SampleShown,
    SealShown,
    ServerMessage,
    Snapshot,
    StrandEnded,
    StrandShown,
)
from shared.contracts.refusals import CloseCode, Refusal
from shared.identifiers import MonotonicNs, SanctuaryId
from shared.runtime.clock import monotonic_ns, pause, wall_ms

FRAMES_KEPT_MAX, FRAMES_KEPT_BYTES_MAX = 512, 4_000_000
"""Frames whose meaning is kept: viewers of an audience get the same one within a few milliseconds. What
is meant takes some ten times the bytes."""
STRANGERS_S = 1.3
"""Somebody else at coarse is shown on the room's next tick of one second, and only those who were seen
before our own people came are known to be strangers."""
PROGRESS_S = 0.5
STANDING_MS = 2000
"""How often all books are looked through: for scrapes, which come less often."""
EVERY, CLOSED = "every", "closed"
"""The ladder's highest rung, on which everybody begins; and its end, from which one comes back to it."""
COARSE_SEEN_MAX = 100_000
_FOR_BOOKS = get_args(ViewerMessage)


class _Head(msgspec.Struct, array_like=True, gc=False):
    """A body's first two fields: all that the books need of it."""

    seq: int
    t_ms: int


_head = msgspec.msgpack.Decoder(_Head)
Number = tuple[bytes, int, int]
"""(strand, number, intended send time on the monotonic clock)."""


class Meaning(msgspec.Struct, gc=False):
    """A frame, decoded once. `books`: in order, numbers and other messages for the books; `session`:
    what only the session understands; `messages`: everything.
    """

    books: list[Number | ServerMessage]
    session: list[ServerMessage]
    messages: list[ServerMessage]
    due_ns: int = 0
    """When its first sample was to be sent, since the play began; negative: before."""
    forged: int = 0
    own: int = 0
    """Samples of the tool's own people, for those who only count; `first_ns`: when the frame's first
    sample was to be sent, on the monotonic clock."""
    first_ns: int = 0
    notices: list[Gap | Rung] = msgspec.field(default_factory=list)


class Spectator:
    """One viewer."""

    def __init__(self, house: House, *, is_verifying: bool, keeps_books: bool) -> None:
        self.house = house
        self.keeps_books = keeps_books
        plan = house.plan
        self.accounts = Accounts(None if plan.is_public else house.grants)
        self.viewer = Viewer() if is_verifying else None
        keyring = Keyring.new(os.urandom, wall_ms())
        self.session = Session(keyring, os.urandom, viewer=self.viewer, is_anonymous=plan.is_public)
        self.connection = Connection(
            self.session,
            house.url,
            on_events=self._on_events,
            on_disconnected=self._on_disconnected,
            intake=self._intake,
            watch=SanctuaryId(plan.common.sanctuary) if plan.is_public else None,
        )
        self.entered = asyncio.Event()
        self.is_turned_away = False
        self.refused = ""
        self.windows: Counter[str] = Counter()
        self.shown: set[bytes] = set()
        """Every strand that was ever shown here."""
        self.is_far = False
        """The room has outgrown its closeness at some time."""
        self.rung = EVERY
        self._ticks: dict[bytes, int] = {}
        self._snapshot_left = 0

    def _on_disconnected(self, code: int | None) -> None:
        self._snapshot_left = 0
        self._stand(EVERY)
        if code == CloseCode.TOO_SLOW:
            self.house.rungs[CLOSED] += 1
        self.accounts.disconnected()

    def _intake(self, frame: bytes, now_ns: MonotonicNs) -> list[ServerMessage]:
        house = self.house
        meaning = house.meaning(frame)
        house.forged += meaning.forged
        if not self.keeps_books:
            self._count(meaning, now_ns)
            return meaning.session
        counts, accounts, is_public = house.counts, self.accounts, house.plan.is_public
        taken = 0
        for entry in meaning.books:
            if isinstance(entry, tuple):
                strand, seq, intended_ns = entry
                if accounts.sample(strand, seq, now_ns) or is_public:
                    counts[(now_ns - intended_ns) // STEP_NS] += 1
                    taken += 1
            else:
                self._look(entry, now_ns)
                accounts.apply(entry, None, now_ns)
        if taken and meaning.due_ns >= 0:
            house.due[meaning.due_ns // 1_000_000_000] += taken
        return meaning.session if self.viewer is None else meaning.messages

    def _count(self, meaning: Meaning, now_ns: MonotonicNs) -> None:
        """A frame is as late as its first sample: no later one waited longer."""
        house, own = self.house, meaning.own
        if own:
            self.accounts.totals.delivered += own
            house.counts[(now_ns - meaning.first_ns) // STEP_NS] += own
            if meaning.due_ns >= 0:
                house.due[meaning.due_ns // 1_000_000_000] += own
        for notice in meaning.notices:
            self._look(notice, now_ns)
            self.accounts.apply(notice, None, now_ns)

    def _look(self, entry: ServerMessage, now_ns: MonotonicNs) -> None:
        """What the books do not ask for."""
        is_of_snapshot = self._snapshot_left > 0
        if is_of_snapshot:
            self._snapshot_left -= 1
        match entry:
            case StrandShown():
                self.shown.add(entry.strand)
            case Closeness():
                self.is_far |= not entry.close
            case Rung():
                self._stand(entry.rung)
            case Coarse() if not is_of_snapshot:  # a snapshot may show the newest records again
                self._on_coarse(entry, now_ns)
            case Snapshot() if not is_of_snapshot:
                self._snapshot_left = entry.count
                if self.house.plan.is_public:
                    self.entered.set()
            case _:
                pass

    def _stand(self, rung: str) -> None:
        self.house.rungs[self.rung] -= 1
        self.house.rungs[rung] += 1
        self.rung = rung

    def _on_coarse(self, message: Coarse, now_ns: MonotonicNs) -> None:
        """At most one record a pseudonym and tick; one viewer keeps the cells, to be judged later."""
        if self._ticks.get(message.pseudonym) == message.tick:
            against = self.accounts.totals.against
            against[TWO_IN_A_TICK] = against.get(TWO_IN_A_TICK, 0) + 1
        self._ticks[message.pseudonym] = message.tick
        if self is self.house.spectators[0] and message.cell is not None:
            self.house.saw_coarse(now_ns, message)

    def _on_events(self, events: list[Event], _now_ns: MonotonicNs) -> None:
        for event in events:
            if isinstance(event, Seated):
                self.entered.set()
            elif isinstance(event, SeatRefused):
                self.refused = event.reason
                if not event.will_retry:
                    self.turn_away()
            elif isinstance(event, Declined) and event.reason == Refusal.TOO_MANY_ENROLMENTS:
                self.refused = event.reason
                self.turn_away()
            elif isinstance(event, WindowJudged):
                books = self.accounts.strands.get(event.strand)
                if books is not None and books.grant.is_known:
                    self.windows[event.state.value] += 1

    async def enter(self) -> None:
        """Connect, enrol, sit down. Raises: TurnedAway if it never will sit."""
        if not self.house.plan.is_public:
            self.session.join(self.house.plan.common.sanctuary)
        self.connection.flush()
        await self.entered.wait()
        if self.is_turned_away:
            raise TurnedAway

    def owed(self, finish: Finish) -> list[bytes]:
        """Strands that this viewer had a right to see."""
        here = self.house.plan.common.sanctuary
        if self.is_far:
            return []
        return [strand for strand, sanctuary in finish.visible.items() if sanctuary == here]

    def not_shown(self, finish: Finish) -> list[bytes]:
        """Of those, what this viewer, who never missed anything, was not shown."""
        totals = self.accounts.totals
        if not self.keeps_books or totals.gaps or totals.disconnects:
            return []
        return [strand for strand in self.owed(finish) if strand not in self.shown]

    @property
    def state(self) -> str:
        """Of its connection: `connecting`, `ready`, `watching`."""
        if self.session.hello is None:
            return "connecting"
        plan = self.house.plan
        is_seated = plan.is_public or self.session.has_seat(plan.common.sanctuary)
        return "watching" if is_seated else "ready"

    def turn_away(self) -> None:
        self.is_turned_away = not self.entered.is_set()
        self.entered.set()


class House:
    """All viewers of this process."""

    def __init__(self, plan: AudiencePlan, pipe: Pipe) -> None:
        self.plan = plan
        self.url = plan.common.url
        self.grants = GrantsSigned()
        self.counts: Counter[int] = Counter()
        self.batches: Counter[int] = Counter()
        self.due: Counter[int] = Counter()
        self.frames = self.bytes_received = self.forged = self.never_shown = self.owed = 0
        self.coarse: dict[tuple[int, int], list[int]] = {}
        self.strangers: set[bytes] = set()
        """Pseudonyms of people who were here before ours."""
        self.rungs: Counter[str] = Counter()
        """Changes since they were told last."""
        self.has_own_people = False
        self._post = Post(pipe, self._on_order)
        self._meanings: dict[bytes, Meaning] = {}
        self._kept_bytes = 0
        self._own: set[bytes] = set()
        """Strands of the tool's own people; on a stage whoever speaks there."""
        self._begin_ns: int | None = None
        self._finish: Finish | None = None
        self._is_leaving = False
        self._told: Counter[int] = Counter()
        self._told_bytes = 0
        self._standing_told_ms = -STANDING_MS
        self.spectators: list[Spectator] = []

    def meaning(self, frame: bytes) -> Meaning:
        self.frames += 1
        self.bytes_received += len(frame)
        known = self._meanings.get(frame)
        if known is not None:
            return known
        messages = decode_frame(frame)
        wall_zero_ns = self.plan.common.wall_zero_ns
        meaning = Meaning([], [], messages)
        for message in messages:
            if isinstance(message, SampleShown):
                head = _head.decode(message.body)
                meaning.books.append(
                    (message.strand, head.seq, head.t_ms * 1_000_000 - wall_zero_ns)
                )
                meaning.forged += message.body.endswith(FORGED_SALT)
                meaning.own += message.strand in self._own
            elif isinstance(message, SealShown):
                continue  # for those who verify
            elif isinstance(message, _FOR_BOOKS):
                meaning.books.append(message)
                if isinstance(message, StrandShown):
                    if self.plan.is_public or self.grants.of(message.citizen).is_known:
                        self._own.add(message.strand)
                elif isinstance(message, Gap | Rung):
                    meaning.notices.append(message)
            else:
                meaning.session.append(message)
        self._time(meaning)
        self._remember(frame, meaning)
        return meaning

    def _time(self, meaning: Meaning) -> None:
        samples = sum(entry.__class__ is tuple for entry in meaning.books)
        if samples:
            self.batches[samples] += 1
            meaning.first_ns = next(each[2] for each in meaning.books if isinstance(each, tuple))
            meaning.due_ns = -1 if self._begin_ns is None else meaning.first_ns - self._begin_ns

    def _remember(self, frame: bytes, meaning: Meaning) -> None:
        self._meanings[frame] = meaning
        self._kept_bytes += len(frame)
        while len(self._meanings) > FRAMES_KEPT_MAX or self._kept_bytes > FRAMES_KEPT_BYTES_MAX:
            oldest = next(iter(self._meanings))
            del self._meanings[oldest]
            self._kept_bytes -= len(oldest)

    def saw_coarse(self, now_ns: MonotonicNs, message: Coarse) -> None:
        assert message.cell is not None
        if not self.has_own_people:
            self.strangers.add(message.pseudonym)
            return
        key = (now_ns, message.tick)
        if key in self.coarse or len(self.coarse) < COARSE_SEEN_MAX:
            self.coarse.setdefault(key, []).append(message.cell)

    async def live(self) -> None:
        async with self._post, asyncio.TaskGroup() as group:
            relay = await self._slow_down(group)
            self.spectators = [
                Spectator(
                    self,
                    is_verifying=place < self.plan.verifying,
                    keeps_books=self.plan.books is None or place < self.plan.books,
                )
                for place in range(self.plan.viewers)
            ]
            progress = group.create_task(self._tell_progress())
            await self._enter_all(group)
            gc.collect()
            gc.freeze()  # what lives now lives to the end: no collector's pause amid the measuring
            await pause(STRANGERS_S)
            self._post.tell(Ready())
            changing = group.create_task(self._change_in_time())
            await self._post.until(lambda: self._finish is not None)
            changing.cancel()
            if relay is not None:
                relay.hurry()
            await self._settle()
            progress.cancel()
            if self._begin_ns is not None:
                self._post.tell(self._progress(self._begin_ns))
            self._post.tell(self._report())
            await self._post.until(lambda: self._is_leaving)
            for spectator in self.spectators:
                spectator.connection.stop()
            if relay is not None:
                relay.close()

    async def _slow_down(self, group: asyncio.TaskGroup) -> Relay | None:
        """For slow viewers: between them and the city."""
        if self.plan.bytes_per_s is None:
            return None
        relay = Relay(self.plan.common.url, bytes_per_s=self.plan.bytes_per_s)
        self.url = await relay.serve(group)
        return relay

    async def _change_in_time(self) -> None:
        """What the story has these viewers do, each at its time."""
        await self._post.until(lambda: self._begin_ns is not None)
        assert self._begin_ns is not None
        for change in self.plan.changes:
            await pause(max(0.0, (self._begin_ns - monotonic_ns()) / 1e9 + change.at_ms / 1000))
            if change.do == "reconnect":
                self.spectators[change.who].connection.drop()

    async def _keep(self, spectator: Spectator) -> None:
        try:
            await spectator.connection.run()
        except ConnectionEnded as ended:
            self._post.tell(Failed(f"a viewer was sent away: {ended}"))

    async def _enter_all(self, connections: asyncio.TaskGroup) -> None:
        async def enter(spectator: Spectator) -> None:
            connections.create_task(self._keep(spectator))
            await spectator.enter()

        everyone = (partial(enter, each) for each in self.spectators)
        if not await enter_in_turn(everyone, self._post.tell):
            place = self.plan.common.sanctuary
            seated = sum(each.session.has_seat(place) for each in self.spectators)
            refusals = Counter(each.refused for each in self.spectators if each.refused)
            why = ", ".join(refusals) or "no answer"
            total = len(self.spectators)
            self._post.tell(Failed(f"{seated} of {total} viewers got a seat in time: {why}"))

    async def _tell_progress(self) -> None:
        while True:
            await pause(PROGRESS_S)
            if self._begin_ns is not None:
                self._post.tell(self._progress(self._begin_ns))

    def _progress(self, begin_ns: int) -> Progress:
        fresh = self.counts - self._told
        self._told = self.counts.copy()
        batches, self.batches = self.batches, Counter()
        due, self.due = self.due, Counter()
        received, self._told_bytes = self.bytes_received - self._told_bytes, self.bytes_received
        at_ms = (monotonic_ns() - begin_ns) // 1_000_000
        rungs, self.rungs = self.rungs, Counter()
        standing = None
        if at_ms >= self._standing_told_ms + STANDING_MS:
            self._standing_told_ms, standing = at_ms, self._standing()
        return Progress(due.total(), at_ms, fresh, due, batches, received, rungs, standing)

    def _standing(self) -> Standing:
        found = Standing(os.getpid(), forged=self.forged)
        for spectator in self.spectators:
            found.connections["viewers", spectator.state] += 1
            found.accounts.add(spectator.accounts.so_far())
            found.windows.update(spectator.windows)
        return found

    def _on_order(self, order: object) -> None:
        match order:
            case GrantSigned():
                self.has_own_people = True
                self.grants.signed(order.citizen, order.tier, MonotonicNs(order.at_ns))
            case GrantActed():
                # a slow viewer reads late what was sent in time: only `struck` judges it
                if self.plan.bytes_per_s is None:
                    self.grants.acted(order.citizen, order.tier, MonotonicNs(order.at_ns))
            case Begin():
                self._begin_ns = order.at_ns
                # what came before is no part of the play: its seconds begin now
                self._told, self._told_bytes = self.counts.copy(), self.bytes_received
                self.batches.clear()
            case Silenced():
                is_slow = self.plan.bytes_per_s is not None
                last_ns = 0 if is_slow else self.grants.of(order.citizen).last_ns
                self._post.tell(order._replace(last_ns=last_ns))
            case Finish():
                self._finish = order
            case Leave():
                self._is_leaving = True
            case _:
                raise AssertionError(order)

    async def _settle(self) -> None:
        """Until every viewer saw every strand end, or long enough."""
        assert self._finish is not None
        deadline_ns = monotonic_ns() + self._finish.within_s * 1e9
        while monotonic_ns() < deadline_ns and any(map(self._is_waiting, self.spectators)):
            await pause(0.02)
        self.owed = sum(len(each.owed(self._finish)) for each in self.spectators)
        if self.plan.bytes_per_s is not None:
            return  # what a slow viewer has not read yet is not lost
        for spectator in self.spectators:
            for strand in spectator.not_shown(self._finish):
                self.never_shown += self._finish.totals[strand]
            for strand, books in spectator.accounts.strands.items():
                total = self._finish.totals.get(strand)
                if total is not None and books.ended is None:
                    # its end did not come: what is missing up to the total is unaccounted
                    spectator.accounts.ended(StrandEnded(strand, "closed", total, None))

    def _is_waiting(self, spectator: Spectator) -> bool:
        """For a strand of ours to be seen to end. On a stage others go on speaking."""
        accounts = spectator.accounts
        assert self._finish is not None
        if spectator.not_shown(self._finish):
            return True
        if not self.plan.is_public:
            return accounts.open_strands > 0
        ours = (accounts.strands.get(strand) for strand in self._finish.totals)
        return any(books is not None and books.ended is None for books in ours)

    def _report(self) -> AudienceReport:
        accounts, windows = AccountsReport(), Counter[str]()
        orphans = 0
        for spectator in self.spectators:
            accounts.add(spectator.accounts.report())
            windows.update(spectator.windows)
            orphans += 0 if spectator.viewer is None else spectator.viewer.orphans
        seen = [CoarseSeen(at, tick, tuple(c)) for (at, tick), c in self.coarse.items()]
        return AudienceReport(
            accounts=accounts,
            latencies=self.counts,
            windows=windows,
            coarse=seen,
            strangers=len(self.strangers),
            frames=self.frames,
            bytes_received=self.bytes_received,
            orphans=orphans,
            group=self.plan.group,
            is_slow=self.plan.bytes_per_s is not None,
            viewers=self.plan.viewers,
            forged=self.forged,
            never_shown=self.never_shown,
            owed=self.owed,
        )


def audience_process(plan: AudiencePlan, pipe: Pipe) -> None:
    """The whole of a viewers' process. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(House(plan, pipe).live())
        except asyncio.CancelledError:
            return  # the parent is gone; so are we

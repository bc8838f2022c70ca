"""One citizen of a run's cast: keys, a session, a grant, a strand, and what became of its samples."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from load.story.schedule import Role
from load.swarm.plan import Felt, GrantActed, GrantSigned, PersonReport, Plan, TurnedAway
from shared.client.connection import Connection, Intake, Timers
from shared.client.core import (
    Declined,
    Event,
    Interrupted,
    Keyring,
    RecordActed,
    RecordDeclined,
    RecordDurable,
    SeatRefused,
    Session,
    StrandWriter,
    VoiceOpened,
    WindowTaken,
)
from shared.client.words import sanctuary_of
from shared.contracts.records import Tier
from shared.contracts.refusals import Refusal
from shared.identifiers import MonotonicNs
from shared.runtime.clock import monotonic_ns, wall_ms


class Person:
    """One citizen of the cast."""

    def __init__(
        self,
        common: Plan,
        role: Role,
        tell: Callable[[object], None],
        *,
        intake: Intake | None = None,
        timers: Timers | None = None,
    ) -> None:
        """`tell`: for what the audience's books must hear first. `intake`, `timers`: the process's."""
        self.role = role
        self.tier = role.tier
        self.sanctuary = common.sanctuary if role.stage is None else sanctuary_of(role.stage)
        kept = role.keys
        keyring = Keyring.new(os.urandom, wall_ms()) if kept is None else Keyring.load(kept)
        self.session = Session(keyring, os.urandom)
        self.connection = Connection(
            self.session, common.url, on_events=self._on_events, intake=intake, timers=timers
        )
        self.report = PersonReport(role.name, b"", role.tier)
        self.is_present = False
        """In the room as the play has it, not as the city has."""
        self._tell = tell
        self.writers: dict[bytes, StrandWriter] = {}
        self.refused = ""
        self.is_turned_away = False
        self.acted_ns = self.recorded_ns = 0
        self._ref: int | None = None
        self._counter: int | None = None
        """Of the newest record: how this client calls it, and its place in the chain."""
        self._newest = Tier.WITHHELD
        self._was_narrowed = role.tier is not Tier.FULL
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
                    self._on_acted(event, now_ns)
                case RecordDurable():
                    if event.ref == self._ref:
                        self._counter = event.counter
                        self.recorded_ns = now_ns
                case _:
                    pass
        self.changed.set()

    def _on_acted(self, acted: RecordActed, now_ns: MonotonicNs) -> None:
        """The audience's books hear of it; of an older record it says nothing about now."""
        is_newest = (
            acted.ref == self._ref if acted.ref is not None else acted.counter == self._counter
        )
        if is_newest and not self.acted_ns:
            self.acted_ns = now_ns
            self._tell(GrantActed(self.report.citizen, self._newest, now_ns))

    def felt(self, number: int, felt: Felt) -> None:
        """Keep what was sent, until it is known to be admitted."""
        self.report.cells.append(felt)
        seat = self.session.seats[self.sanctuary]
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
        session, sanctuary = self.session, self.sanctuary
        now_ns = monotonic_ns()
        assert session.citizen is not None
        self.signed_ns = now_ns
        self.acted_ns = self.recorded_ns = 0
        self._newest, self._counter = tier, None
        self._was_narrowed |= tier is not Tier.FULL
        if tier is Tier.WITHHELD:
            self._ref = session.withdraw(sanctuary, now_ns, wall_ms())
        else:
            self._ref = session.grant(
                sanctuary, tier, now_ns, wall_ms(), audience=self.role.audience
            )
        self._tell(GrantSigned(session.citizen, tier, now_ns))
        self.connection.flush()

    async def enter(self) -> None:
        """Enrol, grant; and if the role has it so, join and open a strand.

        Raises: TurnedAway.
        """
        await self._until_let_in(lambda: self.session.is_ready)
        assert self.session.citizen is not None
        self.report.citizen = self.session.citizen
        # the audience's books know everyone of ours, those who grant nothing too
        self._tell(GrantSigned(self.session.citizen, Tier.WITHHELD, monotonic_ns()))
        if self.tier is not Tier.WITHHELD:
            self.sign(self.tier)
            await self._until_let_in(lambda: not self.session.chain.in_flight)
        if self.role.is_here:
            self.come()
            await self._until_let_in(lambda: self.session.can_feel(self.sanctuary))

    @property
    def is_in(self) -> bool:
        """Enrolled, and speaking if the role begins so."""
        if not self.role.is_here:
            return self.session.is_ready and not self.session.chain.in_flight
        return self.session.can_feel(self.sanctuary)

    def come(self) -> None:
        """Into the room, to speak there."""
        self.is_present = True
        self.session.join(self.sanctuary, speak=True, name=self.role.name)
        self.connection.flush()

    def go(self) -> None:
        """Close the strand and leave the room."""
        self.is_present = False
        self.session.leave(self.sanctuary, wall_ms())
        self.connection.flush()

    async def regrant(self, tier: Tier) -> None:
        """Another tier."""
        await self.until(lambda: not self.session.chain.in_flight)
        self.tier = tier
        self.report.was_coarse |= tier is Tier.COARSE
        self.sign(tier)

    def is_closed(self) -> bool:
        """Every strand that was closed has all its seals taken."""
        return all(
            each.finished for each in self.writers.values() if each.closing_window is not None
        )

    def totals(self) -> dict[bytes, int]:
        """Numbers of each strand that was closed."""
        return {
            strand: writer.next_seq for strand, writer in self.writers.items() if writer.finished
        }

    def visible(self) -> dict[bytes, bytes]:
        """Strand → sanctuary of what everybody there was to be shown: at `full` all along."""
        if self._was_narrowed:
            return {}
        return {
            strand: self.sanctuary
            for strand, writer in self.writers.items()
            if writer.finished and writer.tally.admitted
        }

    @property
    def state(self) -> str:
        """Of its connection: `connecting`, `ready`, `speaking`."""
        if not self.session.is_ready:
            return "connecting"
        return "speaking" if self.session.can_feel(self.sanctuary) else "ready"

    def finish(self) -> PersonReport:
        report = self.report
        for writer in self.writers.values():
            report.sent += writer.tally.sent
            report.admitted += writer.tally.admitted
            report.unanswered += writer.tally.unanswered
            for reason, count in writer.tally.refused.items():
                report.refused[reason] = report.refused.get(reason, 0) + count
        report.strands = len(self.writers)
        report.turned_away = self.refused if self.is_turned_away else ""
        return report

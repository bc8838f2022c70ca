"""The attackers' process of a run: each tries what the city must withstand, and counts its answers.

They are citizens like any other, enrolled and seated before the play begins; what they forge bears a
salt that viewers look for, so that a forgery which gets through is seen where it would hurt.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection as Pipe

import msgspec
import uvloop

from load.story.schedule import Assault, Role
from load.swarm.entering import enter_in_turn
from load.swarm.person import Person
from load.swarm.plan import (
    AttackersPlan,
    AttackersReport,
    AttackReport,
    Begin,
    Failed,
    GrantActed,
    GrantSigned,
    Leave,
    Progress,
    Ready,
    Silenced,
    Stop,
)
from load.swarm.post import Post
from shared.client.connection import Connection, ConnectionEnded
from shared.client.core import Declined, Event, Keyring, Mood, Session, decode_frame
from shared.client.events import SeatRefused
from shared.contracts.client import (
    ClientMessage,
    Open,
    RefusedSamples,
    Samples,
    SampleShown,
    SealShown,
    SealWindow,
    ServerMessage,
    StrandShown,
)
from shared.contracts.client import Refused as RefusedMessage
from shared.contracts.records import Signed, Tier
from shared.contracts.sample import Provenance
from shared.identifiers import MonotonicNs, WallMs
from shared.identity import Signer
from shared.runtime.clock import monotonic_ns, wall_ms

FORGED_SALT = bytes.fromhex("f0f0f0f0f0f0f0f0")
"""Ends every body that was made in another's name. A body's salt is its last field."""
STEP_S = 0.02
ADMITTED_PER_S_MAX, ADMITTED_BURST_MAX = 128, 256
"""A citizen's default rate: of a flood no more than this is taken."""
CLOSE_S_MAX = 3.0
KEPT_MAX = 256
"""Of what an attacker overhears, the newest."""


class Attacker:
    """One of them; what it overhears as a viewer is what it replays and forges upon."""

    def __init__(self, gang: Gang, kind: str, report: AttackReport, number: int) -> None:
        self.report = report
        tier = Tier.WITHHELD if kind == "replay" else Tier.FULL
        role = Role(number, f"{kind} {number}", tier)
        self.person = Person(gang.plan.common, role, gang.tell, intake=self._overhear)
        self.bodies: list[tuple[bytes, bytes]] = []
        self.seals: list[tuple[bytes, Signed]] = []
        self.openings: dict[bytes, Signed] = {}
        self.is_on = False
        self._turn = 0

    def _overhear(self, frame: bytes, _now_ns: MonotonicNs) -> list[ServerMessage]:
        messages = decode_frame(frame)
        own = self.person.writers
        for message in messages:
            match message:
                case SampleShown() if message.strand not in own:
                    self.bodies = [*self.bodies[-KEPT_MAX:], (message.strand, message.body)]
                case SealShown() if message.strand not in own:
                    self.seals = [*self.seals[-KEPT_MAX:], (message.strand, message.record)]
                case StrandShown() if message.strand not in own:
                    self.openings[message.strand] = message.opening
                case RefusedSamples():
                    if message.strand not in own:  # of its own its books tell
                        self.report.refuse(message.reason, message.last - message.first + 1)
                case RefusedMessage() if self.is_on:
                    self.report.refuse(message.reason)
                case _:
                    pass
        return messages

    def say(self, message: ClientMessage) -> None:
        """Past the session, which would not say it."""
        self.report.tried += 1
        self.person.session.say(message)

    def attempt(self, kind: str, stamp_ms: WallMs) -> None:
        match kind:
            case "flood":
                self._feel(stamp_ms)
                self.report.tried += 1
            case "replay":
                self._replay()
            case "forged-seal":
                self._forge(stamp_ms)
            case _:
                raise AssertionError(kind)

    def _feel(self, stamp_ms: WallMs) -> None:
        mood = Mood(-900, 900, provenance=Provenance.SCRIPTED)
        session = self.person.session
        session.feel(self.person.sanctuary, mood, monotonic_ns(), stamp_ms)

    def _replay(self) -> None:
        """In turn: another's sample, another's seal, another's opening, exactly as they were heard."""
        room, session = self.person.sanctuary, self.person.session
        self._turn += 1
        if self._turn % 3 == 0 and self.seals:
            strand, seal = self.seals[self._turn % len(self.seals)]
            self.say(SealWindow(room, strand, seal))
        elif self._turn % 3 == 1 and self.openings:
            strand = list(self.openings)[self._turn % len(self.openings)]
            self.say(Open(2**31 + self._turn, room, self.openings[strand]))
        elif self.bodies:
            strand, body = self.bodies[self._turn % len(self.bodies)]
            self.say(Samples(room, strand, session.chain.epoch, (body,)))

    def _forge(self, stamp_ms: WallMs) -> None:
        """A window of one's own under a seal that is nobody's; then a sample and a seal in another's
        strand.
        """
        room, session = self.person.sanctuary, self.person.session
        seat = session.seats.get(room)
        if seat is not None and seat.writer is not None:
            seat.writer.signer = Signer(os.urandom(32))
            self._feel(stamp_ms)
            self.report.tried += 1
        if self.bodies:
            strand, body = self.bodies[-1]
            forged = msgspec.msgpack.decode(body)
            number = forged[0] + 1
            body = Mood(1000, -1000).body(number, stamp_ms, FORGED_SALT)
            self.say(Samples(room, strand, session.chain.epoch, (body,)))
        if self.seals:
            strand, seal = self.seals[-1]
            self.say(SealWindow(room, strand, Signed(seal.payload, os.urandom(64))))

    def close(self) -> None:
        self.person.session.hush(self.person.sanctuary, wall_ms())
        self.person.connection.flush()


class Sybil:
    """One of a crowd: enrols, sits down, and says nothing."""

    def __init__(self, gang: Gang, report: AttackReport) -> None:
        self.report = report
        self.session = Session(Keyring.new(os.urandom, wall_ms()), os.urandom)
        self.room = gang.plan.common.sanctuary
        self.session.join(self.room)
        self.connection = Connection(self.session, gang.plan.common.url, on_events=self._on_events)

    def _on_events(self, events: list[Event], _now_ns: MonotonicNs) -> None:
        for event in events:
            if isinstance(event, Declined | SeatRefused):
                self.report.refuse(event.reason)


class Gang:
    """All attackers of a run."""

    def __init__(self, plan: AttackersPlan, pipe: Pipe) -> None:
        self.plan = plan
        self._post = Post(pipe, self._on_order)
        self._reports: list[AttackReport] = []
        self._attackers: list[list[Attacker]] = []
        self._sybils: list[Sybil] = []
        self._begin_ns: int | None = None
        self._is_leaving = False
        self._stop = asyncio.Event()
        for assault in plan.assaults:
            attack = assault.attack
            report = AttackReport(attack.kind)
            crew = []
            if attack.kind != "sybil":
                first = sum(map(len, self._attackers))
                crew = [
                    Attacker(self, attack.kind, report, first + number)
                    for number in range(attack.count)
                ]
            self._reports.append(report)
            self._attackers.append(crew)

    def tell(self, message: object) -> None:
        self._post.tell(message)

    @property
    def _everyone(self) -> list[Attacker]:
        return [each for crew in self._attackers for each in crew]

    async def live(self) -> None:
        async with self._post, asyncio.TaskGroup() as group:
            if await self._enter_all(group):
                await self._post.until(lambda: self._begin_ns is not None)
                async with asyncio.TaskGroup() as assaults:
                    for place, assault in enumerate(self.plan.assaults):
                        assaults.create_task(self._assault(place, assault, group))
                await self._close()
                self.tell(self._report())
            await self._post.until(lambda: self._is_leaving)
            for connection in self._connections():
                connection.stop()

    def _connections(self) -> list[Connection]:
        people = [each.person.connection for each in self._everyone]
        return people + [each.connection for each in self._sybils]

    async def _keep(self, connection: Connection, report: AttackReport) -> None:
        try:
            await connection.run()
        except ConnectionEnded:
            report.closed += 1  # the city sent it away for good: as good an answer as any

    async def _enter_all(self, connections: asyncio.TaskGroup) -> bool:
        async def enter(attacker: Attacker) -> None:
            connections.create_task(self._keep(attacker.person.connection, attacker.report))
            await attacker.person.enter()

        everyone = self._everyone
        is_full = await enter_in_turn((partial(enter, each) for each in everyone), self.tell)
        if not is_full or not all(each.person.is_in for each in everyone):
            refused = sorted({each.person.refused for each in everyone} - {""})
            self.tell(Failed(f"the attackers got no seat: {', '.join(refused) or 'no answer'}"))
            return False
        self.tell(Ready())
        return True

    async def _assault(self, place: int, assault: Assault, group: asyncio.TaskGroup) -> None:
        assert self._begin_ns is not None
        attack, crew, report = assault.attack, self._attackers[place], self._reports[place]
        began_ns = self._begin_ns + assault.at_ms * 1_000_000
        if await self._is_stopped_before(began_ns):
            return
        zero_ns = self.plan.common.wall_zero_ns
        total = int(attack.for_s * attack.per_s)
        done = told = 0
        crowd: list[Sybil] = []
        while done < total and not self._stop.is_set():
            # open loop: what is due by now, however late this process is
            due = min(total, int((monotonic_ns() - began_ns) / 1e9 * attack.per_s) + 1)
            while done < due:
                stamp_ms = WallMs((monotonic_ns() + zero_ns) // 1_000_000)
                if attack.kind == "sybil" and len(crowd) < attack.count:
                    crowd.append(self._sybil(report, group))
                for each in crew:
                    each.is_on = True
                    each.attempt(attack.kind, stamp_ms)
                done += 1
            if attack.kind == "flood":
                at_ms = (monotonic_ns() - self._begin_ns) // 1_000_000
                count = (done - told) * len(crew)
                self.tell(Progress(count, at_ms, due=Counter({at_ms // 1000: count})))
                told = done
            for each in crew:
                each.person.connection.flush()
            await self._is_stopped_before(monotonic_ns() + int(STEP_S * 1e9))
        await self._is_stopped_before(began_ns + int(attack.for_s * 1e9))
        for sybil in crowd:
            report.seats += sybil.session.has_seat(sybil.room)
            sybil.session.leave(sybil.room, wall_ms())
            sybil.connection.stop()

    def _sybil(self, report: AttackReport, group: asyncio.TaskGroup) -> Sybil:
        sybil = Sybil(self, report)
        report.tried += 1
        self._sybils.append(sybil)
        group.create_task(self._keep(sybil.connection, report))
        return sybil

    async def _is_stopped_before(self, at_ns: int) -> bool:
        try:
            async with asyncio.timeout(max(0.0, (at_ns - monotonic_ns()) / 1e9)):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    async def _close(self) -> None:
        for each in self._everyone:
            each.close()
        honest = [
            each
            for crew, assault in zip(self._attackers, self.plan.assaults, strict=True)
            for each in crew
            if assault.attack.kind != "forged-seal"  # whose seals nobody will ever take
        ]
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                for each in honest:
                    await each.person.until(each.person.is_closed)
        except TimeoutError:
            return

    def _report(self) -> AttackersReport:
        totals: dict[bytes, int] = {}
        for crew, assault, report in zip(
            self._attackers, self.plan.assaults, self._reports, strict=True
        ):
            attack = assault.attack
            for each in crew:
                books = each.person.finish()
                report.admitted += books.admitted
                for reason, count in books.refused.items():
                    report.refuse(reason, count)
                totals |= each.person.totals()
            if attack.kind == "flood":
                most = ADMITTED_BURST_MAX + ADMITTED_PER_S_MAX * (attack.for_s + 1)
                report.admitted_max = int(most) * attack.count
        return AttackersReport(self._reports, totals)

    def _on_order(self, order: object) -> None:
        match order:
            case Begin():
                self._begin_ns = order.at_ns
            case Stop():
                self._stop.set()
            case Leave():
                self._is_leaving = True
                self._stop.set()
            case GrantSigned() | GrantActed() | Silenced():
                pass  # for those who keep books
            case _:
                raise AssertionError(order)


def attackers_process(plan: AttackersPlan, pipe: Pipe) -> None:
    """The whole of the attackers' process. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(Gang(plan, pipe).live())
        except asyncio.CancelledError:
            return  # the parent is gone; so are we

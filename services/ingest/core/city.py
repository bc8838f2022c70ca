"""ingest's core: the shape of every core around the uplink, the rooms and fanout's question. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from services.ingest.core.book import Book, Moment
from services.ingest.core.uplink import Uplink
from services.ingest.settings import IngestSettings
from shared.contracts.gateway import UpBatch
from shared.contracts.ingest import Openings, OpeningsAsk, OpenStrand
from shared.contracts.records import Kind
from shared.contracts.registry import (
    ConsentRecorded,
    ConsentRefused,
    IdentityRecorded,
    RegistryBeat,
    StatePage,
)
from shared.contracts.sanctuary import MemberBatch, MemberJoined, Members
from shared.contracts.window import ChallengeAsk, ChallengeTold
from shared.identifiers import MonotonicNs, WallMs, slot_of
from shared.parts import divide
from shared.replica import (
    MemberChange,
    MembersReplica,
    RegistryReplica,
    RoomGone,
    RoomStood,
    SessionJoined,
    SessionLeft,
    SlotCompleted,
)
from shared.subjects import Ask, Publish, Reply

Effect = Publish | Ask | Reply

_NS = 1_000_000
_STOOD_STILL_NS = 1_000 * _NS
"""Beats look at the clock more often than this: longer means that this process stood still, and
what was sent to it meanwhile has not been read yet."""
_GRACE_NS = 1_000 * _NS
"""After that nobody's strand ends for its silence for this long …"""
_PATH_GRACE_NS = 2_000 * _NS
"""… and for this long after the bus was away: everybody else has to find it again too."""
_QUIET_NS = 5_000 * _NS
"""A lane of a slot without members beats for this long after its last word."""
_SWEEP_NS = 10_000 * _NS


class Superseded(Exception):  # noqa: N818  (the process ends by it)
    """Somebody else owns one of our slots under a higher epoch."""


class Core:
    """`epochs` are ours by slot; `challenge` are 16 random bytes, new for each process: openings of
    another life are refused by it.
    """

    def __init__(
        self,
        instance: str,
        settings: IngestSettings,
        *,
        epochs: Mapping[int, int],
        challenge: bytes,
    ) -> None:
        assert len(challenge) == 16
        self.book = Book(instance, settings, epochs, challenge)
        self.counts = self.book.counts
        self.members = MembersReplica(epochs)
        self.registry = RegistryReplica(consent=False)
        self._uplink = Uplink(self.book, self.members, self.registry)
        self._settings = settings
        self._epochs = dict(epochs)
        self._greeted: dict[int, bool] = dict.fromkeys(self._epochs, False)
        self._beat_ns = 0
        self._sweep_ns = 0
        self._seen_ns: int | None = None

    # ── the shape of every core ──────────────────────────────────────────────────────────────────

    def start(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        del now_ms
        self._seen_ns = now_ns
        self._beat_ns = now_ns + self._settings.beat_ms * _NS
        self._sweep_ns = now_ns + _SWEEP_NS
        return self._asks(now_ns)

    def receive(
        self, subject: str, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        """One event of the bus. Raises: Superseded."""
        del subject  # every event says itself where it belongs
        self._look_at(now_ns)
        match event:
            case UpBatch():
                if event.slot in self._epochs:
                    is_ready = self._greeted[event.slot]
                    self._uplink.take(event, is_ready=is_ready, now=Moment(now_ns, now_ms))
                else:
                    self.counts.foreign += 1
                return []
            case MemberBatch():
                self._act_on(self.members.receive(event, now_ns), now_ns, now_ms)
                return self._asks(now_ns)
            case RegistryBeat() | IdentityRecorded() | ConsentRecorded() | ConsentRefused():
                self.registry.receive(event, now_ns)
                return self._asks(now_ns)
            case OpeningsAsk():
                return self._openings(event, now_ns)
            case ChallengeAsk():
                return self._challenge(event)
            case _:
                raise AssertionError(type(event).__name__)

    def answered(
        self, ask: Ask, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        self._look_at(now_ns)
        match event:
            case Members():
                self._act_on(self.members.answered(ask, event, now_ns), now_ns, now_ms)
            case StatePage():
                was_complete = self.registry.complete
                self.registry.answered(ask, event, now_ns)
                if self.registry.complete and not was_complete:
                    for slot in self._epochs:
                        self._greet(slot, now_ms)
            case _:
                raise AssertionError(type(event).__name__)
        return self._asks(now_ns)

    def tick(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        del now_ms
        self._look_at(now_ns)
        self.book.tick(now_ns)
        effects = self._asks(now_ns)
        if now_ns >= self._beat_ns:
            beat_ns = self._settings.beat_ms * _NS
            self._beat_ns += beat_ns * ((now_ns - self._beat_ns) // beat_ns + 1)
            for lane in self.book.lanes.values():
                if self.members.population(lane.slot) or now_ns - lane.spoken_ns < _QUIET_NS:
                    effects += lane.flush(now_ns, even_empty=True)
        if now_ns >= self._sweep_ns:
            self._sweep_ns = now_ns + _SWEEP_NS
            self.book.sweep(now_ns)
        return effects

    def flush(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Publish]:
        """What was collected since the last flush."""
        del now_ms
        published: list[Publish] = []
        for lane in self.book.lanes.values():
            published += lane.flush(now_ns)
        published += self.book.outbox.flush()
        return published

    def next_deadline(self) -> MonotonicNs | None:
        deadlines = (
            self._beat_ns,
            self._sweep_ns,
            self.book.next_deadline_ns(),
            self.members.next_deadline(),
            self.registry.next_deadline(),
        )
        return MonotonicNs(min(deadline for deadline in deadlines if deadline is not None))

    def path_broken(self, now_ns: MonotonicNs) -> None:
        """The bus is away just now: silence says nothing about anybody. Call it before each `tick`
        until it is back.
        """
        self.book.forgive(now_ns + _PATH_GRACE_NS)

    # ── readiness ────────────────────────────────────────────────────────────────────────────────

    @property
    def is_ready(self) -> bool:
        """Whether the members of every slot and the city's identities are known."""
        return all(self._greeted.values())

    def pending(self) -> list[str]:
        """Why not, in words."""
        missing = [] if self.registry.complete else ["the registry's state"]
        slots = [slot for slot in self._epochs if not self.members.complete(slot)]
        return missing + ([f"the members of slots {slots}"] if slots else [])

    @property
    def suspensions(self) -> int:
        return self._uplink.conducts.suspensions

    # ── rooms and members ────────────────────────────────────────────────────────────────────────

    def _act_on(self, changes: list[MemberChange], now_ns: int, now_ms: int) -> None:
        for change in changes:
            match change:
                case RoomStood(room, before):
                    if before is not None:
                        self.book.interrupt(room.sanctuary, now_ns)
                        for sessions in self.members.citizens(room.sanctuary).values():
                            for member in sessions.values():
                                self.book.challenge_to(member, reopen=True, now_ms=now_ms)
                case RoomGone(room):
                    self.book.interrupt(room.sanctuary, now_ns)
                case SessionJoined(member):
                    self._seat(member, now_ms)
                case SessionLeft(member):
                    self._unseat(member, now_ns)
                case SlotCompleted(slot, _):
                    self._greet(slot, now_ms)

    def _seat(self, member: MemberJoined, now_ms: int) -> None:
        room = self.members.room(member.sanctuary)
        slot = slot_of(member.sanctuary)
        if room is not None:
            self.book.lane(slot, room.policy.kind)  # from now on it beats
        for strand in self.book.voices(member.sanctuary, member.citizen):
            if strand.device == member.device:
                strand.absent_ns = None
        if self._greeted[slot]:
            self.book.challenge_to(member, reopen=False, now_ms=now_ms)

    def _unseat(self, member: MemberJoined, now_ns: int) -> None:
        """Its strands wait for a reconnect, unless the device has another session in the room."""
        sessions = self.members.sessions(member.sanctuary, member.citizen).values()
        if any(session.device == member.device for session in sessions):
            return
        for strand in self.book.voices(member.sanctuary, member.citizen):
            if strand.device == member.device and strand.absent_ns is None:
                strand.absent_ns = now_ns
                self.book.arm(strand)

    def _greet(self, slot: int, now_ms: int) -> None:
        """Both replicas are there for the first time: whoever is seated hears that we restarted."""
        if self._greeted[slot] or not (self.members.complete(slot) and self.registry.complete):
            return
        self._greeted[slot] = True
        for member in self.members.members(slot):
            self.book.challenge_to(member, reopen=True, now_ms=now_ms)

    # ── fanout's question ────────────────────────────────────────────────────────────────────────

    def _openings(self, ask: OpeningsAsk, now_ns: int) -> list[Effect]:
        """The slot's open strands, exactly as of the last published batch of each kind.

        What was collected goes out first: else a batch published later would tell again what the
        answer already holds.
        """
        slot = ask.slot
        if slot not in self._epochs:
            return []
        if ask.epoch > self._epochs[slot]:
            raise Superseded(f"slot {slot} has epoch {ask.epoch}, ours is {self._epochs[slot]}")
        effects: list[Effect] = []
        numbers: dict[str, int] = {}
        for kind in Kind:
            lane = self.book.lanes.get((slot, kind))
            if lane is not None:
                effects += lane.flush(now_ns)
            numbers[kind.value] = -1 if lane is None else lane.number
        strands = [
            OpenStrand(
                strand.id,
                strand.citizen,
                strand.sanctuary,
                strand.epoch,
                strand.opening,
                strand.next_seq,
                strand.body,
                strand.seal,
            )
            for strand in self.book.strands.values()
            if strand.slot == slot
        ]
        runs = divide(strands, weigh)
        return [
            *effects,
            *(
                Reply(Openings(slot, self._epochs[slot], numbers, run, part, len(runs)))
                for part, run in enumerate(runs)
            ),
        ]

    # ── a gateway's question ─────────────────────────────────────────────────────────────────────

    def _challenge(self, ask: ChallengeAsk) -> list[Effect]:
        """What a device must know to sign an opening. The rules are told of rooms that anybody may
        enter; of any other, and of none, there is one answer. Unanswered while we know too little.
        """
        if not self._greeted.get(slot_of(ask.sanctuary), False):
            return []
        room = self.members.room(ask.sanctuary)
        is_open = room is not None and (room.policy.kind is Kind.COMMONS or room.policy.public)
        policy = room.policy_bytes if room is not None and is_open else None
        return [Reply(ChallengeTold(ask.sanctuary, self.book.challenge, policy))]

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def _look_at(self, now_ns: int) -> None:
        if self._seen_ns is not None and now_ns - self._seen_ns > _STOOD_STILL_NS:
            self.book.forgive(now_ns + _GRACE_NS)
        self._seen_ns = now_ns

    def _asks(self, now_ns: MonotonicNs) -> list[Effect]:
        return [*self.members.asks(now_ns), *self.registry.asks(now_ns)]


def weigh(row: OpenStrand) -> int:
    """At least a row's bytes in an `Openings`, without encoding it."""
    seal = 0 if row.seal is None else 72 + len(row.seal.payload)
    body = 0 if row.body is None else len(row.body)
    return 200 + len(row.opening.payload) + body + seal

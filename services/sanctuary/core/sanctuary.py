"""Joins, leaves, gateways that fall silent, and what the slots' replicas are told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.sanctuary.core.follows import Follows, read_follow
from services.sanctuary.core.room import Room
from services.sanctuary.core.seeds import RoomSeed
from shared import subjects
from shared.codec import Refused, decode_canonical, encode
from shared.contracts import (
    MEANING,
    ROOMS_LISTED_MAX,
    FollowAnswered,
    FollowAsk,
    Following,
    FollowRequest,
    GatewayBeat,
    Identity,
    JoinAsk,
    Joined,
    JoinRequest,
    JoinsWanted,
    LeaveAsk,
    Left,
    MemberBatch,
    MemberEvent,
    MemberFollows,
    MemberJoined,
    MemberLeft,
    Members,
    MembersAsk,
    RecordKind,
    Refusal,
    RoomOpened,
    RoomsListed,
    SanctuaryBeat,
    SeatAnswered,
    Signed,
    StatePage,
)
from shared.contracts import Refused as RefusedMessage
from shared.contracts.registry import (
    ConsentRecorded,
    ConsentRefused,
    IdentityRecorded,
    RegistryBeat,
    RegistryControl,
)
from shared.identifiers import MonotonicNs, WallMs, slot_of
from shared.identity import verify_record
from shared.parts import divide
from shared.replica import (
    CitizenForgotten,
    IdentityKnown,
    RegistryChange,
    RegistryCompleted,
    RegistryReplica,
)
from shared.subjects import Ask, Publish, Reply

BATCH_NS = 500_000_000
"""A slot that holds a room says at least this often where its numbers are."""
EMPTY_BATCH_NS = 2_000_000_000
"""A slot without a room."""
BEAT_NS = 250_000_000
LIST_NS = 5_000_000_000
"""The public list is said again this often, for gateways that missed it."""
COLLECT_NS = 1_000_000_000
"""How long gateways have to present kept joins, counted from when they can be checked."""
SILENCE_NS = 3_000_000_000
"""A gateway not heard for so long has lost its sessions."""
DEAF_NS = 1_000_000_000
"""After this long without any control message it is we who do not hear."""
WAIT_NS = 1_000_000_000
"""A join by a citizen not yet known waits so long: `enrolled` may overtake the registry's word."""
SKEW_MS_MAX = 300_000
SEATING_BYTES = 8
"""Of a join's signature: enough to tell one join of a session from its next."""

Effect = Publish | Ask | Reply


@dataclass(frozen=True, slots=True)
class Limits:
    seats_per_slot_max: int = 20_000
    """Some 140 bytes a seat wherever the slot's state is asked for."""
    waiting_max: int = 4096


@dataclass(slots=True)
class _Slot:
    epoch: int
    rooms: list[Room]
    follows: Follows = field(default_factory=Follows)
    number: int = -1
    """Of the last batch."""
    batch_at_ns: int = 0


@dataclass(slots=True)
class _Gateway:
    seen_ns: int
    incarnation: int | None = None
    """As its last beat said; nil while a seat may belong to another."""
    seats: dict[tuple[bytes, bytes], MemberJoined] = field(default_factory=dict)
    """By (sanctuary, session)."""


class _Waiting(NamedTuple):
    ask: JoinAsk
    refused_ns: int


class _NotYet(Exception):  # noqa: N818  (an outcome)
    """The citizen is not known, and may be in a moment."""


class Sanctuary:
    """`slots`: the slots of this instance, each with its epoch."""

    def __init__(
        self,
        instance: str,
        *,
        slots: Mapping[int, int],
        seeds: tuple[RoomSeed, ...],
        limits: Limits,
    ) -> None:
        self.instance = instance
        self.counts: Counter[str] = Counter()
        """`joined`, `joined again`, `left`, `followed`, `gateway silent`, `refused <reason>`."""
        self._limits = limits
        self._control = subjects.control(instance)
        self._seeds = tuple(seed for seed in seeds if slot_of(seed.sanctuary) in slots)
        self._slots = {slot: _Slot(epoch, []) for slot, epoch in sorted(slots.items())}
        self._rooms: dict[bytes, Room] = {}
        self._gateways: dict[str, _Gateway] = {}
        self._waiting: dict[tuple[bytes, bytes], _Waiting] = {}
        """By (session, sanctuary), in the order of their deadlines."""
        self._registry = RegistryReplica(consent=False)
        self._by_key: dict[bytes, bytes] = {}
        """Identity key → citizen."""
        self._is_open = False
        self._is_complete = False
        self._collected_ns = 0
        """When the kept joins have had their time. Known once `_is_open`."""
        self._wanted_until_ns: int | None = None
        """Kept joins are asked for until then; nil: not any more."""
        self._wanted_at_ns = 0
        self._beat_at_ns = 0
        self._list_at_ns = 0
        self._heard_ns = 0
        self._number = 0

    # ── what stands ──────────────────────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        """Whether the rooms stand: identities are known."""
        return self._is_open

    @property
    def rooms(self) -> int:
        return len(self._rooms)

    @property
    def seats(self) -> int:
        return sum(len(gateway.seats) for gateway in self._gateways.values())

    def pending(self) -> str:
        """What is still under way, in words; empty when nothing is."""
        parts = []
        if not self._registry.certain:
            parts.append("the registry's state is incomplete")
        if not self._is_complete:
            parts.append("kept joins are collected")
        if self._waiting:
            parts.append(f"{len(self._waiting)} joins wait for their citizen")
        return ", ".join(parts)

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────

    def start(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._heard_ns = now_ns
        self._wanted_at_ns = self._beat_at_ns = now_ns
        return self.tick(now_ns, now_ms)

    def receive(
        self, subject: str, event: Any, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        if subject.startswith("control."):
            self._hear(now_ns)
        match event:
            case JoinAsk():
                return self._join(event, now_ns, now_ms)
            case LeaveAsk():
                return self._leave(event, now_ns)
            case FollowAsk():
                return self._follow(event, now_ns, now_ms)
            case MembersAsk():
                return self._members(event)
            case GatewayBeat() if subject == subjects.control(event.gateway):
                return self._heard_gateway(event, now_ns)
            case RegistryBeat() | IdentityRecorded() | ConsentRecorded() | ConsentRefused() if (
                _is_registry(subject, event)
            ):
                changes = self._registry.receive(event, now_ns)
                return [*self._learn(changes, now_ns, now_ms), *self._registry.asks(now_ns)]
            case _:
                return []

    def answered(
        self, ask: Ask, event: StatePage, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        changes = self._registry.answered(ask, event, now_ns)
        return [*self._learn(changes, now_ns, now_ms), *self._registry.asks(now_ns)]

    def tick(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        effects: list[Effect] = [
            *self._registry.asks(now_ns),
            *self._refuse_waiting(now_ns, now_ms),
            *self._drop_silent(now_ns),
        ]
        if self._is_open and not self._is_complete and now_ns >= self._collected_ns:
            self._is_complete = True
            effects += [self._batch(number, (), now_ns) for number in self._slots]
        if now_ns >= self._wanted_at_ns:
            effects += self._want_joins(now_ns)
        if now_ns >= self._beat_at_ns:
            self._beat_at_ns = now_ns + BEAT_NS
            effects.append(Publish(self._control, SanctuaryBeat(self.instance, self._number)))
        if self._is_open and now_ns >= self._list_at_ns:
            effects.append(self._list(now_ns))
        effects += [
            self._batch(number, (), now_ns)
            for number, slot in self._slots.items()
            if self._is_open and now_ns >= slot.batch_at_ns
        ]
        return effects

    def next_deadline(self) -> MonotonicNs | None:
        times = [self._beat_at_ns]  # silence is looked for with each beat
        if self._is_open:
            times.append(self._list_at_ns)
            times += [slot.batch_at_ns for slot in self._slots.values()]
            if not self._is_complete:
                times.append(self._collected_ns)
        if self._waiting:
            times.append(next(iter(self._waiting.values())).refused_ns)
        reading = self._registry.next_deadline()
        if reading is not None:
            times.append(reading)
        return MonotonicNs(min(times))

    # ── joins and leaves ─────────────────────────────────────────────────────────────────────────

    def _join(self, ask: JoinAsk, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        try:
            citizen = self._check(ask, now_ms)
        except _NotYet:
            return self._wait(ask, now_ns, now_ms)
        except Refused as refused:
            return [self._refuse(ask, refused.reason, now_ms)]
        return self._seat(ask, citizen, now_ns)

    def _check(self, ask: JoinAsk, now_ms: WallMs) -> bytes:
        """The citizen whom the ask may seat. Raises: Refused; _NotYet."""
        request = decode_canonical(ask.record.payload, JoinRequest)
        signed_for = (request.sanctuary, request.session, request.gateway)
        if signed_for != (ask.sanctuary, ask.session, ask.gateway):
            raise Refused(Refusal.WRONG_SESSION)
        identity = self._registry.identities.get(request.citizen)
        if identity is None or not self._is_open:
            raise _NotYet
        self._check_signature(ask, request, identity)
        if abs(request.t_ms - now_ms) > SKEW_MS_MAX and not ask.again:
            raise Refused(Refusal.SKEW)
        room = self._rooms.get(ask.sanctuary)
        if room is None or not room.admits(request.citizen, self._by_key):
            raise Refused(Refusal.NO_SUCH_ROOM)
        seated = room.seats.get(ask.session)
        if seated is not None and seated.gateway != ask.gateway:
            # session ids are random: nobody else's gateway can have this one by chance
            raise Refused(Refusal.WRONG_SESSION)
        if seated is None and (
            not room.has_place_for(request.citizen)
            or self._seats_in(slot_of(ask.sanctuary)) >= self._limits.seats_per_slot_max
        ):
            raise Refused(Refusal.FULL)
        return request.citizen

    def _check_signature(self, ask: JoinAsk, request: JoinRequest, identity: Identity) -> None:
        if request.device != ask.device or request.device not in identity.devices:
            raise Refused(Refusal.UNKNOWN_DEVICE)
        city = self._registry.city
        assert city is not None
        if not verify_record(request.device, RecordKind.JOIN, city, ask.record):
            raise Refused(Refusal.BAD_SIGNATURE)

    def _seats_in(self, slot: int) -> int:
        return sum(len(room.seats) for room in self._slots[slot].rooms)

    def _seat(self, ask: JoinAsk, citizen: bytes, now_ns: MonotonicNs) -> list[Effect]:
        room = self._rooms[ask.sanctuary]
        # a join signed anew by somebody who is seated: the challenge or the snapshot did not reach
        # it, or it left and a kept join brought it back; so it enters anew, for everybody
        member = MemberJoined(
            ask.sanctuary,
            citizen,
            ask.session,
            ask.device,
            ask.gateway,
            ask.incarnation,
            ask.record.signature[:SEATING_BYTES],
        )
        effects: list[Effect] = []
        if room.seats.get(ask.session) != member:
            events: list[MemberEvent] = []
            if ask.session in room.seats:
                events.append(self._unseat(room, ask.session))
            room.seat(member)
            events.append(member)
            gateway = self._gateways.setdefault(ask.gateway, _Gateway(now_ns))
            gateway.seats[ask.sanctuary, ask.session] = member
            if gateway.incarnation != ask.incarnation:
                # its restart's first beat is still to come, or this is an echo of its former life:
                # the next beat says which seats are true
                gateway.incarnation = None
            effects.append(self._batch(slot_of(ask.sanctuary), tuple(events), now_ns))
        if ask.follow is not None:
            effects += self._follow_again(member, ask.follow, now_ns)
        self.counts["joined again" if ask.again else "joined"] += 1
        message = b""
        if not ask.again:
            message = encode(Joined(ask.ref, ask.sanctuary, room.policy_bytes, room.policy_hash))
        answer = SeatAnswered(ask.session, ask.sanctuary, True, ask.record, message, ask.ref)
        return [*effects, Publish(subjects.back(ask.gateway), answer)]

    def _unseat(self, room: Room, session: bytes) -> MemberLeft:
        member = room.unseat(session)
        self._slots[slot_of(member.sanctuary)].follows.forget(member.sanctuary, session)
        del self._gateways[member.gateway].seats[member.sanctuary, session]
        return MemberLeft(member.sanctuary, member.citizen, session)

    def _refuse(self, ask: JoinAsk, reason: Refusal, now_ms: WallMs) -> Effect:
        """A kept join that does not hold any more is told to the client too: it had a seat."""
        self.counts[f"refused {reason}"] += 1
        message = encode(RefusedMessage(ask.ref, reason.value, MEANING[reason], now_ms))
        answer = SeatAnswered(ask.session, ask.sanctuary, False, None, message, ask.ref)
        return Publish(subjects.back(ask.gateway), answer)

    def _leave(self, ask: LeaveAsk, now_ns: MonotonicNs) -> list[Effect]:
        """Idempotent. The answer is the same for a room one was in, was not in, or that is not."""
        effects: list[Effect] = []
        self._waiting.pop((ask.session, ask.sanctuary), None)
        room = self._rooms.get(ask.sanctuary)
        member = None if room is None else room.seats.get(ask.session)
        if (
            room is not None
            and member is not None
            and (member.gateway, member.incarnation) == (ask.gateway, ask.incarnation)
        ):
            effects += self._unseat_all([member], now_ns)
        if ask.ref is not None:
            message = encode(Left(ask.ref, ask.sanctuary))
            answer = SeatAnswered(ask.session, ask.sanctuary, False, None, message, ask.ref)
            effects.append(Publish(subjects.back(ask.gateway), answer))
        return effects

    def _unseat_all(self, members: list[MemberJoined], now_ns: MonotonicNs) -> list[Effect]:
        events: dict[int, list[MemberEvent]] = {}
        for member in members:
            left = self._unseat(self._rooms[member.sanctuary], member.session)
            events.setdefault(slot_of(member.sanctuary), []).append(left)
        self.counts["left"] += len(members)
        return [self._batch(slot, tuple(gone), now_ns) for slot, gone in events.items()]

    # ── follows ──────────────────────────────────────────────────────────────────────────────────

    def _follow(self, ask: FollowAsk, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        """A member's list. Nobody on it is looked up: what they allow is fanout's to know."""
        effects: list[Effect] = []
        record: Signed | None = None
        try:
            request = self._check_follow(ask, now_ms)
            effects += self._take_follow(request, now_ns)
        except Refused as refused:
            reason = refused.reason
            self.counts[f"refused {reason}"] += 1
            message = encode(RefusedMessage(ask.ref, reason.value, MEANING[reason], now_ms))
        else:
            self.counts["followed"] += 1
            record = ask.record
            count = len(dict.fromkeys(request.followed))
            message = encode(Following(ask.ref, ask.sanctuary, count))
        answer = FollowAnswered(ask.session, ask.sanctuary, ask.ref, record, message)
        return [*effects, Publish(subjects.back(ask.gateway), answer)]

    def _check_follow(self, ask: FollowAsk, now_ms: WallMs) -> FollowRequest:
        """Raises: Refused."""
        room = self._rooms.get(ask.sanctuary)
        member = None if room is None else room.seats.get(ask.session)
        asked_by = (ask.gateway, ask.incarnation, ask.device)
        if member is None or asked_by != (member.gateway, member.incarnation, member.device):
            raise Refused(Refusal.NOT_A_MEMBER)
        request = self._read_follow(member, ask.record)
        if abs(request.t_ms - now_ms) > SKEW_MS_MAX:
            raise Refused(Refusal.SKEW)
        return request

    def _follow_again(
        self, member: MemberJoined, record: Signed, now_ns: MonotonicNs
    ) -> list[Effect]:
        """A kept list, presented with its kept join. One that does not hold leaves the seat without."""
        try:
            return self._take_follow(self._read_follow(member, record), now_ns)
        except Refused as refused:
            self.counts[f"refused {refused.reason}"] += 1
            return []

    def _read_follow(self, member: MemberJoined, record: Signed) -> FollowRequest:
        identity = self._registry.identities.get(member.citizen)
        city = self._registry.city
        if identity is None or city is None:
            raise Refused(Refusal.NOT_READY)
        return read_follow(record, member, identity, city=city)

    def _take_follow(self, request: FollowRequest, now_ns: MonotonicNs) -> list[Effect]:
        slot = slot_of(request.sanctuary)
        follows = self._slots[slot].follows.take(request)
        return [] if follows is None else [self._batch(slot, (follows,), now_ns)]

    # ── joins that came before their citizen ─────────────────────────────────────────────────────

    def _wait(self, ask: JoinAsk, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        seat = (ask.session, ask.sanctuary)
        if seat not in self._waiting and len(self._waiting) >= self._limits.waiting_max:
            return [self._refuse(ask, Refusal.NOT_READY, now_ms)]
        waiting = self._waiting.get(seat)
        refused_ns = now_ns + WAIT_NS if waiting is None else waiting.refused_ns
        self._waiting[seat] = _Waiting(ask, refused_ns)
        return []

    def _refuse_waiting(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        effects: list[Effect] = []
        reason = Refusal.UNKNOWN_CITIZEN if self._is_open else Refusal.NOT_READY
        for seat, waiting in tuple(self._waiting.items()):
            if waiting.refused_ns > now_ns:
                break
            del self._waiting[seat]
            # a kept join is presented again as long as kept joins are wanted
            if self._is_open or not waiting.ask.again:
                effects.append(self._refuse(waiting.ask, reason, now_ms))
        return effects

    def _retry_waiting(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        effects: list[Effect] = []
        for seat, waiting in tuple(self._waiting.items()):
            try:
                citizen = self._check(waiting.ask, now_ms)
            except _NotYet:
                continue
            except Refused as refused:
                effects.append(self._refuse(waiting.ask, refused.reason, now_ms))
            else:
                effects += self._seat(waiting.ask, citizen, now_ns)
            del self._waiting[seat]
        return effects

    # ── identities ───────────────────────────────────────────────────────────────────────────────

    def _learn(
        self, changes: list[RegistryChange], now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        effects: list[Effect] = []
        is_new = False
        for change in changes:
            match change:
                case IdentityKnown(identity):
                    self._by_key[identity.identity_key] = identity.citizen
                    is_new = True
                case CitizenForgotten(citizen):
                    effects += self._forget(citizen, now_ns)
                case RegistryCompleted() if not self._is_open:
                    effects += self._open(now_ns)
                    is_new = True
                case _:
                    pass
        if is_new and self._is_open:
            effects += self._settle_policies(now_ns)
            effects += self._retry_waiting(now_ns, now_ms)
        return effects

    def _forget(self, citizen: bytes, now_ns: MonotonicNs) -> list[Effect]:
        for key in [key for key, known in self._by_key.items() if known == citizen]:
            del self._by_key[key]
        gone = [
            member
            for room in self._rooms.values()
            for member in room.seats.values()
            if member.citizen == citizen
        ]
        return self._unseat_all(gone, now_ns)

    def _open(self, now_ns: MonotonicNs) -> list[Effect]:
        """The rooms stand. Not before identities are known: a stage's voices are citizens, and a
        policy that changed a moment later would interrupt whoever speaks.
        """
        self._is_open = True
        self._collected_ns = now_ns + COLLECT_NS
        self._wanted_until_ns = self._collected_ns
        for seed in self._seeds:
            room = Room(seed, self._by_key)
            self._rooms[seed.sanctuary] = room
            self._slots[slot_of(seed.sanctuary)].rooms.append(room)
        return [
            self._batch(number, tuple(room.opened() for room in slot.rooms), now_ns)
            for number, slot in self._slots.items()
        ]

    def _settle_policies(self, now_ns: MonotonicNs) -> list[Effect]:
        return [
            self._batch(slot_of(room.sanctuary), (room.opened(),), now_ns)
            for room in self._rooms.values()
            if room.settle_policy(self._by_key)
        ]

    # ── gateways ─────────────────────────────────────────────────────────────────────────────────

    def _heard_gateway(self, beat: GatewayBeat, now_ns: MonotonicNs) -> list[Effect]:
        effects: list[Effect] = []
        gateway = self._gateways.get(beat.gateway)
        if gateway is None:
            gateway = self._gateways[beat.gateway] = _Gateway(now_ns)
            # new, or back after a silence that cost its sessions their seats
            self._wanted_until_ns = max(self._wanted_until_ns or 0, now_ns + COLLECT_NS)
            effects += self._want_joins(now_ns)
        gateway.seen_ns = now_ns
        if gateway.incarnation != beat.incarnation:
            self._list_at_ns = now_ns
            gateway.incarnation = beat.incarnation
            former = [m for m in gateway.seats.values() if m.incarnation != beat.incarnation]
            effects += self._unseat_all(former, now_ns)
        return effects

    def _hear(self, now_ns: MonotonicNs) -> None:
        """Any control message, our own beat among them, shows that we hear. After a time without
        one (we stood still, or the broker was away) everybody has a fresh 3 s.
        """
        if now_ns - self._heard_ns > DEAF_NS:
            for gateway in self._gateways.values():
                gateway.seen_ns = now_ns
        self._heard_ns = now_ns

    def _drop_silent(self, now_ns: MonotonicNs) -> list[Effect]:
        if now_ns - self._heard_ns > DEAF_NS:
            return []
        effects: list[Effect] = []
        for name, gateway in tuple(self._gateways.items()):
            if now_ns - gateway.seen_ns >= SILENCE_NS:
                self.counts["gateway silent"] += 1
                effects += self._unseat_all(list(gateway.seats.values()), now_ns)
                del self._gateways[name]
        return effects

    def _want_joins(self, now_ns: MonotonicNs) -> list[Effect]:
        """Ask for kept joins, while a gateway may have some that we do not know."""
        self._wanted_at_ns = now_ns + BEAT_NS
        if self._is_open and now_ns >= (self._wanted_until_ns or 0):
            self._wanted_until_ns = None
            return []
        self._number += 1
        wanted = JoinsWanted(self.instance, self._number, tuple(self._slots))
        return [Publish(self._control, wanted)]

    def _list(self, now_ns: MonotonicNs) -> Effect:
        """What anybody may know: no circle, nothing by invitation, and of none who is there."""
        self._list_at_ns = now_ns + LIST_NS
        self._number += 1
        rooms = [room.listed() for room in self._rooms.values() if not room.seed.is_private]
        listed = RoomsListed(self.instance, self._number, tuple(rooms[:ROOMS_LISTED_MAX]))
        return Publish(self._control, listed)

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────

    def _batch(self, number: int, events: tuple[MemberEvent, ...], now_ns: MonotonicNs) -> Effect:
        slot = self._slots[number]
        slot.number += 1
        slot.batch_at_ns = now_ns + (BATCH_NS if slot.rooms else EMPTY_BATCH_NS)
        batch = MemberBatch(number, slot.epoch, slot.number, self._is_complete, events)
        return Publish(subjects.member(number), batch)

    def _members(self, ask: MembersAsk) -> list[Effect]:
        """The slot as of its last batch: batches are published as things happen, so nothing waits."""
        slot = self._slots.get(ask.slot)
        if slot is None:
            return []
        rows: list[RoomOpened | MemberJoined | MemberFollows] = [
            *(room.opened() for room in slot.rooms),
            *(member for room in slot.rooms for member in room.seats.values()),
            *slot.follows.rows(),
        ]
        runs = divide(rows, weigh)
        return [
            Reply(
                Members(
                    ask.slot,
                    slot.epoch,
                    slot.number,
                    self._is_complete,
                    tuple(row for row in run if isinstance(row, RoomOpened)),
                    tuple(row for row in run if isinstance(row, MemberJoined)),
                    tuple(row for row in run if isinstance(row, MemberFollows)),
                    part,
                    len(runs),
                )
            )
            for part, run in enumerate(runs)
        ]


def weigh(row: RoomOpened | MemberJoined | MemberFollows) -> int:
    """At least a row's bytes in a `Members`, without encoding it."""
    match row:
        case RoomOpened():
            return 48 + len(row.policy)
        case MemberJoined():
            return 160 + len(row.gateway)
        case MemberFollows():
            return 64 + 18 * len(row.followed)


def _is_registry(subject: str, event: RegistryControl) -> bool:
    """Whether it came on the subject that only this registry may publish on."""
    return event.sender.startswith("registry-") and subject == subjects.control(event.sender)

"""The core of fanout: bus events and ticks in, effects and edge batches out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from services.fanout.core import ticks
from services.fanout.core.authority import Authority
from services.fanout.core.city import City, Counts
from services.fanout.core.fleet import Fleet
from services.fanout.core.gateways import Doubt
from services.fanout.core.rooms import GatewayKey, Room, Seat, Slot
from services.fanout.core.signatures import Signatures
from services.fanout.core.snapshots import enter
from services.fanout.core.views import RandomBytes
from services.fanout.core.withdrawal import Acts
from shared.codec import Refused, decode, encode, sha256
from shared.contracts.client import PolicyChanged
from shared.contracts.fanout import Depart, FanoutBeat, Segment
from shared.contracts.gateway import (
    ConsentForwarded,
    GatewayBeat,
    GatewayControl,
    Interest,
    Passed,
    SnapshotAsk,
    Tombstones,
)
from shared.contracts.ingest import Openings, SigBatch
from shared.contracts.records import Charter, Tier
from shared.contracts.registry import (
    ConsentRecorded,
    ConsentRefused,
    IdentityRecorded,
    RegistryBeat,
    StatePage,
)
from shared.contracts.sanctuary import MemberBatch, Members
from shared.identifiers import MonotonicNs, WallMs
from shared.replica import (
    MemberChange,
    MembersReplica,
    RegistryChange,
    RegistryReplica,
    RoomGone,
    RoomStood,
    SessionFollows,
    SessionJoined,
    SessionLeft,
    SlotCompleted,
)
from shared.subjects import Ask, Publish, Reply

Effect = Publish | Ask | Reply

LISTEN_NS = 600_000_000
"""How long a fanout that starts listens for gateways' beats (250 ms apart) before it is certain."""
REGISTRY_SILENT_NS = 3_000_000_000
"""A registry not heard for this long: nothing is delivered until it is back."""
STOOD_STILL_NS = 1_000_000_000
"""A process that did nothing for this long has missed what everyone said meanwhile: as at a start, it
delivers nothing of what waits in its sockets before it has asked every gateway again."""
HOUSEKEEPING_NS = 50_000_000
HELD_INPUTS_MAX = 4096
"""Events kept while a hole holds everything; above it the oldest go and show as holes of their own."""
_NS_PER_MS = 1_000_000


class Superseded(Exception):  # noqa: N818  (the process ends by it)
    """Another process of this instance's name has taken a higher epoch."""


class Router:
    """Applies consent to what is live. Pure: clocks, epochs and randomness come in from outside."""

    def __init__(
        self,
        *,
        instance: str,
        ordinal: int,
        replicas: int,
        epochs: Mapping[int, int],
        random_bytes: RandomBytes,
    ) -> None:
        assert epochs, "a fanout owns at least one slot"
        self._instance = instance
        self._epoch = max(epochs.values())
        self._members = MembersReplica(epochs)
        self._registry = RegistryReplica(consent=True)
        self._city = City(
            slots={number: Slot(number, epoch) for number, epoch in epochs.items()},
            random_bytes=random_bytes,
            recorded=self._registry.states,
        )
        # a predecessor's markers, still under way, must not be taken for ours
        self._acts = Acts(first_marker=(self._epoch << 24) + 1)
        self._fleet = Fleet(
            self._city,
            self._acts,
            instance=instance,
            ordinal=ordinal,
            replicas=replicas,
            epoch=self._epoch,
        )
        self._signatures = Signatures(self._city)
        self._authority = Authority(
            self._city,
            self._registry,
            self._fleet.gateways,
            self._acts,
            fanout=instance,
            ordinal=ordinal,
            replicas=replicas,
        )
        self._started_ns = 0
        self._last_ns = 0
        self._is_listening = True
        """Not every live gateway is known yet."""
        self._registry_is_heard = False
        self._held: deque[tuple[str | Ask, msgspec.Struct]] = deque()
        """What arrived, by subject or ask, while a hole holds everything."""
        self._holding = False
        self._suspending: tuple[GatewayKey, ...] = ()
        """Gateways whose citizens are held, as last carried out."""
        self._house_ns = 0
        self._wall_offset_ns = 0

    # ── what the shell calls ─────────────────────────────────────────────────────────────────────

    def start(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._started_ns = self._last_ns = now_ns
        self._wall_offset_ns = now_ns - now_ms * _NS_PER_MS
        for slot in self._city.slots.values():
            ticks.schedule(slot, now_ns, now_ms)
        return self._housekeep(now_ns, now_ms)

    def receive(
        self, subject: str, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        """An event from the bus. Whatever ended by now ends before it is looked at.

        Raises: Superseded.
        """
        self._wake(now_ns)
        expiry_ms = self._city.next_expiry_ms
        if expiry_ms is not None and expiry_ms <= now_ms:
            self._city.expire(now_ns, now_ms)
        if self._holding and isinstance(event, SigBatch | MemberBatch | Interest | SnapshotAsk):
            self._hold(subject, event)
        else:
            self._dispatch(subject, event, now_ns, now_ms)
        return self._effects(now_ns)

    def answered(
        self, ask: Ask, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        self._wake(now_ns)
        if self._holding and not isinstance(event, StatePage):
            self._hold(ask, event)
        else:
            self._dispatch(ask, event, now_ns, now_ms)
        return self._effects(now_ns)

    def tick(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._wake(now_ns)
        self._wall_offset_ns = now_ns - now_ms * _NS_PER_MS
        self._city.expire(now_ns, now_ms)
        for slot in self._city.slots.values():
            if slot.tick_at_ns <= now_ns:
                ticks.tick(self._city, slot, now_ns, now_ms)
                ticks.schedule(slot, now_ns, now_ms)
        if self._house_ns <= now_ns:
            return self._housekeep(now_ns, now_ms)
        return self._effects(now_ns)

    def next_deadline(self) -> MonotonicNs | None:
        deadline = min(self._house_ns, *(slot.tick_at_ns for slot in self._city.slots.values()))
        expiry_ms = self._city.next_expiry_ms
        if expiry_ms is not None:
            deadline = min(deadline, expiry_ms * _NS_PER_MS + self._wall_offset_ns)
        return MonotonicNs(deadline)

    def flush(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Publish]:
        """Everything that gathered, as one batch (or few, bounded) for each slot and gateway."""
        del now_ms
        city = self._city
        for outlet in city.dirty:
            outlet.settle()
        city.dirty.clear()
        publishes: list[Publish] = []
        for stream in city.busy:
            publishes += stream.take(now_ns)
        city.busy.clear()
        return publishes

    # ── what others may look at ──────────────────────────────────────────────────────────────────

    @property
    def counts(self) -> Counts:
        return self._city.counts

    @property
    def is_certain(self) -> bool:
        """Whether every slot of this process delivers."""
        return all(slot.live for slot in self._city.slots.values())

    def pending(self) -> list[str]:
        """In words, why it does not deliver."""
        reasons = []
        if self._is_listening:
            reasons.append("gateways are being listened for")
        if not self._registry_is_heard:
            reasons.append("the registry is not heard or its state not whole")
        reasons += self._fleet.pending()
        for number in self._city.slots:
            if not self._members.complete(number):
                reasons.append(f"members of slot {number} are not known")
            if not self._signatures.complete(number):
                reasons.append(f"openings of slot {number} are not known")
        return reasons

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────

    def _dispatch(
        self, source: str | Ask, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        match event:
            case SigBatch():
                assert isinstance(source, str)
                self._signatures.receive(source.split(".")[1], event, now_ns, now_ms)
                self._release(now_ns, now_ms)
                return  # nothing in it can change what is certain
            case MemberBatch():
                self._apply(self._members.receive(event, now_ns), now_ns, now_ms)
                self._city.effects.extend(self._members.asks(now_ns))
            case Members():
                assert isinstance(source, Ask)
                self._apply(self._members.answered(source, event, now_ns), now_ns, now_ms)
            case Openings():
                self._signatures.answered(event, now_ns, now_ms)
            case StatePage():
                assert isinstance(source, Ask)
                self._learn(self._registry.answered(source, event, now_ns), now_ns, now_ms)
            case RegistryBeat() | IdentityRecorded() | ConsentRecorded() | ConsentRefused():
                self._learn(self._registry.receive(event, now_ns), now_ns, now_ms)
            case GatewayBeat() | ConsentForwarded() | Passed() | Tombstones():
                self._gateway(event, now_ns, now_ms)
            case Interest():
                self._fleet.interest(event, now_ns)
            case SnapshotAsk():
                self._fleet.snapshot(event, now_ns)
            case FanoutBeat():
                if event.fanout == self._instance and event.epoch > self._epoch:
                    raise Superseded(f"epoch {event.epoch} is above ours, {self._epoch}")
                return
            case _:
                return  # other services' control messages
        self._settle(now_ns, now_ms)

    def _gateway(self, event: GatewayControl, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        gateway = self._fleet.hear(event, now_ns)
        if gateway is None:
            return
        match event:
            case ConsentForwarded():
                requester = (event.gateway, event.session, event.ref)
                self._authority.take(event.record, requester, now_ns, now_ms)
            case Tombstones():
                for record in event.records:
                    self._authority.take(record, None, now_ns, now_ms)
                gateway.doubt = Doubt.NONE
            case Passed():
                if event.fanout == self._instance:
                    self._acts.passed(event.marker, gateway.name, gateway.incarnation)
            case GatewayBeat():
                pass
        self._release(now_ns, now_ms)

    def _learn(self, changes: list[RegistryChange], now_ns: MonotonicNs, now_ms: WallMs) -> None:
        if self._authority.learn(changes, now_ns, now_ms) and self._registry.charter is not None:
            try:
                tier_max = decode(self._registry.charter.payload, Charter).tier_max
            except Refused:
                tier_max = Tier.WITHHELD
            if tier_max is not self._city.charter_tier_max:
                self._city.charter_tier_max = tier_max
                for room in self._city.rooms():
                    self._city.reroute_room(room, now_ns, now_ms)
        self._city.effects.extend(self._registry.asks(now_ns))
        self._release(now_ns, now_ms)

    # ── members ──────────────────────────────────────────────────────────────────────────────────

    def _apply(self, changes: list[MemberChange], now_ns: MonotonicNs, now_ms: WallMs) -> None:
        for change in changes:
            match change:
                case RoomStood(stood, before):
                    room = self._city.room(stood.sanctuary)
                    if room is None:
                        continue
                    room.settle()
                    room.policy = stood.policy
                    if before is not None:
                        self._announce_policy(room, stood.policy_bytes)
                    if not stood.policy.public and room.watches:
                        room.watches.clear()
                        room.wire()
                    self._city.reroute_room(room, now_ns, now_ms)
                    self._city.measure_closeness(room, now_ns, now_ms)
                case RoomGone(stood):
                    self._city.close(stood.sanctuary)
                case SessionJoined(member):
                    seat = Seat(member.citizen, (member.gateway, member.incarnation))
                    self._join(member.sanctuary, member.session, seat)
                case SessionLeft(member):
                    self._leave(member.sanctuary, member.session)
                case SessionFollows(member, earlier, followed):
                    self._follow(member.sanctuary, member.session, earlier, followed, now_ns)
                case SlotCompleted():
                    pass
        if changes and self._suspending:
            self._suspend(now_ns, now_ms, again=True)

    def _announce_policy(self, room: Room, policy: bytes) -> None:
        segment = Segment(None, encode(PolicyChanged(room.sanctuary, policy, sha256(policy))))
        room.members.put(segment)
        room.public.put(segment)
        room.settle()

    def _join(self, sanctuary: bytes, session: bytes, seat: Seat) -> None:
        room = self._city.room(sanctuary)
        if room is None:
            return
        room.settle()
        room.seat(session, seat)
        for presence in room.presences.values():
            presence.enter(session)
        stream = room.stream_of(session)
        if stream is not None and room.slot.live:
            self._city.counts.snapshots += 1
            enter(room, session, stream, gap=False)

    def _leave(self, sanctuary: bytes, session: bytes) -> None:
        room = self._city.room(sanctuary)
        if room is None or session not in room.seats:
            return
        room.settle()
        stream = room.stream_of(session)
        if stream is not None:
            stream.add(Depart(session, sanctuary), 64)
        for presence in room.presences.values():
            presence.depart(session)
        room.unseat(session)

    def _follow(
        self,
        sanctuary: bytes,
        session: bytes,
        before: tuple[bytes, ...],
        followed: tuple[bytes, ...],
        now_ns: MonotonicNs,
    ) -> None:
        room = self._city.room(sanctuary)
        if room is None or session not in room.seats:
            return
        room.follow(session, followed)
        changed = dict.fromkeys((*before, *followed))
        both = dict.fromkeys(before).keys() & dict.fromkeys(followed).keys()
        self._city.heed(room, tuple(c for c in changed if c not in both), now_ns)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def _wake(self, now_ns: MonotonicNs) -> None:
        """Notice that this process stood still; then everything is as uncertain as at a start."""
        stood_still = now_ns - self._last_ns >= STOOD_STILL_NS
        self._last_ns = now_ns
        if not stood_still:
            return
        self._city.counts.stood_still += 1
        self._started_ns = now_ns
        self._is_listening = True
        self._authority.may_act = False
        self._acts.wait_again(now_ns)
        self._fall_silent()
        self._fleet.doubt_all(now_ns)

    def _housekeep(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._house_ns = now_ns + HOUSEKEEPING_NS
        effects = self._city.effects
        effects.extend(self._members.asks(now_ns))
        effects.extend(self._registry.asks(now_ns))
        self._signatures.ask(now_ns)
        self._signatures.overdue(now_ns, now_ms)
        self._fleet.look_around(now_ns)
        self._acts.forget_old(now_ns)
        self._settle(now_ns, now_ms)
        self._city.widen(now_ns, now_ms)
        self._fleet.beat(now_ns, certain=self.is_certain)
        return self._effects(now_ns)

    def _settle(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """What is certain now, who may be written to, what is held."""
        self._authority.finish(now_ns)
        if (
            self._is_listening
            and now_ns - self._started_ns >= LISTEN_NS
            and self._fleet.is_known
            and self._registry.complete
        ):
            self._is_listening = False
            self._authority.begin(now_ns)
        self._hear_registry(now_ns)
        holding = self._fleet.holds_all(now_ns)
        if holding and not self._holding:
            self._holding = True
            self._city.counts.holds += 1
            for slot in self._city.slots.values():
                slot.holding = True
        self._suspend(now_ns, now_ms, again=False)
        if self._holding and not holding:
            self._resume(now_ns, now_ms)
        if self._is_listening or self._holding:
            return
        self._fleet.attach(now_ns)
        for slot in self._city.slots.values():
            if (
                not slot.live
                and self._registry_is_heard
                and self._members.complete(slot.number)
                and self._signatures.complete(slot.number)
            ):
                self._go_live(slot, now_ns)

    def _go_live(self, slot: Slot, now_ns: MonotonicNs) -> None:
        for room in slot.rooms.values():
            room.settle()  # while nothing flows yet: what waits is in the snapshots
        slot.live = True
        for stream in slot.streams.values():
            if slot.was_live:
                self._fleet.start_over(slot, stream, now_ns)
            else:
                self._fleet.enter_all(slot, stream, gap=False)
        slot.was_live = True

    def _fall_silent(self) -> None:
        """Deliver nothing; what happens meanwhile is in the snapshots that come afterwards."""
        for slot in self._city.slots.values():
            for room in slot.rooms.values():
                room.settle()
            slot.live = False

    def _hear_registry(self, now_ns: MonotonicNs) -> None:
        silent = self._registry.silent_for(now_ns) >= REGISTRY_SILENT_NS
        if not silent and self._registry.certain:
            self._registry_is_heard = True
        elif silent and self._registry_is_heard:
            self._registry_is_heard = False
            self._fall_silent()

    # ── holding ──────────────────────────────────────────────────────────────────────────────────

    def _hold(self, source: str | Ask, event: msgspec.Struct) -> None:
        self._held.append((source, event))
        if len(self._held) > HELD_INPUTS_MAX:
            self._held.popleft()
            self._city.counts.dropped_while_held += 1

    def _resume(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """The hole is filled, or only some citizens are held for it: go on in order."""
        self._holding = False
        for slot in self._city.slots.values():
            slot.holding = False
        for room in self._city.rooms():
            for presence in room.presences.values():
                presence.show_again()
        held, self._held = self._held, deque()
        for source, event in held:
            self._dispatch(source, event, now_ns, now_ms)

    def _suspend(self, now_ns: MonotonicNs, now_ms: WallMs, *, again: bool) -> None:
        """Hold the citizens who have a session at a gateway whose hole outlasted the hold of all."""
        keys = self._fleet.suspending(now_ns)
        if keys == self._suspending and not again:
            return
        self._suspending = keys
        self._city.suspend(keys)
        self._release(now_ns, now_ms)

    def _release(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        while self._city.released:
            released, self._city.released = self._city.released, []
            for strand in released:
                self._signatures.release(strand, now_ns, now_ms)

    def _effects(self, now_ns: MonotonicNs) -> list[Effect]:
        self._authority.finish(now_ns)
        effects, self._city.effects = self._city.effects, []
        return effects

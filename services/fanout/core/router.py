"""The core of fanout: bus events and ticks in, effects and edge batches out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.fanout.core.authority import Authority
from services.fanout.core.city import REMEMBER_NS, City, Counts
from services.fanout.core.coarse import TICK_MS, cell_of, phase_ms
from services.fanout.core.gateways import (
    ASK_AGAIN_NS,
    GONE_NS,
    SILENT_NS,
    Doubt,
    Gateway,
)
from services.fanout.core.presences import Presence, RandomBytes
from services.fanout.core.rooms import Outlet, Room, Seat, Slot, Watch
from services.fanout.core.routing import form_of, limit_of
from services.fanout.core.signatures import Signatures
from services.fanout.core.snapshots import enter, enter_all, enter_public
from services.fanout.core.streams import Stream
from shared import subjects
from shared.codec import Refused, decode, encode, sha256
from shared.contracts.client import PolicyChanged
from shared.contracts.fanout import Depart, FanoutBeat, Fenced, Marker, Segment, TombstonesWanted
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
    RegistryControl,
    StatePage,
)
from shared.contracts.sample import Sample
from shared.contracts.sanctuary import MemberBatch, Members
from shared.identifiers import SLOTS, MonotonicNs, WallMs
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

if TYPE_CHECKING:
    import msgspec

Effect = Publish | Ask | Reply

LISTEN_NS = 600_000_000
"""How long a fanout that starts listens for gateways' beats (250 ms apart) before it is certain."""
REGISTRY_SILENT_NS = 3_000_000_000
"""A registry not heard for this long: nothing is delivered until it is back."""
HOUSEKEEPING_NS = 50_000_000
BEAT_NS = 250_000_000
INTEREST_NS = 2_000_000_000
"""Interest that was not renewed for this long is over."""
RESTART_AGAIN_NS = 200_000_000
"""A stream that was started over this recently is not started over for the same hole again."""
HELD_INPUTS_MAX = 4096
"""Events kept while a hole holds everything; above it the oldest go and show as holes of their own."""
_MS = 1_000_000


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
        self._ordinal = ordinal
        self._replicas = replicas
        self._members = MembersReplica(epochs)
        self._registry = RegistryReplica(consent=True)
        self._city = City(
            slots={number: Slot(number, epoch) for number, epoch in epochs.items()},
            random_bytes=random_bytes,
            recorded=self._registry.states,
        )
        self._gateways: dict[str, Gateway] = {}
        self._signatures = Signatures(self._city)
        self._authority = Authority(
            self._city,
            self._registry,
            self._gateways,
            # a predecessor's markers, still under way, must not be taken for ours
            first_marker=(max(epochs.values()) << 24) + 1,
            fanout=instance,
            ordinal=ordinal,
            replicas=replicas,
        )
        self._started_ns = 0
        self._is_listening = True
        """Not every live gateway is known yet."""
        self._registry_is_heard = False
        self._holding = False
        self._held: deque[tuple[str, msgspec.Struct]] = deque()
        self._suspending: tuple[tuple[str, int], ...] = ()
        """Gateways whose citizens are held, as last carried out."""
        self._number = 0
        self._house_ns = 0
        self._beat_ns = 0
        self._wanted_ns = 0
        self._wall_offset_ns = 0

    # ── what the shell calls ─────────────────────────────────────────────────────────────────────

    def start(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._started_ns = now_ns
        self._wall_offset_ns = now_ns - now_ms * _MS
        for slot in self._city.slots.values():
            self._schedule(slot, now_ns, now_ms)
        return self._housekeep(now_ns, now_ms)

    def receive(
        self, subject: str, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        """An event from the bus. Whatever ended by now ends before it is looked at."""
        expiry_ms = self._city.next_expiry_ms
        if expiry_ms is not None and expiry_ms <= now_ms:
            self._city.expire(now_ns, now_ms)
        if self._holding and isinstance(event, SigBatch | MemberBatch | Interest | SnapshotAsk):
            self._held.append((subject, event))
            if len(self._held) > HELD_INPUTS_MAX:
                self._held.popleft()
                self._city.counts.dropped_while_held += 1
        else:
            self._dispatch(subject, event, now_ns, now_ms)
        return self._effects(now_ns)

    def answered(
        self, ask: Ask, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        match event:
            case Members():
                self._apply(self._members.answered(ask, event, now_ns), now_ns, now_ms)
            case StatePage():
                self._learn(self._registry.answered(ask, event, now_ns), now_ns, now_ms)
                self._city.effects.extend(self._registry.asks(now_ns))
            case Openings():
                self._signatures.answered(event, now_ns, now_ms)
            case _:
                pass
        self._settle(now_ns, now_ms)
        return self._effects(now_ns)

    def tick(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._wall_offset_ns = now_ns - now_ms * _MS
        self._city.expire(now_ns, now_ms)
        for slot in self._city.slots.values():
            if slot.tick_at_ns <= now_ns:
                self._coarse_tick(slot, now_ns, now_ms)
                self._schedule(slot, now_ns, now_ms)
        if self._house_ns <= now_ns:
            return self._housekeep(now_ns, now_ms)
        return self._effects(now_ns)

    def next_deadline(self) -> MonotonicNs | None:
        deadline = min(self._house_ns, *(slot.tick_at_ns for slot in self._city.slots.values()))
        expiry_ms = self._city.next_expiry_ms
        if expiry_ms is not None:
            deadline = min(deadline, expiry_ms * _MS + self._wall_offset_ns)
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
        reasons += [
            f"{gateway.name} has not answered ({gateway.doubt.value})"
            for gateway in self._gateways.values()
            if gateway.doubt is not Doubt.NONE and not gateway.is_fenced
        ]
        for number in self._city.slots:
            if not self._members.complete(number):
                reasons.append(f"members of slot {number} are not known")
            if not self._signatures.complete(number):
                reasons.append(f"openings of slot {number} are not known")
        return reasons

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────

    def _dispatch(
        self, subject: str, event: msgspec.Struct, now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        match event:
            case SigBatch():
                self._signatures.receive(subject.split(".")[1], event, now_ns, now_ms)
                self._release(now_ns, now_ms)
                return  # nothing in it can change what is certain
            case MemberBatch():
                self._apply(self._members.receive(event, now_ns), now_ns, now_ms)
                self._city.effects.extend(self._members.asks(now_ns))
            case Interest():
                self._interest(event, now_ns)
            case SnapshotAsk():
                self._snapshot(event, now_ns)
            case GatewayBeat() | ConsentForwarded() | Passed() | Tombstones():
                self._gateway(event, now_ns, now_ms)
            case RegistryBeat() | IdentityRecorded() | ConsentRecorded() | ConsentRefused():
                self._registry_said(event, now_ns, now_ms)
            case _:
                return  # other services' control messages
        self._settle(now_ns, now_ms)

    def _registry_said(self, event: RegistryControl, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        self._learn(self._registry.receive(event, now_ns), now_ns, now_ms)
        self._city.effects.extend(self._registry.asks(now_ns))

    def _learn(self, changes: list, now_ns: MonotonicNs, now_ms: WallMs) -> None:  # type: ignore[type-arg]
        if self._authority.learn(changes, now_ns, now_ms) and self._registry.charter is not None:
            try:
                charter = decode(self._registry.charter.payload, Charter)
            except Refused:
                tier_max = Tier.WITHHELD
            else:
                tier_max = charter.tier_max
            if tier_max is not self._city.charter_tier_max:
                self._city.charter_tier_max = tier_max
                for room in self._rooms():
                    self._city.reroute_room(room, now_ns, now_ms)
        self._release(now_ns, now_ms)

    # ── gateways ─────────────────────────────────────────────────────────────────────────────────

    def _gateway(self, event: GatewayControl, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        gateway = self._gateways.get(event.gateway)
        if gateway is None:
            gateway = Gateway(event.gateway, event.incarnation, now_ns)
            self._gateways[event.gateway] = gateway
            self._want_tombstones(now_ns)
        elif event.incarnation != gateway.incarnation:
            if event.incarnation in gateway.past:
                return
            self._forget(gateway)
            gateway.past.append(gateway.incarnation)
            gateway.begin(event.incarnation, now_ns)
            self._want_tombstones(now_ns)
        doubt = gateway.doubt
        gateway.hear(event.number, now_ns, is_beat=isinstance(event, GatewayBeat))
        if gateway.doubt is not doubt:
            self._want_tombstones(now_ns)
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
                    self._authority.acts.passed(event.marker, gateway.name, gateway.incarnation)
            case GatewayBeat():
                pass
        self._release(now_ns, now_ms)

    def _want_tombstones(self, now_ns: MonotonicNs) -> None:
        self._wanted_ns = now_ns + ASK_AGAIN_NS
        self._number += 1
        self._control(TombstonesWanted(self._instance, self._number))

    def _control(self, event: msgspec.Struct) -> None:
        self._city.effects.append(Publish(subjects.control(self._instance), event))

    def _forget(self, gateway: Gateway) -> None:
        """Nothing of this incarnation can be written any more: its streams end, none waits for it."""
        self._detach(gateway)
        self._authority.acts.forget_gateway(gateway.name, gateway.incarnation)
        for room in self._rooms():
            if room.watches.pop(gateway.key, None) is not None:
                room.wire()

    def _detach(self, gateway: Gateway) -> None:
        """Write nothing more to it."""
        gateway.is_live = False
        for slot in self._city.slots.values():
            stream = slot.streams.get(gateway.key)
            if stream is not None:
                for room in slot.rooms.values():
                    room.settle()
                del slot.streams[gateway.key]
                for room in slot.rooms.values():
                    room.wire()

    def _attach(self, gateway: Gateway, now_ns: MonotonicNs) -> None:
        """It has answered: a stream for each slot, everyone of it enters."""
        gateway.is_live = True
        for slot in self._city.slots.values():
            stream = Stream(
                slot=slot.number,
                epoch=slot.epoch,
                gateway=gateway.name,
                incarnation=gateway.incarnation,
                busy=self._city.busy,
            )
            slot.streams[gateway.key] = stream
            for room in slot.rooms.values():
                room.settle()
                room.wire()
            self._start_over(slot, stream, now_ns, gap=False)

    def _start_over(self, slot: Slot, stream: Stream, now_ns: MonotonicNs, *, gap: bool) -> None:
        """`Clear`, the markers that were not passed yet, then everyone."""
        for room in slot.rooms.values():
            room.settle()
        stream.start_over(now_ns)
        for marker, purges in self._authority.acts.outstanding(
            stream.gateway, stream.incarnation, slot.number
        ):
            stream.add(Marker(purges, marker), 64)
        if slot.live:
            self._enter_all(slot, stream, gap=gap)

    def _enter_all(self, slot: Slot, stream: Stream, *, gap: bool) -> None:
        self._city.counts.snapshots += 1
        for room in slot.rooms.values():
            enter_all(room, stream, gap=gap)

    def _snapshot(self, event: SnapshotAsk, now_ns: MonotonicNs) -> None:
        slot = self._city.slots.get(event.slot)
        if slot is None:
            return
        stream = slot.streams.get((event.gateway, event.incarnation))
        if stream is not None and now_ns - stream.started_ns >= RESTART_AGAIN_NS:
            self._start_over(slot, stream, now_ns, gap=True)

    def _interest(self, event: Interest, now_ns: MonotonicNs) -> None:
        slot = self._city.slot(event.sanctuary)
        room = None if slot is None else slot.rooms.get(event.sanctuary)
        if slot is None or room is None or room.policy is None or not room.policy.public:
            return
        key = (event.gateway, event.incarnation)
        before = room.watches.get(key)
        if event.count == 0:
            if before is not None:
                room.settle()
                del room.watches[key]
                room.wire()
            return
        room.watches[key] = Watch(event.generation, now_ns)
        if before is None or before.generation != event.generation:
            room.settle()
            room.wire()
            stream = slot.streams.get(key)
            if stream is not None and slot.live:
                enter_public(room, stream, gap=False)

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
                    self._close(stood.sanctuary)
                case SessionJoined(member):
                    seat = Seat(member.citizen, (member.gateway, member.incarnation))
                    self._join(member.sanctuary, member.session, seat, now_ms)
                case SessionLeft(member):
                    self._leave(member.sanctuary, member.session)
                case SlotCompleted():
                    pass
        if changes and self._suspending:
            self._suspend(now_ns, now_ms, again=True)

    def _announce_policy(self, room: Room, policy: bytes) -> None:
        segment = Segment(None, encode(PolicyChanged(room.sanctuary, policy, sha256(policy))))
        room.members.put(segment)
        room.public.put(segment)
        room.settle()

    def _join(self, sanctuary: bytes, session: bytes, seat: Seat, now_ms: WallMs) -> None:
        room = self._city.room(sanctuary)
        if room is None:
            return
        room.settle()
        room.seat(session, seat)
        for presence in room.presences.values():
            shown = presence.route.members
            if shown is not Tier.WITHHELD and (presence.consent.has_limits or presence.excepted):
                limit = limit_of(
                    presence.consent,
                    room,
                    person=seat.citizen,
                    charter_tier_max=self._city.charter_tier_max,
                    now_ms=now_ms,
                )
                presence.enter(session, form_of(min(limit, shown)))
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
        excepting = [p for p in room.presences.values() if session in p.excepted]
        for presence in excepting:
            presence.depart(session)
        if excepting:
            room.deny()
        room.unseat(session)

    def _close(self, sanctuary: bytes) -> None:
        """The room is gone: its members have left before, its public is told nothing more."""
        slot = self._city.slot(sanctuary)
        room = None if slot is None else slot.rooms.get(sanctuary)
        if slot is None or room is None:
            return
        for presence in list(room.presences.values()):
            self._city.forget(presence)
        del slot.rooms[sanctuary]

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def _housekeep(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._house_ns = now_ns + HOUSEKEEPING_NS
        effects = self._city.effects
        effects.extend(self._members.asks(now_ns))
        effects.extend(self._registry.asks(now_ns))
        self._signatures.ask(now_ns)
        self._signatures.overdue(now_ns, now_ms)
        for gateway in list(self._gateways.values()):
            silence = now_ns - gateway.heard_ns
            if silence >= GONE_NS:
                self._forget(gateway)
                del self._gateways[gateway.name]
            elif silence >= SILENT_NS and gateway.doubt is not Doubt.SILENT:
                gateway.doubts(now_ns)
                self._detach(gateway)
        for name, incarnation in self._authority.acts.late(now_ns):
            self._fence(name, incarnation)
        self._authority.acts.forget_old(now_ns)
        for room in self._rooms():
            over = [
                k for k, watch in room.watches.items() if now_ns - watch.heard_ns >= INTEREST_NS
            ]
            if over:
                room.settle()
                for key in over:
                    del room.watches[key]
                room.wire()
        doubtful = any(
            gateway.doubt is not Doubt.NONE and not gateway.is_fenced
            for gateway in self._gateways.values()
        )
        if doubtful and self._wanted_ns <= now_ns:
            self._want_tombstones(now_ns)
        self._settle(now_ns, now_ms)
        if self._beat_ns <= now_ns:
            self._beat_ns = now_ns + BEAT_NS
            for gateway in self._gateways.values():
                if gateway.is_fenced:
                    self._number += 1
                    self._control(
                        Fenced(self._instance, self._number, gateway.name, gateway.incarnation)
                    )
            self._control(
                FanoutBeat(
                    self._instance, self._ordinal, self._replicas, self._number, self.is_certain
                )
            )
        for slot in self._city.slots.values():
            for stream in slot.streams.values():
                beat = stream.beat(now_ns)
                if beat is not None:
                    effects.append(beat)
        return self._effects(now_ns)

    def _fence(self, name: str, incarnation: int) -> None:
        """It did not pass in time: it gets nothing more, and nobody waits for it."""
        gateway = self._gateways.get(name)
        if gateway is not None and gateway.incarnation == incarnation:
            gateway.is_fenced = True
        self._city.counts.fenced += 1
        self._number += 1
        self._control(Fenced(self._instance, self._number, name, incarnation))
        if gateway is not None and gateway.incarnation == incarnation:
            self._forget(gateway)
        else:
            self._authority.acts.forget_gateway(name, incarnation)

    def _settle(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """What is certain now, who may be written to, what is held."""
        self._authority.finish(now_ns)
        if self._is_listening:
            self._listen(now_ns)
        self._hear_registry(now_ns)
        holding = any(gateway.holds_all(now_ns) for gateway in self._gateways.values())
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
        for gateway in self._gateways.values():
            if gateway.doubt is Doubt.NONE and not gateway.is_live and not gateway.is_fenced:
                self._attach(gateway, now_ns)
        for slot in self._city.slots.values():
            live = (
                self._registry_is_heard
                and self._members.complete(slot.number)
                and self._signatures.complete(slot.number)
            )
            if live and not slot.live:
                slot.live = True
                for stream in slot.streams.values():
                    if slot.was_live:
                        self._start_over(slot, stream, now_ns, gap=True)
                    else:
                        self._enter_all(slot, stream, gap=False)
                slot.was_live = True

    def _listen(self, now_ns: MonotonicNs) -> None:
        if now_ns - self._started_ns < LISTEN_NS or any(
            gateway.doubt is not Doubt.NONE for gateway in self._gateways.values()
        ):
            return
        if self._registry.complete:
            self._is_listening = False
            self._authority.begin(now_ns)

    def _hear_registry(self, now_ns: MonotonicNs) -> None:
        silent = self._registry.silent_for(now_ns) >= REGISTRY_SILENT_NS
        if not silent and self._registry.certain:
            self._registry_is_heard = True
        elif silent and self._registry_is_heard:
            self._registry_is_heard = False
            for slot in self._city.slots.values():
                for room in slot.rooms.values():
                    room.settle()
                slot.live = False

    def _suspend(self, now_ns: MonotonicNs, now_ms: WallMs, *, again: bool) -> None:
        """Hold the citizens who have a session at a gateway whose hole outlasted the hold of all."""
        keys = tuple(
            gateway.key
            for gateway in self._gateways.values()
            if gateway.holds_its_citizens() and not gateway.holds_all(now_ns)
        )
        if keys == self._suspending and not again:
            return
        self._suspending = keys
        held = {
            seat.citizen
            for room in self._rooms()
            for seat in room.seats.values()
            if seat.gateway in keys
        }
        for room in self._rooms():
            for presence in room.presences.values():
                suspended = presence.citizen in held
                if suspended and not presence.suspended:
                    presence.suspended = True
                    for strand in presence.strands.values():
                        strand.blocked = True
                elif presence.suspended and not suspended:
                    presence.suspended = False
                    self._show_again(presence)
                    self._city.released.extend(presence.strands.values())
        self._release(now_ns, now_ms)

    def _resume(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """The hole is filled, or only some citizens are held for it: go on in order."""
        self._holding = False
        for slot in self._city.slots.values():
            slot.holding = False
        for room in self._rooms():
            for presence in room.presences.values():
                self._show_again(presence)
        held, self._held = self._held, deque()
        for subject, event in held:
            self._dispatch(subject, event, now_ns, now_ms)

    def _show_again(self, presence: Presence) -> None:
        if presence.unshown and not presence.suspended and not presence.room.slot.holding:
            presence.room.settle()
            presence.reshow()
            presence.room.settle()

    def _release(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        while self._city.released:
            released, self._city.released = self._city.released, []
            for strand in released:
                self._signatures.release(strand, now_ns, now_ms)

    # ── the coarse tick ──────────────────────────────────────────────────────────────────────────

    def _schedule(self, slot: Slot, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """The slot's next tick by the wall clock, so that ticks keep their place in the second."""
        wait_ms = (phase_ms(slot.number, SLOTS) - now_ms) % TICK_MS or TICK_MS
        slot.tick_at_ns = now_ns + wait_ms * _MS

    def _coarse_tick(self, slot: Slot, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        stamp = max(now_ms // TICK_MS, slot.tick_stamp + 1)
        slot.tick_stamp = stamp
        for room in list(slot.rooms.values()):
            self._forget_silent(room, now_ns)
            records: dict[bytes, tuple[Outlet, list[tuple[bytes, Segment]]]] = {}
            if not slot.live or slot.holding:
                continue
            for presence in room.presences.values():
                if not presence.suspended:
                    self._coarse(presence, stamp, records, now_ns)
            for outlet, rows in records.values():
                rows.sort(key=lambda row: row[0])
                for _, segment in rows:
                    outlet.put(segment)

    def _coarse(
        self,
        presence: Presence,
        stamp: int,
        records: dict[bytes, tuple[Outlet, list[tuple[bytes, Segment]]]],
        now_ns: MonotonicNs,
    ) -> None:
        faces = [(view, view.face) for view in presence.views() if view.face is not None]
        if not faces:
            return
        newest_ns, body = presence.spoken()
        cell = None
        if body is not None:
            try:
                cell = cell_of(decode(body, Sample))
            except Refused:
                self._city.counts.malformed += 1
        ticked: dict[int, tuple[bytes, bytes] | None] = {}
        for view, face in faces:
            if id(face) not in ticked:  # sessions of one person share a face
                ticked[id(face)] = face.tick(
                    presence.room.sanctuary, stamp, cell=cell, newest_ns=newest_ns, now_ns=now_ns
                )
            record = ticked[id(face)]
            if record is not None:
                pseudonym, message = record
                _, rows = records.setdefault(view.outlet.key, (view.outlet, []))
                rows.append((pseudonym, Segment(presence.citizen, message)))

    def _forget_silent(self, room: Room, now_ns: MonotonicNs) -> None:
        for presence in list(room.presences.values()):
            if (
                not presence.strands
                and now_ns - presence.ended_ns >= REMEMBER_NS
                and not any(view.face and view.face.message for view in presence.views())
            ):
                self._city.forget(presence)
        if room.policy is None and not room.presences and not room.seats:
            del room.slot.rooms[room.sanctuary]

    # ── small things ─────────────────────────────────────────────────────────────────────────────

    def _rooms(self) -> list[Room]:
        return [room for slot in self._city.slots.values() for room in slot.rooms.values()]

    def _effects(self, now_ns: MonotonicNs) -> list[Effect]:
        self._authority.finish(now_ns)
        effects, self._city.effects = self._city.effects, []
        return effects

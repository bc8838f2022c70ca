"""The gateways: what they said, what may be written to them, and what is held because of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from services.fanout.core.city import City
from services.fanout.core.gateways import (
    ASK_AGAIN_NS,
    GONE_NS,
    SILENT_NS,
    Doubt,
    Gateway,
)
from services.fanout.core.rooms import GatewayKey, Slot, Watch
from services.fanout.core.snapshots import enter_all, enter_public
from services.fanout.core.streams import Stream
from shared import subjects
from shared.contracts.fanout import FanoutBeat, Fenced, Marker, TombstonesWanted
from shared.contracts.gateway import GatewayBeat, GatewayControl, Interest, SnapshotAsk
from shared.identifiers import MonotonicNs
from shared.subjects import Publish

if TYPE_CHECKING:
    from services.fanout.core.withdrawal import Acts

BEAT_NS = 250_000_000
INTEREST_NS = 2_000_000_000
"""Interest that was not renewed for this long is over."""
RESTART_AGAIN_NS = 200_000_000
"""A stream that was started over this recently is not started over for the same hole again."""
_MARKER_BYTES = 64


class Fleet:
    """Gateways, their streams, and this fanout's own control messages to them."""

    def __init__(
        self, city: City, acts: Acts, *, instance: str, ordinal: int, replicas: int, epoch: int
    ) -> None:
        self._city = city
        self._acts = acts
        self._instance = instance
        self._ordinal = ordinal
        self._replicas = replicas
        self._epoch = epoch
        self.gateways: dict[str, Gateway] = {}
        self._number = 0
        self._beat_ns = 0
        self._wanted_ns = 0

    # ── what they say ────────────────────────────────────────────────────────────────────────────

    def hear(self, event: GatewayControl, now_ns: MonotonicNs) -> Gateway | None:
        """Follow a gateway's numbering; nil: an incarnation that is over says something."""
        gateway = self.gateways.get(event.gateway)
        if gateway is None:
            gateway = self.gateways[event.gateway] = Gateway(
                event.gateway, event.incarnation, now_ns
            )
            self._want_tombstones(now_ns)
        elif event.incarnation != gateway.incarnation:
            if event.incarnation in gateway.past:
                return None
            self._forget(gateway)
            for slot in self._city.slots.values():
                slot.numbers.pop(gateway.key, None)
            gateway.past.append(gateway.incarnation)
            gateway.begin(event.incarnation, now_ns)
            self._want_tombstones(now_ns)
        doubt = gateway.doubt
        gateway.hear(event.number, now_ns, is_beat=isinstance(event, GatewayBeat))
        if gateway.doubt is not doubt:
            self._want_tombstones(now_ns)
        return gateway

    def interest(self, event: Interest, now_ns: MonotonicNs) -> None:
        """A gateway's anonymous viewers of a public stage; a new generation gets a snapshot."""
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

    def snapshot(self, event: SnapshotAsk, now_ns: MonotonicNs) -> None:
        """A gateway's stream had a hole."""
        slot = self._city.slots.get(event.slot)
        if slot is None:
            return
        stream = slot.streams.get((event.gateway, event.incarnation))
        if stream is not None and now_ns - stream.started_ns >= RESTART_AGAIN_NS:
            self.start_over(slot, stream, now_ns)

    # ── what is written to them ──────────────────────────────────────────────────────────────────

    def attach(self, now_ns: MonotonicNs) -> None:
        """Who has answered gets a stream for each slot, and everyone of it enters."""
        for gateway in self.gateways.values():
            if gateway.doubt is not Doubt.NONE or gateway.is_live or gateway.is_fenced:
                continue
            gateway.is_live = True
            for slot in self._city.slots.values():
                stream = slot.streams[gateway.key] = Stream(
                    slot=slot.number,
                    epoch=slot.epoch,
                    gateway=gateway.name,
                    incarnation=gateway.incarnation,
                    number=slot.numbers.pop(gateway.key, 0),
                    busy=self._city.busy,
                )
                for room in slot.rooms.values():
                    room.settle()
                    room.wire()
                self._begin(slot, stream, now_ns, gap=False)

    def start_over(self, slot: Slot, stream: Stream, now_ns: MonotonicNs) -> None:
        """Forget what was not sent; everyone enters afresh."""
        for room in slot.rooms.values():
            room.settle()
        self._begin(slot, stream, now_ns, gap=True)

    def _begin(self, slot: Slot, stream: Stream, now_ns: MonotonicNs, *, gap: bool) -> None:
        """`Clear`, the markers that were not passed yet, then everyone."""
        stream.start_over(now_ns)
        for marker, purges in self._acts.outstanding(
            stream.gateway, stream.incarnation, slot.number
        ):
            stream.add(Marker(purges, marker), _MARKER_BYTES)
        if slot.live:
            self.enter_all(slot, stream, gap=gap)

    def enter_all(self, slot: Slot, stream: Stream, *, gap: bool) -> None:
        self._city.counts.snapshots += 1
        for room in slot.rooms.values():
            enter_all(room, stream, gap=gap)

    def detach(self, gateway: Gateway) -> None:
        """Write nothing more to it, not even what was about to be sent."""
        gateway.is_live = False
        for slot in self._city.slots.values():
            stream = slot.streams.get(gateway.key)
            if stream is not None:
                for room in slot.rooms.values():
                    room.settle()
                stream.abandon()
                slot.numbers[gateway.key] = stream.number
                del slot.streams[gateway.key]
                for room in slot.rooms.values():
                    room.wire()

    def _forget(self, gateway: Gateway) -> None:
        """Nothing of this incarnation can be written any more: nobody waits for it."""
        self.detach(gateway)
        self._acts.forget_gateway(gateway.name, gateway.incarnation)
        for room in self._city.rooms():
            if room.watches.pop(gateway.key, None) is not None:
                room.wire()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def look_around(self, now_ns: MonotonicNs) -> None:
        """Who is silent, gone, or late with a marker; whose interest is over; whom to ask again."""
        for gateway in list(self.gateways.values()):
            silence = now_ns - gateway.heard_ns
            if silence >= GONE_NS:
                self._forget(gateway)
                del self.gateways[gateway.name]
            elif silence >= SILENT_NS and gateway.doubt is not Doubt.SILENT:
                gateway.doubts(now_ns)
                self.detach(gateway)
        for name, incarnation in self._acts.late(now_ns):
            self._fence(name, incarnation)
        for room in self._city.rooms():
            over = [
                k for k, watch in room.watches.items() if now_ns - watch.heard_ns >= INTEREST_NS
            ]
            if over:
                room.settle()
                for key in over:
                    del room.watches[key]
                room.wire()
        if self._wanted_ns <= now_ns and any(
            gateway.doubt is not Doubt.NONE and not gateway.is_fenced
            for gateway in self.gateways.values()
        ):
            self._want_tombstones(now_ns)

    def beat(self, now_ns: MonotonicNs, *, certain: bool) -> None:
        """Control and edge beats that are due."""
        if self._beat_ns <= now_ns:
            self._beat_ns = now_ns + BEAT_NS
            for gateway in self.gateways.values():
                if gateway.is_fenced:  # told until it has begun anew
                    self._tell_fenced(gateway.name, gateway.incarnation)
            self._control(
                FanoutBeat(
                    self._instance,
                    self._ordinal,
                    self._replicas,
                    self._number,
                    certain,
                    self._epoch,
                )
            )
        for slot in self._city.slots.values():
            for stream in slot.streams.values():
                beat = stream.beat(now_ns)
                if beat is not None:
                    self._city.effects.append(beat)

    def doubt_all(self, now_ns: MonotonicNs) -> None:
        """This process stood still: whatever anybody said meanwhile may be lost."""
        for gateway in self.gateways.values():
            if gateway.is_fenced:
                continue
            gateway.doubts(now_ns)
            gateway.heard_ns = now_ns
            self.detach(gateway)
        self._want_tombstones(now_ns)

    # ── what is held because of them ─────────────────────────────────────────────────────────────

    @property
    def is_known(self) -> bool:
        """Whether every gateway that is there has said what it forwarded."""
        return all(gateway.doubt is Doubt.NONE for gateway in self.gateways.values())

    def holds_all(self, now_ns: MonotonicNs) -> bool:
        """Whether a hole is so young that everything waits for it."""
        return any(gateway.holds_all(now_ns) for gateway in self.gateways.values())

    def suspending(self, now_ns: MonotonicNs) -> tuple[GatewayKey, ...]:
        """Gateways whose hole has outlasted that: only their citizens wait."""
        return tuple(
            gateway.key
            for gateway in self.gateways.values()
            if gateway.holds_its_citizens() and not gateway.holds_all(now_ns)
        )

    def pending(self) -> list[str]:
        return [
            f"{gateway.name} has not answered ({gateway.doubt.value})"
            for gateway in self.gateways.values()
            if gateway.doubt is not Doubt.NONE and not gateway.is_fenced
        ]

    # ── small things ─────────────────────────────────────────────────────────────────────────────

    def _fence(self, name: str, incarnation: int) -> None:
        """It did not pass in time: it gets nothing more, and nobody waits for it."""
        self._city.counts.fenced += 1
        self._tell_fenced(name, incarnation)
        gateway = self.gateways.get(name)
        if gateway is not None and gateway.incarnation == incarnation:
            gateway.is_fenced = True
            self._forget(gateway)
        else:
            self._acts.forget_gateway(name, incarnation)

    def _tell_fenced(self, name: str, incarnation: int) -> None:
        self._number += 1
        self._control(Fenced(self._instance, self._number, name, incarnation))

    def _want_tombstones(self, now_ns: MonotonicNs) -> None:
        self._wanted_ns = now_ns + ASK_AGAIN_NS
        self._number += 1
        self._control(TombstonesWanted(self._instance, self._number))

    def _control(self, event: msgspec.Struct) -> None:
        self._city.effects.append(Publish(subjects.control(self._instance), event))

"""All slots, rooms and presences of this process, and the one way by which a decision changes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.fanout.core.consents import Consent
from services.fanout.core.presences import Presence
from services.fanout.core.rooms import GatewayKey, Outlet, Room, Slot
from services.fanout.core.routing import route_of
from services.fanout.core.strands import Strand
from services.fanout.core.views import RandomBytes
from shared.codec import encode
from shared.contracts.client import Closeness
from shared.contracts.fanout import Segment
from shared.contracts.records import Tier
from shared.contracts.registry import ConsentState
from shared.identifiers import MonotonicNs, WallMs, slot_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.fanout.core.streams import Stream
    from shared.subjects import Ask, Publish, Reply

REMEMBER_NS = 120_000_000_000
"""How long a silent citizen's presence is kept: a withdrawal still blanks what was shown, and the
strand key, released a minute after the end, still finds its audience."""


@dataclass(slots=True)
class Counts:
    """What happened so far; the shell makes metrics of it."""

    samples: int = 0
    repeated: int = 0
    unknown_strands: int = 0
    malformed: int = 0
    lost: int = 0
    unknown_epoch: int = 0
    narrowings: int = 0
    acted: int = 0
    fenced: int = 0
    snapshots: int = 0
    holes: int = 0
    holds: int = 0
    stood_still: int = 0
    windows_fed: int = 0
    bad_signatures: int = 0
    dropped_while_held: int = 0


@dataclass(slots=True)
class City:
    """State that the parts of the core share."""

    slots: dict[int, Slot]
    random_bytes: RandomBytes
    recorded: Mapping[bytes, ConsentState]
    """The registry replica's states."""
    charter_tier_max: Tier = Tier.WITHHELD
    effects: list[Publish | Ask | Reply] = field(default_factory=list)
    dirty: list[Outlet] = field(default_factory=list)
    """Outlets with segments that wait."""
    busy: list[Stream] = field(default_factory=list)
    """Streams with operations that wait."""
    consents: dict[bytes, Consent] = field(default_factory=dict)
    presences: dict[bytes, dict[bytes, Presence]] = field(default_factory=dict)
    """Citizen → sanctuary → presence."""
    strands: dict[bytes, Strand] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    released: list[Strand] = field(default_factory=list)
    """Strands that may no longer have to wait."""
    suspended: dict[bytes, None] = field(default_factory=dict)
    """Citizens of whom nothing is delivered: a withdrawal of theirs may be lost."""
    _widening: dict[Presence, None] = field(default_factory=dict)
    """Presences whose citizen allows more than is carried out while it is held."""
    _expiries: list[tuple[int, bytes]] = field(default_factory=list)
    _expiry_of: dict[bytes, int] = field(default_factory=dict)

    def slot(self, sanctuary: bytes) -> Slot | None:
        """The slot that owns the sanctuary, if this process owns that slot."""
        return self.slots.get(slot_of(sanctuary))

    def room(self, sanctuary: bytes) -> Room | None:
        slot = self.slot(sanctuary)
        if slot is None:
            return None
        room = slot.rooms.get(sanctuary)
        if room is None:
            room = slot.rooms[sanctuary] = Room(sanctuary, slot, self.dirty)
        return room

    def rooms(self) -> list[Room]:
        return [room for slot in self.slots.values() for room in slot.rooms.values()]

    def close(self, sanctuary: bytes) -> None:
        """A room is gone: its members have left before, its public is told nothing more."""
        slot = self.slot(sanctuary)
        room = None if slot is None else slot.rooms.get(sanctuary)
        if slot is not None and room is not None:
            for presence in list(room.presences.values()):
                self.forget(presence)
            del slot.rooms[sanctuary]

    def consent(self, citizen: bytes) -> Consent:
        consent = self.consents.get(citizen)
        if consent is None:
            consent = self.consents[citizen] = Consent(citizen, self.recorded.get(citizen))
        return consent

    def presence(self, citizen: bytes, room: Room, now_ns: MonotonicNs, now_ms: WallMs) -> Presence:
        """The citizen in the room; made, with its first decision, when first asked for."""
        presence = room.presences.get(citizen)
        if presence is None:
            consent = self.consent(citizen)
            presence = Presence(consent, room, self.random_bytes)
            presence.ended_ns = now_ns
            presence.suspended = citizen in self.suspended
            presence.begin(
                route_of(consent, room, charter_tier_max=self.charter_tier_max, now_ms=now_ms)
            )
            room.presences[citizen] = presence
            self.presences.setdefault(citizen, {})[room.sanctuary] = presence
            self._expects(consent, now_ms)
        return presence

    def forget(self, presence: Presence) -> None:
        room = presence.room
        room.settle()
        for strand in presence.strands:
            self.strands.pop(strand, None)
        presence.end()
        del room.presences[presence.citizen]
        rooms = self.presences[presence.citizen]
        del rooms[room.sanctuary]
        if not rooms:
            del self.presences[presence.citizen]
            self.forget_consent(presence.citizen)

    def forget_consent(self, citizen: bytes) -> None:
        """Drop what can be read from the replica again."""
        consent = self.consents.get(citizen)
        if consent is not None and citizen not in self.presences and not consent.is_pending:
            del self.consents[citizen]
            self._expiry_of.pop(citizen, None)

    def reroute(self, citizen: bytes, now_ns: MonotonicNs, now_ms: WallMs) -> bool:
        """A citizen's consent may have changed: decide again in each of its rooms, act at once.

        True: somebody sees less now.
        """
        consent = self.consents.get(citizen)
        if consent is None:
            return False
        narrowed = False
        for presence in self.presences.get(citizen, {}).values():
            narrowed |= self._follow(presence, now_ns, now_ms)
            self.released.extend(strand for strand in presence.strands.values() if strand.blocked)
        self._expects(consent, now_ms)
        self.forget_consent(citizen)
        return narrowed

    def reroute_room(self, room: Room, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """The room's policy, closeness or the charter changed."""
        for presence in room.presences.values():
            self._follow(presence, now_ns, now_ms)

    def widen(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Carry out what would have let somebody see more while its citizen was held."""
        for presence in list(self._widening):
            if presence.room.presences.get(presence.citizen) is not presence:
                del self._widening[presence]
            elif not presence.is_held:
                del self._widening[presence]
                self._follow(presence, now_ns, now_ms)

    def heed(self, room: Room, followed: tuple[bytes, ...], now_ns: MonotonicNs) -> None:
        """Some session follows these citizens now, or does not any more."""
        for citizen in followed:
            presence = room.presences.get(citizen)
            if presence is not None:
                presence.heed(now_ns)

    def measure_closeness(self, room: Room, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Announce and carry out a change of closeness, if the speakers' number asks for one."""
        outgrown = room.outgrown()
        if outgrown is None or outgrown is not room.is_close:
            return
        room.settle()
        room.is_close = not outgrown
        room.members.put(closeness(room))
        room.settle()
        self.reroute_room(room, now_ns, now_ms)

    def expire(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Grants and exceptions that ended by now."""
        while self._expiries and self._expiries[0][0] <= now_ms:
            at_ms, citizen = heapq.heappop(self._expiries)
            if self._expiry_of.get(citizen) == at_ms:
                del self._expiry_of[citizen]
                self.reroute(citizen, now_ns, now_ms)

    def suspend(self, gateways: tuple[GatewayKey, ...]) -> None:
        """Hold exactly the citizens with a session at one of these gateways."""
        self.suspended = {
            seat.citizen: None
            for room in (self.rooms() if gateways else ())
            for seat in room.seats.values()
            if seat.gateway in gateways
        }
        for room in self.rooms():
            for presence in room.presences.values():
                suspended = presence.citizen in self.suspended
                if suspended and not presence.suspended:
                    presence.suspended = True
                    for strand in presence.strands.values():
                        strand.blocked = True
                elif presence.suspended and not suspended:
                    presence.suspended = False
                    presence.show_again()
                    self.released.extend(presence.strands.values())

    @property
    def next_expiry_ms(self) -> int | None:
        return self._expiries[0][0] if self._expiries else None

    def _follow(self, presence: Presence, now_ns: MonotonicNs, now_ms: WallMs) -> bool:
        route = route_of(
            presence.consent,
            presence.room,
            charter_tier_max=self.charter_tier_max,
            now_ms=now_ms,
        )
        narrower = route.least(presence.route) if presence.is_held else route
        if narrower != route:
            # what was said and waits must not be shown under a consent that came behind it
            self._widening[presence] = None
        narrowed = presence.follow(narrower, now_ns)
        self.counts.narrowings += narrowed
        return narrowed

    def _expects(self, consent: Consent, now_ms: WallMs) -> None:
        at_ms = consent.next_expiry(now_ms)
        if at_ms is not None and self._expiry_of.get(consent.citizen) != at_ms:
            self._expiry_of[consent.citizen] = at_ms
            heapq.heappush(self._expiries, (at_ms, consent.citizen))


def closeness(room: Room) -> Segment:
    return Segment(None, encode(Closeness(room.sanctuary, room.is_close)))

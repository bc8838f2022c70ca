"""Rooms: who sits where, the outlets through which an audience is reached, closeness."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from services.fanout.core.streams import Stream, deliveries
from shared.contracts.fanout import DenyPair, Segment
from shared.contracts.records import Kind, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.fanout.core.presences import Presence

_NOBODY: Mapping[bytes, None] = MappingProxyType({})
GatewayKey = tuple[str, int]
"""A gateway and its incarnation."""


class Seat(NamedTuple):
    """One session of one citizen in a room."""

    citizen: bytes
    gateway: GatewayKey


class Watch(NamedTuple):
    """A gateway's anonymous viewers of a public stage."""

    generation: int
    heard_ns: int


class Slot:
    """One of the 64: its rooms, its streams, and whether anything may flow."""

    __slots__ = (
        "epoch",
        "holding",
        "live",
        "number",
        "numbers",
        "rooms",
        "streams",
        "tick_at_ns",
        "tick_stamp",
        "was_live",
    )

    def __init__(self, number: int, epoch: int) -> None:
        self.number = number
        self.epoch = epoch
        self.rooms: dict[bytes, Room] = {}
        self.streams: dict[GatewayKey, Stream] = {}
        """One for each gateway that may be written to."""
        self.numbers: dict[GatewayKey, int] = {}
        """Where the streams of gateways that may just not be written to go on."""
        self.was_live = False
        self.live = False
        """Nothing of anyone is delivered while it is false; then everyone enters afresh."""
        self.holding = False
        """A gateway's control messages have a hole: what would be shown waits."""
        self.tick_at_ns = 0
        self.tick_stamp = 0


class Outlet:
    """An audience, and the segments that wait for it until the next flush or barrier."""

    __slots__ = ("_dirty", "_slot", "deny", "key", "segments", "streams")

    def __init__(self, key: bytes, slot: Slot, dirty: list[Outlet]) -> None:
        self.key = key
        self.streams: list[Stream] = []
        """Of the gateways with somebody in this audience."""
        self.segments: list[Segment] = []
        self.deny: dict[GatewayKey, dict[bytes, tuple[DenyPair, ...]]] = {}
        """Gateway → citizen → its pairs there."""
        self._slot = slot
        self._dirty = dirty

    def put(self, segment: Segment) -> None:
        """One more segment for the audience. (The hot path does the same in place.)"""
        if self.streams:
            if not self.segments:
                self._dirty.append(self)
            self.segments.append(segment)

    def settle(self) -> None:
        """Move what waits onto the streams, before anything else may follow it there."""
        segments = self.segments
        if not segments:
            return
        self.segments = []
        if not self._slot.live:
            return
        shared = None
        for stream in self.streams:
            deny = self.deny.get((stream.gateway, stream.incarnation)) if self.deny else None
            if deny:
                for delivery, size in deliveries(self.key, segments, deny):
                    stream.add(delivery, size)
                continue
            if shared is None:
                shared = deliveries(self.key, segments, {})
            for delivery, size in shared:
                stream.add(delivery, size)


class Room:
    """A sanctuary as fanout sees it. `policy` nil: a strand came before its room was known."""

    __slots__ = (
        "_dirty",
        "_followed",
        "_followers",
        "citizens",
        "follows",
        "is_close",
        "members",
        "personal",
        "policy",
        "presences",
        "public",
        "sanctuary",
        "seats",
        "seats_at",
        "slot",
        "speakers",
        "watches",
    )

    def __init__(self, sanctuary: bytes, slot: Slot, dirty: list[Outlet]) -> None:
        self.sanctuary = sanctuary
        self.slot = slot
        self.policy: Policy | None = None
        self.is_close = True
        self.speakers = 0
        """Citizens with an open strand."""
        self.seats: dict[bytes, Seat] = {}
        self.seats_at: dict[GatewayKey, dict[bytes, None]] = {}
        self.citizens: dict[bytes, dict[bytes, None]] = {}
        self.watches: dict[GatewayKey, Watch] = {}
        self.presences: dict[bytes, Presence] = {}
        self.members = Outlet(b"m" + sanctuary, slot, dirty)
        self.public = Outlet(b"p" + sanctuary, slot, dirty)
        self.personal: dict[bytes, Outlet] = {}
        """Session → an outlet of its own, while one is needed."""
        self.follows: dict[bytes, tuple[bytes, ...]] = {}
        """Session → whom it follows, by its own signed word; who may is decided for each citizen."""
        self._followers: dict[bytes, dict[bytes, None]] = {}
        """Citizen → the sessions that follow it."""
        self._followed: dict[bytes, Outlet] = {}
        """Citizen → the outlet to its followers, while somebody is in it."""
        self._dirty = dirty

    def seat(self, session: bytes, seat: Seat) -> None:
        assert session not in self.seats
        self.seats[session] = seat
        self.seats_at.setdefault(seat.gateway, {})[session] = None
        self.citizens.setdefault(seat.citizen, {})[session] = None
        self._wire_audiences()

    def unseat(self, session: bytes) -> None:
        seat = self.seats.pop(session)
        at = self.seats_at[seat.gateway]
        del at[session]
        if not at:
            del self.seats_at[seat.gateway]
        sessions = self.citizens[seat.citizen]
        del sessions[session]
        if not sessions:
            del self.citizens[seat.citizen]
        self.personal.pop(session, None)
        self.follow(session, ())
        self._wire_audiences()

    def follow(self, session: bytes, followed: tuple[bytes, ...]) -> None:
        """Whom a session follows from now on."""
        for citizen in self.follows.pop(session, ()):
            followers = self._followers[citizen]
            del followers[session]
            if not followers:
                del self._followers[citizen]
        if followed:
            self.follows[session] = followed
            for citizen in followed:
                self._followers.setdefault(citizen, {})[session] = None

    def followers(self, citizen: bytes) -> Mapping[bytes, None]:
        """The sessions that follow a citizen, whether they may or not."""
        return self._followers.get(citizen, _NOBODY)

    def followers_outlet(self, citizen: bytes) -> Outlet:
        return Outlet(b"f" + citizen + self.sanctuary, self.slot, self._dirty)

    def keep_followers(self, citizen: bytes, outlet: Outlet | None) -> None:
        """The outlet to a citizen's followers, from now on; nil: nobody is in it."""
        if outlet is None:
            self._followed.pop(citizen, None)
        else:
            self._followed[citizen] = outlet

    def wire(self) -> None:
        """Find again which streams reach whom, after a gateway came or went."""
        streams = self.slot.streams
        for session, outlet in self.personal.items():
            stream = streams.get(self.seats[session].gateway)
            outlet.streams = [] if stream is None else [stream]
        for citizen in list(self._followed):
            self.presences[citizen].followers.wire()
        self._wire_audiences()

    def _wire_audiences(self) -> None:
        streams = self.slot.streams
        before = (bool(self.members.streams), bool(self.public.streams))
        self.members.streams = [streams[key] for key in self.seats_at if key in streams]
        self.public.streams = [streams[key] for key in self.watches if key in streams]
        if before != (bool(self.members.streams), bool(self.public.streams)):
            for presence in self.presences.values():
                presence.aim()

    def outlet_for(self, session: bytes) -> Outlet:
        """The session's own outlet."""
        outlet = self.personal.get(session)
        if outlet is None:
            key = b"s" + session + self.sanctuary
            outlet = self.personal[session] = Outlet(key, self.slot, self._dirty)
            stream = self.slot.streams.get(self.seats[session].gateway)
            outlet.streams = [] if stream is None else [stream]
        return outlet

    def stream_of(self, session: bytes) -> Stream | None:
        """The stream that reaches a session now."""
        return self.slot.streams.get(self.seats[session].gateway)

    def settle(self) -> None:
        """A barrier: all that waits for this room's audiences goes onto the streams."""
        self.settle_members()
        for outlet in self._followed.values():
            outlet.settle()

    def settle_members(self) -> None:
        """As `settle`, but for what waits for followers: a barrier for one citizen settles its own."""
        self.members.settle()
        self.public.settle()
        for outlet in self.personal.values():
            outlet.settle()

    def deny(self, session: bytes, citizen: bytes, outlet: Outlet | None = None) -> None:
        """From the next settlement on the session gets nothing of the citizen from the members', or from
        another outlet.
        """
        deny = (outlet or self.members).deny
        at = deny.setdefault(self.seats[session].gateway, {})
        at[citizen] = (*at.get(citizen, ()), DenyPair(session, citizen))

    def allow(self, session: bytes, citizen: bytes, outlet: Outlet | None = None) -> None:
        """Take the deny pair back."""
        deny = (outlet or self.members).deny
        gateway = self.seats[session].gateway
        at = deny[gateway]
        at[citizen] = tuple(pair for pair in at[citizen] if pair.session != session)
        if not at[citizen]:
            del at[citizen]
            if not at:
                del deny[gateway]

    def outgrown(self) -> bool | None:
        """Whether closeness has to change; None: it stays."""
        policy = self.policy
        if policy is None or policy.kind is not Kind.COMMONS:
            return None if self.is_close else False
        if self.is_close and self.speakers > policy.close_limit:
            return True
        if not self.is_close and self.speakers <= policy.close_back:
            return False
        return None

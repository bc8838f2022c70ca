"""Followers of one citizen in one room: which sessions get it by an audience of their own.

A session gets a citizen by one audience only. While the followers' tier is the higher one, those who
follow and may are taken out of the members' audience for this citizen and are in this one instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.fanout.core.coarse import HOLD_NS, Face
from services.fanout.core.views import STRIKE_BYTES, RandomBytes, View
from shared.contracts.fanout import DepartFollowers, EnterFollowers, Segment, Strike
from shared.contracts.records import Tier
from shared.identifiers import MonotonicNs

if TYPE_CHECKING:
    from services.fanout.core.lifts import Lift
    from services.fanout.core.presences import Presence

_OPERATION_BYTES = 64
_SEGMENT_BYTES = 24


class Followers:
    """The audience, its view, and who is in it. Who may be is decided elsewhere."""

    __slots__ = ("_presence", "_random_bytes", "sessions", "view")

    def __init__(self, presence: Presence, random_bytes: RandomBytes) -> None:
        self._presence = presence
        self._random_bytes = random_bytes
        room = presence.room
        self.view = View(presence, room.followers_outlet(presence.citizen), random_bytes)
        self.sessions: dict[bytes, None] = {}

    def begin(self, form: Tier) -> None:
        """The first form: nobody was shown anything yet."""
        self.view.begin(form)

    def become(self, form: Tier, now_ns: MonotonicNs) -> bool:
        """End the old form for everybody, and take up the new one with nobody in it yet; each is let
        in behind this. True: somebody sees less.
        """
        view, before = self.view, self.view.form
        if form is before:
            return False
        had_somebody = bool(self.sessions)
        if had_somebody:
            view.strike()
        for session in list(self.sessions):
            self.let_out(session)
        members = self._presence.members
        if had_somebody or members.form is not Tier.WITHHELD:
            view.dark_until_ns = now_ns + HOLD_NS
        view.form, view.shown, view.face, view.stale = form, False, None, {}
        if form is Tier.FULL:
            # those who come over from the members hold what the members were shown, no less, no more
            is_seamless = members.form is Tier.FULL
            strands = self._presence.strands.values()
            said = {strand.id: strand.said for strand in strands}
            view.stale = dict(members.stale) if is_seamless else said
        elif form is Tier.COARSE:
            view.face = Face(max(now_ns, view.dark_until_ns), self._random_bytes)
        return had_somebody and form < before

    def let_in(
        self, session: bytes, *, is_seamless: bool = False, lift: Lift | None = None
    ) -> None:
        """`is_seamless`: it holds the open strands already, as a member at FULL."""
        presence, view = self._presence, self.view
        self.sessions[session] = None
        self.wire()
        segments: tuple[Segment, ...] = ()
        if view.form is Tier.FULL and presence.strands:
            view.shown = True
            if presence.is_held:
                presence.unshown |= not is_seamless
            elif not is_seamless:
                segments = tuple(view.strands(lift))
        elif view.face is not None and view.face.message is not None and not presence.is_held:
            segments = (Segment(presence.citizen, view.face.message),)
        stream = presence.room.stream_of(session)
        if stream is not None and presence.room.slot.live:
            size = sum(len(segment.message) + _SEGMENT_BYTES for segment in segments)
            sanctuary, citizen = presence.room.sanctuary, presence.citizen
            enter = EnterFollowers(session, sanctuary, citizen, segments)
            stream.add(enter, _OPERATION_BYTES + size)

    def let_out(self, session: bytes) -> None:
        """It gets nothing more by this audience. What it must not see was struck before."""
        presence = self._presence
        self.forget(session)
        stream = presence.room.stream_of(session)
        if stream is not None and presence.room.slot.live:
            depart = DepartFollowers(session, presence.room.sanctuary, presence.citizen)
            stream.add(depart, _OPERATION_BYTES)

    def strike(self, session: bytes) -> bool:
        """Strike the form for one of them. True: it saw something."""
        if self.view.form is Tier.WITHHELD:
            return False
        stream = self._presence.room.stream_of(session)
        if stream is not None:
            key, notice = self.view.outlet.key, self.view.notice()
            stream.add(Strike(self._presence.citizen, key, session, notice, 0), STRIKE_BYTES)
        return True

    def forget(self, session: bytes) -> None:
        """It is out, and its gateway knows."""
        del self.sessions[session]
        self.wire()

    def wire(self) -> None:
        """Find again which streams reach them, after one of them, or a gateway, came or went."""
        room = self._presence.room
        gateways = {room.seats[session].gateway: None for session in self.sessions}
        outlet = self.view.outlet
        outlet.streams = [room.slot.streams[key] for key in gateways if key in room.slot.streams]
        room.keep_followers(self._presence.citizen, outlet if self.sessions else None)
        self._presence.aim()

    def settle(self) -> None:
        self.view.outlet.settle()

"""Citizens in rooms: their open strands, what each audience is shown of them, and each change of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.fanout.core.coarse import HOLD_NS, Face
from services.fanout.core.routing import NOWHERE, Route
from shared.codec import encode
from shared.contracts.client import StrandShown, Struck
from shared.contracts.fanout import Segment, StrandNumber, Strike
from shared.contracts.ingest import SigEntry
from shared.contracts.records import Signed, Tier
from shared.identifiers import MonotonicNs

if TYPE_CHECKING:
    from services.fanout.core.consents import Consent
    from services.fanout.core.rooms import Outlet, Room

RandomBytes = Callable[[int], bytes]

UNSEALED_MAX = 512
"""Bodies of one strand kept for the feeds until their seals come; then the older half goes. The full
rate makes 128 a second, and a strand whose seal is 2 s late has ended."""
FIELD = 1
RECORD = 2
_STRIKE_BYTES = 128


class Strand:
    """An open strand: what a viewer at `full` holds of it, and what waits."""

    __slots__ = (
        "at_ns",
        "blocked",
        "body",
        "epoch",
        "held",
        "id",
        "next_seq",
        "opening",
        "prefix",
        "presence",
        "seal",
        "unsealed",
    )

    def __init__(self, strand: bytes, presence: Presence, opening: Signed, epoch: int) -> None:
        self.id = strand
        self.presence = presence
        self.opening = opening
        self.prefix = b"\x93\xa6sample\xc4\x20" + strand
        """`SampleShown` up to its body, encoded."""
        self.next_seq = 0
        self.body: bytes | None = None
        self.at_ns = 0
        """When the newest sample came."""
        self.seal: Signed | None = None
        self.epoch = epoch
        """The highest consent epoch its samples stated."""
        self.blocked = False
        """Entries wait in `held`: their consent epoch is not known, or their citizen is in doubt."""
        self.held: deque[tuple[int, SigEntry]] = deque()
        """(deadline, entry) in order."""
        self.unsealed: list[tuple[int, bytes, int]] = []
        """(number, body, the feeds it may go to: `FIELD`, `RECORD`), until its seal comes."""


class View:
    """What one audience is shown of one citizen."""

    __slots__ = (
        "_presence",
        "_random_bytes",
        "dark_until_ns",
        "face",
        "form",
        "outlet",
        "shown",
        "stale",
    )

    def __init__(self, presence: Presence, outlet: Outlet, random_bytes: RandomBytes) -> None:
        self._presence = presence
        self._random_bytes = random_bytes
        self.outlet = outlet
        self.form = Tier.WITHHELD
        self.stale: dict[bytes, tuple[bytes | None, Signed | None]] = {}
        """Strand → its newest sample and seal when the form began: what was said before a grant is
        not shown under it."""
        self.shown = False
        """Whether the audience was shown a strand."""
        self.face: Face | None = None
        self.dark_until_ns = 0
        """No new pseudonym before then, so that an end and a beginning do not meet."""

    def become(self, form: Tier, now_ns: MonotonicNs) -> bool:
        """Strike the old form, begin the new one. True: it is a narrowing."""
        before = self.form
        if form is before:
            return False
        if before is not Tier.WITHHELD:
            self.strike()
            self.dark_until_ns = now_ns + HOLD_NS
        self.form = form
        self.shown = False
        self.face = None
        self.stale = {}
        if form is Tier.FULL:
            strands = self._presence.strands.values()
            self.stale = {strand.id: (strand.body, strand.seal) for strand in strands}
            self.show(self.outlet)
        elif form is Tier.COARSE:
            self.face = Face(max(now_ns, self.dark_until_ns), self._random_bytes)
        return form < before

    def begin(self, form: Tier) -> None:
        """The first form of a citizen that nobody was shown anything of yet."""
        self.form = form
        self.face = Face(-1, self._random_bytes) if form is Tier.COARSE else None

    def notice(self) -> bytes:
        """What blanks the citizen for those who see it in this form; empty if nobody does."""
        room = self._presence.room
        if self.form is Tier.FULL and self.shown:
            return encode(Struck(room.sanctuary, self._presence.citizen, None))
        if self.face is not None:
            return self.face.struck(room.sanctuary)
        return b""

    def strike(self) -> None:
        """Strike the audience. Those who are excepted must not learn of somebody they do not see."""
        presence, key, notice = self._presence, self.outlet.key, self.notice()
        room = presence.room
        is_members = self is presence.members
        one_by_one = bool(notice) and is_members and bool(presence.excepted)
        strike = Strike(presence.citizen, key, None, b"" if one_by_one else notice, 0)
        for stream in self.outlet.streams:
            stream.add(strike, _STRIKE_BYTES)
            if one_by_one:
                for session in room.seats_at[stream.gateway, stream.incarnation]:
                    if session not in presence.excepted:
                        stream.add(Strike(presence.citizen, key, session, notice, 0), _STRIKE_BYTES)

    def strands(self) -> list[Segment]:
        """The citizen's open strands as this audience holds them."""
        return [
            Segment(self._presence.citizen, self.strand(strand))
            for strand in self._presence.strands.values()
        ]

    def strand(self, strand: Strand) -> bytes:
        """One strand. A sample or seal from before this form began is not part of it."""
        body, seal = self.stale.get(strand.id, (None, None))
        return encode(
            StrandShown(
                self._presence.room.sanctuary,
                strand.id,
                self._presence.citizen,
                strand.opening,
                strand.next_seq,
                None if strand.body is body else strand.body,
                None if strand.seal is seal else strand.seal,
            )
        )

    def show(self, outlet: Outlet) -> None:
        """Show the open strands in band, or remember to."""
        presence = self._presence
        if not presence.strands:
            return
        self.shown = True
        if presence.is_held:
            presence.unshown = True
            return
        for segment in self.strands():
            outlet.put(segment)


class Presence:
    """One citizen in one room."""

    __slots__ = (
        "_ends",
        "_random_bytes",
        "citizen",
        "consent",
        "ended_ns",
        "excepted",
        "feeds",
        "full",
        "members",
        "newest",
        "public",
        "room",
        "route",
        "strands",
        "suspended",
        "unshown",
    )

    def __init__(self, consent: Consent, room: Room, random_bytes: RandomBytes) -> None:
        self.citizen = consent.citizen
        self.consent = consent
        self.room = room
        self._random_bytes = random_bytes
        self.strands: dict[bytes, Strand] = {}
        self.route: Route = NOWHERE
        self.members = View(self, room.members, random_bytes)
        self.public = View(self, room.public, random_bytes)
        self.excepted: dict[bytes, View] = {}
        """Session → what it is shown instead of the members' form."""
        self.full: tuple[Outlet, ...] = ()
        """Where a sample goes at once."""
        self.feeds = 0
        """`FIELD` and `RECORD`, as the route allows."""
        self.newest: tuple[int, bytes | None] = (-1, None)
        """When the newest sample of a strand that has ended came, and its body."""
        self.ended_ns = 0
        """Since when no strand is open; what was shown is remembered for a while."""
        self.suspended = False
        """A gateway where the citizen has a session may have lost a withdrawal."""
        self._ends: list[bytes] = []
        self.unshown = False
        """Strands wait to be shown again once nothing is in doubt."""

    def begin(self, route: Route) -> None:
        """The first decision: nobody was shown anything, so there is nothing to strike."""
        self.route = route
        self.members.begin(route.members)
        self.public.begin(route.public)
        for session, form in route.limits.items():
            self.except_(session).begin(form)
        self._share_faces()
        self._decided()

    def except_(self, session: bytes) -> View:
        """Take a session out of the members' audience for this citizen."""
        view = View(self, self.room.outlet_for(session), self._random_bytes)
        self.excepted[session] = view
        self.room.deny(session, self.citizen)
        return view

    def follow(self, route: Route, now_ns: MonotonicNs) -> bool:
        """Change what is shown to what the new route allows. True: somebody sees less now."""
        if route == self.route:
            return False
        room = self.room
        room.settle()
        self.route = route
        members = self.members
        narrowed = False
        for session in route.limits:
            if session not in self.excepted:
                narrowed |= self._strike_one(session)
                view = self.except_(session)
                if members.form is not Tier.WITHHELD:
                    view.dark_until_ns = now_ns + HOLD_NS
        narrowed |= members.become(route.members, now_ns)
        narrowed |= self.public.become(route.public, now_ns)
        for session, form in route.limits.items():
            narrowed |= self.excepted[session].become(form, now_ns)
        room.settle()
        for session in [session for session in self.excepted if session not in route.limits]:
            if members.form is Tier.COARSE:
                # the members' pseudonym was struck for it and must not come back: it keeps its own
                self.excepted[session].become(Tier.COARSE, now_ns)
            else:
                self._readmit(session, now_ns)
        self._share_faces()
        self._decided()
        return narrowed

    def enter(self, session: bytes, form: Tier) -> None:
        """A session arrives, and whoever it belongs to may see this much; it was shown nothing yet."""
        person = self.room.seats[session].citizen
        if form < self.members.form:
            self.route.limits[session] = form
        elif self.members.form is not Tier.COARSE or not any(
            self.room.seats[other].citizen == person for other in self.excepted
        ):
            return
        self.except_(session).begin(form)
        self._share_faces()

    def depart(self, session: bytes) -> None:
        """A session is gone, with whatever was its own."""
        self.route.limits.pop(session, None)
        if self.excepted.pop(session, None) is not None:
            self.room.allow(session, self.citizen)

    def aim(self) -> None:
        """Find again where a sample goes at once: nowhere if nobody is there."""
        self.full = tuple(
            view.outlet
            for view in (self.members, self.public)
            if view.form is Tier.FULL and view.outlet.streams
        )

    def view_of(self, session: bytes) -> View:
        return self.excepted.get(session, self.members)

    def views(self) -> list[View]:
        return [self.members, self.public, *self.excepted.values()]

    def is_visible(self) -> bool:
        """Whether anybody is still shown anything of the citizen here."""
        return any(view.form is not Tier.WITHHELD for view in self.views())

    def spoken(self) -> tuple[int, bytes | None]:
        """When the newest sample came, and its body."""
        newest = self.newest
        for strand in self.strands.values():
            if strand.at_ns > newest[0] and strand.body is not None:
                newest = (strand.at_ns, strand.body)
        return newest

    def numbers(self) -> list[StrandNumber]:
        return [StrandNumber(strand.id, strand.next_seq) for strand in self.strands.values()]

    @property
    def is_held(self) -> bool:
        """Whether nothing of the citizen may be shown just now."""
        return self.suspended or self.room.slot.holding

    def tell(self, message: bytes) -> None:
        """To everyone at `full`. While the citizen is held only an end is remembered: whatever else
        happened is in the strands that are shown afterwards.
        """
        if self.is_held:
            self.unshown = True
            return
        segment = Segment(self.citizen, message)
        for outlet in self.full:
            outlet.put(segment)

    def tell_end(self, message: bytes) -> None:
        """A strand is over: whoever sees it must hear of it, sooner or later."""
        if self.is_held:
            self.unshown = True
            self._ends.append(message)
        else:
            self.tell(message)

    def show_again(self) -> None:
        """Show what could not be shown while something was in doubt, if it no longer is."""
        if not self.unshown or self.is_held:
            return
        self.room.settle()
        self.unshown = False
        ends, self._ends = self._ends, []
        for message in ends:
            self.tell(message)
        for view in (self.members, self.public):
            if view.form is Tier.FULL:
                view.show(view.outlet)
        self.room.settle()

    def _share_faces(self) -> None:
        """A person sees one pseudonym, on however many sessions."""
        faces: dict[bytes, Face] = {}
        for session, view in self.excepted.items():
            if view.face is not None:
                view.face = faces.setdefault(self.room.seats[session].citizen, view.face)

    def _strike_one(self, session: bytes) -> bool:
        """Strike the members' form for one session. True: it saw something."""
        if self.members.form is Tier.WITHHELD:
            return False
        stream = self.room.stream_of(session)
        if stream is not None:
            stream.add(
                Strike(self.citizen, self.room.members.key, session, self.members.notice(), 0),
                _STRIKE_BYTES,
            )
        return True

    def _readmit(self, session: bytes, now_ns: MonotonicNs) -> None:
        """A session is no longer excepted: its own form ends, it gets what the members hold."""
        outlet = self.room.outlet_for(session)
        self.excepted[session].become(Tier.WITHHELD, now_ns)
        del self.excepted[session]
        self.room.allow(session, self.citizen)
        if self.members.form is Tier.FULL:
            self.members.show(outlet)
        outlet.settle()

    def _decided(self) -> None:
        feeds = (FIELD if self.route.field else 0) | (RECORD if self.route.record else 0)
        if self.feeds & ~feeds:
            for strand in self.strands.values():
                strand.unsealed = [
                    (number, body, allowed & feeds)
                    for number, body, allowed in strand.unsealed
                    if allowed & feeds
                ]
        self.feeds = feeds
        self.aim()

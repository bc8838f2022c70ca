"""Citizens in rooms: their open strands, who is shown them in which view, and each change of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.fanout.core import lifts
from services.fanout.core.coarse import HOLD_NS, Face
from services.fanout.core.lifts import Lift
from services.fanout.core.routing import NOWHERE, Route
from services.fanout.core.views import STRIKE_BYTES, RandomBytes, View
from shared.contracts.fanout import Segment, StrandNumber, Strike
from shared.contracts.records import Signed, Tier
from shared.identifiers import MonotonicNs

if TYPE_CHECKING:
    from services.fanout.core.consents import Consent
    from services.fanout.core.rooms import Outlet, Room
    from services.fanout.core.strands import Strand

UNSEALED_MAX = 512
"""Bodies of one strand kept for the feeds until their seals come; then the older half goes. The full
rate makes 128 a second, and a strand whose seal is 2 s late has ended."""
FIELD = 1
RECORD = 2


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
        "lifts",
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
        self.lifts: dict[bytes, Lift] = {}
        """Person → what it is not shown of what was said while it might see less."""
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
        for session, form in self._limits(route).items():
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
        self._note_lifts(route, now_ns)
        self.route = route
        limits = self._limits(route)
        members = self.members
        narrowed = False
        for session in limits:
            if session not in self.excepted:
                narrowed |= self._strike_one(session)
                view = self.except_(session)
                if members.form is not Tier.WITHHELD:
                    view.dark_until_ns = now_ns + HOLD_NS
        narrowed |= members.become(route.members, now_ns)
        narrowed |= self.public.become(route.public, now_ns)
        for session, form in limits.items():
            narrowed |= self.excepted[session].become(form, now_ns)
        room.settle()
        for session in [session for session in self.excepted if session not in limits]:
            if members.form is Tier.COARSE:
                # the members' pseudonym was struck for it and must not come back: it keeps its own
                self.excepted[session].become(Tier.COARSE, now_ns)
            else:
                self._readmit(session, now_ns)
        self._share_faces()
        self._decided()
        return narrowed

    def enter(self, session: bytes) -> None:
        """A session arrives, and whoever it belongs to may see this much; it was shown nothing yet."""
        person = self.room.seats[session].citizen
        form = self.route.form_for(person)
        lift = self.lifts.get(person)
        if form is self.members.form and (
            form is not Tier.COARSE or (lift is None and not self._has_excepted(person))
        ):
            return
        self.except_(session).begin(form, -1 if lift is None else lift.at_ns)
        self._share_faces()

    def depart(self, session: bytes) -> None:
        """A session is gone, with whatever was its own."""
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
        self.announce(*self.strands.values())
        self.room.settle()

    def announce(self, *strands: Strand) -> None:
        """Show open strands to everyone at `full`, or remember to."""
        views = [view for view in (self.members, self.public) if view.form is Tier.FULL]
        if not views or not strands:
            return
        for view in views:
            view.shown = True
        if self.is_held:
            self.unshown = True
            return
        apart = self._apart(strands) if self.lifts and self.members in views else {}
        room = self.room
        if apart:
            room.members.settle()
            for session in apart:
                room.deny(session, self.citizen)
        for view in views:
            for strand in strands:
                view.outlet.put(Segment(self.citizen, view.strand(strand)))
        if apart:
            room.members.settle()
        for session, lift in apart.items():
            room.allow(session, self.citizen)
            outlet = room.outlet_for(session)
            for strand in strands:
                outlet.put(Segment(self.citizen, self.members.strand(strand, lift)))
            outlet.settle()

    def hear_late(self, strand: Strand, body: bytes | None, seal: Signed | None) -> None:
        """Newer ones than ours, found in ingest's openings: who was not shown ours is not shown these."""
        befores = [self.members.stale, self.public.stale]
        befores += [lift.before for lift in self.lifts.values()]
        lifts.replace(befores, strand, (body, seal))
        strand.body, strand.seal = body, seal

    def lift(self, person: bytes, strand: Strand, now_ns: MonotonicNs) -> None:
        """What a strand holds by now may have been said while this person was excepted."""
        lift = self.lifts.get(person)
        if lift is None:
            lift = self.lifts[person] = Lift(now_ns, ())
        lift.at_ns = now_ns
        lift.before[strand.id] = strand.said

    def forget_lifts(self, now_ns: MonotonicNs) -> None:
        """Drop those that hide nothing any more."""
        strands = self.strands.values()
        for person in [who for who, lift in self.lifts.items() if lift.is_over(strands, now_ns)]:
            del self.lifts[person]

    def _limits(self, route: Route) -> dict[bytes, Tier]:
        """Session → its form, for those who get less than the members."""
        citizens = self.room.citizens
        return {
            session: form
            for person, form in route.persons.items()
            for session in citizens.get(person, ())
        }

    def _note_lifts(self, route: Route, now_ns: MonotonicNs) -> None:
        """For whom an exception became milder, or an end; those who are not here may come later."""
        for person in {**self.route.persons, **route.persons}:
            if route.form_for(person) > self.route.form_for(person):
                self.lifts[person] = Lift(now_ns, self.strands.values())

    def _has_excepted(self, person: bytes) -> bool:
        seats = self.room.seats
        return any(seats[session].citizen == person for session in self.excepted)

    def _apart(self, strands: tuple[Strand, ...]) -> dict[bytes, Lift]:
        """Members' sessions from whom something of these strands is hidden."""
        citizens = self.room.citizens
        return {
            session: lift
            for person, lift in self.lifts.items()
            if any(lift.hides(strand) for strand in strands)
            for session in citizens.get(person, ())
            if session not in self.excepted
        }

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
                STRIKE_BYTES,
            )
        return True

    def _readmit(self, session: bytes, now_ns: MonotonicNs) -> None:
        """A session is no longer excepted: its own form ends, it gets what the members hold, without
        what was said before.
        """
        outlet = self.room.outlet_for(session)
        self.excepted[session].become(Tier.WITHHELD, now_ns)
        del self.excepted[session]
        self.room.allow(session, self.citizen)
        if self.members.form is Tier.FULL:
            self.members.show(outlet, self.lifts.get(self.room.seats[session].citizen))
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

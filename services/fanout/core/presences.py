"""Citizens in rooms: their open strands, who is shown them in which view, and each change of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.fanout.core import lifts
from services.fanout.core.coarse import HOLD_NS, Face
from services.fanout.core.followers import Followers
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
        "followers",
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
        self.followers = Followers(self, random_bytes)
        self.excepted: dict[bytes, View] = {}
        """Session → what it alone is shown, instead of the members' or the followers' form."""
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
        self.followers.begin(route.followers_apart)
        alone, following = self._apart_of(route)
        for session, form in alone.items():
            self.room.deny(session, self.citizen)
            self.except_(session).begin(form)
        for session in following:
            self.room.deny(session, self.citizen)
            self.followers.let_in(session)
        self._share_faces()
        self._decided()

    def except_(self, session: bytes) -> View:
        """Give a session, which the members' audience does not reach, a view of its own."""
        view = View(self, self.room.outlet_for(session), self._random_bytes)
        self.excepted[session] = view
        return view

    def follow(self, route: Route, now_ns: MonotonicNs) -> bool:
        """Change what is shown to what the new route allows. True: somebody sees less now."""
        if route == self.route:
            return False
        self._note_lifts(route, now_ns)
        return self._turn(route, now_ns)

    def heed(self, now_ns: MonotonicNs) -> None:
        """A session follows the citizen now, or does not any more."""
        self._turn(self.route, now_ns)

    def _turn(self, route: Route, now_ns: MonotonicNs) -> bool:
        """Every session gets the citizen by one audience before this and by one behind it. Whoever
        changes audience at FULL goes over without a seam; everybody else is struck first.
        """
        room, members, followers = self.room, self.members, self.followers
        self._settle()
        self.route = route
        alone, following = self._apart_of(route)
        were_apart = {**self.excepted, **followers.sessions}
        were_shown = members.form is not Tier.WITHHELD
        narrowed = False
        over_to_members = [
            session
            for session in followers.sessions
            if session not in following
            and session not in alone
            and followers.view.form is route.members is Tier.FULL
        ]
        over_to_followers = [
            session
            for session in following
            if session not in were_apart and members.form is route.followers_apart is Tier.FULL
        ]
        for session in over_to_members:
            # shown again with everybody else, not struck: it misses no number and gets none twice
            followers.let_out(session)
            room.allow(session, self.citizen)
        darkened = [
            session
            for session in followers.sessions
            if followers.view.form is not route.followers_apart or session not in following
        ]
        if followers.view.form is route.followers_apart:
            for session in darkened:
                narrowed |= followers.strike(session)
                followers.let_out(session)
        else:
            narrowed |= followers.become(route.followers_apart, now_ns)
        for session in over_to_followers:
            room.deny(session, self.citizen)
            followers.let_in(session, is_seamless=True)
        for session in (*alone, *following):
            if session not in were_apart and session not in followers.sessions:
                narrowed |= self._strike_one(session)
                room.deny(session, self.citizen)
        for session in alone:
            if session not in self.excepted:
                view = self.except_(session)
                if were_shown or session in darkened:
                    view.dark_until_ns = now_ns + HOLD_NS
        narrowed |= members.become(route.members, now_ns)
        narrowed |= self.public.become(route.public, now_ns)
        for session, form in alone.items():
            narrowed |= self.excepted[session].become(form, now_ns)
        self._settle()
        for session in [session for session in self.excepted if session not in alone]:
            narrowed |= self.excepted[session].become(Tier.WITHHELD, now_ns)
            self.excepted.pop(session).outlet.settle()
            if session not in following:
                self._readmit(session)
        for session in following:
            if not self.is_apart(session):
                lift = self.lifts.get(room.seats[session].citizen)
                followers.let_in(session, lift=lift)
        for session in darkened:
            if not self.is_apart(session):
                self._readmit(session)
        faces = {session: view.face for session, view in self.excepted.items()}
        self._share_faces()
        for session, view in self.excepted.items():
            face = view.face
            if face is not faces[session] and face is not None and face.message is not None:
                view.outlet.put(Segment(self.citizen, face.message))
        self._decided()
        return narrowed

    def enter(self, session: bytes) -> None:
        """A session arrives, and whoever it belongs to may see this much; it was shown nothing yet."""
        person = self.room.seats[session].citizen
        form = self.route.form_for(person)
        lift = self.lifts.get(person)
        face = self.members.face
        is_marked = lift is not None or (face is not None and person in face.hidden_from)
        if form is self.members.form and (
            form is not Tier.COARSE or not (is_marked or self._has_apart(person))
        ):
            return
        self.room.deny(session, self.citizen)
        self.except_(session).begin(form, -1 if lift is None else lift.at_ns)
        self._share_faces()

    def depart(self, session: bytes) -> None:
        """A session is gone, with whatever was its own."""
        if session in self.followers.sessions:
            self.followers.forget(session)
            self.room.allow(session, self.citizen)
        if self.excepted.pop(session, None) is not None:
            self.room.allow(session, self.citizen)

    def end(self) -> None:
        """The citizen is forgotten here: nobody is shown it in any form of its own any more."""
        for session in list(self.followers.sessions):
            self.followers.let_out(session)
            self.room.allow(session, self.citizen)
        for session in list(self.excepted):
            self.depart(session)

    def aim(self) -> None:
        """Find again where a sample goes at once: nowhere if nobody is there."""
        self.full = tuple(
            view.outlet
            for view in self._audiences()
            if view.form is Tier.FULL and view.outlet.streams
        )

    def view_of(self, session: bytes) -> View:
        if session in self.followers.sessions:
            return self.followers.view
        return self.excepted.get(session, self.members)

    def views(self) -> list[View]:
        return [*self._audiences(), *self.excepted.values()]

    def is_apart(self, session: bytes) -> bool:
        """Whether the members' audience does not reach the session for this citizen."""
        return session in self.excepted or session in self.followers.sessions

    def is_visible(self) -> bool:
        """Whether anybody is still shown anything of the citizen here."""
        views = [self.members, self.public, *self.excepted.values()]
        if self.followers.sessions:
            views.append(self.followers.view)
        return any(view.form is not Tier.WITHHELD for view in views)

    def _audiences(self) -> tuple[View, View, View]:
        return (self.members, self.public, self.followers.view)

    def _settle(self) -> None:
        """A barrier for this citizen: what waits goes onto the streams."""
        self.room.settle_members()
        self.followers.settle()

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
        self._settle()
        self.unshown = False
        ends, self._ends = self._ends, []
        for message in ends:
            self.tell(message)
        self.announce(*self.strands.values())
        self._settle()

    def announce(self, *strands: Strand) -> None:
        """Show open strands to everyone at `full`, or remember to."""
        views = [view for view in self._audiences() if view.form is Tier.FULL]
        if not views or not strands:
            return
        for view in views:
            view.shown = True
        if self.is_held:
            self.unshown = True
            return
        for view in views:
            self._announce(view, strands)

    def _announce(self, view: View, strands: tuple[Strand, ...]) -> None:
        room, shared = self.room, view.outlet
        apart = self._hidden_from(view, strands) if self.lifts else {}
        if apart:
            shared.settle()
            for session in apart:
                room.deny(session, self.citizen, shared)
        for strand in strands:
            shared.put(Segment(self.citizen, view.strand(strand)))
        if apart:
            shared.settle()
        for session, lift in apart.items():
            room.allow(session, self.citizen, shared)
            outlet = room.outlet_for(session)
            for strand in strands:
                outlet.put(Segment(self.citizen, view.strand(strand, lift)))
            outlet.settle()

    def hear_late(self, strand: Strand, body: bytes | None, seal: Signed | None) -> None:
        """Newer ones than ours, found in ingest's openings: who was not shown ours is not shown these."""
        befores = [view.stale for view in self._audiences()]
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

    def _apart_of(self, route: Route) -> tuple[dict[bytes, Tier], dict[bytes, None]]:
        """The sessions which the members' audience does not reach: those with a form of their own,
        and those who get the followers'.
        """
        room, shown = self.room, route.followers_apart
        alone = {
            session: form
            for person, form in route.persons.items()
            for session in room.citizens.get(person, ())
        }
        following: dict[bytes, None] = {}
        for session in room.followers(self.citizen):
            person = room.seats[session].citizen
            form = route.approved.get(person, Tier.WITHHELD)
            if form <= route.form_for(person):
                continue
            alone.pop(session, None)
            if form is not shown or (form is Tier.COARSE and self._has_own_face(session)):
                alone[session] = form
            else:
                following[session] = None
        if route.members is Tier.COARSE:
            # a person knows one pseudonym, and none that was struck for it: who has a session that is
            # apart, or had, sees the members' on no session
            seats, face = room.seats, self.members.face
            apart = (*self.excepted, *self.followers.sessions, *alone, *following)
            persons = dict.fromkeys(seats[session].citizen for session in apart)
            for person in {**persons, **(face.hidden_from if face is not None else {})}:
                for session in room.citizens.get(person, ()):
                    if session not in alone and session not in following:
                        alone[session] = Tier.COARSE
        return alone, following

    def _has_own_face(self, session: bytes) -> bool:
        """Whether a follower at COARSE keeps, or gets, a pseudonym that is not the other followers'."""
        seats, sessions = self.room.seats, self.followers.sessions
        person = seats[session].citizen
        if any(seats[other].citizen == person for other in sessions):
            return False
        return person in self.lifts or self._has_apart(person)

    def _note_lifts(self, route: Route, now_ns: MonotonicNs) -> None:
        """For whom an exception became milder, or an end, or who may follow from now on; those who are
        not here may come later. What all followers are shown from now on is the audience's to know.
        """
        before = self.route
        persons = {**before.persons, **route.persons}
        persons |= {
            person: form
            for person, form in route.approved.items()
            if before.approved.get(person, Tier.WITHHELD) is not before.followers
        }
        for person in persons:
            if route.most_for(person) > before.most_for(person):
                self.lifts[person] = Lift(now_ns, self.strands.values())

    def _has_apart(self, person: bytes) -> bool:
        seats = self.room.seats
        apart = (*self.excepted, *self.followers.sessions)
        return any(seats[session].citizen == person for session in apart)

    def _hidden_from(self, view: View, strands: tuple[Strand, ...]) -> dict[bytes, Lift]:
        """Sessions of an audience, of members or followers, from whom something of these strands is
        hidden.
        """
        citizens = self.room.citizens
        return {
            session: lift
            for person, lift in self.lifts.items()
            if any(lift.hides(strand) for strand in strands)
            for session in citizens.get(person, ())
            if view is not self.public and view is self.view_of(session)
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
        face = self.members.face
        if face is not None and face.message is not None:
            face.hidden_from[self.room.seats[session].citizen] = None
        stream = self.room.stream_of(session)
        if stream is not None:
            stream.add(
                Strike(self.citizen, self.room.members.key, session, self.members.notice(), 0),
                STRIKE_BYTES,
            )
        return True

    def _readmit(self, session: bytes) -> None:
        """The members' audience reaches a session again, not at COARSE: it gets what the members hold,
        without what was said before.
        """
        outlet = self.room.outlet_for(session)
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

"""What one audience, or one excepted session, is shown of one citizen, and each change of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from services.fanout.core import lifts
from services.fanout.core.coarse import HOLD_NS, Face
from services.fanout.core.lifts import Lift, Said
from shared.codec import encode
from shared.contracts.client import StrandShown, Struck
from shared.contracts.fanout import Segment, Strike
from shared.contracts.records import Tier
from shared.identifiers import MonotonicNs

if TYPE_CHECKING:
    from services.fanout.core.presences import Presence
    from services.fanout.core.rooms import Outlet
    from services.fanout.core.strands import Strand

RandomBytes = Callable[[int], bytes]
STRIKE_BYTES = 128


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
        self.stale: dict[bytes, Said] = {}
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
            self.stale = {strand.id: strand.said for strand in strands}
            self.show(self.outlet)
        elif form is Tier.COARSE:
            self.face = Face(max(now_ns, self.dark_until_ns), self._random_bytes)
        return form < before

    def begin(self, form: Tier, since_ns: int = -1) -> None:
        """The first form of a citizen that nobody here was shown anything of yet. A cell shows no
        sample that came by `since_ns`.
        """
        self.form = form
        self.face = Face(since_ns, self._random_bytes) if form is Tier.COARSE else None

    def notice(self) -> bytes:
        """What blanks the citizen for those who see it in this form; empty if nobody does."""
        room = self._presence.room
        if self.form is Tier.FULL and self.shown:
            return encode(Struck(room.sanctuary, self._presence.citizen, None))
        if self.face is not None:
            return self.face.struck(room.sanctuary)
        return b""

    def strike(self) -> None:
        """Strike the audience. Those who get another form must not learn of this one's end."""
        presence, key, notice = self._presence, self.outlet.key, self.notice()
        room = presence.room
        is_members = self is presence.members
        are_apart = bool(presence.excepted or presence.followers.sessions)
        one_by_one = bool(notice) and is_members and are_apart
        strike = Strike(presence.citizen, key, None, b"" if one_by_one else notice, 0)
        for stream in self.outlet.streams:
            stream.add(strike, STRIKE_BYTES)
            if one_by_one:
                for session in room.seats_at[stream.gateway, stream.incarnation]:
                    if not presence.is_apart(session):
                        stream.add(Strike(presence.citizen, key, session, notice, 0), STRIKE_BYTES)

    def strands(self, lift: Lift | None = None) -> list[Segment]:
        """The citizen's open strands as this audience, or one person in it, holds them."""
        presence = self._presence
        return [
            Segment(presence.citizen, self.strand(strand, lift))
            for strand in presence.strands.values()
        ]

    def strand(self, strand: Strand, lift: Lift | None = None) -> bytes:
        """One strand. A sample or seal from before this form began is not part of it, nor for one
        person what is from before its `lift`.
        """
        befores = (self.stale,) if lift is None else (self.stale, lift.before)
        body, seal = lifts.after(strand.said, *befores, strand=strand.id)
        presence = self._presence
        return encode(
            StrandShown(
                presence.room.sanctuary,
                strand.id,
                presence.citizen,
                strand.opening,
                strand.next_seq,
                body,
                seal,
            )
        )

    def show(self, outlet: Outlet, lift: Lift | None = None) -> None:
        """Show the open strands in band, or remember to."""
        presence = self._presence
        if not presence.strands:
            return
        self.shown = True
        if presence.is_held:
            presence.unshown = True
            return
        for segment in self.strands(lift):
            outlet.put(segment)

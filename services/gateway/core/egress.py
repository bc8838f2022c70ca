"""What waits to be written, and to whom: audiences, their segments, each viewer's own queue. Pure.

Bytes are prepared once for each audience and form. A viewer gets a frame of its own only while
it is owed something of its own: an answer, a snapshot, a batch with a deny pair, a backlog.

Everything that waits, waits as segments that know their citizen; so a strike finds it: in what is
pending, in the running sweep and in every own queue. A sweep hands out slices; between two slices
anything may happen, and the rest of the sweep is prepared anew.

Order for one viewer is order of arrival within each sanctuary: what is owed to all is moved behind
what is owed to it alone whenever it has a queue of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from services.gateway.core.effects import Write, WriteMany
from services.gateway.core.form import EventSnapshot, Form, Told, payload_of
from services.gateway.core.ladder import FALL_BYTES, Climber, Rung, conflate
from services.gateway.core.owed import (
    AnyOwed,
    AudienceQueue,
    Chunk,
    Handing,
    Owed,
    OwedEvents,
    OwedRung,
    OwedSnapshot,
    Round,
    Viewer,
    followers_key,
    is_followers,
    is_notice,
    members_key,
    public_key,
    session_key,
    whose,
)
from services.gateway.core.silence import Silences
from shared.codec import encode
from shared.contracts.client import Rung as RungTold
from shared.contracts.fanout import AudienceKey, DenyPair, Segment
from shared.identifiers import MonotonicNs, SessionId, slot_of

OWN_WRITE_BYTES = 16_384
"""At most so much is written to one viewer before it is asked whether it still keeps up: as much as
the kernel holds unsent (TCP_NOTSENT_LOWAT; design, section 4)."""
PENDING_BYTES_MAX = 4 * 1024 * 1024
"""An audience's queue between two flushes; more means that the process cannot keep up at all."""


class Egress:
    """All queues towards viewers. `too_slow`, `overflowed_slots` and `holders` are the caller's to act
    on; `silences` is told what goes out while it listens.
    """

    def __init__(self, *, backlog_bytes_max: int, silences: Silences | None = None) -> None:
        self._backlog_bytes_max = backlog_bytes_max
        self._fall_bytes = min(FALL_BYTES, backlog_bytes_max // 2)
        self._climbers: dict[SessionId, Climber] = {}
        """Viewers who could not keep up lately."""
        self._silences = silences or Silences()
        self._viewers: dict[SessionId, Viewer] = {}
        self._audiences: dict[AudienceKey, AudienceQueue] = {}
        self._of_slot: dict[int, dict[AudienceKey, AudienceQueue]] = {}
        self._dirty: dict[AudienceKey, AudienceQueue] = {}
        self._busy: dict[SessionId, Viewer] = {}
        """Viewers with a queue of their own, or paused."""
        self._own: list[Viewer] = []
        self._rounds: list[Round] = []
        self._stamp = 0
        self._turns = 0
        self.too_slow: dict[SessionId, None] = {}
        self.overflowed_slots: dict[int, None] = {}
        self.holders: dict[SessionId, None] = {}
        """Paused viewers whose transport still holds bytes of a citizen that was struck for them."""
        self._handing: Handing | None = None
        """What is being written just now."""
        self.flushes = 0
        self.messages_flushed = 0

    # ── viewers ──────────────────────────────────────────────────────────────────────────────────

    def add_viewer(
        self, session: SessionId, *, form: Form, greeting: bytes = b"", held: str = ""
    ) -> None:
        """`greeting` goes ahead of its first snapshot, and nothing ahead of that; `held` names what the
        viewer of an event stream has kept from before.
        """
        self._viewers[session] = Viewer(session, form=form, greeting=greeting, held=held)

    def has_begun(self, session: SessionId) -> bool:
        """Whether the session may be written to: it had its greeting, or needs none."""
        viewer = self._viewers.get(session)
        return viewer is not None and not viewer.greeting

    def has_kept(self, session: SessionId, snapshot: EventSnapshot) -> bool:
        """Whether what the viewer said it holds is just what the snapshot says there is. Asked once:
        after a gap nothing is recovered.
        """
        viewer = self._viewers.get(session)
        if viewer is None or not viewer.held:
            return False
        held, viewer.held = viewer.held, ""
        return held == snapshot.holdings.id

    def drop_viewer(self, session: SessionId) -> None:
        viewer = self._viewers.pop(session, None)
        if viewer is None:
            return
        for key in list(viewer.audiences):
            self._remove(viewer, key)
        viewer.owed.clear()
        self._busy.pop(session, None)
        self._climbers.pop(session, None)
        self.too_slow.pop(session, None)
        if self._silences.is_open and viewer.left:
            self._silences.go_out(viewer.left)  # how much of it, nobody knows
        self.holders.pop(session, None)

    def farewell(self, session: SessionId) -> Write | None:
        """The answers that a session about to be closed is still owed, if its transport takes them."""
        viewer = self._viewers.get(session)
        if viewer is None or viewer.is_paused:
            return None
        self._keep(viewer, lambda owed: owed.audience is None)
        return self._own_write(viewer, self._next_own(viewer)) if viewer.owed else None

    def pause(self, session: SessionId) -> None:
        """The transport took no more: what comes now waits here. Called amid the write that was too
        much, it tells whose bytes the transport keeps the rest of.
        """
        viewer = self._viewers.get(session)
        if viewer is not None:
            viewer.is_paused = True
            if self._handing is not None:
                viewer.left = dict.fromkeys(whose(self._handing))
            self._busy[session] = viewer

    def resume(self, session: SessionId) -> None:
        viewer = self._viewers.get(session)
        if viewer is not None:
            viewer.is_paused = False
            if self._silences.is_open:
                self._silences.go_out(viewer.left)
            viewer.left.clear()
            self.holders.pop(session, None)
            self._settle(viewer)

    def backlog_bytes(self) -> int:
        """What waits in viewers' own queues, all together."""
        return sum(viewer.owed_bytes for viewer in self._busy.values())

    def is_member(self, session: SessionId, key: AudienceKey) -> bool:
        audience = self._audiences.get(key)
        return audience is not None and session in audience.members

    def members(self, key: AudienceKey) -> list[SessionId]:
        audience = self._audiences.get(key)
        return list(audience.members) if audience is not None else []

    def sessions_of_slot(self, slot: int) -> list[tuple[SessionId, AudienceKey]]:
        """Every (session, audience) of the slot, in order of entry."""
        return [
            (session, audience.key)
            for audience in self._of_slot.get(slot, {}).values()
            for session in audience.members
        ]

    # ── what arrives ─────────────────────────────────────────────────────────────────────────────

    def owe(self, session: SessionId, message: bytes) -> None:
        """An answer for one session."""
        viewer = self._viewers.get(session)
        if viewer is not None and message and not viewer.greeting:
            self._append(viewer, Owed(viewer.form_of(message)))

    def owe_notice(self, session: SessionId, message: bytes, key: AudienceKey, slot: int) -> None:
        """A notice (`gap`, `struck`) that belongs to an audience's stream."""
        viewer = self._viewers.get(session)
        if viewer is not None and message and not viewer.greeting:
            self._append(viewer, Owed(viewer.form_of(message), audience=key, slot=slot))

    def enter(
        self,
        session: SessionId,
        key: AudienceKey,
        slot: int,
        segments: Iterable[Segment],
        *,
        recovered: bool,
        events: EventSnapshot | None = None,
    ) -> None:
        """Add the session to the audience; it is owed the snapshot, then what comes after it.
        `events`: the same segments, for event streams.
        """
        viewer = self._viewers.get(session)
        if viewer is None:
            return
        audience = self._admit(viewer, key, slot)
        if viewer.greeting:
            self._append(viewer, Owed(viewer.greeting))
            viewer.greeting = b""
        if viewer.form is Form.EVENTS:
            shown = events or EventSnapshot(segments)
            audience.holdings = shown.holdings
            self._append(viewer, OwedEvents(shown, audience=key, slot=slot, recovered=recovered))
            return
        snapshot = OwedSnapshot(
            segments, audience=key, slot=slot, sanctuary=key[-16:], recovered=recovered
        )
        self._append(viewer, snapshot)

    def _admit(self, viewer: Viewer, key: AudienceKey, slot: int) -> AudienceQueue:
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = AudienceQueue(key, slot)
            self._of_slot.setdefault(slot, {})[key] = audience
        if viewer.session not in audience.members:
            self._stamp += 1
            audience.members[viewer.session] = viewer
            audience.forms[viewer.form] += 1
            audience.entered_last = viewer.audiences[key] = self._stamp
        return audience

    def enter_followers(
        self,
        session: SessionId,
        sanctuary: bytes,
        citizen: bytes,
        slot: int,
        segments: Iterable[Segment],
    ) -> bool:
        """Add a member to the citizen's followers; it is owed the segments, behind what it is owed as
        a member. False: it is no member here.
        """
        viewer = self._viewers.get(session)
        members = self._audiences.get(members_key(sanctuary))
        if viewer is None or members is None or members.slot != slot:
            return False
        if session not in members.members:
            return False
        self._catch_up(viewer, members)
        key = followers_key(citizen, sanctuary)
        self._admit(viewer, key, slot)
        for segment in segments:
            message = viewer.form_of(segment.message)
            owed = Owed(message, audience=key, slot=slot, citizen=segment.citizen)
            self._append(viewer, owed)
        return True

    def depart_followers(self, session: SessionId, sanctuary: bytes, citizen: bytes) -> None:
        """Remove a member from the citizen's followers; it keeps what it is owed."""
        viewer = self._viewers.get(session)
        key = followers_key(citizen, sanctuary)
        if viewer is not None and key in viewer.audiences:
            self._catch_up(viewer, self._audiences[key])
            self._remove(viewer, key)

    def depart(self, session: SessionId, sanctuary: bytes) -> None:
        """Remove the session from the sanctuary's audiences; what it is still owed of them is dropped."""
        viewer = self._viewers.get(session)
        if viewer is None:
            return
        for key in list(viewer.audiences):
            if key[-16:] == sanctuary:
                self._remove(viewer, key)
        self._keep(viewer, lambda owed: owed.audience is None or owed.audience[-16:] != sanctuary)

    def deliver(
        self,
        key: AudienceKey,
        slot: int,
        segments: Iterable[Segment],
        deny: Iterable[DenyPair],
    ) -> bool:
        """Segments for an audience. False: the audience is unknown here (or another slot's)."""
        if key[:1] == b"s" and len(key) == 33:
            viewer = self._viewers.get(SessionId(key[1:17]))
            audience = self._audiences.get(members_key(key[17:]))
            if viewer is None or audience is None or audience.slot != slot:
                return False
            if viewer.session not in audience.members:
                return False
            self._catch_up(viewer, audience)
            for citizen in dict.fromkeys(segment.citizen for segment in segments):
                followers = self._audiences.get(followers_key(citizen or b"", key[17:]))
                if followers is not None and viewer.session in followers.members:
                    self._catch_up(viewer, followers)
            for segment in segments:
                self._append(
                    viewer,
                    Owed(
                        viewer.form_of(segment.message),
                        audience=key,
                        slot=slot,
                        citizen=segment.citizen,
                    ),
                )
            return True
        audience = self._audiences.get(key)
        if audience is None or audience.slot != slot:
            return False
        denied: dict[bytes, list[bytes]] = {}
        for pair in deny:
            denied.setdefault(pair.session, []).append(pair.citizen)
        self._push(audience, segments, denied)
        return True

    def _push(
        self,
        audience: AudienceQueue,
        segments: Iterable[Segment],
        denied: dict[bytes, list[bytes]],
    ) -> None:
        self._stamp += 1
        parts: list[Segment | Told] = [*segments]
        holdings = audience.holdings
        if holdings is not None:
            told = [holdings.tell(segment) for segment in segments]
            audience.pending_bytes += sum(len(part.event) for part in told)
            parts = [*told]
        audience.pending.append(Chunk(self._stamp, parts, denied))
        audience.pending_bytes += sum(len(segment.message) for segment in segments)
        if audience.pending_bytes > PENDING_BYTES_MAX:
            self.overflowed_slots[audience.slot] = None
        self._dirty[audience.key] = audience

    # ── what must not leave any more ─────────────────────────────────────────────────────────────

    def strike(
        self,
        citizen: bytes,
        key: AudienceKey,
        slot: int,
        session: SessionId | None,
        notice: bytes,
    ) -> None:
        """Purge the citizen from what waits for the audience (or for one session of it); then owe
        the notice, which is never conflated.
        """
        if session is None and key[:1] == b"s" and len(key) == 33:
            session = SessionId(key[1:17])
        self._silences.strike(citizen, key[-16:])
        if session is not None:
            self._strike_one(citizen, key, slot, session, notice)
            return
        audience = self._audiences.get(key)
        if audience is None or audience.slot != slot:
            return
        self._purge(audience, citizen)
        followed = followers_key(citizen, key[-16:])
        # a follower's snapshot, owed as the members', holds what it is shown as a follower
        keys = (key, members_key(key[-16:])) if key == followed else (key,)
        for viewer in list(self._busy.values()):
            if key != followed and followed in viewer.audiences:
                continue  # whoever went over to the followers may still see what it is owed
            # the rest of a long snapshot, and what one alone is shown again, come in the members' form
            # to the session alone
            own = session_key(viewer.session, key[-16:])
            struck = keys if key == public_key(key[-16:]) else (*keys, own)
            if key in viewer.audiences:
                self._drop_struck(viewer, struck, citizen)
            if any((each, citizen) in viewer.left for each in struck):
                self.holders[viewer.session] = None
        if notice:
            self._push(audience, [Segment(None, notice)], {})

    def _drop_struck(self, viewer: Viewer, keys: tuple[AudienceKey, ...], citizen: bytes) -> None:
        self._keep(viewer, lambda owed: owed.audience not in keys or not owed.without(citizen))

    def _strike_one(
        self, citizen: bytes, key: AudienceKey, slot: int, session: SessionId, notice: bytes
    ) -> None:
        viewer = self._viewers.get(session)
        if viewer is None:
            return
        sanctuary = key[-16:]
        audience_keys = (
            members_key(sanctuary),
            public_key(sanctuary),
            followers_key(citizen, sanctuary),
        )
        own_key = session_key(session, sanctuary)
        if key != own_key:
            for audience_key in audience_keys:
                audience = self._audiences.get(audience_key)
                if audience is None or audience.slot != slot:
                    continue
                for chunk in audience.pending:
                    chunk.denied.setdefault(session, []).append(citizen)
                for swept in self._rounds:
                    if swept.audience is audience and viewer in swept.recipients:
                        swept.recipients.remove(viewer)
                        self._merge(viewer, audience, swept.chunks, also_denied=citizen)
        # Whichever form is struck: the snapshot, owed as the audience's, holds the session's own too.
        keys = (own_key, *audience_keys)
        self._drop_struck(viewer, keys, citizen)
        if any((each, citizen) in viewer.left for each in keys):
            self.holders[viewer.session] = None
        if notice and any(audience_key in viewer.audiences for audience_key in audience_keys):
            self._append(viewer, Owed(viewer.form_of(notice), audience=own_key, slot=slot))

    def purge_citizen(self, slot: int, citizen: bytes) -> None:
        """Take the citizen out of everything that waits for anybody of the slot."""
        for audience in self._of_slot.get(slot, {}).values():
            self._purge(audience, citizen)
        for viewer in list(self._busy.values()):
            self._keep(viewer, lambda owed: owed.slot != slot or not owed.without(citizen))
            if any(whom == citizen and slot_of(key[-16:]) == slot for key, whom in viewer.left):
                self.holders[viewer.session] = None

    def clear_slot(self, slot: int) -> list[tuple[SessionId, AudienceKey]]:
        """Empty the slot's audiences and queues. Returns who was in them."""
        emptied = self.sessions_of_slot(slot)
        for audience in self._of_slot.pop(slot, {}).values():
            del self._audiences[audience.key]
            self._dirty.pop(audience.key, None)
            for viewer in audience.members.values():
                del viewer.audiences[audience.key]
        self._rounds = [swept for swept in self._rounds if swept.audience.slot != slot]
        for viewer in list(self._busy.values()):
            self._keep(viewer, lambda owed: owed.slot != slot)
        return emptied

    def _purge(self, audience: AudienceQueue, citizen: bytes) -> None:
        if audience.holdings is not None:
            audience.holdings.forget(citizen)
        for chunk in audience.pending:
            chunk.without(citizen)
        for swept in self._rounds:
            if swept.audience is audience:
                for chunk in swept.chunks:
                    chunk.without(citizen)
                swept.payload = None

    def _remove(self, viewer: Viewer, key: AudienceKey) -> None:
        audience = self._audiences[key]
        del audience.members[viewer.session]
        audience.forms[viewer.form] -= 1
        if not audience.forms[Form.EVENTS]:
            audience.holdings = None
        del viewer.audiences[key]
        for swept in self._rounds:
            if swept.audience is audience and viewer in swept.recipients:
                swept.recipients.remove(viewer)
        if not audience.members:
            del self._audiences[key]
            del self._of_slot[audience.slot][key]
            if not self._of_slot[audience.slot]:
                del self._of_slot[audience.slot]
            self._dirty.pop(key, None)

    # ── own queues ───────────────────────────────────────────────────────────────────────────────

    def _append(self, viewer: Viewer, owed: AnyOwed) -> None:
        viewer.owed.append(owed)
        viewer.owed_bytes += owed.byte_count
        self._busy[viewer.session] = viewer
        if viewer.owed_bytes > self._fall_bytes and (
            viewer.is_paused or self._is_held_back(viewer)
        ):
            self._too_much(viewer)

    # ── the ladder ───────────────────────────────────────────────────────────────────────────────

    def _too_much(self, viewer: Viewer) -> None:
        """Conflate what waits, and close who has too much all the same. An event stream is not conflated:
        its ids name what was written.
        """
        climber = self._climbers.get(viewer.session)
        if viewer.form is not Form.EVENTS and (
            climber is None or viewer.owed_bytes > climber.conflate_at
        ):
            if climber is None:
                climber = self._climbers[viewer.session] = Climber(self._fall_bytes)
            self._conflate(viewer)
            if climber.conflated(viewer.owed_bytes):
                self._tell_rung(viewer, climber.rung)
        if viewer.owed_bytes > self._backlog_bytes_max:
            self.too_slow[viewer.session] = None

    def _conflate(self, viewer: Viewer) -> None:
        viewer.owed = deque(conflate(viewer.owed))
        viewer.owed_bytes = sum(owed.byte_count for owed in viewer.owed)

    def _tell_rung(self, viewer: Viewer, rung: Rung) -> None:
        """Ahead of what waits, behind the rungs that it has not heard of yet; never conflated."""
        told = OwedRung(encode(RungTold(rung.name.lower())))
        unheard = sum(isinstance(owed, OwedRung) for owed in viewer.owed)
        viewer.owed.insert(unheard, told)
        viewer.owed_bytes += told.byte_count
        self._busy[viewer.session] = viewer

    def climb(self, now_ns: MonotonicNs) -> None:
        """Look after those who could not keep up; called a few times a second."""
        for session, viewer in self._busy.items():
            is_socket = viewer.form is not Form.EVENTS
            if viewer.is_paused and is_socket and session not in self._climbers:
                self._climbers[session] = Climber(self._fall_bytes)
        for session, climber in list(self._climbers.items()):
            viewer = self._viewers[session]
            is_idle = not self._is_writable(viewer)
            rung = climber.look(now_ns, is_paused=viewer.is_paused, is_idle=is_idle)
            if rung is Rung.NEWEST:  # up again: what was held back goes out
                self._conflate(viewer)
            if rung is not None:
                self._tell_rung(viewer, rung)
            if climber.is_hopeless(now_ns):
                self.too_slow[session] = None
            elif climber.is_forgiven and not viewer.is_paused:
                del self._climbers[session]

    def is_slow(self, session: SessionId) -> bool:
        """Whether what it says may be late for what waits ahead of it."""
        return session in self._climbers

    def rungs(self) -> dict[str, int]:
        """How many viewers stand on each rung below the first."""
        counts = {rung.name.lower(): 0 for rung in Rung if rung}
        for climber in self._climbers.values():
            if climber.rung:
                counts[climber.rung.name.lower()] += 1
        return counts

    def _is_writable(self, viewer: Viewer) -> bool:
        """Whether something of its own may go out to it now."""
        if viewer.is_paused or not viewer.owed:
            return False
        return not self._is_held_back(viewer) or any(map(is_notice, viewer.owed))

    def _is_held_back(self, viewer: Viewer) -> bool:
        climber = self._climbers.get(viewer.session) if self._climbers else None
        return climber is not None and climber.rung is Rung.FIELD

    def _keep(self, viewer: Viewer, is_kept: Callable[[AnyOwed], bool]) -> None:
        """Drop from the viewer's own queue what the test does not keep."""
        if not viewer.owed:
            return
        kept = deque(owed for owed in viewer.owed if is_kept(owed))
        if len(kept) != len(viewer.owed):
            viewer.owed = kept
            viewer.owed_bytes = sum(owed.byte_count for owed in kept)
            self._settle(viewer)

    def _settle(self, viewer: Viewer) -> None:
        if not viewer.owed and not viewer.is_paused and not self._is_held_back(viewer):
            self._busy.pop(viewer.session, None)

    def _catch_up(self, viewer: Viewer, audience: AudienceQueue) -> None:
        """Owe the viewer alone what waits for its audience, so that what comes for it alone is behind."""
        for swept in self._rounds:
            if swept.audience is audience and viewer in swept.recipients:
                swept.recipients.remove(viewer)
                self._merge(viewer, audience, swept.chunks)
        if audience.pending:
            self._merge(viewer, audience, audience.pending)
            self._stamp += 1
            audience.entered_last = viewer.audiences[audience.key] = self._stamp

    def _merge(
        self,
        viewer: Viewer,
        audience: AudienceQueue,
        chunks: list[Chunk],
        *,
        also_denied: bytes | None = None,
    ) -> None:
        """Move what an audience is owed behind what the viewer is owed alone."""
        entered = viewer.audiences[audience.key]
        for chunk in chunks:
            if chunk.stamp < entered:
                continue
            denied = chunk.denied.get(viewer.session, ())
            for segment in chunk.segments:
                citizen = segment.citizen
                if citizen is not None and (citizen in denied or citizen == also_denied):
                    continue
                self._append(
                    viewer,
                    Owed(
                        viewer.part_of(segment),
                        audience=audience.key,
                        slot=audience.slot,
                        citizen=citizen,
                    ),
                )

    # ── sweeps ───────────────────────────────────────────────────────────────────────────────────

    @property
    def is_sweeping(self) -> bool:
        return bool(self._rounds or self._own)

    @property
    def wants_flush(self) -> bool:
        """Whether something waits that could be written now."""
        return bool(
            self._dirty
            or self._rounds
            or self._own
            or any(map(self._is_writable, self._busy.values()))
        )

    def _begin(self) -> None:
        self._turns += 1
        self.flushes += 1
        dirty, self._dirty = self._dirty, {}
        of_several = self._followers_of_several(dirty.values())
        for audience in dirty.values():
            chunks, audience.pending, audience.pending_bytes = audience.pending, [], 0
            recipients: dict[SessionId, Viewer] = audience.members
            own = self._viewers_with_own_copy(audience, chunks)
            if is_followers(audience.key):
                own |= {s: v for s, v in of_several.items() if s in recipients}
            if own:
                for viewer in own.values():
                    self._merge(viewer, audience, chunks)
                recipients = {s: v for s, v in audience.members.items() if s not in own}
            for form in Form:
                if not audience.forms[form]:
                    continue
                group = [v for v in recipients.values() if v.form is form]
                if group:
                    start = self._turns * 7919 % len(group)  # nobody is always last
                    self._rounds.append(
                        Round(audience, chunks, group[start:] + group[:start], form=form)
                    )
        self._own = [viewer for viewer in self._busy.values() if self._is_writable(viewer)]

    def _followers_of_several(self, audiences: Iterable[AudienceQueue]) -> dict[SessionId, Viewer]:
        """Who follows several of those that have something to say: a copy of its own, in one write, costs
        it less than a write for each.
        """
        once: dict[SessionId, Viewer] = {}
        several: dict[SessionId, Viewer] = {}
        for audience in audiences:
            if is_followers(audience.key):
                several |= {s: v for s, v in audience.members.items() if s in once}
                once |= audience.members
        return several

    def _viewers_with_own_copy(
        self, audience: AudienceQueue, chunks: list[Chunk]
    ) -> dict[SessionId, Viewer]:
        """Busy ones, those with a deny pair in these chunks, and those who entered behind one."""
        members = audience.members
        own = {s: v for s, v in self._busy.items() if s in members}
        for chunk in chunks:
            for session in chunk.denied:
                viewer = members.get(SessionId(session))
                if viewer is not None:
                    own[viewer.session] = viewer
        if chunks and audience.entered_last > chunks[0].stamp:
            oldest = chunks[0].stamp
            own |= {s: v for s, v in members.items() if v.audiences[audience.key] > oldest}
        return own

    def sweep(self, writes_max: int) -> Iterator[Write | WriteMany]:
        """The next slice of the running sweep (or of a new one): at most some `writes_max` writes.

        To be exhausted at once; the shell carries out each effect before it takes the next, so that
        a viewer which a write has paused gets no further one.
        """
        if not self.is_sweeping:
            self._begin()
        writes = 0
        while self._own and writes < writes_max:
            viewer = self._own.pop()
            while self._is_writable(viewer) and writes < writes_max:
                taken = self._next_own(viewer)
                self._hand(taken)
                yield self._own_write(viewer, taken)
                self._handing = None
                writes += 1
            if self._is_writable(viewer):
                self._own.append(viewer)
            self._settle(viewer)
        while self._rounds and not self._own and writes < writes_max:
            swept = self._rounds[-1]
            rest = writes_max - writes
            slice_ = swept.recipients[-rest:]
            del swept.recipients[-rest:]
            if not swept.recipients:
                self._rounds.pop()
            if not slice_:
                continue  # they have all gone since the sweep began
            payload = swept.payload
            if payload is None:
                messages = swept.messages()
                self.messages_flushed += len(messages)
                payload = payload_of(messages, swept.form) if messages else b""
                swept.payload = payload
            if not payload:
                if swept.recipients:
                    self._rounds.pop()
                continue
            paused = [viewer for viewer in slice_ if viewer.is_paused]
            for viewer in paused:
                self._merge(viewer, swept.audience, swept.chunks)
            if paused:
                slice_ = [viewer for viewer in slice_ if not viewer.is_paused]
            if slice_:
                writes += len(slice_)
                self._hand(swept)
                yield WriteMany([v.session for v in slice_], payload, swept.form)
                self._handing = None

    def _hand(self, handing: Handing) -> None:
        self._handing = handing
        if self._silences.is_open:
            self._silences.go_out(whose(handing))

    def _next_own(self, viewer: Viewer) -> list[AnyOwed]:
        """Take what the viewer's next own write holds out of its queue."""
        taken: list[AnyOwed] = []
        byte_count = 0
        if self._is_held_back(viewer):
            taken = [owed for owed in viewer.owed if is_notice(owed)]
            viewer.owed = deque(owed for owed in viewer.owed if not is_notice(owed))
            viewer.owed_bytes = sum(owed.byte_count for owed in viewer.owed)
            return taken
        while viewer.owed:
            owed = viewer.owed[0]
            if taken and byte_count + owed.byte_count > OWN_WRITE_BYTES:
                break
            taken.append(viewer.owed.popleft())
            byte_count += owed.byte_count
        viewer.owed_bytes -= byte_count
        return taken

    def _own_write(self, viewer: Viewer, taken: list[AnyOwed]) -> Write:
        messages = [message for owed in taken for message in owed.messages()]
        self.messages_flushed += len(messages)
        return Write(viewer.session, payload_of(messages, viewer.form), viewer.form)

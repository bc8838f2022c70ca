"""What waits to be written, and to whom: audiences, their segments, each viewer's own queue. Pure.

Bytes are prepared once for each audience and form. A viewer gets a frame of its own only while
it is owed something of its own: an answer, a snapshot, a batch with a deny pair, a backlog.

Everything that waits, waits as segments that know their citizen; so a strike finds it: in what is
its audience's log and in every own queue. A sweep hands out slices; between two slices anything may
happen: what arrives goes out with the next slice, what is struck does not.

Order for one viewer is order of arrival within each sanctuary: what is owed to all is moved behind
what is owed to it alone whenever it has a queue of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice

from services.gateway.core.audience import Audience, Chunk, Lane, Slice
from services.gateway.core.effects import Write, WriteMany
from services.gateway.core.form import EventSnapshot, Form, Told, payload_of
from services.gateway.core.ladder import FALL_BYTES, Climber, Rung, conflate
from services.gateway.core.owed import (
    AnyOwed,
    Owed,
    OwedEvents,
    OwedRung,
    OwedSnapshot,
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
CONFLATIONS_PER_SLICE = 2
"""Queues of slow viewers that are conflated between two writes, a quarter of a millisecond each: they
fill at the same pace, and would all be too long in the same moment."""
PENDING_BYTES_MAX = 4 * 1024 * 1024
"""An audience's log; more means that the process cannot keep up at all."""


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
        self._audiences: dict[AudienceKey, Audience] = {}
        self._of_slot: dict[int, dict[AudienceKey, Audience]] = {}
        self._dirty: dict[AudienceKey, Audience] = {}
        self._busy: dict[SessionId, Viewer] = {}
        """Viewers with a queue of their own, or paused."""
        self._own: dict[SessionId, Viewer] = {}
        """Those among them that may be written to, and some that no longer may."""
        self._crowded: dict[SessionId, Viewer] = {}
        """Viewers for whom more waits than may without being conflated."""
        self._overfull: dict[AudienceKey, Audience] = {}
        """Audiences for whose parked viewers that is so."""
        self._due: deque[Lane] = deque()
        """Lanes with somebody in them who is owed something, taking turns."""
        self.too_slow: dict[SessionId, None] = {}
        self.overflowed_slots: dict[int, None] = {}
        self.holders: dict[SessionId, None] = {}
        """Paused viewers whose transport still holds bytes of a citizen that was struck for them."""
        self._handing: Slice | list[AnyOwed] | None = None
        """What is being written just now."""
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
        self._own.pop(session, None)
        self._crowded.pop(session, None)
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
                viewer.left = dict.fromkeys(_whose(self._handing))
            self._busy[session] = viewer

    def take_back(self, session: SessionId) -> None:
        """Called amid a write of a sweep, instead of `pause`: the socket took nothing of it, and the
        transport holds nothing either. So it still waits here, where a strike finds it.
        """
        viewer = self._viewers.get(session)
        if viewer is None:
            return
        viewer.is_paused = True
        self._busy[session] = viewer
        if isinstance(self._handing, Slice):
            self._park(viewer, self._handing)
        elif self._handing is not None:
            viewer.owed.extendleft(reversed(self._handing))
            self._grew(viewer, sum([owed.byte_count for owed in self._handing]))

    def resume(self, session: SessionId) -> None:
        viewer = self._viewers.get(session)
        if viewer is not None:
            viewer.is_paused = False
            if self._silences.is_open:
                self._silences.go_out(viewer.left)
            viewer.left.clear()
            self.holders.pop(session, None)
            if not self._is_held_back(viewer):
                self._rouse(viewer)
            if viewer.owed:
                self._own[session] = viewer
            self._settle(viewer)

    def backlog_bytes(self) -> int:
        """What waits in viewers' own queues, all together, and in the logs for those who are parked."""
        own = sum(viewer.owed_bytes for viewer in self._busy.values())
        return own + sum(audience.parked_bytes() for audience in self._audiences.values())

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

    def _admit(self, viewer: Viewer, key: AudienceKey, slot: int) -> Audience:
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(key, slot)
            self._of_slot.setdefault(slot, {})[key] = audience
        if viewer.session not in audience.members:
            audience.add(viewer)
            viewer.audiences[key] = None
        else:
            self._catch_up(viewer, audience)  # what waits is older than what is shown now
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
        audience: Audience,
        segments: Iterable[Segment],
        denied: dict[bytes, list[bytes]],
    ) -> None:
        parts: list[Segment | Told] = [*segments]
        byte_count = sum([len(segment.message) for segment in parts])
        holdings = audience.holdings
        if holdings is not None:
            told = [holdings.tell(segment) for segment in segments]
            byte_count += sum(len(part.event) for part in told)
            parts = [*told]
        chunk = Chunk(parts, denied, byte_count)
        audience.push(chunk)
        if audience.pending_bytes > PENDING_BYTES_MAX:
            self.overflowed_slots[audience.slot] = None
        if audience.parked:
            if any(part.citizen is None for part in parts):
                self._rouse_for_notice(audience)
            waits = audience.parked_bytes()
            if self._climbers or waits > self._fall_bytes // 4:
                chunk.read_ahead(audience)  # one by one costs no slice a long stop
            if waits > self._fall_bytes:
                self._overfull[audience.key] = audience
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
                audience.deny(session, citizen)
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
            self._overfull.pop(audience.key, None)
            for viewer in audience.members.values():
                del viewer.audiences[audience.key]
        self._due = deque(lane for lane in self._due if lane.audience.slot != slot)
        for viewer in list(self._busy.values()):
            self._keep(viewer, lambda owed: owed.slot != slot)
        return emptied

    def _purge(self, audience: Audience, citizen: bytes) -> None:
        if audience.holdings is not None:
            audience.holdings.forget(citizen)
        audience.purge(citizen)

    def _remove(self, viewer: Viewer, key: AudienceKey) -> None:
        audience = self._audiences[key]
        audience.remove(viewer)
        del viewer.audiences[key]
        if not audience.members:
            del self._audiences[key]
            del self._of_slot[audience.slot][key]
            if not self._of_slot[audience.slot]:
                del self._of_slot[audience.slot]
            self._dirty.pop(key, None)
            self._overfull.pop(key, None)

    # ── own queues ───────────────────────────────────────────────────────────────────────────────

    def _append(self, viewer: Viewer, owed: AnyOwed) -> None:
        viewer.owed.append(owed)
        self._grew(viewer, owed.byte_count)

    def _grew(self, viewer: Viewer, byte_count: int) -> None:
        """The viewer is owed so much more."""
        viewer.owed_bytes += byte_count
        self._busy[viewer.session] = viewer
        if not viewer.is_paused:
            self._own[viewer.session] = viewer
            if not self._is_held_back(viewer):
                return
        if viewer.owed_bytes > self._fall_bytes:
            self._crowded[viewer.session] = viewer
            if viewer.owed_bytes > self._backlog_bytes_max:
                self._too_much(viewer)

    # ── the ladder ───────────────────────────────────────────────────────────────────────────────

    def _too_much(self, viewer: Viewer) -> None:
        """Conflate what waits, and close who has too much all the same. An event stream is not conflated:
        its ids name what was written.
        """
        self._crowded.pop(viewer.session, None)
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

    def _digest(self, audience: Audience) -> None:
        """Move what waits for the parked into their own queues, conflated once for all who are owed the
        same. Who has fallen before goes along once half as much waits, so that they stay together.
        """
        conflations_max = audience.conflations + CONFLATIONS_PER_SLICE
        viewers = [self._viewers[session] for session in audience.parked]
        viewers.sort(key=audience.kinship, reverse=True)
        for viewer in viewers:
            session = viewer.session
            climber = self._climbers.get(session)
            has_fallen = climber is not None and climber.rung is not Rung.EVERY
            waits = audience.bytes_since(audience.parked[session])
            if not has_fallen:
                waits += viewer.owed_bytes
            if waits <= (self._fall_bytes // 2 if has_fallen else self._fall_bytes):
                continue
            if audience.conflations >= conflations_max:
                self._overfull[audience.key] = audience  # the rest with the next slice
                break
            audience.digest(viewer)
            if climber is None:
                climber = self._climbers[session] = Climber(self._fall_bytes)
            if not has_fallen and climber.conflated(viewer.owed_bytes):
                self._tell_rung(viewer, climber.rung)
            if viewer.owed_bytes > climber.conflate_at:
                self._crowded[session] = viewer
        audience.trim()

    def _rouse(self, viewer: Viewer) -> None:
        """It can be written to again."""
        session = viewer.session
        climber = self._climbers.get(session)
        has_fallen = climber is not None and climber.rung is Rung.NEWEST
        parked = [self._audiences[key] for key in viewer.audiences]
        for audience in parked:
            if session in audience.parked:
                if has_fallen:
                    audience.digest(viewer)
                self._catch_up(viewer, audience)
        if has_fallen and not viewer.is_conflated:
            self._conflate(viewer)

    def _rouse_for_notice(self, audience: Audience) -> None:
        """What is nobody's data goes out to those who are held back, too."""
        for session in list(audience.parked):
            viewer = self._viewers[session]
            if not viewer.is_paused:
                self._catch_up(viewer, audience)

    def _conflate(self, viewer: Viewer) -> None:
        viewer.requeue(conflate(viewer.owed))

    def _tell_rung(self, viewer: Viewer, rung: Rung) -> None:
        """Ahead of what waits, behind the rungs that it has not heard of yet; never conflated."""
        told = OwedRung(encode(RungTold(rung.name.lower())))
        unheard = sum(isinstance(owed, OwedRung) for owed in viewer.owed)
        viewer.owed.insert(unheard, told)
        viewer.owed_bytes += told.byte_count
        self._busy[viewer.session] = self._own[viewer.session] = viewer

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
            if rung is Rung.NEWEST and not viewer.is_paused:
                self._rouse(viewer)  # up again: what was held back goes out
                self._own[session] = viewer
            if rung is not None:
                self._tell_rung(viewer, rung)
            if climber.is_hopeless(now_ns):
                self.too_slow[session] = None
            elif climber.is_forgiven and not viewer.is_paused:
                del self._climbers[session]

    @property
    def slow(self) -> Container[SessionId]:
        """Viewers who could not keep up lately."""
        return self._climbers

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
        kept = [owed for owed in viewer.owed if is_kept(owed)]
        if len(kept) != len(viewer.owed):
            viewer.requeue(kept)
            self._settle(viewer)

    def _settle(self, viewer: Viewer) -> None:
        if not viewer.owed and not viewer.is_paused and not self._is_held_back(viewer):
            self._busy.pop(viewer.session, None)

    def _catch_up(self, viewer: Viewer, audience: Audience) -> None:
        """Owe the viewer alone what waits for its audience, so that what comes for it alone is behind."""
        self._merge(viewer, audience, audience.catch_up(viewer))

    def _merge(self, viewer: Viewer, audience: Audience, chunks: list[Chunk]) -> None:
        """Move what an audience is owed behind what the viewer is owed alone."""
        for chunk in chunks:
            owed = chunk.owed_to(viewer, audience)
            viewer.owed.extend(owed)
            self._grew(viewer, sum([each.byte_count for each in owed]))

    # ── sweeps ───────────────────────────────────────────────────────────────────────────────────

    @property
    def wants_flush(self) -> bool:
        """Whether something waits that could be written, or must be made shorter, now."""
        return bool(self._dirty or self._due or self._own or self._crowded or self._overfull)

    def _begin(self) -> None:
        """Take up what has arrived."""
        dirty, self._dirty = self._dirty, {}
        several = self._followers_of_several(dirty.values())
        for audience in dirty.values():
            if several and is_followers(audience.key):
                for session in several:
                    if session in audience.members:
                        self._catch_up(audience.members[session], audience)
            for lane in audience.lanes.values():
                if lane.is_due and not lane.is_listed:
                    lane.is_listed = True
                    lane.rotate()
                    self._due.append(lane)
            audience.trim()

    def _followers_of_several(self, audiences: Iterable[Audience]) -> dict[SessionId, Viewer]:
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

    def sweep(self, writes_max: int) -> Iterator[Write | WriteMany]:
        """The next slice: at most some `writes_max` writes, at most half of them to single viewers while
        an audience is due. Lanes take turns, so that a small room does not wait for a large one.

        To be exhausted at once; the shell carries out each effect before it takes the next, so that
        a viewer which a write has paused gets no further one.
        """
        if self._dirty:
            self._begin()
        if self._overfull:
            overfull, self._overfull = self._overfull, {}
            for audience in overfull.values():
                self._digest(audience)
        for viewer in list(islice(self._crowded.values(), CONFLATIONS_PER_SLICE)):
            self._too_much(viewer)
        writes = 0
        own_max = max(1, writes_max // 2) if self._due else writes_max
        while self._own and writes < own_max:
            session = next(iter(self._own))
            viewer = self._own.pop(session)
            while self._is_writable(viewer) and writes < own_max:
                taken = self._next_own(viewer)
                self._hand(taken)
                yield self._own_write(viewer, taken)
                self._handing = None
                writes += 1
            if self._is_writable(viewer):
                self._own[session] = viewer
            self._settle(viewer)
        while self._due and writes < writes_max:
            lane = self._due.popleft()
            if not lane.is_due:
                lane.is_listed = False  # they have all gone, or have it already
                continue
            slice_ = lane.take(writes_max - writes)
            lane.is_listed = lane.is_due
            if lane.is_listed:
                self._due.append(lane)
            payload, prepared = lane.payload_since(slice_.number, slice_.chunks)
            self.messages_flushed += prepared
            shared = self._shared_by(slice_)
            if payload and shared:
                writes += len(shared)
                self._hand(slice_)
                yield WriteMany([viewer.session for viewer in shared], payload, lane.form)
                self._handing = None
            lane.audience.trim()  # not before: a viewer may not have taken it

    def _shared_by(self, slice_: Slice) -> list[Viewer]:
        """The viewers who get the very same bytes. Who has a queue of its own, or must not get all of it,
        is owed its share alone; who cannot be written to is parked.
        """
        denied = slice_.denied()
        busy = self._busy.keys()
        if not denied and (not busy or busy.isdisjoint([each.session for each in slice_.viewers])):
            return slice_.viewers
        is_events = slice_.lane.form is Form.EVENTS
        shared = []
        for viewer in slice_.viewers:
            if viewer.session in self._busy or viewer.session in denied:
                if not is_events and (viewer.is_paused or self._is_held_back(viewer)):
                    self._park(viewer, slice_)
                else:
                    self._merge(viewer, slice_.lane.audience, slice_.chunks)
            else:
                shared.append(viewer)
        return shared

    def _park(self, viewer: Viewer, slice_: Slice) -> None:
        """It stays owed the slice, and what comes after."""
        audience = slice_.lane.audience
        audience.park(viewer, slice_.number)
        if audience.bytes_since(slice_.number) > self._fall_bytes:
            self._overfull[audience.key] = audience

    def _hand(self, handing: Slice | list[AnyOwed]) -> None:
        self._handing = handing
        if self._silences.is_open:
            self._silences.go_out(_whose(handing))

    def _next_own(self, viewer: Viewer) -> list[AnyOwed]:
        """Take what the viewer's next own write holds out of its queue."""
        taken: list[AnyOwed] = []
        byte_count = 0
        if self._is_held_back(viewer):
            taken = [owed for owed in viewer.owed if is_notice(owed)]
            viewer.requeue([owed for owed in viewer.owed if not is_notice(owed)])
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


def _whose(handing: Slice | list[AnyOwed]) -> Iterator[tuple[AudienceKey, bytes]]:
    """(audience, citizen) of the data in what is handed over."""
    return handing.whose() if isinstance(handing, Slice) else whose(handing)

"""What waits for an audience, and in which order its viewers are due. Pure.

An audience keeps one log of what was delivered to it. Its viewers of one form stand in a lane: whoever
has waited longest is next, gets everything since it was last written to, and goes to the end. So what
arrives amid a sweep goes out with the rest of it. A sample then waits for half a round on average and
for a whole one at most; if a sweep had to end before the next could take up what came meanwhile, it
would wait for a round on average and for two at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import filterfalse
from typing import NamedTuple

from services.gateway.core.form import Form, Holdings, Told, payload_of
from services.gateway.core.ladder import conflate, read
from services.gateway.core.owed import (
    NO_DIGEST,
    AnyOwed,
    Digest,
    Owed,
    Viewer,
    event_in,
)
from shared.contracts.fanout import AudienceKey, Segment
from shared.identifiers import SessionId


class Chunk:
    """One delivery. `denied`: session → whom it must not get. `byte_count`: as it arrived."""

    __slots__ = ("_owed", "byte_count", "denied", "segments", "starts_at")

    def __init__(
        self, segments: list[Segment | Told], denied: dict[bytes, list[bytes]], byte_count: int
    ) -> None:
        self.segments = segments
        self.denied = denied
        self.byte_count = byte_count
        self.starts_at = 0
        """How many bytes its audience was delivered before it."""
        self._owed: dict[bool, list[Owed]] = {}

    def without(self, citizen: bytes) -> None:
        self.segments = [segment for segment in self.segments if segment.citizen != citizen]
        self._owed.clear()

    def owed_to(self, viewer: Viewer, audience: Audience) -> list[Owed]:
        """What one viewer alone is owed of it, made once for all to whom that happens."""
        owed = self.all_owed(audience, is_events=viewer.form is Form.EVENTS)
        denied = self.denied.get(viewer.session)
        if denied:
            return [each for each in owed if each.citizen is None or each.citizen not in denied]
        return owed

    def read_ahead(self, audience: Audience) -> None:
        """Have the ladder read what it will have to conflate soon."""
        for owed in self.all_owed(audience, is_events=False):
            read(owed)

    def all_owed(self, audience: Audience, *, is_events: bool) -> list[Owed]:
        owed = self._owed.get(is_events)
        if owed is None:
            owed = self._owed[is_events] = [
                Owed(
                    event_in(part) if is_events else part.message,
                    audience=audience.key,
                    slot=audience.slot,
                    citizen=part.citizen,
                )
                for part in self.segments
            ]
        return owed


class Audience:
    """Members, the log of chunks that not all of them have yet, and their lanes.

    Who cannot be written to is *parked*: out of its lane, it costs nothing but its place in the log.
    """

    __slots__ = (
        "_chunks",
        "_digests",
        "_digests_end",
        "_first",
        "_longer",
        "_pushed_bytes",
        "conflations",
        "holdings",
        "key",
        "lanes",
        "members",
        "parked",
        "pending_bytes",
        "slot",
    )

    def __init__(self, key: AudienceKey, slot: int) -> None:
        self.key = key
        self.slot = slot
        self.members: dict[SessionId, Viewer] = {}
        self.lanes: dict[Form, Lane] = {}
        """Those with somebody in them."""
        self.holdings: Holdings | None = None
        """What its event streams hold; nil while it has none."""
        self.parked: dict[SessionId, int] = {}
        """The number of the next chunk that each is owed."""
        self.pending_bytes = 0
        """Of the log."""
        self._pushed_bytes = 0
        self._chunks: list[Chunk] = []
        self._first = 0
        """The number of the first chunk that is kept; they are numbered from 0."""
        self._digests: dict[int, _SharedDigest] = {}
        """By the number of their first chunk; all go to the same end."""
        self._digests_end = 0
        self._longer: dict[tuple[int, int], tuple[Digest, Digest]] = {}
        """(identity of a viewer's digest, number) → that digest, and what it has become."""
        self.conflations = 0
        """So far."""

    @property
    def end(self) -> int:
        """The number of the next chunk."""
        return self._first + len(self._chunks)

    def push(self, chunk: Chunk) -> None:
        chunk.starts_at = self._pushed_bytes
        self._chunks.append(chunk)
        self._pushed_bytes += chunk.byte_count
        self.pending_bytes += chunk.byte_count

    def since(self, number: int) -> list[Chunk]:
        return self._between(number, self.end)

    def bytes_since(self, number: int) -> int:
        if number == self.end:
            return 0
        return self._pushed_bytes - self._chunks[number - self._first].starts_at

    def parked_bytes(self) -> int:
        """The most that waits for one of the parked."""
        return self.bytes_since(min(self.parked.values())) if self.parked else 0

    def trim(self) -> None:
        """Drop what every viewer has."""
        numbers = [lane.oldest for lane in self.lanes.values()]
        oldest = min((*numbers, *self.parked.values()), default=self.end)
        count = oldest - self._first
        if count:
            self.pending_bytes -= sum(chunk.byte_count for chunk in self._chunks[:count])
            del self._chunks[:count]
            self._first = oldest
        if oldest >= self._digests_end:
            self._forget_digests()

    def purge(self, citizen: bytes) -> None:
        """Take the citizen out of all that waits."""
        self._forget_digests()
        for chunk in self._chunks:
            chunk.without(citizen)
        for lane in self.lanes.values():
            lane.forget_payload()

    def deny(self, session: SessionId, citizen: bytes) -> None:
        """Take the citizen out of what waits, for one viewer."""
        self._forget_digests()
        for chunk in self._chunks:
            chunk.denied.setdefault(session, []).append(citizen)

    def add(self, viewer: Viewer) -> None:
        """A member that is owed nothing of what waits."""
        self.members[viewer.session] = viewer
        self._stand(viewer)

    def _stand(self, viewer: Viewer) -> None:
        """At the end of its lane."""
        lane = self.lanes.get(viewer.form)
        if lane is None:
            lane = self.lanes[viewer.form] = Lane(self, viewer.form)
        lane.add(viewer)

    def remove(self, viewer: Viewer) -> None:
        del self.members[viewer.session]
        if self.parked.pop(viewer.session, None) is None:
            self._leave_lane(viewer)
        if Form.EVENTS not in self.lanes:
            self.holdings = None

    def _leave_lane(self, viewer: Viewer) -> None:
        lane = self.lanes[viewer.form]
        lane.remove(viewer)
        if lane.is_empty:
            del self.lanes[viewer.form]

    def park(self, viewer: Viewer, number: int) -> None:
        """Take a viewer that has had its turn out of its lane: it is owed all from `number` on."""
        self._leave_lane(viewer)
        self.parked[viewer.session] = number

    def catch_up(self, viewer: Viewer) -> list[Chunk]:
        """What the viewer is still owed, parked or not; it is in its lane from here on, owed what comes
        next.
        """
        number = self.parked.pop(viewer.session, None)
        if number is None:
            number = self.lanes[viewer.form].number_of(viewer)
            if number == self.end:
                return []
            self._leave_lane(viewer)
        self._stand(viewer)
        return self.since(number)

    # ── what is conflated ────────────────────────────────────────────────────────────────────────

    def kinship(self, viewer: Viewer) -> tuple[int, int]:
        """Parked viewers with the same are owed the same; the higher it is, the less waits."""
        return self.parked[viewer.session], id(viewer.digest)

    def digest(self, viewer: Viewer) -> None:
        """Move what waits for a parked viewer into its own queue, conflated, and with the digest that its
        queue ends with. Done once for all who are owed the same: so what has come since it was done for
        the first of them still waits.
        """
        number = self.parked[viewer.session]
        if number >= self._digests_end:
            self._forget_digests()
            self._digests_end = self.end
        end = self.parked[viewer.session] = self._digests_end
        if number == end:
            return
        new, denied = self._digest_since(number)
        before = viewer.digest
        if viewer.session in denied:
            chunks = self._between(number, end)
            own = [each for chunk in chunks for each in chunk.owed_to(viewer, self)]
            viewer.digest = self._conflated([*before.owed, *own])
        elif before is NO_DIGEST:
            viewer.digest = new
        else:
            key = (id(before), number)
            if key not in self._longer:
                self._longer[key] = before, self._conflated([*before.owed, *new.owed])
            viewer.digest = self._longer[key][1]

    def _digest_since(self, number: int) -> _SharedDigest:
        shared = self._digests.get(number)
        if shared is None:
            later = min(
                (each for each in self._digests if each > number), default=self._digests_end
            )
            rest = self._digests.get(later, _SharedDigest(NO_DIGEST, {}))
            chunks = self._between(number, later)
            owed = [each for chunk in chunks for each in chunk.all_owed(self, is_events=False)]
            shared = self._digests[number] = _SharedDigest(
                self._conflated([*owed, *rest.digest.owed]), _denied_in(chunks) | rest.denied
            )
        return shared

    def _between(self, number: int, end: int) -> list[Chunk]:
        return self._chunks[number - self._first : end - self._first]

    def _conflated(self, owed: list[AnyOwed]) -> Digest:
        self.conflations += 1
        kept = conflate(owed)
        return Digest(kept, sum([each.byte_count for each in kept]))

    def _forget_digests(self) -> None:
        self._digests_end = 0
        if self._digests:
            self._digests.clear()
            self._longer.clear()


class _SharedDigest(NamedTuple):
    """What waits from some chunk on. `denied`: sessions that must not get all of it."""

    digest: Digest
    denied: dict[bytes, None]


def _denied_in(chunks: list[Chunk]) -> dict[bytes, None]:
    """Sessions that must not get all of it."""
    return {session: None for chunk in chunks for session in chunk.denied}


class _Run:
    """Viewers who stand behind each other and have the same: all chunks below `number`."""

    __slots__ = ("number", "viewers")

    def __init__(self, number: int, viewers: list[Viewer]) -> None:
        self.number = number
        self.viewers = viewers


class Lane:
    """An audience's viewers of one form, the next one first. Runs are in ascending order of what their
    viewers have, so that nobody is due once the first run is not.

    Whoever leaves is taken out of the runs before the next look at them: ten thousand who leave in the
    same moment would otherwise be searched for one by one.
    """

    __slots__ = (
        "_count",
        "_leaving",
        "_payload",
        "_payload_of",
        "_runs",
        "audience",
        "form",
        "is_listed",
    )

    def __init__(self, audience: Audience, form: Form) -> None:
        self.audience = audience
        self.form = form
        self.is_listed = False
        """Whether the caller has it among those that are due."""
        self._runs: deque[_Run] = deque()
        self._leaving: dict[Viewer, None] = {}
        """Still in a run."""
        self._count = 0
        self._payload = b""
        self._payload_of: tuple[int, int] | None = None
        """From which chunk to which it was made."""

    @property
    def is_empty(self) -> bool:
        return self._count == 0

    @property
    def is_due(self) -> bool:
        self._let_go()
        return bool(self._runs) and self._runs[0].number < self.audience.end

    @property
    def oldest(self) -> int:
        """Below this everybody has everything."""
        self._let_go()
        return self._runs[0].number if self._runs else self.audience.end

    def add(self, viewer: Viewer) -> None:
        if viewer in self._leaving:
            self._let_go()
        self._count += 1
        self._append([viewer])

    def _append(self, viewers: list[Viewer]) -> None:
        end = self.audience.end
        if self._runs and self._runs[-1].number == end:
            self._runs[-1].viewers += viewers
        else:
            self._runs.append(_Run(end, viewers))

    def remove(self, viewer: Viewer) -> None:
        self._count -= 1
        self._leaving[viewer] = None

    def _let_go(self) -> None:
        if self._leaving:
            for run in self._runs:
                run.viewers = list(filterfalse(self._leaving.__contains__, run.viewers))
            self._runs = deque(run for run in self._runs if run.viewers)
            self._leaving.clear()

    def number_of(self, viewer: Viewer) -> int:
        """Of the next chunk that the viewer is owed."""
        return next(run.number for run in self._runs if viewer in run.viewers)

    def rotate(self) -> None:
        """Begin with somebody else, so that nobody is always last: golden sections of a round lie far
        from each other. Nothing is changed amid a round.
        """
        self._let_go()
        if len(self._runs) == 1:
            viewers = self._runs[0].viewers
            start = len(viewers) * 618 // 1000
            self._runs[0].viewers = viewers[start:] + viewers[:start]

    def take(self, most: int) -> Slice:
        """The next viewers, at most so many, with what they are owed; they go to the end. Only while
        somebody is due.
        """
        self._let_go()
        run = self._runs[0]
        viewers = run.viewers[:most]
        if len(viewers) == len(run.viewers):
            self._runs.popleft()
        else:
            del run.viewers[:most]
        self._append(viewers[:])
        return Slice(self, run.number, viewers)

    def forget_payload(self) -> None:
        """What it was made of has changed."""
        self._payload_of = None

    def payload_since(self, number: int, chunks: list[Chunk]) -> tuple[bytes, int]:
        """The payload of the chunks from `number` to the end, and how many messages were prepared for
        it: none if it is the one of before. Empty if a strike has left nothing.
        """
        made_of = (number, self.audience.end)
        if self._payload_of == made_of:
            return self._payload, 0
        parts = [part for chunk in chunks for part in chunk.segments]
        if self.form is Form.EVENTS:
            messages = [event_in(part) for part in parts]
        else:
            messages = [part.message for part in parts]
        self._payload = payload_of(messages, self.form) if messages else b""
        self._payload_of = made_of
        return self._payload, len(messages)


class Slice:
    """The viewers whose turn it is, and what they are owed."""

    __slots__ = ("chunks", "lane", "number", "viewers")

    def __init__(self, lane: Lane, number: int, viewers: list[Viewer]) -> None:
        self.lane = lane
        self.number = number
        self.viewers = viewers
        self.chunks = lane.audience.since(number)

    def whose(self) -> Iterator[tuple[AudienceKey, bytes]]:
        """(audience, citizen) of the data in it."""
        key = self.lane.audience.key
        for chunk in self.chunks:
            for part in chunk.segments:
                if part.citizen is not None:
                    yield key, part.citizen

    def denied(self) -> dict[bytes, None]:
        """Sessions that must not get all of it."""
        return _denied_in(self.chunks)

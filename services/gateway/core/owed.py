"""One viewer's own queue, and what is owed in it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from services.gateway.core.form import EventSnapshot, Form, Told, event_of, id_line
from shared.codec import encode
from shared.contracts.client import Snapshot
from shared.contracts.fanout import AudienceKey, Segment
from shared.identifiers import SessionId


def members_key(sanctuary: bytes) -> AudienceKey:
    return b"m" + sanctuary


def public_key(sanctuary: bytes) -> AudienceKey:
    return b"p" + sanctuary


def followers_key(citizen: bytes, sanctuary: bytes) -> AudienceKey:
    return b"f" + citizen + sanctuary


def is_followers(key: AudienceKey) -> bool:
    return key[:1] == b"f"


def session_key(session: bytes, sanctuary: bytes) -> AudienceKey:
    return b"s" + session + sanctuary


UNREAD = object()
"""What `Owed.read` holds before anybody has looked."""


class Owed:
    """One message owed to one viewer, or the same one to many; `audience` nil: an answer, which no
    strike touches. Nothing but `read` changes.
    """

    __slots__ = ("audience", "byte_count", "citizen", "message", "read", "slot")

    def __init__(
        self,
        message: bytes,
        *,
        audience: AudienceKey | None = None,
        slot: int | None = None,
        citizen: bytes | None = None,
    ) -> None:
        self.message = message
        self.audience = audience
        self.slot = slot
        self.citizen = citizen
        self.byte_count = len(message)
        self.read: object = UNREAD
        """What the ladder has read in it, once for all who are owed it."""

    def without(self, citizen: bytes) -> bool:
        """Take the citizen out; true if nothing is left."""
        return self.citizen == citizen

    def citizens(self) -> Iterator[bytes]:
        """Whose data it is."""
        if self.citizen is not None:
            yield self.citizen

    def messages(self) -> list[bytes]:
        return [self.message]


class OwedRung(Owed):
    """A word about how much the viewer is written from here on."""

    __slots__ = ()


class OwedSnapshot:
    """A snapshot owed to one viewer, whole or not at all: its `count` is told as it is written, of
    what strikes have left in it by then.
    """

    __slots__ = ("audience", "byte_count", "recovered", "sanctuary", "segments", "slot")

    def __init__(
        self,
        segments: Iterable[Segment],
        *,
        audience: AudienceKey,
        slot: int,
        sanctuary: bytes,
        recovered: bool,
    ) -> None:
        self.segments = list(segments)
        self.audience = audience
        self.slot = slot
        self.sanctuary = sanctuary
        self.recovered = recovered
        self.byte_count = 32 + sum(len(segment.message) for segment in self.segments)

    def without(self, citizen: bytes) -> bool:
        kept = [segment for segment in self.segments if segment.citizen != citizen]
        if len(kept) != len(self.segments):
            self.recovered = False
        self.segments = kept
        return False

    def citizens(self) -> Iterator[bytes]:
        return (part.citizen for part in self.segments if part.citizen is not None)

    def messages(self) -> list[bytes]:
        head = Snapshot(self.sanctuary, len(self.segments), self.recovered)
        return [encode(head), *(segment.message for segment in self.segments)]


class OwedEvents:
    """As `OwedSnapshot`, for an event stream. Until its last event the client is told no id: who breaks
    off within it holds neither what was before nor what is now.
    """

    __slots__ = ("_id", "audience", "byte_count", "recovered", "sanctuary", "slot", "told")

    def __init__(
        self, snapshot: EventSnapshot, *, audience: AudienceKey, slot: int, recovered: bool
    ) -> None:
        self.told = snapshot.told
        self._id = snapshot.holdings.id
        self.audience = audience
        self.slot = slot
        self.sanctuary = audience[-16:]
        self.recovered = recovered
        self.byte_count = 256 + sum(len(told.event) for told in self.told)

    def without(self, citizen: bytes) -> bool:
        kept = [told for told in self.told if told.citizen != citizen]
        if len(kept) != len(self.told):
            self.recovered = False
            self._id = ""
        self.told = kept
        return False

    def citizens(self) -> Iterator[bytes]:
        return (part.citizen for part in self.told if part.citizen is not None)

    def messages(self) -> list[bytes]:
        events = [event_of(encode(Snapshot(self.sanctuary, len(self.told), self.recovered)))]
        events += [told.event for told in self.told]
        if not self.recovered:
            events[0] = id_line("") + events[0]
        if self._id:
            events[-1] = id_line(self._id) + events[-1].removeprefix(id_line(""))
        return events


AnyOwed = Owed | OwedSnapshot | OwedEvents


class Digest(NamedTuple):
    """Conflated messages. Not to be changed: they are owed to many."""

    owed: list[AnyOwed]
    byte_count: int


NO_DIGEST = Digest([], 0)


class Viewer:
    """The egress side of one session. `greeting`: what goes ahead of its first snapshot; until then a
    session that has one gets nothing at all.
    """

    __slots__ = (
        "_digest",
        "audiences",
        "form",
        "greeting",
        "held",
        "is_paused",
        "left",
        "owed",
        "owed_bytes",
        "session",
    )

    def __init__(
        self, session: SessionId, *, form: Form, greeting: bytes = b"", held: str = ""
    ) -> None:
        self.session = session
        self.form = form
        self.greeting = greeting
        self.held = held
        """The name of what a returning viewer of an event stream holds; asked for once."""
        self.is_paused = False
        self.left: dict[tuple[AudienceKey, bytes], None] = {}
        """(audience, citizen) of the frame that its transport could not hand over whole: out of our
        reach, and not yet in the kernel. Empty unless the viewer is paused."""
        self.owed: deque[AnyOwed] = deque()
        self.owed_bytes = 0
        self._digest = NO_DIGEST
        self.audiences: dict[AudienceKey, None] = {}

    def requeue(self, owed: list[AnyOwed]) -> None:
        """Replace all that is owed."""
        self.owed = deque(owed)
        self.owed_bytes = sum([each.byte_count for each in owed])
        self._digest = NO_DIGEST

    @property
    def digest(self) -> Digest:
        """The digest that the queue still ends with, the very one of all who are owed the same; else an
        empty one.
        """
        owed = self._digest.owed
        if owed and len(self.owed) >= len(owed) and self.owed[-1] is owed[-1]:
            return self._digest
        return NO_DIGEST

    @digest.setter
    def digest(self, digest: Digest) -> None:
        before = self.digest
        for _ in before.owed:
            self.owed.pop()
        self.owed.extend(digest.owed)
        self.owed_bytes += digest.byte_count - before.byte_count
        self._digest = digest

    @property
    def is_conflated(self) -> bool:
        """Whether nothing is owed ahead of the digest but what cannot be conflated."""
        return all(map(is_notice, islice(self.owed, len(self.owed) - len(self.digest.owed))))

    def form_of(self, message: bytes) -> bytes:
        """A message of its own as its queue holds it."""
        return event_of(message) if self.form is Form.EVENTS else message


def is_notice(owed: AnyOwed) -> bool:
    """Whether it is nobody's data: an answer, a strike, a word about the room."""
    return isinstance(owed, Owed) and owed.citizen is None


def whose(handed: Iterable[AnyOwed]) -> Iterator[tuple[AudienceKey, bytes]]:
    """(audience, citizen) of the data in what is handed over."""
    for owed in handed:
        if owed.audience is not None:
            for citizen in owed.citizens():
                yield owed.audience, citizen


def event_in(part: Segment | Told) -> bytes:
    assert isinstance(part, Told), "an audience tells all since an event stream entered it"
    return part.event

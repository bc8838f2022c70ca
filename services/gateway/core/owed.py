"""The pieces of the egress queues: what is owed to one viewer, what waits for an audience. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from services.gateway.core.json_twin import twin_of
from shared.codec import array_header, encode
from shared.contracts.client import Snapshot
from shared.contracts.fanout import AudienceKey, Segment
from shared.identifiers import SessionId


def members_key(sanctuary: bytes) -> AudienceKey:
    return b"m" + sanctuary


def public_key(sanctuary: bytes) -> AudienceKey:
    return b"p" + sanctuary


def session_key(session: bytes, sanctuary: bytes) -> AudienceKey:
    return b"s" + session + sanctuary


class Owed:
    """One message owed to one viewer; `audience` nil: an answer, which no strike touches."""

    __slots__ = ("audience", "byte_count", "citizen", "message", "slot")

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

    def without(self, citizen: bytes) -> bool:
        """Take the citizen out; true if nothing is left."""
        return self.citizen == citizen

    def messages(self) -> list[bytes]:
        return [self.message]


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

    def messages(self) -> list[bytes]:
        head = Snapshot(self.sanctuary, len(self.segments), self.recovered)
        return [encode(head), *(segment.message for segment in self.segments)]


class Viewer:
    """The egress side of one session."""

    __slots__ = ("audiences", "is_json", "is_paused", "owed", "owed_bytes", "session")

    def __init__(self, session: SessionId, *, is_json: bool) -> None:
        self.session = session
        self.is_json = is_json
        self.is_paused = False
        self.owed: deque[Owed | OwedSnapshot] = deque()
        self.owed_bytes = 0
        self.audiences: dict[AudienceKey, int] = {}
        """The stamp of its entry: deliveries with a lower one are not owed to it."""


class Chunk:
    """One delivery waiting for an audience. `denied`: sessions that must not get some citizens."""

    __slots__ = ("denied", "segments", "stamp")

    def __init__(
        self, stamp: int, segments: list[Segment], denied: dict[bytes, list[bytes]]
    ) -> None:
        self.stamp = stamp
        self.segments = segments
        self.denied = denied

    def without(self, citizen: bytes) -> None:
        self.segments = [segment for segment in self.segments if segment.citizen != citizen]


class AudienceQueue:
    __slots__ = ("entered_last", "key", "members", "pending", "pending_bytes", "slot")

    def __init__(self, key: AudienceKey, slot: int) -> None:
        self.key = key
        self.slot = slot
        self.members: dict[SessionId, Viewer] = {}
        self.pending: list[Chunk] = []
        self.pending_bytes = 0
        self.entered_last = 0


class Round:
    """One audience's recipients of one subprotocol in the running sweep."""

    __slots__ = ("audience", "chunks", "is_json", "payload", "recipients")

    def __init__(
        self,
        audience: AudienceQueue,
        chunks: list[Chunk],
        recipients: list[Viewer],
        *,
        is_json: bool,
    ) -> None:
        self.audience = audience
        self.chunks = chunks
        self.recipients = recipients  # those still to be written to, the next one last
        self.is_json = is_json
        self.payload: bytes | None = None


def payload_of(messages: list[bytes], *, is_json: bool) -> bytes:
    if is_json:
        return twin_of(messages)
    return array_header(len(messages)) + b"".join(messages)

"""The forms in which one and the same message leaves: MessagePack, JSON, Server-Sent Events. Pure.

A Server-Sent Event (https://html.spec.whatwg.org/multipage/server-sent-events.html) is the JSON
subprotocol's object under its name. Its `id` names what a viewer holds once it has the event, so that
`Last-Event-ID` says it all when the viewer comes back, to whichever gateway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import msgspec

from services.gateway.core import json_twin
from services.gateway.core.json_twin import text_of, twin_of
from shared.codec import Refused, array_header
from shared.contracts.client import (
    SampleShown,
    Skipped,
    StrandEnded,
    StrandShown,
    Struck,
)
from shared.contracts.fanout import Segment

ID_BYTES = 12
"""Of a holdings' name; its base64url has 16 signs."""
_ID_MASK = (1 << 8 * ID_BYTES) - 1


class Form(IntEnum):
    """How a session's messages are written."""

    MESSAGEPACK = 0
    JSON = 1
    EVENTS = 2


class Told(NamedTuple):
    """A segment with its event: made as it arrives, once for all who get it."""

    citizen: bytes | None
    message: bytes
    event: bytes


class Holdings:
    """What the viewers of one audience hold: of each strand the next number."""

    __slots__ = ("_strands", "_sum")

    def __init__(self) -> None:
        self._strands: dict[bytes, tuple[bytes | None, int]] = {}
        self._sum = 0

    @property
    def id(self) -> str:
        """Their name: equal holdings, equal names; empty while no number is held. A sum of hashes, so
        that a sample costs the same whatever the number of strands.
        """
        return text_of(self._sum.to_bytes(ID_BYTES, "big")) if self._sum else ""

    def tell(self, segment: Segment) -> Told:
        """The segment's event, with the name of what is held behind it."""
        event = self.take(segment)
        if event and not event.startswith(id_line("")):
            event = id_line(self.id) + event
        return Told(segment.citizen, segment.message, event)

    def take(self, segment: Segment) -> bytes:
        """Note what the segment adds. Its event; empty if it is none of ours."""
        try:
            struct = json_twin.read(segment.message)
            fields = json_twin.fields_of(struct)
        except Refused:  # a newer service's: left out, as in JSON
            return b""
        self._hold(segment.citizen, struct, fields.get("sample"))
        return _event(fields)

    def _hold(
        self, citizen: bytes | None, struct: msgspec.Struct, sample: dict[str, int] | None
    ) -> None:
        match struct:
            case StrandShown():
                self._set(struct.strand, citizen, struct.next_seq)
            case SampleShown():
                assert sample is not None
                self._advance(struct.strand, citizen, sample["seq"] + 1)
            case Skipped():
                self._advance(struct.strand, citizen, struct.last + 1)
            case StrandEnded():
                self._set(struct.strand, None, 0)
            case Struck() if struct.citizen is not None:
                self.forget(struct.citizen)
            case _:
                pass

    def _advance(self, strand: bytes, citizen: bytes | None, next_seq: int) -> None:
        if next_seq > self._strands.get(strand, (None, 0))[1]:
            self._set(strand, citizen, next_seq)

    def _set(self, strand: bytes, citizen: bytes | None, next_seq: int) -> None:
        """Nothing is said of a strand without a number."""
        _, before = self._strands.pop(strand, (None, 0))
        if before:
            self._sum = (self._sum - _weight(strand, before)) & _ID_MASK
        if next_seq:
            self._strands[strand] = (citizen, next_seq)
            self._sum = (self._sum + _weight(strand, next_seq)) & _ID_MASK

    def forget(self, citizen: bytes) -> None:
        """The citizen was taken out of what waits: whoever comes back is not said to have it all."""
        for strand, (whose, _) in list(self._strands.items()):
            if whose == citizen:
                self._set(strand, None, 0)


def _weight(strand: bytes, next_seq: int) -> int:
    row = hashlib.sha256(strand + next_seq.to_bytes(8, "big")).digest()
    return int.from_bytes(row[:ID_BYTES], "big")


class EventSnapshot:
    """A snapshot's segments as events, made when the first event stream enters by it, for all that do."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = segments

    @cached_property
    def _both(self) -> tuple[list[Told], Holdings]:
        holdings = Holdings()
        told = [Told(part.citizen, part.message, holdings.take(part)) for part in self._segments]
        return [part for part in told if part.event], holdings

    @property
    def told(self) -> list[Told]:
        return self._both[0]

    @property
    def holdings(self) -> Holdings:
        return self._both[1]


def id_line(id_: str) -> bytes:
    """Empty: the client is to forget the id that it has (and to send none when it comes back)."""
    return b"id: %b\n" % id_.encode() if id_ else b"id\n"


def _event(fields: dict[str, object]) -> bytes:
    """Without an id, unless the client is to forget it: it has missed something."""
    name = str(fields["type"])
    forgets = id_line("") if name == "gap" else b""
    return b"%bevent: %b\ndata: %b\n\n" % (forgets, name.encode(), msgspec.json.encode(fields))


def event_of(message: bytes) -> bytes:
    """One message's event; empty if the message is none of ours."""
    try:
        return _event(json_twin.object_of(message))
    except Refused:
        return b""


def payload_of(messages: list[bytes], form: Form) -> bytes:
    """What is written for some messages; those of event streams are events already."""
    match form:
        case Form.MESSAGEPACK:
            return array_header(len(messages)) + b"".join(messages)
        case Form.JSON:
            return twin_of(messages)
        case Form.EVENTS:
            return b"".join(messages)

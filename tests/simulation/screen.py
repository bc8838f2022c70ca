"""What one connection has been shown so far, read from the frames alone and apart from the client's
own core, so that a mistake there cannot hide itself from the laws.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared import codec
from shared.contracts import (
    Closeness,
    Coarse,
    Sample,
    SampleShown,
    SealShown,
    ServerMessage,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)


@dataclass(slots=True)
class StrandSeen:
    """A strand at `full` on one connection."""

    strand: bytes
    sanctuary: bytes
    citizen: bytes
    expected: int
    """The next number that must come, or be told as skipped."""
    body: bytes | None
    seal: bytes | None
    unsealed_from: int | None
    ended: str | None = None

    def held(self) -> tuple[object, ...]:
        """What two viewers of equal rights must agree on."""
        return (self.citizen, self.expected, self.body, self.seal, self.unsealed_from)


@dataclass(slots=True)
class RoomSeen:
    strands: dict[bytes, StrandSeen] = field(default_factory=dict)
    cells: dict[bytes, tuple[int, int | None]] = field(default_factory=dict)
    """Pseudonym → (tick, cell)."""
    is_close: bool = True
    snapshots: int = 0
    in_snapshot: int = 0
    """How many messages of the last snapshot are still to come."""


@dataclass(slots=True)
class Screen:
    rooms: dict[bytes, RoomSeen] = field(default_factory=dict)
    strands: dict[bytes, StrandSeen] = field(default_factory=dict)
    delivered: dict[bytes, set[int]] = field(default_factory=dict)
    """Every number that ever came as `sample`, by strand; a snapshot forgets nothing here."""
    struck: set[tuple[bytes, bytes]] = field(default_factory=set)
    """(sanctuary, citizen or pseudonym) that must not come back unannounced."""
    in_snapshot: RoomSeen | None = None

    def room(self, sanctuary: bytes) -> RoomSeen:
        found = self.rooms.get(sanctuary)
        if found is None:
            found = self.rooms[sanctuary] = RoomSeen()
        return found

    def show(self, message: ServerMessage) -> None:
        """Take in one message, after the laws have judged it."""
        snapshot = self.in_snapshot
        if snapshot is not None:
            snapshot.in_snapshot -= 1
            if snapshot.in_snapshot == 0:
                self.in_snapshot = None
        match message:
            case SampleShown():
                seen = self.strands.get(message.strand)
                if seen is not None:
                    seq = seq_of(message.body)
                    seen.expected = seq + 1
                    seen.body = message.body
                    self.delivered.setdefault(message.strand, set()).add(seq)
            case SealShown():
                seen = self.strands.get(message.strand)
                if seen is not None:
                    seen.seal = message.record.payload
            case Skipped():
                seen = self.strands.get(message.strand)
                if seen is not None:
                    seen.expected = message.last + 1
            case StrandShown():
                seen = StrandSeen(
                    message.strand,
                    message.sanctuary,
                    message.citizen,
                    message.next_seq,
                    message.body,
                    message.seal.payload if message.seal is not None else None,
                    message.unsealed_from,
                )
                self.strands[message.strand] = seen
                self.room(message.sanctuary).strands[message.strand] = seen
                self.struck.discard((message.sanctuary, message.citizen))
            case StrandEnded():
                seen = self.strands.get(message.strand)
                if seen is not None:
                    seen.ended = message.reason
                    seen.unsealed_from = message.unsealed_from
            case Coarse():
                self.room(message.sanctuary).cells[message.pseudonym] = (message.tick, message.cell)
                if message.cell is None:
                    self.struck.add((message.sanctuary, message.pseudonym))
            case Struck():
                self._strike(message)
            case Closeness():
                self.room(message.sanctuary).is_close = message.close
            case Snapshot():
                room = self.room(message.sanctuary)
                for strand in room.strands:
                    del self.strands[strand]
                room.strands.clear()
                room.cells.clear()
                room.is_close = True  # a snapshot of a room that is not says so
                room.snapshots += 1
                room.in_snapshot = message.count
                self.in_snapshot = room if message.count else None
            case _:
                pass

    def _strike(self, message: Struck) -> None:
        room = self.room(message.sanctuary)
        if message.citizen is not None:
            for seen in [each for each in room.strands.values() if each.citizen == message.citizen]:
                del room.strands[seen.strand]
                del self.strands[seen.strand]
            self.struck.add((message.sanctuary, message.citizen))
        if message.pseudonym is not None:
            room.cells.pop(message.pseudonym, None)
            self.struck.add((message.sanctuary, message.pseudonym))


_seqs: dict[bytes, int] = {}


def seq_of(body: bytes) -> int:
    """A body's number; bodies are read many times, once for each viewer."""
    seq = _seqs.get(body)
    if seq is None:
        if len(_seqs) > 20_000:
            _seqs.clear()
        seq = _seqs[body] = codec.decode(body, Sample).seq
    return seq

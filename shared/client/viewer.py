"""What one viewer holds: strands, windows as they are judged, coarse pseudonyms. Pure.

Law: `state()` after a snapshot and later events equals that of a viewer there since the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from shared.client.strand import Tally
from shared.codec import Refused, body_hash, decode_canonical, decode_sample, sha256, strand_id
from shared.contracts.client import (
    Closeness,
    Coarse,
    Gap,
    Held,
    PolicyChanged,
    Released,
    SampleShown,
    SealShown,
    ServerMessage,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)
from shared.contracts.records import Opening, RecordKind, Seal, Signed
from shared.identity import Signer, verify_record

__all__ = ["StrandView", "Tally", "Viewer", "WindowJudged", "WindowState"]

HELD_NUMBERS_MAX = 1024
"""Pending numbers held per strand: 8 s at the highest rate, and a seal is due after 1.5 s."""
HELD_STRANDS_MAX = 256


class WindowState(StrEnum):
    VERIFIED = "verified"
    INCOMPLETE = "incomplete"
    """The seal is good; some of its numbers are not held."""
    UNSEALED = "unsealed"
    FALSE = "false"


class WindowJudged(NamedTuple):
    """Numbers `first`…`last` of a strand were judged."""

    strand: bytes
    window: int | None
    state: WindowState
    first: int
    last: int


@dataclass(slots=True)
class StrandView:
    sanctuary: bytes
    citizen: bytes
    signed: Signed
    opening: Opening | None
    """Nil if it is not what it claims to be: then no window of it is ever verified."""
    next_seq: int
    body: bytes | None
    seal: Signed | None
    unsealed_from: int | None
    ended: str | None = None
    pending: dict[int, bytes] = field(default_factory=dict)
    """Number → truncated hash of the body held, until its window is judged."""
    windows: dict[WindowState, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    last_window: int = -1
    last_seal_hash: bytes | None = None
    is_equivocal: bool = False
    seed: bytes | None = None


@dataclass(slots=True)
class RoomView:
    strands: dict[bytes, StrandView] = field(default_factory=dict)
    coarse: dict[bytes, int] = field(default_factory=dict)
    is_close: bool = True
    gaps: int = 0
    recovered: bool | None = None


class Viewer:
    """`apply` every message; read `rooms`. Verifies openings and seals (some 60 µs each)."""

    def __init__(self, city: bytes = bytes(32)) -> None:
        self.city = city
        self.rooms: dict[bytes, RoomView] = {}
        self.orphans = 0
        """Messages about strands that were never shown, or were struck."""
        self._by_strand: dict[bytes, StrandView] = {}

    def room(self, sanctuary: bytes) -> RoomView:
        return self.rooms.setdefault(sanctuary, RoomView())

    def strand(self, strand: bytes) -> StrandView | None:
        return self._by_strand.get(strand)

    def held(self, sanctuary: bytes) -> tuple[Held, ...]:
        """What a returning viewer says it holds."""
        room = self.rooms.get(sanctuary)
        if room is None:
            return ()
        rows = [
            Held(strand, view.next_seq - 1)
            for strand, view in room.strands.items()
            if view.next_seq > 0 and view.ended is None
        ]
        return tuple(rows[:HELD_STRANDS_MAX])

    def disconnected(self) -> None:
        """What is held stays on show until the next snapshot says what is so."""

    def state(self) -> dict[str, Any]:
        """Everything that the law compares, as plain values in a fixed order."""
        rooms = {}
        for sanctuary in sorted(self.rooms):
            room = self.rooms[sanctuary]
            rooms[sanctuary.hex()] = {
                "close": room.is_close,
                "coarse": {name.hex(): room.coarse[name] for name in sorted(room.coarse)},
                "strands": {
                    strand.hex(): {
                        "citizen": view.citizen.hex(),
                        "opening": view.signed.payload.hex(),
                        "next_seq": view.next_seq,
                        "body": None if view.body is None else view.body.hex(),
                        "seal": None if view.seal is None else view.seal.payload.hex(),
                        "unsealed_from": view.unsealed_from,
                    }
                    for strand, view in sorted(room.strands.items())
                    if view.ended is None
                },
            }
        return rooms

    def apply(self, message: ServerMessage) -> WindowJudged | None:
        """Take one message in; what it judged, if anything."""
        match message:
            case SampleShown():
                self._on_sample(message)
            case SealShown():
                return self._on_seal(message)
            case StrandShown():
                self._on_strand(message)
            case Skipped():
                self._on_skipped(message)
            case Coarse():
                coarse = self.room(message.sanctuary).coarse
                if message.cell is None:
                    coarse.pop(message.pseudonym, None)
                else:
                    coarse[message.pseudonym] = message.cell
            case Struck():
                self._on_struck(message)
            case StrandEnded():
                return self._on_ended(message)
            case Snapshot():
                self._on_snapshot(message)
            case Gap():
                self.room(message.sanctuary).gaps += 1
            case Closeness():
                self.room(message.sanctuary).is_close = message.close
            case Released():
                self._on_released(message)
            case PolicyChanged() | _:
                pass
        return None

    def _on_snapshot(self, message: Snapshot) -> None:
        """Forget the rest; `pending` numbers of strands that come back are judged as before."""
        room = self.room(message.sanctuary)
        room.recovered = message.recovered
        for strand in room.strands:
            self._by_strand.pop(strand, None)
        room.strands = {}
        room.coarse = {}
        room.is_close = True

    def _on_strand(self, message: StrandShown) -> None:
        room = self.room(message.sanctuary)
        known = room.strands.get(message.strand)
        view = StrandView(
            sanctuary=message.sanctuary,
            citizen=message.citizen,
            signed=message.opening,
            opening=self._opening(message),
            next_seq=message.next_seq,
            body=message.body,
            seal=message.seal,
            unsealed_from=message.unsealed_from,
        )
        if message.seal is not None:
            try:
                seal = decode_canonical(message.seal.payload, Seal)
            except Refused:
                pass
            else:
                view.last_window = seal.window
                view.last_seal_hash = sha256(message.seal.payload)
        if known is not None:
            view.pending, view.windows, view.skipped = known.pending, known.windows, known.skipped
        if message.body is not None:
            try:
                newest = decode_sample(message.body).seq  # numbers behind it may have been skipped
            except Refused:
                self.orphans += 1
            else:
                view.pending[newest] = body_hash(message.body)
        room.strands[message.strand] = self._by_strand[message.strand] = view

    def _opening(self, message: StrandShown) -> Opening | None:
        """The opening, if it is this strand's and this citizen's, signed by the device it names.

        Whether the device is the citizen's is the registry's to say, and ingest's to check.
        """
        if strand_id(message.opening.payload) != message.strand:
            return None
        try:
            opening = decode_canonical(message.opening.payload, Opening)
        except Refused:
            return None
        if (opening.sanctuary, opening.citizen) != (message.sanctuary, message.citizen):
            return None
        if not verify_record(opening.device, RecordKind.OPENING, self.city, message.opening):
            return None
        return opening

    def _on_sample(self, message: SampleShown) -> None:
        view = self._by_strand.get(message.strand)
        if view is None or view.ended is not None:
            self.orphans += 1
            return
        try:
            seq = decode_sample(message.body).seq
        except Refused:
            self.orphans += 1
            return
        view.pending[seq] = body_hash(message.body)
        if len(view.pending) > HELD_NUMBERS_MAX:
            del view.pending[next(iter(view.pending))]
        if seq >= view.next_seq:
            view.next_seq = seq + 1
            view.body = message.body

    def _on_skipped(self, message: Skipped) -> None:
        view = self._by_strand.get(message.strand)
        if view is None:
            self.orphans += 1
            return
        count = message.last - message.first + 1
        view.skipped[message.reason] = view.skipped.get(message.reason, 0) + count
        view.next_seq = max(view.next_seq, message.last + 1)

    def _on_seal(self, message: SealShown) -> WindowJudged | None:
        view = self._by_strand.get(message.strand)
        if view is None:
            self.orphans += 1
            return None
        judged = self._judge(message.strand, view, message.record)
        if judged is not None:
            view.windows[judged.state] = view.windows.get(judged.state, 0) + 1
        return judged

    def _judge(self, strand: bytes, view: StrandView, record: Signed) -> WindowJudged | None:
        try:
            seal = decode_canonical(record.payload, Seal)
        except Refused:
            return WindowJudged(strand, None, WindowState.FALSE, 0, 0)
        last = seal.first_seq + len(seal.hashes) - 1
        false = WindowJudged(strand, seal.window, WindowState.FALSE, seal.first_seq, last)
        if (
            view.opening is None
            or seal.strand != strand
            or not verify_record(view.opening.strand_key, RecordKind.SEAL, self.city, record)
        ):
            return false
        payload_hash = sha256(record.payload)
        if seal.window <= view.last_window:
            if seal.window == view.last_window and payload_hash != view.last_seal_hash:
                view.is_equivocal = True  # two good seals for one window: proof against the signer
                return false
            return None
        follows = seal.window == view.last_window + 1
        if follows and seal.previous != (view.last_seal_hash or bytes(32)):
            return false
        view.last_window, view.last_seal_hash, view.seal = seal.window, payload_hash, record
        state = WindowState.VERIFIED
        for seq, expected in enumerate(seal.hashes, seal.first_seq):
            held = view.pending.pop(seq, None)
            if held is None:
                if state is WindowState.VERIFIED:
                    state = WindowState.INCOMPLETE
            elif held != expected:
                state = WindowState.FALSE
        for seq in [seq for seq in view.pending if seq < seal.first_seq]:
            del view.pending[seq]  # their window's seal was skipped: they stay unsealed
            view.windows[WindowState.UNSEALED] = view.windows.get(WindowState.UNSEALED, 0) + 1
        return WindowJudged(strand, seal.window, state, seal.first_seq, last)

    def _on_ended(self, message: StrandEnded) -> WindowJudged | None:
        view = self._by_strand.get(message.strand)
        if view is None:
            return None
        view.ended = message.reason
        if message.unsealed_from is None:
            return None
        view.unsealed_from = message.unsealed_from
        left = [seq for seq in view.pending if seq >= message.unsealed_from]
        view.pending = {}
        if not left:
            return None
        view.windows[WindowState.UNSEALED] = view.windows.get(WindowState.UNSEALED, 0) + 1
        return WindowJudged(message.strand, None, WindowState.UNSEALED, min(left), max(left))

    def _on_struck(self, message: Struck) -> None:
        room = self.room(message.sanctuary)
        if message.pseudonym is not None:
            room.coarse.pop(message.pseudonym, None)
        if message.citizen is None:
            return
        for strand in [s for s, v in room.strands.items() if v.citizen == message.citizen]:
            del room.strands[strand]
            self._by_strand.pop(strand, None)

    def _on_released(self, message: Released) -> None:
        view = self._by_strand.get(message.strand)
        if view is None or view.opening is None:
            return
        if Signer(message.seed).public_key == view.opening.strand_key:
            view.seed = message.seed

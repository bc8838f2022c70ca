"""The ladder for viewers who read slowly: every message, the newest of each citizen, none. Pure.

A viewer falls to `newest` when more waits for it than `FALL_BYTES`: what waits is conflated, so that
of each strand the newest sample, the newest seal and the numbers left out remain, of each pseudonym the
newest cell. It falls to `field` when its socket has taken nothing for `STUCK_NS`: then only strikes,
notices and answers are written, and what else waits stays conflated until it climbs back. Who has
taken nothing for `HOPELESS_NS`, or for whom too much waits all the same, is closed by the caller.

It climbs one rung when nothing has waited for a while; each fall doubles that while, so that a viewer
does not swing. A window that was conflated may stay without its seal.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from services.gateway.core.owed import UNREAD, AnyOwed, Owed
from shared.codec import Refused, decode, encode
from shared.contracts.client import (
    Coarse,
    SampleShown,
    SealShown,
    Skipped,
    StrandEnded,
    StrandShown,
)
from shared.contracts.refusals import Refusal
from shared.identifiers import MonotonicNs

FALL_BYTES = 65_536
"""What may wait for one viewer before it is conflated: four own writes."""
STUCK_NS = 2_000_000_000
HOPELESS_NS = 120_000_000_000
"""A socket's buffers hold some 80 kB: at 1 kB/s they take that long to move at all."""
_CONFLATED = Refusal.CONFLATED.value
CALM_NS_MIN, CALM_NS_MAX = 1_000_000_000, 64_000_000_000


class Rung(IntEnum):
    """How much a viewer is written. The name, in small letters, is what it is told."""

    EVERY = 0
    NEWEST = 1
    FIELD = 2


class Climber:
    """Where one viewer stands, and since when it is stuck or calm. `look` is called now and then."""

    __slots__ = ("_calm_ns", "_fall_bytes", "_stuck_ns", "_wait_ns", "conflate_at", "rung")

    def __init__(self, fall_bytes: int) -> None:
        self.rung = Rung.EVERY
        self._fall_bytes = fall_bytes
        self.conflate_at = fall_bytes
        """How much may wait before it is conflated (again)."""
        self._stuck_ns: MonotonicNs | None = None
        self._calm_ns: MonotonicNs | None = None
        self._wait_ns = CALM_NS_MIN

    def conflated(self, byte_count: int) -> bool:
        """What waits was conflated to so much. True: that was a fall."""
        self.conflate_at = max(self._fall_bytes, 2 * byte_count)
        if self.rung is not Rung.EVERY:
            return False
        self._fall(Rung.NEWEST)
        return True

    def _fall(self, rung: Rung) -> None:
        self.rung = rung
        self._calm_ns = None
        self._wait_ns = min(2 * self._wait_ns, CALM_NS_MAX)

    def look(self, now_ns: MonotonicNs, *, is_paused: bool, is_idle: bool) -> Rung | None:
        """The rung that it has just come to; nil: the same. `is_idle`: nothing waits that may go out."""
        if is_paused:
            self._calm_ns = None
            if self._stuck_ns is None:
                self._stuck_ns = now_ns
            elif self.rung is Rung.NEWEST and now_ns - self._stuck_ns >= STUCK_NS:
                self._fall(Rung.FIELD)
                return self.rung
            return None
        self._stuck_ns = None
        if not is_idle:
            self._calm_ns = None
        elif self._calm_ns is None:
            self._calm_ns = now_ns
        elif now_ns - self._calm_ns >= self._wait_ns and self.rung is not Rung.EVERY:
            self.rung = Rung(self.rung - 1)
            self._calm_ns = now_ns
            return self.rung
        elif self.rung is Rung.EVERY and now_ns - self._calm_ns >= CALM_NS_MAX:
            self._wait_ns = CALM_NS_MIN
        return None

    def is_hopeless(self, now_ns: MonotonicNs) -> bool:
        return self._stuck_ns is not None and now_ns - self._stuck_ns >= HOPELESS_NS

    @property
    def is_forgiven(self) -> bool:
        """Whether nothing of former falls counts any more."""
        return self.rung is Rung.EVERY and self._wait_ns == CALM_NS_MIN


# ── conflation ───────────────────────────────────────────────────────────────────────────────────


class _Head(msgspec.Struct, array_like=True, gc=False):
    """A body's number."""

    seq: int


_KNOWN: Any = SampleShown | SealShown | Skipped | Coarse | StrandShown | StrandEnded
_Place = int


class _Sample(NamedTuple):
    """What conflation has to know of a sample."""

    strand: bytes
    seq: int


_Read = _Sample | SealShown | Skipped | Coarse | StrandShown | StrandEnded | None


class _Runs:
    """Numbers that will not come, in order, as (first, last, reason)."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []

    def add(self, first: int, last: int, reason: str) -> None:
        """Numbers that follow each other are one run; for several reasons, `conflated`."""
        if self.rows and self.rows[-1][1] + 1 == first:
            before = self.rows[-1]
            before[1] = last
            if before[2] != reason:
                before[2] = _CONFLATED
        else:
            self.rows.append([first, last, reason])

    def told(self, strand: bytes, beside: Owed) -> list[Owed]:
        return [
            Owed(
                encode(Skipped(strand, *row)),
                audience=beside.audience,
                slot=beside.slot,
                citizen=beside.citizen,
            )
            for row in self.rows
        ]


class _Line:
    """One strand's messages in one audience, between its being shown and its end."""

    __slots__ = ("before", "later", "newest", "seal", "seq", "skipped", "strand")

    def __init__(self, strand: bytes) -> None:
        self.strand = strand
        self.newest: _Place | None = None
        self.seq = -1
        self.before = _Runs()
        """Ahead of the newest sample."""
        self.later = _Runs()
        """Behind it, or without one."""
        self.skipped: _Place | None = None
        """Of the last message in `later`."""
        self.seal: _Place | None = None


def _line(lines: dict[bytes, _Line], strand: bytes) -> _Line:
    line = lines.get(strand)
    if line is None:
        line = lines[strand] = _Line(strand)
    return line


class _Part:
    """A piece of a queue in which messages may be taken together."""

    def __init__(self, part: list[Owed]) -> None:
        self.part = part
        self.kept: list[Owed | None] = [*part]
        self.lines: dict[Any, dict[bytes, _Line]] = {}
        """Audience → strand."""
        self.ended: list[_Line] = []
        self.cells: dict[tuple[Any, bytes], _Place] = {}

    def conflate(self) -> list[Owed]:
        kept = self.kept
        for place, each in enumerate(self.part):
            if each.citizen is None:
                continue
            message = read(each)
            if message is None:
                continue
            lines = self.lines.get(each.audience)
            if lines is None:
                lines = self.lines[each.audience] = {}
            if type(message) is _Sample:  # nearly all of them
                self._sample(_line(lines, message.strand), place, message.seq)
                continue
            match message:
                case Coarse():
                    key = (each.audience, message.pseudonym)
                    before = self.cells.pop(key, None)
                    if before is not None:
                        kept[before] = None
                    self.cells[key] = place
                case Skipped():
                    line = _line(lines, message.strand)
                    line.later.add(message.first, message.last, message.reason)
                    if line.skipped is not None:
                        kept[line.skipped] = None
                    line.skipped = place
                case SealShown():
                    line = _line(lines, message.strand)
                    if line.seal is not None:
                        kept[line.seal] = None
                    line.seal = place
                case StrandShown() | StrandEnded():
                    over = lines.pop(message.strand, None)
                    if over is not None:
                        self.ended.append(over)
        return self._told()

    def _sample(self, line: _Line, place: _Place, seq: int) -> None:
        """The newest so far: the one before it, and what was skipped since, is told ahead of it."""
        if line.newest is not None:
            self.kept[line.newest] = None
            line.before.add(line.seq, line.seq, _CONFLATED)
        if line.skipped is not None:
            self.kept[line.skipped] = None
            for row in line.later.rows:
                line.before.add(*row)
            line.later.rows.clear()
            line.skipped = None
        line.newest, line.seq = place, seq

    def _told(self) -> list[Owed]:
        ahead: dict[_Place, list[Owed]] = {}
        for line in [*self.ended, *(line for of in self.lines.values() for line in of.values())]:
            if line.newest is not None and line.before.rows:
                ahead[line.newest] = line.before.told(line.strand, self.part[line.newest])
            if line.skipped is not None:
                ahead[line.skipped] = line.later.told(line.strand, self.part[line.skipped])
                self.kept[line.skipped] = None
        told: list[Owed] = []
        for place, each in enumerate(self.kept):
            if place in ahead:
                told += ahead[place]
            if each is not None:
                told.append(each)
        return told


def conflate(owed: Iterable[AnyOwed]) -> list[AnyOwed]:
    """The same queue, of each strand the newest sample and seal, of each pseudonym the newest cell.
    Order is kept among what stays; numbers left out are announced ahead of the sample that outlived
    them. Nothing is taken together across a snapshot.
    """
    kept: list[AnyOwed] = []
    part: list[Owed] = []
    for each in owed:
        if isinstance(each, Owed):
            part.append(each)
        else:
            kept += [*_Part(part).conflate(), each]
            part = []
    return kept + _Part(part).conflate()


def read(owed: Owed) -> _Read:
    """What conflation has to know of a message, read once for all viewers who are owed it; nil: it is not
    one of those that come over and over.
    """
    if owed.read is UNREAD:
        owed.read = _read(owed.message)
    return owed.read  # type: ignore[return-value]


def _read(message: bytes) -> _Read:
    try:
        known = decode(message, _KNOWN)
        if isinstance(known, SampleShown):
            return _Sample(known.strand, decode(known.body, _Head).seq)
    except Refused:
        return None
    return known  # type: ignore[no-any-return]

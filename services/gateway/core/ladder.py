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

from services.gateway.core.owed import AnyOwed, Owed
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


class _Run(NamedTuple):
    """Numbers that will not come."""

    first: int
    last: int
    reason: str


_READ: Any = SampleShown | SealShown | Skipped | Coarse | StrandShown | StrandEnded
_Place = int


class _Timeline:
    """One strand's messages in one audience, between its being shown and its end."""

    __slots__ = ("samples", "seals", "skips")

    def __init__(self) -> None:
        self.samples: dict[_Place, int] = {}
        """Place → number, in order; as are all three."""
        self.skips: dict[_Place, _Run] = {}
        self.seals: list[_Place] = []


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
            kept += [*_conflate(part), each]
            part = []
    return kept + _conflate(part)


def _conflate(part: list[Owed]) -> list[Owed]:
    slots: list[list[Owed]] = [[each] for each in part]
    open_: dict[tuple[Any, bytes], _Timeline] = {}
    ended: list[tuple[bytes, _Timeline]] = []
    cells: dict[tuple[Any, bytes], _Place] = {}
    for place, each in enumerate(part):
        if each.citizen is None:
            continue
        try:
            message = decode(each.message, _READ)
        except Refused:
            continue  # not one of those that come over and over
        if isinstance(message, Coarse):
            before = cells.pop((each.audience, message.pseudonym), None)
            if before is not None:
                slots[before] = []
            cells[each.audience, message.pseudonym] = place
            continue
        key = (each.audience, message.strand)
        if isinstance(message, StrandShown | StrandEnded):
            if key in open_:
                ended.append((message.strand, open_.pop(key)))
            continue
        line = open_.setdefault(key, _Timeline())
        match message:
            case SampleShown():
                seq = _seq_of(message.body)
                if seq is not None:
                    line.samples[place] = seq
            case Skipped():
                line.skips[place] = _Run(message.first, message.last, message.reason)
            case SealShown():
                line.seals.append(place)
    for strand, line in [*ended, *((key[1], line) for key, line in open_.items())]:
        _shorten(strand, line, part, slots)
    return [each for slot in slots for each in slot]


def _seq_of(body: bytes) -> int | None:
    try:
        return decode(body, _Head).seq
    except Refused:  # ingest lets no such body in
        return None


def _shorten(strand: bytes, line: _Timeline, part: list[Owed], slots: list[list[Owed]]) -> None:
    for place in line.seals[:-1]:
        slots[place] = []
    newest = max(line.samples, default=-1)
    runs: list[_Run] = []
    later: list[_Run] = []
    for place in sorted({**line.samples, **line.skips}):
        if place == newest:
            continue
        number = line.samples.get(place, 0)
        run = line.skips.get(place) or _Run(number, number, Refusal.CONFLATED.value)
        _add(runs if place < newest else later, run)
        slots[place] = []
    if newest >= 0:
        slots[newest] = [*_told(strand, runs, part[newest]), part[newest]]
    if later:
        last = max(line.skips)
        slots[last] = _told(strand, later, part[last])


def _add(runs: list[_Run], run: _Run) -> None:
    """Numbers that follow each other are one run; for several reasons, `conflated`."""
    if runs and runs[-1].last + 1 == run.first:
        before = runs.pop()
        reason = run.reason if run.reason == before.reason else Refusal.CONFLATED.value
        run = _Run(before.first, run.last, reason)
    runs.append(run)


def _told(strand: bytes, runs: list[_Run], beside: Owed) -> list[Owed]:
    return [
        Owed(
            encode(Skipped(strand, *run)),
            audience=beside.audience,
            slot=beside.slot,
            citizen=beside.citizen,
        )
        for run in runs
    ]

"""What `synchronia watch` shows of one room: who is seen how closely, and how well it arrives. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.client.events import Event
from shared.client.viewer import StrandView, Viewer, WindowJudged, WindowState
from shared.client.words import printable
from shared.codec import Refused, decode_sample
from shared.contracts.client import Gap, SampleShown, Snapshot
from shared.identifiers import MonotonicNs, SanctuaryId, WallMs

SPAN_NS = 5_000_000_000
"""Rates and delays are of the last so many seconds: a rate of 2/s then moves by steps of 0.2."""
ARRIVALS_MAX = 65_536
"""5 s of a hundred people at the highest rate; more, and the oldest are forgotten."""
GRID = 5
"""Cells of the coarse plane in one direction."""


class Seen(NamedTuple):
    """Somebody at `full`: the newest sample, and how this strand arrives."""

    strand: bytes
    citizen: bytes
    name: str
    valence: float
    arousal: float
    per_s: float
    delay_ms: float | None
    verified: int
    doubtful: int
    """Windows whose seal is false, or never came."""
    skipped: int
    is_followed: bool


class Blurred(NamedTuple):
    """Somebody at `coarse`: the middle of the cell."""

    pseudonym: bytes
    valence: float
    arousal: float


@dataclass
class Picture:
    """The room at one moment. Delays are from a sample's stamp to its arrival here, milliseconds."""

    full: list[Seen]
    coarse: list[Blurred]
    per_s: float
    delay_ms_p50: float | None
    delay_ms_max: float | None
    gaps: int
    snapshots: int
    is_connected: bool
    is_close: bool
    recovered: bool | None

    def object(self, sanctuary: bytes, now_ms: WallMs) -> dict[str, Any]:
        """For machines: ids in hex, numbers as they are."""
        return {
            "type": "room",
            "t_ms": now_ms,
            "sanctuary": sanctuary.hex(),
            "connected": self.is_connected,
            "full": [
                row._asdict() | {"strand": row.strand.hex(), "citizen": row.citizen.hex()}
                for row in self.full
            ],
            "coarse": [row._asdict() | {"pseudonym": row.pseudonym.hex()} for row in self.coarse],
            "per_s": self.per_s,
            "delay_ms_p50": self.delay_ms_p50,
            "delay_ms_max": self.delay_ms_max,
            "gaps": self.gaps,
            "snapshots": self.snapshots,
            "close": self.is_close,
            "recovered": self.recovered,
        }

    def parts(self) -> list[str]:
        """In words: who, rate, delay, gaps, and that nobody is reached if so."""
        delay = "-" if self.delay_ms_p50 is None else f"{self.delay_ms_p50:.0f} ms"
        state = [] if self.is_connected else ["not connected"]
        who = f"{len(self.full)} full, {len(self.coarse)} coarse"
        return [who, f"{self.per_s:.1f}/s", f"delay {delay}", f"gaps {self.gaps}", *state]

    def line(self) -> str:
        """For a pipe without --json."""
        return "  ".join(self.parts())


class _Arrival(NamedTuple):
    at_ns: MonotonicNs
    strand: bytes
    delay_ms: float


@dataclass
class Board:
    """`take` every event; look at it with `picture`."""

    viewer: Viewer
    sanctuary: SanctuaryId
    followed: tuple[bytes, ...] = ()
    """Whom this viewer follows."""
    snapshots: int = 0
    doubtful: dict[bytes, int] = field(default_factory=dict)
    gaps: int = 0
    _arrivals: deque[_Arrival] = field(default_factory=lambda: deque(maxlen=ARRIVALS_MAX))

    def take(self, events: list[Event], now_ns: MonotonicNs, city_ms: float) -> None:
        """`city_ms`: the city's wall clock now."""
        for event in events:
            match event:
                case SampleShown():
                    try:
                        stamp_ms = decode_sample(event.body).t_ms
                    except Refused:
                        continue
                    delay_ms = max(0.0, city_ms - stamp_ms)  # the city's clock is known to some ms
                    self._arrivals.append(_Arrival(now_ns, event.strand, delay_ms))
                case Gap():
                    self.gaps += 1
                case Snapshot():
                    self.snapshots += 1
                case WindowJudged() if event.state in {WindowState.FALSE, WindowState.UNSEALED}:
                    self.doubtful[event.strand] = self.doubtful.get(event.strand, 0) + 1
                case _:
                    pass

    def picture(self, now_ns: MonotonicNs, *, is_connected: bool = True) -> Picture:
        while self._arrivals and now_ns - self._arrivals[0].at_ns > SPAN_NS:
            self._arrivals.popleft()
        delays: dict[bytes, list[float]] = {}
        for arrival in self._arrivals:
            delays.setdefault(arrival.strand, []).append(arrival.delay_ms)
        room = self.viewer.room(self.sanctuary)
        rows = [
            self._seen(strand, view, delays.get(strand, []))
            for strand, view in room.strands.items()
            if view.ended is None
        ]
        everything = sorted(arrival.delay_ms for arrival in self._arrivals)
        return Picture(
            full=[row for row in rows if row is not None],
            coarse=[_blurred(name, cell) for name, cell in sorted(room.coarse.items())],
            per_s=len(everything) / (SPAN_NS / 1e9),
            delay_ms_p50=everything[len(everything) // 2] if everything else None,
            delay_ms_max=everything[-1] if everything else None,
            gaps=self.gaps,
            snapshots=self.snapshots,
            is_connected=is_connected,
            is_close=room.is_close,
            recovered=room.recovered,
        )

    def _seen(self, strand: bytes, view: StrandView, delays: list[float]) -> Seen | None:
        """Nil: nothing was said in the strand yet."""
        if view.body is None:
            return None
        try:
            sample = decode_sample(view.body)
        except Refused:
            return None
        named = view.opening is not None and view.opening.name
        return Seen(
            strand=strand,
            citizen=view.citizen,
            name=printable(named) if named else view.citizen.hex()[:8],
            valence=sample.valence / 1000,
            arousal=sample.arousal / 1000,
            per_s=len(delays) / (SPAN_NS / 1e9),
            delay_ms=sorted(delays)[len(delays) // 2] if delays else None,
            verified=view.windows.get(WindowState.VERIFIED, 0),
            doubtful=self.doubtful.get(strand, 0),
            skipped=sum(view.skipped.values()),
            is_followed=view.citizen in self.followed,
        )


def _blurred(pseudonym: bytes, cell: int) -> Blurred:
    row, column = divmod(cell, GRID)
    return Blurred(pseudonym, cell_middle(column), cell_middle(row))


def cell_middle(place: int) -> float:
    """The middle of the 0th, 1st … column or row of the coarse plane, −1 … 1."""
    return (2 * place + 1 - GRID) / GRID

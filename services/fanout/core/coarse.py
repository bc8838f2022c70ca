"""The coarse form: a cell a second under a pseudonym, and nothing from which more could be read."""

from __future__ import annotations

from collections.abc import Callable

from shared.codec import encode
from shared.contracts.client import Coarse, Struck
from shared.contracts.sample import Sample
from shared.identifiers import MonotonicNs

TICK_MS = 1000
HOLD_NS = 10_000_000_000
"""How long the last cell is held; as long no new pseudonym begins after a narrowing."""
_GRID = 5


def phase_ms(slot: int, slots: int) -> int:
    """When within a second a slot ticks: spread, so that no moment is everybody's."""
    return slot * TICK_MS // slots


def cell_of(sample: Sample) -> int:
    """5 × row(arousal) + column(valence) of a 5 × 5 grid from (−1, −1); 1 belongs to the last."""
    column = min(_GRID - 1, (sample.valence + 1000) * _GRID // 2000)
    row = min(_GRID - 1, (sample.arousal + 1000) * _GRID // 2000)
    return _GRID * row + column


class Face:
    """One citizen as one audience sees it at `coarse`.

    A pseudonym of its own for each audience, so that two audiences cannot compare notes; never used
    again after `absent` or `struck`.
    """

    __slots__ = ("_random_bytes", "begins_ns", "hidden_from", "message", "pseudonym")

    def __init__(self, begins_ns: int, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self.begins_ns = begins_ns
        """Only samples that came after this are shown."""
        self.pseudonym: bytes | None = None
        self.message: bytes | None = None
        """The newest record while the citizen is on show; nil: nobody sees the pseudonym."""
        self.hidden_from: dict[bytes, None] = {}
        """Persons for whom alone the pseudonym was struck: it must not come back to them."""

    def tick(
        self,
        sanctuary: bytes,
        stamp: int,
        *,
        cell: int | None,
        newest_ns: int,
        now_ns: MonotonicNs,
    ) -> tuple[bytes, bytes] | None:
        """(pseudonym, record) of this tick, or nothing. `newest_ns`: when the cell's sample came."""
        is_fresh = cell is not None and newest_ns > self.begins_ns and now_ns - newest_ns < HOLD_NS
        if is_fresh:
            if self.pseudonym is None:
                self.pseudonym = self._random_bytes(8)
            self.message = encode(Coarse(sanctuary, stamp, self.pseudonym, cell))
            return self.pseudonym, self.message
        if self.message is None or self.pseudonym is None:
            return None
        absent = (self.pseudonym, encode(Coarse(sanctuary, stamp, self.pseudonym, None)))
        self.pseudonym = self.message = None
        self.hidden_from.clear()
        return absent

    def struck(self, sanctuary: bytes) -> bytes:
        """The notice that blanks it; empty if nobody sees it."""
        if self.message is None:
            return b""
        return encode(Struck(sanctuary, None, self.pseudonym))

"""The numbering of `sig`: holes, epochs, and what waits while ingest is asked for its openings."""

from __future__ import annotations

from enum import Enum

from shared.contracts.ingest import Openings, SigBatch
from shared.identifiers import MonotonicNs
from shared.parts import Gathering

ASK_AGAIN_NS = 250_000_000
WAITING_BATCHES_MAX = 1024
"""Batches of one slot kept while ingest is asked; then the oldest go, which is a hole again."""


class Verdict(Enum):
    TAKE = "take"
    DROP = "drop"
    WAIT = "wait"
    INTERRUPT = "interrupt"
    """A new ingest: the old one's strands are over, then look again."""


class Numbering:
    """One slot's (epoch, number by kind), and the ask for openings."""

    __slots__ = ("_ask_at_ns", "_last", "_parts", "_waiting", "complete", "epoch")

    def __init__(self) -> None:
        self.epoch = -1
        self.complete = False
        """Whether the slot's openings were known once."""
        self._last: dict[str, int] = {}
        self._parts = Gathering[Openings]()
        self._ask_at_ns: int | None = 0
        """When to ask (again); nil: there is nothing to ask."""
        self._waiting: list[tuple[str, SigBatch]] = []

    @property
    def is_asking(self) -> bool:
        return self._ask_at_ns is not None

    def judge(self, kind: str, batch: SigBatch, now_ns: MonotonicNs) -> Verdict:
        """What to do with a batch; WAIT has put it aside."""
        if batch.epoch < self.epoch:
            return Verdict.DROP
        if batch.epoch > self.epoch:
            return Verdict.INTERRUPT
        last = self._last.get(kind, -1)
        if batch.number <= last:
            return Verdict.DROP
        if self.is_asking or batch.number != last + 1:
            if self._ask_at_ns is None:
                self._ask_at_ns = now_ns
            self._waiting.append((kind, batch))
            if len(self._waiting) > WAITING_BATCHES_MAX:
                del self._waiting[0]
            return Verdict.WAIT
        self._last[kind] = batch.number
        return Verdict.TAKE

    def begin(self, epoch: int) -> None:
        """A new ingest numbers from 0. Its openings are asked for only if that is not what comes."""
        if self.epoch >= 0 and self.complete:
            self._ask_at_ns = None
        self.epoch = epoch
        self._last.clear()
        self._waiting.clear()

    def asks(self, now_ns: MonotonicNs) -> bool:
        """Whether to ask now."""
        if self._ask_at_ns is None or self._ask_at_ns > now_ns:
            return False
        self._ask_at_ns = now_ns + ASK_AGAIN_NS
        return True

    def whole(self, openings: Openings) -> Openings | None:
        """An answer that came in parts, put together; nil: parts are missing."""
        moment = (openings.epoch, tuple(sorted(openings.numbers.items())))
        parts = self._parts.take(openings, moment)
        if parts is None:
            return None
        strands = tuple(row for part in parts for row in part.strands)
        return Openings(openings.slot, openings.epoch, openings.numbers, strands)

    def answered(self, openings: Openings) -> list[tuple[str, SigBatch]] | None:
        """Take the state's numbers. The batches to judge again, in order; nil: the answer is old."""
        if openings.epoch < self.epoch or not self.is_asking:
            return None
        if openings.epoch == self.epoch and any(
            openings.numbers.get(kind, -1) < last for kind, last in self._last.items()
        ):
            return None
        self.epoch = openings.epoch
        self._last = dict(openings.numbers)
        self._ask_at_ns = None
        self.complete = True
        waiting, self._waiting = self._waiting, []
        return sorted(waiting, key=lambda item: item[1].number)

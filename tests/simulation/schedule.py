"""Virtual time: one heap of what happens next. Nothing here waits; a simulated second is free."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

MS = 1_000_000
"""Nanoseconds in a millisecond."""
S = 1_000 * MS


class Schedule:
    """Runs callables in the order of their times; equal times in the order they were asked for."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when_ns: int, what: Callable[[], None]) -> None:
        if when_ns < self.now_ns:  # noqa: PLR1730  (a call of `max` costs more than all else here)
            when_ns = self.now_ns
        self._count += 1
        heappush(self._heap, (when_ns, self._count, what))

    def after(self, delay_ns: int, what: Callable[[], None]) -> None:
        self.at(self.now_ns + delay_ns, what)

    def run(self, until_ns: int) -> None:
        """Run everything that is due by `until_ns`, and what that plans until then."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            self.now_ns, _, what = heappop(heap)
            what()
        self.now_ns = max(self.now_ns, until_ns)

"""Virtual time: one heap of what happens next. Nothing here waits; a simulated second is free."""

from __future__ import annotations

import heapq
from collections.abc import Callable

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
        when_ns = max(when_ns, self.now_ns)
        self._count += 1
        heapq.heappush(self._heap, (when_ns, self._count, what))

    def after(self, delay_ns: int, what: Callable[[], None]) -> None:
        self.at(self.now_ns + delay_ns, what)

    def step(self, until_ns: int) -> bool:
        """Run the next one that is due by `until_ns`; False when there is none."""
        heap = self._heap
        if not heap or heap[0][0] > until_ns:
            self.now_ns = max(self.now_ns, until_ns)
            return False
        self.now_ns, _, what = heapq.heappop(heap)
        what()
        return True

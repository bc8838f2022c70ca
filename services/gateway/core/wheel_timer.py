"""One timer for all sessions: deadlines in buckets of a fixed width. Pure.

A session has at most one entry. Re-arming costs two dictionary operations, whatever the number of
sessions; an idle connection has no task and no timer of the event loop.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

from shared.identifiers import MonotonicNs

K = TypeVar("K")


class WheelTimer(Generic[K]):
    """Deadlines, rounded up to `width_ns`: nothing is due early, at most one width late."""

    def __init__(self, width_ns: int) -> None:
        assert width_ns > 0
        self._width_ns = width_ns
        self._buckets: dict[int, dict[K, None]] = {}
        self._order: list[int] = []  # a heap of bucket numbers; emptied buckets are skipped later
        self._bucket_of: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._bucket_of)

    def arm(self, key: K, at_ns: int) -> None:
        """Set the key's only deadline."""
        number = -(-at_ns // self._width_ns)
        previous = self._bucket_of.get(key)
        if previous == number:
            return
        if previous is not None:
            del self._buckets[previous][key]
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heapq.heappush(self._order, number)
        bucket[key] = None
        self._bucket_of[key] = number

    def disarm(self, key: K) -> None:
        number = self._bucket_of.pop(key, None)
        if number is not None:
            del self._buckets[number][key]

    def due(self, now_ns: int) -> list[K]:
        """The keys whose deadline has come, earliest bucket first; they are no longer armed."""
        keys: list[K] = []
        while self._order and self._order[0] * self._width_ns <= now_ns:
            keys.extend(self._buckets.pop(heapq.heappop(self._order)))
        for key in keys:
            del self._bucket_of[key]
        return keys

    def next_deadline(self) -> MonotonicNs | None:
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        return MonotonicNs(self._order[0] * self._width_ns) if self._order else None

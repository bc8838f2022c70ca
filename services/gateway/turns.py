"""What comes all at once is done a part in each turn of the loop.

A loop that reads five thousand sockets which became readable in the same moment comes back to its
timers behind the last of them: for more than a second no heartbeat is sent, no sweep is written, no
withdrawal is passed on. So what a turn has no time for waits for the next: frames and farewells of those
who are in, then those who are at the door, each in order. A storm of arrivals is let in as fast as it
can be served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from shared.identifiers import MonotonicNs

TURN_NS = 10_000_000
"""How long a turn may last before what else comes in it waits: some fifty arrivals."""

Work = Callable[[], None]


class Turns:
    """`put_off` counts what had to wait."""

    def __init__(
        self, call_soon: Callable[[Work], object], now_ns: Callable[[], MonotonicNs]
    ) -> None:
        self._call_soon = call_soon
        self._now_ns = now_ns
        self._frames: deque[Work] = deque()
        self._arrivals: deque[Work] = deque()
        self._ends_ns: int | None = None
        """Of this turn; nil: nothing was asked in it so far."""
        self.put_off = 0

    def do(self, work: Work) -> None:
        """What a connection that is in brings: at once, or behind what waits already."""
        if self._frames or self._is_over():
            self._frames.append(work)
            self.put_off += 1
        else:
            work()

    def admit(self, work: Work) -> bool:
        """The same for somebody at the door. Returns whether it is done."""
        if self._frames or self._arrivals or self._is_over():
            self._arrivals.append(work)
            self.put_off += 1
            return False
        work()
        return True

    def _is_over(self) -> bool:
        now_ns = self._now_ns()
        if self._ends_ns is None:
            self._ends_ns = now_ns + TURN_NS
            self._call_soon(self._next)
        return now_ns >= self._ends_ns

    def _next(self) -> None:
        """Another turn begins, with what waits."""
        ends_ns = self._ends_ns = self._now_ns() + TURN_NS
        try:
            while queue := self._frames or self._arrivals:
                queue.popleft()()
                if self._now_ns() >= ends_ns:
                    break
        finally:
            if self._frames or self._arrivals:
                self._call_soon(self._next)
            else:
                self._ends_ns = None

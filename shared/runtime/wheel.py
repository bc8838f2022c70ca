"""A core's timer: it follows `next_deadline`, calls `tick`, and sleeps while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from shared.identifiers import MonotonicNs
from shared.runtime.clock import monotonic_ns

_NS_PER_MS = 1_000_000


class Timer(Protocol):
    def cancel(self) -> None: ...


class Loop(Protocol):
    """The part of an event loop that a wheel needs; a twin stands in for it in tests."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer: ...


class Wheel:
    """One timer for one core, however many deadlines the core holds.

    It holds at most one timer of the loop. A deadline that moved away costs nothing: the timer fires
    at the old moment and looks again. uvloop's timers count whole milliseconds, so deadlines are
    rounded up: a tick is never early, and at most some 2 ms late on an idle loop.
    """

    __slots__ = (
        "_armed_ns",
        "_failed",
        "_loop",
        "_next_deadline",
        "_now",
        "_tick",
        "_timer",
        "name",
    )

    def __init__(
        self,
        name: str,
        next_deadline: Callable[[], MonotonicNs | None],
        tick: Callable[[], None],
        *,
        failed: Callable[[BaseException], None],
        loop: Loop | None = None,
        now: Callable[[], MonotonicNs] = monotonic_ns,
    ) -> None:
        self.name = name
        self._next_deadline = next_deadline
        self._tick = tick
        self._failed = failed
        self._loop = asyncio.get_running_loop() if loop is None else loop
        self._now = now
        self._timer: Timer | None = None
        self._armed_ns = 0

    def nudge(self) -> None:
        """Look at `next_deadline` again: call it after every change of the core's state."""
        deadline = self._next_deadline()
        if deadline is None:
            return
        if self._timer is not None:
            if deadline >= self._armed_ns:
                return
            self._timer.cancel()
        self._arm(deadline)

    def stop(self) -> None:
        """No more ticks, until the next nudge."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, deadline: int) -> None:
        delay_ms = -((self._now() - deadline) // _NS_PER_MS)
        # a deadline in the past waits 1 ms too: a core that forgets to move its deadline on must not
        # freeze the loop
        self._armed_ns = deadline
        self._timer = self._loop.call_later(max(delay_ms, 1) / 1000, self._fire)

    def _fire(self) -> None:
        self._timer = None
        try:
            deadline = self._next_deadline()
            if deadline is not None and deadline <= self._now():
                self._tick()
            self.nudge()
        except Exception as error:  # noqa: BLE001  (any fault of a tick ends the process)
            self._failed(error)

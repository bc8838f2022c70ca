"""The deadlines of all connections of a process, looked at together.

A timer of the loop for each of thousands of people costs more than what they then say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.identifiers import MonotonicNs
from shared.runtime.clock import monotonic_ns

TICK_NS = 10_000_000
"""How late a deadline may be: a hundredth of the second after which a window is sealed or a request
is repeated. Samples do not wait for it."""


class Deadline:
    """One that was set, until it is over or cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Ticks:
    """`Timers` of `shared.client.connection`; one for a process."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[Deadline]] = {}

    def at(self, due_ns: MonotonicNs, call: Callable[[], None]) -> Deadline:
        """Call at the first whole tick from then on; what is over already, at the next one."""
        tick = -(-due_ns // TICK_NS)
        waiting = self._waiting.get(tick)
        if waiting is None:
            now_ns = monotonic_ns()
            tick = max(tick, now_ns // TICK_NS + 1)
            waiting = self._waiting.get(tick)
            if waiting is None:
                waiting = self._waiting[tick] = []
                wait_s = (tick * TICK_NS - now_ns) / 1e9
                asyncio.get_running_loop().call_later(wait_s, self._on_tick, tick)
        deadline = Deadline(call)
        waiting.append(deadline)
        return deadline

    def _on_tick(self, tick: int) -> None:
        for deadline in self._waiting.pop(tick):
            if deadline.call is not None:
                deadline.call()

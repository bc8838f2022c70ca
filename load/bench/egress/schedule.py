"""What is published when: an open loop by the clock, the same for the city and for every peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from shared.runtime.clock import monotonic_ns, pause

MESSAGE_BYTES = 128
"""What one sample is to a viewer, its strand's id and framing included; a peer's payload is as long."""
TURN_S = 0.0005
"""How often the publisher looks at the clock when nothing is due at once."""
LATE_MS_MAX = 5.0
"""A publisher later than this at its p99 has measured itself."""


@dataclass(frozen=True)
class Schedule:
    """`rate` samples a second from `begin_ns` to `end_ns` (CLOCK_MONOTONIC)."""

    rate: int
    begin_ns: int
    end_ns: int

    @property
    def count(self) -> int:
        return (self.end_ns - self.begin_ns) * self.rate // 1_000_000_000

    def due_ns(self, number: int) -> int:
        return self.begin_ns + number * 1_000_000_000 // self.rate


def mark(due_ns: int) -> bytes:
    """What `sink.c` looks for: 17 bytes that no MessagePack of ours and no text of a peer holds."""
    return b"~%016x" % due_ns


def payload(due_ns: int) -> bytes:
    """A peer's sample."""
    return mark(due_ns).ljust(MESSAGE_BYTES, b"x")


async def publish(schedule: Schedule, say: Callable[[int, int], None]) -> float:
    """Call `say(number, due_ns)` for each sample when it is due; its lateness at p99, in ms."""
    late_ns: list[int] = []
    number = 0
    while number < schedule.count:
        now_ns = monotonic_ns()
        while number < schedule.count and (due_ns := schedule.due_ns(number)) <= now_ns:
            say(number, due_ns)
            late_ns.append(monotonic_ns() - due_ns)
            number += 1
        await pause(TURN_S)
    late_ns.sort()
    return late_ns[len(late_ns) * 99 // 100] / 1e6 if late_ns else 0.0


async def until(condition: Callable[[], bool], what: str, *, within_s: float = 30.0) -> None:
    """Raises: TimeoutError, naming what did not come."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await pause(0.01)
    except TimeoutError:
        raise TimeoutError(f"not within {within_s:g} s: {what}") from None

"""The two clocks, of two types that cannot mix, and the one pause. Nothing else reads the time."""

from __future__ import annotations

import asyncio
import time

from shared.identifiers import MonotonicNs, WallMs


def monotonic_ns() -> MonotonicNs:
    """For durations and deadlines of this process; it does not jump when somebody sets the clock."""
    return MonotonicNs(time.monotonic_ns())


def wall_ms() -> WallMs:
    """Unix milliseconds, for stamps and expiry only."""
    return WallMs(time.time_ns() // 1_000_000)


async def pause(seconds: float) -> None:
    """Wait. For beats and back-off in shells; tests wait for a named condition instead."""
    await asyncio.sleep(seconds)

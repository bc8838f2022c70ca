"""The two timers of a speakers' process: one for samples, exact; one for all that may wait a little."""

from __future__ import annotations

import asyncio

from load.swarm.alarm import Alarm
from load.swarm.ticks import TICK_NS, Ticks
from shared.identifiers import MonotonicNs
from shared.runtime.clock import monotonic_ns


async def test_an_alarm_is_never_early_and_one_that_is_over_rings_too() -> None:
    with Alarm() as alarm:
        for ahead_ns in (1_500_000, 0, -(10**9), 300_000):
            at_ns = MonotonicNs(monotonic_ns() + ahead_ns)
            await alarm.until(at_ns)
            assert monotonic_ns() >= at_ns


async def test_ringing_ends_the_wait_and_the_next_one_has_its_own_time() -> None:
    with Alarm() as alarm:
        alarm.ring()  # nobody waits
        asyncio.get_running_loop().call_soon(alarm.ring)
        await alarm.until(MonotonicNs(monotonic_ns() + 10**15))
        at_ns = MonotonicNs(monotonic_ns() + 1_000_000)
        await alarm.until(at_ns)
        assert monotonic_ns() >= at_ns


async def test_what_is_due_in_one_tick_has_one_timer_and_what_is_cancelled_is_not_called() -> None:
    ticks, told, over = Ticks(), list[str](), asyncio.Event()
    # far enough ahead that no tick passes while they are set
    first_ns = (monotonic_ns() // TICK_NS + 20) * TICK_NS
    for name, due_ns in (("a", first_ns), ("b", first_ns - TICK_NS + 1), ("c", first_ns - 1)):
        ticks.at(MonotonicNs(due_ns), lambda name=name: told.append(f"{name} {is_due()}"))  # type: ignore[misc]
    ticks.at(MonotonicNs(first_ns), lambda: told.append("cancelled")).cancel()
    assert len(ticks._waiting) == 1

    def is_due() -> bool:
        return monotonic_ns() >= first_ns

    ticks.at(MonotonicNs(first_ns + TICK_NS), over.set)
    assert len(ticks._waiting) == 2
    await over.wait()
    assert told == ["a True", "b True", "c True"]
    assert not ticks._waiting


async def test_a_deadline_in_the_past_waits_for_the_next_tick_even_if_it_is_set_in_one() -> None:
    ticks, over = Ticks(), asyncio.Event()
    calls = 0

    def again() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            over.set()
        else:
            set_ns = monotonic_ns()
            ticks.at(MonotonicNs(0), again)
            (tick,) = ticks._waiting
            assert tick * TICK_NS > set_ns

    ticks.at(MonotonicNs(0), again)
    await over.wait()
    assert calls == 3

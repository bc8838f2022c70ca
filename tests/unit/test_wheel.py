"""A core's timer, on a twin of the loop: never early, never lost, never a busy loop."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from shared.identifiers import MonotonicNs
from shared.runtime.wheel import Wheel

MS = 1_000_000


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class TwinLoop:
    """Timers on virtual time, in whole milliseconds like uvloop's."""

    def __init__(self) -> None:
        self.now_ns = 5 * MS + 123
        self.timers: list[tuple[int, Callable[[], object], Handle]] = []
        self.armed = 0

    def now(self) -> MonotonicNs:
        return MonotonicNs(self.now_ns)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Handle:
        handle = Handle()
        self.armed += 1
        self.timers.append((self.now_ns + round(delay * 1000) * MS, callback, handle))
        return handle

    def live(self) -> list[int]:
        return [due for due, _, handle in self.timers if not handle.cancelled]

    def run_until(self, end_ns: int) -> None:
        while True:
            self.timers = [timer for timer in self.timers if not timer[2].cancelled]
            due = [timer for timer in self.timers if timer[0] <= end_ns]
            if not due:
                break
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now_ns = max(self.now_ns, first[0])
            first[1]()
        self.now_ns = end_ns


class Core:
    """Holds deadlines; a tick takes those that are over."""

    def __init__(self, loop: TwinLoop) -> None:
        self.loop = loop
        self.deadlines: list[int] = []
        self.ticked: list[tuple[int, int]] = []
        self.failed: list[BaseException] = []
        self.wheel = Wheel(
            "core",
            self.next_deadline,
            self.tick,
            failed=self.failed.append,
            loop=loop,
            now=loop.now,
        )

    def next_deadline(self) -> MonotonicNs | None:
        return MonotonicNs(min(self.deadlines)) if self.deadlines else None

    def tick(self) -> None:
        now = self.loop.now_ns
        over = [deadline for deadline in self.deadlines if deadline <= now]
        assert over, "ticked early"
        self.ticked += [(deadline, now) for deadline in over]
        self.deadlines = [deadline for deadline in self.deadlines if deadline > now]

    def want(self, deadline: int) -> None:
        self.deadlines.append(deadline)
        self.wheel.nudge()


@given(st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 200 * MS)), max_size=30))
def test_every_deadline_is_ticked_late_by_two_milliseconds_at_most(
    wishes: list[tuple[int, int]],
) -> None:
    loop = TwinLoop()
    core = Core(loop)
    for wait, ahead in wishes:
        loop.run_until(loop.now_ns + wait)
        core.want(loop.now_ns + ahead)
        assert len(loop.live()) <= 1
    loop.run_until(loop.now_ns + 300 * MS)
    assert len(core.ticked) == len(wishes)
    assert all(0 <= at - deadline <= 2 * MS for deadline, at in core.ticked)
    assert core.failed == []
    assert loop.live() == []


def test_no_deadline_no_timer() -> None:
    loop = TwinLoop()
    core = Core(loop)
    core.wheel.nudge()
    assert loop.armed == 0


def test_an_earlier_deadline_replaces_a_later_one() -> None:
    loop = TwinLoop()
    core = Core(loop)
    core.want(loop.now_ns + 100 * MS)
    core.want(loop.now_ns + 10 * MS)
    loop.run_until(loop.now_ns + 12 * MS)
    assert len(core.ticked) == 1


def test_nudging_for_later_deadlines_costs_no_timer() -> None:
    loop = TwinLoop()
    core = Core(loop)
    core.want(loop.now_ns + 10 * MS)
    for later in range(100):
        core.want(loop.now_ns + (20 + later) * MS)
    assert loop.armed == 1


def test_a_core_that_never_moves_its_deadline_does_not_freeze_the_loop() -> None:
    loop = TwinLoop()
    ticks: list[int] = []
    wheel = Wheel(
        "stuck",
        lambda: MonotonicNs(0),
        lambda: ticks.append(loop.now_ns),
        failed=lambda _: None,
        loop=loop,
        now=loop.now,
    )
    wheel.nudge()
    loop.run_until(loop.now_ns + 100 * MS)
    assert 90 <= len(ticks) <= 100


def test_a_tick_that_raises_is_told_and_ends_the_wheel() -> None:
    loop = TwinLoop()
    core = Core(loop)
    core.deadlines.append(loop.now_ns + MS)
    core.wheel.nudge()
    core.deadlines = [loop.now_ns + MS]
    core.tick = None  # type: ignore[method-assign, assignment]
    core.wheel._tick = lambda: 1 // 0  # type: ignore[assignment]
    loop.run_until(loop.now_ns + 10 * MS)
    assert [type(error) for error in core.failed] == [ZeroDivisionError]
    assert loop.live() == []


def test_a_stopped_wheel_ticks_no_more() -> None:
    loop = TwinLoop()
    core = Core(loop)
    core.want(loop.now_ns + 5 * MS)
    core.wheel.stop()
    loop.run_until(loop.now_ns + 10 * MS)
    assert core.ticked == []

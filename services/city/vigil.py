"""What the supervisor decides of one child: too silent to live, how soon to start its successor.

Pure: the time is an argument. Bounds are the design's (section 8, "`up` and its keys").
"""

from __future__ import annotations

from typing import Final

from shared.identifiers import MonotonicNs

SECOND_NS: Final = 1_000_000_000
SILENCE_NS: Final = SECOND_NS
"""Five missed heartbeats."""
DOUBT_NS: Final = 6 * SECOND_NS // 10
"""Three missed heartbeats: a successor is prepared, and dismissed if the child beats again."""
START_ALLOWANCE_NS: Final = 15 * SECOND_NS
"""To the first heartbeat: five interpreters start at once, on two busy cores."""
OVERSLEPT_NS: Final = SECOND_NS // 4
"""A supervisor that wakes this late stood still itself, and has no standing to judge."""
BACK_OFF_NS: Final = (
    0,
    SECOND_NS // 5,
    SECOND_NS // 2,
    SECOND_NS,
    2 * SECOND_NS,
    5 * SECOND_NS,
)
"""The wait before the first, second, … restart in a row; the last repeats."""
HEALTHY_NS: Final = 30 * SECOND_NS
"""A child that lived this long has earned the first rung again."""


class Vigil:
    """The watch over one child through all its lives."""

    def __init__(self, *, beats: bool, silence_ns: int = SILENCE_NS) -> None:
        self._beats = beats
        self._silence_ns = silence_ns
        self._restarts = 0
        self._started_at = MonotonicNs(0)
        self._last_beat: MonotonicNs | None = None
        self._deadline: MonotonicNs | None = None

    def started(self, now_ns: MonotonicNs) -> None:
        self._started_at = now_ns
        self._last_beat = None
        self._deadline = MonotonicNs(now_ns + START_ALLOWANCE_NS) if self._beats else None

    def beat(self, now_ns: MonotonicNs) -> None:
        if self._beats:
            self._last_beat = now_ns
            self._deadline = MonotonicNs(now_ns + self._silence_ns)

    def is_doubtful(self, now_ns: MonotonicNs) -> bool:
        """Whether a child that has beaten may have stopped for good."""
        return self._last_beat is not None and now_ns - self._last_beat >= DOUBT_NS

    def next_deadline(self) -> MonotonicNs | None:
        """When `is_silent` is worth asking; nil: this child has no heartbeat."""
        return self._deadline

    def is_silent(self, now_ns: MonotonicNs) -> bool:
        """Whether the child has to be killed. Ask after every heartbeat that arrived was told."""
        if self._deadline is None or now_ns < self._deadline:
            return False
        if now_ns - self._deadline > OVERSLEPT_NS:
            self._deadline = MonotonicNs(now_ns + self._silence_ns)
            return False
        return True

    def ended(self, now_ns: MonotonicNs) -> int:
        """The child is gone: nanoseconds to wait before its successor starts."""
        if now_ns - self._started_at >= HEALTHY_NS:
            self._restarts = 0
        wait_ns = BACK_OFF_NS[min(self._restarts, len(BACK_OFF_NS) - 1)]
        self._restarts += 1
        self._deadline = None
        return wait_ns

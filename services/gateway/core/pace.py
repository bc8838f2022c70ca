"""When to write: at once when idle, and under load with a rest for part of what the writing cost. Pure.

Load then raises the size of a write and not the length of the queue (design, section 4, point 3). What a
slice cost is owed as rest; what the process was idle anyhow counts as rest, and what a rest took too long
(timers count milliseconds, and a core must be free) shortens the next. So the rests lie between
slices, a millisecond at a time, and not behind a whole sweep: the broker, fanout and whoever else shares
the cores come to their turn in between, and nothing that has arrived waits for a long rest to end.
"""

from __future__ import annotations

from shared.identifiers import MonotonicNs

REST_PER_COST = 0.5
"""At 1000 x 500, p50 / p99 in ms and the gateway's cores, medians of four runs in turns: a half 10.1 /
23.4, 0.58; three quarters 11.3 / 27.6, 0.53; a whole 11.8 / 29.6, 0.49 (two busy cores, 2026-11-30,
compiled writes). Tail latency comes before processor time, and below a half there is little more of it to
gain."""
REST_NS_MAX = 20_000_000
REST_NS_MIN = 1_000_000
"""A shorter rest is put off: the loop's timers count whole milliseconds."""
CREDIT_NS_MAX = 4_000_000
"""How much idle time may count as rest beforehand: some slices' worth, so that load which begins anew
does not go on for long without any."""


class Pace:
    """Decides the next slice from what the slices before have cost."""

    def __init__(self) -> None:
        self._owed_ns = 0
        self._ended_ns = MonotonicNs(0)

    def worked(self, began_ns: MonotonicNs, ended_ns: MonotonicNs) -> None:
        """A slice kept the loop busy from `began_ns` to `ended_ns`."""
        self._owed_ns = max(-CREDIT_NS_MAX, self._owed_ns - (began_ns - self._ended_ns))
        self._owed_ns += int((ended_ns - began_ns) * REST_PER_COST)
        self._ended_ns = ended_ns

    def rest_ns(self, now_ns: MonotonicNs) -> int:
        """How long to rest before the next slice; 0: at once."""
        left_ns = self._owed_ns - (now_ns - self._ended_ns)
        return 0 if left_ns < REST_NS_MIN else min(left_ns, REST_NS_MAX)

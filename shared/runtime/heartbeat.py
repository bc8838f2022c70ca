"""A beat over an inherited pipe every 200 ms, from the loop itself, and how late the loop was.

The supervisor sees a loop that stands still, which no thread's beat would show. A pipe without a
reader means that the supervisor is gone: then the service drains instead of living on alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, Histogram

from shared.runtime.clock import monotonic_ns

BEAT_S = 0.2
HEARTBEAT_VARIABLE = "SYNCHRONIA_HEARTBEAT_FD"


class Heartbeat:
    """`on_orphaned` is called once when nobody reads the pipe any more."""

    def __init__(
        self, fd: int | None, registry: CollectorRegistry, on_orphaned: Callable[[], None]
    ) -> None:
        self._fd = fd
        self._on_orphaned = on_orphaned
        self._loop = asyncio.get_running_loop()
        self._late = Histogram(
            "runtime_loop_late_seconds",
            "How late a 200 ms timer fired: what else held the loop.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
            registry=registry,
        )
        self._late_max = Gauge(
            "runtime_loop_late_seconds_max", "The longest so far.", registry=registry
        )
        self._late_s_max = 0.0
        if fd is not None:
            os.set_blocking(fd, False)
        self._beat()

    def _beat(self) -> None:
        now = monotonic_ns()
        self._due = now + int(BEAT_S * 1e9)
        self._timer = self._loop.call_later(BEAT_S, self._fire)
        if self._fd is None:
            return
        try:
            os.write(self._fd, b".")
        except BlockingIOError:
            pass  # the reader is slow; it will see the beats that wait
        except OSError:
            self._fd = None
            self._on_orphaned()

    def _fire(self) -> None:
        late_s = max(0.0, (monotonic_ns() - self._due) / 1e9)
        self._late.observe(late_s)
        if late_s > self._late_s_max:
            self._late_s_max = late_s
            self._late_max.set(late_s)
        self._beat()

    def stop(self) -> None:
        self._timer.cancel()

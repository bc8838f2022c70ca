"""CPU and memory of the city's processes on this machine, and of the run's own, as the kernel counts
them (proc(5)).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from shared.cli.running import read_running

READ_EVERY_NS = 1_000_000_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Reading(NamedTuple):
    at_ms: int
    """Of the play."""
    service: str
    pid: int
    cpu_s: float
    """Since the process began, user and system."""
    memory_bytes: int
    """Resident."""


class Meter:
    """Reads every process of the city that runs on `state`, if one does, and here; and the run's own."""

    def __init__(self, state: Path, url: str) -> None:
        self.readings: list[Reading] = []
        self.own: list[Reading] = []
        """Of the run: a process that is always busy measures itself."""
        self._state = state
        self._url = url
        self._read_ns = 0

    def read(self, now_ns: int, at_ms: int, own_pids: Callable[[], dict[str, int]]) -> None:
        """At most once a second; call it as often as you like."""
        if now_ns - self._read_ns < READ_EVERY_NS:
            return
        self._read_ns = now_ns
        self.own += readings(own_pids(), at_ms, _text)
        running = read_running(self._state)
        if running is None or running.url != self._url:
            return
        self.readings += readings(
            {name: each.pid for name, each in running.services.items() if each.pid is not None},
            at_ms,
            _text,
        )


def _text(path: str) -> str:
    return Path(path).read_text()


def readings(pids: dict[str, int], at_ms: int, read: Callable[[str], str]) -> list[Reading]:
    found = []
    for service, pid in pids.items():
        try:
            stat = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            pages = int(read(f"/proc/{pid}/statm").split()[1])
        except OSError:
            continue  # it ended between the two looks
        # fields 14 and 15 of proc_pid_stat(5), counted from the one behind the name, which is 3
        cpu_s = (int(stat[11]) + int(stat[12])) / _TICKS_PER_S
        found.append(Reading(at_ms, service, pid, cpu_s, pages * _PAGE_BYTES))
    return found


def usage(all_of: list[Reading]) -> dict[str, dict[str, float]]:
    """By service: CPU as a share of one core, memory at most, its growth in MB a minute over the second
    half (least squares), where one process lived through it, and how often another process took over.
    """
    found: dict[str, dict[str, float]] = {}
    for service in dict.fromkeys(each.service for each in all_of):
        of = [each for each in all_of if each.service == service]
        busy_s = sum(
            max(0.0, later.cpu_s - earlier.cpu_s)
            for earlier, later in pairwise(of)
            if later.pid == earlier.pid
        )
        span_s = (of[-1].at_ms - of[0].at_ms) / 1000
        half = of[len(of) // 2 :]
        is_one = len({each.pid for each in half}) == 1
        points = [(each.at_ms / 60_000, each.memory_bytes / 1e6) for each in half]
        found[service] = {
            "cpu": round(busy_s / span_s, 3) if span_s > 0 else 0.0,
            "memory_mb_max": round(max(each.memory_bytes for each in of) / 1e6, 1),
            "memory_mb_per_min": round(slope(points), 3) if is_one else 0.0,
            "restarts": sum(later.pid != earlier.pid for earlier, later in pairwise(of)),
        }
    return found


def slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line through them by least squares; 0 for fewer than three."""
    if len(points) < 3:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    if spread == 0:
        return 0.0
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread

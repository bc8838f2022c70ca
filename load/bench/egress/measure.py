"""One case at one server: play the schedule to its viewers, read everything, say what came when."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load.bench.egress.citizens import Citizen
from load.bench.egress.schedule import Schedule, publish, until
from load.bench.gauge import Gauge
from shared.runtime.clock import monotonic_ns, pause

WARM_S = 2.0
"""Played before what is measured, and not counted."""
SETTLE_S = 1.0
"""A sample that has not come this long after the last was due did not come in time."""
SETTLED_S_MAX = 120.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    viewers: int
    rate: int
    slow: int = 0
    """Of the viewers, how many read 1 kB a second."""
    warm_s: float = WARM_S

    @classmethod
    def parse(cls, text: str, warm_s: float = WARM_S) -> Case:
        viewers, _, rate = text.partition("x")
        return cls(int(viewers), int(rate), warm_s=warm_s)


@dataclass
class Target:
    """A server that is ready: its viewers' descriptors, what publishes to it, and whose CPU counts."""

    descriptors: list[int]
    say: Callable[[int, int], None] | None
    """Nil: it publishes to itself (the floor)."""
    pids: dict[str, int]
    schedule: Schedule
    speakers: list[Citizen] = field(default_factory=list)
    """Of the city: connected, and in no room."""
    gauge: Gauge | None = None
    """Of the city's gateway."""


Start = Callable[[Case, float], AbstractAsyncContextManager[Target]]
"""(case, seconds measured) → a server that is ready."""


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, its kernel's part included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def planned(case: Case, seconds: float, *, ahead_s: float) -> Schedule:
    begin_ns = monotonic_ns() + int(ahead_s * 1e9)
    return Schedule(case.rate, begin_ns, begin_ns + int((case.warm_s + seconds) * 1e9))


async def measure(
    case: Case,
    target: Target,
    sink_program: Path,
    *,
    meanwhile: Coroutine[Any, Any, None] | None = None,
    settled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Play the schedule, read everything, and say what came when. `meanwhile` goes on until the last
    sample is due; `settled`: for what is waited, behind that, until the readers are ended.
    """
    schedule = target.schedule
    measured_ns = schedule.begin_ns + int(case.warm_s * 1e9)
    words = [str(sink_program), str(measured_ns), str(schedule.end_ns), str(case.slow)]
    sink = subprocess.Popen(  # noqa: ASYNC220  (nothing else runs in this loop yet)
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=target.descriptors,
    )
    assert sink.stdin is not None
    assert sink.stdout is not None
    sink.stdin.write("".join(f"{each}\n" for each in target.descriptors) + "go\n")
    sink.stdin.flush()
    assert sink.stdout.readline() == "reading\n"
    loop = asyncio.get_running_loop()
    before: dict[str, float] = {}

    def note_cpu() -> None:
        before.update({name: cpu_s(pid) for name, pid in target.pids.items()})

    loop.call_later((measured_ns - monotonic_ns()) / 1e9, note_cpu)
    late_ms = 0.0
    async with asyncio.TaskGroup() as group:
        beside = None if meanwhile is None else group.create_task(meanwhile)
        if target.say is not None:
            late_ms = await publish(schedule, target.say)
        await until(lambda: monotonic_ns() >= schedule.end_ns, "the end", within_s=600)
        if beside is not None:
            beside.cancel()
    spent = {name: cpu_s(pid) - before[name] for name, pid in target.pids.items()}
    await pause(SETTLE_S)
    if settled is not None:
        await until(settled, "what is waited for behind the last sample", within_s=SETTLED_S_MAX)
    sink.stdin.close()
    said = json.loads(await loop.run_in_executor(None, sink.stdout.read))
    sink.wait()
    return result(case, schedule, said, spent, late_ms)


def result(
    case: Case, schedule: Schedule, said: dict[str, Any], spent: dict[str, float], late_ms: float
) -> dict[str, Any]:
    seconds = (schedule.end_ns - schedule.begin_ns) / 1e9 - case.warm_s
    wanted = round(case.rate * seconds) * (case.viewers - case.slow)
    rows = said["histogram_us"]
    fairness = said["p99_us_by_socket"]
    tenth = max(1, len(fairness) // 10)
    return {
        "viewers": case.viewers,
        "rate": case.rate,
        "p50_ms": quantile(rows, 0.50),
        "p99_ms": quantile(rows, 0.99),
        "p999_ms": quantile(rows, 0.999),
        "delivered": said["due"],
        "delivered_part": said["due"] / wanted,
        "deliveries_per_s": said["due"] / seconds,
        "closed": said["closed"],
        **({"slow": said_of_slow(case, said)} if case.slow else {}),
        "cpu_cores": {name: round(value / seconds, 3) for name, value in spent.items()},
        "publisher_late_p99_ms": late_ms,
        "worst_tenth_over_best_tenth_p99": (
            sum(fairness[-tenth:]) / max(1, sum(fairness[:tenth])) if fairness else None
        ),
    }


def said_of_slow(case: Case, said: dict[str, Any]) -> dict[str, int]:
    """Of those who read 1 kB/s: who was told of a lower rung, and whose last word was `every`."""
    return {
        "viewers": case.slow,
        "told_lower": said["slow_told_down"],
        "told_every_again": said["slow_told_every"],
    }


def quantile(rows: list[list[int]], part: float) -> float:
    """In ms, of (value in µs, count) rows in ascending order."""
    left = sum(count for _, count in rows) * part
    for value, count in rows:
        left -= count
        if left < 0:
            return value / 1000
    return rows[-1][0] / 1000 if rows else float("nan")

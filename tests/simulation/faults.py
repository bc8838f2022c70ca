"""One seed first draws *which* faults are on, then how hard and when they strike.

Every fault ends at `CALM_NS`: from there on the city must converge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

from tests.simulation.schedule import MS, S

CALM_NS = 12 * S
"""Faults strike before, convergence is required after."""
SKEW_MS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Outage:
    """An instance is down (crash) or stands still (stall) from `at_ns` for `for_ns`."""

    instance: str
    at_ns: int
    for_ns: int


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong in this run. Chances are per message and receiver."""

    loss: float
    repeat: float
    disorder: float
    delay_ms_max: float
    """Transit takes 0.1 to 1 ms on a good day, evenly drawn; up to this on a bad one."""
    crashes: tuple[Outage, ...]
    stalls: tuple[Outage, ...]
    skew_ms: dict[str, int]
    cuts: tuple[int, ...]
    """When a random socket is cut."""
    slow: tuple[Outage, ...]
    """People who stop reading their socket for a while."""
    append_delay_ns_max: int
    """How long the disk takes to acknowledge."""

    def __str__(self) -> str:
        on = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value:
                on.append(f"{each.name}={value}")
        return ", ".join(on) or "none"


def draw_faults(random: Random, instances: list[str], people: list[str]) -> Faults:
    """Each kind of fault is on in some four of ten seeds; one seed in twelve has none at all."""
    none = random.random() < 1 / 12

    def is_on(chance: float = 0.4) -> bool:
        return random.random() < chance and not none

    crashes: list[Outage] = []
    stalls: list[Outage] = []
    if is_on(0.5):
        for _ in range(random.randint(1, 3)):
            at_ns = random.randint(1 * S, CALM_NS - 1500 * MS)
            crashes.append(
                Outage(random.choice(instances), at_ns, random.randint(20 * MS, 1200 * MS))
            )
    if is_on(0.4):
        for _ in range(random.randint(1, 3)):
            for_ns = random.choice((random.randint(50, 600), random.randint(600, 4000))) * MS
            at_ns = random.randint(1 * S, CALM_NS - for_ns)
            stalls.append(Outage(random.choice(instances), at_ns, for_ns))
    skew_ms: dict[str, int] = {}
    if is_on():
        for name in (*instances, *people):
            if random.random() < 0.5:
                skew_ms[name] = random.randint(-SKEW_MS_MAX, SKEW_MS_MAX)
    cuts: tuple[int, ...] = ()
    if is_on(0.5):
        cuts = tuple(
            sorted(random.randint(1 * S, CALM_NS - 100 * MS) for _ in range(random.randint(1, 8)))
        )
    slow: tuple[Outage, ...] = ()
    if is_on(0.3):
        slow = tuple(
            Outage(
                random.choice(people),
                random.randint(1 * S, CALM_NS - 3 * S),
                random.randint(100, 3000) * MS,
            )
            for _ in range(random.randint(1, 4))
        )
    return Faults(
        loss=random.choice((0.002, 0.01, 0.04)) if is_on() else 0.0,
        repeat=random.choice((0.005, 0.03)) if is_on() else 0.0,
        disorder=random.choice((0.005, 0.03)) if is_on() else 0.0,
        delay_ms_max=random.choice((5.0, 30.0, 150.0)) if is_on() else 1.0,
        crashes=tuple(sorted(crashes, key=lambda outage: outage.at_ns)),
        stalls=tuple(sorted(stalls, key=lambda outage: outage.at_ns)),
        skew_ms=skew_ms,
        cuts=cuts,
        slow=slow,
        append_delay_ns_max=random.choice((1, 20, 200)) * MS,
    )

"""Seeds, one or many: verdicts, processes, figures."""

from __future__ import annotations

import gc
import os
import subprocess
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from services.city.life import die_with
from tests.simulation.mutants import MUTANTS
from tests.simulation.oracle import Broken
from tests.simulation.world import World

KEPT = Path(__file__).parents[2] / "seeds" / "simulation.toml"
"""Seeds that once failed: each run begins with them."""
PROCESSES = os.cpu_count() or 2
"""Seeds know nothing of each other: as many at once as there are cores."""
NICE = 10
RAISED = "no core raises"
"""The law that an exception out of a core breaks."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed; `law` is None when every law held."""

    seed: int
    law: str | None
    what: str
    step: int
    at_s: float
    delivered: int
    carried: int
    faults: str
    endings: tuple[str, ...]
    """In which ways strands ended."""

    def __str__(self) -> str:
        if self.law is None:
            return f"seed {self.seed}: every law held ({self.delivered} deliveries)"
        return (
            f"seed {self.seed} breaks the law “{self.law}” at {self.at_s:.4f} s, step {self.step}\n"
            f"  {self.what}\n  faults: {self.faults}\n"
            f"  commit {commit()}; see it: python -m tests.simulation --seed {self.seed} --trace\n"
            f"  then keep it: {KEPT.name}"
        )


def run_seed(
    seed: int, *, say: Callable[[str], None] | None = None, mutant: str | None = None
) -> Outcome:
    """Play one seed to its end."""
    with MUTANTS[mutant]() if mutant is not None else _as_it_is():
        world = World(seed, say=say)
        law: str | None = None
        what = ""
        try:
            world.run()
        except Broken as broken:
            law, what = broken.law, broken.what
        except Exception:  # noqa: BLE001  (whatever a core raises is a verdict on it)
            law, what = RAISED, traceback.format_exc(limit=-6)
    return Outcome(
        seed=seed,
        law=law,
        what=what,
        step=world.step,
        at_s=world.schedule.now_ns / 1e9,
        delivered=world.delivered,
        carried=world.post.carried,
        faults=str(world.faults),
        endings=tuple(sorted(world.oracle.endings)),
    )


class _as_it_is:  # noqa: N801  (reads as a word at its one place)
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def run_seeds(
    seeds: Iterable[int], *, processes: int = PROCESSES, mutant: str | None = None
) -> Iterator[Outcome]:
    """Outcomes in the order in which they come."""
    if processes == 1:
        for seed in seeds:
            yield run_seed(seed, mutant=mutant)
        return
    with ProcessPoolExecutor(processes, initializer=_settle_in) as pool:
        todo = list(seeds)
        yield from pool.map(_run_one, todo, [mutant] * len(todo), chunksize=8)


def _settle_in() -> None:
    """A worker's start. Whoever waits for a real city meanwhile goes first: seeds have time. What was
    imported is no garbage, and a seed leaves little (measured: 4 % of a run's time).
    """
    os.nice(NICE)
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def _begin(parent: int) -> None:
    """In a new process: whoever waits for a real city meanwhile goes first, and nobody is left behind."""
    os.nice(NICE)
    die = die_with(parent)
    if die is not None:
        die()


def _run_one(seed: int, mutant: str | None) -> Outcome:
    return run_seed(seed, mutant=mutant)


def kept_seeds() -> list[int]:
    if not KEPT.exists():
        return []
    return [each["seed"] for each in tomllib.loads(KEPT.read_text()).get("kept", [])]


def commit() -> str:
    """The commit that ran, for whoever reads the failure elsewhere."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=KEPT.parent,
    )
    return found.stdout.strip() or os.environ.get("SYNCHRONIA_COMMIT", "unknown")


@dataclass(slots=True)
class Figures:
    """What a run over many seeds amounts to."""

    seeds: int = 0
    delivered: int = 0
    carried: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    """Seeds in which a strand ended in that way."""
    began: float = 0.0

    @classmethod
    def start(cls) -> Figures:
        return cls(began=time.perf_counter())

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.delivered += outcome.delivered
        self.carried += outcome.carried
        self.endings.update(outcome.endings)

    def __str__(self) -> str:
        took_s = time.perf_counter() - self.began
        endings = ", ".join(f"{reason} in {count}" for reason, count in self.endings.items())
        return (
            f"{self.seeds} seeds in {took_s:.1f} s ({self.seeds / took_s:.1f} seeds/s), "
            f"{self.delivered} messages written to sockets, {self.carried} carried by the bus; "
            f"seeds with strands that ended as {endings or 'nothing'}"
        )

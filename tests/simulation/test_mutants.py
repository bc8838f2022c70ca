"""Each law catches its mutant: a law that never failed once is not yet a law."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.runs import run_seeds

SEEDS_MAX = 200
"""Faults are drawn: the ones that bring a mistake to light are on in some seeds only."""
LOOK_FIRST = {
    "beyond the limit one sees whom one follows, and nobody else": 29,
    "nobody receives a citizen twice": 9,
    "order within a strand": 8,
    "what was said out of somebody's sight stays out of it": 5,
}
"""Law → a seed that shows its mutant, where few do. Should it show it no more, the others are as good."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("law", sorted(MUTANTS))
def test_a_mutant_is_caught_by_its_law(law: str) -> None:
    broken: dict[str, int] = {}
    seeds = dict.fromkeys((LOOK_FIRST.get(law, 0), *range(SEEDS_MAX)))
    for outcome in run_seeds(seeds, processes=1, mutant=law):
        if outcome.law == law:
            return
        if outcome.law is not None:
            broken[outcome.law] = outcome.seed
    pytest.fail(f"no seed below {SEEDS_MAX} showed it; other laws that broke: {broken}")

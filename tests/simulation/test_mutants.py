"""Each law catches its mutant: a law that never failed once is not yet a law."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.runs import run_seeds

SEEDS_MAX = 200
"""Faults are drawn: the ones that bring a mistake to light are on in some seeds only."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("law", sorted(MUTANTS))
def test_a_mutant_is_caught_by_its_law(law: str) -> None:
    broken: dict[str, int] = {}
    for outcome in run_seeds(range(SEEDS_MAX), processes=1, mutant=law):
        if outcome.law == law:
            return
        if outcome.law is not None:
            broken[outcome.law] = outcome.seed
    pytest.fail(f"no seed below {SEEDS_MAX} showed it; other laws that broke: {broken}")

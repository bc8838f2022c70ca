"""`python -m tests.simulation`: one seed with its trace, or many with figures."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.mutants import MUTANTS
from tests.simulation.runs import PROCESSES, Figures, kept_seeds, run_seed, run_seeds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--trace", action="store_true", help="print every event of the seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many, after the kept ones")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with this fault in a core")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    options = parser.parse_args()
    if options.seed is not None:
        say = print if options.trace else None
        outcome = run_seed(options.seed, say=say, mutant=options.mutant)
        print(outcome)
        return int(outcome.law is not None)
    kept = [] if options.first or options.mutant else kept_seeds()
    seeds = [*kept, *range(options.first, options.first + options.seeds)]
    figures, failures = Figures.start(), 0
    for outcome in run_seeds(seeds, processes=options.processes, mutant=options.mutant):
        figures.add(outcome)
        if outcome.law is not None:
            failures += 1
            print(outcome, flush=True)
            if not options.keep_going:
                break
    print(figures, f"{failures} failed", sep="; ")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())

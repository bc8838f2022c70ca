"""Slow viewers: a tenth of a thousand reads 1 kB/s; what the others, and the gateway, notice of it.

    python -m load.bench.ladder
    python -m load.bench.ladder --case 1000x500 --slow 100 --seconds 10 --rounds 3

In turns: the fast viewers alone, then the same beside the slow ones. When the last sample is out the
slow ones read as fast as the others; the run ends when none stands on a lower rung.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from load.bench.egress import peers
from load.bench.egress.measure import Case, Target, measure
from load.bench.egress.servers import HERE, city
from load.bench.memory import kilobytes

P99_GOAL, MEMORY_GOAL_BYTES = 1.10, 50_000_000
"""Of the others' p99 without slow ones; of the gateway's growth beyond its growth without them."""


async def play(case: Case, seconds: float, sink: Path) -> dict[str, Any]:
    async with city(case, seconds) as target:
        before = memory_bytes(target)
        peak = before

        def settled() -> bool:
            nonlocal peak
            peak = max(peak, memory_bytes(target))
            assert target.gauge is not None
            return not any(target.gauge.rungs().values())

        row = await measure(case, target, sink, settled=settled)
        return {**row, "gateway_grew_bytes": peak - before}


def memory_bytes(target: Target) -> int:
    return kilobytes(f"/proc/{target.pids['gateway']}/smaps_rollup", "Pss") * 1024


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.ladder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", default="1000x500", help="viewers x samples a second")
    parser.add_argument("--slow", type=int, default=100, help="of the viewers, read 1 kB a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured, of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind, in turns")
    parser.add_argument("--json", action="store_true", help="one object (always so)")
    options = parser.parse_args()
    whole = Case.parse(options.case)
    kinds = {
        "alone": replace(whole, viewers=whole.viewers - options.slow),
        "beside_slow": replace(whole, slow=options.slow),
    }
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory(prefix="synchronia-sink-") as folder:
        sink = peers.compiled(HERE / "sink.c", Path(folder))
        for _ in range(options.rounds):
            for name, case in kinds.items():
                row = uvloop.run(play(case, options.seconds, sink))
                rows[name].append(row)
                print(
                    f"{name}: p99 {row['p99_ms']:.1f} ms, the gateway grew"
                    f" {row['gateway_grew_bytes'] / 1e6:.1f} MB, {row.get('slow', '')}",
                    file=sys.stderr,
                    flush=True,
                )
    p99 = {name: median(row["p99_ms"] for row in of) for name, of in rows.items()}
    grew = {name: median(row["gateway_grew_bytes"] for row in of) for name, of in rows.items()}
    said = {
        "p99_ms": p99,
        "p99_ratio": round(p99["beside_slow"] / p99["alone"], 3),
        "p99_ratio_goal": P99_GOAL,
        "gateway_grew_bytes_more": grew["beside_slow"] - grew["alone"],
        "gateway_grew_bytes_goal": MEMORY_GOAL_BYTES,
        "slow": [row["slow"] for row in rows["beside_slow"]],
        "runs": rows,
    }
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())

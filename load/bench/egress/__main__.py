"""`python -m load.bench.egress`: samples on the bus to a thousand sockets, the city and its peers.

    python -m load.bench.egress                                   # every case, every server
    python -m load.bench.egress --cases 1000x2000 --servers city,uwebsockets --seconds 10

Servers take turns, `--rounds` times, and each figure is the median of its rounds, so that what else the
machine does strikes all of them alike. A case is viewers x samples a second; each sample is 128 bytes,
due by the clock, and its latency counts from the moment it was due to the moment the sink has read it.
One JSON object on the last line.

The city decides and prepares each sample (fanout) and writes it to every viewer (gateway); its CPU
counts both. A peer's CPU counts its own process. `uwebsockets` is driven by `socketify`, whose loop
never sleeps while it is busy: its CPU says less than its latency does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from load.bench.egress import peers
from load.bench.egress.measure import WARM_S, Case, measure
from load.bench.egress.servers import HERE, STARTS

CASES = ("100x1000", "1000x500", "1000x2000", "1000x4000")


async def play(server: str, case: Case, seconds: float, sink_program: Path) -> dict[str, Any]:
    async with STARTS[server](case, seconds) as target:
        return await measure(case, target, sink_program)


def why(error: BaseException) -> str:
    """The first reason, of many that are alike."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure's median over the runs that were measured, and those runs beside it."""
    measured = [run for run in runs if "error" not in run]
    if not measured:
        return runs[0]
    figures: dict[str, Any] = {}
    for name, value in measured[0].items():
        values = [run[name] for run in measured if run[name] is not None]
        if isinstance(value, dict):
            figures[name] = {key: median(each[key] for each in values) for key in value}
        else:
            figures[name] = median(values) if values else None  # nothing came in time in any
    return {**figures, "runs": runs}


def line(server: str, row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{server:12} {row['error']}"
    cores = " ".join(f"{name} {value:.2f}" for name, value in row["cpu_cores"].items())
    return (
        f"{server:12} {row['viewers']:5} x {row['rate']:5}  p50 {row['p50_ms']:8.2f}"
        f"  p99 {row['p99_ms']:8.2f} ms  {100 * row['delivered_part']:6.2f} % in time  {cores}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.egress",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--servers", default=",".join(STARTS))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server, in turns")
    parser.add_argument("--seconds", type=float, default=6.0, help="measured, of each run")
    parser.add_argument(
        "--json", action="store_true", help="the last line is one object (always so)"
    )
    parser.add_argument("--warm", type=float, default=WARM_S, help="seconds played before")
    arguments = parser.parse_args()
    servers = arguments.servers.split(",")
    if unknown := sorted(set(servers) - set(STARTS)):
        parser.error(f"no such server: {', '.join(unknown)}; there are {', '.join(STARTS)}")
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="synchronia-sink-") as folder:
        sink_program = peers.compiled(HERE / "sink.c", Path(folder))
        for text in arguments.cases.split(","):
            case = Case.parse(text, arguments.warm)
            runs: dict[str, list[dict[str, Any]]] = {server: [] for server in servers}
            for _ in range(arguments.rounds):
                for server in servers:
                    try:
                        row = uvloop.run(play(server, case, arguments.seconds, sink_program))
                    except (OSError, TimeoutError, ExceptionGroup, asyncio.CancelledError) as error:
                        # cancelled: how a peer's broker that is drowned ends its connection
                        row = {"error": why(error)}
                    runs[server].append(row)
                    print(line(server, row), file=sys.stderr, flush=True)
            rows[text] = {server: median_of(each) for server, each in runs.items()}
    print(json.dumps({"cases": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

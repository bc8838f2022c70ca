"""Withdrawal to silence at half a million deliveries a second, at fast and at slow viewers.

    python -m load.bench.silence
    python -m load.bench.silence --case 1000x500 --slow 100 --seconds 20

Forty people speak; every 0.4 s the next of them withdraws everything, and grants again a second after
it was acted on. Nobody tells ingest: the samples go on coming, so that what is counted is what fanout
and gateway do. Counted by the gateway, at its last hand-over to the
kernel (`gateway_withdrawal_silence_seconds`). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from load.bench.egress import peers
from load.bench.egress.citizens import Citizen
from load.bench.egress.measure import Case, Target, measure
from load.bench.egress.servers import HERE, ROOM, city
from load.bench.gauge import FORGOTTEN_S
from shared.contracts.records import Tier
from shared.identifiers import sanctuary_of_slug
from shared.runtime.clock import pause

EVERY_S = 0.4
AWAY_S = 1.0
P99_GOAL_MS = 50


async def one_after_another(target: Target) -> None:
    """Until cancelled."""
    room = sanctuary_of_slug(ROOM)
    async with asyncio.TaskGroup() as group:
        number = 0
        while True:
            speaker = target.speakers[number % len(target.speakers)]
            group.create_task(withdraw_for_a_while(speaker, room))
            number += 1
            await pause(EVERY_S)


async def withdraw_for_a_while(speaker: Citizen, room: bytes) -> None:
    await speaker.withdraw()
    await pause(AWAY_S)
    await speaker.grant(room, Tier.FULL)


async def play(case: Case, seconds: float, sink: Path) -> dict[str, Any]:
    async with city(case, seconds) as target:
        row = await measure(case, target, sink, meanwhile=one_after_another(target))
        await pause(FORGOTTEN_S)
        assert target.gauge is not None
        return {**row, "gateway": target.gauge.read()}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.silence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", default="1000x500", help="viewers x samples a second")
    parser.add_argument("--slow", type=int, default=100, help="of the viewers, the second time")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, of each run")
    parser.add_argument("--json", action="store_true", help="one object (always so)")
    options = parser.parse_args()
    fast = Case.parse(options.case)
    kinds = {"fast": fast, "slow_tenth": replace(fast, slow=options.slow)}
    said: dict[str, Any] = {"p99_goal_ms": P99_GOAL_MS}
    with tempfile.TemporaryDirectory(prefix="synchronia-sink-") as folder:
        sink = peers.compiled(HERE / "sink.c", Path(folder))
        for name, case in kinds.items():
            said[name] = uvloop.run(play(case, options.seconds, sink))
            print(f"{name}: {said[name]['gateway']}", file=sys.stderr, flush=True)
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Soak: minutes at half the knee; memory and p99 have to be flat, and nothing lost unaccounted.

    python -m load.bench.soak [--minutes 10] [--viewers 100]

A steady room of forty people. First the knee is searched (`load play --until-breaking`), then half of
its pace is played for so long (an hour: --minutes 60). The slope test looks at the second half: by least
squares, p99 of each second and the memory of each process. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from load.bench.own_city import own_city
from load.swarm.meter import slope
from shared.cli.running import RunningCity

PEOPLE, PER_S = 40, 2.0
P99_RISE_SHARE_MAX = 0.2
"""How far p99 may rise over the half that is looked at, of its median: noise of a shared machine."""
MEMORY_MB_PER_MIN_MAX = 1.0
STORY = """
name = "steady"
about = "a room in which nothing changes"
seed = 11
[thresholds]
p99_ms = 250
[[citizens]]
name = "speakers"
count = {people}
per_s = {per_s:.3f}
grant = "full"
[[viewers]]
name = "viewers"
count = {viewers}
verify = 0
[[act]]
name = "steady"
seconds = {seconds:g}
"""


def played(city: RunningCity, story: str, folder: Path, *options: str) -> dict[str, Any]:
    """A story's result. Raises: SystemExit if it could not be played."""
    file = folder / "steady.toml"
    file.write_text(story, encoding="utf-8")
    state = Path(city.keys).parent
    command = [sys.executable, "-m", "shared.cli", "load", "play", str(file), "--json"]
    command += ["--url", str(city.url), "--state", str(state), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2 or not done.stdout:
        raise SystemExit(f"soak: {done.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def by_minute(seconds: list[dict[str, Any]]) -> list[float]:
    """The median second of each minute: tells a growth from a few bad seconds."""
    minutes: dict[int, list[float]] = {}
    for row in seconds:
        minutes.setdefault(int(row["at_s"] // 60), []).append(row["p99_ms"])
    return [median(minutes[minute]) for minute in sorted(minutes)]


def judged(result: dict[str, Any], minutes: float) -> dict[str, Any]:
    """What the second half says."""
    seconds = [row for row in result["seconds"] if row.get("p99_ms") is not None]
    half = seconds[len(seconds) // 2 :]
    p99 = median(row["p99_ms"] for row in half)
    rise = slope([(row["at_s"] / 60, row["p99_ms"]) for row in half])
    memory = {
        name: of["memory_mb_per_min"]
        for name, of in result["services"].items()
        if name != "citizens"
    }
    is_flat = rise * minutes / 2 <= P99_RISE_SHARE_MAX * p99 and all(
        each <= MEMORY_MB_PER_MIN_MAX for each in memory.values()
    )
    return {
        "minutes": minutes,
        "good": bool(result["good"]) and not result["unaccounted"],
        "is_flat": is_flat,
        "deliveries_per_s": result["delivered"] / result["elapsed_s"],
        "p99_ms": p99,
        "p99_ms_per_min": round(rise, 4),
        "p99_ms_by_minute": [round(each, 2) for each in by_minute(seconds)],
        "memory_mb_per_min": memory,
        "unaccounted": result["unaccounted"],
        "sent": result["sent"],
        "delivered": result["delivered"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="one object (always so)")
    options = parser.parse_args()
    room = {"people": PEOPLE, "viewers": options.viewers}
    with tempfile.TemporaryDirectory(prefix="synchronia-soak-") as folder:
        with own_city() as city:
            steady = STORY.format(**room, per_s=PER_S, seconds=10)
            knee = played(city, steady, Path(folder), "--until-breaking")["knee"]
        if knee["best"] is None:
            raise SystemExit("soak: the room breaks at its own pace, so there is no half of a knee")
        pace = knee["best"]["pace"] / 2
        print(f"soak: the knee is at pace {2 * pace:g}", file=sys.stderr, flush=True)
        with own_city() as city:
            seconds = options.minutes * 60
            steady = STORY.format(**room, per_s=PER_S * pace, seconds=seconds)
            result = played(city, steady, Path(folder))
    print(json.dumps({"knee": knee, **judged(result, options.minutes)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

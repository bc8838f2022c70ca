"""Short runs of the egress benches: the whole path to the sink, and the floor. Nothing about speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def told_by(module: str, *words: str) -> Any:
    """What a bench says on its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(120)
def test_every_sample_reaches_every_viewer_once() -> None:
    words = [
        "--cases",
        "12x80",
        "--servers",
        "city,floor",
        "--seconds",
        "1",
        "--warm",
        "0.2",
        "--rounds",
        "1",
    ]
    rows = told_by("load.bench.egress", *words)["cases"]["12x80"]
    assert set(rows) == {"city", "floor"}
    for server, row in rows.items():
        assert row.get("delivered") == 12 * 80, f"{server}: {row}"
        assert row["closed"] == 0
        assert row["worst_tenth_over_best_tenth_p99"] >= 1.0


@pytest.mark.timeout(180)
def test_slow_viewers_are_told_of_their_rung_and_climb_back() -> None:
    words = ["--case", "6x500", "--slow", "2", "--seconds", "6", "--rounds", "1"]
    told = told_by("load.bench.ladder", *words)
    assert told["slow"] == [{"viewers": 2, "told_lower": 2, "told_every_again": 2}]
    for runs in told["runs"].values():
        assert [row["delivered"] for row in runs] == [4 * 500 * 6]


@pytest.mark.timeout(180)
def test_withdrawals_are_counted_and_others_are_delivered() -> None:
    told = told_by("load.bench.silence", "--case", "6x200", "--slow", "1", "--seconds", "3")
    for kind in ("fast", "slow_tenth"):
        assert told[kind]["gateway"]["silence"]["count"] > 3
        assert 0.5 < told[kind]["delivered_part"] < 1.0

"""A short run of the egress bench: the whole path to the sink, and the floor. Nothing about speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


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
    done = subprocess.run(
        [sys.executable, "-m", "load.bench.egress", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["cases"]["12x80"]
    assert set(rows) == {"city", "floor"}
    for server, row in rows.items():
        assert row.get("delivered") == 12 * 80, f"{server}: {row}\n{done.stderr}"
        assert row["closed"] == 0
        assert row["worst_tenth_over_best_tenth_p99"] >= 1.0

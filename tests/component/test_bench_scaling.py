"""Short runs of the scaling benches, and the capacity command. Nothing about speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_capacity import COSTS, measurements

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=150,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.timeout(200)
def test_two_gateways_and_two_fanouts_deliver_everything_once_and_share_the_work() -> None:
    words = ["--cases", "2x2:40x40,uplink:8", "--seconds", "1"]
    done = run("load.bench.scaling", *words)
    rows = told(done)["rows"]
    shared = rows["2x2:40x40"]
    assert shared.get("delivered") == 40 * 40, f"{shared}\n{done.stderr}"
    work = shared["work_per_s"]
    assert set(work) == {"gateway-0", "gateway-1", "fanout-0", "fanout-1"}
    for gateway in ("gateway-0", "gateway-1"):
        assert work[gateway]["gateway_writes"] > 0
    for fanout in ("fanout-0", "fanout-1"):
        assert 0.3 < work[fanout]["fanout_samples"] / 40 < 3
    uplink = rows["uplink:8"]["work_per_s"]
    assert uplink["ingest-0"]["ingest_samples_admitted"] > 0, done.stderr
    assert uplink["gateway-0"]["gateway_frames_in"] > 0


@pytest.mark.timeout(200)
def test_idle_connections_are_held_by_two_gateways() -> None:
    result = told(run("load.bench.connections", "--connections", "240", "--held", "1"))
    assert result["held"] == 240
    assert sum(result["by_gateway"].values()) == 240
    assert min(result["by_gateway"].values()) > 0


def test_more_connections_than_two_gateways_hold_are_refused_by_number() -> None:
    done = run("load.bench.connections", "--connections", "999999999")
    assert done.returncode == 2
    assert "two gateways hold at most" in done.stderr


def test_capacity_says_what_is_needed_and_how_far_off_it_may_be(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(measurements()))
    command = ("shared.cli", "load", "capacity", "--results", str(file))
    result = told(run(*command, "--json"))
    assert set(result["needs"]) == {"10000", "1e+06", "1e+08"}
    assert result["costs"]["of"]["gateway"]["write"] == pytest.approx(
        COSTS.of["gateway"]["write"], rel=0.01
    )
    assert all(abs(row["error"]) < 0.01 for row in result["checks"])
    one = told(run(*command, "--json", "--citizens", "5000", "--speaking", "0.3"))
    assert set(one["needs"]) == {"5000"}
    table = run(*command).stdout
    assert "gateways" in table
    assert "1e+08" in table


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--speaking", "7"), "speaking is a part"),
        (("--citizens", "0"), "citizens must be above 0"),
        (("--results", "no such file"), "no such file"),
    ],
)
def test_capacity_refuses_in_one_line(words: tuple[str, str], why: str, tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(measurements()))
    done = run("shared.cli", "load", "capacity", "--results", str(file), *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("synchronia load capacity: ")
    assert why in line


def test_capacity_says_what_a_result_file_lacks(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text("{}")
    done = run("shared.cli", "load", "capacity", "--results", str(file))
    assert done.returncode == 2
    assert "make bench ARGS=" in done.stderr

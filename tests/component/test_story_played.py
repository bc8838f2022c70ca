"""A story played into a whole city: what it finds, and what its exit status says."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.city import RunningCity, wait_until

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
name = "small"
seed = 3
[thresholds]
p50_ms = {p50_ms}
[[citizens]]
name = "people"
count = 3
grant = "full"
per_s = 10
[[viewers]]
name = "viewers"
count = 2
[[act]]
name = "talk"
seconds = {seconds}
"""


def play(story: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shared.cli", "load", "play", story, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=100)
    assert process.returncode in {0, 1}, err
    return process.returncode, json.loads(out)


def small(folder: Path, *, seconds: float, p50_ms: float = 5000) -> str:
    file = folder / "small.toml"
    file.write_text(SMALL.format(seconds=seconds, p50_ms=p50_ms))
    return str(file)


@pytest.mark.timeout(180)
def test_the_quick_story_keeps_every_law_under_every_attack(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    report = tmp_path / "quick.html"
    state = str(shared_city.state)
    status, found = outcome(
        play(
            *("quick", "--json", "--url", shared_city.url, "--state", state),
            *("--report", str(report)),
        )
    )
    assert found["good"], found
    assert status == 0
    assert set(found["laws"].values()) == {0}
    assert found["sent"] == found["admitted"] + sum(found["refused"].values()) + found["unanswered"]
    assert found["delivered"] > found["sent"] > 200
    assert found["windows"]["verified"] > 20
    assert found["coarse"]["ticks"] > 2
    assert found["withdrawals"]["acted"]["count"] == 2
    attacks = {each["kind"]: each for each in found["attacks"]}
    assert set(attacks) == {"flood", "forged-seal", "replay", "sybil"}
    for kind in ("forged-seal", "replay"):
        assert attacks[kind]["tried"] >= 20
        assert attacks[kind]["admitted"] == 0
        assert attacks[kind]["refused"]["unknown strand"] > 0
    assert attacks["forged-seal"]["refused"]["bad seal"] > 0
    assert attacks["flood"]["refused"]["too fast"] > 200
    assert attacks["sybil"]["seats"] == 5
    friends, listeners = found["groups"]["friends"], found["groups"]["listeners"]
    assert friends["disconnects"] + listeners["disconnects"] >= 4
    assert listeners["delivered"] > 0
    assert set(found["services"]) >= {"gateway-0", "ingest-0", "fanout-0", "nats-server"}
    assert found["services"]["gateway-0"]["memory_mb_max"] > 10
    assert len(found["seconds"]) >= 8
    assert found["seconds"][0]["at_s"] == 0
    assert found["seconds"][-1]["at_s"] < 60
    assert "<svg" in report.read_text(encoding="utf-8")


@pytest.mark.timeout(120)
def test_a_broken_threshold_is_status_one_and_named(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    story = small(tmp_path, seconds=1, p50_ms=0.0001)
    process = play(story, "--url", shared_city.url, "--scale", "2")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 1, err
    lines = out.splitlines()
    assert lines[-1] == "FAILED: p50_ms"
    assert any(line.startswith("BROKEN: p50_ms\t") for line in lines)
    assert any("by 6 people" in line for line in lines)


@pytest.mark.timeout(120)
def test_an_interrupt_ends_the_story_early_with_its_books(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    story = small(tmp_path, seconds=600)
    process = play(story, "--url", shared_city.url, "--metrics-port", port)
    said: list[str] = []

    def begun() -> bool:
        assert process.stderr is not None
        said.append(process.stderr.readline())
        return "it begins" in said[-1]

    wait_until("the play begins", begun, within_s=60)

    def is_counted() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        told = dict(line.rsplit(" ", 1) for line in lines)
        people = told.get('synchronia_load_connections{role="people",state="speaking"}')
        viewers = told.get('synchronia_load_connections{role="viewers",state="watching"}')
        came = float(told.get("synchronia_load_latency_seconds_count", 0))
        return (people, viewers) == ("3.0", "2.0") and came > 0

    wait_until("a scrape finds everybody, and what came", is_counted, within_s=60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "every law kept" in out


@pytest.mark.timeout(60)
def test_what_cannot_be_played_is_one_line_and_status_two(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('name = "w"\n[[act]]\nname = "a"\nsecond = 3\n')
    for story, options, part in (
        (str(wrong), (), "wrong.toml:4: act[0]: unknown key 'second'; it takes name, seconds"),
        ("no-such", (), "stories that come with us"),
        ("quick", ("--url", "http://127.0.0.1:9"), "is the city up?"),
        (
            "quick",
            ("--url", "http://192.0.2.1"),
            "holds attacks, and 192.0.2.1 is not this machine",
        ),
    ):
        process = play(story, "--json", *options)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 2, err
        assert part in err
        assert len(err.strip().splitlines()) == 1
        assert out == ""

"""The replay tool against a whole city: the books close, and a failure is told by status."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.city import RunningCity, wait_until

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "load" / "recordings"
REAL = ROOT.parent / "shared" / "recordings" / "ceap-360vr"
"""Sixteen real people; not part of the repository (CC BY-NC), used where it lies beside it."""


INGEST = "ingest-0"
SAMPLES = 150
"""So many more are on their way through the whole city at some moment: a second or a few."""


def start(city_url: str, directory: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "shared.cli", "load", "replay", str(directory)]
    return subprocess.Popen(
        [*command, "--url", city_url, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def replay(city_url: str, *options: str, directory: Path = SHIPPED) -> tuple[int, dict[str, Any]]:
    process = start(city_url, directory, "--json", *options)
    out, err = process.communicate(timeout=90)
    assert process.returncode in {0, 1}, err
    return process.returncode, json.loads(out)


def closes(found: dict[str, Any]) -> None:
    """Nothing unaccounted, nothing against a grant, every number of the senders answered."""
    assert found["good"], found
    assert found["unaccounted"] == 0
    assert found["against_grants"] == {}
    assert found["windows"].get("false", 0) == 0
    assert found["sent"] == found["admitted"] + sum(found["refused"].values())


@pytest.mark.timeout(180)
def test_everyone_at_full_reaches_every_viewer(shared_city: RunningCity) -> None:
    status, found = replay(shared_city.url, "--grants", "full", "--seconds", "4", "--viewers", "3")
    closes(found)
    assert status == 0
    assert found["sent"] > 50
    assert found["delivered"] + sum(found["skipped"].values()) == 3 * found["sent"]
    assert found["windows"]["verified"] > 0
    assert found["latency_ms"]["samples"] == found["delivered"]


@pytest.mark.timeout(180)
def test_at_coarse_nothing_but_cells_is_seen(shared_city: RunningCity) -> None:
    status, found = replay(
        shared_city.url, "--grants", "coarse", "--seconds", "4", "--viewers", "2"
    )
    closes(found)
    assert status == 0
    assert found["delivered"] == 0
    assert found["coarse"]["records"] > 0


@pytest.mark.timeout(180)
def test_at_aggregate_and_withheld_nothing_is_seen(shared_city: RunningCity) -> None:
    for grants in ("aggregate", "withheld"):
        status, found = replay(
            shared_city.url, "--grants", grants, "--seconds", "1", "--viewers", "2"
        )
        closes(found)
        assert status == 0
        assert found["delivered"] == 0


@pytest.mark.timeout(180)
def test_withdrawals_in_turn_are_acted_recorded_and_silent(shared_city: RunningCity) -> None:
    status, found = replay(
        shared_city.url,
        *("--grants", "full", "--seconds", "6", "--viewers", "3", "--withdraw-every", "0.7"),
    )
    assert status == 0, found
    assert found["withdrawals"]["acted"]["count"] >= 2
    assert found["withdrawals"]["last byte"]["max_ms"] < 5000
    assert found["struck"] > 0


@pytest.mark.timeout(180)
def test_speed_and_an_early_end_keep_the_books(shared_city: RunningCity) -> None:
    opened = shared_city.since_now(INGEST, "ingest_strands_opened_total")
    process = start(
        shared_city.url,
        SHIPPED,
        *("--json", "--speed", "8", "--loop", "--viewers", "2", "--grants", "full"),
    )
    try:
        _wait_replaying(shared_city, opened)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    found = json.loads(out)
    closes(found)
    assert found["ended_early"]


def _wait_replaying(city: RunningCity, opened: Callable[[], float]) -> None:
    """Until everybody of the recordings has a strand, and samples flow."""
    people = len(list(SHIPPED.glob("*.csv")))
    wait_until("the replay's people speak", lambda: opened() >= people, within_s=60)
    _wait_samples(city)


def _wait_samples(city: RunningCity) -> None:
    admitted = city.since_now(INGEST, "ingest_samples_admitted_total")
    wait_until("samples flow", lambda: admitted() > SAMPLES, within_s=60)


def _is_certain(city: RunningCity) -> bool:
    try:
        return city.metric("fanout-0", "fanout_certain") == 1
    except OSError:
        return False


@pytest.mark.timeout(240)
@pytest.mark.skipif(not REAL.is_dir(), reason="the recordings of real people are not here")
def test_sixteen_real_people_are_seen_as_each_has_granted(shared_city: RunningCity) -> None:
    status, found = replay(
        shared_city.url,
        *("--seconds", "8", "--viewers", "20", "--withdraw-every", "1"),
        directory=REAL,
    )
    assert status == 0, found
    assert found["people"] == 16
    assert found["sent"] > 700
    assert found["unaccounted"] == 0


@pytest.mark.timeout(240)
def test_a_killed_fanout_costs_only_what_is_told(city: RunningCity) -> None:
    opened = city.since_now(INGEST, "ingest_strands_opened_total")
    process = start(
        city.url,
        SHIPPED,
        *("--json", "--speed", "2", "--loop", "--viewers", "4", "--grants", "full"),
    )
    try:
        _wait_replaying(city, opened)
        pid = city.kill("fanout-0")
        city.wait_successor("fanout-0", pid, within_s=30)
        wait_until("the successor delivers", lambda: _is_certain(city), within_s=60)
        _wait_samples(city)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, err + out
    found = json.loads(out)
    assert found["gaps"] > 0
    assert found["unaccounted"] == 0


@pytest.mark.timeout(60)
def test_a_city_or_a_room_that_is_not_there_is_told_before_the_crowd_comes(
    shared_city: RunningCity,
) -> None:
    nowhere = ("--sanctuary", "nowhere")
    for url, options, part in (
        ("http://127.0.0.1:9", (), "is the city up?"),
        (shared_city.url, nowhere, "there is no sanctuary 'nowhere'"),
    ):
        process = start(url, SHIPPED, "--json", *options)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 2, err
        assert part in err
        assert not out


@pytest.mark.timeout(90)
def test_people_who_may_not_speak_are_told_at_once(shared_city: RunningCity) -> None:
    process = start(
        shared_city.url, SHIPPED, "--json", "--sanctuary", "open-stage", "--viewers", "1"
    )
    out, err = process.communicate(timeout=45)  # above a minute, if they waited for a voice
    assert process.returncode == 2, err
    assert "0 of 3 people could speak: not invited" in err
    assert not out


def test_what_cannot_be_played_is_one_line_and_status_two(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("clip,t,valence,arousal\nV1,0,5,99\n")
    for directory, url, part in (
        (tmp_path, "http://127.0.0.1:9", "p.csv:2: arousal is 99"),
        (tmp_path / "none", "http://127.0.0.1:9", "no such directory"),
        (SHIPPED, "gopher://x", "is no address"),
    ):
        process = start(url, directory, "--json")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert part in err
        assert len(err.strip().splitlines()) == 1
        assert out == ""
    process = start("http://127.0.0.1:9", SHIPPED, "--json", "--speed", "20")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "a city takes 128" in err

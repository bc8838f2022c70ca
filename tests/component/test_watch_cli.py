"""`synchronia watch` against a whole city: with keys, without, in a pipe and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.city import RunningCity, wait_until

ROOT = Path(__file__).resolve().parents[2]


def command(city: RunningCity, keys: Path, *words: str) -> list[str]:
    where = ["--url", city.url, "--keys", str(keys)]
    return [sys.executable, "-m", "shared.cli", "watch", *words, *where]


def pipe(
    city: RunningCity, keys: Path, *words: str, status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(city, keys, *words),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.timeout(120)
def test_a_listener_sees_each_at_the_tier_that_was_granted(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    rows = objects(pipe(shared_city, tmp_path, "--json", "--seconds", "6.5").stdout)
    assert len(rows) == 6, "one object a second"
    last = rows[-1]
    names = {row["name"]: row for row in last["full"]}
    assert {"Ada", "Bo"} <= set(names)
    assert "Chidi" not in names, "granted coarse"
    assert "Dao" not in names, "granted aggregate"
    assert len(last["coarse"]) >= 1
    assert all(set(row) == {"pseudonym", "valence", "arousal"} for row in last["coarse"])
    assert 2.0 <= names["Ada"]["per_s"] <= 6.0, "four a second"
    assert names["Ada"]["verified"] >= 2
    assert names["Ada"]["doubtful"] == 0
    assert 0 <= last["delay_ms_p50"] <= last["delay_ms_max"]
    assert (last["gaps"], last["connected"], last["close"]) == (0, True, True)


@pytest.mark.timeout(120)
def test_a_stage_is_watched_without_keys(shared_city: RunningCity, tmp_path: Path) -> None:
    options = ("--sanctuary", "open-stage", "--anonymous", "--json", "--seconds", "3.5")
    rows = objects(pipe(shared_city, tmp_path / "keys", *options).stdout)
    assert [row["name"] for row in rows[-1]["full"]] == ["Voice"]
    assert rows[-1]["full"][0]["per_s"] > 0
    assert not (tmp_path / "keys").exists(), "no keys were made"


@pytest.mark.timeout(120)
def test_what_is_not_public_says_what_to_do(shared_city: RunningCity, tmp_path: Path) -> None:
    done = pipe(shared_city, tmp_path, "--anonymous", "--seconds", "30", status=1)
    assert "nothing public" in done.stderr
    assert "--anonymous" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.timeout(120)
def test_in_a_plain_pipe_a_line_a_second(shared_city: RunningCity, tmp_path: Path) -> None:
    lines = pipe(shared_city, tmp_path, "--seconds", "2.5").stdout.splitlines()
    assert len(lines) == 2
    assert all("full" in line and "gaps 0" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.timeout(120)
def test_on_a_terminal_the_plane_is_drawn_and_ctrl_c_ends_it(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(shared_city, tmp_path),
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"},
    )
    os.close(theirs)
    seen = bytearray()

    def read() -> None:
        try:
            while part := os.read(ours, 65536):
                seen.extend(part)
        except OSError:  # how a terminal says that nobody writes any more
            return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        wait_until("the plane with Ada on it", lambda: b"Ada" in seen, within_s=40)
        wait_until("somebody is blurred", lambda: "░".encode() in seen, within_s=20)
        wait_until("the table has them too", lambda: b"coarse" in seen, within_s=20)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        os.close(ours)
    text = seen.decode(errors="replace")
    for part in ("arousal", "valence", "full", "│", "verified"):
        assert part in text
    assert text.endswith("\x1b[?25h\x1b[?1049l"), "the cursor and the screen are as they were"
    assert "Traceback" not in text


def test_the_help_has_an_example() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shared.cli", "watch", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=20,
    )
    assert "Example: synchronia watch" in done.stdout

"""The command line: every command explains itself with an example, every error is one clear line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.cli import WORDS

HOME = Path(__file__).resolve().parents[2]
LEAVES = [
    [],
    *([word] for word in WORDS),
    ["keys", "bus"],
    ["load", "replay"],
]


def synchronia(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(HOME), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "shared.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder or HOME,
        env=environment,
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: list[str]) -> None:
    told = synchronia(*words, "--help")
    assert told.returncode == 0, told.stderr
    assert "xample" in told.stdout
    assert "Traceback" not in told.stderr


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "words", [[], ["up"], ["watch"], ["consent", "grant"], ["fanout"]], ids=" ".join
)
def test_a_short_h_asks_for_the_same(words: list[str]) -> None:
    assert synchronia(*words, "-h").stdout == synchronia(*words, "--help").stdout != ""


def test_the_version_is_told() -> None:
    told = synchronia("--version")
    assert (told.returncode, told.stdout) == (0, "synchronia 0.1.0\n")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["--nonsense"],
        ["up", "--nonsense"],
        ["up", "--port", "high"],
        ["up", "--port", "70000"],
        ["up", "--services", "gateway,chef"],
        ["up", "--services", ""],
        ["up", "--services", "gateway,gateway"],
        ["up", "--nats", "nats://127.0.0.1:1"],
        ["up", "--keys", "somewhere"],
        ["up", "more", "words"],
        ["tap", "--seconds", "-1"],
        ["tap", "--state", "/nowhere/at/all"],
        ["tap", "--nats", "nats://127.0.0.1:1", "--keys", "/nowhere"],
        ["doctor", "--port", "x"],
        ["doctor", "--nats-server", "/nowhere/nats-server"],
        ["doctor", "--port", "70000"],
        ["keys", "bus"],
        ["keys", "bus", "--keys", "/proc/nowhere"],
        ["fanout", "--nonsense"],
        ["fanout", "--ordinal", "many"],
        ["gateway", "--instance", "a b c"],
    ],
    ids=" ".join,
)
def test_garbage_is_refused_with_a_line_and_a_status(words: list[str], tmp_path: Path) -> None:
    told = synchronia(*words, folder=tmp_path)
    assert told.returncode != 0
    assert "Traceback" not in told.stdout + told.stderr
    assert told.stderr.strip() or "wrong" in told.stdout
    # Nothing was begun: a refused command leaves no state behind.
    assert not (tmp_path / ".synchronia").exists()


@pytest.mark.timeout(60)
def test_doctor_speaks_json_and_names_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = synchronia("doctor", "--json", "--port", str(port), "--state", str(tmp_path))
    findings = {row["check"]: row for row in map(json.loads, told.stdout.splitlines())}
    assert told.returncode == 1
    assert findings["port"]["verdict"] == "wrong"
    assert "--port" in findings["port"]["do"]
    assert findings["nats-server"]["verdict"] == "ok"
    assert {"python", "libraries", "state", "clock", "disk", "city"} <= set(findings)


@pytest.mark.timeout(60)
def test_doctor_sees_keys_that_others_may_read(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert synchronia("keys", "bus", "--keys", str(keys)).returncode == 0
    tmp_path.chmod(0o700)
    (keys / "fanout-0.nk").chmod(0o644)
    told = synchronia("doctor", "--json", "--state", str(tmp_path))
    findings = {row["check"]: row for row in map(json.loads, told.stdout.splitlines())}
    assert findings["state"]["verdict"] == "wrong"
    assert "chmod 600" in findings["state"]["do"]


@pytest.mark.timeout(60)
def test_bus_keys_are_private_complete_and_kept(tmp_path: Path) -> None:
    assert synchronia("keys", "bus", "--keys", str(tmp_path), "--replicas", "2").returncode == 0
    keys = {path.name: path.read_bytes() for path in sorted(tmp_path.glob("*.nk"))}
    assert {"bootstrap.nk", "tap.nk", "gateway-0.nk", "gateway-1.nk"} <= set(keys)
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o600 for name in keys)
    conf = (tmp_path / "nats.conf").read_text()
    assert "sync_interval: always" in conf
    assert synchronia("keys", "bus", "--keys", str(tmp_path), "--replicas", "2").returncode == 0
    assert {path.name: path.read_bytes() for path in sorted(tmp_path.glob("*.nk"))} == keys

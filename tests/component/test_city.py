"""`synchronia up` as its user meets it: ready, Ctrl-C, and every way in which it says no."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from shared.subjects import SERVICES
from tests.support.city import RunningCity, is_alive, running_city, wait_until

pytestmark = pytest.mark.timeout(180)

RESTART_S_MAX = 20.0
"""The law is 2 s after the child is gone, on a quiet machine; the time is printed."""
INSTANCES = [f"{service}-0" for service in SERVICES]


def refused(state: Path, *options: str) -> str:
    """The one line with which `up` refuses to start."""
    told = subprocess.run(
        [sys.executable, "-m", "services.city", "--state", str(state), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert told.returncode not in {0, None}
    assert told.stdout == ""
    (line,) = told.stderr.splitlines()
    assert line.startswith("synchronia up: ")
    return line


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(tmp_path / "state", "--port", str(port))
    assert f"port {port} is in use" in line
    assert "--port" in line


def test_a_newer_state_directory_is_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "version").write_text("2\n")
    line = refused(state, "--port", "0")
    assert "newer" in line
    assert [entry.name for entry in state.iterdir()] == ["version"]
    assert (state / "version").read_text() == "2\n"


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter one")
    assert "not Synchronia's" in refused(tmp_path, "--port", "0")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_state_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert "not a directory" in refused(tmp_path / "state", "--port", "0")


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    line = refused(
        tmp_path / "state", "--port", "0", "--nats-server", str(tmp_path / "nats-server")
    )
    assert "nats-server" in line


def test_a_binary_that_is_no_broker_is_named(tmp_path: Path) -> None:
    false = tmp_path / "nats-server"
    false.write_text("#!/bin/sh\necho I am a teapot >&2\nexit 7\n")
    false.chmod(0o755)
    line = refused(tmp_path / "state", "--port", "0", "--nats-server", str(false))
    assert "teapot" in line


def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    subprocess.run(
        [sys.executable, "-m", "shared.cli", "keys", "bus", "--keys", str(keys)], check=True
    )
    line = refused(
        tmp_path / "state", "--port", "0", "--nats", "nats://127.0.0.1:1", "--keys", str(keys)
    )
    assert "nats://127.0.0.1:1" in line


def test_ready_then_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    with running_city(tmp_path / "state") as city:
        line = city.wait_line("ready http", within_s=1)
        assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+", line)
        wait_until(
            "the citizens have come",
            lambda: "citizens" in city.told.services and city.pid("citizens") is not None,
            within_s=10,
        )
        pids = city.pids()
        assert sorted(city.told.services) == sorted([*INSTANCES, "nats-server", "citizens"])
        assert all(is_alive(pid) for pid in pids)
        assert stat.S_IMODE(city.state.stat().st_mode) == 0o700
        for key in (city.state / "keys").iterdir():
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
        second = refused(city.state, "--port", "0")
        assert "another `synchronia up`" in second
        began = os.times().elapsed
        assert city.end(signal.SIGINT) == 0, city.story()
        took_s = os.times().elapsed - began
    print(f"drained in {took_s:.2f} s")
    assert took_s < 7.0
    assert not [pid for pid in pids if is_alive(pid)]
    assert not [line for line in city.lines if "killed" in line], city.story()
    assert not (city.state / "city.json").exists()
    # The same directory again: everybody's keys and the city are the same.
    keys = {path.name: path.read_bytes() for path in (city.state / "keys").iterdir()}
    with running_city(tmp_path / "state") as again:
        again.end(signal.SIGTERM)
    assert {path.name: path.read_bytes() for path in (city.state / "keys").iterdir()} == keys


def test_an_empty_city_is_ready_when_its_services_are(tmp_path: Path) -> None:
    with running_city(tmp_path / "state", "--empty") as city:
        assert sorted(city.told.services) == sorted([*INSTANCES, "nats-server"])
        assert any("no rooms" in line for line in city.lines)
        with urllib.request.urlopen(f"{city.url}/readyz", timeout=5) as answer:
            assert answer.status == 200


def test_a_part_of_a_city_on_a_broker_of_ones_own(tmp_path: Path) -> None:
    with (
        running_city(tmp_path / "one", "--services", "registry,sanctuary") as one,
        running_city(
            tmp_path / "two",
            *("--services", "ingest,fanout,gateway"),
            *("--nats", one.told.nats, "--keys", str(tmp_path / "one" / "keys")),
        ) as two,
    ):
        assert sorted(one.told.services) == ["nats-server", "registry-0", "sanctuary-0"]
        assert sorted(two.told.services) == ["fanout-0", "gateway-0", "ingest-0"]
        two.wait_line("ready http", within_s=1)


def test_a_broker_of_a_city_that_was_founded_elsewhere_is_said_in_one_line(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    line = refused(
        tmp_path / "two",
        *("--services", "registry", "--nats", shared_city.told.nats),
        *("--keys", str(shared_city.state / "keys")),
    )
    assert re.search(
        r"registry: cannot serve: stream identity, .*/two/wrapping/.* is missing", line
    )
    assert "founded with another --state?" in line


def test_a_supervisor_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    with running_city(tmp_path / "state", "--empty") as city:
        pids = city.pids()
        city.process.kill()
        wait_until("everybody is gone", lambda: not any(is_alive(pid) for pid in pids), within_s=10)
        city.process.wait()
    with running_city(tmp_path / "state", "--empty"):
        """A new one starts where the killed one left off."""


@pytest.mark.timeout(300)
def test_every_process_that_is_killed_or_stands_still_has_a_successor(tmp_path: Path) -> None:
    with running_city(tmp_path / "state") as city:
        for number in (signal.SIGKILL, signal.SIGSTOP):
            for name in [*INSTANCES, "nats-server"]:
                # One that is still starting has a longer allowance: it has not beaten yet.
                wait_until("every service is ready", lambda: all_ready(city), within_s=30)
                pid = city.kill(name, number)
                took_s = city.wait_successor(name, pid, within_s=RESTART_S_MAX)
                assert not is_alive(pid)
                print(f"{name:12} {number.name}: successor after {took_s:.2f} s")
        pid = city.kill("citizens")
        city.wait_successor("citizens", pid, within_s=RESTART_S_MAX)
        wait_until("every service is ready", lambda: all_ready(city), within_s=30)
        assert city.end() == 0, city.story()


def all_ready(city: RunningCity) -> bool:
    for service in city.told.services.values():
        if service.health_port is None:
            continue
        url = f"http://127.0.0.1:{service.health_port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status != 200:
                    return False
        except OSError:
            return False
    return True


def test_tap_and_doctor_see_the_city_and_no_payload(shared_city: RunningCity) -> None:
    told = subprocess.run(
        [
            *(sys.executable, "-m", "shared.cli", "tap", "--json", "--seconds", "3"),
            *("--state", str(shared_city.state)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert {row["subject"] for row in rows} >= {"control.registry-0", "member.*"}
    assert all(set(row) == {"second", "subject", "shape", "messages", "bytes"} for row in rows)
    told = subprocess.run(
        [
            *(sys.executable, "-m", "shared.cli", "doctor", "--json"),
            *("--state", str(shared_city.state), "--port", shared_city.url.rpartition(":")[2]),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    findings = {row["check"]: row for row in map(json.loads, told.stdout.splitlines())}
    assert all(findings[name]["verdict"] == "ok" for name in [*INSTANCES, "broker", "state"])


def test_every_service_tells_its_metrics_on_the_health_port_alone(
    shared_city: RunningCity,
) -> None:
    wait_until("every service is ready", lambda: all_ready(shared_city), within_s=30)
    for name in INSTANCES:
        url = f"http://127.0.0.1:{shared_city.told.services[name].health_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert f"\n{name.rpartition('-')[0]}_".encode() in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{shared_city.url}/metrics", timeout=5)

"""A whole city under recorded people: latency, withdrawals, and what each fault costs.

`synchronia load replay` drives and keeps the books; a run whose books do not balance is not `good`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from load.bench.gauge import Gauge
from load.bench.own_city import own_city
from load.bench.recovery import FAULTS, recover
from load.story import synthetic
from shared.cli.running import RunningCity

QUIET_VIEWERS = 100
QUIET_SPEED = 10 * synthetic.STEP_S
"""One synthetic person ten times a second."""


def replay(url: str, recordings: Path, *options: str) -> dict[str, Any]:
    """`synchronia load replay --json`; its result, whose `good` says whether the books balance."""
    command = [sys.executable, "-m", "shared.cli", "load", "replay", str(recordings)]
    command += ["--url", url, "--json", "--loop", *options]
    # a result file is published: it names the recordings, not where they lie on this machine
    told = ["synchronia", "load", "replay", recordings.name, *command[6:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode == 2 or not done.stdout:
        return {"good": False, "command": told, "error": done.stderr.strip()[-500:]}
    result: dict[str, Any] = json.loads(done.stdout)
    return {"command": told, **result}


def latency(recordings: Path, seconds: float) -> dict[str, Any]:
    """From each sample's intended moment to each viewer, every hop between."""
    parts = {}
    for viewers in (1, 50):
        with own_city() as city:
            assert city.url is not None
            options = ["--viewers", str(viewers), "--grants", "full", "--seconds", str(seconds)]
            parts[f"viewers_{viewers}"] = replay(city.url, recordings, *options)
    return parts


def quiet(seconds: float) -> dict[str, Any]:
    """One person, ten samples a second, a hundred viewers: the whole way, with nothing to wait for."""
    with tempfile.TemporaryDirectory(prefix="synchronia-bench-") as folder, own_city() as city:
        synthetic.write(Path(folder), people=1)
        assert city.url is not None
        options = ["--viewers", str(QUIET_VIEWERS), "--speed", f"{QUIET_SPEED:.3f}"]
        return replay(
            city.url, Path(folder), *options, "--grants", "full", "--seconds", str(seconds)
        )


def withdrawal(recordings: Path, seconds: float) -> dict[str, Any]:
    """Sixteen people to 200 viewers; every half second the next one withdraws for a while. Once at
    viewers that read at once, once with a tenth of them that reads a kilobyte a second.

    Told beside each other: what the gateway has counted to its last hand-over to the kernel, and what
    the people and their viewers have seen.
    """
    parts = {}
    for name, slow in (("fast", 0), ("slow_tenth", 20)):
        with own_city() as city, slow_viewers(city, slow) as slow_told:
            assert city.url is not None
            gauge = Gauge(city.services["gateway-0"].health_port)
            options = ["--viewers", str(200 - slow), "--withdraw-every", "0.5"]
            played = replay(city.url, recordings, *options, "--seconds", str(2 * seconds))
            parts[name] = {"gateway": gauge.read(), **played}
        if slow:
            parts[name]["slow_viewers"] = slow_told
    return parts


@contextlib.contextmanager
def slow_viewers(city: RunningCity, count: int) -> Iterator[dict[str, Any]]:
    """Reading a kilobyte a second while the block runs; told when it ends."""
    told: dict[str, Any] = {}
    if not count:
        yield told
        return
    assert city.url is not None
    command = [sys.executable, "-m", "load.bench.slow", "--url", city.url, "--viewers", str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield told
    finally:
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=15)
            told.update(json.loads(said))
        except (subprocess.TimeoutExpired, ValueError):
            process.kill()
            process.wait()


def recovery(recordings: Path) -> dict[str, Any]:
    """The longest silence that a viewer met around each fault, under the replay."""
    with own_city() as city:
        assert city.url is not None
        command = [sys.executable, "-m", "shared.cli", "load", "replay", str(recordings)]
        command += ["--url", city.url, "--json", "--loop", "--grants", "full", "--viewers", "8"]
        player = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            state = Path(city.keys).parent
            return {f"{name} {fault}": recover(state, name, fault) for name, fault in FAULTS}
        finally:
            player.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                player.wait(30)
            player.kill()

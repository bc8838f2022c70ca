"""How long a viewer waits around a fault: kill -9 or SIGSTOP of one process of a running city."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from shared.cli.running import read_running
from shared.client.events import Event
from shared.client.keystore import Keystore
from shared.client.visit import Visit
from shared.client.words import sanctuary_of
from shared.contracts.client import SampleShown
from shared.identifiers import MonotonicNs
from shared.runtime.clock import pause

_SERVICES = ("gateway-0", "ingest-0", "fanout-0", "sanctuary-0", "registry-0")
FAULTS: tuple[tuple[str, str], ...] = (
    *((name, "SIGKILL") for name in _SERVICES),
    *((name, "SIGSTOP") for name in _SERVICES),
    ("nats-server", "SIGKILL"),
)
WATCH_S = 10.0
STREAMING_S_MAX = 30.0
CALM_S = 2.0
"""Of samples without a pause, before a fault is made."""
CALM_GAP_S_MAX = 0.5


async def _recover(state: Path, name: str, fault: str) -> dict[str, Any]:
    arrivals: list[float] = []

    def on_events(events: list[Event], _: MonotonicNs) -> None:
        if any(isinstance(event, SampleShown) for event in events):
            arrivals.append(time.perf_counter())

    async def until_streaming() -> None:
        began = time.perf_counter()
        while True:
            await pause(0.1)
            now = time.perf_counter()
            recent = [began, *(t for t in arrivals if t > began)]
            if now - recent[-1] > CALM_GAP_S_MAX or len(recent) == 1:
                began = now
            elif now - began > CALM_S:
                return

    with tempfile.TemporaryDirectory() as folder:
        keyring, _ = Keystore(Path(folder)).load_or_new("watcher")
        city = read_running(state)
        assert city is not None
        assert city.url is not None
        async with Visit(keyring, city.url, random_bytes=os.urandom, on_events=on_events) as visit:
            await visit.take_seat(sanctuary_of("emotive-commons"), speak=False)
            async with asyncio.timeout(STREAMING_S_MAX):
                await until_streaming()
            city = read_running(state)
            assert city is not None
            pid = city.services[name].pid
            assert pid is not None
            struck = time.perf_counter()
            os.kill(pid, signal.Signals[fault])
            await pause(WATCH_S)
    end = time.perf_counter()
    times = [struck, *(t for t in arrivals if t > struck), end]
    silence, since = max((b - a, a) for a, b in pairwise(times))
    return {
        "silence_s": round(silence, 3),
        "began_after_s": round(since - struck, 3),
        "recovered": len(times) > 2 and silence < WATCH_S - 1,
        "samples_seen": len(times) - 2,
    }


def recover(state: Path, name: str, fault: str) -> dict[str, Any]:
    """The longest time without a sample for a viewer in the 10 s behind the fault, in seconds."""
    return asyncio.run(_recover(state, name, fault))

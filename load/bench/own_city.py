"""A city of the bench's own: `synchronia up` in a process of its own, on free ports."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from shared.cli.running import RunningCity, read_running

SERVICES = "registry,sanctuary,ingest,fanout,gateway"
READY_S_MAX = 60.0
_LOOK_AGAIN_S = 0.05


class OwnCity:
    """A city that was started, and is ended by `end`."""

    def __init__(
        self,
        folder: Path,
        services: str,
        rooms: Path | None,
        options: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        """`rooms`: other rooms than the seeded ones, as in `seeds/sanctuaries.toml`; `options`: more
        of `synchronia up`; `environment`: settings of the services.
        """
        self._state = folder / "state"
        self._said: list[str] = []
        self._is_ready = threading.Event()
        words = ["--state", str(self._state), "--port", "0", "--services", services, *options]
        told = {} if rooms is None else {"SYNCHRONIA_SANCTUARY_SANCTUARIES_PATH": str(rooms)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.city", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **told, **environment},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
            if line.startswith("ready http"):
                self._is_ready.set()

    def running(self) -> RunningCity:
        """What it says about itself as soon as every process was started. Raises: SystemExit."""
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            running = read_running(self._state)
            if running is not None and running.url is not None and running.services:
                return running
            time.sleep(_LOOK_AGAIN_S)  # a tool's own thread, no service
        raise self._failed()

    def wait_ready(self) -> RunningCity:
        """Raises: SystemExit if it is not ready after READY_S_MAX."""
        if not self._is_ready.wait(READY_S_MAX):
            raise self._failed()
        return self.running()

    def _failed(self) -> SystemExit:
        return SystemExit("bench: the city did not get ready:\n" + "".join(self._said))

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(5)


@contextlib.contextmanager
def starting_city(
    services: str = SERVICES,
    rooms: Path | None = None,
    *,
    options: Sequence[str] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[OwnCity]:
    """A city that is just being started; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="synchronia-bench-") as folder:
        city = OwnCity(Path(folder), services, rooms, options, environment)
        try:
            yield city
        finally:
            city.end()


@contextlib.contextmanager
def own_city(
    services: str = SERVICES,
    rooms: Path | None = None,
    *,
    options: Sequence[str] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[RunningCity]:
    """A city that is ready."""
    with starting_city(services, rooms, options=options, environment=environment) as city:
        yield city.wait_ready()

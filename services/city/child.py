"""One child process through all its lives: started, listened to, killed when silent, reaped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from services.city.journal import Journal
from services.city.vigil import Vigil
from shared.identifiers import MonotonicNs
from shared.runtime.clock import monotonic_ns

HEARTBEAT_VARIABLE: Final = "SYNCHRONIA_HEARTBEAT_FD"
READ_BYTES: Final = 65536
LOOK_S: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A name, a command, and the process that runs it now, if one does."""

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        *,
        vigil: Vigil,
        journal: Journal,
        show: Callable[[str], None],
        changed: Callable[[], None],
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self._command = command
        self._vigil = vigil
        self._journal = journal
        self._show = show
        self._changed = changed
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()
        self._over.set()
        self._silenced = False

    def beat(self, now_ns: MonotonicNs) -> None:
        """A sign of life that came by another way than the pipe."""
        if self._process is not None:
            self._vigil.beat(now_ns)

    async def live(self) -> None:
        """Keep the child running until `stop`. Its successor starts after it was reaped."""
        self._over.clear()
        try:
            while not self._stopping.is_set():
                status = await self._live_once()
                if not self._stopping.is_set():
                    await self._rest(status)
        finally:
            self._journal.close()
            self._over.set()

    async def stop(self, within_s: float) -> None:
        """Ask the child to end; after `within_s` seconds, end it. Returns when it is reaped."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                await self._over.wait()
        except TimeoutError:
            self._show(f"{self.name}: did not end within {within_s:.1f} s; killed")
            self._signal(signal.SIGKILL)
            await self._over.wait()

    def kill(self) -> None:
        """End the child now, and let it have no successor."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _rest(self, status: int) -> None:
        wait_s = self._vigil.ended(monotonic_ns()) / 1e9
        when = f" in {wait_s:.1f} s" if wait_s else ""
        self._show(f"{self.name}: {self._cause(status)}; starts again{when} ({self._journal.path})")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()

    async def _live_once(self) -> int:
        said, says = os.pipe()
        heard, beats = os.pipe()
        # The child's end too: one that nobody listens to must not stop at a full pipe of heartbeats.
        for end in (said, heard, beats):
            os.set_blocking(end, False)
        try:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=says,
                    stderr=says,
                    pass_fds=(beats,),
                    env={
                        **os.environ,
                        **self._environment,
                        HEARTBEAT_VARIABLE: str(beats),
                        "PYTHONUNBUFFERED": "1",
                    },
                    # Its own session: Ctrl-C reaches the supervisor alone, which ends all in order.
                    start_new_session=True,
                    preexec_fn=die_with(os.getpid()),
                )
            finally:
                os.close(says)
                os.close(beats)
            self._vigil.started(monotonic_ns())
            self._process, self.pid, self._silenced = process, process.pid, False
            self._changed()
            if self._stopping.is_set():
                process.kill()
            return await self._listen(process, said, heard)
        finally:
            self._process = self.pid = None
            self._changed()
            os.close(said)
            os.close(heard)

    async def _listen(self, process: asyncio.subprocess.Process, said: int, heard: int) -> int:
        loop = asyncio.get_running_loop()
        loop.add_reader(said, self._read_words, said)
        loop.add_reader(heard, self._read_beats, heard)
        try:
            return await self._watch(process, heard)
        finally:
            if process.returncode is None:
                # Cancelled: the supervisor itself falls, and leaves nobody behind.
                process.kill()
            self._read_words(said)
            loop.remove_reader(said)
            loop.remove_reader(heard)

    async def _watch(self, process: asyncio.subprocess.Process, heard: int) -> int:
        while True:
            deadline = self._vigil.next_deadline()
            wait_s = None
            if deadline is not None:
                # The first heartbeat draws the deadline nearer: look again before it could pass.
                wait_s = min(LOOK_S, max(0.0, (deadline - monotonic_ns()) / 1e9))
            try:
                async with asyncio.timeout(wait_s):
                    return await process.wait()
            except TimeoutError:
                self._read_beats(heard)
                if self._vigil.is_silent(monotonic_ns()) and not self._stopping.is_set():
                    self._silenced = True
                    process.send_signal(signal.SIGKILL)
                    return await process.wait()
                if self._stopping.is_set():
                    return await process.wait()

    def _read_words(self, end: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(end, READ_BYTES):
                self._journal.feed(chunk)
            asyncio.get_running_loop().remove_reader(end)

    def _read_beats(self, end: int) -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(end, READ_BYTES):
                self._vigil.beat(monotonic_ns())
            else:
                asyncio.get_running_loop().remove_reader(end)

    def _cause(self, status: int) -> str:
        if self._silenced:
            return "no heartbeat; killed"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        words = self._journal.last_words
        return f"ended with status {status}" + (f": {words}" if words else "")


def die_with(parent: int) -> Callable[[], None] | None:
    """For the new process, before it becomes its program: the kernel kills it when `parent` dies,
    however that dies. Elsewhere than on Linux a child sees its heartbeat's pipe close.
    """
    if _libc is None:
        return None
    libc = _libc

    def between_fork_and_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return between_fork_and_exec

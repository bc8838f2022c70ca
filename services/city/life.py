"""One process of a child, and the three pipes between it and us: its words, its heartbeats, its start."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

HEARTBEAT_VARIABLE: Final = "SYNCHRONIA_HEARTBEAT_FD"
START_VARIABLE: Final = "SYNCHRONIA_START_FD"
"""A service reads a byte there when all is imported and before it touches anything: its predecessor
may still have to be reaped."""
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Life:
    """Made by `spawn`, let go by `begin`; `close` when it was reaped."""

    def __init__(
        self, process: asyncio.subprocess.Process, said: int, heard: int, start: int
    ) -> None:
        self.process = process
        self.said = said
        """Standard output and error; not blocking."""
        self.heard = heard
        """One byte a heartbeat; not blocking."""
        self._start: int | None = start

    @classmethod
    async def spawn(cls, command: Sequence[str], environment: Mapping[str, str]) -> Life:
        """Raises: OSError when the program cannot be started."""
        said, says = os.pipe()
        heard, beats = os.pipe()
        waits, start = os.pipe()
        # The child's end too: one that nobody listens to must not stop at a full pipe of heartbeats.
        for end in (said, heard, beats):
            os.set_blocking(end, False)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=says,
                stderr=says,
                pass_fds=(beats, waits),
                env={
                    **os.environ,
                    **environment,
                    HEARTBEAT_VARIABLE: str(beats),
                    START_VARIABLE: str(waits),
                    "PYTHONUNBUFFERED": "1",
                },
                # Its own session: Ctrl-C reaches the supervisor alone, which ends all in order.
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )
        except BaseException:
            for end in (said, heard, start):
                os.close(end)
            raise
        finally:
            for end in (says, beats, waits):
                os.close(end)
        return cls(process, said, heard, start)

    def begin(self) -> None:
        """It may start; one that has ended already is not missed here."""
        if self._start is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._start, b".")
            os.close(self._start)
            self._start = None

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def dismiss(self) -> None:
        """It is not needed: end it, reap it."""
        self.signal(signal.SIGKILL)
        await self.process.wait()
        self.close()

    def close(self) -> None:
        for end in (self.said, self.heard, self._start):
            if end is not None:
                os.close(end)
        self._start = None


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

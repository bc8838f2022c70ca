"""One exact timer: some 60 µs late at most, where uvloop's own count whole milliseconds.

A timerfd (Linux, as all that runs here), which the loop polls like a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from typing import Self

from shared.identifiers import MonotonicNs

_CLOCK_MONOTONIC, _ABSOLUTE = 1, 1
_NS = 1_000_000_000
_Spec = ctypes.c_long * 4
"""struct itimerspec: interval and moment, each in s and ns."""


class Alarm:
    """A context of one task: it alone waits, anybody may `ring`."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        self._ringing: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are the same
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        asyncio.get_running_loop().add_reader(self._fd, self._on_time)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    async def until(self, at_ns: MonotonicNs) -> None:
        """Wait for the moment, or for `ring`. One that is over ends at the loop's next turn."""
        self._ringing = asyncio.get_running_loop().create_future()
        moment = _Spec(0, 0, *divmod(max(1, at_ns), _NS))
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, moment, None)
        await self._ringing

    def ring(self) -> None:
        """End the wait, if there is one."""
        if self._ringing is not None and not self._ringing.done():
            self._ringing.set_result(None)

    def _on_time(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it was set anew meanwhile
            os.read(self._fd, 8)
            self.ring()

"""One child through all its lives: started, listened to, killed when silent, reaped, succeeded.

When a child becomes doubtful its successor is prepared: it imports, and waits for its start until the
child was reaped. Half a second of imports would else come on top of the second of silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from services.city.journal import Journal
from services.city.life import Life
from services.city.vigil import Vigil
from shared.runtime.clock import monotonic_ns
from shared.runtime.runner import REFUSED

READ_BYTES: Final = 65536
LOOK_S: Final = 0.2


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
        is_final: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_final` is asked when the child says that what it was given cannot be served (exit status
        REFUSED), with its last line: True, and it has no successor.
        """
        self.name = name
        self._command = command
        self._vigil = vigil
        self._journal = journal
        self._show = show
        self._changed = changed
        self._environment = environment
        self._is_final = is_final
        self._life: Life | None = None
        self._successor: Life | None = None
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()
        self._over.set()
        self._silenced = False

    @property
    def pid(self) -> int | None:
        return None if self._life is None else self._life.process.pid

    async def live(self) -> None:
        """Keep the child running until `stop`. Its successor starts after it was reaped."""
        self._over.clear()
        try:
            while not self._stopping.is_set():
                status = await self._live_once()
                if status == REFUSED and self._is_final(self._journal.last_line):
                    break
                if not self._stopping.is_set():
                    await self._rest(status)
        finally:
            await self._dismiss_successor()
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
        if self._life is not None:
            self._life.signal(number)

    async def _rest(self, status: int) -> None:
        wait_s = self._vigil.ended(monotonic_ns()) / 1e9
        when = f" in {wait_s:.1f} s" if wait_s else ""
        self._show(f"{self.name}: {self._cause(status)}; starts again{when} ({self._journal.path})")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()

    async def _live_once(self) -> int:
        life = self._successor or await Life.spawn(self._command(), self._environment)
        self._successor = None
        self._life, self._silenced = life, False
        loop = asyncio.get_running_loop()
        loop.add_reader(life.said, self._read_words, life.said)
        loop.add_reader(life.heard, self._read_beats, life.heard)
        try:
            self._vigil.started(monotonic_ns())
            if self._stopping.is_set():
                life.signal(signal.SIGKILL)
            life.begin()
            self._changed()
            return await self._watch(life)
        finally:
            if life.process.returncode is None:
                # Cancelled: the supervisor itself falls, and leaves nobody behind.
                life.signal(signal.SIGKILL)
            self._read_words(life.said)
            loop.remove_reader(life.said)
            loop.remove_reader(life.heard)
            life.close()
            self._life = None
            self._changed()

    async def _watch(self, life: Life) -> int:
        while True:
            deadline = self._vigil.next_deadline()
            wait_s = None
            if deadline is not None:
                # The first heartbeat draws the deadline nearer: look again before it could pass.
                wait_s = min(LOOK_S, max(0.0, (deadline - monotonic_ns()) / 1e9))
            try:
                async with asyncio.timeout(wait_s):
                    return await life.process.wait()
            except TimeoutError:
                self._read_beats(life.heard)
                if self._stopping.is_set():
                    return await life.process.wait()
                if self._vigil.is_silent(monotonic_ns()):
                    self._silenced = True
                    life.signal(signal.SIGKILL)
                    return await life.process.wait()
                await self._prepare_successor()

    async def _prepare_successor(self) -> None:
        if not self._vigil.is_doubtful(monotonic_ns()):
            await self._dismiss_successor()
        elif self._successor is None:
            self._successor = await Life.spawn(self._command(), self._environment)

    async def _dismiss_successor(self) -> None:
        successor, self._successor = self._successor, None
        if successor is not None:
            await successor.dismiss()

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

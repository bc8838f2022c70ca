"""The bus under a city: an embedded nats-server that is kept alive, or one that runs elsewhere.

Streams and buckets are made with the bootstrap key, which only this process ever reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from services.city.state import CannotStartError, State
from services.city.vigil import Vigil
from shared.bus import BusError
from shared.bus.bootstrap import ensure_streams
from shared.bus.permissions import BOOTSTRAP, seed_path
from shared.bus.server import EmbeddedServer, ServerFailed, find_binary
from shared.runtime.clock import monotonic_ns

NATS_PORT: Final = 4222
LOOK_S: Final = 0.25
GREETING_S_MAX: Final = 1.0
UNANSWERED_MAX: Final = 3
"""A broker greets whoever connects; one that did not three times in a row stands still."""


class ForeignBroker:
    """Somebody else's: never started, never ended."""

    def __init__(self, url: str, keys: Path) -> None:
        self.url = url
        self.keys = keys

    async def prepare(self, instances: Sequence[str]) -> None:
        """Streams and buckets. Raises: CannotStartError."""
        for instance in instances:
            if not seed_path(self.keys, instance).exists():
                replicas = 1 + int(instance.rpartition("-")[2])
                raise CannotStartError(
                    f"no key {seed_path(self.keys, instance)}; make it: synchronia keys bus"
                    f" --keys {self.keys}" + (f" --replicas {replicas}" if replicas > 1 else "")
                )
        if not await greets(self.url):
            raise CannotStartError(f"no nats-server answers at {self.url}; is --nats right?")
        bootstrap = seed_path(self.keys, BOOTSTRAP)
        try:
            # Without that key the broker's operator made the streams, or the registry will say so.
            if bootstrap.exists():
                await ensure_streams(self.url, bootstrap)
        except (BusError, OSError) as error:
            raise CannotStartError(f"{error}; does it know the keys in {self.keys}?") from error


class EmbeddedBroker:
    """A nats-server on a port that stays the same through all its lives."""

    name = "nats-server"

    def __init__(
        self,
        state: State,
        binary: Path | None,
        *,
        instances: Sequence[str],
        show: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.keys = state.keys
        self.url = ""
        self._state = state
        self._binary = binary
        self._instances = instances
        self._show = show
        self._changed = changed
        self._vigil = Vigil(beats=False)
        self._server: EmbeddedServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._failure: CannotStartError | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return None if self._server is None else self._server.pid

    def check(self) -> None:
        """Raises: CannotStartError without a binary, before anything is started."""
        try:
            find_binary(self._binary)
        except ServerFailed as error:
            raise CannotStartError(f"{error} (--nats-server PATH)") from error

    def start(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self._live())

    async def prepare(self, instances: Sequence[str]) -> None:
        """Until it answers for the first time. Raises: CannotStartError."""
        del instances  # theirs were made with the configuration
        await self._first.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self, within_s: float) -> None:
        self._stopping.set()
        if self._task is None:
            return
        if self._server is None:
            self._task.cancel()
        else:
            await self._server.stop(deadline_s=within_s)
        await asyncio.wait([self._task])

    def kill(self) -> None:
        self._stopping.set()
        if self._server is not None:
            _kill(self._server)

    async def _live(self) -> None:
        port = 0
        while not self._stopping.is_set():
            self._vigil.started(monotonic_ns())
            try:
                server = await EmbeddedServer.start(
                    self._state.root, port, instances=self._instances, binary=self._binary
                )
            except (ServerFailed, BusError, OSError) as error:
                cause = str(error)
                if not self._first.is_set():
                    self._failure = CannotStartError(cause)
                    self._first.set()
                    return
            else:
                self.url, port, self._server = server.url, server.port, server
                self._changed()
                self._first.set()
                try:
                    cause = await self._watch(server)
                finally:
                    await server.stop(deadline_s=0.1)
                    self._server = None
                    self._changed()
            if not self._stopping.is_set():
                await self._rest(cause)

    async def _watch(self, server: EmbeddedServer) -> str:
        """Until it has ended; how."""
        unanswered = 0
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    status = await server.wait()
            except TimeoutError:
                unanswered = 0 if await greets(server.url) else unanswered + 1
                if unanswered >= UNANSWERED_MAX and not self._stopping.is_set():
                    _kill(server)
                    await server.wait()
                    return "did not answer; killed"
            else:
                return (
                    f"ended by {signal.Signals(-status).name}"
                    if status < 0
                    else f"ended with status {status}"
                )

    async def _rest(self, cause: str) -> None:
        wait_s = self._vigil.ended(monotonic_ns()) / 1e9
        when = f" in {wait_s:.1f} s" if wait_s else ""
        self._show(f"{self.name}: {cause}; starts again{when} ({self._state.root / 'nats.log'})")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()


Broker = EmbeddedBroker | ForeignBroker


async def greets(url: str) -> bool:
    """Whether a nats-server says INFO to a connection, which it does before any key."""
    try:
        address = urlsplit(url)
        async with asyncio.timeout(GREETING_S_MAX):
            reader, writer = await asyncio.open_connection(
                address.hostname, address.port or NATS_PORT
            )
            try:
                return await reader.readexactly(4) == b"INFO"
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
        return False


def _kill(server: EmbeddedServer) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGKILL)

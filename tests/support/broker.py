"""A real broker for one test: its own nats-server, keys, permissions and streams, on a free port."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.bus.permissions import TAP, default_instances, seed_path
from shared.bus.server import EmbeddedServer

INSTANCES = (*default_instances(), "gateway-1", "ingest-1", "fanout-1", "sanctuary-1")
"""Those with a key: every service once, and a second one of those that can have one."""


class Broker:
    """`url` and `keys_dir` are what a service is given; `bus` connects as an instance."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self._running: list[tuple[Bus, asyncio.Task[None]]] = []

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def keys_dir(self) -> Path:
        return self.server.keys_dir

    async def bus(self, instance: str) -> Bus:
        """A supervised connection, closed after the test; its failure is the test's."""
        bus = await Bus.connect(instance, self.url, seed=seed_path(self.keys_dir, instance))
        task = asyncio.get_running_loop().create_task(bus.run(), name=f"bus of {instance}")
        self._running.append((bus, task))
        return bus

    async def tap(self) -> Bus:
        return await self.bus(TAP)

    async def kill(self) -> None:
        """As `kill -9`; returns when it is gone."""
        os.kill(self.server.pid, signal.SIGKILL)
        await self.server.wait()

    async def start_again(self) -> None:
        """On the same port and store, after `kill`."""
        self.server = await EmbeddedServer.start(
            self.server.state_dir, self.server.port, instances=INSTANCES
        )

    async def restart(self) -> None:
        await self.kill()
        await self.start_again()

    async def close(self) -> None:
        failed = []
        for bus, task in self._running:
            if task.done():
                failed.append(task.exception())
            await bus.close()
            task.cancel()
        await asyncio.gather(*(task for _, task in self._running), return_exceptions=True)
        await self.server.stop()
        for error in failed:
            if error is not None:
                raise error


@asynccontextmanager
async def running_broker(state_dir: Path) -> AsyncIterator[Broker]:
    broker = Broker(await EmbeddedServer.start(state_dir, instances=INSTANCES))
    try:
        yield broker
    finally:
        await broker.close()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path / "broker") as broker:
        yield broker


async def wait_until(condition: Callable[[], object], what: str, *, within_s: float = 5.0) -> None:
    """Wait for a named condition, looking once a turn of the loop and no less than each 2 ms."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() > deadline:
            pytest.fail(f"not within {within_s:g} s: {what}")
        looked: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.002, looked.set_result, None)
        await looked

"""The bench's connections to a bus: its own, and those of the peers that listen there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from shared.bus import Bus

SUBJECT = "samples"
"""Where the peers' samples are."""


class Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A peer's sample as it travels on the bus; `body` is what it gives to each viewer."""

    body: bytes


@contextlib.asynccontextmanager
async def connected(instance: str, url: str, *, seed: Path | None = None) -> AsyncIterator[Bus]:
    """A bus whose tasks run as long as the block. Raises: NoBroker."""
    bus = await Bus.connect(instance, url, seed=seed)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bus.run())
        try:
            yield bus
        finally:
            await bus.close()
            running.cancel()

"""How a crowd comes in: some at a time, each with a deadline from its own turn on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from load.swarm.plan import Entered, TurnedAway

ENTER_S_MAX = 60.0
ENTERING_MAX = 48
"""Of one process at a time: a city takes its doors' handshakes, and its disk the identities, one after
another, so nobody's deadline may run while the others are served."""


async def enter_in_turn(
    entrances: Iterable[Callable[[], Awaitable[None]]], tell: Callable[[object], None]
) -> bool:
    """Whether all came in. The first who is turned away, or whose time is over, ends it."""
    gate = asyncio.Semaphore(ENTERING_MAX)

    async def enter(entrance: Callable[[], Awaitable[None]]) -> None:
        async with gate, asyncio.timeout(ENTER_S_MAX):
            await entrance()
        tell(Entered())

    are_in = True
    try:
        async with asyncio.TaskGroup() as group:
            for each in entrances:
                group.create_task(enter(each))
    except* (TimeoutError, TurnedAway):
        are_in = False  # why: each entrant knows its own refusal
    return are_in

"""A child's post: nothing is cut short or reordered, and a parent that is busy holds nobody up."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from multiprocessing.connection import Connection as Pipe

import pytest
import uvloop

from load.swarm.plan import Leave, Progress
from load.swarm.post import Post


async def child(pipe: Pipe, messages: int) -> list[object]:
    orders: list[object] = []
    left = asyncio.Event()

    def on_order(order: object) -> None:
        orders.append(order)
        left.set()

    async with Post(pipe, on_order) as post:
        counts: Counter[int] = Counter(dict.fromkeys(range(20_000), 1))
        for number in range(messages):
            post.tell(Progress(number, 0, counts))
        counts.clear()  # what was told stays as it was
        await left.wait()
    return orders


def test_more_than_a_pipe_holds_is_told_whole_though_nobody_reads_yet() -> None:
    ours, theirs = multiprocessing.Pipe()
    received: list[Progress] = []

    async def both() -> list[object]:
        loop = asyncio.get_running_loop()
        task = loop.run_in_executor(None, read)
        orders = await child(theirs, 20)
        await task
        return orders

    def read() -> None:
        received.extend(ours.recv() for _ in range(20))
        ours.send(Leave())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(both()) == [Leave()]
    assert [each.samples for each in received] == list(range(20))
    assert all(each.latencies.total() == 20_000 for each in received)


def test_a_child_whose_parent_is_gone_ends() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(asyncio.CancelledError),
    ):
        runner.run(child(theirs, 1))

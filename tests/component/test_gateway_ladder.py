"""The ladder on a real socket: told, bounded, and nothing unaccounted for."""

from __future__ import annotations

import msgspec
import pytest

from services.gateway.core import ladder
from services.gateway.core.ladder import FALL_BYTES
from shared.codec import encode
from shared.contracts import Clear, Deliver, Enter, SampleShown, Segment
from shared.contracts import client as c
from tests.support.broker import Broker
from tests.support.gateway_city import (
    CITIZEN,
    ROOM,
    STRAND,
    dial,
    make_city,
    members,
    on_uvloop,
    running_gateway,
)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rungs, in tenths of seconds."""
    monkeypatch.setattr(ladder, "STUCK_NS", 300_000_000)
    monkeypatch.setattr(ladder, "CALM_NS_MIN", 100_000_000)


@on_uvloop
async def test_a_slow_socket_walks_down_the_ladder_and_up(broker: Broker) -> None:
    """It stops reading, is told of its rungs once it reads on, and has every number by then; what waits
    for it meanwhile stays small, whatever is said.
    """
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        reader = await dial(gateway.url)
        await reader.join(city)
        slow = await dial(gateway.url, max_queue=1)
        await slow.join(city)
        enters = [Enter(client.hello.session, ROOM, (), ()) for client in (reader, slow)]
        city.edge(Clear(), *enters, number=0)
        await reader.wait_for(c.Snapshot)
        await slow.wait_for(c.Snapshot)
        slow.socket.transport.pause_reading()
        egress = gateway.service.core.egress
        seq = 0
        held = 0

        async def say(count: int) -> None:
            nonlocal seq, held
            numbers = range(seq, seq + count)
            bodies = [encode([number, bytes(600)]) for number in numbers]
            parts = tuple(Segment(CITIZEN, encode(SampleShown(STRAND, body))) for body in bodies)
            city.edge(Deliver(members(), parts))
            seq += count
            for _ in range(count):
                await reader.wait_for(SampleShown)
            held = max(held, egress.backlog_bytes())

        while not egress.rungs()["newest"]:
            await say(50)
        for _ in range(40):
            await say(50)
        while not egress.rungs()["field"]:  # the kernel's buffers may still have had room
            await say(50)
        assert held < 2 * FALL_BYTES
        slow.socket.transport.resume_reading()
        rungs: list[str] = []
        told: list[int] = []
        while rungs[-1:] != ["every"]:
            message = await slow.next()
            match message:
                case c.Rung():
                    rungs.append(message.rung)
                case SampleShown():
                    told.append(msgspec.msgpack.decode(message.body)[0])
                case c.Skipped():
                    assert message.reason == "conflated"
                    told += range(message.first, message.last + 1)
        assert rungs == ["newest", "field", "newest", "every"]
        assert told == list(range(seq))
        await say(1)
        assert (await slow.wait_for(SampleShown)).body == encode([seq - 1, bytes(600)])
        for client in (reader, slow):
            await client.socket.close()

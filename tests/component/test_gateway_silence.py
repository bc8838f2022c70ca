"""The silence behind a withdrawal, on real sockets: told as metrics, and kept at who reads slowly."""

from __future__ import annotations

import socket

from prometheus_client.exposition import generate_latest

from shared.codec import ZERO_HASH, encode
from shared.contracts import (
    Audience,
    Clear,
    Deliver,
    Enter,
    Grant,
    Marker,
    Passed,
    Purpose,
    SampleShown,
    Segment,
    Signed,
    Strike,
    Struck,
    Tier,
    Withdrawal,
)
from shared.contracts import client as c
from tests.support.broker import Broker, wait_until
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

WITHDRAWAL = Withdrawal(CITIZEN, 1, ZERO_HASH, 1, ROOM, None, None)
GRANT = Grant(CITIZEN, 2, ZERO_HASH, 1, ROOM, Audience.MEMBERS, Tier.FULL, Purpose.LIVE, None)


@on_uvloop
async def test_silence_is_told_and_a_transport_with_struck_bytes_is_cut_off(
    broker: Broker,
) -> None:
    """A viewer that reads nothing keeps part of a frame in its transport: a strike ends it, and the
    marker is passed behind that. Told as metrics, to the last byte that was handed over.
    """
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        reader = await dial(gateway.url)
        await reader.join(city)
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.connect(gateway.address)  # into the listener's backlog: it does not wait
        slow = await dial(gateway.url, sock=small, max_queue=1)
        await slow.join(city)
        slow.socket.transport.pause_reading()
        enters = [Enter(client.hello.session, ROOM, (), ()) for client in (reader, slow)]
        city.edge(Clear(), *enters, number=0)
        await reader.wait_for(c.Snapshot)
        core = gateway.service.core
        part = Segment(CITIZEN, encode(SampleShown(STRAND, bytes(700))))
        while not core.egress.backlog_bytes():
            city.edge(Deliver(members(), (part,) * 20))
            for _ in range(20):
                await reader.wait_for(SampleShown)
        await reader.send(c.Record(5, Signed(encode(WITHDRAWAL), bytes(64))))
        await wait_until(lambda: core.silences.is_open, "the withdrawal is read")
        city.edge(
            Strike(CITIZEN, members(), None, encode(Struck(ROOM, CITIZEN, None)), 0),
            Marker(bytes(16), 3),
        )
        await reader.wait_for(Struck)
        await wait_until(lambda: any(isinstance(e, Passed) for e in city.control), "passed")
        assert core.cuts == 1
        assert core.sessions == 1
        slow.socket.transport.abort()
        await slow.socket.wait_closed()
        await reader.send(c.Record(6, Signed(encode(GRANT), bytes(64))))
        await wait_until(lambda: not core.silences.is_open, "the watch has ended")
        text = generate_latest(gateway.runtime.registry).decode()
        assert 'gateway_withdrawal_silence_seconds_count{read="here"} 1.0' in text
        assert 'gateway_withdrawal_silence_seconds_bucket{le="0.02",read="here"} 0.0' in text
        assert 'gateway_withdrawal_silence_seconds_count{read="elsewhere"} 0.0' in text
        assert CITIZEN.hex() not in text
        await reader.socket.close()


@on_uvloop
async def test_a_slow_viewer_keeps_nothing_of_who_is_struck_and_stays(broker: Broker) -> None:
    """Of a viewer that has fallen behind before, the transport never holds anybody's bytes: what found no
    room waits in the gateway, where a strike finds it, and nobody has to be cut off.
    """
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        reader = await dial(gateway.url)
        slow = await dial(gateway.url, max_queue=1)
        for client in (reader, slow):
            await client.join(city)
        slow_session = slow.hello.session
        enters = [Enter(client.hello.session, ROOM, (), ()) for client in (reader, slow)]
        city.edge(Clear(), *enters, number=0)
        for client in (reader, slow):
            await client.wait_for(c.Snapshot)
        core = gateway.service.core
        part = Segment(CITIZEN, encode(SampleShown(STRAND, bytes(700))))
        told = 0

        async def tell_until_it_waits() -> None:
            nonlocal told
            while core.egress.backlog_bytes() < 20 * len(part.message):
                city.edge(Deliver(members(), (part,) * 5))
                told += 5
                for _ in range(5):
                    await reader.wait_for(SampleShown)

        slow.socket.transport.pause_reading()
        await tell_until_it_waits()
        await wait_until(lambda: slow_session in core.slow, "it counts as slow")
        slow.socket.transport.resume_reading()
        for _ in range(told):
            await slow.wait_for(SampleShown)
        slow.socket.transport.pause_reading()
        await tell_until_it_waits()
        city.edge(
            Strike(CITIZEN, members(), None, encode(Struck(ROOM, CITIZEN, None)), 0),
            Marker(bytes(16), 3),
        )
        await wait_until(lambda: any(isinstance(e, Passed) for e in city.control), "passed")
        assert core.cuts == 0
        assert core.sessions == 2
        slow.socket.transport.resume_reading()
        heard = 0
        while not isinstance(message := await slow.next(), Struck):
            heard += isinstance(message, SampleShown)
        assert heard <= told - 20
        await wait_until(lambda: not core.egress.backlog_bytes(), "all of it has gone out")
        for client in (reader, slow):
            await client.socket.close()

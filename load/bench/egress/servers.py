"""Servers that are ready to be measured: the city, its peers, and the floor, each with its viewers."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from load.bench.egress import citizens, peers
from load.bench.egress.bus import SUBJECT, Payload, connected
from load.bench.egress.ingest import INSTANCE, StandIn
from load.bench.egress.measure import Case, Start, Target, planned
from load.bench.egress.schedule import MESSAGE_BYTES, payload, until
from load.bench.gauge import Gauge
from load.bench.own_city import starting_city
from shared.bus import Bus
from shared.contracts.records import Tier
from shared.identifiers import sanctuary_of_slug

SPEAKERS = 40
"""Below `close_limit`, so that every viewer sees all of them."""
SERVICES_BUT_INGEST = "registry,sanctuary,fanout,gateway"
ROOM = "emotive-commons"
HERE = Path(__file__).parent


@contextlib.asynccontextmanager
async def city(case: Case, seconds: float) -> AsyncIterator[Target]:
    """The whole of it but ingest: registry, sanctuary, fanout, gateway."""
    async with contextlib.AsyncExitStack() as stack:
        starting = stack.enter_context(starting_city(SERVICES_BUT_INGEST, HERE / "rooms.toml"))
        running = await asyncio.to_thread(starting.running)
        room = sanctuary_of_slug(ROOM)
        # fanout is not ready before it knows what is open
        seed = Path(running.keys) / f"{INSTANCE}.nk"
        bus = await stack.enter_async_context(connected(INSTANCE, running.nats, seed=seed))
        stand_in = await StandIn.start(bus, room)
        running = await asyncio.to_thread(starting.wait_ready)
        assert running.url is not None
        speakers = await citizens.seat(running.url, room, SPEAKERS)
        for speaker in speakers:
            await speaker.grant(room, Tier.FULL)
        viewers = await citizens.seat(running.url, room, case.viewers)
        await until(stand_in.is_asked, "fanout asks for every slot's openings")
        stand_in.open(speakers)
        # what they would be sent is for the sink alone to read: this process keeps the schedule
        for speaker in speakers:
            await speaker.leave(room)
        handed = [viewer.hand_over() for viewer in viewers]
        pids = {
            name.partition("-")[0]: service.pid
            for name, service in running.services.items()
            if service.pid is not None
        }
        yield Target(
            [each.fileno() for each in handed],
            stand_in.say,
            {name: pids[name] for name in ("gateway", "fanout")},
            planned(case, seconds, ahead_s=1.0),
            speakers,
            Gauge(running.services["gateway-0"].health_port),
        )


@contextlib.asynccontextmanager
async def nats_server(case: Case, seconds: float) -> AsyncIterator[Target]:
    with peers.broker() as (process, port, websocket_port):
        hello = b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB samples 1\r\n'
        sockets = citizens.peer_sockets(
            websocket_port, case.viewers, first=[citizens.client_frame(hello)]
        )
        async with connected("bench", f"nats://127.0.0.1:{port}") as bus:
            yield Target(
                [each.fileno() for each in sockets],
                partial(say, bus),
                {"nats": process.pid},
                planned(case, seconds, ahead_s=1.0),
            )


def library(name: str) -> Start:
    @contextlib.asynccontextmanager
    async def serve(case: Case, seconds: float) -> AsyncIterator[Target]:
        with (
            peers.broker() as (_, nats_port, _),
            peers.library(name, nats_port) as (process, port),
        ):
            sockets = citizens.peer_sockets(port, case.viewers)
            async with connected("bench", f"nats://127.0.0.1:{nats_port}") as bus:
                yield Target(
                    [each.fileno() for each in sockets],
                    partial(say, bus),
                    {name: process.pid},
                    planned(case, seconds, ahead_s=1.0),
                )

    return serve


@contextlib.asynccontextmanager
async def floor(case: Case, seconds: float) -> AsyncIterator[Target]:
    schedule = planned(case, seconds, ahead_s=2.0)
    words = (case.viewers, case.rate, MESSAGE_BYTES - 3, schedule.begin_ns, schedule.end_ns)
    with tempfile.TemporaryDirectory(prefix="synchronia-floor-") as folder:
        program = peers.compiled(HERE / "floor.c", Path(folder))
        command = [str(program), *map(str, words)]
        with peers.process(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            sockets = citizens.plain_sockets(int(process.stdout.readline()), case.viewers)
            yield Target([s.fileno() for s in sockets], None, {"floor": process.pid}, schedule)


def say(bus: Bus, _number: int, due_ns: int) -> None:
    """A peer's sample."""
    bus.publish(SUBJECT, Payload(payload(due_ns)))


STARTS: dict[str, Start] = {
    "city": city,
    "uwebsockets": library("uwebsockets"),
    "nats": nats_server,
    "websockets": library("websockets"),
    "floor": floor,
}

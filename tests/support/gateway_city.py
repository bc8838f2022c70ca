"""A gateway in the test's own process, on a real broker and real sockets; the test speaks for the other
services, and for clients: good ones, and bare connections.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop
import websockets
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import ClientConnection, connect

from services.gateway.page_files import PageFiles
from services.gateway.service import Service
from services.gateway.settings import GatewaySettings
from shared import subjects
from shared.bus import Bus
from shared.codec import encode, sha256
from shared.contracts import (
    EdgeBatch,
    EdgeOp,
    GatewayBeat,
    GatewayControl,
    Interest,
    Join,
    JoinAsk,
    SampleShown,
    SanctuaryAsk,
    SeatAnswered,
    Segment,
    ServerMessage,
    Signed,
    SnapshotAsk,
    StateAsk,
    StatePage,
    Token,
    UpBatch,
)
from shared.contracts import client as c
from shared.identifiers import slot_of
from shared.identity import Signer
from shared.identity.token import make_token
from shared.runtime.arguments import ProcessSettings
from shared.runtime.clock import pause, wall_ms
from shared.runtime.health import Readiness
from shared.runtime.runner import Runtime
from tests.support.broker import Broker, running_broker, wait_until

CHARTER = Signed(b"a charter", bytes(64))
CITY = sha256(CHARTER.payload)
ROOM = b"r" * 16
SLOT = slot_of(ROOM)
CITIZEN = b"c" * 16
STRAND = b"s" * 32
RECORD = Signed(b"payload", b"x" * 64)
GATEWAY = "gateway-0"


def on_uvloop(
    scenario: Callable[[Broker], Coroutine[Any, Any, None]],
) -> Callable[[Path], None]:
    """A test on the loop that the gateway runs on in earnest."""

    def test(tmp_path: Path) -> None:
        async def main() -> None:
            async with running_broker(tmp_path / "broker") as broker:
                await scenario(broker)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=True) as runner:
            runner.run(main())

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    return test


@dataclass
class City:
    """The other services, as far as the gateway can tell."""

    registry: Bus
    sanctuary: Bus
    ingest: Bus
    fanout: Bus
    control: list[Any] = field(default_factory=list)
    asks: list[Any] = field(default_factory=list)
    up: list[UpBatch] = field(default_factory=list)
    interest: list[Interest] = field(default_factory=list)
    snapshot_asks: list[SnapshotAsk] = field(default_factory=list)
    number: int = 0

    @property
    def incarnation(self) -> int:
        beats = [event for event in self.control if isinstance(event, GatewayBeat)]
        return beats[-1].incarnation

    def edge(self, *operations: EdgeOp, number: int | None = None, epoch: int = 1) -> None:
        """The next batch of the room's slot."""
        if number is not None:
            self.number = number
        batch = EdgeBatch(SLOT, epoch, self.incarnation, self.number, operations)
        self.number += 1
        self.fanout.publish(subjects.edge(GATEWAY), batch)

    def seat(self, ask: JoinAsk) -> None:
        joined = encode(c.Joined(ask.ref, ask.sanctuary, b"policy", bytes(32)))
        answer = SeatAnswered(ask.session, ask.sanctuary, True, ask.record, joined, ask.ref)
        self.sanctuary.publish(subjects.back(GATEWAY), answer)


async def make_city(broker: Broker) -> City:
    registry, sanctuary, ingest, fanout = [
        await broker.bus(f"{name}-0") for name in ("registry", "sanctuary", "ingest", "fanout")
    ]
    city = City(registry, sanctuary, ingest, fanout)

    def answer_state(_: str, __: StateAsk, reply: str | None) -> None:
        assert reply is not None
        city.registry.publish(reply, StatePage(1, 0, CHARTER, (), (), None))

    def keep(kept: list[Any]) -> Any:
        return lambda _, event, __: kept.append(event)

    await city.registry.subscribe("ask.registry.0", StateAsk, answer_state)
    await city.fanout.subscribe("control.*", GatewayControl, keep(city.control))
    await city.sanctuary.subscribe("ask.sanctuary.*", SanctuaryAsk, keep(city.asks))
    await city.ingest.subscribe("up.*", UpBatch, keep(city.up), queue="ingest")
    await city.fanout.subscribe("interest.*", Interest, keep(city.interest))
    await city.fanout.subscribe("ask.fanout.*", SnapshotAsk, keep(city.snapshot_asks))
    for bus in (city.registry, city.sanctuary, city.ingest, city.fanout):
        await bus.flush()
    return city


@dataclass
class Running:
    service: Service
    runtime: Runtime
    url: str
    http: str
    address: tuple[str, int]


@asynccontextmanager
async def running_gateway(
    broker: Broker, *, is_known: bool = True, **settings: Any
) -> AsyncIterator[Running]:
    """`is_known`: wait until the registry has told the city."""
    chosen = GatewaySettings(**({"port": 0} | settings))
    process = ProcessSettings(
        GATEWAY, 0, 1, broker.url, broker.keys_dir, "127.0.0.1", None, Path(), None, None
    )
    bus, control = await broker.bus(GATEWAY), await broker.bus(GATEWAY)
    async with asyncio.TaskGroup() as group:
        runtime = Runtime(
            chosen,
            process,
            bus=bus,
            control=control,
            registry=CollectorRegistry(),
            log=structlog.get_logger(),
            group=group,
            readiness=Readiness(),
        )
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: runtime.fail(context.get("exception") or RuntimeError(str(context)))
        )
        service = Service(runtime, PageFiles())
        await service.start()
        if is_known:
            await wait_until(lambda: service.core.city is not None, "the gateway knows its city")
        host, port = service.address
        try:
            yield Running(
                service,
                runtime,
                f"ws://{host}:{port}/v1/live",
                f"http://{host}:{port}",
                (host, port),
            )
        finally:
            await runtime.drain()
            runtime.stop()


class Client:
    """A MessagePack client."""

    def __init__(self, socket_: ClientConnection) -> None:
        self.socket = socket_
        self.signer = Signer(b"d" * 32)
        self.waiting: list[Any] = []
        self.frames: list[bytes] = []
        self.hello: c.Hello

    async def next(self) -> Any:
        while not self.waiting:
            frame = await self.socket.recv()
            assert isinstance(frame, bytes)
            self.frames.append(frame)
            self.waiting += msgspec.msgpack.decode(frame, type=list[ServerMessage])
        return self.waiting.pop(0)

    async def wait_for(self, kind: type[Any]) -> Any:
        while True:
            message = await self.next()
            if isinstance(message, kind):
                return message

    async def send(self, *messages: msgspec.Struct) -> None:
        await self.socket.send(encode(list(messages)))

    def token(self) -> Token:
        return Token(
            make_token(
                self.signer,
                origin=self.hello.origin,
                city=self.hello.city,
                nonce=self.hello.session,
                citizen=CITIZEN,
                now_ms=wall_ms(),
            )
        )

    async def welcome(self) -> None:
        await self.send(self.token())
        await self.wait_for(c.Welcome)

    async def join(self, city: City, room: bytes = ROOM) -> None:
        """Token, join, seat; fanout has still to enter it."""
        await self.welcome()
        await self.send(Join(1, room, RECORD))
        session = self.hello.session
        await wait_until(
            lambda: any(isinstance(a, JoinAsk) and a.session == session for a in city.asks),
            "the join was asked",
        )
        city.seat(next(a for a in city.asks if isinstance(a, JoinAsk) and a.session == session))
        await self.wait_for(c.Joined)


async def dial(url: str, **options: Any) -> Client:
    options.setdefault("subprotocols", ["synchronia.v1"])
    made = Client(await connect(url, proxy=None, compression=None, **options))
    made.hello = await made.wait_for(c.Hello)
    return made


def shown(number: int) -> Segment:
    return Segment(CITIZEN, encode(SampleShown(STRAND, bytes((number,)))))


def members(room: bytes = ROOM) -> bytes:
    return b"m" + room


async def raw(address: tuple[str, int], sent: bytes, *, end: bool = False) -> bytes:
    """What comes back for some bytes, until the gateway ends the connection."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    if end:
        writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def upgrade_head(address: tuple[str, int], **changes: str | None) -> bytes:
    headers: dict[str, str | None] = {
        "Host": f"{address[0]}:{address[1]}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("GET /v1/live HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()


def masked(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A client's frame with a mask of zeros."""
    first = (0x80 if fin else 0) | rsv | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def close_in(answer: bytes) -> tuple[int, str]:
    """The code and reason of the close frame at the end of what came back."""
    at = answer.rindex(b"\x88")
    size = answer[at + 1]
    assert at + 2 + size == len(answer)
    return int.from_bytes(answer[at + 2 : at + 4], "big"), answer[at + 4 :].decode()


async def dial_when_ready(url: str) -> Client:
    """Once the process listens and knows its city."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await dial(url)
            except (OSError, websockets.InvalidStatus):
                await pause(0.02)

"""The gateway's process with a real broker and real sockets; the test speaks for the other services."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import aiohttp
import pytest
import websockets
from prometheus_client import generate_latest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from services.gateway import turns
from shared import subjects
from shared.codec import encode, sha256
from shared.contracts import (
    Clear,
    ConsentActed,
    ConsentForwarded,
    Deliver,
    Enter,
    EnterPublic,
    LeaveAsk,
    Marker,
    Move,
    Passed,
    RecordAnswered,
    Samples,
    SampleShown,
    Segment,
    Strike,
    Struck,
    Time,
)
from shared.contracts import client as c
from shared.identifiers import MonotonicNs, SessionId
from shared.identity import Signer
from shared.identity.token import make_token
from shared.runtime.clock import monotonic_ns, pause, wall_ms
from tests.support.broker import Broker, wait_until
from tests.support.gateway_city import (
    CITIZEN,
    CITY,
    GATEWAY,
    RECORD,
    ROOM,
    STRAND,
    close_in,
    dial,
    dial_when_ready,
    make_city,
    masked,
    members,
    on_uvloop,
    raw,
    running_gateway,
    shown,
    upgrade_head,
)


@on_uvloop
async def test_a_sample_goes_up_and_a_batch_comes_down(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        client = await dial(gateway.url)
        assert client.hello.city == CITY
        assert client.hello.origin == gateway.http
        await client.join(city)
        message = Samples(ROOM, STRAND, 0, (b"body",))
        await client.send(message)
        await wait_until(lambda: city.up, "the sample went up")
        [entry] = city.up[0].entries
        assert bytes(entry.message) == encode(message)
        assert entry.session == client.hello.session
        assert entry.device == client.signer.public_key
        city.edge(Clear(), Enter(client.hello.session, ROOM, (shown(1),), ()), number=0)
        city.edge(Deliver(members(), (shown(2), shown(3))))
        snapshot = await client.wait_for(c.Snapshot)
        assert (snapshot.count, snapshot.recovered) == (1, False)
        assert [(await client.next()).body for _ in range(3)] == [b"\1", b"\2", b"\3"]
        await client.socket.close()
        await wait_until(
            lambda: any(isinstance(a, LeaveAsk) for a in city.asks), "the seat was given back"
        )


@on_uvloop
async def test_firefox_gets_in(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker) as gateway:
        head = upgrade_head(
            gateway.address,
            Connection="keep-alive, Upgrade",
            Origin=gateway.http,
            Sec_WebSocket_Protocol="synchronia.v1.json, synchronia.v1",
            Sec_WebSocket_Extensions="permessage-deflate",
        )
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(head[:40])
        await writer.drain()
        writer.write(head[40:])
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Protocol: synchronia.v1.json\r\n" in answer
        assert b"Extensions" not in answer
        opcode, size = await reader.readexactly(2)
        assert (opcode, size) == (0x81, 126)
        length = int.from_bytes(await reader.readexactly(2), "big")
        [hello] = json.loads(await reader.readexactly(length))
        assert hello["type"] == "hello"
        assert hello["origin"] == gateway.http
        writer.close()
        await writer.wait_closed()


@on_uvloop
async def test_broken_frames_are_closed_by_the_catalogue_and_hurt_nobody_else(
    broker: Broker,
) -> None:
    city = await make_city(broker)
    rows: list[tuple[bytes, tuple[int, str]]] = [
        (b"\x82\x05hello", (4000, "malformed")),  # not masked
        (masked(0x3, b"x"), (4000, "malformed")),  # an unknown opcode
        (masked(0x9, b"x", fin=False), (4000, "malformed")),  # a ping in pieces
        (masked(0x9, bytes(126)), (4000, "malformed")),  # a ping too long
        (masked(0x8, b"\x00"), (4000, "malformed")),  # half a close code
        (masked(0x8, b"\x03\xedx"), (4000, "malformed")),  # a close code that nobody may send
        (masked(0x8, b"\x03\xe8\xff"), (4000, "malformed")),  # a reason that is no text
        (masked(0x2, b"x", rsv=0x40), (4000, "malformed")),  # compressed, unasked
        (masked(0x0, b"x"), (4000, "malformed")),  # continues nothing
        (masked(0x2, b"x", fin=False) + masked(0x2, b"y"), (4000, "malformed")),
        (masked(0x1, b"[]"), (4000, "malformed")),  # text on the binary subprotocol
        (masked(0x2, b"\xc1"), (4000, "malformed")),
        (masked(0x2, bytes(70_000)), (4004, "oversize")),
        (masked(0x2, bytes(200_000)), (4004, "oversize")),
        (masked(0x2, b"")[:1] + b"\xff" + b"\x00\x00\x7f\xff\xff\xff\xff\xff", (4004, "oversize")),
        (masked(0x2, bytes(50_000), fin=False) + masked(0x0, bytes(50_000)), (4004, "oversize")),
        (b"\x82\xfe\x00\x05", (4000, "malformed")),  # a length in more bytes than it needs
        (masked(0x8, b"\x03\xe8bye"), (1000, "")),  # a good farewell
    ]
    async with running_gateway(broker) as gateway:
        bystander = await dial(gateway.url)
        await bystander.join(city)
        city.edge(Clear(), Enter(bystander.hello.session, ROOM, (), ()), number=0)
        await bystander.wait_for(c.Snapshot)
        got: list[bytes] = []
        for number, (sent, expected) in enumerate(rows):
            # without a farewell of ours the gateway would wait 2 s for one
            farewell = b"" if expected[0] == 1000 else masked(0x8, b"\x03\xe8")
            answer = await raw(gateway.address, upgrade_head(gateway.address) + sent + farewell)
            assert answer.startswith(b"HTTP/1.1 101 "), sent[:20]
            assert close_in(answer) == expected, sent[:20]
            city.edge(Deliver(members(), (shown(number),)))
            got.append((await bystander.wait_for(SampleShown)).body)
        assert got == [bytes((number,)) for number in range(len(rows))]
        assert gateway.service.core.sessions == 1
        await bystander.socket.close()


@on_uvloop
async def test_bad_requests_are_refused_by_name_and_echo_nothing(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker, head_s_max=1) as gateway:
        address = gateway.address
        secret = b"S3CRET"
        rows: list[tuple[bytes, int, str]] = [
            (b"\x16\x03\x01\x02\x00\x01\x00", 400, "malformed"),  # TLS
            (b"S3CRET\r\n\r\n", 400, "malformed"),
            (b"GET /S3CRET HTTP/3.0\r\n\r\n", 505, "http version"),
            (b"GET / HTTP/1.1\r\nS3CRET\r\n\r\n", 400, "malformed"),
            (
                b"GET / HTTP/1.1\r\nHost: x\r\nX: " + secret * 2000 + b"\r\n\r\n",
                431,
                "head too large",
            ),
            (b"GET / HTTP/1.1\r\nX: " + secret * 2000, 431, "head too large"),
            (b"GET / HTTP/1.1\r\nHost: S3CRET\r\n", 408, "head too slow"),
            (upgrade_head(address, Sec_WebSocket_Key="S3CRET"), 400, "websocket key"),
            (upgrade_head(address, Sec_WebSocket_Version="S3CRET"), 426, "websocket version"),
            (upgrade_head(address, Origin="http://S3CRET"), 403, "origin"),
            (upgrade_head(address, Sec_WebSocket_Protocol="S3CRET"), 400, "subprotocol"),
            (b"GET /v1/S3CRET HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "not found"),
            (
                b"DELETE /livez?S3CRET HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                405,
                "method not allowed",
            ),
            (
                b"GET /v1/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                426,
                "upgrade required",
            ),
            (
                b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: S3CRET\r\n\r\n",
                400,
                "malformed",
            ),
        ]
        for sent, status, name in rows:
            answer = await raw(address, sent)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.split(b" ")[1] == str(status).encode(), (sent[:40], head[:60])
            assert json.loads(body) == {"refused": name}
            assert secret not in answer
            assert b"application/json" in head
        assert await raw(address, b"", end=True) == b""


@on_uvloop
async def test_health_is_told_over_http(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker) as gateway, aiohttp.ClientSession(gateway.http) as http:
        for path, part in (("/livez", "alive"), ("/readyz", "ready"), ("/", "Synchronia")):
            async with http.get(path) as answer:
                assert answer.status == 200
                assert part in await answer.text()
        assert b"gateway_connections 0.0" in generate_latest(gateway.runtime.registry)
        async with http.get("/metrics") as answer:  # of the health port, which is not for anybody
            assert answer.status == 404
        await broker.kill()
        body, status = "", 200
        async with asyncio.timeout(5):
            while status == 200:  # one round trip answers for 250 ms
                async with http.get("/readyz") as answer:
                    body, status = await answer.text(), answer.status
        assert (status, json.loads(body)) == (503, {"refused": "not ready"})
        await broker.start_again()


@on_uvloop
async def test_before_the_city_is_known_nobody_is_taken_in(broker: Broker) -> None:
    async with running_gateway(broker, is_known=False) as gateway:
        answer = await raw(gateway.address, upgrade_head(gateway.address))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'{"refused": "not ready"}\n')
        async with aiohttp.ClientSession(gateway.http) as http, http.get("/readyz") as ready:
            assert ready.status == 503


@on_uvloop
async def test_frames_in_pieces_and_pings_between_them_are_one_message(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker) as gateway:
        client = await dial(gateway.url)
        frame = encode([client.token(), Time(9)])
        await client.socket.send([frame[:10], frame[10:50], frame[50:]])
        await client.wait_for(c.Welcome)
        assert (await client.wait_for(c.TimeIs)).client_ms == 9
        pong = await client.socket.ping(b"beat")
        async with asyncio.timeout(5):
            await pong
        await client.socket.close()


@on_uvloop
async def test_the_json_subprotocol_speaks_and_listens(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        socket_ = await connect(
            gateway.url, proxy=None, subprotocols=[Subprotocol("synchronia.v1.json")]
        )
        [hello] = json.loads(await socket_.recv())
        nonce = base64.urlsafe_b64decode(hello["session"] + "==")
        jwt = make_token(
            Signer(b"d" * 32),
            origin=hello["origin"],
            city=CITY,
            nonce=nonce,
            citizen=None,
            now_ms=wall_ms(),
        )
        await socket_.send(json.dumps([{"type": "token", "jwt": jwt}]))
        [welcome] = json.loads(await socket_.recv())
        assert (welcome["type"], welcome["citizen"]) == ("welcome", None)
        record = {"payload": "cA", "signature": "A" * 86}
        room = base64.urlsafe_b64encode(ROOM).rstrip(b"=").decode()
        join = {"type": "join", "ref": 1, "sanctuary": room, "record": record}
        await socket_.send(json.dumps([join]))
        await wait_until(lambda: city.asks, "the join was asked")
        city.seat(city.asks[0])
        [joined] = json.loads(await socket_.recv())
        assert joined["sanctuary"] == room
        await socket_.send("feelings")
        [refused] = json.loads(await socket_.recv())
        assert refused["reason"] == "malformed"
        await socket_.close()


@on_uvloop
async def test_a_stage_is_watched_without_identity(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        watcher = await dial(f"{gateway.url}?watch={ROOM.hex()}")
        await wait_until(lambda: city.interest, "interest is announced")
        [*_, interest] = city.interest
        assert (interest.sanctuary, interest.count) == (ROOM, 1)
        enter = EnterPublic(ROOM, interest.generation, (shown(1),))
        city.edge(Clear(), enter, Deliver(b"p" + ROOM, (shown(2),)), number=0)
        assert (await watcher.wait_for(c.Snapshot)).count == 1
        assert [(await watcher.next()).body for _ in range(2)] == [b"\1", b"\2"]
        await watcher.socket.close()
        await wait_until(lambda: city.interest[-1].count == 0, "nobody watches")


@on_uvloop
async def test_a_withdrawal_goes_round(broker: Broker) -> None:
    """Record → forwarded → struck, marked, passed → acted; repeated until recorded."""
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        client = await dial(gateway.url)
        await client.join(city)
        session = client.hello.session
        city.edge(Clear(), Enter(session, ROOM, (), ()), number=0)
        await client.send(c.Record(5, RECORD))
        forwarded: list[ConsentForwarded] = []

        def is_repeated() -> bool:
            forwarded[:] = [e for e in city.control if isinstance(e, ConsentForwarded)]
            return len(forwarded) >= 2

        await wait_until(is_repeated, "the record is repeated")
        assert [f.again for f in forwarded] == [False, True]
        notice = encode(Struck(ROOM, CITIZEN, None))
        city.edge(
            Deliver(members(), (shown(1),)),
            Strike(CITIZEN, members(), None, notice, 0),
            Marker(CITIZEN, 3),
        )
        await wait_until(
            lambda: any(isinstance(e, Passed) and e.marker == 3 for e in city.control), "passed"
        )
        acted = ConsentActed("fanout-0", 0, 1, session, 5, CITIZEN, 1)
        city.fanout.publish(subjects.back(GATEWAY), acted)
        await client.wait_for(Struck)
        assert await client.wait_for(c.Acted) == c.Acted(CITIZEN, 1)
        recorded = encode(c.Recorded(5, CITIZEN, 1, bytes(32)))
        answer = RecordAnswered(session, 5, sha256(RECORD.payload), True, recorded)
        city.registry.publish(subjects.back(GATEWAY), answer)
        await client.wait_for(c.Recorded)
        assert not any(b"\1" in frame and b"sample" in frame for frame in client.frames)
        await client.socket.close()


@on_uvloop
async def test_a_viewer_that_does_not_read_is_closed_by_name_and_others_lose_nothing(
    broker: Broker,
) -> None:
    city = await make_city(broker)
    async with running_gateway(broker, backlog_bytes_max=65536) as gateway:
        reader = await dial(gateway.url)
        await reader.join(city)
        slow = await dial(gateway.url, max_queue=1)
        await slow.join(city)
        transport = slow.socket.transport
        transport.pause_reading()
        enters = [Enter(client.hello.session, ROOM, (), ()) for client in (reader, slow)]
        city.edge(Clear(), *enters, number=0)
        await reader.wait_for(c.Snapshot)
        body = bytes(700)
        sent = 0
        core = gateway.service.core
        while "TOO_SLOW" not in core.closes:
            part = tuple(Segment(CITIZEN, encode(SampleShown(STRAND, body))) for _ in range(100))
            city.edge(Deliver(members(), part))
            sent += 100
            assert sent < 100_000
            for _ in range(100):
                await reader.wait_for(SampleShown)
        transport.resume_reading()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await slow.wait_for(Move)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4006, "too slow")
        assert core.sessions == 1
        await reader.socket.close()


@on_uvloop
async def test_a_hole_is_a_gap_and_a_snapshot_is_asked_for(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        client = await dial(gateway.url)
        await client.join(city)
        session = client.hello.session
        city.edge(Clear(), Enter(session, ROOM, (), ()), number=0)
        city.edge(Deliver(members(), (shown(9),)), number=5)
        await client.wait_for(c.Gap)
        await wait_until(lambda: city.snapshot_asks, "the snapshot is asked for")
        city.edge(Clear(), Enter(session, ROOM, (shown(1),), (), True), number=0)
        await client.wait_for(c.Snapshot)
        assert (await client.next()).body == b"\1"
        await client.socket.close()


@on_uvloop
async def test_draining_says_move_then_closes(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker) as gateway:
        client = await dial(gateway.url)
        await client.welcome()
        drained = asyncio.get_running_loop().create_task(gateway.runtime.drain())
        assert (await client.wait_for(Move)).within_s == 1
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "going away")
        assert await drained
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection(*gateway.address)


@on_uvloop
async def test_connections_of_one_address_are_bounded(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker, connections_per_address_max=2) as gateway:
        clients = [await dial(gateway.url) for _ in range(2)]
        third = await connect(gateway.url, proxy=None, subprotocols=[Subprotocol("synchronia.v1")])
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await third.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4009
        for client in clients:
            await client.socket.close()


@on_uvloop
async def test_a_fault_of_our_own_closes_one_socket_and_is_counted(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker) as gateway:
        bystander, victim = await dial(gateway.url), await dial(gateway.url)
        await bystander.welcome()
        frame = gateway.service.core.frame

        def faulty(session: SessionId, *arguments: Any, **named: Any) -> Any:
            if session == victim.hello.session:
                raise LookupError("ours")
            return frame(session, *arguments, **named)

        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(gateway.service.core, "frame", faulty)
        await victim.socket.send(b"\x90")
        with pytest.raises(websockets.ConnectionClosed):
            await victim.next()
        await bystander.send(Time(1))
        await bystander.wait_for(c.TimeIs)
        assert gateway.service.sweeps.faults == 1
        await bystander.socket.close()


@on_uvloop
async def test_two_hundred_sockets_of_noise_raise_nothing_and_touch_nobody(broker: Broker) -> None:
    city = await make_city(broker)
    random = Random(7)
    async with running_gateway(broker) as gateway:
        bystander = await dial(gateway.url)
        await bystander.join(city)
        city.edge(Clear(), Enter(bystander.hello.session, ROOM, (), ()), number=0)
        await bystander.wait_for(c.Snapshot)
        for _ in range(200):
            reader, writer = await asyncio.open_connection(*gateway.address)
            is_upgraded = random.random() < 0.8
            if is_upgraded:
                writer.write(upgrade_head(gateway.address))
                assert await reader.readexactly(13) == b"HTTP/1.1 101 "
            for _ in range(random.randint(1, 4)):
                noise = random.randbytes(random.choice((1, 2, 9, 130, 5000)))
                is_framed = random.random() < 0.6
                writer.write(
                    masked(random.choice((0, 1, 2, 2, 9, 10)), noise) if is_framed else noise
                )
            writer.close()
        city.edge(Deliver(members(), (shown(1),)))
        assert (await bystander.wait_for(SampleShown)).body == b"\1"
        core = gateway.service.core
        await wait_until(lambda: core.sessions == 1, "only the bystander is left")
        assert gateway.service.sweeps.faults == 0
        await bystander.socket.close()


@on_uvloop
async def test_a_crowd_comes_speaks_and_leaves_one_in_a_turn_and_nothing_is_lost(
    broker: Broker,
) -> None:
    """With turns that are over at once; else the loop would stand still until the last was served."""
    await make_city(broker)
    patched = pytest.MonkeyPatch()
    patched.setattr(turns, "TURN_NS", 0)
    async with running_gateway(broker) as running:
        service, loop = running.service, asyncio.get_running_loop()
        told: list[int] = []

        def counted(of: str) -> None:
            method = getattr(service.core, of)

            def call(*arguments: Any, **named: Any) -> Any:
                if not told or not told[-1]:
                    told.append(0)
                    loop.call_soon(told.append, 0)  # behind whatever this turn still does
                told[-1] += 1
                return method(*arguments, **named)

            patched.setattr(service.core, of, call)

        for name in ("connected", "frame", "closed"):
            counted(name)
        crowd = [await asyncio.open_connection(*running.address) for _ in range(60)]
        for _, writer in crowd:
            writer.write(upgrade_head(running.address))
        await wait_until(lambda: service.core.sessions == 60, "everybody is in")
        for _, writer in crowd:
            writer.write(masked(2, b"\x90"))
        await wait_until(lambda: service.core.frames_in == 60, "everybody was heard")
        stays = await dial(running.url)
        for _, writer in crowd:
            writer.transport.abort()
        await wait_until(lambda: service.core.sessions == 1, "they are forgotten")
        await stays.welcome()
        await stays.socket.close()
        assert max(told) == 1
    patched.undo()


@on_uvloop
async def test_whoever_waits_at_the_door_may_go_and_is_not_hurried(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker, head_s_max=1) as running:
        service = running.service
        waiting: list[Callable[[], None]] = []

        def put_off(work: Callable[[], None]) -> bool:
            waiting.append(work)
            return False

        patched = pytest.MonkeyPatch()
        patched.setattr(service._turns, "admit", put_off)
        stays, goes = [await asyncio.open_connection(*running.address) for _ in range(2)]
        for _, writer in (stays, goes):
            writer.write(upgrade_head(running.address) + masked(8, b"\x03\xe8"))
        await wait_until(lambda: len(waiting) == 2, "both have asked")
        goes[1].transport.abort()
        later_ns = MonotonicNs(monotonic_ns() + 2_000_000_000)
        patched.setattr(service._door, "_now_ns", lambda: later_ns)
        service._door.tick()
        assert service._door.refused == {}, "no 408"
        patched.undo()
        for work in waiting:
            work()
        answer = await stays[0].read()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert close_in(answer)[0] == 1000
        await wait_until(lambda: service.core.sessions == 0, "nobody is left")
        stays[1].close()


@on_uvloop
async def test_a_gateway_that_stood_still_lets_nothing_out_that_it_held(broker: Broker) -> None:
    """SIGSTOP for longer than a fence: what came meanwhile is of an unknown age."""
    city = await make_city(broker)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.gateway", "--nats", broker.url, "--keys", str(broker.keys_dir)),
        env={**os.environ, "SYNCHRONIA_GATEWAY_PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        client = await dial_when_ready(f"ws://127.0.0.1:{port}/v1/live")
        await client.join(city)
        incarnation = city.incarnation
        city.edge(Clear(), Enter(client.hello.session, ROOM, (shown(1),), ()), number=0)
        assert (await client.wait_for(SampleShown)).body == b"\1"
        os.kill(process.pid, signal.SIGSTOP)
        city.edge(Deliver(members(), (shown(2),)))
        await city.fanout.flush()
        await pause(1.3)  # what is tested is this time
        os.kill(process.pid, signal.SIGCONT)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.wait_for(SampleShown)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4007, "fenced")
        await wait_until(lambda: city.incarnation != incarnation, "a new incarnation")
    finally:
        process.terminate()
        assert await process.wait() == 0

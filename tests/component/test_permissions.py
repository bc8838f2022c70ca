"""Least privilege on the real broker: every (instance, subject) pair, allowed or refused as the table
of subjects says.

A raw client sends all its attempts in one burst and reads the broker's complaints up to the PONG.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import nacl.signing
import pytest

from shared.bus.permissions import BOOTSTRAP, TAP, public_key, seed_path, service_of
from shared.bus.twin import matches
from shared.contracts import GatewayBeat
from shared.parts import PARTS_MAX
from shared.subjects import EPOCHS, STREAMS, TABLE
from tests.support.broker import INSTANCES, Broker, wait_until

EVERYBODY = (*INSTANCES, TAP)
"""All but `bootstrap`, whose rights are another test's."""
GROUPS = (None, "ingest", "spies")
_DENIED = re.compile(
    rb"-ERR 'Permissions Violation for (Publish|Subscription) to \"([^\"]*)\""
    rb"(?: using queue \"([^\"]*)\")?"
)


class Refusals(NamedTuple):
    publish: set[str]
    subscribe: set[tuple[str, str | None]]
    other: list[str]


class RawClient:
    """Speaks the protocol by hand, so that nothing helpful stands between a test and the broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._subscriptions = 0

    async def burst(
        self,
        publish: Iterable[str] = (),
        subscribe: Iterable[tuple[str, str | None]] = (),
        payload: bytes = b"",
    ) -> Refusals:
        """Try all of it; what was refused."""
        lines = [b"PUB %s %d\r\n%s\r\n" % (s.encode(), len(payload), payload) for s in publish]
        for subject, queue in subscribe:
            self._subscriptions += 1
            lines.append(f"SUB {subject} {queue or ''} {self._subscriptions}\r\n".encode())
        self._writer.write(b"".join(lines) + b"PING\r\n")
        refused = Refusals(set(), set(), [])
        async for line in self._lines():
            denied = _DENIED.match(line)
            if denied is None:
                if line.startswith(b"-ERR"):
                    refused.other.append(line.decode())
            elif denied[1] == b"Publish":
                refused.publish.add(denied[2].decode())
            else:
                queue = denied[3].decode() if denied[3] else None
                refused.subscribe.add((denied[2].decode(), queue))
        return refused

    async def _lines(self) -> AsyncIterator[bytes]:
        while (line := await self._reader.readline()) != b"PONG\r\n":
            assert line, "the broker closed the connection"
            if line.startswith((b"MSG", b"HMSG")):
                await self._reader.readexactly(int(line.split()[-1]) + 2)
            else:
                yield line


@asynccontextmanager
async def raw(broker: Broker, instance: str | None) -> AsyncIterator[RawClient]:
    """Connected as `instance`; None: without a key."""
    address = urlsplit(broker.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
    try:
        hello = json.loads((await reader.readline()).removeprefix(b"INFO "))
        options: dict[str, object] = {"verbose": False, "pedantic": True, "headers": True}
        if instance is not None:
            path = seed_path(broker.keys_dir, instance)
            seed = path.read_bytes()
            secret = base64.b32decode(seed + b"=" * (-len(seed) % 8))[2:34]
            signature = nacl.signing.SigningKey(secret).sign(hello["nonce"].encode()).signature
            options |= {"nkey": public_key(path), "sig": base64.b64encode(signature).decode()}
        writer.write(f"CONNECT {json.dumps(options)}\r\n".encode())
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@cache
def universe() -> list[str]:
    """Every concrete subject that the city knows, for all its instances, and some that it does not."""
    subjects = {
        f"{head}.{slot}"
        for head in ("up", "member", "interest", "field", "record", "sig.commons", "sig.stage")
        for slot in (0, 63)
    }
    subjects |= {
        f"ask.{service}.{slot}"
        for service in ("sanctuary", "registry", "ingest", "fanout", "gateway", "watchdog")
        for slot in (0, 63)
    }
    for instance in EVERYBODY:
        subjects |= {f"{head}.{instance}" for head in ("edge", "back", "control")}
        subjects |= {f"_INBOX.{instance}.abc", f"_INBOX.{instance}.abc.7"}
    for stream in (*STREAMS, *(f"KV_{bucket}" for bucket in EPOCHS.values())):
        subjects |= {f"{stream}.00ff", f"$JS.API.DIRECT.GET.{stream}"}
        subjects |= {
            f"$JS.API.{action}.{stream}"
            for action in (
                *("STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE"),
                *("STREAM.MSG.DELETE", "STREAM.MSG.GET", "STREAM.INFO", "STREAM.SNAPSHOT"),
                *("STREAM.RESTORE", "CONSUMER.CREATE", "CONSUMER.LIST"),
            )
        }
        subjects |= {
            f"$JS.API.CONSUMER.CREATE.{stream}.spy",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.spy",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.spy",
            f"$JS.ACK.{stream}.spy.1.1.1.1.1",
            f"$JS.API.DIRECT.GET.{stream}.{stream}.00ff",
        }
    subjects |= {f"$KV.{bucket}.{slot}" for bucket in EPOCHS.values() for slot in (0, 63)}
    subjects |= {f"$KV.{bucket}.0.1" for bucket in EPOCHS.values()}
    return sorted(
        subjects
        | {
            *(
                "$JS.API.INFO",
                "$JS.API.STREAM.NAMES",
                "$JS.API.STREAM.LIST",
                "$JS.API.ACCOUNT.PURGE.x",
            ),
            *("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO"),
            *(
                "$SRV.PING",
                "_INBOX.abc",
                "_R_.x.1",
                "up",
                "up.0.1",
                "sig.commons",
                "sig.commons.0.0",
            ),
            *("edge", "control", "control.x.y", "ask.sanctuary", "nonsense", "UP.0"),
        }
    )


WILDCARDS = (
    *(">", "*", "*.*", "*.*.*", "up.*", "up.>", "sig.>", "sig.*.*", "sig.commons.*", "edge.*"),
    *(
        "edge.>",
        "back.*",
        "back.>",
        "control.*",
        "control.>",
        "ask.>",
        "ask.*.*",
        "ask.sanctuary.*",
    ),
    *("ask.registry.*", "ask.ingest.*", "ask.fanout.*", "member.*", "member.>", "interest.*"),
    *("field.*", "record.*", "_INBOX.>", "_INBOX.*", "$JS.>", "$JS.API.>", "$JS.EVENT.>"),
    *("$KV.>", "$KV.epoch_fanout.*", "$SYS.>", "$JS.ACK.>", "identity.*", "consent.*", "consent.>"),
    *(f"_INBOX.{instance}.>" for instance in EVERYBODY),
)


def may_hear(pattern: str, wish: str) -> bool:
    """Whether a right to `pattern` includes the wish.

    nats-server 2.15 reads the wish as words, so that `control.*` admits `control.>`: good only as
    long as nobody may say anything deeper.
    """
    if not matches(pattern, wish):
        return False
    deeper = [subject for subject in universe() if matches(wish, subject)]
    sayable = [s for s in deeper if any(may_publish(instance, s) for instance in INSTANCES)]
    return all(matches(pattern, subject) for subject in sayable)


def may_publish(instance: str, subject: str) -> bool:
    """By the table, read anew: not by the code that generates the configuration."""
    if matches(f"_INBOX.{instance}.>", subject):
        return True
    if instance == TAP:
        return False
    service = service_of(instance)
    if service == "registry" and subject.removeprefix("$JS.API.DIRECT.GET.") in STREAMS:
        return True
    if service == "registry" and any(matches(pattern, subject) for pattern in STREAMS.values()):
        return True
    if service in EPOCHS and matches(f"$KV.{EPOCHS[service]}.*", subject):
        return True
    return any(
        service in row.publishers and matches(row.publish.replace("{self}", instance), subject)
        for row in TABLE
    )


def may_subscribe(instance: str, subject: str, queue: str | None) -> bool:
    if may_hear(f"_INBOX.{instance}.>", subject):
        return True
    if instance == TAP:
        listened = ("sig.*.*", "edge.*", "back.*", "member.*", "control.*")
        return any(
            may_hear(pattern, subject)
            for pattern in (*listened, "interest.*", "field.*", "record.*")
        )
    service = service_of(instance)
    return any(
        service in row.subscribers
        and may_hear(row.subscribe.replace("{self}", instance), subject)
        and (row.queue is None or row.queue == queue)
        for row in TABLE
    )


@pytest.mark.timeout(60)
async def test_every_pair_is_allowed_or_refused_as_the_table_says(broker: Broker) -> None:
    subjects = universe()
    listens = [(s, queue) for s in (*subjects, *WILDCARDS) for queue in GROUPS]
    wrong = []
    allowed = 0
    for instance in EVERYBODY:
        # one connection a kind: what is published would come back on what is subscribed
        async with raw(broker, instance) as client:
            refused = (await client.burst(publish=subjects)).publish
        async with raw(broker, instance) as client:
            deaf = (await client.burst(subscribe=listens)).subscribe
        for subject in subjects:
            allowed += subject not in refused
            if may_publish(instance, subject) != (subject not in refused):
                wrong.append((instance, "publish", subject))
        for subject, queue in listens:
            allowed += (subject, queue) not in deaf
            if may_subscribe(instance, subject, queue) != ((subject, queue) not in deaf):
                wrong.append((instance, f"subscribe in {queue}", subject))
    assert wrong == []
    pairs = len(EVERYBODY) * (len(subjects) + len(listens))
    assert pairs > 5000
    assert 0 < allowed < pairs / 4


NEVER_PUBLISHED = {
    "gateway-0": [
        "sig.commons.0",
        "edge.gateway-1",
        "back.gateway-0",
        "control.gateway-1",
        "member.0",
    ],
    "ingest-0": ["up.0", "edge.gateway-0", "control.ingest-0", "$KV.epoch_fanout.0", "field.0"],
    "fanout-0": [
        "sig.commons.0",
        "member.0",
        "consent.00",
        "control.gateway-0",
        "$KV.epoch_ingest.0",
    ],
    "sanctuary-0": ["edge.gateway-0", "sig.commons.0", "control.registry-0", "identity.00"],
    "registry-0": [
        *("edge.gateway-0", "sig.commons.0", "member.0", "$JS.API.STREAM.PURGE.consent"),
        *("$JS.API.STREAM.MSG.DELETE.consent", "$JS.API.STREAM.DELETE.consent"),
        *("$JS.API.CONSUMER.CREATE.consent.spy", "$JS.API.STREAM.UPDATE.consent"),
    ],
    TAP: ["control.gateway-0", "up.0", "$JS.API.DIRECT.GET.consent", "$JS.API.STREAM.NAMES"],
}
NEVER_HEARD = {
    "gateway-0": ["sig.*.*", "edge.gateway-1", "edge.*", "up.*", "_INBOX.registry-0.>", ">"],
    "ingest-0": ["up.*", "up.3", "sig.*.*", "edge.*", "consent.*"],
    "fanout-0": ["up.*", "edge.*", "_INBOX.>", "consent.*"],
    "sanctuary-0": ["sig.*.*", "up.*", "edge.*", "record.*"],
    "registry-0": ["sig.*.*", "up.*", "edge.*", "field.*", "$JS.API.>"],
    TAP: ["up.*", "_INBOX.>", "ask.>", "$JS.>", "consent.*", "identity.*"],
}


@pytest.mark.parametrize("instance", sorted(NEVER_PUBLISHED))
async def test_what_matters_most_is_refused_by_name(broker: Broker, instance: str) -> None:
    """Written by hand, so that a careless row in the table does not loosen the test with it."""
    async with raw(broker, instance) as client:
        refused = await client.burst(
            publish=NEVER_PUBLISHED[instance],
            subscribe=[(subject, None) for subject in NEVER_HEARD[instance]],
        )
    assert sorted(refused.publish) == sorted(NEVER_PUBLISHED[instance])
    assert sorted(s for s, _ in refused.subscribe) == sorted(NEVER_HEARD[instance])
    assert refused.other == []


async def test_nobody_enters_without_a_key(broker: Broker) -> None:
    async with raw(broker, None) as client:
        with pytest.raises((AssertionError, ConnectionError)):
            await client.burst(publish=["up.0"])


async def test_bootstrap_makes_streams_and_hears_nobody(broker: Broker) -> None:
    async with raw(broker, BOOTSTRAP) as client:
        refused = await client.burst(
            publish=["$JS.API.STREAM.NAMES", "$JS.API.STREAM.PURGE.charter", "control.registry-0"],
            subscribe=[(pattern, None) for pattern in (*WILDCARDS, "up.0", "edge.gateway-0")],
        )
    assert refused.publish == {"control.registry-0"}
    heard = {*WILDCARDS, "up.0", "edge.gateway-0"} - {subject for subject, _ in refused.subscribe}
    assert heard == set()


@pytest.mark.parametrize(("service", "answers_max"), [("registry", 1), ("sanctuary", PARTS_MAX)])
async def test_an_answer_may_be_given_once_or_in_parts_and_only_to_who_asked(
    broker: Broker, service: str, answers_max: int
) -> None:
    asker, answerer = await broker.bus("gateway-0"), await broker.bus(f"{service}-0")
    replies: list[str] = []
    await answerer.subscribe(
        f"ask.{service}.*", GatewayBeat, lambda _, __, reply: replies.append(str(reply))
    )
    await answerer.flush()
    answers: list[bytes] = []

    def answered(payload: bytes, _: bytes | None) -> bool:
        answers.append(payload)
        return False

    with asker.inbox(answered) as inbox:
        asker.send(f"ask.{service}.0", inbox, b"\x94\xaegateway beat/1\xa1g\x01\x02")
        await wait_until(lambda: replies, "the ask")
        assert replies == [inbox]
        for number in range(answers_max + 2):
            answerer.publish_bytes(inbox, b"%d" % number)
        answerer.publish_bytes("_INBOX.gateway-1.abc", b"stray")
        await answerer.flush()
        assert await asker.round_trip()
    assert answers == [b"%d" % number for number in range(answers_max)]
    assert answerer.counts.errors == 3


async def test_jetstream_cannot_be_made_to_write_where_its_asker_may_not(broker: Broker) -> None:
    """nats-server 2.15 does not ask whether the asker may publish on the reply subject that it gives;
    so what JetStream sends carries headers, and the bus takes nothing with headers.
    """
    registry, gateway = await broker.bus("registry-0"), await broker.bus("gateway-0")
    got: list[object] = []
    await gateway.subscribe("edge.gateway-0", GatewayBeat, lambda *a: got.append(a))
    await gateway.flush()
    await registry.append("identity.00", b"\x94\xaegateway beat/1\xa1g\x01\x02")
    registry.send("$JS.API.DIRECT.GET.identity", "edge.gateway-0", b'{"seq":1}')
    registry.send("identity.01", "edge.gateway-0", b"x")
    await wait_until(lambda: gateway.counts.undecodable["edge"] == 2, "both counted")
    assert got == []


async def test_a_rollup_header_erases_nothing(broker: Broker) -> None:
    registry = await broker.bus("registry-0")
    for number in range(3):
        await registry.append("consent.00", b"%d" % number)
    for scope in ("all", "sub"):
        answer, _ = await registry.request_bytes(
            "consent.00",
            b"",
            headers=f"NATS/1.0\r\nNats-Rollup: {scope}\r\n\r\n".encode(),
            timeout_s=2,
        )
        assert b"rollup not permitted" in answer
    assert len([message async for message in registry.read_stream("consent")]) == 3


def test_keys_are_kept_and_private(tmp_path: Path) -> None:
    from shared.bus.permissions import make_keys

    first = make_keys(tmp_path / "keys", ["fanout-0"])
    second = make_keys(tmp_path / "keys", ["fanout-0", "fanout-1"])
    assert {**second, **first} == second
    assert len(set(second.values())) == 4
    for path in (tmp_path / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ValueError, match="is not <service>-<ordinal>"):
        service_of("fanout-0.*")

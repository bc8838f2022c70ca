"""Devices without sockets, through a whole city: what they post is seen, once, and as it is granted."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from tests.support.city import RunningCity, running_city
from tests.support.posting import PATH, Device, Told, unbase64url
from tests.support.wire import Person, Wire, now_ms, pack, sanctuary_id

COMMONS = sanctuary_id("emotive-commons")
MEMBERS, FULL, LIVE = 0, 3, 0
PROTOCOL = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
pytestmark = pytest.mark.timeout(120)
_made = iter(range(10_000))


@asynccontextmanager
async def device_in(city: RunningCity, *, granted: bool = True) -> AsyncIterator[Device]:
    """A device of somebody who has enrolled and granted by another way, and has left since."""
    person = Person(f"device {next(_made)} {now_ms()}")
    wire = await person.welcome(city.websocket_url)
    if granted:
        grant = person.consent("grant/1", COMMONS, MEMBERS, FULL, LIVE, None)
        await person.record(wire, grant)
    await wire.close()
    async with asyncio.timeout(40):
        yield Device(person, city.url)


@asynccontextmanager
async def viewer_in(city: RunningCity) -> AsyncIterator[Wire]:
    person = Person(f"viewer {next(_made)} {now_ms()}")
    wire = await person.welcome(city.websocket_url)
    await person.seat(wire, COMMONS)
    if not any(message[0] == "snapshot" for message in wire.passed):
        await wire.wait_for("snapshot")
    try:
        async with asyncio.timeout(40):
            yield wire
    finally:
        await wire.close()


async def seen(viewer: Wire, strand: bytes, until: str) -> list[list[Any]]:
    """What the viewer gets of one strand, until a message of that name."""
    messages: list[list[Any]] = []
    while True:
        message = await viewer.receive()
        of_strand = message[2] if message[0] == "strand" else message[1]
        if message[0] in {"strand", "sample", "sealed window", "skipped", "ended"} and (
            of_strand == strand
        ):
            messages.append(message)
            if message[0] == until:
                return messages


async def test_a_posted_window_is_admitted_and_seen_with_its_seal(
    shared_city: RunningCity,
) -> None:
    async with device_in(shared_city) as device, viewer_in(shared_city) as viewer:
        await device.ask("emotive-commons")
        device.open(name="thermostat")
        window = device.window(3)
        reply = await device.post(window)
        assert reply.status == 200
        assert unbase64url(reply.fields["strand"]) == device.strand
        assert reply.fields == {
            "strand": reply.fields["strand"],
            "window": 0,
            "admitted": [0, 1, 2],
            "refused": [],
        }
        messages = await seen(viewer, device.strand, "sealed window")
        shown = [message for message in messages if message[0] == "sample"]
        assert [message[2] for message in shown] == window[4]
        assert messages[-1][2] == window[5]
        device.join = join_of(device, t_ms=now_ms() + 1)  # the same session, signed anew
        reply = await device.post(device.window(1, closing=True))
        assert reply.fields["admitted"] == [3]
        ended = (await seen(viewer, device.strand, "ended"))[-1]
        assert ended[2:4] == ["closed", 4]


async def test_the_same_post_again_is_answered_the_same_and_delivered_once(
    shared_city: RunningCity,
) -> None:
    async with device_in(shared_city) as device, viewer_in(shared_city) as viewer:
        await device.ask(COMMONS.hex())
        device.open()
        window = device.window(2)
        first = await device.post(window)
        again = await asyncio.gather(*(device.post(window) for _ in range(3)))
        assert [(reply.status, reply.fields) for reply in again] == [(200, first.fields)] * 3
        await device.ask("emotive-commons")  # another session, the same window
        rejoined = [window[0], device.join, *window[2:]]
        assert (await device.post(rejoined)).fields == first.fields
        await device.post(device.window(1, closing=True))
        messages = await seen(viewer, device.strand, "ended")
        assert [message[0] for message in messages].count("sample") == 3


async def test_without_a_grant_nobody_sees_it_and_a_withdrawal_ends_it(
    shared_city: RunningCity,
) -> None:
    async with device_in(shared_city, granted=False) as device, viewer_in(shared_city) as viewer:
        await device.ask("emotive-commons")
        device.open()
        assert (await device.post(device.window(2))).fields["admitted"] == [0, 1]
        person = device.person
        wire = await person.welcome(shared_city.websocket_url)
        await person.record(wire, person.consent("grant/1", COMMONS, MEMBERS, FULL, LIVE, None))
        assert (await device.post(device.window(1))).fields["admitted"] == [2]
        messages = await seen(viewer, device.strand, "sealed window")
        bodies = [message[2] for message in messages if message[0] == "sample"]
        assert len(bodies) == 1
        withdrawal = person.consent("withdrawal/1", None, None, None)
        await wire.send(["record", 9, person.sign(wire, "consent", withdrawal)])
        await wire.wait_for("acted")
        await viewer.wait_for("struck")
        viewer.passed.clear()
        assert (await device.post(device.window(1, closing=True))).fields["admitted"] == [3]
        await viewer.send(["time?", 77])
        await viewer.wait_for("time")
        assert not [m for m in viewer.passed if device.strand in m]
        await wire.close()


async def test_samples_are_judged_one_by_one(shared_city: RunningCity) -> None:
    async with device_in(shared_city) as device:
        await device.ask("emotive-commons")
        device.open()
        bodies = [
            device.body(0),
            device.body(1, t_ms=5),
            device.body(2, t_ms=5),
            device.body(3, valence=4000),
        ]
        reply = await device.post(device.window_of(bodies, closing=True))
        assert reply.fields["admitted"] == [0]
        assert reply.fields["refused"] == [
            {"first": 1, "last": 2, "reason": "skew"},
            {"first": 3, "last": 3, "reason": "out of range"},
        ]


def changed(message: list[Any], place: int, value: object) -> list[Any]:
    return [*message[:place], value, *message[place + 1 :]]


FORGED = bytes(64)
JOIN = ("kind", "sanctuary", "session", "gateway", "citizen", "device", "t_ms")


def join_of(device: Device, **changes: Any) -> list[bytes]:
    """The device's join with some of its fields changed, signed all the same."""
    plain = device.person.join(device.told, COMMONS)  # type: ignore[arg-type]
    return device.sign("join", list((dict(zip(JOIN, plain, strict=True)) | changes).values()))


async def test_bodies_that_are_none_are_refused_by_name(shared_city: RunningCity) -> None:
    async with device_in(shared_city) as device:
        await device.ask("emotive-commons")
        device.open()
        good = device.window(2)
        rows: list[tuple[object, int, str]] = [
            (b"", 400, "malformed"),
            (b"\xc1", 400, "malformed"),
            (b"\x91" * 5000, 400, "malformed"),
            (pack(["signatures/2", *good[1:]]), 400, "malformed"),
            (pack({"signatures": 1}), 400, "malformed"),
            (good[:5], 400, "malformed"),
            (pack(good)[:-1], 400, "malformed"),
            (bytes(70_000), 413, "oversize"),
            (changed(good, 2, 2**53), 400, "out of range"),
            (changed(good, 2, -1), 400, "out of range"),
            (changed(good, 4, good[4] * 20), 400, "out of range"),
            (changed(good, 4, [b""]), 400, "out of range"),
            (changed(good, 1, [b"\xc1", FORGED]), 400, "malformed"),
            (changed(good, 1, [good[1][0], b"short"]), 400, "out of range"),
            (changed(good, 1, join_of(device, session=bytes(16))), 409, "wrong session"),
            (changed(good, 1, join_of(device, gateway="gateway-9")), 409, "wrong session"),
        ]
        for message, status, reason in rows:
            reply = await device.post(message)
            assert reply.refused == (status, reason), message
        assert (await device.post(good)).fields["admitted"] == [0, 1]


async def test_joins_that_are_wrong_are_refused_as_on_a_socket(shared_city: RunningCity) -> None:
    async with device_in(shared_city) as device, device_in(shared_city) as stranger:
        rows: tuple[tuple[dict[str, Any], int, str], ...] = (
            ({"sanctuary": bytes(16)}, 404, "no such room"),
            ({"citizen": stranger.person.citizen}, 403, "unknown device"),
            ({"citizen": bytes(16)}, 403, "unknown citizen"),
            ({"t_ms": 5}, 400, "skew"),
        )
        for changes, status, reason in rows:
            await device.ask("emotive-commons")
            device.open()
            device.join = join_of(device, **changes)
            reply = await device.post(device.window(1))
            assert reply.refused == (status, reason), reply.fields
        await device.ask("emotive-commons")
        device.open()
        good = device.window(1)
        reply = await device.post(changed(good, 1, [good[1][0], FORGED]))
        assert reply.refused == (403, "bad signature")
        assert (await device.post(good)).status == 200  # the session is as good as before


async def test_windows_that_are_not_good_are_refused_whole(shared_city: RunningCity) -> None:
    async with device_in(shared_city) as device:
        await device.ask("emotive-commons")
        device.open()
        good = device.window(2)
        opening, bodies, seal = good[3:]

        def opened(**changes: Any) -> list[bytes]:
            changes.setdefault("strand_key", bytes(device.key.verify_key))
            return device.sign("opening", device.person.opening(device.told.place, **changes))

        rows: tuple[tuple[int, object, int, str], ...] = (
            (4, bodies[:1], 400, "bad seal"),
            (4, bodies[::-1], 400, "bad seal"),
            (5, [seal[0], FORGED], 400, "bad seal"),
            (5, [b"\xc1", FORGED], 400, "malformed"),
            (3, [opening[0], FORGED], 403, "bad signature"),
            (3, opened(challenge=bytes(16)), 409, "wrong challenge"),
            (3, opened(policy_hash=bytes(32)), 409, "wrong policy"),
            (3, opened(t_ms=5), 400, "skew"),
            (3, opened(sanctuary=bytes(16)), 400, "wrong sanctuary"),
            (3, opened(citizen=bytes(16)), 409, "wrong session"),
        )
        for place, value, status, reason in rows:
            reply = await device.post(changed(good, place, value))
            assert reply.refused == (status, reason), reply.fields
            assert set(reply.fields) == {"refused", "meaning", "now_ms"}
        assert (await device.post(good)).fields["admitted"] == [0, 1]
        device.previous = bytes(32)
        assert (await device.post(device.window(1))).refused == (400, "bad seal")


async def test_requests_that_are_wrong_are_refused_by_name(shared_city: RunningCity) -> None:
    async with aiohttp.ClientSession() as http:
        rows: tuple[tuple[str, str, int, str, dict[str, str]], ...] = (
            ("GET", "", 405, "method not allowed", {}),
            ("PUT", "", 405, "method not allowed", {}),
            ("POST", "/emotive-commons", 405, "method not allowed", {}),
            ("GET", "/Emotive Commons", 404, "not found", {}),
            ("GET", "/", 404, "not found", {}),
            ("GET", "/" + "ab" * 15, 200, "", {}),  # a slug like any other: it says nothing
            ("GET", "/emotive-commons?x=1", 400, "query", {}),
            ("POST", "?x=1", 400, "query", {}),
            ("GET", "/emotive-commons", 403, "origin", {"Origin": "https://elsewhere.test"}),
            ("POST", "", 403, "origin", {"Origin": "https://elsewhere.test"}),
            ("POST", "", 400, "malformed", {"Origin": shared_city.url}),
        )
        for method, path, status, name, headers in rows:
            async with http.request(
                method, f"{shared_city.url}{PATH}{path}", headers=headers
            ) as answer:
                fields = await answer.json()
                assert (answer.status, fields.get("refused", "")) == (status, name), path
                if status == 405:
                    assert answer.headers["Allow"] == ("POST" if path == "" else "GET")


async def exchange(city: RunningCity, request: bytes) -> bytes:
    """What comes back for some bytes, to the end of the connection."""
    host, port = city.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(15):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("head", "body", "status", "name"),
    [
        ("Content-Length: 70000", b"", b"413", b"oversize"),
        ("Transfer-Encoding: chunked", b"11171\r\n" + bytes(70_001), b"413", b"oversize"),
        ("Transfer-Encoding: chunked", b"nonsense\r\n", b"400", b"malformed"),
        ("Content-Length: 9", b"short", b"408", b"body too slow"),
        ("Content-Length: -1", b"", b"400", b"malformed"),
        ("Content-Length: 3\r\nContent-Length: 4", b"abc", b"400", b"malformed"),
        (
            "Content-Encoding: gzip\r\nContent-Length: 100",
            gzip.compress(bytes(10_000_000), mtime=0)[:100],
            b"400",
            b"malformed",
        ),
    ],
    ids=[
        "a length above the limit",
        "a chunk above the limit",
        "a chunk that is none",
        "less than announced",
        "a length below zero",
        "two lengths",
        "a small body that unpacks to a large one",
    ],
)
async def test_bodies_that_do_not_come_as_told_are_refused(
    shared_city: RunningCity, head: str, body: bytes, status: bytes, name: bytes
) -> None:
    first = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n\r\n"
    answer = await exchange(shared_city, first.encode() + body)
    assert answer.split(b" ")[1] == status, answer
    assert b'"refused": "' + name in answer.replace(b'":"', b'": "')


async def test_who_expects_a_word_before_the_body_gets_it(shared_city: RunningCity) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    answer = await exchange(shared_city, head.encode() + b"\xc1")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")


async def test_of_a_room_that_is_none_one_hears_no_rules(shared_city: RunningCity) -> None:
    async with device_in(shared_city) as device:
        reply = await device.get("no-such-room")
        assert (reply.status, reply.fields["policy"], reply.fields["policy_hash"]) == (
            200,
            None,
            None,
        )
        known = (await device.get("emotive-commons")).fields
        assert set(known) == set(reply.fields)
        told = Told(known)
        assert hashlib.sha256(unbase64url(known["policy"])).digest() == told.place.policy_hash
        assert known["within_s"] == 60
        assert abs(known["now_ms"] - now_ms()) < 30_000


async def test_after_ingests_death_nothing_recorded_is_taken_again(tmp_path: Any) -> None:
    """And the way is open for a new strand, by what GET tells then."""
    services = "registry,sanctuary,ingest,fanout,gateway"
    with running_city(tmp_path / "state", "--services", services) as city:
        async with device_in(city) as device:
            await device.ask("emotive-commons")
            device.open()
            window = device.window(2)
            assert (await device.post(window)).fields["admitted"] == [0, 1]
            pid = city.kill("ingest-0")
            city.wait_successor("ingest-0", pid, within_s=30)
            reply = await device.post(window)
            while reply.status == 503:  # its own seconds have passed in asking
                assert reply.headers["Retry-After"] == "1"
                reply = await device.post(window)
            assert reply.refused == (409, "wrong challenge")
            before = device.told.place.challenge
            while device.told.place.challenge == before:
                await device.ask("emotive-commons")
            device.open()
            assert (await device.post(device.window(1))).fields["admitted"] == [0]


def example() -> str:
    """The commands of docs/protocol.md, as they stand there."""
    found = re.search(r"<!-- signatures -->\n```\n(.+?)\n```", PROTOCOL.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a shell of its own, with `synchronia` on its path and keys of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env={**os.environ, "PATH": path, "XDG_CONFIG_HOME": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_the_documented_commands_speak_without_a_socket(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    commands = example().replace("http://127.0.0.1:8080", shared_city.url)
    async with viewer_in(shared_city) as viewer:
        done = await asyncio.to_thread(run, commands, tmp_path)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        assert (answer["window"], answer["admitted"], answer["refused"]) == (0, [0], [])
        messages = await seen(viewer, unbase64url(answer["strand"]), "ended")
        [sample] = [message for message in messages if message[0] == "sample"]
        assert msgpack.unpackb(sample[2])[2:4] == [400, -200]
        again = await asyncio.to_thread(run, commands.splitlines()[-1], tmp_path)
        assert json.loads(again.stdout) == answer
        more = await asyncio.to_thread(run, "\n".join(commands.splitlines()[-2:]), tmp_path)
        another = json.loads(more.stdout)  # signed over the same facts
        assert another == answer | {"strand": another.get("strand")} != answer


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("synchronia sign --facts /dev/null '0 0'", "GET /v1/signatures/<sanctuary> answers"),
        ("synchronia sign --facts nowhere '0 0'", "cannot read nowhere"),
        ("synchronia sign --facts facts.json '7 0' > w", "between -1 and 1"),
        ("synchronia sign --facts facts.json '0 0' > w", "no keys at"),
        (
            "synchronia keys new && synchronia sign --facts facts.json '0 0' > w",
            "nobody in this city yet",
        ),
        ("synchronia sign --facts none.json '0 0' > w", "--policy"),
    ],
)
def test_signing_says_in_one_line_what_is_wrong(
    shared_city: RunningCity, tmp_path: Path, command: str, sentence: str
) -> None:
    url = f"{shared_city.url}{PATH}"
    if "none.json" in command:
        command = f"synchronia keys new > k; {command}"
    asks = f"curl -s {url}/emotive-commons > facts.json; curl -s {url}/no-such-room > none.json"
    done = run(f"{asks}; {command}", tmp_path)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

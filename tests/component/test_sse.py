"""Event streams: what is public, with nothing but HTTP. A gateway's process; a whole city and curl."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.gateway.sse import COMMENT
from shared import subjects
from shared.codec import encode
from shared.contracts import (
    Clear,
    Deliver,
    EdgeBatch,
    EnterPublic,
    Interest,
    Marker,
    Passed,
    Provenance,
    Sample,
    SampleShown,
    Segment,
    Signed,
    Skipped,
    StrandShown,
    Strike,
    Struck,
)
from shared.identifiers import sanctuary_of_slug, slot_of
from tests.support.broker import Broker, wait_until
from tests.support.city import RunningCity
from tests.support.event_stream import PATH, asking, begin, request
from tests.support.gateway_city import (
    CITIZEN,
    ROOM,
    STRAND,
    City,
    make_city,
    on_uvloop,
    raw,
    running_gateway,
)

OTHER, OTHER_STRAND = b"d" * 16, b"t" * 32
STAGE = b"p" + ROOM
PROTOCOL = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


LONG_NOTE = "😀" * 140
"""A sample with it is an event of some 2 kB: it fills a socket eight times as fast."""


def said(
    seq: int, *, citizen: bytes = CITIZEN, strand: bytes = STRAND, note: str | None = None
) -> Segment:
    sample = Sample(
        seq, 1_700_000_000_000, 1, 2, None, 1000, Provenance.SCRIPTED, (), note, bytes(8)
    )
    return Segment(citizen, encode(SampleShown(strand, encode(sample))))


def strand(next_seq: int, *, citizen: bytes = CITIZEN, id_: bytes = STRAND) -> Segment:
    opening = Signed(b"opening", bytes(64))
    return Segment(
        citizen, encode(StrandShown(ROOM, id_, citizen, opening, next_seq, None, None, None))
    )


async def interest(city: City, count: int) -> Interest:
    def is_told() -> bool:
        return bool(city.interest) and city.interest[-1].count == count

    await wait_until(is_told, f"interest of {count} is announced")
    return city.interest[-1]


async def admit(city: City, count: int, *segments: Segment, number: int | None = 0) -> None:
    """Let in who watches; the stream begins anew when `number` is 0."""
    told = await interest(city, count)
    enter = EnterPublic(ROOM, told.generation, segments)
    city.edge(*((Clear(), enter) if number == 0 else (enter,)), number=number)


@on_uvloop
async def test_a_stage_is_watched_with_nothing_but_http(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway, asking(gateway.address) as watcher:
        await admit(city, 1, strand(3))
        hello = await begin(watcher)
        assert (hello["type"], hello["origin"]) == ("hello", gateway.http)
        head = watcher.head.lower()
        assert b"content-type: text/event-stream\r\n" in head
        assert b"cache-control: no-store\r\n" in head
        assert watcher.bytes.startswith(b"retry: 1000\n")
        snapshot = await watcher.next()
        assert (snapshot.name, snapshot.fields["count"], snapshot.id) == ("snapshot", 1, "")
        assert snapshot.fields["recovered"] is False
        shown = await watcher.next()
        assert (shown.name, shown.fields["next_seq"]) == ("strand", 3)
        assert shown.id
        city.edge(Deliver(STAGE, (said(3), said(4))))
        first, second = await watcher.next(), await watcher.next()
        assert [e.fields["sample"]["seq"] for e in (first, second)] == [3, 4]
        assert len({shown.id, first.id, second.id}) == 3
        await watcher.close()
        await interest(city, 0)


@on_uvloop
async def test_all_streams_get_the_very_same_bytes(broker: Broker) -> None:
    city = await make_city(broker)
    async with (
        running_gateway(broker) as gateway,
        asking(gateway.address) as one,
        asking(gateway.address) as two,
    ):
        await admit(city, 2, strand(0))
        for watcher in (one, two):
            await begin(watcher)
            await watcher.wait_for("strand")
            watcher.bytes = b""
        for seq in range(20):
            city.edge(Deliver(STAGE, (said(seq),)))
        for watcher in (one, two):
            for _ in range(20):
                await watcher.next()
        assert one.bytes == two.bytes
        assert one.bytes.count(b"event: sample\n") == 20


@on_uvloop
async def test_who_comes_back_is_told_honestly_what_was_missed(broker: Broker) -> None:
    """`recovered` is true only if every strand's last number is the one that the viewer holds."""
    city = await make_city(broker)
    both = (strand(5), strand(9, citizen=OTHER, id_=OTHER_STRAND))
    async with running_gateway(broker) as gateway:
        async with asking(gateway.address) as watcher:
            await admit(city, 1, strand(4), strand(9, citizen=OTHER, id_=OTHER_STRAND))
            await begin(watcher)
            city.edge(Deliver(STAGE, (said(4),)))
            await watcher.wait_for("sample")
            held = watcher.last_id
        await interest(city, 0)
        rows: list[tuple[str, tuple[Segment, ...], bool]] = [
            (held, both, True),
            (held, (both[1], both[0]), True),
            ("", both, False),
            (held, (strand(6), both[1]), False),  # a sample came meanwhile
            (held, (strand(4), both[1]), False),
            (held, (both[0],), False),  # somebody withdrew
            (held, (*both, strand(1, citizen=b"e" * 16, id_=b"u" * 32)), False),
            (held, (*both, strand(0, citizen=b"e" * 16, id_=b"u" * 32)), True),  # silent as yet
            (held, (), False),
            ("A" * 16, (), False),
            ("A" * 2000, both, False),
            ("\u00e4" * 16, both, False),
        ]
        for last_id, segments, recovered in rows:
            headers = {"Last_Event_ID": last_id} if last_id else {}
            async with asking(gateway.address, **headers) as watcher:
                await admit(city, 1, *segments, number=None)
                await begin(watcher)
                snapshot = await watcher.wait_for("snapshot")
                assert snapshot.fields["recovered"] is recovered, (last_id, segments)
                # told to forget, unless it still holds what it said
                assert snapshot.id == (None if recovered else "")
                for _ in segments:
                    await watcher.next()
                assert watcher.last_id == (held if recovered else watcher.last_id)
            await interest(city, 0)


@on_uvloop
async def test_skipped_numbers_and_the_struck_change_what_is_held(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway:
        async with asking(gateway.address) as watcher:
            await admit(city, 1, strand(4), strand(9, citizen=OTHER, id_=OTHER_STRAND))
            await begin(watcher)
            skipped = Segment(CITIZEN, encode(Skipped(STRAND, 4, 6, "lost")))
            notice = encode(Struck(ROOM, OTHER, None))
            city.edge(Deliver(STAGE, (skipped,)), Strike(OTHER, STAGE, None, notice, 0))
            await watcher.wait_for("struck")
            held = watcher.last_id
        await interest(city, 0)
        async with asking(gateway.address, Last_Event_ID=held) as watcher:
            await admit(city, 1, strand(7), number=None)
            await begin(watcher)
            assert (await watcher.wait_for("snapshot")).fields["recovered"] is True


@on_uvloop
async def test_a_strike_finds_what_waits_for_an_event_stream(broker: Broker) -> None:
    """One that reads, one that does not: behind `struck` no byte of the citizen, ahead of it only what
    the kernel had.
    """
    city = await make_city(broker)
    async with (
        running_gateway(broker, unsent_bytes_max=4096) as gateway,
        asking(gateway.address) as reads,
        asking(gateway.address) as sleeps,
    ):
        slow = sleeps.writer.get_extra_info("socket")
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeps.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await admit(city, 2, strand(0), strand(0, citizen=OTHER, id_=OTHER_STRAND))
        await begin(reads)
        core = gateway.service.core
        seq = 0

        async def say(count: int, *, with_mine: bool) -> None:
            """The next numbers of one or both, and until who reads has them."""
            nonlocal seq
            for _ in range(count):
                theirs = said(seq, citizen=OTHER, strand=OTHER_STRAND, note=LONG_NOTE)
                city.edge(Deliver(STAGE, (said(seq), theirs) if with_mine else (theirs,)))
                seq += 1
            while (await reads.wait_for("sample")).fields["sample"]["seq"] < seq - 1:
                pass

        await say(5, with_mine=True)
        while not core.egress.backlog_bytes():
            # of the other one: who has struck bytes in the transport itself would be cut off
            await say(20, with_mine=False)
        await say(20, with_mine=True)
        notice = encode(Struck(ROOM, CITIZEN, None))
        city.edge(
            Deliver(STAGE, (said(seq),)),
            Strike(CITIZEN, STAGE, None, notice, 0),
            Marker(CITIZEN, 3),
            Deliver(STAGE, (said(seq, citizen=OTHER, strand=OTHER_STRAND),)),
        )
        await wait_until(
            lambda: any(isinstance(e, Passed) and e.marker == 3 for e in city.control),
            "the marker passed",
        )
        sleeps.reader._transport.resume_reading()  # type: ignore[attr-defined]
        await begin(sleeps)
        numbers: dict[str, list[int]] = {}
        async with asyncio.timeout(10):
            while numbers.get("other", [-1])[-1] < seq:
                event = await sleeps.next()
                if event.name == "struck":
                    numbers["struck"] = list(numbers["mine"])
                elif event.name == "sample":
                    whose = "mine" if event.fields["strand"].startswith("c3Nz") else "other"
                    numbers.setdefault(whose, []).append(event.fields["sample"]["seq"])
        assert core.cuts == 0
        assert numbers["mine"] == numbers["struck"] == list(range(5)), "the rest was waiting here"
        assert numbers["other"] == list(range(seq + 1)), "nobody else lost anything"


@on_uvloop
async def test_a_stream_that_does_not_read_is_closed_and_nobody_else_notices(
    broker: Broker,
) -> None:
    city = await make_city(broker)
    async with (
        running_gateway(broker, backlog_bytes_max=65536) as gateway,
        asking(gateway.address) as reads,
        asking(gateway.address) as sleeps,
    ):
        sleeps.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await admit(city, 2, strand(0))
        await begin(reads)
        closes = gateway.service.core.closes
        seq = 0
        while not closes.get("TOO_SLOW"):
            for _ in range(20):
                city.edge(Deliver(STAGE, (said(seq, note=LONG_NOTE),)))
                seq += 1
            while (await reads.wait_for("sample")).fields["sample"]["seq"] < seq - 1:
                pass
        assert gateway.service.core.egress.backlog_bytes() == 0
        assert reads.bytes.count(b"event: sample\n") == seq
        await interest(city, 1)


@on_uvloop
async def test_what_is_not_public_gets_one_answer_whatever_it_is(broker: Broker) -> None:
    """A room that is there, one that is not, and no name at all: the same bytes."""
    city = await make_city(broker)
    async with running_gateway(broker, watch_s=1) as gateway:
        paths = [
            PATH,
            f"/v1/watch/{'00' * 16}",
            "/v1/watch/nobody-home",
            "/v1/watch/",
            "/v1/watch/Open_Stage",
            "/v1/watch/open-stage/x",
            f"/v1/watch/{'a' * 65}",
            "/v1/watch/%6fpen-stage",
        ]
        await wait_until(lambda: city.control, "the gateway's beat")
        for slot in {slot_of(room) for room in (ROOM, bytes(16), sanctuary_of_slug("nobody-home"))}:
            batch = EdgeBatch(slot, 1, city.incarnation, 0, (Clear(),))
            city.fanout.publish(subjects.edge("gateway-0"), batch)
        asked = [raw(gateway.address, request(gateway.address, path)) for path in paths]
        for path, answer in zip(paths, await asyncio.gather(*asked), strict=True):
            assert answer == (
                b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
                b'Content-Length: 25\r\nConnection: close\r\n\r\n{"refused": "not found"}\n'
            ), path
        await interest(city, 0)
        assert gateway.service.core.sessions == 0


@on_uvloop
async def test_while_nobody_speaks_for_the_room_the_answer_is_not_ready(broker: Broker) -> None:
    await make_city(broker)
    async with running_gateway(broker, watch_s=1) as gateway:
        answer = await raw(gateway.address, request(gateway.address))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'{"refused": "not ready"}\n')


@on_uvloop
async def test_requests_that_are_none_are_refused_by_name(broker: Broker) -> None:
    await make_city(broker)
    settings: dict[str, Any] = {"origins_allowed": ("https://friend.example",)}
    async with running_gateway(broker, **settings) as gateway:
        at = gateway.address
        rows = [
            (request(at, method="POST", Connection="close"), 405, "method not allowed"),
            (request(at, method="DELETE", Connection="close"), 405, "method not allowed"),
            (request(at, PATH + "?since=1"), 400, "query"),
            (request(at, Content_Length="3") + b"abc", 400, "body"),
            (request(at, Transfer_Encoding="chunked"), 400, "body"),
            (request(at, Host="a b"), 400, "host"),
            (request(at, Origin="https://foe.example"), 403, "origin"),
            (request(at, "/v1/watch", Connection="close"), 404, "not found"),
        ]
        for sent, status, name in rows:
            answer = await raw(at, sent)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.split(b" ")[1] == str(status).encode(), (sent, head)
            assert json.loads(body) == {"refused": name}
        answer = await raw(at, request(at, method="HEAD", Connection="close"))
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"Allow: GET\r\n" in answer
        assert answer.endswith(b"\r\n\r\n"), "HEAD has no body"


@on_uvloop
async def test_a_friendly_page_may_read_and_is_told_so(broker: Broker) -> None:
    city = await make_city(broker)
    friend = "https://friend.example"
    async with (
        running_gateway(broker, origins_allowed=(friend,)) as gateway,
        asking(gateway.address, Origin=friend) as watcher,
    ):
        await admit(city, 1)
        await begin(watcher)
        assert f"Access-Control-Allow-Origin: {friend}\r\n".encode() in watcher.head


@on_uvloop
async def test_connections_of_one_address_are_bounded_as_sockets_are(broker: Broker) -> None:
    city = await make_city(broker)
    async with (
        running_gateway(broker, connections_per_address_max=1) as gateway,
        asking(gateway.address) as first,
    ):
        await admit(city, 1)
        await begin(first)
        answer = await raw(gateway.address, request(gateway.address))
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert answer.endswith(b'{"refused": "too many connections"}\n')


@on_uvloop
async def test_a_quiet_stream_is_kept_alive_by_comments(broker: Broker) -> None:
    city = await make_city(broker)
    async with (
        running_gateway(broker, ping_after_s=1, watch_s=1) as gateway,
        asking(gateway.address) as watcher,
    ):
        await admit(city, 1)
        await begin(watcher)
        await watcher.wait_for("snapshot")
        async with asyncio.timeout(10):
            assert await watcher.reader.readexactly(2 * len(COMMENT)) == 2 * COMMENT


@on_uvloop
async def test_a_gap_makes_the_client_forget_and_a_snapshot_follows(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway, asking(gateway.address) as watcher:
        await admit(city, 1, strand(3))
        await begin(watcher)
        await watcher.wait_for("strand")
        assert watcher.last_id
        city.edge(Deliver(STAGE, (said(4),)), number=9)  # a hole
        gap = await watcher.wait_for("gap")
        assert gap.id == ""
        await admit(city, 1, strand(5))
        snapshot = await watcher.wait_for("snapshot")
        assert snapshot.fields["recovered"] is False


@on_uvloop
async def test_a_draining_gateway_says_move_and_why_it_ends(broker: Broker) -> None:
    city = await make_city(broker)
    async with running_gateway(broker) as gateway, asking(gateway.address) as watcher:
        await admit(city, 1, strand(3))
        await begin(watcher)
        await watcher.wait_for("strand")
        async with asyncio.TaskGroup() as group:
            group.create_task(gateway.runtime.drain())
            assert (await watcher.wait_for("move")).fields["within_s"] == 1
            end = await watcher.next()
            assert end.fields == {"type": "close", "code": 1001, "reason": "going away"}
            assert await watcher.reader.read() == b""


# ── a whole city ─────────────────────────────────────────────────────────────────────────────────


def example() -> str:
    """The documented command."""
    found = re.search(r"<!-- curl -->\n```\n(.+?)\n```", PROTOCOL.read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def curl(command: str) -> str:
    words = command.split()
    assert words[0] == "curl"
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=15)
    return done.stdout


@pytest.mark.timeout(120)
def test_the_documented_curl_shows_the_scripted_voice(shared_city: RunningCity) -> None:
    told = curl(example().replace("http://127.0.0.1:8080", shared_city.url))
    names = re.findall(r"^event: (.+)$", told, re.MULTILINE)
    assert names[:2] == ["hello", "snapshot"], told[:400]
    assert "strand" in names[: names.index("sample")], told[:400]
    assert names.count("sample") >= 8, "eight samples a second, for some three seconds"
    data = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    [strand_shown] = [each for each in data if each["type"] == "strand"]
    opening = strand_shown["opening"]
    assert {each["strand"] for each in data if each["type"] == "sample"} == {strand_shown["strand"]}
    assert opening["payload"]
    seqs = [each["sample"]["seq"] for each in data if each["type"] == "sample"]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@pytest.mark.timeout(120)
def test_rooms_that_are_not_public_look_like_rooms_that_are_not(shared_city: RunningCity) -> None:
    told = {
        curl(f"curl -siN --max-time 10 {shared_city.url}/v1/watch/{name}")
        for name in (
            "emotive-commons",
            sanctuary_of_slug("emotive-commons").hex(),
            "no-such-room",
            "No such room"[:2],
        )
    }
    assert len(told) == 1
    assert '{"refused": "not found"}' in told.pop()

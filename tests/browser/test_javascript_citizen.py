"""Citizens in JavaScript and in Python in one real city: each sees, and checks, what the other says."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgpack
import pytest
from nacl.signing import VerifyKey

from services.city.settings import CITIZENS
from shared.subjects import SERVICES
from tests.browser.node_citizen import NodeCitizen
from tests.support.city import RunningCity, running_city
from tests.support.wire import Message, Person, Place, Speaking, Wire, sanctuary_id

pytestmark = pytest.mark.timeout(150)

SLUG = "emotive-commons"
ROOM = sanctuary_id(SLUG)
MEMBERS, FULL, COARSE = 0, 3, 2
STRUCK_S_MAX = 1.0
"""The promise's outer bound, at a viewer on the same machine."""


@pytest.fixture(scope="module")
def quiet_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCity]:
    """A city without scripted citizens."""
    assert CITIZENS not in SERVICES
    state = tmp_path_factory.mktemp("city") / "state"
    with running_city(state, "--services", ",".join(SERVICES)) as city:
        yield city


def feelings(count: int) -> list[dict[str, object]]:
    return [{"valence": 10 * n, "arousal": -10 * n, "note": f"no. {n}"} for n in range(count)]


def speak(node: NodeCitizen, count: int, *, tier: int = FULL) -> str:
    """Enrol, grant, join, open and say `count` samples; the strand's id in hex."""
    node.wait_event("chain")
    node.do("grant", audience=MEMBERS, tier=tier, slug=SLUG)
    node.wait_event("recorded")
    node.do("join", slug=SLUG)
    node.do("speak", slug=SLUG, name="Zoë")
    strand = node.wait_event("opened")["strand"]
    node.do("feel", slug=SLUG, feelings=feelings(count))
    assert isinstance(strand, str)
    return strand


@contextlib.asynccontextmanager
async def seated(city: RunningCity, name: str) -> AsyncIterator[tuple[Person, Wire, Place]]:
    """Somebody in Python, enrolled and joined. The socket is closed whatever comes."""
    person = Person(name)
    wire = await person.welcome(city.websocket_url)
    try:
        yield person, wire, await person.seat(wire, ROOM)
    finally:
        await wire.close()


async def wait_message(wire: Wire, *names: str, of: bytes) -> Message:
    """The next message of these names about this strand or sanctuary; passed ones count. Strands of
    other tests may still be ending in the room.
    """
    for message in wire.passed:
        if message[0] in names and of in message[1:3]:
            wire.passed.remove(message)
            return message
    while True:
        message = await wire.wait_for(*names)
        if of in message[1:3]:
            return message
        wire.passed.append(message)


async def test_what_node_says_is_verified_by_another_reader(quiet_city: RunningCity) -> None:
    async with seated(quiet_city, "viewer-1") as (_, wire, _):
        with NodeCitizen(quiet_city.websocket_url) as node:
            strand = bytes.fromhex(await asyncio.to_thread(speak, node, 40))
            shown = await wait_message(wire, "strand", of=strand)
            assert shown[2] == strand == hashlib.sha256(shown[4][0]).digest()
            opening = msgpack.unpackb(shown[4][0])
            assert opening[9] == "Zoë"
            bodies = {}
            seals: list[list[bytes]] = []
            sealed = 0
            while sealed < 40:  # two windows of a client in time, more of one that was late
                message = await wait_message(wire, "sample", "sealed window", "skipped", of=strand)
                assert message[0] != "skipped"
                if message[0] == "sample":
                    bodies[msgpack.unpackb(message[2])[0]] = message[2]
                else:
                    seals.append(message[2])
                    sealed += len(msgpack.unpackb(message[2][0])[6])
            assert sorted(bodies) == list(range(40))
            previous = bytes(32)
            for payload, signature in seals:
                signed = b"synchronia/1/seal\n" + wire.city + payload
                VerifyKey(opening[4]).verify(signed, signature)
                _, _, _, first, _, _, hashes, before, _ = msgpack.unpackb(payload)
                assert before == previous
                previous = hashlib.sha256(payload).digest()
                for n, told in enumerate(hashes, first):
                    assert told == hashlib.sha256(bodies[n]).digest()[:16]
            node.do("hush", slug=SLUG)
            closed = await wait_message(wire, "ended", of=strand)
            assert closed[:4] == ["ended", strand, "closed", 40]
            event = await asyncio.to_thread(node.wait_event, "voice ended")
            assert event["reason"] == "closed"
            assert not node.of("refused") + node.of("refused samples")


async def test_node_verifies_what_another_says(quiet_city: RunningCity) -> None:
    async with seated(quiet_city, "speaker-1") as (person, wire, place):
        await person.record(wire, person.consent("grant/1", ROOM, MEMBERS, FULL, 0, None))
        with NodeCitizen(quiet_city.websocket_url) as node:
            node.do("join", slug=SLUG)
            await asyncio.to_thread(node.wait_event, "snapshot")
            speaking = await Speaking.open(person, wire, place)
            for _ in range(3):
                await speaking.say()
            await speaking.close_window()
            ours = speaking.strand.hex()

            def window(event: dict[str, object]) -> bool:
                return event["strand"] == ours

            event = await asyncio.to_thread(node.wait_event, "window", window)
            assert (event["first"], event["last"], event["state"]) == (0, 2, "verified")
            assert [e["sample"]["seq"] for e in node.of("sample") if e["strand"] == ours] == [
                0,
                1,
                2,
            ]
            await wire.send(
                speaking.sealed_message(
                    msgpack.packb(speaking.seal(flags=1, total=3), use_bin_type=True)
                )
            )
            ended = await asyncio.to_thread(node.wait_event, "ended", window)
            assert (ended["reason"], ended["total"], ended["isAccounted"]) == ("closed", 3, True)
            assert not node.of("false opening")


async def test_a_withdrawal_from_node_silences_the_view(quiet_city: RunningCity) -> None:
    async with seated(quiet_city, "viewer-2") as (_, wire, _):
        with NodeCitizen(quiet_city.websocket_url) as node:
            strand = bytes.fromhex(await asyncio.to_thread(speak, node, 3))
            await wait_message(wire, "sample", of=strand)
            citizen = bytes.fromhex(node.of("enrolled")[0]["citizen"])
            node.do("withdraw")
            async with asyncio.timeout(STRUCK_S_MAX):
                struck = await wait_message(wire, "struck", of=citizen)
            assert struck[1] == ROOM
            acted = await asyncio.to_thread(node.wait_event, "acted")
            recorded = await asyncio.to_thread(
                node.wait_event, "recorded", lambda event: bool(event["kind"] == "withdrawal")
            )
            assert acted["counter"] == recorded["counter"] == 2
            node.do("feel", slug=SLUG, feelings=feelings(5))
            await asyncio.to_thread(node.wait_event, "sealed", lambda event: 7 in event["admitted"])
            # a round trip behind the city's own acknowledgement: whatever was to come has come
            wire.passed.clear()
            await wire.send(["leave", 9, ROOM])
            await wire.wait_for("left")
            assert [m for m in wire.passed if strand in m or citizen in m] == []


async def test_node_comes_back_and_is_honest_about_what_it_missed(tmp_path: Path) -> None:
    """The gateway is killed under a speaker in Node and a viewer in Node."""
    with running_city(tmp_path / "state", "--services", ",".join(SERVICES)) as city:
        url = city.websocket_url
        with NodeCitizen(url) as viewer, NodeCitizen(url) as speaker:
            viewer.do("join", slug=SLUG)
            viewer.wait_event("snapshot")
            strand = speak(speaker, 3)
            viewer.wait_event("window", lambda event: bool(event["state"] == "verified"))
            mark = len(viewer.events)
            mine = len(speaker.events)
            city.kill("gateway-0")
            snapshot = viewer.wait_event("snapshot", since=mark)
            assert snapshot["isReturn"]
            assert snapshot["recovered"] is (snapshot["missed"] == 0)
            opened = speaker.wait_event("opened", since=mine)
            speaker.do("feel", slug=SLUG, feelings=feelings(3))
            again = str(opened["strand"])
            viewer.wait_event(
                "window",
                lambda event: bool(event["strand"] == again and event["state"] == "verified"),
                since=mark,
            )
            # the strand outlives its socket: the same one goes on, and nothing was lost on the way
            assert again == strand
            assert opened["nextSeq"] == 3
            assert snapshot["recovered"] is True


def test_node_watches_a_stage_without_an_identity(shared_city: RunningCity) -> None:
    """The seeded stage has a scripted voice, whom anybody may see."""
    with NodeCitizen(shared_city.websocket_url, "open-stage") as node:
        node.wait_event("snapshot")
        node.wait_event("window", lambda event: bool(event["state"] == "verified"))
        assert not node.of("false opening")
        assert not [event for event in node.of("window") if event["state"] == "false"]

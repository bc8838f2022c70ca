"""Nothing that a client sends is taken wrongly, answered vaguely, or felt by anybody else.

Each row of `bad_input` meets a running city; a bystander's stream is compared byte for byte behind it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import websockets

from shared.contracts.refusals import CloseCode
from tests.component import bad_input
from tests.component.bad_input import FAR, HERE
from tests.support.city import RunningCity, running_city
from tests.support.wire import ClosedByServerError, Person, Speaking, Wire, pack

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
BODIES_PER_CHECK = 3
FUZZ_FRAMES = 2000


class Bystanders:
    """A speaker and a viewer of the same room, who must notice nothing."""

    def __init__(self, speaking: Speaking, viewer: Wire, others: set[bytes]) -> None:
        self.speaking = speaking
        self.viewer = viewer
        self.others = others
        """Strands that were there before: the city's own probe may have left one open."""

    @classmethod
    async def settle(cls, url: str) -> Bystanders:
        viewer_person, speaker = Person("bystander who looks"), Person("bystander who speaks")
        viewer = await viewer_person.welcome(url)
        await viewer_person.seat(viewer, HERE)
        wire = await speaker.welcome(url)
        place = await speaker.seat(wire, HERE)
        await speaker.record(wire, speaker.consent("grant/1", HERE, 0, 3, 0, None))
        speaking = await Speaking.open(speaker, wire, place)
        others = {message[2] for message in viewer.passed if message[0] == "strand"}
        while (shown := await viewer.wait_for("strand"))[2] != speaking.strand:
            others.add(shown[2])
        return cls(speaking, viewer, others)

    async def check(self) -> None:
        """What is said now arrives, these bytes, in this order, and nothing else."""
        bodies = []
        for _ in range(BODIES_PER_CHECK):
            body = self.speaking.body()
            await self.speaking.say(body)
            bodies.append(body)
        await self.speaking.close_window()
        seen: list[Any] = []
        while not seen or seen[-1][0] != "sealed window":
            message = await self.viewer.receive()
            if message[0] != "nonce" and message[1] not in self.others:
                seen.append(message)
        assert [m[:3] for m in seen[:-1]] == [
            ["sample", self.speaking.strand, body] for body in bodies
        ]


@pytest.fixture(scope="module")
def quiet_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCity]:
    """The seeded rooms without the scripted citizens: only the bystanders speak."""
    services = "registry,sanctuary,ingest,fanout,gateway"
    state = tmp_path_factory.mktemp("quiet") / "state"
    with running_city(state, "--services", services) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bystanders(quiet_city: RunningCity) -> AsyncIterator[Bystanders]:
    found = await Bystanders.settle(quiet_city.websocket_url)
    yield found
    await found.viewer.close()
    await found.speaking.wire.close()


@pytest.fixture
def url(quiet_city: RunningCity) -> str:
    return quiet_city.websocket_url


def ids(rows: tuple[Any, ...]) -> dict[str, Any]:
    return {"argvalues": rows, "ids": [row[0] for row in rows]}


async def refusal(wire: Wire, *names: str) -> str:
    """The reason of the next refusal; the session must still answer afterwards."""
    answer = await wire.wait_for("refused", *names)
    reason = answer[2] if answer[0] == "refused" else answer[4]
    await wire.send(["time?", 1])
    await wire.wait_for("time")
    return str(reason)


@pytest.mark.parametrize("row", **ids(bad_input.FRAMES))
async def test_a_bad_frame_is_refused_by_name(url: str, bystanders: Bystanders, row: Any) -> None:
    _, raw, reason = row
    wire = await Person("frames").welcome(url)
    await wire.socket.send(raw)
    assert await refusal(wire) == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.FIRST_FRAMES))
async def test_what_is_no_token_ends_the_socket(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make, code = row
    wire = await Wire.connect(url)
    await wire.socket.send(make(Person("first frames"), wire))
    assert (await wire.wait_closed()).code == CloseCode[code]
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.TOKENS))
async def test_a_bad_token_ends_the_socket(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make = row
    wire = await Wire.connect(url)
    await wire.send(["token", make(Person("tokens"), wire)])
    closed = await wire.wait_closed()
    assert (closed.code, closed.reason) == (CloseCode.BAD_TOKEN, "bad token")
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.INCEPTIONS))
async def test_a_bad_inception_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, reason = row
    person = Person(f"inception {name}")
    wire = await Wire.connect(url)
    await wire.send(["token", person.token(wire)])
    await wire.wait_for("welcome")
    await wire.send(["enrol", 9, person.sign(wire, "inception", make(person), person.identity)])
    assert await refusal(wire, "enrolled") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.JOINS))
async def test_a_bad_join_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make, reason = row
    person = Person("joins")
    wire = await person.welcome(url)
    record = person.sign(wire, "join", make(person, wire))
    await wire.send(["join", 9, HERE, record, []])
    assert await refusal(wire, "joined") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.OPENINGS))
async def test_a_bad_opening_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make, reason = row
    person = Person("openings")
    wire = await person.welcome(url)
    place = await person.seat(wire, HERE)
    payload = person.opening(place, **make(person, place))
    await wire.send(["open", 9, HERE, person.sign(wire, "opening", payload)])
    assert await refusal(wire, "opened") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.BODIES))
async def test_a_bad_body_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, reason = row
    person = Person(f"body {name}")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    await speaking.say(make(speaking))
    assert await refusal(wire, "refused samples") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.SEALS))
async def test_a_bad_seal_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, reason = row
    person = Person(f"seal {name}")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    await speaking.say()
    await wire.send(speaking.sealed_message(speaking.seal(**make(speaking))))
    assert await refusal(wire, "sealed") == reason
    await speaking.close_window()  # the window stays due, and a good seal is taken
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.CONSENTS))
async def test_a_bad_consent_record_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, who, reason = row
    person = Person(f"consent {name}")
    wire = await person.welcome(url)
    record = person.sign(wire, "consent", make(person), bad_input.signer_of(person, who))
    await wire.send(["record", 9, record])
    assert await refusal(wire, "recorded") == reason
    await wire.close()
    await bystanders.check()


async def test_what_belongs_to_somebody_else_is_refused(url: str, bystanders: Bystanders) -> None:
    theirs = bystanders.speaking
    person = Person("intruder")
    wire = await person.welcome(url)
    await wire.send(["samples", HERE, theirs.strand, 0, [theirs.body()]])
    assert await refusal(wire, "refused samples") == "not a member"
    place = await person.seat(wire, HERE)
    await wire.send(["samples", HERE, theirs.strand, 0, [theirs.body()]])
    assert await refusal(wire, "refused samples") == "unknown strand"
    await wire.send(theirs.sealed_message(theirs.seal()))
    assert await refusal(wire, "sealed") == "unknown strand"
    stolen = theirs.person.opening(theirs.place)
    await wire.send(["open", 9, HERE, theirs.person.sign(wire, "opening", stolen)])
    assert await refusal(wire, "opened") == "wrong session"
    mine = person.opening(place)
    await wire.send(["open", 9, HERE, person.sign(wire, "opening", mine, theirs.person.device)])
    assert await refusal(wire, "opened") == "bad signature"
    await wire.send(["chain?", 9, theirs.person.citizen])
    assert await refusal(wire, "chain") == "unknown citizen"
    await wire.send(
        ["join", 9, bytes(16), person.sign(wire, "join", person.join(wire, bytes(16))), []]
    )
    assert await refusal(wire, "joined") == "no such room"
    await wire.close()
    await bystanders.check()


async def test_a_number_is_taken_once_and_a_jump_is_announced(
    url: str, bystanders: Bystanders
) -> None:
    person = Person("numbers")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    body = speaking.body()
    await speaking.say(body)
    await wire.send(["samples", HERE, speaking.strand, 0, [body]])
    assert await refusal(wire, "refused samples") == "repeated"
    await wire.send(["samples", HERE, speaking.strand, 0, [speaking.body(seq=2**32 - 1)]])
    assert await refusal(wire, "refused samples") == "out of range"
    await wire.close()
    await bystanders.check()


async def test_a_flood_is_refused_as_too_fast(url: str, bystanders: Bystanders) -> None:
    person = Person("flood")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    for _ in range(12):
        await speaking.say(*[speaking.body(seq=speaking.seq + i) for i in range(32)])
    answer = await wire.wait_for("refused samples")
    assert answer[4] == "too fast"
    await wire.close()
    await bystanders.check()


async def test_a_second_opening_of_many_is_refused(url: str, bystanders: Bystanders) -> None:
    person = Person("many strands")
    wire = await person.welcome(url)
    place = await person.seat(wire, HERE)
    for _ in range(4):
        await Speaking.open(person, wire, place)
    await wire.send(["open", 9, HERE, person.sign(wire, "opening", person.opening(place))])
    assert await refusal(wire, "opened") == "too many strands"
    await wire.close()
    await bystanders.check()


async def _status(url: str, raw: bytes) -> tuple[str, bytes]:
    """What a bare connection gets for these bytes: the status code, and all that came."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(raw)
    async with asyncio.timeout(30):
        answer = await reader.read(FAR)
    writer.close()
    await writer.wait_closed()
    return answer.split(b" ", 2)[1].decode() if b" " in answer else "closed", answer


@pytest.mark.parametrize("row", **ids(bad_input.HTTP))
async def test_a_bad_request_gets_its_status(url: str, bystanders: Bystanders, row: Any) -> None:
    _, raw, status = row
    code, answer = await _status(url, raw)
    assert code == status
    for word in (b"Traceback", b"Error", b"Exception", b"services/"):
        assert word not in answer
    await bystanders.check()


@pytest.mark.parametrize("row", **ids(bad_input.WEBSOCKET))
async def test_a_bad_websocket_frame_ends_that_socket_alone(
    url: str, bystanders: Bystanders, row: Any
) -> None:
    _, raw, code = row
    wire = await Person("websocket").welcome(url)
    transport = wire.socket.transport
    transport.write(raw)
    assert (await wire.wait_closed()).code == code
    await bystanders.check()


async def test_a_fuzz_run_is_felt_by_nobody(url: str, bystanders: Bystanders) -> None:
    """Seeded: good messages with bytes changed, cut, doubled; each is answered or ends its socket."""
    rng = random.Random(20261122)
    person = Person("fuzz")
    wire = await person.welcome(url)
    place = await person.seat(wire, HERE)
    good = [
        pack([["join", 1, HERE, person.sign(wire, "join", person.join(wire, HERE)), []]]),
        pack([["open", 2, HERE, person.sign(wire, "opening", person.opening(place))]]),
        pack([["samples", HERE, bytes(32), 0, [bytes(range(40))]]]),
        pack(
            [
                [
                    "record",
                    3,
                    person.sign(wire, "consent", person.consent("grant/1", HERE, 0, 3, 0, None)),
                ]
            ]
        ),
        pack([["time?", 1], ["leave", 3, bytes(16)], ["chain?", 4, person.citizen]]),
        pack([["token", person.token(wire)]]),
    ]
    closes = 0
    for _ in range(FUZZ_FRAMES):
        raw = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(raw))
            match rng.randrange(3):
                case 0:
                    raw[at] = rng.randrange(256)
                case 1:
                    del raw[at:]
                    raw.extend(b"\xc0")
                case _:
                    raw[at:at] = raw[at : at + rng.randrange(1, 40)]
        try:
            await wire.socket.send(bytes(raw))
            await wire.send(["time?", 1])
            await wire.wait_for("time")
        except (ClosedByServerError, websockets.ConnectionClosed):
            closes += 1
            wire = await person.welcome(url)
        if rng.random() < 0.01:
            await bystanders.check()
    await wire.close()
    await bystanders.check()

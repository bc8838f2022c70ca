"""Nothing that a client sends is taken wrongly, answered vaguely, or felt by anybody else: frames and
tokens.

Each row of `bad_input` meets a running city; a bystander's stream is compared byte for byte behind it.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import websockets

from shared.contracts.refusals import CloseCode
from tests.component.bad_input.frames import FIRST_FRAMES, FRAMES, HERE, STAGE, WATCHING
from tests.component.bad_input.http import WEBSOCKET
from tests.component.bad_input.json_frames import JSON_FRAMES
from tests.component.bad_input.tokens import TOKENS
from tests.support.bystanders import Bystanders, refusal, rows
from tests.support.wire import ClosedByServerError, Person, Wire, pack

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
FUZZ_FRAMES = 2000


@pytest.mark.parametrize("row", **rows(FRAMES))
async def test_a_bad_frame_is_refused_by_name(url: str, bystanders: Bystanders, row: Any) -> None:
    _, raw, reason = row
    wire = await Person("frames").welcome(url)
    await wire.socket.send(raw)
    assert await refusal(wire, "refused samples") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(JSON_FRAMES))
async def test_a_bad_text_frame_is_refused_by_name(
    url: str, bystanders: Bystanders, row: Any
) -> None:
    _, text, reason = row
    wire = await Wire.connect_json(url)
    await wire.send({"type": "token", "jwt": Person("text frames").token(wire)})
    await wire.wait_for("welcome")
    await wire.socket.send(text)
    assert await refusal(wire, "refused samples") == reason
    await wire.close()
    await bystanders.check()


async def test_good_messages_around_a_bad_one_are_taken(url: str, bystanders: Bystanders) -> None:
    wire = await Person("frames").welcome(url)
    await wire.socket.send(pack([["time?", 1], ["dance"], ["time?", 2], [], ["time?", 3]]))
    answers = [await wire.receive() for _ in range(5)]
    assert [answer[:2] for answer in answers if answer[0] == "time"] == [
        ["time", number] for number in (1, 2, 3)
    ]
    assert [answer[2] for answer in answers if answer[0] == "refused"] == [
        "unknown kind",
        "malformed",
    ]
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("name", ["MessagePack", "JSON"])
async def test_seventeen_bad_messages_end_the_socket(
    url: str, bystanders: Bystanders, name: str
) -> None:
    """Sixteen are forgiven; the next one is somebody who does not listen."""
    wire = await Person("deaf").welcome(url)
    for _ in range(17):
        await wire.socket.send(b"\xc1" if name == "MessagePack" else b"[{}]")
    assert (await wire.wait_closed()).code == CloseCode.MALFORMED
    refused = [message for message in wire.passed if message[0] == "refused"]
    assert len(refused) >= 16
    await bystanders.check()


async def test_who_goes_on_far_above_the_rate_is_closed(url: str, bystanders: Bystanders) -> None:
    """400 units a second, 1200 at once: above that frames are refused unread; 1200 more of those, and
    the socket is closed.
    """
    wire = await Person("hasty").welcome(url)
    for _ in range(20):
        await wire.send(*[["time?", number] for number in range(64)])
    for number in range(2500):
        await wire.send(["time?", number])
    assert (await wire.wait_closed()).code == CloseCode.TOO_FAST
    refused = [message[2] for message in wire.passed if message[0] == "refused"]
    assert set(refused) == {"too fast"}
    assert len(refused) > 1000
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(FIRST_FRAMES))
async def test_what_is_no_token_ends_the_socket(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make, code = row
    wire = await Wire.connect(url)
    await wire.socket.send(make(Person("first frames"), wire))
    assert (await wire.wait_closed()).code == CloseCode[code]
    await bystanders.check()


async def test_a_frame_of_too_many_tokens_is_not_read(url: str, bystanders: Bystanders) -> None:
    person = Person("crowd of one")
    wire = await Wire.connect(url)
    await wire.send(*[["token", person.token(wire)]] * 65)
    assert (await wire.wait_for("refused", "welcome"))[2] == "oversize"
    await wire.send(["token", person.token(wire)])
    await wire.wait_for("welcome")
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(TOKENS))
async def test_a_bad_token_ends_the_socket(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make = row
    wire = await Wire.connect(url)
    await wire.send(["token", make(Person("tokens"), wire)])
    closed = await wire.wait_closed()
    assert (closed.code, closed.reason) == (CloseCode.BAD_TOKEN, "bad token")
    await bystanders.check()


async def test_a_token_that_nobody_asked_for_is_refused(url: str, bystanders: Bystanders) -> None:
    """The first one used up the nonce of hello, and there is none until the server sends one. The
    session lives on the token that it has.
    """
    person = Person("eager")
    wire = await Wire.connect(url)
    await wire.send(*[["token", person.token(wire)]] * 2)
    await wire.wait_for("welcome")
    assert await refusal(wire) == "bad token"
    await wire.send(["token", "a" * 100])
    assert await refusal(wire) == "bad token"
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(WATCHING))
async def test_who_only_watches_can_say_nothing(url: str, bystanders: Bystanders, row: Any) -> None:
    _, message, reason = row
    wire = await Wire.connect(f"{url}?watch={STAGE.hex()}")
    await wire.send(message)
    assert await refusal(wire) == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(WEBSOCKET))
async def test_a_bad_websocket_frame_ends_that_socket_alone(
    url: str, bystanders: Bystanders, row: Any
) -> None:
    _, raw, code = row
    wire = await Person("websocket").welcome(url)
    transport = wire.socket.transport
    transport.write(raw)
    assert (await wire.wait_closed()).code == code
    await bystanders.check()


async def test_a_binary_frame_ends_a_json_socket(url: str, bystanders: Bystanders) -> None:
    wire = await Wire.connect_json(url)
    await wire.socket.send(pack([["time?", 1]]))
    assert (await wire.wait_closed()).code == CloseCode.MALFORMED
    await bystanders.check()


async def test_a_fuzz_run_is_felt_by_nobody(url: str, bystanders: Bystanders) -> None:
    """Seeded: good messages with bytes changed, cut, doubled; each is answered or ends its socket."""
    rng = random.Random(20261122)
    person = Person("fuzz")
    wire = await person.welcome(url)
    place = await person.seat(wire, HERE)
    grant = person.consent("grant/1", HERE, 0, 3, 0, None)
    good = [
        pack([["join", 1, HERE, person.sign(wire, "join", person.join(wire, HERE)), []]]),
        pack([["open", 2, HERE, person.sign(wire, "opening", person.opening(place))]]),
        pack([["samples", HERE, bytes(32), 0, [bytes(range(40))]]]),
        pack([["record", 3, person.sign(wire, "consent", grant)]]),
        pack([["time?", 1], ["leave", 3, bytes(16)], ["chain?", 4, person.citizen]]),
        pack([["token", person.token(wire)]]),
    ]
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
            await wire.ask_time()
        except (ClosedByServerError, websockets.ConnectionClosed):
            wire = await person.welcome(url)
        if rng.random() < 0.01:
            await bystanders.check()
    await wire.close()
    await bystanders.check()

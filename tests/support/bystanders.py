"""Two people who must notice nothing of what others send: one speaks, one looks, byte for byte.

Whoever opens strands beside them ends them (`Speaking.end`): more than the room's `close_limit` of open
ones would part its people, and a strand outlives its socket for 10 s.

The fixture `bystanders` seats them once a module in `quiet_city`, where nobody else speaks. Tests that
use it run in the module's loop: `pytest.mark.asyncio(loop_scope="module")`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.city import RunningCity, running_city
from tests.support.wire import Person, Speaking, Wire, sanctuary_id

HERE = sanctuary_id("emotive-commons")
BODIES_PER_CHECK = 3


class Bystanders:
    """A speaker and a viewer of the same room."""

    def __init__(self, speaking: Speaking, viewer: Wire, others: set[bytes]) -> None:
        self.speaking = speaking
        self.viewer = viewer
        self.others = others
        """Strands that were there before: the city's own probe may have left one open."""

    @classmethod
    async def settle(cls, url: str, name: str) -> Bystanders:
        """`name`: theirs alone, in a city that lives on."""
        viewer_person, speaker = Person(f"{name} who looks"), Person(f"{name} who speaks")
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

    async def leave(self) -> None:
        await self.viewer.close()
        await self.speaking.wire.close()


@pytest.fixture(scope="session")
def quiet_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCity]:
    """The seeded rooms without the scripted citizens: only who is in a test speaks. What is not public
    says so after a second, not two.
    """
    services = "registry,sanctuary,ingest,fanout,gateway"
    state = tmp_path_factory.mktemp("quiet") / "state"
    with running_city(state, "--services", services, SYNCHRONIA_GATEWAY_WATCH_S="1") as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bystanders(
    quiet_city: RunningCity, request: pytest.FixtureRequest
) -> AsyncIterator[Bystanders]:
    found = await Bystanders.settle(quiet_city.websocket_url, request.module.__name__)
    yield found
    await found.leave()


@pytest.fixture
def url(quiet_city: RunningCity) -> str:
    return quiet_city.websocket_url


def rows(table: tuple[Any, ...]) -> dict[str, Any]:
    """Of a table whose rows begin with a name: the arguments of `pytest.mark.parametrize`."""
    names = [row[0] for row in table]
    assert len(dict.fromkeys(names)) == len(names), "two rows of one name"
    return {"argvalues": table, "ids": names}


async def refusal(wire: Wire, *names: str) -> str:
    """The reason of the next refusal, if none of `names` comes first; the session must still answer
    afterwards.
    """
    answer = await wire.wait_for("refused", *names)
    told = answer[1] if isinstance(answer[1], dict) else None
    if told is not None:
        reason = told.get("reason")
    else:
        reason = answer[2] if answer[0] == "refused" else answer[4]
    await wire.ask_time()
    return str(reason)

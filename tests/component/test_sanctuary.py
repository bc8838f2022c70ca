"""Sanctuary as a process beside a registry, on a real broker: seats outlast its kill -9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shared.bus import Bus
from shared.codec import decode, sha256
from shared.contracts import (
    Answers,
    EnrolAsk,
    Enrolled,
    FanoutControl,
    GatewayBeat,
    GatewayControl,
    JoinAsk,
    Joined,
    JoinsWanted,
    MemberBatch,
    RecordAnswered,
    Refused,
    RegistryControl,
    SanctuaryControl,
    SeatAnswered,
    Signed,
    StateAsk,
    StatePage,
)
from shared.identifiers import SLOTS, sanctuary_of_slug, slot_of
from shared.replica import MembersReplica, RoomStood, SessionJoined, SessionLeft, SlotCompleted
from shared.runtime.clock import monotonic_ns, wall_ms
from shared.subjects import Ask, ask, back, control, member
from tests.support.broker import Broker, wait_until
from tests.support.person import Person
from tests.support.service_process import ServiceProcess, service_process

pytestmark = pytest.mark.timeout(60)

GATEWAY = "gateway-0"
COMMONS, STAGE = sanctuary_of_slug("emotive-commons"), sanctuary_of_slug("open-stage")
T = TypeVar("T")
WITHIN_S = 20.0
"""Wide: the machine may be busy with other tests."""


class Gateway:
    """Beats, joins, keeps what it was given, and presents it again when it is wanted."""

    def __init__(self, bus: Bus, control_bus: Bus) -> None:
        self.bus = bus
        self.control = control_bus
        self.answers: list[Answers | SeatAnswered] = []
        self.kept: dict[tuple[bytes, bytes], tuple[Person, Signed]] = {}
        self.presented = 0
        self.beats = True
        self._ref = 0
        self._beat()

    @classmethod
    async def on(cls, broker: Broker) -> Gateway:
        gateway = cls(await broker.bus(GATEWAY), await broker.bus(GATEWAY))
        kinds = Answers | SeatAnswered | RecordAnswered
        await gateway.bus.subscribe(
            back(GATEWAY), kinds, lambda _, event, __: gateway.answers.append(event)
        )
        controls = SanctuaryControl | RegistryControl | GatewayControl | FanoutControl
        await gateway.control.subscribe(control("*"), controls, gateway._hear)
        await gateway.bus.flush()
        await gateway.control.flush()
        return gateway

    def _beat(self) -> None:
        if self.beats:
            self.control.publish(control(GATEWAY), GatewayBeat(GATEWAY, 1, 0))
        asyncio.get_running_loop().call_later(0.25, self._beat)

    def _hear(self, _: str, event: Any, __: str | None) -> None:
        if isinstance(event, JoinsWanted):
            for (session, sanctuary), (person, record) in self.kept.items():
                self.presented += 1
                self._ask(person, session, sanctuary, record, again=True)

    async def _until(
        self, send: Callable[[], None], answered: Callable[[], T | None], what: str
    ) -> T:
        """Send every 500 ms, as a client does, until there is an answer: the bus may lose either."""
        loop = asyncio.get_running_loop()
        again_at = loop.time()

        def asked() -> bool:
            nonlocal again_at
            if loop.time() >= again_at:
                again_at = loop.time() + 0.5
                send()
            return answered() is not None

        await wait_until(asked, what, within_s=WITHIN_S)
        found = answered()
        assert found is not None
        return found

    def _ask(
        self, person: Person, session: bytes, sanctuary: bytes, record: Signed, *, again: bool
    ) -> int:
        self._ref += 1
        event = JoinAsk(
            GATEWAY,
            1,
            session,
            person.device.public_key,
            self._ref,
            sanctuary,
            record,
            again,
        )
        self.bus.publish(ask("sanctuary", slot_of(sanctuary)), event)
        return self._ref

    async def enrol(self, person: Person) -> None:
        self._ref += 1
        event = EnrolAsk(GATEWAY, bytes(16), self._ref, person.inception())

        def answered() -> Enrolled | None:
            messages = [
                decode(bytes(a.entries[0].message), Enrolled)
                for a in self.answers
                if isinstance(a, Answers)
            ]
            return next((m for m in messages if m.ref == event.ref), None)

        found = await self._until(
            lambda: self.bus.publish(ask("registry"), event), answered, "enrolled"
        )
        person.citizen = found.citizen

    async def join(self, person: Person, sanctuary: bytes = COMMONS) -> SeatAnswered:
        session = sha256(person.citizen + sanctuary)[:16]
        record = person.join(sanctuary, session, wall_ms())
        refs: list[int] = []

        def answered() -> SeatAnswered | None:
            seats = [a for a in self.answers if isinstance(a, SeatAnswered) and a.ref in refs]
            return seats[0] if seats else None

        found = await self._until(
            lambda: refs.append(self._ask(person, session, sanctuary, record, again=False)),
            answered,
            "an answer to the join",
        )
        if found.seated:
            self.kept[session, sanctuary] = (person, record)
        return found


class Reader:
    """What ingest and fanout hold of membership, and everything that changed in it."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.replica = MembersReplica(range(SLOTS))
        self.changes: list[Any] = []
        self._ask()

    @classmethod
    async def on(cls, broker: Broker) -> Reader:
        reader = cls(await broker.bus("fanout-0"))
        await reader.bus.subscribe(member("*"), MemberBatch, reader._receive)  # type: ignore[arg-type]
        await reader.bus.flush()
        return reader

    def _receive(self, _: str, batch: MemberBatch, __: str | None) -> None:
        self.changes += self.replica.receive(batch, monotonic_ns())

    def _ask(self) -> None:
        for asked in self.replica.asks(monotonic_ns()):
            self.bus.ask(asked, self._answered)
        asyncio.get_running_loop().call_later(0.05, self._ask)

    def _answered(self, asked: Ask, answer: Any) -> None:
        self.changes += self.replica.answered(asked, answer, monotonic_ns())

    async def wait(self, condition: Callable[[], object], what: str) -> None:
        await wait_until(condition, what, within_s=WITHIN_S)

    def citizens(self, sanctuary: bytes = COMMONS) -> list[bytes]:
        return list(self.replica.citizens(sanctuary))

    def is_complete(self) -> bool:
        return all(self.replica.complete(slot) for slot in range(SLOTS))


class City:
    """A registry and a sanctuary, a gateway and a reader."""

    def __init__(
        self, sanctuary: ServiceProcess, gateway: Gateway, reader: Reader, city: bytes
    ) -> None:
        self.sanctuary = sanctuary
        self.gateway = gateway
        self.reader = reader
        self.city = city

    async def person(self, name: str) -> Person:
        person = Person(name, self.city)
        await self.gateway.enrol(person)
        return person


@pytest.fixture
async def city(broker: Broker, tmp_path: Path) -> AsyncIterator[City]:
    state = tmp_path / "state"
    reader = await Reader.on(broker)
    gateway = await Gateway.on(broker)
    async with (
        service_process("registry", broker, state) as _,
        service_process("sanctuary", broker, state) as sanctuary,
    ):
        await reader.wait(reader.is_complete, "every slot is complete")
        pages: list[StatePage] = []
        asked = Ask(ask("registry"), StateAsk(None, consent=False), StatePage)
        reader.bus.ask(asked, lambda _, page: pages.append(page))
        await reader.wait(lambda: pages, "the charter")
        yield City(sanctuary, gateway, reader, sha256(pages[0].charter.payload))


async def test_the_seeded_rooms_stand_and_a_join_right_after_enrolment_is_seated(
    city: City,
) -> None:
    ada = await city.person("ada")
    answer = await city.gateway.join(ada)
    joined = decode(answer.message, Joined)
    assert joined.policy_hash == sha256(joined.policy)
    await city.reader.wait(lambda: city.reader.citizens() == [ada.citizen], "ada is a member")
    room = city.reader.replica.room(COMMONS)
    assert room is not None
    assert (room.policy.name, room.policy_hash) == ("Emotive Commons", joined.policy_hash)
    stage = city.reader.replica.room(STAGE)
    assert stage is not None
    assert stage.policy.public


async def test_seats_outlast_kill_9_without_anybody_leaving(city: City) -> None:
    people = [await city.person(name) for name in ("ada", "ben", "cleo")]
    for person in people:
        await city.gateway.join(person)
    await city.reader.wait(lambda: len(city.reader.citizens()) == 3, "three members")
    epoch = {c.epoch for c in city.reader.changes if isinstance(c, SlotCompleted)}
    city.reader.changes.clear()
    await city.sanctuary.kill()
    await city.sanctuary.start()
    await city.reader.wait(
        lambda: len([c for c in city.reader.changes if isinstance(c, SlotCompleted)]) >= SLOTS,
        "the new epoch is complete in every slot",
    )
    assert city.gateway.presented >= 3
    assert {c.epoch for c in city.reader.changes if isinstance(c, SlotCompleted)} != epoch
    assert not [
        c for c in city.reader.changes if isinstance(c, SessionLeft | SessionJoined | RoomStood)
    ]
    assert sorted(city.reader.citizens()) == sorted(person.citizen for person in people)
    await city.gateway.join(await city.person("dara"))
    await city.reader.wait(lambda: len(city.reader.citizens()) == 4, "a fourth member")


async def test_a_sanctuary_that_stood_still_unseats_nobody(city: City) -> None:
    ada = await city.person("ada")
    await city.gateway.join(ada)
    await city.reader.wait(lambda: city.reader.citizens(), "ada is a member")
    city.reader.changes.clear()
    began = monotonic_ns()
    city.sanctuary.stop()
    await wait_until(lambda: monotonic_ns() - began > 4e9, "four seconds", within_s=WITHIN_S)
    city.sanctuary.go_on()
    await city.gateway.join(await city.person("ben"))
    await city.reader.wait(lambda: len(city.reader.citizens()) == 2, "ben is a member too")
    assert not [c for c in city.reader.changes if isinstance(c, SessionLeft)]


async def test_the_sessions_of_a_silent_gateway_leave_and_come_back_with_it(city: City) -> None:
    ada = await city.person("ada")
    await city.gateway.join(ada)
    await city.reader.wait(lambda: city.reader.citizens(), "ada is a member")
    city.gateway.beats = False
    await city.reader.wait(lambda: not city.reader.citizens(), "ada left with her gateway")
    city.gateway.beats = True
    await city.reader.wait(lambda: city.reader.citizens() == [ada.citizen], "ada is back")


async def test_members_survive_a_killed_broker(broker: Broker, city: City) -> None:
    ada = await city.person("ada")
    await city.gateway.join(ada)
    await city.reader.wait(lambda: city.reader.citizens(), "ada is a member")
    city.reader.changes.clear()
    await broker.restart()
    answer = await city.gateway.join(await city.person("ben"))
    assert answer.seated
    await city.reader.wait(lambda: len(city.reader.citizens()) == 2, "ben is a member too")
    assert not [c for c in city.reader.changes if isinstance(c, SessionLeft)]


async def test_an_unknown_room_is_refused(city: City) -> None:
    answer = await city.gateway.join(await city.person("ada"), bytes(16))
    assert not answer.seated
    assert decode(answer.message, Refused).reason == "no such room"


async def test_seeds_that_cannot_be_used_stop_the_start(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "sanctuaries.toml"
    path.write_text('[[sanctuary]]\nname = "x"\n')
    environment = {"SYNCHRONIA_SANCTUARY_SANCTUARIES_PATH": str(path)}
    async with service_process("sanctuary", broker, tmp_path, **environment) as process:
        assert await process.wait() == 1
        assert any("sanctuaries.toml" in line and "kind" in line for line in process.lines)

"""The registry as a process on a real broker: what it acknowledged is there whatever kills it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.registry.genesis import read_charter
from shared.bus import Bus
from shared.codec import decode, sha256
from shared.contracts import (
    Answers,
    Chain,
    ChainAsk,
    ConsentForwarded,
    ConsentRecorded,
    EnrolAsk,
    Enrolled,
    GatewayControl,
    Identity,
    IdentityRecorded,
    RecordAnswered,
    Recorded,
    RegistryControl,
    Signed,
    StateAsk,
    StatePage,
    Tier,
)
from shared.runtime.clock import wall_ms
from shared.runtime.runner import REFUSED
from shared.subjects import Ask, ask, back, control
from tests.support.broker import Broker, wait_until
from tests.support.person import Person
from tests.support.service_process import ServiceProcess, service_process

pytestmark = pytest.mark.timeout(60)

GATEWAY, SESSION = "gateway-0", b"s" * 16
WITHIN_S = 20.0
"""Wide: the machine may be busy with other tests."""


class Gateway:
    """What a gateway is to the registry: it asks, forwards, repeats, and takes the answers."""

    def __init__(self, bus: Bus, control_bus: Bus) -> None:
        self.bus = bus
        self.control = control_bus
        self.answers: list[Answers | RecordAnswered] = []
        self.told: list[RegistryControl] = []
        self._ref = 0

    @classmethod
    async def on(cls, broker: Broker) -> Gateway:
        gateway = cls(await broker.bus(GATEWAY), await broker.bus(GATEWAY))
        await gateway.bus.subscribe(
            back(GATEWAY), Answers | RecordAnswered, lambda _, e, __: gateway.answers.append(e)
        )
        await gateway.control.subscribe(
            control("*"), RegistryControl | GatewayControl, gateway._hear
        )
        await gateway.bus.flush()
        await gateway.control.flush()
        return gateway

    def _hear(self, subject: str, event: Any, _: str | None) -> None:
        if subject == control("registry-0"):
            self.told.append(event)

    async def until(self, send: Callable[[], None], condition: Callable[[], Any], what: str) -> Any:
        """Repeat `send` every 250 ms until `condition` gives something."""
        for _ in range(int(WITHIN_S * 4)):
            send()
            try:
                async with asyncio.timeout(0.25):
                    await wait_until(condition, what, within_s=WITHIN_S)
                return condition()
            except TimeoutError:
                continue
        return pytest.fail(f"not within {WITHIN_S} s: {what}")

    def _answer(self, ref: int, kind: type[Any]) -> Any:
        for answer in self.answers:
            payload = (
                answer.message
                if isinstance(answer, RecordAnswered)
                else bytes(answer.entries[0].message)
            )
            message = decode(payload, Enrolled | Recorded | Chain)  # type: ignore[arg-type]
            if message.ref == ref:
                assert isinstance(message, kind)
                return message
        return None

    async def enrol(self, person: Person) -> bytes:
        self._ref += 1
        event = EnrolAsk(GATEWAY, SESSION, self._ref, person.inception())
        found: Enrolled = await self.until(
            lambda: self.bus.publish(ask("registry"), event),
            lambda: self._answer(event.ref, Enrolled),
            "enrolled",
        )
        person.citizen = found.citizen
        return found.citizen

    def forward(self, record: Signed) -> int:
        self._ref += 1
        event = ConsentForwarded(GATEWAY, 1, self._ref, SESSION, self._ref, record)
        self.control.publish(control(GATEWAY), event)
        return self._ref

    async def record(self, record: Signed) -> Recorded:
        refs: list[int] = []

        def answered() -> Recorded | None:
            return next((a for ref in refs if (a := self._answer(ref, Recorded))), None)

        found: Recorded = await self.until(
            lambda: refs.append(self.forward(record)), answered, "recorded"
        )
        assert found.head == sha256(record.payload)
        return found

    async def chain(self, person: Person) -> Chain:
        self._ref += 1
        event = ChainAsk(GATEWAY, SESSION, person.device.public_key, self._ref, person.citizen)
        found: Chain = await self.until(
            lambda: self.bus.publish(ask("registry"), event),
            lambda: self._answer(event.ref, Chain),
            "the chain",
        )
        return found

    async def state(self, bus: Bus) -> StatePage:
        pages: list[StatePage] = []
        page: StatePage = await self.until(
            lambda: bus.ask(
                Ask(ask("registry"), StateAsk(None, consent=True), StatePage),
                lambda _, page: pages.append(page),
            ),
            lambda: pages[0] if pages else None,
            "a page of the state",
        )
        return page


@pytest.fixture
async def registry(broker: Broker, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    async with service_process("registry", broker, tmp_path / "state") as process:
        yield process


@pytest.fixture
async def gateway(broker: Broker) -> Gateway:
    return await Gateway.on(broker)


async def charter_of(broker: Broker, gateway: Gateway) -> StatePage:
    return await gateway.state(await broker.bus("fanout-0"))


async def test_a_city_is_founded_once_and_survives_kill_9(
    broker: Broker, registry: ServiceProcess, gateway: Gateway
) -> None:
    first = await charter_of(broker, gateway)
    assert read_charter(first.charter).name == "Synchronia"
    ada = Person("ada", sha256(first.charter.payload))
    await gateway.enrol(ada)
    grant = ada.grant(Tier.FULL, wall_ms())
    recorded = await gateway.record(grant)
    await registry.kill()
    await registry.start()
    page = await charter_of(broker, gateway)
    assert page.charter == first.charter
    assert page.epoch > first.epoch
    (identity,) = page.identities
    assert identity == ada.known_as(ada.citizen)
    (state,) = page.states
    assert (state.counter, state.head) == (1, recorded.head)
    assert await gateway.enrol(Person("ada", ada.city)) == ada.citizen
    assert (await gateway.chain(ada)).records == (grant,)
    assert await registry.drain() == 0


async def stored(broker: Broker, stream: str) -> list[bytes]:
    bus = await broker.bus("registry-0")
    return [content async for _, _, content in bus.read_stream(stream)]


async def test_kill_9_between_append_and_answer_gives_the_same_answer_to_a_repeat(
    broker: Broker, registry: ServiceProcess, gateway: Gateway
) -> None:
    """The kill falls as soon as the stream holds the record, before or after its answer."""
    ada = Person("ada", sha256((await charter_of(broker, gateway)).charter.payload))
    await gateway.enrol(ada)
    reader = await broker.bus("registry-0")
    records = []
    for number in range(1, 4):
        records.append(
            ada.grant(Tier.FULL if number % 2 else Tier.COARSE, wall_ms(), until_ms=2**52)
        )
        gateway.forward(records[-1])
        held = 0
        async with asyncio.timeout(WITHIN_S):
            while held < number:
                held = len([0 async for _ in reader.read_stream("consent")])
        await registry.kill()
        await registry.start()
        recorded = await gateway.record(records[-1])
        assert recorded.counter == number
    assert (await gateway.chain(ada)).records == tuple(records)
    assert len(await stored(broker, "consent")) == len(records)


async def test_a_record_outlasts_a_broker_that_was_killed(
    broker: Broker, registry: ServiceProcess, gateway: Gateway
) -> None:
    ada = Person("ada", sha256((await charter_of(broker, gateway)).charter.payload))
    await gateway.enrol(ada)
    await broker.restart()
    grant, withdrawal = ada.grant(Tier.FULL, wall_ms()), ada.withdrawal(wall_ms())
    await gateway.record(grant)
    await gateway.record(withdrawal)
    assert (await gateway.chain(ada)).records == (grant, withdrawal)


async def test_a_replicas_messages_are_numbered_without_holes(
    broker: Broker, registry: ServiceProcess, gateway: Gateway
) -> None:
    city = sha256((await charter_of(broker, gateway)).charter.payload)
    people = [Person(f"person {number}", city) for number in range(20)]
    await asyncio.gather(*(gateway.enrol(person) for person in people))
    await asyncio.gather(*(gateway.record(person.grant(Tier.FULL, wall_ms())) for person in people))
    told = [e for e in gateway.told if isinstance(e, IdentityRecorded | ConsentRecorded)]
    assert [event.number for event in told] == list(range(1, 41))
    known: dict[bytes, Identity] = {
        e.identity.citizen: e.identity for e in told if isinstance(e, IdentityRecorded)
    }
    assert known == {p.citizen: p.known_as(p.citizen) for p in people}


async def test_nothing_that_names_a_person_lies_in_the_clear(
    broker: Broker, registry: ServiceProcess, gateway: Gateway, tmp_path: Path
) -> None:
    ada = Person("ada", sha256((await charter_of(broker, gateway)).charter.payload))
    await gateway.enrol(ada)
    await gateway.record(ada.grant(Tier.FULL, wall_ms()))
    contents = await stored(broker, "identity") + await stored(broker, "consent")
    assert len(contents) == 2
    for content in contents:
        for secret in (ada.identity.public_key, ada.device.public_key, ada.citizen):
            assert secret not in content
    await registry.drain()
    said = "\n".join(registry.lines)
    assert ada.citizen.hex() not in said
    for key in (tmp_path / "state").rglob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600


async def test_records_that_cannot_be_read_stop_the_start_with_a_clear_line(
    broker: Broker, registry: ServiceProcess, gateway: Gateway, tmp_path: Path
) -> None:
    ada = Person("ada", sha256((await charter_of(broker, gateway)).charter.payload))
    await gateway.enrol(ada)
    await registry.kill()
    (key,) = (tmp_path / "state" / "wrapping").glob("*.key")
    kept = key.read_bytes()
    key.unlink()
    await registry.start()
    assert await registry.wait() == REFUSED
    assert any("cannot serve" in line and f"{key} is missing" in line for line in registry.lines)
    key.write_bytes(bytes(32))
    registry.lines.clear()
    await registry.start()
    assert await registry.wait() == REFUSED
    assert any("stream identity, message 1" in line for line in registry.lines)
    assert ada.citizen.hex() not in "\n".join(registry.lines)
    key.write_bytes(kept)
    await registry.start()
    assert await gateway.enrol(ada) == ada.citizen


async def test_a_charter_that_cannot_be_used_stops_the_start(
    broker: Broker, tmp_path: Path
) -> None:
    path = tmp_path / "charter.toml"
    path.write_text("name = 1\n")
    environment = {"SYNCHRONIA_REGISTRY_CHARTER_PATH": str(path)}
    async with service_process("registry", broker, tmp_path / "state", **environment) as process:
        assert await process.wait() == REFUSED
        assert any("charter.toml" in line and "$.name" in line for line in process.lines)
    assert not await stored(broker, "charter")

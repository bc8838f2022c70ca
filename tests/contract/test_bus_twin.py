"""One suite of laws, on the twin and on the real broker: a simulation is only as good as its bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus import Bus
from shared.bus.twin import Faults, TwinBus, matches
from shared.contracts import GatewayBeat
from tests.support.broker import Broker, running_broker, wait_until

Heard = tuple[str, str, int]
"""receiver, subject, number."""


class World(Protocol):
    heard: list[Heard]

    async def subscribe(self, receiver: str, pattern: str, queue: str | None = None) -> None: ...
    async def unsubscribe(self, receiver: str, pattern: str) -> None: ...
    async def publish(self, sender: str, subject: str, number: int) -> None: ...
    async def settle(self, condition: Callable[[], object], what: str) -> None: ...
    async def cut_all(self) -> None: ...
    async def heal_all(self) -> None: ...


class TwinWorld:
    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.bus = TwinBus(Random(7), Faults(delay_ms_min=0, delay_ms_max=50))
        self.now = 0
        self.known: dict[str, None] = {}

    async def subscribe(self, receiver: str, pattern: str, queue: str | None = None) -> None:
        self.known[receiver] = None
        self.bus.subscribe(receiver, pattern, queue)

    async def unsubscribe(self, receiver: str, pattern: str) -> None:
        self.bus.unsubscribe(receiver, pattern)

    async def publish(self, sender: str, subject: str, number: int) -> None:
        self.known[sender] = None
        self.now += 1000
        self.bus.publish(sender, subject, GatewayBeat("gateway-0", 0, number), self.now)

    async def settle(self, condition: Callable[[], object], what: str) -> None:
        while (due := self.bus.next_due()) is not None:
            self.now = max(self.now, due)
            self.heard += [(d.receiver, d.subject, d.event.number) for d in self.bus.due(self.now)]
        assert condition(), what

    async def cut_all(self) -> None:
        for instance in self.known:
            self.bus.cut(instance)

    async def heal_all(self) -> None:
        for instance in self.known:
            self.bus.heal(instance)


class BrokerWorld:
    def __init__(self, broker: Broker) -> None:
        self.heard: list[Heard] = []
        self.broker = broker
        self.buses: dict[str, Bus] = {}
        self.interests: dict[tuple[str, str], object] = {}

    async def bus(self, instance: str) -> Bus:
        if instance not in self.buses:
            self.buses[instance] = await self.broker.bus(instance)
        return self.buses[instance]

    async def subscribe(self, receiver: str, pattern: str, queue: str | None = None) -> None:
        bus = await self.bus(receiver)

        def heard(subject: str, event: GatewayBeat, _: str | None) -> None:
            self.heard.append((receiver, subject, event.number))

        subscription = await bus.subscribe(pattern, GatewayBeat, heard, queue=queue)
        self.interests[receiver, pattern] = subscription.close
        await bus.flush()

    async def unsubscribe(self, receiver: str, pattern: str) -> None:
        await self.interests.pop((receiver, pattern))()  # type: ignore[operator]
        await self.buses[receiver].flush()

    async def publish(self, sender: str, subject: str, number: int) -> None:
        (await self.bus(sender)).publish(subject, GatewayBeat("gateway-0", 0, number))

    async def settle(self, condition: Callable[[], object], what: str) -> None:
        for bus in self.buses.values():
            await bus.flush()
        await wait_until(condition, what)
        for bus in self.buses.values():
            assert await bus.round_trip()

    async def cut_all(self) -> None:
        await self.broker.kill()
        await wait_until(
            lambda: not any(bus.is_connected for bus in self.buses.values()), "all are cut off"
        )

    async def heal_all(self) -> None:
        again: list[None] = []
        for bus in self.buses.values():
            bus.on_reconnect.append(lambda: again.append(None))
        await self.broker.start_again()
        await wait_until(lambda: len(again) == len(self.buses), "all are back")


@pytest.fixture(params=["twin", "broker"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "twin":
        yield TwinWorld()
        return
    async with running_broker(tmp_path / "broker") as broker:
        yield BrokerWorld(broker)


async def test_everyone_whose_pattern_matches_hears_it_once(world: World) -> None:
    await world.subscribe("fanout-0", "control.*")
    await world.subscribe("fanout-1", "control.gateway-0")
    await world.subscribe("gateway-1", "control.gateway-1")
    await world.publish("gateway-0", "control.gateway-0", 1)
    await world.settle(lambda: len(world.heard) >= 2, "two hear it")
    assert sorted(world.heard) == [
        ("fanout-0", "control.gateway-0", 1),
        ("fanout-1", "control.gateway-0", 1),
    ]


async def test_one_senders_messages_on_one_subject_keep_their_order(world: World) -> None:
    await world.subscribe("fanout-0", "interest.*")
    for number in range(200):
        await world.publish("gateway-0", f"interest.{number % 3}", number)
    await world.settle(lambda: len(world.heard) >= 200, "all arrived")
    assert len(world.heard) == 200
    for slot in range(3):
        numbers = [number for _, subject, number in world.heard if subject == f"interest.{slot}"]
        assert numbers == list(range(slot, 200, 3))


async def test_a_sender_hears_itself(world: World) -> None:
    await world.subscribe("gateway-0", "control.*")
    await world.publish("gateway-0", "control.gateway-0", 5)
    await world.settle(lambda: world.heard, "its echo")
    assert world.heard == [("gateway-0", "control.gateway-0", 5)]


async def test_a_queue_group_hears_each_message_once(world: World) -> None:
    await world.subscribe("ingest-0", "up.*", "ingest")
    await world.subscribe("ingest-1", "up.3", "ingest")
    for number in range(100):
        await world.publish("gateway-0", "up.3", number)
    await world.settle(lambda: len(world.heard) >= 100, "all arrived")
    assert sorted(number for *_, number in world.heard) == list(range(100))
    assert {receiver for receiver, *_ in world.heard} == {"ingest-0", "ingest-1"}


async def test_who_subscribes_later_does_not_hear_what_was_before(world: World) -> None:
    await world.subscribe("fanout-1", "control.*")
    await world.publish("gateway-0", "control.gateway-0", 1)
    await world.settle(lambda: world.heard, "the first")
    await world.subscribe("fanout-0", "control.*")
    await world.unsubscribe("fanout-1", "control.*")
    await world.publish("gateway-0", "control.gateway-0", 2)
    await world.settle(lambda: len(world.heard) >= 2, "the second")
    assert world.heard == [
        ("fanout-1", "control.gateway-0", 1),
        ("fanout-0", "control.gateway-0", 2),
    ]


async def test_what_is_sent_while_cut_off_is_lost_and_interest_is_kept(world: World) -> None:
    await world.subscribe("fanout-0", "control.*")
    await world.publish("gateway-0", "control.gateway-0", 1)
    await world.settle(lambda: world.heard, "the first")
    await world.cut_all()
    await world.publish("gateway-0", "control.gateway-0", 2)
    await world.heal_all()
    await world.publish("gateway-0", "control.gateway-0", 3)
    await world.settle(lambda: len(world.heard) >= 2, "the third")
    assert [number for *_, number in world.heard] == [1, 3]


# ── of the twin alone: its faults ────────────────────────────────────────────────────────────────


def run_twin(faults: Faults, seed: int = 3, count: int = 500) -> list[int]:
    bus = TwinBus(Random(seed), faults)
    bus.subscribe("b", "x.>")
    heard: list[int] = []
    for number in range(count):
        bus.publish("a", "x.y", number, number * 100_000)
        heard += [delivery.event for delivery in bus.due(number * 100_000)]
    heard += [delivery.event for delivery in bus.due(10**12)]
    return heard


def test_faults_do_what_they_say() -> None:
    everything = list(range(500))
    assert run_twin(Faults(delay_ms_max=20)) == everything
    lossy = run_twin(Faults(loss=0.2))
    assert 350 < len(lossy) < 450
    assert lossy == sorted(lossy)
    repeated = run_twin(Faults(repeat=0.2))
    assert len(repeated) > 550
    assert sorted({*repeated}) == everything
    disordered = run_twin(Faults(disorder=0.2, delay_ms_max=20))
    assert disordered != everything
    assert sorted(disordered) == everything


def test_the_same_seed_gives_the_same_run() -> None:
    faults = Faults(loss=0.1, repeat=0.1, disorder=0.1, delay_ms_max=20)
    assert run_twin(faults, seed=4) == run_twin(faults, seed=4)
    assert run_twin(faults, seed=4) != run_twin(faults, seed=5)


def test_a_crash_loses_what_flies_to_it() -> None:
    bus = TwinBus(Random(1))
    bus.subscribe("b", "x")
    bus.publish("a", "x", 1, 0, reply="_INBOX.a.1")
    bus.forget("b")
    bus.subscribe("b", "x")
    bus.publish("a", "x", 2, 0, reply="_INBOX.a.2")
    assert [(d.event, d.reply) for d in bus.due(10**9)] == [(2, "_INBOX.a.2")]
    assert bus.lost == 1
    assert bus.next_due() is None


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b.c", "a.b", False),
    ],
)
def test_wildcards(pattern: str, subject: str, *, expected: bool) -> None:
    assert matches(pattern, subject) is expected


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), st.data())
def test_replacing_tokens_by_stars_still_matches(tokens: list[str], data: st.DataObject) -> None:
    pattern = [data.draw(st.sampled_from((token, "*"))) for token in tokens]
    assert matches(".".join(pattern), ".".join(tokens))
    assert matches(".".join([*pattern[:-1], ">"]), ".".join(tokens))

"""ingest as a process on a real broker; its neighbours are played by instances with their own keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from shared import subjects
from shared.bus import Bus
from shared.codec import decode, encode
from shared.contracts import (
    Admitted,
    Answers,
    Challenge,
    MemberBatch,
    MemberJoined,
    Members,
    MembersAsk,
    NumbersSkipped,
    Open,
    Opened,
    Openings,
    OpeningsAsk,
    Refusal,
    RefusedSamples,
    RegistryBeat,
    RoomOpened,
    Samples,
    Sealed,
    SealWindow,
    SigBatch,
    StateAsk,
    StatePage,
    StrandClosed,
    UpBatch,
    UpEntry,
)
from shared.identifiers import WallMs
from shared.runtime.clock import pause, wall_ms
from tests.support.broker import Broker, wait_until
from tests.support.ingest_city import CHARTER, ROOM, SERVER_MESSAGE, SLOT, Speaker, body, policy
from tests.support.service_process import ServiceProcess, service_process

pytestmark = pytest.mark.timeout(60)

MUST_S = 20.0
"""Laws are asserted with a wide deadline: the machine is shared."""
BEAT_S = 0.1
M = TypeVar("M")


class Neighbours:
    """registry, sanctuary, one gateway with one speaker, and a fanout that listens."""

    def __init__(self, buses: dict[str, Bus]) -> None:
        self.buses = buses
        self.speaker = Speaker(1)
        self.policy_bytes = encode(policy())
        self.told: list[Any] = []
        self.batches: list[SigBatch] = []
        self.challenge = b""
        self.number = -1
        self.refs = 0

    @classmethod
    async def on(cls, broker: Broker) -> Neighbours:
        names = ("registry-0", "sanctuary-0", "gateway-0", "fanout-0")
        self = cls({name: await broker.bus(name) for name in names})
        registry, sanctuary, gateway, fanout = self.buses.values()
        await registry.subscribe("ask.registry.0", StateAsk, self._answer_registry)
        await sanctuary.subscribe("ask.sanctuary.*", MembersAsk, self._answer_members)
        await gateway.subscribe(subjects.back("gateway-0"), Answers, self._hear)
        await fanout.subscribe(f"sig.*.{SLOT}", SigBatch, self._follow)
        for bus in self.buses.values():
            await bus.flush()
        return self

    def _answer_registry(self, _: str, __: StateAsk, reply: str | None) -> None:
        assert reply is not None
        page = StatePage(1, 0, CHARTER, (self.speaker.identity(),), (), None)
        self.buses["registry-0"].publish(reply, page)

    def _answer_members(self, _: str, ask: MembersAsk, reply: str | None) -> None:
        assert reply is not None
        is_ours = ask.slot == SLOT
        rooms = (RoomOpened(ROOM, self.policy_bytes),) if is_ours else ()
        members: tuple[MemberJoined, ...] = (self.speaker.member(),) if is_ours else ()
        state = Members(ask.slot, 1, 0, complete=True, rooms=rooms, members=members)
        self.buses["sanctuary-0"].publish(reply, state)

    def _hear(self, _: str, answers: Answers, __: str | None) -> None:
        for answer in answers.entries:
            message = decode(answer.message, SERVER_MESSAGE)
            if isinstance(message, Challenge):
                self.challenge = message.challenge
            self.told.append(message)

    def _follow(self, _: str, batch: SigBatch, __: str | None) -> None:
        self.batches.append(batch)

    async def beat(self) -> None:
        while True:
            beat = RegistryBeat("registry-0", 1, 0)
            self.buses["registry-0"].publish(subjects.control("registry-0"), beat)
            await pause(BEAT_S)

    # what the gateway and its client do

    def up(self, *messages: msgspec.Struct) -> None:
        self.number += 1
        speaker = self.speaker
        entries = tuple(
            UpEntry(speaker.session, speaker.device.public_key, msgspec.Raw(encode(message)))
            for message in messages
        )
        batch = UpBatch("gateway-0", speaker.incarnation, SLOT, self.number, entries)
        self.buses["gateway-0"].publish(subjects.up(SLOT), batch)

    async def hear(self, kind: type[M], *, after: int = 0) -> M:
        def heard() -> list[M]:
            return [message for message in self.told[after:] if isinstance(message, kind)]

        await wait_until(heard, f"a {kind.__name__}", within_s=MUST_S)
        return heard()[0]

    async def open(self) -> None:
        self.refs += 1
        after = len(self.told)
        record = self.speaker.opening(self, challenge=self.challenge)
        self.up(Open(self.refs, ROOM, record))
        self.speaker.strand = (await self.hear(Opened, after=after)).strand
        self.speaker.window, self.speaker.sealed = 0, 0
        self.speaker.previous, self.speaker.bodies = bytes(32), []

    @property
    def now_ms(self) -> int:
        return wall_ms()

    def say(self, count: int) -> None:
        first = len(self.speaker.bodies)
        bodies = tuple(body(first + i, self.now_ms) for i in range(count))
        self.speaker.bodies += bodies
        self.up(Samples(ROOM, self.speaker.strand, 0, bodies))

    async def seal(self, count: int) -> Sealed:
        after = len(self.told)
        record = self.speaker.seal(self, count)
        self.up(SealWindow(ROOM, self.speaker.strand, record))
        sealed = await self.hear(Sealed, after=after)
        self.speaker.took(record)
        return sealed

    # what the fanout sees

    def seen(self, kind: type[M]) -> list[M]:
        return [e for batch in self.batches for e in batch.entries if isinstance(e, kind)]

    async def openings(self, epoch: int = -1) -> Openings:
        subject = subjects.ask(subjects.INGEST, SLOT)
        ask = OpeningsAsk(SLOT, epoch)
        answer = await self.buses["fanout-0"].request(subject, ask, Openings, timeout_s=MUST_S)
        assert isinstance(answer, Openings)
        return answer


@asynccontextmanager
async def city(broker: Broker, state: Path) -> AsyncIterator[tuple[Neighbours, ServiceProcess]]:
    neighbours = await Neighbours.on(broker)
    beats = asyncio.get_running_loop().create_task(neighbours.beat())
    try:
        async with service_process("ingest", broker, state) as ingest:
            await neighbours.hear(Challenge)
            yield neighbours, ingest
    finally:
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)


async def wait_out_unsealed() -> None:
    """The law is about this time: a strand may stay unsealed for 3 s from a window's first sample."""
    until_ms = wall_ms() + 3500
    await wait_until(lambda: wall_ms() > until_ms, "3.5 s have passed", within_s=10.0)


async def test_what_is_said_is_admitted_sealed_and_published(
    broker: Broker, tmp_path: Path
) -> None:
    async with city(broker, tmp_path) as (neighbours, ingest):
        await neighbours.open()
        neighbours.say(5)
        await wait_until(lambda: len(neighbours.seen(Admitted)) == 5, "5 samples", within_s=MUST_S)
        assert [e.body for e in neighbours.seen(Admitted)] == neighbours.speaker.bodies
        assert (await neighbours.seal(5)).admitted == (0, 1, 2, 3, 4)
        neighbours.up(Samples(ROOM, neighbours.speaker.strand, 0, (body(3, 0),)))
        refused = await neighbours.hear(RefusedSamples)
        assert (refused.first, refused.reason) == (3, Refusal.REPEATED)
        assert await ingest.drain() == 0


async def test_openings_and_later_batches_agree_while_samples_flow(
    broker: Broker, tmp_path: Path
) -> None:
    async with city(broker, tmp_path) as (neighbours, _):
        await neighbours.open()
        answers: list[Openings] = []
        for _ in range(20):
            neighbours.say(3)
            answers.append(await neighbours.openings())
            neighbours.say(2)
            await neighbours.seal(5)
        total = len(neighbours.speaker.bodies)
        await wait_until(
            lambda: len(neighbours.seen(Admitted)) == total, "every sample", within_s=MUST_S
        )
        by_number = {batch.number: batch for batch in neighbours.batches}
        assert sorted(by_number) == list(range(len(by_number)))
        for answer in answers:
            (strand,) = answer.strands
            later = [
                entry.seq
                for number in range(answer.numbers["commons"] + 1, len(by_number))
                for entry in by_number[number].entries
                if isinstance(entry, Admitted)
            ]
            assert later == list(range(strand.next_seq, total))
        assert neighbours.seen(NumbersSkipped) == []


async def test_after_kill_9_a_new_owner_says_reopen_under_a_new_challenge_and_a_higher_epoch(
    broker: Broker, tmp_path: Path
) -> None:
    async with city(broker, tmp_path) as (neighbours, ingest):
        await neighbours.open()
        neighbours.say(3)
        before = (await neighbours.openings()).epoch
        old_strand, old_challenge = neighbours.speaker.strand, neighbours.challenge
        after = len(neighbours.told)
        await ingest.kill()
        killed_ms = wall_ms()
        await ingest.start()
        challenge = await neighbours.hear(Challenge, after=after)
        print(f"reopen {wall_ms() - killed_ms} ms after the start")
        assert challenge.reopen
        assert challenge.challenge != old_challenge
        neighbours.up(Samples(ROOM, old_strand, 0, (body(3, neighbours.now_ms),)))
        refused = await neighbours.hear(RefusedSamples, after=after)
        assert (refused.strand, refused.reason) == (old_strand, Refusal.UNKNOWN_STRAND)
        await neighbours.open()
        neighbours.say(1)
        answer = await neighbours.openings()
        assert answer.epoch > before
        assert [strand.strand for strand in answer.strands] == [neighbours.speaker.strand]
        assert neighbours.speaker.strand != old_strand


async def test_a_stopped_process_takes_nobody_for_silent_when_it_goes_on(
    broker: Broker, tmp_path: Path
) -> None:
    async with city(broker, tmp_path) as (neighbours, ingest):
        await neighbours.open()
        neighbours.say(3)
        await wait_until(lambda: len(neighbours.seen(Admitted)) == 3, "3 samples", within_s=MUST_S)
        ingest.stop()
        record = neighbours.speaker.seal(neighbours, 3)
        neighbours.up(SealWindow(ROOM, neighbours.speaker.strand, record))
        await neighbours.buses["gateway-0"].flush()
        await wait_out_unsealed()
        after = len(neighbours.told)
        ingest.go_on()
        assert (await neighbours.hear(Sealed, after=after)).admitted == (0, 1, 2)
        assert neighbours.seen(StrandClosed) == []


async def test_a_broker_that_was_away_costs_no_strand(broker: Broker, tmp_path: Path) -> None:
    async with city(broker, tmp_path) as (neighbours, _):
        await neighbours.open()
        neighbours.say(3)
        await wait_until(lambda: len(neighbours.seen(Admitted)) == 3, "3 samples", within_s=MUST_S)
        await broker.kill()
        await wait_out_unsealed()
        await broker.start_again()
        after = len(neighbours.told)

        record = neighbours.speaker.seal(neighbours, 3)
        again_ms = wall_ms()

        def sealed() -> list[Sealed]:
            """Sends it each 100 ms until then: core NATS keeps nothing for who is away."""
            nonlocal again_ms
            if wall_ms() >= again_ms:
                again_ms = WallMs(wall_ms() + 100)
                neighbours.up(SealWindow(ROOM, neighbours.speaker.strand, record))
            return [message for message in neighbours.told[after:] if isinstance(message, Sealed)]

        await wait_until(sealed, "the seal's answer", within_s=MUST_S)
        assert sealed()[0].admitted == (0, 1, 2)
        assert neighbours.seen(StrandClosed) == []


async def test_an_owner_that_hears_of_a_higher_epoch_ends_itself(
    broker: Broker, tmp_path: Path
) -> None:
    async with city(broker, tmp_path) as (neighbours, ingest):
        answer = await neighbours.openings()
        neighbours.buses["fanout-0"].publish(
            subjects.ask(subjects.INGEST, SLOT), OpeningsAsk(SLOT, answer.epoch + 1)
        )
        async with asyncio.timeout(MUST_S):
            assert await ingest.wait() == 1


async def test_a_member_who_joins_later_is_challenged_without_reopen(
    broker: Broker, tmp_path: Path
) -> None:
    async with city(broker, tmp_path) as (neighbours, _):
        after = len(neighbours.told)
        other = Speaker(1, session=9)
        batch = MemberBatch(SLOT, 1, 1, complete=True, events=(other.member(),))
        neighbours.buses["sanctuary-0"].publish(subjects.member(SLOT), batch)
        assert not (await neighbours.hear(Challenge, after=after)).reopen

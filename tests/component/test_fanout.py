"""fanout as a process on a real broker; the others are played by instances with their own keys."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared import subjects
from shared.bus import Bus
from shared.contracts import (
    ConsentActed,
    EdgeBatch,
    FanoutControl,
    FeedWindow,
    MembersAsk,
    OpeningsAsk,
    SampleShown,
    Skipped,
    StateAsk,
    StrandShown,
    Struck,
    Tier,
)
from shared.identifiers import WallMs, slot_of
from shared.runtime.clock import pause, wall_ms
from shared.subjects import Ask
from tests.support.broker import Broker, wait_until
from tests.support.fanout_stage import Gate, Stage, Viewer, Voice

BEAT_S = 0.1
MUST_S = 10.0
"""Laws are asserted with a wide deadline: the machine is shared."""


class LiveStage(Stage):
    """The script of the unit tests' stage, on real connections and real clocks."""

    def __init__(self, buses: dict[str, Bus], replies: asyncio.Event) -> None:
        super().__init__()
        self._buses = buses
        self._changed = replies

    @property
    def now_ms(self) -> WallMs:
        return wall_ms()

    @now_ms.setter
    def now_ms(self, _: WallMs) -> None:
        pass

    def receive(self, subject: str, event: Any) -> None:
        match subject.split("."):
            case ["control", sender]:
                bus = self._buses[sender]
            case ["member", _]:
                bus = self._buses["sanctuary-0"]
            case ["sig", _, _]:
                bus = self._buses["ingest-0"]
            case ["interest", _] | ["ask", "fanout", _]:
                bus = self._buses[event.gateway]
            case other:
                raise AssertionError(other)
        bus.publish(subject, event)

    def flush(self) -> None:
        pass

    def hear(self, subject: str, event: Any, _: str | None) -> None:
        self.route(subject, event)

    def asked_for(self, bus: Bus, kind: type) -> Callable[[str, Any, str | None], None]:
        def receive(subject: str, event: Any, reply: str | None) -> None:
            answer = self.answer_to(Ask(subject, event, kind))
            if reply is not None and answer is not None:
                bus.publish(reply, answer)

        return receive


@asynccontextmanager
async def live(broker: Broker, *gateways: str) -> AsyncIterator[LiveStage]:
    names = ("registry-0", "sanctuary-0", "ingest-0", *gateways)
    buses = {name: await broker.bus(name) for name in names}
    stage = LiveStage(buses, asyncio.Event())
    for name, subject, kind in (
        ("registry-0", subjects.ask(subjects.REGISTRY), StateAsk),
        ("sanctuary-0", "ask.sanctuary.*", MembersAsk),
        ("ingest-0", "ask.ingest.*", OpeningsAsk),
    ):
        await buses[name].subscribe(subject, kind, stage.asked_for(buses[name], kind))
    await buses["sanctuary-0"].subscribe("field.*", FeedWindow, stage.hear)
    for gateway in gateways:
        stage.gates[gateway] = Gate(stage, gateway, 7)
        await buses[gateway].subscribe(subjects.edge(gateway), EdgeBatch, stage.hear)
        await buses[gateway].subscribe(subjects.back(gateway), ConsentActed, stage.hear)
    await buses[gateways[0]].subscribe("control.*", FanoutControl, stage.hear)

    async def beat() -> None:
        while True:
            stage.beat()
            await pause(BEAT_S)

    task = asyncio.get_running_loop().create_task(beat())
    try:
        yield stage
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def fanout(broker: Broker, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.fanout", "--nats", broker.url),
        *("--keys", str(broker.keys_dir), "--state", str(tmp_path)),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


class Scene:
    """Ada, who is granted to all and about to speak; Ben, who looks through every gateway."""

    def __init__(self, stage: LiveStage) -> None:
        self.stage = stage
        self.sanctuary = stage.room()
        self.ada, self.ben = stage.citizen("ada"), stage.citizen("ben")
        stage.record(self.ada, self.ada.grant(Tier.FULL))
        self.viewers: list[Viewer] = []
        self.voice: Voice

    @property
    def gate(self) -> Gate:
        return self.stage.gates["gateway-0"]

    @property
    def viewer(self) -> Viewer:
        return self.viewers[0]

    async def begin(self) -> None:
        await self.wait_certain()
        self.viewers = [
            self.stage.join(self.ben, self.sanctuary, gate) for gate in self.stage.gates.values()
        ]
        await self.wait(lambda: all(v.is_in for v in self.viewers), "the viewers have entered")
        self.voice = self.stage.voice(self.ada, self.sanctuary)

    async def wait(self, condition: Callable[[], object], what: str) -> None:
        await wait_until(condition, what, within_s=MUST_S)

    async def wait_certain(self, after: int = 0) -> None:
        """Until a fanout says that it is, later than the first `after` words."""
        words = self.stage.words_heard
        await self.wait(
            lambda: any(getattr(word, "certain", False) for word in words[after:]),
            "fanout is certain",
        )

    async def wait_samples(self, count: int) -> None:
        await self.wait(
            lambda: all(len(v.of(SampleShown)) == count for v in self.viewers), f"{count} samples"
        )


@pytest.mark.timeout(60)
async def test_a_sample_reaches_its_audience_and_a_withdrawal_ends_it(
    broker: Broker, tmp_path: Path
) -> None:
    async with live(broker, "gateway-0") as stage, fanout(broker, tmp_path) as process:
        scene = Scene(stage)
        await scene.begin()
        scene.voice.speak(2)
        scene.voice.seal_window()
        await scene.wait_samples(2)
        await scene.wait(lambda: stage.fed, "the field is fed")
        scene.gate.forward(scene.ada.withdraw())
        await scene.wait(lambda: scene.gate.acted, "acted")
        scene.voice.speak(2)
        scene.gate.forward(scene.ada.withdraw(), ref=2)
        await scene.wait(lambda: len(scene.gate.acted) == 2, "acted again")
        assert scene.viewer.log[-1] == Struck(scene.sanctuary, scene.ada.id, None)
        assert len(scene.viewer.of(SampleShown)) == 2
        process.terminate()
        assert await process.wait() == 0


@pytest.mark.timeout(60)
async def test_after_kill_9_a_successor_serves_within_two_seconds_under_a_higher_epoch(
    broker: Broker, tmp_path: Path
) -> None:
    async with live(broker, "gateway-0", "gateway-1") as stage:
        scene = Scene(stage)
        async with fanout(broker, tmp_path) as first:
            await scene.begin()
            scene.voice.speak(2)
            await scene.wait_samples(2)
            os.kill(first.pid, signal.SIGKILL)
            await first.wait()
        scene.voice.speak(2)  # nobody hears these; the snapshot says where the strand is
        loop = asyncio.get_running_loop()
        began = loop.time()
        heard = len(stage.words_heard)
        async with fanout(broker, tmp_path):
            await scene.wait_certain(heard)
            await scene.wait(
                lambda: all(len(v.of(StrandShown)) == 2 for v in scene.viewers), "snapshots"
            )
            print(f"the successor showed its snapshots after {loop.time() - began:.2f} s")
            scene.voice.speak()
            await scene.wait_samples(3)
            for viewer in scene.viewers:
                assert viewer.of(Skipped) == []
                assert viewer.screen.strands[scene.voice.strand].next_seq == 5
            slot = slot_of(scene.sanctuary)
            epochs = [batch.epoch for batch in scene.gate.batches if batch.slot == slot]
            assert len(set(epochs)) == 2
            assert epochs == sorted(epochs)


@pytest.mark.timeout(60)
async def test_the_broker_restarts_and_the_room_goes_on_afresh(
    broker: Broker, tmp_path: Path
) -> None:
    async with live(broker, "gateway-0") as stage, fanout(broker, tmp_path) as process:
        scene = Scene(stage)
        await scene.begin()
        scene.voice.speak()
        await scene.wait_samples(1)
        await broker.restart()
        await scene.wait_certain(len(stage.words_heard))

        def speaks() -> bool:
            scene.voice.speak()
            last = scene.viewer.of(SampleShown)[-1:]
            return bool(last) and last[0].body != first_body

        first_body = scene.viewer.of(SampleShown)[-1].body
        await scene.wait(speaks, "samples flow again")
        assert process.returncode is None


@pytest.mark.timeout(60)
async def test_what_waited_in_the_sockets_of_a_stopped_process_is_not_older_than_a_withdrawal(
    broker: Broker, tmp_path: Path
) -> None:
    async with live(broker, "gateway-0") as stage, fanout(broker, tmp_path) as process:
        scene = Scene(stage)
        await scene.begin()
        scene.voice.speak()
        await scene.wait_samples(1)
        process.send_signal(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        stopped = loop.time()
        scene.voice.speak(20)
        scene.gate.forward(scene.ada.withdraw())
        await scene.wait(lambda: loop.time() - stopped > 1.5, "it stood still")
        process.send_signal(signal.SIGCONT)
        await scene.wait(lambda: scene.gate.acted, "acted")
        await scene.wait(lambda: scene.viewer.is_in, "the viewer is in again")
        assert len(scene.viewer.of(SampleShown)) == 1
        assert scene.viewer.screen.strands == {}
        assert not scene.gate.fenced

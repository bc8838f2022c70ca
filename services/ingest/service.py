"""What ingest does: subscribes, hands to the core, carries out what it returned."""

from __future__ import annotations

import asyncio
from typing import Any

from services.ingest.core import Core
from services.ingest.metrics import IngestCollector
from services.ingest.settings import IngestSettings
from shared import subjects
from shared.contracts import (
    ChallengeAsk,
    MemberBatch,
    OpeningsAsk,
    RegistryControl,
    UpBatch,
)
from shared.identifiers import slots_of
from shared.runtime.clock import monotonic_ns, wall_ms
from shared.runtime.runner import Runtime
from shared.runtime.wheel import Wheel
from shared.subjects import Ask

_CHALLENGE_BYTES = 16
_DRAIN_S_MAX = 1.0


class IngestService:
    """One process's slots."""

    def __init__(self, runtime: Runtime, core: Core, slots: tuple[int, ...]) -> None:
        self.core = core
        self._runtime = runtime
        self._slots = slots
        self._wheel: Wheel | None = None
        self._loop = asyncio.get_running_loop()
        self._is_flush_wanted = False
        self._is_ready = False

    async def start(self) -> None:
        """Answers and state first, the uplink last: nobody is refused for what we could know."""
        runtime, bus = self._runtime, self._runtime.bus
        runtime.ready("replicas", False)
        self._wheel = runtime.every("ingest", self.core.next_deadline, self._tick)
        runtime.on_drain("last batches", self._drain, deadline_s=_DRAIN_S_MAX)
        registry = subjects.control(f"{subjects.REGISTRY}-0")
        asks = OpeningsAsk | ChallengeAsk
        await runtime.control.subscribe(registry, RegistryControl, self._receive)
        for slot in self._slots:
            await bus.subscribe(subjects.member(slot), MemberBatch, self._receive)
            await bus.subscribe(subjects.ask(subjects.INGEST, slot), asks, self._receive)
        self._carry_out(self.core.start(monotonic_ns(), wall_ms()))
        for slot in self._slots:
            await bus.subscribe(subjects.up(slot), UpBatch, self._receive, queue=subjects.INGEST)

    def _receive(self, subject: str, event: Any, reply: str | None) -> None:
        effects = self.core.receive(subject, event, monotonic_ns(), wall_ms())
        self._carry_out(effects, reply)

    def _answered(self, ask: Ask, event: Any) -> None:
        self._carry_out(self.core.answered(ask, event, monotonic_ns(), wall_ms()))

    def _tick(self) -> None:
        if not self._runtime.bus.is_connected:
            self.core.path_broken(monotonic_ns())
        self._carry_out(self.core.tick(monotonic_ns(), wall_ms()))

    def _carry_out(self, effects: Any, reply: str | None = None) -> None:
        self._runtime.bus.carry_out(effects, reply=reply, on_answer=self._answered)
        if not self._is_flush_wanted:
            self._is_flush_wanted = True
            # behind everything that this turn of the loop has read
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_wanted = False
        self._runtime.bus.carry_out(self.core.flush(monotonic_ns(), wall_ms()))
        if self._wheel is not None:
            self._wheel.nudge()
        if self.core.is_ready != self._is_ready:
            self._is_ready = self.core.is_ready
            self._runtime.ready("replicas", self._is_ready)

    async def _drain(self) -> None:
        self._flush()
        await self._runtime.bus.flush()


async def start(runtime: Runtime) -> None:
    """Take the slots' epochs, make the core, subscribe."""
    settings: IngestSettings = runtime.settings
    slots = slots_of(runtime.ordinal, runtime.replicas)
    epochs = await runtime.bus.take_epochs(subjects.EPOCHS[subjects.INGEST], slots)
    core = Core(
        runtime.instance,
        settings,
        epochs=epochs,
        challenge=runtime.random_bytes(_CHALLENGE_BYTES),
    )
    IngestCollector(core, runtime.registry)
    await IngestService(runtime, core, slots).start()

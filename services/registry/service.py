"""The registry at work: rebuild from the streams, subscribe, append, tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, assert_never

from services.registry.core import Append, Effect
from services.registry.metrics import RegistryMetrics
from services.registry.rebuild import Rebuilt, rebuild
from shared import subjects
from shared.bus import BusError, WrongSequence
from shared.contracts import (
    ChainAsk,
    EnrolAsk,
    FanoutControl,
    GatewayControl,
    RegistryControl,
    SanctuaryControl,
    StateAsk,
)
from shared.runtime.clock import monotonic_ns, pause, wall_ms
from shared.runtime.runner import Runtime

LANES = 8
"""Appends on their way at once; one citizen's always take the same lane, in order."""
ATTEMPT_S_MAX = 2.0
"""An append is repeated after this long: the broker may have been restarted meanwhile. The expected
sequence makes the repeat harmless."""


async def start(runtime: Runtime) -> None:
    """The runner's `start`: returns when the registry serves."""
    rebuilt = await rebuild(runtime)
    RegistryMetrics(runtime.registry, rebuilt.core)
    await Service(runtime, rebuilt).start()


class Service:
    """One registry process."""

    def __init__(self, runtime: Runtime, rebuilt: Rebuilt) -> None:
        self._runtime = runtime
        self._core = rebuilt.core
        self._store = rebuilt.store
        self._sequences = rebuilt.sequences
        """Subject → its last stream sequence: nobody else may have written meanwhile."""
        self._lanes: list[asyncio.Queue[Append]] = [asyncio.Queue() for _ in range(LANES)]
        self._written = asyncio.Event()

    async def start(self) -> None:
        runtime = self._runtime
        for number, lane in enumerate(self._lanes):
            runtime.supervise(f"append lane {number}", self._write(lane))
        started = self._core.start(monotonic_ns(), wall_ms())
        self._wheel = runtime.every("registry", self._core.next_deadline, self._tick)
        asks = EnrolAsk | ChainAsk | StateAsk
        control = GatewayControl | FanoutControl | SanctuaryControl | RegistryControl
        await runtime.bus.subscribe(subjects.ask(subjects.REGISTRY), asks, self._receive)
        await runtime.control.subscribe(subjects.control("*"), control, self._receive)
        runtime.on_drain("durable", self._wait_durable, deadline_s=2.0)
        # the first beat makes everybody ask: only once there is somebody to answer
        await runtime.bus.flush()
        await runtime.control.flush()
        self._carry_out(started)

    def _receive(self, subject: str, event: Any, reply: str | None) -> None:
        effects = self._core.receive(subject, event, monotonic_ns(), wall_ms())
        self._carry_out(effects, reply)
        self._wheel.nudge()

    def _tick(self) -> None:
        self._carry_out(self._core.tick(monotonic_ns(), wall_ms()))

    def _carry_out(self, effects: Iterable[Effect], reply: str | None = None) -> None:
        for effect in effects:
            match effect:
                case Append():
                    # bounded by the core: what is on its way of one citizen, and enrolments by rate
                    self._lanes[int(effect.subject[-2:], 16) % LANES].put_nowait(effect)
                case subjects.Publish(subject, event):
                    is_control = subject.startswith("control.")
                    bus = self._runtime.control if is_control else self._runtime.bus
                    bus.publish(subject, event)
                case subjects.Reply(event):
                    if reply is not None:
                        self._runtime.bus.publish(reply, event)
                case _:
                    assert_never(effect)

    async def _write(self, lane: asyncio.Queue[Append]) -> None:
        while True:
            append = await lane.get()
            content = self._store.seal(append.subject, append.number, append.payload, wall_ms())
            self._sequences[append.subject] = await self._append(append.subject, content)
            self._carry_out(self._core.appended(append.token, monotonic_ns(), wall_ms()))
            self._wheel.nudge()
            self._written.set()

    async def _append(self, subject: str, content: bytes) -> int:
        """Until it is durable. Raises: WrongSequence (an attempt without answer was stored after
        all, or somebody else writes: the streams say which, at the next start); TimeoutError.
        """
        expected = self._sequences.get(subject, 0)
        async with asyncio.timeout(self._runtime.settings.append_s_max):
            while True:
                try:
                    async with asyncio.timeout(ATTEMPT_S_MAX):
                        return await self._runtime.bus.append(
                            subject, content, expected_last_subject_seq=expected
                        )
                except WrongSequence:
                    raise
                except (BusError, TimeoutError) as error:
                    self._runtime.log.warning("append unanswered", error=type(error).__name__)
                    await pause(0.1)

    async def _wait_durable(self) -> None:
        while self._core.in_flight:
            self._written.clear()
            await self._written.wait()

"""fanout at work: subscribes, hands each event to the core, sends what the core has prepared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from services.fanout.core import Router
from services.fanout.metrics import FanoutMetrics
from shared import subjects
from shared.contracts import (
    FanoutControl,
    GatewayControl,
    Interest,
    Kind,
    MemberBatch,
    RegistryControl,
    SanctuaryControl,
    SigBatch,
    SnapshotAsk,
)
from shared.identifiers import slots_of
from shared.runtime.clock import monotonic_ns, wall_ms
from shared.runtime.runner import Runtime
from shared.subjects import Ask, Publish, Reply

_NS_PER_S = 1_000_000_000


async def start(runtime: Runtime) -> None:
    """The runner's `start`: takes an epoch for each slot, then listens."""
    slots = slots_of(runtime.ordinal, runtime.replicas)
    epochs = await runtime.bus.take_epochs(subjects.EPOCHS[subjects.FANOUT], slots)
    core = Router(
        instance=runtime.instance,
        ordinal=runtime.ordinal,
        replicas=runtime.replicas,
        epochs=epochs,
        random_bytes=runtime.random_bytes,
    )
    FanoutMetrics(runtime.registry, core)
    await Service(runtime, core).start()


class Service:
    """One fanout process."""

    def __init__(self, runtime: Runtime, core: Router) -> None:
        self._runtime = runtime
        self._core = core
        self._flush_is_due = False
        self._may_have_changed = True
        """Readiness and deadlines, since they were last looked at: samples change neither."""
        self._rested_until_ns = 0
        self._turn_began_ns = 0

    async def start(self) -> None:
        runtime, core = self._runtime, self._core
        runtime.ready("certain", False)
        # control first: what was withdrawn must be known before anything could be shown
        control = GatewayControl | RegistryControl | FanoutControl | SanctuaryControl
        await runtime.control.subscribe(subjects.control("*"), control, self._receive)
        for slot in slots_of(runtime.ordinal, runtime.replicas):
            await runtime.bus.subscribe(subjects.member(slot), MemberBatch, self._receive)
            for kind in Kind:
                await runtime.bus.subscribe(subjects.sig(kind, slot), SigBatch, self._receive)
            await runtime.bus.subscribe(subjects.interest(slot), Interest, self._receive)
            await runtime.bus.subscribe(
                subjects.ask(subjects.FANOUT, slot), SnapshotAsk, self._receive
            )
        self._carry_out(core.start(monotonic_ns(), wall_ms()))
        self._wheel = runtime.every("fanout", core.next_deadline, self._tick)

    def _receive(self, subject: str, event: msgspec.Struct, _: str | None) -> None:
        if not self._turn_began_ns:
            self._turn_began_ns = monotonic_ns()
        self._carry_out(self._core.receive(subject, event, monotonic_ns(), wall_ms()))
        self._may_have_changed |= type(event) is not SigBatch
        self._want_flush()

    def _answered(self, ask: Ask, event: Any) -> None:
        self._carry_out(self._core.answered(ask, event, monotonic_ns(), wall_ms()))
        self._may_have_changed = True
        self._want_flush()

    def _tick(self) -> None:
        self._carry_out(self._core.tick(monotonic_ns(), wall_ms()))
        self._may_have_changed = True
        self._want_flush()

    def _want_flush(self) -> None:
        """Once a turn, behind everything that has arrived; later if the last turn was costly."""
        if self._flush_is_due:
            return
        self._flush_is_due = True
        loop = asyncio.get_running_loop()
        wait_ns = self._rested_until_ns - monotonic_ns()
        if wait_ns > 0:
            loop.call_later(wait_ns / _NS_PER_S, self._flush)
        else:
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        for subject, batch in self._core.flush(monotonic_ns(), wall_ms()):
            self._runtime.bus.publish(subject, batch)
        now_ns = monotonic_ns()
        settings = self._runtime.settings
        cost_ns = now_ns - (self._turn_began_ns or now_ns)
        self._turn_began_ns = 0
        rest_ns = min(cost_ns * settings.rest_ratio, settings.rest_ms_max * 1_000_000)
        self._rested_until_ns = now_ns + int(rest_ns)
        if self._may_have_changed:
            self._may_have_changed = False
            self._runtime.ready("certain", self._core.is_certain)
            self._wheel.nudge()

    def _carry_out(self, effects: Iterable[Publish | Ask | Reply]) -> None:
        for effect in effects:
            match effect:
                case Publish(subject, event):
                    is_control = subject.startswith("control.")
                    bus = self._runtime.control if is_control else self._runtime.bus
                    bus.publish(subject, event)
                case Ask():
                    self._runtime.bus.ask(effect, self._answered)
                case Reply():
                    raise AssertionError("fanout answers snapshots in band, nothing else")

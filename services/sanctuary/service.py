"""Sanctuary at work: read the seeds, take the slots, subscribe, tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from services.sanctuary.core import (
    Effect,
    Limits,
    RoomSeed,
    Sanctuary,
    SeedsUnusable,
    read_seeds,
    with_voices,
)
from services.sanctuary.metrics import SanctuaryMetrics
from services.sanctuary.settings import SanctuarySettings
from shared import subjects
from shared.contracts import (
    FanoutControl,
    FollowAsk,
    GatewayControl,
    JoinAsk,
    LeaveAsk,
    MembersAsk,
    RegistryControl,
    SanctuaryControl,
)
from shared.identifiers import slots_of
from shared.runtime.clock import monotonic_ns, wall_ms
from shared.runtime.runner import Runtime


async def start(runtime: Runtime) -> None:
    """The runner's `start`: returns when the slots are taken and everything is subscribed.

    Raises: SeedsUnusable, after logging why.
    """
    settings: SanctuarySettings = runtime.settings
    try:
        seeds = _read(settings.sanctuaries_path, settings.voices)
    except SeedsUnusable as error:
        runtime.log.critical("cannot serve", reason=str(error))
        raise
    slots = slots_of(runtime.ordinal, runtime.replicas)
    core = Sanctuary(
        runtime.instance,
        slots=await runtime.bus.take_epochs(subjects.EPOCHS[subjects.SANCTUARY], slots),
        seeds=seeds,
        limits=Limits(settings.seats_per_slot_max),
    )
    SanctuaryMetrics(runtime.registry, core)
    await Service(runtime, core).start(slots)


def _read(path: Path | None, voices: tuple[str, ...]) -> tuple[RoomSeed, ...]:
    if path is None:
        return ()
    try:
        return with_voices(read_seeds(path.read_text(encoding="utf-8")), voices)
    except OSError as error:
        raise SeedsUnusable(f"{path}: {error.strerror}") from None
    except SeedsUnusable as error:
        raise SeedsUnusable(f"{path}: {error}") from None


class Service:
    """One sanctuary process."""

    def __init__(self, runtime: Runtime, core: Sanctuary) -> None:
        self._runtime = runtime
        self._core = core

    async def start(self, slots: tuple[int, ...]) -> None:
        runtime = self._runtime
        runtime.ready("rooms", self._core.is_open)
        started = self._core.start(monotonic_ns(), wall_ms())
        self._wheel = runtime.every("sanctuary", self._core.next_deadline, self._tick)
        asks = JoinAsk | LeaveAsk | FollowAsk | MembersAsk
        for slot in slots:
            subject = subjects.ask(subjects.SANCTUARY, slot)
            await runtime.bus.subscribe(subject, asks, self._receive)
        control = GatewayControl | FanoutControl | SanctuaryControl | RegistryControl
        await runtime.control.subscribe(subjects.control("*"), control, self._receive)
        # the broker knows of all of it before anybody is asked for kept joins
        await runtime.bus.flush()
        await runtime.control.flush()
        self._carry_out(started)

    def _receive(self, subject: str, event: Any, reply: str | None) -> None:
        self._carry_out(self._core.receive(subject, event, monotonic_ns(), wall_ms()), reply)

    def _answered(self, ask: subjects.Ask, event: Any) -> None:
        self._carry_out(self._core.answered(ask, event, monotonic_ns(), wall_ms()))

    def _tick(self) -> None:
        self._carry_out(self._core.tick(monotonic_ns(), wall_ms()))

    def _carry_out(self, effects: Iterable[Effect], reply: str | None = None) -> None:
        for effect in effects:
            is_control = isinstance(effect, subjects.Publish) and effect.subject.startswith(
                "control."
            )
            bus = self._runtime.control if is_control else self._runtime.bus
            bus.carry_out((effect,), reply=reply, on_answer=self._answered)
        self._runtime.ready("rooms", self._core.is_open)
        self._wheel.nudge()

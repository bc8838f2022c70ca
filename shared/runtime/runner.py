"""The one runner: what every service's process does, and no service does for itself.

uvloop through `asyncio.Runner`; signals; one root task group, in which a task that raises, or
returns, ends the process with status 1; drain steps, the last registered first, each under its own
deadline. A crash skips draining on purpose: recovery must not depend on a farewell.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from shared.bus import Bus, NoBroker
from shared.bus.counts import BusCollector
from shared.identifiers import MonotonicNs
from shared.runtime import health, logs
from shared.runtime.arguments import ProcessSettings, read_arguments
from shared.runtime.clock import pause
from shared.runtime.heartbeat import Heartbeat
from shared.runtime.settings import SettingsRefused, describe, read_settings
from shared.runtime.wheel import Wheel

DRAINED, CRASHED, REFUSED = 0, 1, 2
"""Exit statuses: stopped as asked; a task failed or returned; settings, key, port or what is on the
disk were refused, which another start would not change."""
START_VARIABLE = "SYNCHRONIA_START_FD"
_PROBE_S = 1.0
_PROBES_FAILED_MAX = 2
_BUS_DRAIN_S_MAX = 1.0
_FRAMES_SHOWN = 6
_CANCEL_AGAIN_S = 0.1
_COLLECT_EVERY = (700, 10, 1000)
"""For `gc.set_threshold`. A full collection walks all that there is, and the loop stands still: 130 ms at
ten thousand connections (2026-11-30), and it came with every quarter more of them. Young cycles are
collected as ever; old ones, which the services do not make, wait a hundred times longer."""


class TaskReturned(Exception):  # noqa: N818
    """A supervised task ended although nobody asked it to."""


class CannotServe(Exception):  # noqa: N818  (why the process ends)
    """What a service found at its start cannot be served: a line for the operator, without a citizen."""


@dataclass(frozen=True)
class _DrainStep:
    name: str
    step: Callable[[], Awaitable[None]]
    deadline_s: float


class Runtime:
    """What a service gets from its process. Made by `run`; a component test makes it directly."""

    def __init__(
        self,
        settings: Any,
        process: ProcessSettings,
        *,
        bus: Bus,
        control: Bus,
        registry: CollectorRegistry,
        log: Any,
        group: asyncio.TaskGroup,
        readiness: health.Readiness,
    ) -> None:
        self.settings = settings
        self.process = process
        self.instance = process.instance
        self.ordinal = process.ordinal
        self.replicas = process.replicas
        self.state_dir = process.state_dir
        self.bus = bus
        self.control = control
        """A second connection, for `control.*`: a withdrawal never waits behind samples."""
        self.registry = registry
        self.log = log
        self.random_bytes: Callable[[int], bytes] = os.urandom
        self._group = group
        self._readiness = readiness
        self._steps: list[_DrainStep] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._wheels: list[Wheel] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.supervise("faults", self._wait_failed())

    def supervise(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it until the process ends; raising or returning ends the process with status 1."""
        self._tasks.append(self._group.create_task(_forever(name, coroutine), name=name))

    def every(
        self,
        name: str,
        next_deadline: Callable[[], MonotonicNs | None],
        tick: Callable[[], None],
    ) -> Wheel:
        """A supervised timer that follows `next_deadline`; nudge it after the core's state changed."""
        wheel = Wheel(name, next_deadline, tick, failed=self.fail)
        self._wheels.append(wheel)
        wheel.nudge()
        return wheel

    def on_drain(
        self, name: str, step: Callable[[], Awaitable[None]], *, deadline_s: float
    ) -> None:
        """Do this when the process is asked to stop; the last registered comes first."""
        self._steps.append(_DrainStep(name, step, deadline_s))

    def ready(self, condition: str, is_ready: bool) -> None:  # noqa: FBT001
        """/readyz is 200 while every condition that was ever named is true."""
        if self._readiness.set(condition, is_ready=is_ready):
            self.log.info("readiness", condition=condition, is_ready=is_ready)

    def fail(self, error: BaseException) -> None:
        """End the process with status 1, from where nothing can be raised (callbacks of the loop)."""
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _wait_failed(self) -> None:
        await self._failed

    async def drain(self) -> bool:
        """Whether every step kept its deadline."""
        kept = True
        for step in reversed(self._steps):
            try:
                async with asyncio.timeout(step.deadline_s):
                    await step.step()
            except TimeoutError:
                kept = False
                running = sorted(task.get_name() for task in asyncio.all_tasks())
                self.log.error(  # noqa: TRY400  (the deadline's traceback says nothing)
                    "drain step overran", step=step.name, limit_s=step.deadline_s, running=running
                )
        return kept

    def stop(self) -> None:
        """Cancel what is supervised."""
        for wheel in self._wheels:
            wheel.stop()
        for task in self._tasks:
            task.cancel()


async def _forever(name: str, coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine
    raise TaskReturned(name)


async def _probe(runtime: Runtime) -> None:
    """Readiness `bus`: a message comes back on both connections. nats-py can be dead unnoticed."""
    failed = 0
    while True:
        came_back = [
            await bus.round_trip(timeout_s=_PROBE_S) for bus in (runtime.bus, runtime.control)
        ]
        failed = 0 if all(came_back) else failed + 1
        if failed == 0 or failed >= _PROBES_FAILED_MAX:
            runtime.ready("bus", failed == 0)
        await pause(_PROBE_S)


async def _serve(
    name: str,
    settings: Any,
    process: ProcessSettings,
    start: Callable[[Runtime], Awaitable[None]],
) -> int:
    loop = asyncio.get_running_loop()
    log = logs.configure(name, process.instance)
    registry = CollectorRegistry()
    readiness = health.Readiness()
    readiness.set("started", is_ready=False)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopping)
    log.info("starting", process=describe(process), settings=describe(settings))
    # beats and health come first: waiting for the broker is alive, and not ready
    heartbeat = Heartbeat(process.heartbeat_fd, registry, stopping.set)
    server = await _open_door(process, readiness, registry)
    if server is not None:
        log.info("metrics", port=server.sockets[0].getsockname()[1])

    kept = True
    async with asyncio.TaskGroup() as group:
        stop = group.create_task(_until(stopping), name="until asked to stop")
        begun: list[Runtime] = []
        starting = group.create_task(
            _start(
                start, begun, settings, process, registry, log=log, group=group, readiness=readiness
            ),
            name="start",
        )
        await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            # what a service made at start lives as long as it: the collector need not look again
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_COLLECT_EVERY)
            begun[0].ready("started", True)
        await stop
        while not starting.done():
            # more than once: a cancellation that races with an error of a connection can be lost in
            # asyncio.wait_for (Python 3.11)
            starting.cancel()
            await asyncio.wait((starting,), timeout=_CANCEL_AGAIN_S)
        readiness.set("draining", is_ready=False)
        log.info("draining")
        for runtime in begun:
            kept = await runtime.drain()
            runtime.stop()
    heartbeat.stop()
    if server is not None:
        server.close()
    log.info("stopped", in_time=kept)
    return DRAINED if kept else CRASHED


async def _open_door(
    process: ProcessSettings, readiness: health.Readiness, registry: CollectorRegistry
) -> asyncio.Server | None:
    if process.metrics_port is None:
        return None
    try:
        return await health.serve(process.metrics_host, process.metrics_port, readiness, registry)
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # asyncio wraps the text, not the number
        raise SettingsRefused(
            f"metrics port {process.metrics_port} cannot be used: {reason}"
        ) from None


async def _start(
    start: Callable[[Runtime], Awaitable[None]],
    begun: list[Runtime],
    settings: Any,
    process: ProcessSettings,
    registry: CollectorRegistry,
    *,
    log: Any,
    group: asyncio.TaskGroup,
    readiness: health.Readiness,
) -> None:
    """Connect, then let the service begin; `begun` gets the runtime as soon as it must be drained."""
    collector = BusCollector(registry)
    buses = []
    for connection in ("bus", "control"):
        bus = await Bus.connect(process.instance, process.nats_url, seed=process.seed, log=log)
        collector.add(connection, bus.counts, lambda bus=bus: bus.waiting_bytes)
        buses.append(bus)
    runtime = Runtime(
        settings,
        process,
        bus=buses[0],
        control=buses[1],
        registry=registry,
        log=log,
        group=group,
        readiness=readiness,
    )
    begun.append(runtime)
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: _on_fault(runtime, fault))
    for connection, bus in zip(("bus", "control"), buses, strict=True):
        runtime.supervise(f"{connection} connection", bus.run())
        runtime.on_drain(f"close {connection}", bus.close, deadline_s=_BUS_DRAIN_S_MAX)
    runtime.supervise("bus probe", _probe(runtime))
    await start(runtime)


async def _until(stopping: asyncio.Event) -> None:
    await stopping.wait()


def _on_signal(stopping: asyncio.Event) -> None:
    if stopping.is_set():  # asked twice: no more patience
        os._exit(CRASHED)
    stopping.set()


def _on_fault(runtime: Runtime, context: dict[str, Any]) -> None:
    """What asyncio could tell nobody else. A broken socket is the peer's; the rest is ours."""
    error = context.get("exception")
    if error is None or isinstance(error, OSError):
        runtime.log.warning("loop", text=context.get("message", ""))
    else:
        runtime.fail(error)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _may_start() -> bool:
    """Wait for the supervisor's start, if it gives one: the process before this one may still have to
    be reaped. False: it is not needed after all.
    """
    variable = os.environ.get(START_VARIABLE)
    if variable is None:
        return True
    fd = int(variable)
    is_wanted = os.read(fd, 1) != b""
    os.close(fd)
    return is_wanted


def run(
    name: str,
    settings_type: type[Any],
    start: Callable[[Runtime], Awaitable[None]],
    arguments: Sequence[str] | None = None,
) -> int:
    """The whole `__main__` of a service: `sys.exit(run("fanout", FanoutSettings, start))`.

    `start` subscribes and returns; it may raise. Returns the exit status.
    """
    try:
        process = read_arguments(name, arguments, os.environ)
        settings = read_settings(name, settings_type, os.environ, process.config)
    except SettingsRefused as error:
        print(f"{name}: {error}".replace(f"{name}: {name}: ", f"{name}: "), file=sys.stderr)  # noqa: T201
        return REFUSED
    if not _may_start():
        return DRAINED
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(name, settings, process, start))
    except Exception as error:  # noqa: BLE001  (the last word of every process)
        cause = _innermost(error)
        if isinstance(cause, CannotServe):
            print(f"{name}: cannot serve: {cause}", file=sys.stderr)  # noqa: T201
            return REFUSED
        if isinstance(cause, SettingsRefused | NoBroker):
            print(f"{name}: {cause}", file=sys.stderr)  # noqa: T201
            return REFUSED if isinstance(cause, SettingsRefused) else CRASHED
        # the error's own text stays out: it may quote what a client sent
        logs.configure(name, process.instance).critical(
            "crashed",
            error=type(cause).__name__,
            where="".join(traceback.format_tb(cause.__traceback__)[-_FRAMES_SHOWN:]),
        )
        return CRASHED

"""A city's life: the broker, the services, the scripted citizens, from the first start to the drain."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from services.city.broker import Broker, EmbeddedBroker, ForeignBroker
from services.city.child import Child
from services.city.journal import Journal
from services.city.probe import is_ready, sample_comes_back
from services.city.seeding import CITIZENS_FILE, environment
from services.city.settings import CITIZENS, Settings
from services.city.state import CannotStartError, State, check_port, free_port
from services.city.vigil import Vigil
from shared.bus.permissions import seed_path
from shared.cli import running
from shared.cli.running import RunningCity, RunningService
from shared.runtime.clock import monotonic_ns, pause
from shared.subjects import SERVICES

LAST_SHARE_S: Final = 0.4
"""What every child that is still to be ended may count on, however slow those before it were."""
READY_PAUSE_S: Final = 0.1
PATIENCE_S: Final = 20.0
"""After this long without being ready the city says what it waits for, and goes on waiting."""


class City:
    """`stop` ends it in order; `hurry` (a second Ctrl-C) at once."""

    def __init__(
        self,
        settings: Settings,
        *,
        say: Callable[[str], None],
        stop: asyncio.Event,
        hurry: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._say = say
        self._stop = stop
        self._hurry = hurry
        self._state = State(settings.state)
        self._stages: list[list[Child | EmbeddedBroker]] = []
        """In the order of their start; the replicas of one service are one stage."""
        self._health: dict[str, int] = {}
        self._failure: CannotStartError | None = None
        self._was_ready = False
        self._port = settings.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def live(self) -> None:
        """Until `stop`. Raises: CannotStartError, with nothing left running."""
        self._state.take()
        try:
            if self._settings.with_gateway:
                self._port = self._settings.port or free_port()
                check_port(self._port)
            broker = self._broker()
            async with asyncio.TaskGroup() as group:
                rising = group.create_task(self._rise(group, broker))
                hurrying = group.create_task(self._end_at_once())
                await self._stop.wait()
                rising.cancel()
                await self._drain()
                hurrying.cancel()
        finally:
            (self._state.root / running.FILE).unlink(missing_ok=True)
            self._state.release()
        if self._failure is not None:
            raise self._failure

    def _broker(self) -> Broker:
        settings = self._settings
        if settings.nats is not None:
            assert settings.keys is not None
            return ForeignBroker(settings.nats, settings.keys)
        broker = EmbeddedBroker(
            self._state,
            settings.nats_server,
            instances=settings.all_instances,
            show=self._say,
            changed=lambda: self._write_running(broker),
        )
        broker.check()
        return broker

    async def _rise(self, group: asyncio.TaskGroup, broker: Broker) -> None:
        try:
            if isinstance(broker, EmbeddedBroker):
                self._stages.append([broker])
                broker.start(group)
            await broker.prepare(self._settings.instances)
            for name in filter(SERVICES.__contains__, self._settings.services):
                self._stages.append([])
                for ordinal, instance in enumerate(self._settings.instances_of(name)):
                    command = self._service(name, ordinal, instance, broker)
                    self._add(group, broker, instance, command, beats=True)
            await self._wait_ready()
            self._was_ready = True
            self._announce()
            if self._settings.with_citizens:
                self._stages.append([])
                self._add(group, broker, CITIZENS, self._citizens, beats=False)
        except CannotStartError as error:
            self._failure = error
            self._stop.set()

    def _add(
        self,
        group: asyncio.TaskGroup,
        broker: Broker,
        name: str,
        command: Callable[[], Sequence[str]],
        *,
        beats: bool,
    ) -> None:
        """To the last stage."""
        child = Child(
            name,
            command,
            vigil=Vigil(beats=beats),
            journal=Journal(self._state.logs / f"{name}.log", name, show=self._say),
            show=self._say,
            changed=lambda: self._write_running(broker),
            environment=environment(self._settings, port=self._port, citizens=self._state.citizens),
            is_final=self._is_final,
        )
        self._stages[-1].append(child)
        group.create_task(child.live())

    def _is_final(self, line: str) -> bool:
        """A city that never was ready ends with what a child says it cannot serve; later on a disk may
        come back, and it is tried again.
        """
        if self._was_ready:
            return False
        if self._failure is None:
            elsewhere = "; was the city on this broker founded with another --state?"
            hint = elsewhere if self._settings.nats and line.startswith("registry") else ""
            self._failure = CannotStartError(line + hint)
        self._stop.set()
        return True

    def _write_running(self, broker: Broker) -> None:
        RunningCity(
            pid=os.getpid(),
            url=self.url if self._settings.with_gateway else None,
            nats=broker.url,
            keys=str(broker.keys.absolute()),
            services={
                child.name: RunningService(child.pid, self._health.get(child.name))
                for child in chain.from_iterable(self._stages)
            },
        ).write(self._state.root)

    def _service(
        self, service: str, ordinal: int, instance: str, broker: Broker
    ) -> Callable[[], Sequence[str]]:
        health = self._health[instance] = free_port()
        options = {
            "--instance": instance,
            "--ordinal": str(ordinal),
            "--replicas": str(self._settings.replicas(service)),
            "--nats": broker.url,
            "--keys": str(seed_path(broker.keys, instance)),
            "--state": str(self._state.root),
            "--metrics-port": str(health),
        }
        flat = [part for pair in options.items() for part in pair]
        return lambda: [sys.executable, "-m", f"services.{service}", *flat]

    def _citizens(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "load.scripted"),
            *("--url", self.url, "--keys", str(self._state.citizens)),
            *("--file", str(CITIZENS_FILE)),
        ]

    async def _wait_ready(self) -> None:
        began_ns = monotonic_ns()
        said = False
        while waiting := await self._waiting_for():
            if not said and monotonic_ns() - began_ns > PATIENCE_S * 1e9:
                said = True
                self._say(f"not ready yet: {waiting}; logs are in {self._state.logs}")
            await pause(READY_PAUSE_S)

    async def _waiting_for(self) -> str:
        """What is still missing, in words; empty when nothing is."""
        for service, port in self._health.items():
            if not await is_ready(port):
                return f"{service} is not ready"
        if self._settings.whole and not self._settings.empty:
            return await sample_comes_back(self.url, self._state.citizens)
        return ""

    def _announce(self) -> None:
        if not self._settings.with_gateway:
            self._say(f"ready: {', '.join(self._settings.instances)}")
            return
        self._say(f"ready {self.url}")
        if self._settings.empty or not self._settings.whole:
            self._say("every service is ready; no sample was tried, since there are no rooms here")
            return
        program = program_name()
        self._say(f"  open {self.url} in a browser")
        self._say(f"  speak and listen:  {program} citizen --url {self.url}")
        self._say(f"  play recordings:   {program} load replay load/recordings --url {self.url}")
        self._say(f"  what is going on:  {program} tap --state {self._state.root}")

    async def _drain(self) -> None:
        """In the reverse order of starting, so that each still has those it speaks to; replicas
        together, so that whom one gateway sends away does not come to the next.
        """
        ends_at_ns = monotonic_ns() + int(self._settings.drain_s * 1e9)
        for index in reversed(range(len(self._stages))):
            left_s = (ends_at_ns - monotonic_ns()) / 1e9
            within_s = max(0.1, left_s - LAST_SHARE_S * (index + 1))
            await asyncio.gather(*(child.stop(within_s) for child in self._stages[index]))

    async def _end_at_once(self) -> None:
        await self._hurry.wait()
        for child in chain.from_iterable(self._stages):
            child.kill()


def program_name() -> str:
    """What to type for `synchronia` where the city was started: `make up` activates nothing."""
    if shutil.which("synchronia") is not None:
        return "synchronia"
    return os.path.relpath(Path(sys.executable).with_name("synchronia"))

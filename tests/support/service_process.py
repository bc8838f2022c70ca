"""One service in a process of its own, on a test's broker: started, killed, started again, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.broker import Broker

ROOT = Path(__file__).resolve().parents[2]


class ServiceProcess:
    """`<service>-0` with its state directory; what it logs is read while it lives."""

    def __init__(
        self, service: str, broker: Broker, state: Path, environment: Mapping[str, str]
    ) -> None:
        self.service = service
        self.lines: list[str] = []
        self._broker = broker
        self._state = state
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"services.{self.service}"),
            *("--nats", self._broker.url, "--keys", str(self._broker.keys_dir)),
            *("--state", str(self._state)),
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=self._environment,
        )
        assert self._process.stderr is not None
        self._reader = asyncio.get_running_loop().create_task(self._read(self._process.stderr))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.lines.append(line.decode().rstrip())

    async def kill(self) -> None:
        """As `kill -9`; returns when it is gone."""
        self._signal(signal.SIGKILL)
        await self.wait()

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    async def drain(self) -> int:
        self._signal(signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        """Until it has ended and everything it said was read; its exit status."""
        assert self._process is not None
        assert self._reader is not None
        status = await self._process.wait()
        await self._reader
        return status

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@asynccontextmanager
async def service_process(
    service: str, broker: Broker, state: Path, **environment: str
) -> AsyncIterator[ServiceProcess]:
    """Started, and killed at the end whatever comes. `environment`: its settings' variables."""
    process = ServiceProcess(service, broker, state, environment)
    try:
        await process.start()
        yield process
    finally:
        await process.close()

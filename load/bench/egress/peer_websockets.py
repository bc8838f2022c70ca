"""The `websockets` library: `broadcast` of what comes on the subject to every connection.

python -m load.bench.egress.peer_websockets PORT NATS_PORT
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import nats
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

SUBJECT = "samples"


async def run(port: int, nats_port: int) -> None:
    everybody: set[ServerConnection] = set()

    async def viewer(connection: ServerConnection) -> None:
        everybody.add(connection)
        try:
            await connection.wait_closed()
        finally:
            everybody.discard(connection)

    async def received(message: Any) -> None:
        broadcast(everybody, message.data)

    nats_connection = await nats.connect(f"nats://127.0.0.1:{nats_port}")
    async with serve(viewer, "127.0.0.1", port, compression=None):
        await nats_connection.subscribe(SUBJECT, cb=received)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), int(sys.argv[2])))

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
import socket
import sys
from urllib.parse import urlsplit

from shared.client.connection import Connection, ConnectionEnded
from shared.client.core import Keyring, Session
from shared.client.words import sanctuary_of
from shared.runtime.clock import pause, wall_ms

BYTES_PER_S = 1024
STEPS_PER_S = 4
BURST_BYTES = 8192
"""Read at once at the beginning of a connection: handshake and token have a deadline."""
RECEIVE_BUFFER_BYTES = 4096


class Relay:
    """From a local port to the gateway, slowly in the one direction that matters."""

    def __init__(self, host: str, port: int) -> None:
        self._gateway = (host, port)
        self._carrying: dict[asyncio.Task[None], None] = {}
        self.bytes_read = 0

    async def serve(self, group: asyncio.TaskGroup) -> int:
        """The port to connect to."""
        server = await asyncio.start_server(
            lambda reader, writer: self._accepted(group, reader, writer), "127.0.0.1", 0
        )
        port: int = server.sockets[0].getsockname()[1]
        return port

    def _accepted(
        self, group: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = group.create_task(self._carry(reader, writer))
        self._carrying[task] = None
        task.add_done_callback(self._carrying.pop)

    def close(self) -> None:
        for task in list(self._carrying):
            task.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        far.setblocking(False)
        try:
            await loop.sock_connect(far, self._gateway)
            async with asyncio.TaskGroup() as both:
                up = both.create_task(self._up(reader, far))
                await self._down(far, writer)
                up.cancel()
        except* OSError:
            pass  # either end has gone: its client comes back by itself
        finally:
            far.close()
            writer.close()

    async def _up(self, reader: asyncio.StreamReader, far: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            await loop.sock_sendall(far, data)
        far.shutdown(socket.SHUT_RDWR)

    async def _down(self, far: socket.socket, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        allowed = BURST_BYTES
        while True:
            data = await loop.sock_recv(far, allowed)
            if not data:
                return
            self.bytes_read += len(data)
            writer.write(data)
            allowed -= len(data)
            if allowed <= 0:
                await pause(1 / STEPS_PER_S)
                allowed = BYTES_PER_S // STEPS_PER_S


async def stay(connection: Connection) -> None:
    """Connected until stopped, whatever the gateway says."""
    try:
        await connection.run()
    except ConnectionEnded as ended:
        print(f"slow viewer sent away: {ended}", file=sys.stderr)


async def watch_slowly(url: str, viewers: int, sanctuary: bytes) -> dict[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    relay = Relay(parts.hostname, parts.port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as group:
        port = await relay.serve(group)
        connections = []
        for _ in range(viewers):
            session = Session(Keyring.new(os.urandom, wall_ms()), os.urandom)
            session.join(sanctuary)
            connections.append(Connection(session, f"http://127.0.0.1:{port}"))
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

"""Between slow viewers and the city: takes from it no more bytes a second than they read.

A slow reader in Python would still let its kernel take megabytes. So each connection goes through a
socket of ours with the smallest receive buffer that the kernel gives: the city's own socket fills and
stays full.
"""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

from shared.runtime.clock import pause

STEPS_PER_S = 4
BURST_BYTES = 8192
"""Read at once at the beginning of a connection: handshake and token have a deadline."""
RECEIVE_BUFFER_BYTES = 4096
_NO_BOUND = 1 << 20


class Relay:
    """From a local port to the city, slowly in the one direction that matters."""

    def __init__(self, url: str, *, bytes_per_s: int) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        assert parts.hostname is not None
        self._city = (parts.hostname, parts.port or 80)
        self._step_bytes = max(1, bytes_per_s // STEPS_PER_S)
        self._is_hurrying = False
        self._accepting: asyncio.Server | None = None
        self._carrying: dict[asyncio.Task[None], None] = {}
        self.bytes_read = 0

    async def serve(self, group: asyncio.TaskGroup) -> str:
        """The address to connect to."""
        self._accepting = await asyncio.start_server(
            lambda reader, writer: self._accepted(group, reader, writer), "127.0.0.1", 0
        )
        return f"http://127.0.0.1:{self._accepting.sockets[0].getsockname()[1]}"

    def _accepted(
        self, group: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = group.create_task(self._carry(reader, writer))
        self._carrying[task] = None
        task.add_done_callback(self._carrying.pop)

    def hurry(self) -> None:
        """From now on as fast as it comes: the books are being closed."""
        self._is_hurrying = True

    def close(self) -> None:
        if self._accepting is not None:
            self._accepting.close()
        for task in list(self._carrying):
            task.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        far.setblocking(False)
        try:
            await loop.sock_connect(far, self._city)
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
            if not data or writer.is_closing():
                return
            self.bytes_read += len(data)
            writer.write(data)
            await writer.drain()
            allowed -= len(data)
            if self._is_hurrying:
                allowed = _NO_BOUND
            elif allowed <= 0:
                await pause(1 / STEPS_PER_S)
                allowed = self._step_bytes

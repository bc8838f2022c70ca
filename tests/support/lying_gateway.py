"""A gateway that lies: it stands between a browser and the real one, and changes what a viewer gets.

Everything passes through as bytes; frames from the server to a WebSocket client are taken apart, given
to `tamper`, and framed again. It has a loop and a thread of its own, so that a test in the browser's
thread may simply set what is to happen next.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgpack

Message = list[Any]
Tamper = Callable[[Message], list[Message]]
"""What a viewer gets in the place of one message."""
_PIECE = 65_536
_BINARY = 0x82


def frame(payload: bytes) -> bytes:
    """A whole binary frame of a server (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((_BINARY, size)) + payload
    if size < 65_536:
        return bytes((_BINARY, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_BINARY, 127)) + size.to_bytes(8, "big") + payload


class LyingGateway:
    """`url` is to be opened in the place of the gateway's."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.tamper: Tamper | None = None
        self.tamper_of: Callable[[int], Tamper] | None = None
        """Another lie for each WebSocket, by its number from 0 on, in the place of `tamper`."""
        self._sockets = 0
        self.is_deaf = False
        """Whether new connections are ended at once."""
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def cut(self, *, is_deaf: bool = False) -> None:
        """End every connection, as a gateway does that is killed."""
        self.is_deaf = is_deaf
        self._run(self._cut())

    async def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def end(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            if not self.is_deaf:
                await self._pass(reader, writer)
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass  # either side has gone, and the other follows
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target.hostname is not None
        back, there = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._open.add(there)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            there.write(head)
            is_socket = b"\r\nupgrade: websocket\r\n" in head.lower()
            down = self._frames(back, writer) if is_socket else _copy(back, writer)
            async with asyncio.TaskGroup() as group:
                ways = [group.create_task(_copy(reader, there)), group.create_task(down)]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        finally:
            self._open.discard(there)
            there.transport.abort()

    async def _frames(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await back.readuntil(b"\r\n\r\n"))
        own = None if self.tamper_of is None else self.tamper_of(self._sockets)
        self._sockets += 1
        while True:
            first, second = await back.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await back.readexactly(2 if size == 126 else 8), "big")
            payload = await back.readexactly(size)
            tamper = own or self.tamper
            if first != _BINARY or tamper is None:
                wide = size.to_bytes(2, "big") if size < 65_536 else size.to_bytes(8, "big")
                writer.write(bytes((first, second)) + (wide if second >= 126 else b"") + payload)
            else:
                writer.write(self._changed(payload, tamper))
            await writer.drain()

    @staticmethod
    def _changed(payload: bytes, tamper: Tamper) -> bytes:
        told = [message for each in msgpack.unpackb(payload, raw=False) for message in tamper(each)]
        return frame(msgpack.packb(told, use_bin_type=True)) if told else b""


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


@contextlib.contextmanager
def lying_gateway(url: str) -> Iterator[LyingGateway]:
    liar = LyingGateway(url)
    try:
        yield liar
    finally:
        liar.end()


def flip_samples(message: Message) -> list[Message]:
    """One bit of each sample's salt differs: still canonical, and not what its citizen sealed."""
    if message[0] != "sample":
        return [message]
    name, strand, body, *rest = message
    return [[name, strand, body[:-1] + bytes((body[-1] ^ 1,)), *rest]]


def forge_seals(message: Message) -> list[Message]:
    """One bit of each seal's signature differs."""
    if message[0] != "sealed window":
        return [message]
    name, strand, (payload, signature), *rest = message
    return [[name, strand, [payload, bytes((signature[0] ^ 1,)) + signature[1:]], *rest]]


def withhold(*names: str) -> Tamper:
    """Messages of these names never arrive."""
    return lambda message: [] if message[0] in names else [message]

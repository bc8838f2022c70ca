"""A reader of event streams, made of the standard's text alone (WHATWG HTML, server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from services.gateway.sse import COMMENT
from tests.support.gateway_city import ROOM

PATH = f"/v1/watch/{ROOM.hex()}"


@dataclass
class Event:
    name: str
    fields: dict[str, Any]
    id: str | None
    """Nil: the event says nothing of the id."""


class Watcher:
    """A reader of an event stream, made of the standard's text alone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""
        self.bytes = b""
        self.last_id = ""
        self.comments = 0

    async def next(self) -> Event:
        while True:
            block = await self.reader.readuntil(b"\n\n")
            self.bytes += block
            fields: dict[str, str] = {}
            for line in block.decode().splitlines():
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            if "id" in fields:
                self.last_id = fields["id"]
            if "data" in fields:
                return Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            self.comments += block == COMMENT

    async def wait_for(self, name: str) -> Event:
        while True:
            event = await self.next()
            if event.name == name:
                return event

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def request(
    address: tuple[str, int], path: str = PATH, *, method: str = "GET", **headers: str
) -> bytes:
    lines = {"Host": f"{address[0]}:{address[1]}", "Accept": "text/event-stream"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode()


@contextlib.asynccontextmanager
async def asking(
    address: tuple[str, int], path: str = PATH, **headers: str
) -> AsyncIterator[Watcher]:
    """A watcher whose stream has not begun yet."""
    watcher = Watcher(*await asyncio.open_connection(*address, limit=2**24))
    watcher.writer.write(request(address, path, **headers))
    try:
        yield watcher
    finally:
        await watcher.close()


async def begin(watcher: Watcher) -> dict[str, Any]:
    """Read the response's head and hello."""
    watcher.head = await watcher.reader.readuntil(b"\r\n\r\n")
    assert watcher.head.startswith(b"HTTP/1.1 200 OK\r\n"), watcher.head
    return (await watcher.wait_for("hello")).fields

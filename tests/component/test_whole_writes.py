"""To a viewer without room a frame goes wholly or not at all: on a real TCP socket that nobody reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from services.gateway.head import Upgrade
from services.gateway.send_each import send_each
from services.gateway.websocket import TCP_NOTSENT_LOWAT, LiveSocket

UNSENT_BYTES_MAX = 16_384
SIZES = range(1000, 9000, 700)
"""Of frames: where the kernel's segments end depends on them."""


class Hub:
    """What the socket tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        return lambda _: self.told.append(name)


class _Reader(asyncio.Protocol):
    def __init__(self) -> None:
        self.live: LiveSocket | None = None
        self.is_over = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over.set()

    def pause_writing(self) -> None:
        assert self.live is not None
        self.live.pause_writing()

    def resume_writing(self) -> None:
        assert self.live is not None
        self.live.resume_writing()


async def full_socket(
    write: Callable[[LiveSocket, bytes], bool], frame: bytes
) -> tuple[list[str], int]:
    """Write the frame until it is not taken any more: what was told, and the bytes then held by the
    transport.
    """
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    hub = Hub()
    transport, reader = await loop.create_connection(_Reader, sock=accepted)
    transport.set_write_buffer_limits(0)
    accepted.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
    upgrade = Upgrade(key="", protocol=None, origin="", watch=None)
    live = reader.live = LiveSocket(
        hub,  # type: ignore[arg-type]
        upgrade,
        "127.0.0.1",
        transport,
    )
    while not live.is_paused:
        write(live, frame)
    held = transport.get_write_buffer_size()
    transport.abort()
    client.close()
    await reader.is_over.wait()
    return hub.told, held


def plain(live: LiveSocket, frame: bytes) -> bool:
    return all(live.unsent(frame, taken) for _, taken in send_each([live.descriptor], frame))


@pytest.mark.parametrize("size", SIZES)
def test_who_has_no_room_is_written_whole_frames_only(size: int) -> None:
    told, held = uvloop.run(full_socket(LiveSocket.write_whole, bytes(size)))
    assert told == ["took_nothing"]
    assert held == 2  # the pong that waits for room


def test_without_that_the_kernel_takes_a_part_of_some() -> None:
    """Else the test before would prove nothing here."""
    told = [uvloop.run(full_socket(plain, bytes(size)))[0] for size in SIZES]
    assert ["paused"] in told

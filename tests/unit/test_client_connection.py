"""A connection's shell, as far as it decides something by itself."""

from __future__ import annotations

import os
from typing import Any

from shared.client.connection import Connection, _Socket
from shared.client.core import Keyring, Session
from shared.contracts.client import Leave
from shared.identifiers import WallMs


class Transport:
    """Remembers what is written to it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, _kind: object, frame: bytes) -> None:
        self.sent.append(frame)


async def test_a_socket_that_is_lost_is_not_written_to_and_what_is_held_waits() -> None:
    session = Session(Keyring.new(os.urandom, WallMs(0)), os.urandom)
    connection = Connection(session, "http://127.0.0.1:1")
    socket = _Socket(connection)
    lost: Any = Transport()
    socket.on_ws_connected(lost)
    session.say(Leave(1, b"r" * 16))
    connection.flush()
    assert len(lost.sent) == 1
    socket.on_ws_disconnected(lost)
    session.say(Leave(1, b"r" * 16))
    connection.flush()
    assert len(lost.sent) == 1
    fresh: Any = Transport()
    socket.on_ws_connected(fresh)
    socket.on_ws_disconnected(lost)  # late news of the one before
    connection.flush()
    assert len(fresh.sent) == 1

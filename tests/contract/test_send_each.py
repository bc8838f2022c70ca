"""One frame to many sockets: compiled and in Python it is the same, on real sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from services.gateway import _send_each
from services.gateway.send_each import IS_COMPILED, SendEach, send_each, send_each_plain

TWINS = pytest.mark.parametrize("send", [send_each_plain, _send_each.send_each])
FRAME = bytes(range(256)) * 4


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """(ours, the peer's), five times; ours do not block and hold little."""
    made = [socket.socketpair() for _ in range(5)]
    for ours, _ in made:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's smallest
    yield made
    for pair in made:
        for each in pair:
            each.close()


def fill(ours: socket.socket) -> None:
    """Until it takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x")


@TWINS
def test_each_gets_the_same_and_who_did_not_take_it_all_is_told(
    send: SendEach, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    fill(pairs[1][0])
    pairs[3][1].close()
    unsent = send([ours.fileno() for ours, _ in pairs], FRAME)
    assert unsent == [(1, 0), (3, -1)]
    for place in (0, 2, 4):
        assert pairs[place][1].recv(4096) == FRAME


@TWINS
def test_a_part_is_counted(
    send: SendEach, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    ours, peer = pairs[0]
    frame = bytes(1 << 20)
    [(place, taken)] = send([ours.fileno()], frame)
    assert place == 0
    assert 0 < taken < len(frame)
    ours.close()
    assert sum(len(part) for part in iter(lambda: peer.recv(65536), b"")) == taken


@TWINS
def test_a_closed_descriptor_is_a_broken_socket(
    send: SendEach, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    descriptor = pairs[0][0].fileno()
    pairs[0][0].close()
    assert send([descriptor, pairs[1][0].fileno()], FRAME) == [(0, -1)]
    assert send([], FRAME) == []


def test_the_compiled_one_is_what_serves() -> None:
    assert IS_COMPILED
    assert send_each is _send_each.send_each


@pytest.mark.parametrize("wrong", [("", FRAME), ([], "text"), ([None], FRAME), ([1 << 80], FRAME)])
def test_anything_else_is_refused(wrong: tuple[object, object]) -> None:
    with pytest.raises((TypeError, OverflowError)):
        _send_each.send_each(*wrong)  # type: ignore[arg-type]

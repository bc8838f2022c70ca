"""Joins and leaves on their way: who is asked again, and when."""

from __future__ import annotations

from services.gateway.core.seats import (
    REPEAT_EVERY_NS,
    REPEATS_CLOSED_MAX,
    REPEATS_PER_TICK,
    Seats,
)
from shared.contracts import Join, Signed
from shared.identifiers import MonotonicNs, SessionId

ROOM = b"r" * 16
RECORD = Signed(b"payload", bytes(64))


def test_leaves_of_a_crowd_are_repeated_in_portions_and_each_as_often_as_any() -> None:
    seats = Seats()
    sessions = [SessionId(number.to_bytes(16, "big")) for number in range(3 * REPEATS_PER_TICK)]
    for session in sessions:
        assert seats.join(session, Join(1, ROOM, RECORD), b"", MonotonicNs(0)) is not None
        seats.close(session, MonotonicNs(0))
    now_ns = REPEAT_EVERY_NS
    assert seats.due(MonotonicNs(now_ns - 1)) == ([], [])
    asked = dict.fromkeys(sessions, 0)
    given_up: list[SessionId] = []
    while (deadline := seats.next_deadline()) is not None:
        now_ns = max(now_ns + 1, deadline)
        repeat, give_up = seats.due(MonotonicNs(now_ns))
        assert 1 <= len(repeat) + len(give_up) <= REPEATS_PER_TICK
        for (session, _), _ in repeat:
            asked[session] += 1
        given_up += [session for (session, _), _ in give_up]
    assert set(asked.values()) == {REPEATS_CLOSED_MAX - 1}
    assert sorted(given_up) == sessions

"""Turns: what a turn of the loop has no time for waits, in order, for the next."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.gateway.turns import TURN_NS, Turns
from shared.identifiers import MonotonicNs


class Loop:
    """A clock that work moves on, and what is to be called in the next turn."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.soon: list[Callable[[], None]] = []
        self.done: list[str] = []
        self.turns = Turns(self.soon.append, lambda: MonotonicNs(self.now_ns))

    def work(self, name: str, cost_ns: int = 0) -> Callable[[], None]:
        def do() -> None:
            self.now_ns += cost_ns
            self.done.append(name)

        return do

    def turn(self) -> None:
        due, self.soon[:] = [*self.soon], []
        for call in due:
            call()


def test_within_a_turn_all_is_done_at_once() -> None:
    loop = Loop()
    loop.turns.do(loop.work("a", TURN_NS // 2))
    assert loop.turns.admit(loop.work("b", TURN_NS // 4))
    loop.turns.do(loop.work("c"))
    assert loop.done == ["a", "b", "c"]
    assert loop.turns.put_off == 0


def test_what_comes_late_in_a_turn_waits_in_order_and_arrivals_behind_the_rest() -> None:
    loop = Loop()
    loop.turns.do(loop.work("a", TURN_NS))
    assert not loop.turns.admit(loop.work("first arrival"))
    loop.turns.do(loop.work("b", TURN_NS // 2))
    loop.turns.do(loop.work("c", TURN_NS // 2))
    loop.turns.do(loop.work("d"))
    assert not loop.turns.admit(loop.work("second arrival"))
    assert loop.done == ["a"]
    loop.turn()
    assert loop.done == ["a", "b", "c"]
    loop.turns.do(loop.work("e"))
    loop.turn()
    assert loop.done[3:] == ["d", "e", "first arrival", "second arrival"]
    assert loop.turns.put_off == 6
    loop.turn()
    assert loop.soon == []


def test_frames_go_ahead_of_arrivals_that_wait() -> None:
    loop = Loop()
    loop.turns.do(loop.work("a", TURN_NS))
    for name in ("one", "two", "three"):
        assert not loop.turns.admit(loop.work(name, TURN_NS))
    loop.turn()
    assert loop.done == ["a", "one"]
    loop.turn()
    loop.turns.do(loop.work("late"))
    loop.turn()
    assert loop.done == ["a", "one", "two", "late", "three"]


def test_a_turn_that_did_little_is_not_counted_against_the_next() -> None:
    loop = Loop()
    loop.turns.do(loop.work("a", TURN_NS // 2))
    loop.turn()
    loop.now_ns += 10 * TURN_NS
    loop.turns.do(loop.work("b"))
    assert loop.done == ["a", "b"]


def test_a_fault_of_one_does_not_hold_up_the_others() -> None:
    loop = Loop()

    def fault() -> None:
        raise LookupError("ours")

    loop.turns.do(loop.work("a", TURN_NS))
    loop.turns.do(fault)
    loop.turns.do(loop.work("b"))
    with pytest.raises(LookupError):
        loop.turn()
    loop.turns.do(loop.work("c"))
    assert not loop.turns.admit(loop.work("arrival"))
    loop.turn()
    assert loop.done == ["a", "b", "c", "arrival"]


def test_a_fault_does_not_let_an_arrival_overtake_another() -> None:
    loop = Loop()

    def fault() -> None:
        raise LookupError("ours")

    loop.turns.do(loop.work("a", TURN_NS))
    assert not loop.turns.admit(fault)
    assert not loop.turns.admit(loop.work("first"))
    with pytest.raises(LookupError):
        loop.turn()
    assert not loop.turns.admit(loop.work("second"))
    loop.turn()
    assert loop.done == ["a", "first", "second"]

"""The supervisor's decisions: whom it kills for silence, and when a successor may start."""

from __future__ import annotations

from services.city.vigil import (
    BACK_OFF_NS,
    HEALTHY_NS,
    OVERSLEPT_NS,
    SECOND_NS,
    SILENCE_NS,
    START_ALLOWANCE_NS,
    Vigil,
)
from shared.identifiers import MonotonicNs


def at(seconds: float) -> MonotonicNs:
    return MonotonicNs(int(seconds * SECOND_NS))


def test_a_child_has_its_start_allowance_before_the_first_beat() -> None:
    vigil = Vigil(beats=True)
    vigil.started(at(0))
    assert vigil.next_deadline() == START_ALLOWANCE_NS
    assert not vigil.is_silent(at(14.9))
    assert vigil.is_silent(at(15))


def test_a_child_silent_for_a_second_is_killed_and_one_beat_saves_it() -> None:
    vigil = Vigil(beats=True)
    vigil.started(at(0))
    vigil.beat(at(2))
    assert not vigil.is_silent(at(2.99))
    vigil.beat(at(2.99))
    assert not vigil.is_silent(at(3.9))
    assert vigil.is_silent(MonotonicNs(at(2.99) + SILENCE_NS))


def test_a_child_is_doubtful_after_three_missed_beats_and_never_before_its_first() -> None:
    vigil = Vigil(beats=True)
    vigil.started(at(0))
    assert not vigil.is_doubtful(at(10))
    vigil.beat(at(10))
    assert not vigil.is_doubtful(at(10.59))
    assert vigil.is_doubtful(at(10.6))
    vigil.beat(at(10.7))
    assert not vigil.is_doubtful(at(10.8))


def test_a_supervisor_that_stood_still_itself_judges_nobody() -> None:
    vigil = Vigil(beats=True)
    vigil.started(at(0))
    vigil.beat(at(1))
    woke = MonotonicNs(at(2) + OVERSLEPT_NS + 1)
    assert not vigil.is_silent(woke)
    assert vigil.next_deadline() == woke + SILENCE_NS
    assert vigil.is_silent(MonotonicNs(woke + SILENCE_NS))


def test_a_child_without_heartbeat_is_never_silent() -> None:
    vigil = Vigil(beats=False)
    vigil.started(at(0))
    vigil.beat(at(1))
    assert vigil.next_deadline() is None
    assert not vigil.is_silent(at(1000))


def test_the_first_restart_does_not_wait_and_the_next_wait_longer_and_longer() -> None:
    vigil = Vigil(beats=True)
    waits = []
    for second in range(8):
        vigil.started(at(second))
        waits.append(vigil.ended(at(second + 0.5)))
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[: len(BACK_OFF_NS)] == list(BACK_OFF_NS)
    assert waits[-1] == BACK_OFF_NS[-1]


def test_a_child_that_lived_well_is_restarted_at_once_again() -> None:
    vigil = Vigil(beats=True)
    for _ in range(3):
        vigil.started(at(0))
        vigil.ended(at(1))
    vigil.started(at(10))
    assert vigil.ended(MonotonicNs(at(10) + HEALTHY_NS)) == 0

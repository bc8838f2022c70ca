"""A withdrawal's silence is counted where bytes leave; what a transport holds of it is cut off."""

from __future__ import annotations

from typing import Any

import pytest

from services.gateway.core import Cut
from services.gateway.core.gateway import LEFT_NS_MAX
from services.gateway.core.silence import BOUNDS_MS, FORGET_NS, LISTEN_NS, WATCHES_MAX, Silences
from shared.codec import ZERO_HASH, encode, sha256
from shared.contracts import (
    Audience,
    ConsentActed,
    ConsentForwarded,
    Deliver,
    Enter,
    Grant,
    Marker,
    Passed,
    Purpose,
    RecordAnswered,
    Signed,
    Strike,
    Struck,
    Tier,
    Withdrawal,
)
from shared.contracts import client as c
from shared.identifiers import MonotonicNs, SessionId
from tests.unit.test_gateway_core import (
    CITIZEN,
    MS,
    OTHER,
    ROOM,
    Bench,
    members,
    published,
    shown,
)

NOTICE = encode(Struck(ROOM, CITIZEN, None))
STRIKE = Strike(CITIZEN, members(), None, NOTICE, 0)


def signed(payload: Any) -> Signed:
    return Signed(encode(payload), bytes(64))


def withdrawal(counter: int = 2, **changes: Any) -> Signed:
    fields: dict[str, Any] = {"sanctuary": ROOM, "audience": None, "purpose": None}
    return signed(
        Withdrawal(CITIZEN, counter, ZERO_HASH, 1, **(fields | changes)),
    )


def grant(counter: int = 3) -> Signed:
    return signed(
        Grant(CITIZEN, counter, ZERO_HASH, 1, ROOM, Audience.MEMBERS, Tier.FULL, Purpose.LIVE, None)
    )


def buckets(counts: list[int]) -> dict[float, int]:
    """Upper bound in ms → how many; what is empty left out."""
    bounds = [float(bound) for bound in BOUNDS_MS] + [float("inf")]
    return {bound: count for bound, count in zip(bounds, counts, strict=True) if count}


def write(bench: Bench, number: int, *citizens: bytes) -> None:
    """A delivery, its sweep a millisecond later."""
    bench.edge(number, Deliver(members(), tuple(shown(1, each) for each in citizens)))
    bench.now_ns += MS
    bench.core.handed(bench.ns)


def test_silence_is_counted_to_the_last_write_that_held_the_citizen() -> None:
    bench = Bench()
    session = bench.member()
    bench.send(session, c.Record(1, withdrawal()))
    bench.now_ns += 3 * MS
    write(bench, 1, CITIZEN)
    write(bench, 2, OTHER)
    bench.edge(3, STRIKE)
    bench.now_ns += MS
    write(bench, 4, OTHER)
    bench.later(LISTEN_NS + 300 * MS)
    silences = bench.core.silences
    assert buckets(silences.here.counts) == {4.0: 1}
    assert buckets(silences.elsewhere.counts) == {}
    assert not silences.is_open


def test_what_goes_out_behind_the_strike_is_counted_too() -> None:
    bench = Bench()
    session = bench.member()
    bench.send(session, c.Record(1, withdrawal()))
    bench.edge(1, STRIKE)
    bench.later(400 * MS)
    write(bench, 2, CITIZEN)
    bench.later(2 * LISTEN_NS)
    assert buckets(bench.core.silences.here.counts) == {500.0: 1}


def test_of_another_gateways_withdrawal_it_is_counted_from_hearing_of_it() -> None:
    bench = Bench()
    bench.member()
    forwarded = ConsentForwarded("gateway-1", 1, 1, bytes(16), 1, withdrawal())
    bench.receive("control.gateway-2", forwarded)  # in another's name
    assert not bench.core.silences.is_open
    bench.receive("control.gateway-1", forwarded)
    write(bench, 1, CITIZEN)
    bench.edge(2, STRIKE)
    bench.later(LISTEN_NS + 300 * MS)
    assert buckets(bench.core.silences.elsewhere.counts) == {1.0: 1}
    assert buckets(bench.core.silences.here.counts) == {}


def test_a_grant_ends_the_watch() -> None:
    bench = Bench()
    session = bench.member()
    bench.send(session, c.Record(1, withdrawal()))
    bench.edge(1, STRIKE)
    bench.later(100 * MS)
    bench.send(session, c.Record(2, grant()))
    write(bench, 2, CITIZEN)
    bench.later(2 * LISTEN_NS)
    assert buckets(bench.core.silences.here.counts) == {1.0: 1}


@pytest.mark.parametrize(
    "record",
    [
        withdrawal(audience=Audience.PUBLIC),
        withdrawal(purpose=Purpose.RECORD),
        grant(),
        Signed(b"\xc1", bytes(64)),
    ],
)
def test_what_is_no_whole_withdrawal_is_not_watched(record: Signed) -> None:
    bench = Bench()
    session = bench.member()
    bench.send(session, c.Record(1, record))
    assert not bench.core.silences.is_open


def test_another_rooms_bytes_do_not_count() -> None:
    bench = Bench()
    session = bench.member()
    bench.send(session, c.Record(1, withdrawal(sanctuary=b"x" * 16)))
    write(bench, 1, CITIZEN)
    bench.edge(2, STRIKE)
    bench.later(FORGET_NS + LISTEN_NS)
    assert buckets(bench.core.silences.here.counts) == {}
    assert not bench.core.silences.is_open


def test_a_refused_withdrawal_is_forgotten() -> None:
    bench = Bench()
    session = bench.member()
    record = withdrawal()
    bench.send(session, c.Record(1, record))
    bench.edge(1, STRIKE)
    refused = encode(c.Refused(1, "stale", "", 0))
    answer = RecordAnswered(session, 1, sha256(record.payload), False, refused)
    bench.receive("back.gateway-0", answer)
    assert not bench.core.silences.is_open
    assert buckets(bench.core.silences.here.counts) == {}


def test_acted_is_timed_on_the_reading_gateways_clock() -> None:
    bench = Bench()
    session = bench.member()
    bench.send(session, c.Record(1, withdrawal()))
    bench.now_ns += 7 * MS
    bench.receive("back.gateway-0", ConsentActed("fanout-0", 0, 1, session, 1, CITIZEN, 2))
    assert buckets(bench.core.silences.acted.counts) == {8.0: 1}


def test_open_watches_are_bounded() -> None:
    silences = Silences()
    for number in range(WATCHES_MAX + 10):
        record = Withdrawal(number.to_bytes(16, "big"), 1, ZERO_HASH, 1, None, None, None)
        silences.hear(signed(record), MonotonicNs(1), is_here=True)
    assert len(silences._watches) == WATCHES_MAX
    silences.tick(MonotonicNs(1 + FORGET_NS))
    assert not silences.is_open


# ── what the transport holds ─────────────────────────────────────────────────────────────────────


class Slow(Bench):
    """A member whose transport takes only a part of the next write with the citizen."""

    def __init__(self) -> None:
        super().__init__()
        self.session = self.member()

    def stick(self, number: int, *citizens: bytes) -> None:
        self._sticks = True
        self.edge(number, Deliver(members(), tuple(shown(1, each) for each in citizens)))
        self._sticks = False

    _sticks = False

    def _write(self, sessions: list[SessionId], payload: bytes) -> None:
        super()._write(sessions, payload)
        if self._sticks and self.session in sessions:
            self.core.paused(self.session)


def test_a_transport_that_holds_struck_bytes_is_cut_and_only_then_the_marker_passed() -> None:
    bench = Slow()
    bench.send(bench.session, c.Record(1, withdrawal()))
    bench.stick(1, CITIZEN, OTHER)
    effects = bench.edge(2, STRIKE, Marker(bytes(16), 7))
    assert published(effects, Passed) == []
    effects = bench.later(LEFT_NS_MAX - MS)
    assert published(effects, Passed) == []
    effects = bench.later(2 * MS)
    assert [e for e in effects if isinstance(e, Cut)] == [Cut(bench.session)]
    assert [passed.marker for passed in published(effects, Passed)] == [7]
    assert bench.core.sessions == 0
    bench.later(2 * LISTEN_NS)
    # until it was cut off it may have handed over some of it
    assert buckets(bench.core.silences.here.counts) == {LEFT_NS_MAX / MS: 1}


def test_a_transport_that_hands_over_in_time_stays() -> None:
    bench = Slow()
    bench.send(bench.session, c.Record(1, withdrawal()))
    bench.stick(1, CITIZEN)
    bench.edge(2, STRIKE, Marker(bytes(16), 7))
    bench.now_ns += 5 * MS
    bench.core.resumed(bench.session)
    effects = bench.flush()
    assert [passed.marker for passed in published(effects, Passed)] == [7]
    effects = bench.later(1000 * MS)
    assert not any(isinstance(e, Cut) for e in effects)
    bench.later(2 * LISTEN_NS)
    assert buckets(bench.core.silences.here.counts) == {5.0: 1}


@pytest.mark.parametrize(
    "operation",
    [
        Strike(OTHER, members(), None, NOTICE, 0),
        Strike(CITIZEN, b"m" + b"x" * 16, None, NOTICE, 0),
        Marker(OTHER, 0),
        Strike(CITIZEN, members(), b"y" * 16, NOTICE, 0),
    ],
)
def test_nobody_is_cut_off_for_another_strike(operation: Any) -> None:
    bench = Slow()
    bench.stick(1, CITIZEN)
    bench.edge(2, operation, Marker(bytes(16), 7))
    assert not any(isinstance(e, Cut) for e in bench.later(1000 * MS))


@pytest.mark.parametrize("is_marker", [True, False])
def test_an_own_snapshot_that_the_transport_holds_counts_as_well(is_marker: bool) -> None:  # noqa: FBT001
    bench = Slow()
    bench._sticks = True
    bench.edge(1, Enter(bench.session, ROOM, (shown(1),), ()))
    bench._sticks = False
    own = Strike(CITIZEN, members(), bench.session, NOTICE, 0)
    bench.edge(2, Marker(CITIZEN, 4) if is_marker else own)
    effects = bench.later(2 * LEFT_NS_MAX)
    assert [e for e in effects if isinstance(e, Cut)] == [Cut(bench.session)]

"""Followers at the gateway: whoever goes over from one audience to another misses and repeats nothing."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gateway.core.effects import Write
from services.gateway.core.egress import Egress
from services.gateway.core.form import Form
from services.gateway.core.owed import followers_key, members_key, session_key
from shared.codec import encode
from shared.contracts import (
    Deliver,
    DenyPair,
    Enter,
    EnterFollowers,
    Follow,
    FollowAnswered,
    FollowAsk,
    Following,
    Join,
    JoinAsk,
    JoinsWanted,
    SampleShown,
    SeatAnswered,
    Segment,
    Signed,
    Struck,
)
from shared.contracts import client as c
from shared.contracts.fanout import Clear, Depart, DepartFollowers, Strike
from shared.identifiers import SessionId
from tests.unit.test_gateway_core import RECORD, ROOM, SLOT, Bench, published

ADA, BEN = b"a" * 16, b"b" * 16
MEMBERS, FOLLOWERS = members_key(ROOM), followers_key(ADA, ROOM)
SESSIONS = tuple(SessionId(bytes([65 + n]) * 16) for n in range(3))
STRAND = bytes(32)
LIST = Signed(b"a list", b"y" * 64)


def segment(number: int, citizen: bytes = ADA) -> Segment:
    return Segment(citizen, encode(SampleShown(STRAND, number.to_bytes(4, "big"))))


class House:
    """An egress with three members; what each of them was written, number by number."""

    def __init__(self) -> None:
        self.egress = Egress(backlog_bytes_max=2**30)
        self.written: dict[bytes, list[Any]] = {session: [] for session in SESSIONS}
        for session in SESSIONS:
            self.egress.add_viewer(session, form=Form.MESSAGEPACK)
            self.egress.enter(session, MEMBERS, SLOT, (), recovered=False)
        self.sweep()
        for session in SESSIONS:
            self.written[session].clear()

    def sweep(self, writes_max: int = 2**31) -> int:
        """One slice; how many writes it made."""
        writes = 0
        for effect in self.egress.sweep(writes_max):
            for session in [effect.session] if isinstance(effect, Write) else effect.sessions:
                writes += 1
                for message in msgspec.msgpack.decode(effect.payload):
                    said = int.from_bytes(message[2], "big") if message[0] == "sample" else "struck"
                    self.written[session].append(said)
        return writes

    def drain(self) -> None:
        while self.egress.wants_flush:
            self.sweep()


step = st.one_of(
    st.tuples(st.just("say"), st.just(0)),
    st.tuples(st.just("go over"), st.integers(0, 2)),
    st.tuples(st.just("aside"), st.integers(0, 2)),
    st.tuples(st.just("pause"), st.integers(0, 2)),
    st.tuples(st.just("resume"), st.integers(0, 2)),
    st.tuples(st.just("strike the other audience"), st.integers(0, 1)),
    st.tuples(st.just("sweep"), st.integers(1, 4)),
)


EVERYBODY = [("go over", number) for number in range(3)]


@settings(deadline=None)
@given(st.lists(step, max_size=40))
@example([("say", 0), *EVERYBODY, ("say", 0)])
@example([("say", 0), *EVERYBODY, ("strike the other audience", 0)])
@example([("go over", 0), ("say", 0), ("sweep", 1), ("go over", 0), ("say", 0)])
def test_whoever_goes_over_gets_every_number_once_and_in_order(
    steps: list[tuple[str, int]],
) -> None:
    """As a member or as a follower, with backlogs and within a sweep."""
    house = House()
    followers: dict[SessionId, None] = {}
    said = 0
    for what, which in steps:
        session = SESSIONS[which % 3]
        match what:
            case "say":
                said += 1
                deny = tuple(DenyPair(each, ADA) for each in followers)
                if len(followers) < 3:  # else the members are not shown the citizen at all
                    house.egress.deliver(MEMBERS, SLOT, [segment(said)], deny)
                house.egress.deliver(FOLLOWERS, SLOT, [segment(said)], ())
            case "go over" if session in followers:
                del followers[session]
                house.egress.depart_followers(session, ROOM, ADA)
            case "go over":
                followers[session] = None
                assert house.egress.enter_followers(session, ROOM, ADA, SLOT, ())
            case "aside":
                message = encode(SampleShown(STRAND, (0).to_bytes(4, "big")))
                key = session_key(session, ROOM)
                house.egress.deliver(key, SLOT, [Segment(BEN, message)], ())
            case "pause":
                house.egress.pause(session)
            case "resume":
                house.egress.resume(session)
            case "strike the other audience" if len(followers) == 3:
                house.egress.strike(ADA, MEMBERS, SLOT, None, b"")
            case "strike the other audience" if not followers:
                house.egress.strike(ADA, FOLLOWERS, SLOT, None, b"")
            case "sweep":
                house.sweep(which)
    for session in SESSIONS:
        house.egress.resume(session)
    house.drain()
    for session in SESSIONS:
        assert [n for n in house.written[session] if n] == list(range(1, said + 1))


def test_what_is_for_one_follower_alone_overtakes_nothing() -> None:
    """The strands shown again to one from whom something of before is hidden."""
    house = House()
    one, other, _ = SESSIONS
    for session in (one, other):
        house.egress.enter_followers(session, ROOM, ADA, SLOT, ())
    house.egress.deliver(FOLLOWERS, SLOT, [segment(1)], ())
    house.egress.deliver(FOLLOWERS, SLOT, [segment(2)], (DenyPair(one, ADA),))
    house.egress.deliver(session_key(one, ROOM), SLOT, [segment(3)], ())
    house.egress.deliver(FOLLOWERS, SLOT, [segment(4)], ())
    house.drain()
    assert house.written == {one: [1, 3, 4], other: [1, 2, 4], SESSIONS[2]: []}


def test_a_strike_of_the_followers_purges_what_waits_for_them_and_nobody_else() -> None:
    house = House()
    follower, member, _ = SESSIONS
    house.egress.enter_followers(follower, ROOM, ADA, SLOT, [segment(1)])
    house.egress.deliver(FOLLOWERS, SLOT, [segment(2)], ())
    house.egress.deliver(MEMBERS, SLOT, [segment(3)], (DenyPair(follower, ADA),))
    house.egress.deliver(MEMBERS, SLOT, [segment(4, BEN)], ())
    notice = encode(Struck(ROOM, ADA, None))
    house.egress.strike(ADA, FOLLOWERS, SLOT, None, notice)
    house.drain()
    assert sorted(house.written[follower], key=str) == [4, "struck"]
    assert house.written[member] == [3, 4]


def test_a_strike_of_one_follower_leaves_the_others() -> None:
    house = House()
    one, other, member = SESSIONS
    for session in (one, other):
        house.egress.enter_followers(session, ROOM, ADA, SLOT, [segment(1)])
    house.egress.deliver(FOLLOWERS, SLOT, [segment(2)], ())
    house.egress.strike(ADA, FOLLOWERS, SLOT, one, encode(Struck(ROOM, ADA, None)))
    house.egress.depart_followers(one, ROOM, ADA)
    house.egress.deliver(FOLLOWERS, SLOT, [segment(3)], ())
    house.drain()
    assert house.written == {one: ["struck"], other: [1, 2, 3], member: []}


def test_a_strike_reaches_a_followers_waiting_snapshot() -> None:
    """It is owed as the members', and holds what they are shown as followers."""
    for key, session in ((FOLLOWERS, None), (FOLLOWERS, SESSIONS[0])):
        house = House()
        house.egress.enter(SESSIONS[0], MEMBERS, SLOT, [segment(1)], recovered=False)
        house.egress.enter_followers(SESSIONS[0], ROOM, ADA, SLOT, ())
        house.egress.strike(ADA, key, SLOT, session, b"")
        house.drain()
        assert 1 not in house.written[SESSIONS[0]]


def test_a_marker_purges_followers_too() -> None:
    house = House()
    house.egress.enter_followers(SESSIONS[0], ROOM, ADA, SLOT, [segment(1)])
    house.egress.deliver(FOLLOWERS, SLOT, [segment(2), segment(3, BEN)], ())
    house.egress.purge_citizen(SLOT, ADA)
    house.drain()
    assert house.written[SESSIONS[0]] == [3]


def test_who_leaves_the_room_leaves_its_followers() -> None:
    house = House()
    house.egress.enter_followers(SESSIONS[0], ROOM, ADA, SLOT, [segment(1)])
    house.egress.depart(SESSIONS[0], ROOM)
    assert not house.egress.is_member(SESSIONS[0], FOLLOWERS)
    assert not house.egress.deliver(FOLLOWERS, SLOT, [segment(2)], ())
    house.drain()
    assert house.written[SESSIONS[0]] == []
    house.egress.enter_followers(SESSIONS[1], ROOM, ADA, SLOT, ())
    house.egress.clear_slot(SLOT)
    assert not house.egress.deliver(FOLLOWERS, SLOT, [segment(3)], ())


def test_nobody_follows_without_being_a_member() -> None:
    house = House()
    assert not house.egress.enter_followers(SessionId(bytes(16)), ROOM, ADA, SLOT, ())
    assert not house.egress.enter_followers(SESSIONS[0], b"?" * 16, ADA, SLOT, ())
    assert not house.egress.enter_followers(SESSIONS[0], ROOM, ADA, SLOT + 1, ())
    house.egress.depart_followers(SESSIONS[0], ROOM, ADA)


def test_who_follows_several_gets_one_write_for_all_of_them() -> None:
    house = House()
    for citizen in (ADA, BEN):
        for session in SESSIONS[: 2 if citizen == ADA else 1]:
            house.egress.enter_followers(session, ROOM, citizen, SLOT, ())
        house.egress.deliver(followers_key(citizen, ROOM), SLOT, [segment(1, citizen)], ())
    assert house.sweep() == 2
    assert house.written == {SESSIONS[0]: [1, 1], SESSIONS[1]: [1], SESSIONS[2]: []}


# ── through the whole core ───────────────────────────────────────────────────────────────────────


def test_the_edge_stream_lets_a_member_in_and_out_of_the_followers() -> None:
    bench = Bench()
    session = bench.member()
    bench.edge(1, EnterFollowers(session, ROOM, ADA, (segment(1),)))
    bench.edge(2, Deliver(FOLLOWERS, (segment(2),)))
    bench.edge(3, DepartFollowers(session, ROOM, ADA), Deliver(FOLLOWERS, (segment(3),)))
    assert bench.bodies(session) == [n.to_bytes(4, "big") for n in (1, 2)]
    bench.edge(4, EnterFollowers(session, ROOM, ADA), Strike(ADA, FOLLOWERS, None, b"", 0))
    bench.edge(5, Depart(session, ROOM), EnterFollowers(session, ROOM, ADA))
    assert bench.core.edge_drops == {"audience": 1, "session": 1}
    bench.edge(6, Enter(session, ROOM, (), ()), EnterFollowers(session, ROOM, ADA))
    bench.edge(0, Clear(), Deliver(FOLLOWERS, (segment(4),)), epoch=2)
    assert bench.core.edge_drops == {"audience": 2, "session": 1}


def test_a_follow_goes_to_sanctuary_and_is_kept_for_one_that_restarts() -> None:
    bench = Bench()
    session = bench.seated()
    [asked] = published(bench.send(session, Follow(7, ROOM, LIST)), FollowAsk)
    assert (asked.session, asked.ref, asked.record) == (session, 7, LIST)
    assert (asked.gateway, asked.device) == ("gateway-0", bench.signer.public_key)
    answer = encode(Following(7, ROOM, 2))
    bench.receive("back.gateway-0", FollowAnswered(session, ROOM, 7, LIST, answer))
    assert bench.written[session][-1] == Following(7, ROOM, 2)
    refused = encode(c.Refused(8, "stale", "", 0))
    bench.receive("back.gateway-0", FollowAnswered(session, ROOM, 8, None, refused))
    assert kept(bench) == LIST
    # the same join again changes nothing; one signed anew enters anew, and follows nobody
    bench.send(session, Join(1, ROOM, RECORD))
    assert kept(bench) == LIST
    anew = Signed(b"another join", b"z" * 64)
    bench.send(session, Join(2, ROOM, anew))
    bench.receive("back.gateway-0", SeatAnswered(session, ROOM, True, anew, b"", 2))
    assert kept(bench) is None


def kept(bench: Bench) -> Signed | None:
    """What the gateway presents to a sanctuary that restarted, beside the join."""
    wanted = JoinsWanted("sanctuary-0", 1, (SLOT,))
    [again] = published(bench.receive("control.sanctuary-0", wanted), JoinAsk)
    assert again.again
    follow: Signed | None = again.follow
    return follow


def test_a_follow_without_a_seat_is_refused_here() -> None:
    bench = Bench()
    session = bench.live()
    assert not published(bench.send(session, Follow(7, ROOM, LIST)), FollowAsk)
    assert bench.written[session][-1].reason == "not a member"

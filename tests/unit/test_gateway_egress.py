"""The laws of what waits: nothing leaves that was struck, nothing is lost that was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.core.effects import Write, WriteMany
from services.gateway.core.egress import (
    OWN_WRITE_BYTES,
    PENDING_BYTES_MAX,
    Egress,
)
from services.gateway.core.form import Form, payload_of
from services.gateway.core.owed import members_key, public_key, session_key
from shared.codec import encode
from shared.contracts import DenyPair, SampleShown, Segment, TimeIs
from shared.identifiers import SessionId

ROOMS = (b"q" * 16, b"r" * 16)
SLOT = 5
SESSIONS = tuple(SessionId(bytes((65 + n,)) * 16) for n in range(5))
CITIZENS = tuple(bytes((n,)) * 16 for n in range(3))
STRAND = bytes(32)


def segment(citizen: bytes | None, number: int, size: int = 0) -> Segment:
    body = number.to_bytes(4, "big") + bytes(size)
    return Segment(citizen, encode(SampleShown(STRAND, body)))


def numbers_of(payload: bytes) -> Iterator[int | tuple[str, int]]:
    """Sample numbers in order; a snapshot as ("snapshot", count)."""
    for message in msgspec.msgpack.decode(payload):
        if message[0] == "snapshot":
            yield ("snapshot", message[2])
        elif message[0] == "sample":
            yield int.from_bytes(message[2][:4], "big")
        else:
            yield (message[0], message[1])


def drain(egress: Egress) -> dict[bytes, list[Any]]:
    """Everything that can be written now, by session."""
    written: dict[bytes, list[Any]] = {}
    while egress.wants_flush:
        for effect in egress.sweep(2**31):
            sessions = [effect.session] if isinstance(effect, Write) else effect.sessions
            for session in sessions:
                written.setdefault(session, []).extend(numbers_of(effect.payload))
    return written


def recipients(effect: Write | WriteMany) -> int:
    return 1 if isinstance(effect, Write) else len(effect.sessions)


def room_of(count: int, *, json: int = 0, backlog_bytes_max: int = 2**30) -> Egress:
    """An egress with some members of the first room, their snapshots written."""
    egress = Egress(backlog_bytes_max=backlog_bytes_max)
    for number, session in enumerate(SESSIONS[:count]):
        egress.add_viewer(session, form=Form.JSON if number < json else Form.MESSAGEPACK)
        egress.enter(session, members_key(ROOMS[0]), SLOT, (), recovered=False)
    for _ in egress.sweep(2**31):
        pass
    return egress


# ── a model ──────────────────────────────────────────────────────────────────────────────────────


class Model:
    """What each viewer must still get, by stream: its room's, its own form's, its answers."""

    def __init__(self) -> None:
        self.egress = Egress(backlog_bytes_max=2**30)
        self.members: dict[bytes, dict[SessionId, None]] = {room: {} for room in ROOMS}
        self.owed: dict[tuple[SessionId, bytes, str], list[tuple[Any, bytes | None]]] = {}
        self.stream_of: dict[Any, tuple[bytes, str]] = {}
        self.number = 0
        self.paused: dict[SessionId, None] = {}
        for session in SESSIONS:
            self.egress.add_viewer(session, form=Form.MESSAGEPACK)

    def stream(self, session: SessionId, room: bytes, name: str) -> list[tuple[Any, bytes | None]]:
        return self.owed.setdefault((session, room, name), [])

    def next(self, room: bytes, name: str) -> int:
        self.number += 1
        self.stream_of[self.number] = (room, name)
        return self.number

    def enter(self, session: SessionId, room: bytes, citizens: list[bytes]) -> None:
        if session in self.members[room]:
            return
        self.members[room][session] = None
        segments = [segment(citizen, self.next(room, "m")) for citizen in citizens]
        self.egress.enter(session, members_key(room), SLOT, segments, recovered=False)
        stream = self.stream(session, room, "m")
        stream.append(("snapshot", None))
        for part in segments:
            stream.append((next(numbers_of(encode([msgspec.Raw(part.message)]))), part.citizen))

    def depart(self, session: SessionId, room: bytes) -> None:
        self.members[room].pop(session, None)
        self.egress.depart(session, room)
        for name in ("m", "s"):
            self.stream(session, room, name).clear()

    def deliver(
        self, room: bytes, citizens: list[bytes | None], denied: list[tuple[SessionId, bytes]]
    ) -> None:
        segments = [segment(citizen, self.next(room, "m")) for citizen in citizens]
        deny = tuple(DenyPair(session, citizen) for session, citizen in denied)
        self.egress.deliver(members_key(room), SLOT, segments, deny)
        for session in self.members[room]:
            for part in segments:
                if (session, part.citizen) not in denied:
                    [number] = numbers_of(encode([msgspec.Raw(part.message)]))
                    self.stream(session, room, "m").append((number, part.citizen))

    def deliver_one(self, session: SessionId, room: bytes, citizen: bytes) -> None:
        number = self.next(room, "s")
        key = session_key(session, room)
        taken = self.egress.deliver(key, SLOT, [segment(citizen, number)], ())
        assert taken == (session in self.members[room])
        if taken:
            self.stream(session, room, "s").append((number, citizen))

    def answer(self, session: SessionId) -> None:
        number = self.next(b"", "answers")
        self.egress.owe(session, segment(None, number).message)
        self.stream(session, b"", "answers").append((number, None))

    def forget(self, citizen: bytes, *, session: SessionId | None, names: str, room: bytes | None):  # type: ignore[no-untyped-def]  # noqa: ANN201
        for (who, where, name), stream in self.owed.items():
            if session not in {None, who} or room not in {None, where} or name not in names:
                continue
            stream[:] = [entry for entry in stream if entry[1] != citizen]

    def strike(self, citizen: bytes, room: bytes, session: SessionId | None) -> None:
        notice = self.next(room, "m" if session is None else "s")
        message = segment(None, notice).message
        self.egress.strike(citizen, members_key(room), SLOT, session, message)
        self.forget(citizen, session=session, names="ms", room=room)
        for member in self.members[room]:
            if session is None:
                self.stream(member, room, "m").append((notice, None))
            elif member == session:
                self.stream(member, room, "s").append((notice, None))

    def mark(self, citizen: bytes) -> None:
        self.egress.purge_citizen(SLOT, citizen)
        self.forget(citizen, session=None, names="ms", room=None)

    def written(self, session: SessionId, payload: bytes) -> None:
        assert session not in self.paused, "written to a paused viewer"
        left_in_snapshot = -1
        messages = msgspec.msgpack.decode(payload)
        for message, number in zip(messages, numbers_of(payload), strict=True):
            if isinstance(number, tuple):
                stream = self.stream(session, message[1], "m")
                assert stream, "a snapshot was not owed any more"
                assert stream[0][0] == "snapshot", "out of order"
                left_in_snapshot = number[1]
                stream.pop(0)
                continue
            stream = self.stream(session, *self.stream_of[number])
            assert stream, f"{number} was not owed any more"
            assert stream[0][0] == number, "out of order"
            stream.pop(0)
            left_in_snapshot -= 1

    def sweep(
        self, writes_max: int, pausing: list[SessionId], full: Sequence[SessionId] = ()
    ) -> None:
        """Whoever is `full` takes nothing of its next write."""
        for effect in self.egress.sweep(writes_max):
            sessions = [effect.session] if isinstance(effect, Write) else effect.sessions
            for session in sessions:
                if session in full:
                    assert session not in self.paused, "written to a paused viewer"
                    self.paused[session] = None
                    self.egress.take_back(session)
                    continue
                self.written(session, effect.payload)
                if session in pausing and session not in self.paused:
                    self.paused[session] = None
                    self.egress.pause(session)

    def pause(self, session: SessionId) -> None:
        self.paused[session] = None
        self.egress.pause(session)

    def resume(self, session: SessionId) -> None:
        self.paused.pop(session, None)
        self.egress.resume(session)


sessions_ = st.sampled_from(SESSIONS[:4])
rooms_ = st.sampled_from((*ROOMS, ROOMS[0], ROOMS[0]))
citizens_ = st.sampled_from((*CITIZENS[:2], CITIZENS[0]))
operations = st.one_of(
    st.tuples(st.just("enter"), sessions_, rooms_, st.lists(citizens_, max_size=3)),
    st.tuples(st.just("depart"), sessions_, rooms_),
    st.tuples(
        st.just("deliver"),
        rooms_,
        st.lists(st.one_of(st.none(), citizens_), min_size=1, max_size=4),
        st.lists(st.tuples(sessions_, citizens_), max_size=3),
    ),
    st.tuples(st.just("deliver_one"), sessions_, rooms_, citizens_),
    st.tuples(st.just("answer"), sessions_),
    st.tuples(st.just("strike"), citizens_, rooms_, st.one_of(st.none(), sessions_)),
    st.tuples(st.just("mark"), citizens_),
    st.tuples(st.just("sweep"), st.integers(1, 6), st.lists(sessions_, max_size=2)),
    st.tuples(st.just("sweep"), st.integers(1, 6), st.just([]), st.lists(sessions_, max_size=2)),
    st.tuples(st.just("pause"), sessions_),
    st.tuples(st.just("resume"), sessions_),
)


def test_what_a_full_socket_did_not_take_stays_ahead_of_what_came_behind_it() -> None:
    egress = Egress(backlog_bytes_max=1 << 20)
    egress.add_viewer(SESSIONS[0], form=Form.MESSAGEPACK)
    answers = [encode(bytes([number]) * OWN_WRITE_BYTES) for number in range(3)]
    for answer in answers:
        egress.owe(SESSIONS[0], answer)
    for _ in egress.sweep(1):
        egress.take_back(SESSIONS[0])
    assert not egress.wants_flush
    assert egress.backlog_bytes() == sum(map(len, answers))
    egress.resume(SESSIONS[0])
    written = [effect.payload for effect in egress.sweep(10)]
    assert written == [payload_of([answer], Form.MESSAGEPACK) for answer in answers]


@settings(max_examples=400, deadline=None)
@given(st.lists(operations, min_size=4, max_size=60))
def test_each_viewer_gets_exactly_what_it_is_owed_in_order(script: list[Any]) -> None:
    model = Model()
    for room in ROOMS:
        for session in SESSIONS[:3]:
            model.enter(session, room, [])
    for name, *arguments in script:
        getattr(model, name)(*arguments)
    for session in SESSIONS:
        model.resume(session)
    while model.egress.wants_flush:
        model.sweep(3, [])
    assert {key: stream for key, stream in model.owed.items() if stream} == {}
    assert model.egress.backlog_bytes() == 0


# ── single laws ──────────────────────────────────────────────────────────────────────────────────


def test_bytes_are_prepared_once_for_all_members() -> None:
    egress = room_of(5)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    [effect] = egress.sweep(2**31)
    assert isinstance(effect, WriteMany)
    assert sorted(effect.sessions) == sorted(SESSIONS)


def test_slices_of_one_sweep_share_the_very_same_bytes() -> None:
    egress = room_of(5)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    payloads = []
    while egress.wants_flush:
        payloads += [effect.payload for effect in egress.sweep(2)]
    assert len(payloads) == 3
    assert all(payload is payloads[0] for payload in payloads)


def test_a_strike_of_a_form_of_ones_own_takes_it_out_of_the_snapshot_that_waits() -> None:
    egress = room_of(0)
    egress.add_viewer(SESSIONS[0], form=Form.MESSAGEPACK)
    egress.pause(SESSIONS[0])
    shown = [segment(CITIZENS[0], 1), segment(CITIZENS[1], 2)]
    egress.enter(SESSIONS[0], members_key(ROOMS[0]), SLOT, shown, recovered=False)
    own = session_key(SESSIONS[0], ROOMS[0])
    egress.strike(CITIZENS[0], own, SLOT, None, segment(None, 3).message)
    egress.resume(SESSIONS[0])
    assert drain(egress) == {SESSIONS[0]: [("snapshot", 1), 2, 3]}


def test_a_strike_takes_the_rest_of_a_long_snapshot_too() -> None:
    """The rest comes to the session alone, and is the members' form all the same."""
    egress = room_of(1)
    session = SESSIONS[0]
    egress.pause(session)
    egress.deliver(
        session_key(session, ROOMS[0]), SLOT, [segment(CITIZENS[0], 1), segment(CITIZENS[1], 2)], ()
    )
    egress.strike(CITIZENS[0], members_key(ROOMS[0]), SLOT, None, segment(None, 3).message)
    egress.resume(session)
    assert drain(egress) == {session: [2, 3]}


def test_what_is_for_one_alone_does_not_overtake_what_came_for_everybody() -> None:
    egress = room_of(3)
    everybody, alone = members_key(ROOMS[0]), session_key(SESSIONS[0], ROOMS[0])
    egress.deliver(everybody, SLOT, [segment(CITIZENS[0], 1)], ())
    egress.deliver(alone, SLOT, [segment(CITIZENS[0], 2)], ())
    egress.deliver(everybody, SLOT, [segment(CITIZENS[0], 3)], ())
    assert drain(egress) == {
        SESSIONS[0]: [1, 2, 3],
        SESSIONS[1]: [1, 3],
        SESSIONS[2]: [1, 3],
    }


def test_nor_does_it_overtake_a_sweep_that_is_under_way() -> None:
    egress = room_of(3)
    everybody = members_key(ROOMS[0])
    egress.deliver(everybody, SLOT, [segment(CITIZENS[0], 1)], ())
    [effect] = egress.sweep(1)
    assert isinstance(effect, WriteMany)
    [late] = [each for each in SESSIONS[:3] if each not in effect.sessions][:1]
    egress.deliver(session_key(late, ROOMS[0]), SLOT, [segment(CITIZENS[0], 2)], ())
    egress.pause(late)
    list(egress.sweep(2**31))
    egress.resume(late)
    assert drain(egress) == {late: [1, 2]}


def test_a_sweep_ends_when_the_rest_of_its_viewers_has_gone() -> None:
    egress = room_of(2)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    [effect] = egress.sweep(1)
    assert isinstance(effect, WriteMany)
    [served] = effect.sessions
    [waiting] = {SESSIONS[0], SESSIONS[1]} - {served}
    egress.depart(waiting, ROOMS[0])
    assert list(egress.sweep(1)) == []
    assert not egress.wants_flush


def test_what_arrives_amid_a_sweep_goes_out_with_the_rest_of_it() -> None:
    egress = room_of(5)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    [first] = egress.sweep(2)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 2)], ())
    [second] = egress.sweep(2)
    [*rest] = egress.sweep(2)
    assert isinstance(first, WriteMany)
    assert isinstance(second, WriteMany)
    assert list(numbers_of(first.payload)) == [1]
    assert list(numbers_of(second.payload)) == [1, 2]
    # the last of the round, then those of the first slice, who lack the newer one alone
    assert [recipients(effect) for effect in rest] == [1, 1]
    assert [list(numbers_of(effect.payload)) for effect in rest] == [[1, 2], [2]]
    assert [list(numbers_of(effect.payload)) for effect in egress.sweep(2)] == [[2]]
    assert not egress.wants_flush


def test_a_small_room_does_not_wait_for_a_large_one() -> None:
    egress = room_of(4)
    small = SESSIONS[4]
    egress.add_viewer(small, form=Form.MESSAGEPACK)
    egress.enter(small, members_key(ROOMS[1]), SLOT, (), recovered=False)
    list(egress.sweep(2**31))
    for room in ROOMS:
        egress.deliver(members_key(room), SLOT, [segment(CITIZENS[0], 1)], ())
    slices = [list(egress.sweep(2)) for _ in range(3)]
    assert [[recipients(effect) for effect in slice_] for slice_ in slices] == [[2], [1, 1], [1]]
    turn = slices[1][0]
    assert isinstance(turn, WriteMany)
    assert turn.sessions == [small]


def test_single_viewers_leave_half_of_a_slice_to_an_audience() -> None:
    egress = room_of(5)
    for session in SESSIONS[:3]:
        for number in range(3):
            egress.owe(session, encode(TimeIs(number, 0)) + bytes(OWN_WRITE_BYTES))
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    effects = list(egress.sweep(4))
    assert sum(isinstance(effect, Write) for effect in effects) == 2
    assert any(isinstance(effect, WriteMany) for effect in effects)


def test_a_sweep_starts_with_somebody_else_each_time() -> None:
    egress = room_of(5)
    firsts: dict[bytes, None] = {}
    for number in range(10):
        egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], number)], ())
        [effect, *_] = egress.sweep(1)
        assert isinstance(effect, WriteMany)
        firsts[effect.sessions[0]] = None
        drain(egress)
    assert len(firsts) == 5


def test_json_and_messagepack_viewers_share_nothing_but_the_content() -> None:
    egress = room_of(3, json=1)
    egress.deliver(members_key(ROOMS[0]), SLOT, [Segment(None, encode(TimeIs(1, 2)))], ())
    effects = list(egress.sweep(2**31))
    assert sorted((e.form, len(e.sessions)) for e in effects if isinstance(e, WriteMany)) == [
        (Form.MESSAGEPACK, 2),
        (Form.JSON, 1),
    ]
    [text] = [effect.payload for effect in effects if effect.form is Form.JSON]
    assert text == b'[{"type":"time","client_ms":1,"now_ms":2}]'


def test_a_strike_between_two_slices_reaches_the_rest_of_the_sweep() -> None:
    egress = room_of(5)
    both = [segment(CITIZENS[0], 1), segment(CITIZENS[1], 2)]
    egress.deliver(members_key(ROOMS[0]), SLOT, both, ())
    [first] = egress.sweep(2)
    assert list(numbers_of(first.payload)) == [1, 2]
    egress.strike(CITIZENS[0], members_key(ROOMS[0]), SLOT, None, b"")
    rest = drain(egress)
    assert list(rest.values()) == [[2], [2], [2]]


def test_a_sweep_of_nothing_but_the_struck_writes_nothing() -> None:
    egress = room_of(5)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    list(egress.sweep(2))
    egress.purge_citizen(SLOT, CITIZENS[0])
    assert drain(egress) == {}
    assert not egress.wants_flush


def test_a_notice_comes_behind_what_was_written_and_before_what_follows() -> None:
    egress = room_of(1)
    key = members_key(ROOMS[0])
    egress.deliver(key, SLOT, [segment(CITIZENS[0], 1), segment(CITIZENS[1], 2)], ())
    egress.strike(CITIZENS[0], key, SLOT, None, encode(TimeIs(7, 7)))
    egress.deliver(key, SLOT, [segment(CITIZENS[0], 3)], ())
    assert drain(egress)[SESSIONS[0]] == [2, ("time", 7), 3]


def test_a_strike_for_one_session_leaves_the_others_alone() -> None:
    egress = room_of(3)
    key = members_key(ROOMS[0])
    egress.deliver(key, SLOT, [segment(CITIZENS[0], 1), segment(CITIZENS[1], 2)], ())
    egress.strike(CITIZENS[0], key, SLOT, SESSIONS[1], encode(TimeIs(7, 7)))
    egress.deliver(session_key(SESSIONS[1], ROOMS[0]), SLOT, [segment(CITIZENS[0], 3)], ())
    written = drain(egress)
    assert written[SESSIONS[0]] == written[SESSIONS[2]] == [1, 2]
    assert written[SESSIONS[1]] == [("time", 7), 2, 3]


def test_a_strike_for_one_session_between_two_slices_spares_the_others_only() -> None:
    egress = room_of(5)
    key = members_key(ROOMS[0])
    egress.deliver(key, SLOT, [segment(CITIZENS[0], 1), segment(CITIZENS[1], 2)], ())
    [first] = egress.sweep(1)
    assert isinstance(first, WriteMany)
    rest = [session for session in SESSIONS if session not in first.sessions]
    egress.strike(CITIZENS[0], key, SLOT, rest[0], b"")
    assert drain(egress) == {rest[0]: [2], **{session: [1, 2] for session in rest[1:]}}


def test_a_viewer_paused_between_two_slices_keeps_its_share_for_later() -> None:
    egress = room_of(5)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    [first] = egress.sweep(1)
    assert isinstance(first, WriteMany)
    rest = [session for session in SESSIONS if session not in first.sessions]
    egress.pause(rest[0])
    assert drain(egress) == {session: [1] for session in rest[1:]}
    egress.resume(rest[0])
    assert drain(egress) == {rest[0]: [1]}


def test_a_newcomer_whose_snapshot_is_out_already_gets_nothing_older() -> None:
    egress = room_of(3)
    key = members_key(ROOMS[0])
    newcomer = SESSIONS[4]
    egress.add_viewer(newcomer, form=Form.MESSAGEPACK)
    egress.owe(newcomer, segment(None, 1).message)
    egress.deliver(key, SLOT, [segment(CITIZENS[0], 2)], ())
    egress.owe(SESSIONS[0], segment(None, 3).message)
    list(egress.sweep(1))  # the sweep has begun; the newcomer is (or was) its own task
    egress.deliver(key, SLOT, [segment(CITIZENS[0], 4)], ())
    egress.enter(newcomer, key, SLOT, [segment(CITIZENS[0], 4)], recovered=False)
    written = drain(egress)[newcomer]
    assert [number for number in written if isinstance(number, int)][-1:] == [4]
    assert written.count(4) == 1


def test_a_snapshot_counts_what_strikes_have_left_in_it() -> None:
    egress = room_of(0)
    egress.add_viewer(SESSIONS[0], form=Form.MESSAGEPACK)
    segments = [segment(CITIZENS[0], 1), segment(CITIZENS[1], 2), segment(CITIZENS[0], 3)]
    egress.enter(SESSIONS[0], members_key(ROOMS[0]), SLOT, segments, recovered=True)
    egress.strike(CITIZENS[0], members_key(ROOMS[0]), SLOT, None, b"")
    [effect] = egress.sweep(2**31)
    snapshot, *rest = msgspec.msgpack.decode(effect.payload)
    assert snapshot[2:] == [1, False]
    assert len(rest) == 1


def test_a_large_snapshot_is_one_frame() -> None:
    egress = room_of(0)
    egress.add_viewer(SESSIONS[0], form=Form.MESSAGEPACK)
    segments = [segment(None, number, size=1000) for number in range(60)]
    egress.enter(SESSIONS[0], members_key(ROOMS[0]), SLOT, segments, recovered=True)
    [effect] = egress.sweep(2**31)
    assert len(list(numbers_of(effect.payload))) == 61


def test_a_backlog_is_written_in_pieces_that_the_kernel_takes() -> None:
    egress = room_of(1)
    egress.pause(SESSIONS[0])
    for number in range(100):
        one = [segment(CITIZENS[0], number, size=900)]
        egress.deliver(members_key(ROOMS[0]), SLOT, one, ())
    assert drain(egress) == {}
    assert egress.backlog_bytes() > 90_000
    egress.resume(SESSIONS[0])
    [first] = egress.sweep(1)
    assert len(first.payload) <= OWN_WRITE_BYTES + 8
    egress.pause(SESSIONS[0])
    assert drain(egress) == {}


def test_a_paused_viewer_over_its_bound_is_named_and_nobody_else() -> None:
    egress = room_of(3, backlog_bytes_max=5000)
    egress.pause(SESSIONS[1])
    for number in range(6):
        one = [segment(CITIZENS[0], number, size=900)]
        egress.deliver(members_key(ROOMS[0]), SLOT, one, ())
        written = drain(egress)
        assert sorted(written) == [SESSIONS[0], SESSIONS[2]]
    assert list(egress.too_slow) == [SESSIONS[1]]


def test_an_audience_that_outgrows_its_queue_is_named() -> None:
    egress = room_of(1)
    for number in range(PENDING_BYTES_MAX // 100_000 + 1):
        one = [segment(CITIZENS[0], number, size=100_000)]
        egress.deliver(members_key(ROOMS[0]), SLOT, one, ())
    assert list(egress.overflowed_slots) == [SLOT]


def test_a_delivery_of_another_slot_is_not_taken() -> None:
    egress = room_of(2)
    assert not egress.deliver(members_key(ROOMS[0]), SLOT + 1, [segment(None, 1)], ())
    assert not egress.deliver(members_key(ROOMS[1]), SLOT, [segment(None, 1)], ())
    own = session_key(SESSIONS[0], ROOMS[0])
    assert not egress.deliver(own, SLOT + 1, [segment(None, 1)], ())
    assert not egress.deliver(session_key(SESSIONS[4], ROOMS[0]), SLOT, [segment(None, 1)], ())
    assert not egress.deliver(b"?", SLOT, [segment(None, 1)], ())
    assert drain(egress) == {}


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_cleared_slot_leaves_answers_alone(is_paused: bool) -> None:  # noqa: FBT001
    egress = room_of(2)
    if is_paused:
        egress.pause(SESSIONS[0])
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    list(egress.sweep(1))
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 2)], ())
    egress.owe(SESSIONS[0], segment(None, 3).message)
    assert [s for s, _ in egress.clear_slot(SLOT)] == list(SESSIONS[:2])
    egress.resume(SESSIONS[0])
    assert drain(egress) == {SESSIONS[0]: [3]}
    assert not egress.deliver(members_key(ROOMS[0]), SLOT, [segment(None, 4)], ())


def test_a_viewer_that_goes_in_mid_sweep_is_written_to_no_more() -> None:
    egress = room_of(4)
    egress.enter(SESSIONS[0], public_key(ROOMS[1]), SLOT, (), recovered=False)
    drain(egress)
    egress.deliver(members_key(ROOMS[0]), SLOT, [segment(CITIZENS[0], 1)], ())
    [first] = egress.sweep(1)
    assert isinstance(first, WriteMany)
    for session in SESSIONS[:4]:
        egress.drop_viewer(session)
    assert drain(egress) == {}
    assert egress.sessions_of_slot(SLOT) == []

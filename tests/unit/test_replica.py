"""The laws of numbered replicas: whatever is lost or repeated, they end as their owner's state."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import encode, sha256
from shared.contracts import (
    ConsentRecorded,
    ConsentRefused,
    ConsentState,
    Identity,
    IdentityRecorded,
    Kind,
    MemberBatch,
    MemberEvent,
    MemberJoined,
    MemberLeft,
    Members,
    MembersAsk,
    Policy,
    RegistryBeat,
    RegistryControl,
    RoomClosed,
    RoomOpened,
    Setting,
    Signed,
    StateAsk,
    StatePage,
    Tier,
)
from shared.identifiers import MonotonicNs
from shared.replica import (
    ASK_AGAIN_NS,
    HELD_BATCHES_MAX,
    HELD_CONTROL_MAX,
    CitizenForgotten,
    ConsentKnown,
    ConsentNotTaken,
    IdentityKnown,
    MemberChange,
    MembersReplica,
    RegistryChange,
    RegistryCompleted,
    RegistryReplica,
    RoomGone,
    RoomStood,
    SessionJoined,
    SessionLeft,
    SlotCompleted,
)
from shared.subjects import Ask

SLOT = 3
T0 = MonotonicNs(1_000_000_000)


def sixteen(n: int) -> bytes:
    return n.to_bytes(16, "big")


def room(n: int, purpose: str = "") -> RoomOpened:
    policy = Policy(
        sixteen(n), f"room {n}", Kind.COMMONS, Setting.OPEN, Tier.FULL, 10, purpose=purpose
    )
    return RoomOpened(sixteen(n), encode(policy))


def joined(room: int, citizen: int, session: int, gateway: str = "gateway-0") -> MemberJoined:
    return MemberJoined(
        sixteen(room), sixteen(citizen), sixteen(session), bytes(32), gateway, incarnation=7
    )


def left(room: int, citizen: int, session: int) -> MemberLeft:
    return MemberLeft(sixteen(room), sixteen(citizen), sixteen(session))


class Sanctuary:
    """The owner of one slot's members, as simple as it can be."""

    def __init__(self, epoch: int = 1, *, complete: bool = True) -> None:
        self.epoch = epoch
        self.number = -1
        self.complete = complete
        self.rooms: dict[bytes, RoomOpened] = {}
        self.members: dict[tuple[bytes, bytes], MemberJoined] = {}

    def publish(self, *events: MemberEvent) -> MemberBatch:
        for event in events:
            match event:
                case RoomOpened():
                    self.rooms[event.sanctuary] = event
                case RoomClosed():
                    self.rooms.pop(event.sanctuary, None)
                    for key in [k for k in self.members if k[0] == event.sanctuary]:
                        del self.members[key]
                case MemberJoined():
                    self.members[event.sanctuary, event.session] = event
                case MemberLeft():
                    self.members.pop((event.sanctuary, event.session), None)
        self.number += 1
        return MemberBatch(SLOT, self.epoch, self.number, self.complete, events)

    def answer(self) -> Members:
        return Members(
            SLOT,
            self.epoch,
            self.number,
            self.complete,
            tuple(self.rooms.values()),
            tuple(self.members.values()),
        )


class Fold:
    """What somebody knows who saw nothing but the replica's changes."""

    def __init__(self) -> None:
        self.rooms: dict[bytes, bytes] = {}
        self.members: dict[tuple[bytes, bytes], MemberJoined] = {}

    def see(self, changes: list[MemberChange]) -> None:
        for change in changes:
            match change:
                case RoomStood(room, before):
                    assert self.rooms.get(room.sanctuary) == (before and before.policy_bytes)
                    self.rooms[room.sanctuary] = room.policy_bytes
                case RoomGone(room):
                    assert not [k for k in self.members if k[0] == room.sanctuary]
                    del self.rooms[room.sanctuary]
                case SessionJoined(member):
                    key = (member.sanctuary, member.session)
                    assert key not in self.members
                    self.members[key] = member
                case SessionLeft(member):
                    assert self.members.pop((member.sanctuary, member.session)) == member
                case SlotCompleted():
                    pass


ASK = Ask("ask.sanctuary.3", MembersAsk(SLOT), Members)


def follow(owner: Sanctuary) -> tuple[MembersReplica, Fold]:
    replica, fold = MembersReplica([SLOT]), Fold()
    fold.see(replica.answered(ASK, owner.answer(), T0))
    return replica, fold


def test_a_new_replica_asks_at_once_and_again_every_250_ms_until_answered() -> None:
    replica = MembersReplica([SLOT])
    assert replica.next_deadline() == 0
    assert replica.asks(T0) == [ASK]
    assert replica.asks(MonotonicNs(T0 + ASK_AGAIN_NS - 1)) == []
    assert replica.next_deadline() == T0 + ASK_AGAIN_NS
    assert replica.asks(MonotonicNs(T0 + ASK_AGAIN_NS)) == [ASK]
    assert not replica.complete(SLOT)
    replica.answered(ASK, Sanctuary().answer(), T0)
    assert replica.complete(SLOT)
    assert replica.next_deadline() is None


def test_a_state_in_parts_is_shown_when_the_last_part_is_here() -> None:
    owner = Sanctuary()
    owner.publish(room(1), *(joined(1, n, 100 + n) for n in range(6)))
    whole = owner.answer()
    parts = [
        msgspec.structs.replace(
            whole, rooms=whole.rooms[n:], members=whole.members[n * 3 : n * 3 + 3], part=n, parts=2
        )
        for n in range(2)
    ]
    replica = MembersReplica([SLOT])
    assert replica.answered(ASK, parts[1], T0) == []
    # a batch meanwhile: the part that comes now is of another moment
    later = owner.publish(joined(1, 9, 109))
    replica.receive(later, T0)
    assert replica.answered(ASK, msgspec.structs.replace(parts[0], number=later.number), T0) == []
    assert not replica.complete(SLOT)
    assert replica.asking(SLOT)
    replica.answered(ASK, parts[1], T0)
    replica.answered(ASK, parts[0], T0)
    assert replica.complete(SLOT)
    assert not replica.asking(SLOT)
    assert {*replica.members(SLOT)} == {*owner.members.values()}


def test_batches_in_order_are_shown_as_changes_and_need_no_ask() -> None:
    owner = Sanctuary()
    replica, _ = follow(owner)
    changes = replica.receive(owner.publish(room(1), joined(1, 10, 100)), T0)
    assert [type(c) for c in changes] == [RoomStood, SessionJoined]
    stands = replica.room(sixteen(1))
    assert stands is not None
    assert stands.policy.name == "room 1"
    assert stands.policy_hash == sha256(room(1).policy)
    assert replica.member(sixteen(1), sixteen(100)) == joined(1, 10, 100)
    assert list(replica.sessions(sixteen(1), sixteen(10))) == [sixteen(100)]
    assert replica.receive(owner.publish(left(1, 10, 100)), T0) == [
        SessionLeft(joined(1, 10, 100)),
    ]
    assert replica.citizens(sixteen(1)) == {}
    assert replica.asks(T0) == []


def test_a_repeated_batch_changes_nothing() -> None:
    owner = Sanctuary()
    replica, _ = follow(owner)
    batch = owner.publish(room(1), joined(1, 10, 100))
    replica.receive(batch, T0)
    later = owner.publish(left(1, 10, 100))
    replica.receive(later, T0)
    assert replica.receive(batch, T0) == []
    assert replica.population(SLOT) == 0


def test_a_hole_is_asked_for_and_what_came_meanwhile_is_applied_on_top() -> None:
    owner = Sanctuary()
    replica, fold = follow(owner)
    owner.publish(room(1), joined(1, 10, 100))  # lost
    answer = owner.answer()
    late = owner.publish(joined(1, 11, 101))
    assert replica.receive(late, T0) == []
    assert replica.asking(SLOT)
    assert replica.asks(T0) == [ASK]
    fold.see(replica.answered(ASK, answer, T0))
    assert not replica.asking(SLOT)
    assert fold.members == owner.members


def test_a_stale_answer_does_not_close_a_hole() -> None:
    owner = Sanctuary()
    replica, _ = follow(owner)
    stale = owner.answer()
    owner.publish(room(1))  # lost
    replica.receive(owner.publish(room(2)), T0)
    assert replica.answered(ASK, stale, T0) == []
    assert replica.asking(SLOT)


def test_an_older_epoch_is_dropped() -> None:
    owner = Sanctuary(epoch=5)
    replica, _ = follow(owner)
    old = Sanctuary(epoch=4)
    assert replica.receive(old.publish(room(1)), T0) == []
    assert replica.answered(ASK, old.answer(), T0) == []
    assert replica.room(sixteen(1)) is None


def test_a_new_epoch_is_asked_for_at_once_and_shown_only_when_complete() -> None:
    owner = Sanctuary()
    replica, fold = follow(owner)
    fold.see(replica.receive(owner.publish(room(1), joined(1, 10, 100), joined(1, 11, 101)), T0))
    later = Sanctuary(epoch=2, complete=False)
    assert replica.receive(later.publish(room(1), joined(1, 11, 101)), T0) == []
    assert replica.asks(T0) == [ASK]
    assert replica.answered(ASK, later.answer(), T0) == []
    assert replica.population(SLOT) == 2
    assert replica.complete(SLOT)
    later.complete = True
    changes = replica.receive(later.publish(joined(1, 12, 102)), T0)
    assert changes == [
        SessionLeft(joined(1, 10, 100)),
        SessionJoined(joined(1, 12, 102)),
        SlotCompleted(SLOT, 2),
    ]


def test_who_leaves_and_comes_again_while_nobody_looks_enters_anew() -> None:
    """Behind a hole, or before a new epoch is complete: the join's signature tells them apart."""
    again = msgspec.structs.replace(joined(1, 10, 100), seating=b"another.")
    owner = Sanctuary()
    replica, _ = follow(owner)
    replica.receive(owner.publish(room(1), joined(1, 10, 100)), T0)
    owner.publish(left(1, 10, 100))  # lost
    owner.publish(again)  # lost
    replica.receive(owner.publish(), T0)
    assert replica.answered(ASK, owner.answer(), T0) == [
        SessionLeft(joined(1, 10, 100)),
        SessionJoined(again),
        SlotCompleted(SLOT, 1),
    ]


def test_a_changed_policy_is_told_with_the_one_before() -> None:
    owner = Sanctuary()
    replica, _ = follow(owner)
    replica.receive(owner.publish(room(1)), T0)
    (change,) = replica.receive(owner.publish(room(1, "other")), T0)
    assert isinstance(change, RoomStood)
    assert change.before is not None
    assert change.before.policy.purpose == ""
    assert change.room.policy.purpose == "other"
    assert replica.receive(owner.publish(room(1, "other")), T0) == []


def test_a_session_that_comes_again_elsewhere_leaves_first() -> None:
    owner = Sanctuary()
    replica, _ = follow(owner)
    replica.receive(owner.publish(room(1), joined(1, 10, 100)), T0)
    assert replica.receive(owner.publish(joined(1, 10, 100, "gateway-1")), T0) == [
        SessionLeft(joined(1, 10, 100)),
        SessionJoined(joined(1, 10, 100, "gateway-1")),
    ]


def test_a_room_whose_policy_cannot_be_read_does_not_stand() -> None:
    owner = Sanctuary()
    replica, _ = follow(owner)
    assert replica.receive(owner.publish(RoomOpened(sixteen(1), b"\x90")), T0) == []
    assert replica.room(sixteen(1)) is None
    assert replica.unreadable_rooms == 1


def test_what_is_held_behind_a_hole_is_bounded() -> None:
    owner = Sanctuary()
    replica, fold = follow(owner)
    owner.publish(room(1))  # lost
    for session in range(HELD_BATCHES_MAX + 10):
        replica.receive(owner.publish(joined(1, 1, session)), T0)
    assert len(replica._slots[SLOT].held) == HELD_BATCHES_MAX
    fold.see(replica.answered(ASK, owner.answer(), T0))
    assert fold.members == owner.members


numbers = st.integers(0, 3)
member_events = st.one_of(
    st.builds(room, numbers, st.sampled_from(["", "other"])),
    numbers.map(lambda n: RoomClosed(sixteen(n))),
    st.builds(joined, numbers, numbers, numbers, st.sampled_from(["gateway-0", "gateway-1"])),
    st.builds(left, numbers, numbers, numbers),
)
STEPS = ("deliver", "lose", "repeat", "answer", "late answer", "restart", "complete")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(member_events, max_size=3), st.sampled_from(STEPS), st.integers(0, 9)),
        max_size=30,
    )
)
def test_members_converge_under_any_loss_repetition_delay_and_restart(
    steps: list[tuple[list[MemberEvent], str, int]],
) -> None:
    owner = Sanctuary()
    replica, fold = MembersReplica([SLOT]), Fold()
    sent: list[MemberBatch] = []
    answers: list[Members] = [owner.answer()]
    for events, step, pick in steps:
        if step == "restart":
            owner = Sanctuary(owner.epoch + 1, complete=False)
        if step == "complete":
            owner.complete = True
        batch = owner.publish(*events)
        sent.append(batch)
        if step != "lose":
            fold.see(replica.receive(batch, T0))
        if step == "repeat":
            fold.see(replica.receive(sent[pick % len(sent)], T0))
        answers.append(owner.answer())
        if step == "answer":
            fold.see(replica.answered(ASK, answers[-1], T0))
        if step == "late answer":
            fold.see(replica.answered(ASK, answers[pick % len(answers)], T0))
    # the faults stop
    owner.complete = True
    fold.see(replica.receive(owner.publish(), T0))
    if replica.asks(MonotonicNs(T0 + 10**9)):
        fold.see(replica.answered(ASK, owner.answer(), T0))
    assert not replica.asking(SLOT)
    assert fold.rooms == {s: r.policy for s, r in owner.rooms.items()}
    assert fold.members == owner.members
    assert {r.sanctuary: r.policy_bytes for r in replica.rooms(SLOT)} == fold.rooms
    assert {(m.sanctuary, m.session): m for m in replica.members(SLOT)} == owner.members
    by_citizen = {
        (sanctuary, session)
        for sanctuary in {m.sanctuary for m in owner.members.values()}
        for sessions in replica.citizens(sanctuary).values()
        for session in sessions
    }
    assert by_citizen == set(owner.members)


# ── registry ─────────────────────────────────────────────────────────────────────────────────────

CHARTER = Signed(b"charter", bytes(64))
RECORD = Signed(b"record", bytes(64))


def identity(citizen: int, devices: int = 1) -> Identity:
    return Identity(sixteen(citizen), bytes(32), bytes(32), (bytes(32),) * devices)


class Registry:
    """The owner of identities and consent; pages of two citizens."""

    def __init__(self) -> None:
        self.epoch = 1
        self.number = 0
        self.identities: dict[bytes, Identity] = {}
        self.states: dict[bytes, ConsentState] = {}

    def record_identity(self, citizen: int, devices: int) -> IdentityRecorded:
        known = identity(citizen, devices)
        self.identities[known.citizen] = known
        self.number += 1
        return IdentityRecorded("registry-0", self.epoch, self.number, known)

    def record_consent(self, citizen: int) -> ConsentRecorded:
        before = self.states.get(sixteen(citizen))
        counter = 1 if before is None else before.counter + 1
        state = ConsentState(sixteen(citizen), counter, bytes(32), (), ())
        self.states[state.citizen] = state
        self.number += 1
        return ConsentRecorded("registry-0", self.epoch, self.number, RECORD, state)

    def refuse(self, citizen: int) -> ConsentRefused:
        self.number += 1
        return ConsentRefused(
            "registry-0", self.epoch, self.number, sixteen(citizen), bytes([1]) * 32
        )

    def beat(self) -> RegistryBeat:
        return RegistryBeat("registry-0", self.epoch, self.number)

    def page(self, ask: Ask) -> StatePage:
        assert isinstance(ask.event, StateAsk)
        after = ask.event.after
        everyone = sorted({*self.identities, *self.states})
        rest = [c for c in everyone if after is None or c > after]
        here, more = rest[:2], len(rest) > 2
        return StatePage(
            self.epoch,
            self.number,
            CHARTER,
            tuple(self.identities[c] for c in here if c in self.identities),
            tuple(self.states[c] for c in here if c in self.states) if ask.event.consent else (),
            here[-1] if more else None,
        )


class CityFold:
    def __init__(self) -> None:
        self.identities: dict[bytes, Identity] = {}
        self.states: dict[bytes, ConsentState] = {}

    def see(self, changes: list[RegistryChange]) -> None:
        for change in changes:
            match change:
                case IdentityKnown(identity):
                    self.identities[identity.citizen] = identity
                case ConsentKnown(state, _):
                    self.states[state.citizen] = state
                case CitizenForgotten(citizen, is_known):
                    self.states.pop(citizen, None)
                    if not is_known:
                        del self.identities[citizen]
                case ConsentNotTaken() | RegistryCompleted():
                    pass


def read(replica: RegistryReplica, owner: Registry, at: int = T0 + 10**9) -> list[RegistryChange]:
    """Answer the replica until it asks no more."""
    changes: list[RegistryChange] = []
    for _ in range(100):
        asks = replica.asks(MonotonicNs(at))
        if not asks:
            return changes
        for ask in asks:
            changes += replica.answered(ask, owner.page(ask), MonotonicNs(at))
    raise AssertionError("the replica never stopped asking")


def test_pages_are_asked_for_one_after_the_other_until_complete() -> None:
    owner = Registry()
    for citizen in range(5):
        owner.record_identity(citizen, 1)
    replica = RegistryReplica(consent=False)
    (first,) = replica.asks(T0)
    assert first.event == StateAsk(None, consent=False)
    assert first.subject == "ask.registry.0"
    assert replica.asks(MonotonicNs(T0 + ASK_AGAIN_NS - 1)) == []
    assert replica.answered(first, owner.page(first), T0) == []
    (second,) = replica.asks(T0)
    assert second.event == StateAsk(sixteen(1), consent=False)
    assert not replica.complete
    changes = replica.answered(second, owner.page(second), T0)
    assert changes == []
    changes = read(replica, owner)
    assert [type(c) for c in changes] == [IdentityKnown] * 5 + [RegistryCompleted]
    assert replica.certain
    assert replica.next_deadline() is None
    assert replica.city == sha256(b"charter")


def test_a_page_that_answers_an_earlier_ask_is_ignored() -> None:
    owner = Registry()
    for citizen in range(3):
        owner.record_identity(citizen, 1)
    replica = RegistryReplica(consent=False)
    (first,) = replica.asks(T0)
    page = owner.page(first)
    replica.answered(first, page, T0)
    assert replica.answered(first, page, T0) == []
    assert not replica.complete
    read(replica, owner)
    assert replica.complete


def test_a_message_that_came_between_two_pages_is_not_lost() -> None:
    owner = Registry()
    for citizen in range(4):
        owner.record_identity(citizen, 1)
    replica = RegistryReplica(consent=False)
    (first,) = replica.asks(T0)
    replica.answered(first, owner.page(first), T0)
    replica.receive(owner.record_identity(0, 2), T0)
    read(replica, owner)
    assert replica.identities == owner.identities
    assert replica.certain


def test_a_beat_shows_a_lost_tail() -> None:
    owner = Registry()
    replica = RegistryReplica(consent=False)
    read(replica, owner)
    owner.record_identity(1, 1)  # lost
    assert replica.certain
    replica.receive(owner.beat(), T0)
    assert not replica.certain
    assert replica.complete
    read(replica, owner)
    assert replica.identities == owner.identities


def test_a_message_behind_a_hole_acts_at_once() -> None:
    owner = Registry()
    replica = RegistryReplica(consent=True)
    read(replica, owner)
    owner.record_identity(1, 1)  # lost
    behind = owner.record_consent(2)
    assert replica.receive(behind, T0) == [ConsentKnown(behind.state, RECORD)]
    assert not replica.certain


def test_an_old_answer_cannot_take_back_what_was_heard_since() -> None:
    owner = Registry()
    owner.record_identity(1, 1)
    replica = RegistryReplica(consent=True)
    (ask,) = replica.asks(T0)
    old = owner.page(ask)
    read(replica, owner)
    owner.record_identity(2, 1)  # lost
    replica.receive(owner.record_consent(1), T0)
    for _ in range(2):
        assert replica.answered(ask, old, T0) == []
    assert list(replica.states) == [sixteen(1)]
    assert read(replica, owner) == [IdentityKnown(identity(2)), RegistryCompleted(1)]


def test_a_new_epoch_is_read_again_while_the_old_state_stands() -> None:
    owner = Registry()
    owner.record_identity(1, 1)
    replica = RegistryReplica(consent=False)
    read(replica, owner)
    owner.epoch, owner.number = 2, 0
    owner.identities.clear()
    replica.receive(owner.beat(), T0)
    assert not replica.certain
    assert sixteen(1) in replica.identities
    assert read(replica, owner) == [
        CitizenForgotten(sixteen(1), is_known=False),
        RegistryCompleted(2),
    ]


def test_an_older_registry_is_not_heard() -> None:
    owner = Registry()
    owner.epoch = 4
    replica = RegistryReplica(consent=False)
    read(replica, owner)
    replica.receive(owner.beat(), T0)
    old = Registry()
    assert replica.receive(old.record_identity(1, 1), MonotonicNs(T0 + 5)) == []
    assert replica.silent_for(MonotonicNs(T0 + 9)) == 9
    assert replica.identities == {}


def test_a_refusal_is_told_once() -> None:
    owner = Registry()
    replica = RegistryReplica(consent=True)
    read(replica, owner)
    refusal = owner.refuse(1)
    assert replica.receive(refusal, T0) == [ConsentNotTaken(sixteen(1), bytes([1]) * 32)]
    assert replica.receive(refusal, T0) == []


def test_the_log_of_a_reading_is_bounded() -> None:
    owner = Registry()
    replica = RegistryReplica(consent=False)
    replica.asks(T0)
    for _ in range(HELD_CONTROL_MAX + 1):
        replica.receive(owner.record_identity(1, 1), T0)
    assert replica._reading is not None
    assert replica._reading.log == []
    read(replica, owner)
    assert replica.identities == owner.identities


ACTS = ("identity", "consent", "refusal", "beat", "restart")
FATES = ("deliver", "lose", "repeat", "ask", "answer", "late answer")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ACTS),
            numbers,
            st.sampled_from(FATES),
            st.integers(0, 30),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_the_registry_s_state_converges_under_any_loss_repetition_delay_and_restart(
    steps: list[tuple[str, int, str, int, bool]],
) -> None:
    owner = Registry()
    replica, fold = RegistryReplica(consent=True), CityFold()
    sent: list[RegistryControl] = []
    asks: list[Ask] = []
    answers: list[tuple[Ask, StatePage]] = []
    now = int(T0)
    for act, citizen, fate, pick, forgets in steps:
        now += 100_000_000
        at = MonotonicNs(now)
        event: RegistryControl
        if act == "identity":
            event = owner.record_identity(citizen, 1 + pick % 3)
        elif act == "consent":
            event = owner.record_consent(citizen)
        elif act == "refusal":
            event = owner.refuse(citizen)
        else:
            if act == "restart":
                owner.epoch, owner.number = owner.epoch + 1, 0
                if forgets:
                    owner.identities.pop(sixteen(citizen), None)
                    owner.states.pop(sixteen(citizen), None)
            event = owner.beat()
        sent.append(event)
        if fate != "lose":
            fold.see(replica.receive(event, at))
        if fate == "repeat":
            fold.see(replica.receive(sent[pick % len(sent)], at))
        if fate == "ask":
            asks += replica.asks(at)
            answers += [(ask, owner.page(ask)) for ask in asks[-1:]]
        if fate == "answer" and answers:
            ask, page = answers[-1]
            fold.see(replica.answered(ask, page, at))
        if fate == "late answer" and answers:
            ask, page = answers[pick % len(answers)]
            fold.see(replica.answered(ask, page, at))
    # the faults stop
    for _ in range(3):
        now += 10**9
        fold.see(replica.receive(owner.beat(), MonotonicNs(now)))
        fold.see(read(replica, owner, now + 10**9))
    assert replica.certain
    assert replica.identities == owner.identities == fold.identities
    assert replica.states == owner.states == fold.states


def test_the_answers_are_of_the_types_asked_for() -> None:
    (ask,) = MembersReplica([SLOT]).asks(T0)
    assert ask.answer is Members
    (ask,) = RegistryReplica(consent=True).asks(T0)
    assert ask.answer is StatePage
    assert msgspec.msgpack.decode(encode(ask.event)) == ["state ask/1", None, True]

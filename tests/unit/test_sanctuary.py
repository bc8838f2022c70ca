"""Sanctuary's core: who is seated, who is told, and what a restart or a silence does to seats."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.genesis import make_charter
from services.sanctuary.core import (
    Effect,
    Limits,
    Sanctuary,
    SeedsUnusable,
    read_seeds,
    with_voices,
)
from services.sanctuary.core.follows import Follows
from services.sanctuary.core.sanctuary import (
    COLLECT_NS,
    LIST_NS,
    SILENCE_NS,
    SKEW_MS_MAX,
    WAIT_NS,
    weigh,
)
from shared.codec import Refused, decode, encode, sha256
from shared.contracts import (
    FollowAnswered,
    FollowAsk,
    Following,
    FollowRequest,
    GatewayBeat,
    IdentityRecorded,
    JoinAsk,
    Joined,
    JoinRequest,
    JoinsWanted,
    LeaveAsk,
    Left,
    MemberBatch,
    MemberFollows,
    MemberJoined,
    MemberLeft,
    Members,
    MembersAsk,
    Policy,
    RecordKind,
    RegistryBeat,
    RoomOpened,
    RoomsListed,
    SanctuaryBeat,
    SeatAnswered,
    Signed,
    StatePage,
)
from shared.contracts import Refused as RefusedMessage
from shared.identifiers import MonotonicNs, WallMs, sanctuary_of_slug, slot_of
from shared.identity import Signer, did_of
from shared.replica import MembersReplica
from shared.subjects import Ask, Publish, Reply, ask, back, control, member
from tests.support.person import Person

NOW_NS, NOW_MS = MonotonicNs(10_000_000_000), WallMs(1_790_000_000_000)
MS = 1_000_000
CHARTER = make_charter(
    'name = "test"\ntier_max = "full"\nquorum = 1\n[[institutions]]\nname = "founder"\n',
    Signer(sha256(b"founder")),
    WallMs(1),
)
CITY = sha256(CHARTER.payload)
GATEWAY = "gateway-0"
COMMONS, STAGE, CIRCLE, LOCKED = (
    sanctuary_of_slug(slug) for slug in ("commons", "stage", "circle", "locked")
)
HERE = tuple(sorted({*map(slot_of, (COMMONS, STAGE, CIRCLE, LOCKED)), 63}))
"""The house's slots: those of its rooms and one without a room."""
PEOPLE = {
    name: Person(name, CITY, citizen=sha256(name.encode())[:16])
    for name in ("ada", "ben", "cleo", "dara", "eve")
}
ADA, BEN = PEOPLE["ada"], PEOPLE["ben"]
DID_OF_ADA, DID_OF_BEN = (did_of(person.identity.public_key) for person in (ADA, BEN))
TOML = f"""
[[sanctuary]]
slug = "commons"
name = "Commons"
kind = "commons"
setting = "open"
tier_max = "full"
capacity = 3

[[sanctuary]]
slug = "stage"
name = "Stage"
kind = "stage"
setting = "open"
tier_max = "full"
capacity = 100
public = true
voices = ["{DID_OF_BEN}", "{bytes(16).hex()}"]

[[sanctuary]]
slug = "circle"
name = "Circle"
kind = "circle"
setting = "therapy"
tier_max = "full"
capacity = 2
invited = ["{DID_OF_ADA}"]

[[sanctuary]]
slug = "locked"
name = "A circle that invites nobody"
kind = "circle"
setting = "open"
tier_max = "full"
capacity = 2
"""


class House:
    """A sanctuary for all slots, the registry's answers, and what a reader of `member.*` holds."""

    def __init__(
        self,
        *,
        known: tuple[str, ...] = ("ada", "ben", "cleo", "dara"),
        epoch: int = 1,
        toml: str = TOML,
        reader: MembersReplica | None = None,
    ) -> None:
        self.core = Sanctuary(
            "sanctuary-0",
            slots=dict.fromkeys(HERE, epoch),
            seeds=read_seeds(toml),
            limits=Limits(),
        )
        self.now_ns, self.now_ms = NOW_NS, NOW_MS
        self.identities = [PEOPLE[name].known_as(PEOPLE[name].citizen) for name in known]
        self.number = len(known)
        self.reader = reader or MembersReplica(HERE)
        self.read: list[MemberBatch] = []
        self.beating: dict[str, int] = {}
        self.does_registry_answer = True

    def start(self) -> House:
        self.do(self.core.start(self.now_ns, self.now_ms))
        return self

    def complete(self) -> House:
        """Started, and the time for kept joins is over."""
        self.start()
        self.beating = {GATEWAY: 1}
        self.pass_time(COLLECT_NS + 250 * MS)
        assert self.core.pending() == ""
        return self

    def do(self, effects: list[Effect]) -> list[Any]:
        events: list[Any] = []
        for effect in effects:
            match effect:
                case Ask():
                    if self.does_registry_answer:
                        page = StatePage(1, self.number, CHARTER, tuple(self.identities), (), None)
                        events += self.do(
                            self.core.answered(effect, page, self.now_ns, self.now_ms)
                        )
                case Publish(subject, event):
                    events.append(event)
                    if isinstance(event, MemberBatch):
                        assert subject == member(event.slot)
                        self.read.append(event)
                        self.reader.receive(event, self.now_ns)
                case Reply():
                    events.append(effect.event)
        self.answer_reader(self.reader)
        return events

    def answer_reader(self, reader: MembersReplica) -> None:
        for asked in reader.asks(self.now_ns):
            for effect in self.core.receive(asked.subject, asked.event, self.now_ns, self.now_ms):
                assert isinstance(effect, Reply)
                assert isinstance(effect.event, Members)
                reader.answered(asked, effect.event, self.now_ns)

    def receive(self, subject: str, event: Any) -> list[Any]:
        return self.do(self.core.receive(subject, event, self.now_ns, self.now_ms))

    def pass_time(self, ns: int) -> list[Any]:
        """Tick at each deadline; registry and the gateways in `beating` beat every 250 ms."""
        events: list[Any] = []
        end = self.now_ns + ns
        beat_ns = self.now_ns
        while True:
            deadline = self.core.next_deadline()
            at = min(beat_ns, end if deadline is None else deadline)
            if at > end:
                break
            passed = max(0, at - self.now_ns)
            self.now_ns = MonotonicNs(self.now_ns + passed)
            self.now_ms = WallMs(self.now_ms + passed // MS)
            if at == beat_ns:
                beat_ns = MonotonicNs(beat_ns + 250 * MS)
                if self.does_registry_answer:
                    events += self.receive(
                        control("registry-0"), RegistryBeat("registry-0", 1, self.number)
                    )
                for gateway, incarnation in self.beating.items():
                    beat = GatewayBeat(gateway, incarnation, 0)
                    events += self.receive(control(gateway), beat)
            if deadline is not None and deadline <= self.now_ns:
                events += self.do(self.core.tick(self.now_ns, self.now_ms))
        self.now_ms = WallMs(self.now_ms + (end - self.now_ns) // MS)
        self.now_ns = MonotonicNs(end)
        return events

    def enrol(self, person: Person) -> list[Any]:
        identity = person.known_as(person.citizen)
        self.identities.append(identity)
        self.number += 1
        return self.receive(
            control("registry-0"), IdentityRecorded("registry-0", 1, self.number, identity)
        )

    def join(
        self,
        person: Person,
        sanctuary: bytes = COMMONS,
        *,
        session: bytes | None = None,
        gateway: str = GATEWAY,
        incarnation: int = 1,
        record: Signed | None = None,
        again: bool = False,
        ref: int = 5,
        follow: Signed | None = None,
    ) -> list[Any]:
        session = session or person.citizen
        record = record or person.join(sanctuary, session, self.now_ms, gateway=gateway)
        asked = JoinAsk(
            gateway,
            incarnation,
            session,
            person.device.public_key,
            ref,
            sanctuary,
            record,
            again,
            follow,
        )
        return self.receive(ask("sanctuary", slot_of(sanctuary)), asked)

    def follow(
        self,
        person: Person,
        *followed: bytes,
        sanctuary: bytes = COMMONS,
        session: bytes | None = None,
        gateway: str = GATEWAY,
        incarnation: int = 1,
        number: int = 1,
        record: Signed | None = None,
    ) -> list[Any]:
        session = session or person.citizen
        asked = FollowAsk(
            gateway,
            incarnation,
            session,
            person.device.public_key,
            7,
            sanctuary,
            record
            or person.follow(
                sanctuary, session, followed, self.now_ms, number=number, gateway=gateway
            ),
        )
        return self.receive(ask("sanctuary", slot_of(sanctuary)), asked)

    def leave(
        self,
        session: bytes,
        sanctuary: bytes = COMMONS,
        *,
        ref: int | None = 6,
        gateway: str = GATEWAY,
        incarnation: int = 1,
    ) -> list[Any]:
        asked = LeaveAsk(gateway, incarnation, session, ref, sanctuary)
        return self.receive(ask("sanctuary", slot_of(sanctuary)), asked)

    def members(self, sanctuary: bytes = COMMONS) -> list[bytes]:
        """The citizens whom a reader of the stream holds."""
        return list(self.reader.citizens(sanctuary))

    def state(self, slot: int) -> Members:
        (members,) = self.receive(ask("sanctuary", slot), MembersAsk(slot))
        assert isinstance(members, Members)
        return members


def answer(events: list[Any]) -> SeatAnswered:
    (found,) = [event for event in events if isinstance(event, SeatAnswered)]
    return found


def refusal(events: list[Any]) -> str:
    found = answer(events)
    assert not found.seated
    assert found.record is None
    return decode(found.message, RefusedMessage).reason


def follow_answer(events: list[Any]) -> FollowAnswered:
    (found,) = [event for event in events if isinstance(event, FollowAnswered)]
    return found


def follow_refusal(events: list[Any]) -> str:
    assert not [event for event in events if isinstance(event, MemberBatch)]
    found = follow_answer(events)
    assert found.record is None
    return decode(found.message, RefusedMessage).reason


# ── joining ──────────────────────────────────────────────────────────────────────────────────────


def test_a_join_is_published_then_answered_with_policy_and_record() -> None:
    house = House().complete()
    record = ADA.join(COMMONS, ADA.citizen, house.now_ms)
    batch, answered = house.join(ADA, record=record)
    assert batch.events == (
        MemberJoined(
            COMMONS,
            ADA.citizen,
            ADA.citizen,
            ADA.device.public_key,
            GATEWAY,
            1,
            record.signature[:8],
        ),
    )
    assert (answered.seated, answered.record) == (True, record)
    joined = decode(answered.message, Joined)
    assert (joined.ref, joined.policy_hash) == (5, sha256(joined.policy))
    assert decode(joined.policy, Policy).name == "Commons"
    assert house.members() == [ADA.citizen]


def test_a_session_seated_twice_has_one_seat() -> None:
    house = House().complete()
    house.join(ADA)
    (answered,) = house.join(ADA, ref=9)
    assert decode(answered.message, Joined).ref == 9
    assert house.core.seats == 1


def test_a_join_signed_anew_is_entered_anew() -> None:
    house = House().complete()
    house.join(ADA)
    house.pass_time(MS)
    batch, answered = house.join(ADA)
    assert [type(event) for event in batch.events] == [MemberLeft, MemberJoined]
    assert answered.seated
    assert house.core.seats == 1


def test_capacity_counts_citizens_not_sessions() -> None:
    house = House().complete()
    for name in ("ada", "ben", "cleo"):
        for number in range(2):
            session = sha256(f"{name}{number}".encode())[:16]
            assert answer(house.join(PEOPLE[name], session=session)).seated
    assert refusal(house.join(PEOPLE["dara"])) == "full"
    house.leave(sha256(b"ada0")[:16])
    assert refusal(house.join(PEOPLE["dara"])) == "full"
    house.leave(sha256(b"ada1")[:16])
    assert answer(house.join(PEOPLE["dara"])).seated


def _request(**changes: Any) -> bytes:
    fields = {
        "sanctuary": COMMONS,
        "session": ADA.citizen,
        "gateway": GATEWAY,
        "citizen": ADA.citizen,
        "device": ADA.device.public_key,
        "t_ms": NOW_MS + 1250,
        **changes,
    }
    return encode(JoinRequest(**fields))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xc1", "malformed"),
        (_request() + b"\xc0", "malformed"),
        (_request(sanctuary=STAGE), "wrong session"),
        (_request(session=BEN.citizen), "wrong session"),
        (_request(gateway="gateway-1"), "wrong session"),
        (_request(device=BEN.device.public_key), "unknown device"),
        (_request(t_ms=NOW_MS - SKEW_MS_MAX), "skew"),
        (_request(t_ms=NOW_MS + 1251 + SKEW_MS_MAX), "skew"),
    ],
)
def test_a_bad_join_is_refused_by_name(payload: bytes, reason: str) -> None:
    house = House().complete()
    record = ADA.device.sign_record(RecordKind.JOIN, CITY, payload)
    assert refusal(house.join(ADA, record=record)) == reason
    assert house.core.seats == 0


def test_a_join_needs_the_devices_signature_in_its_domain_and_city() -> None:
    house = House().complete()
    payload = _request()
    for record in (
        ADA.identity.sign_record(RecordKind.JOIN, CITY, payload),
        ADA.device.sign_record(RecordKind.OPENING, CITY, payload),
        ADA.device.sign_record(RecordKind.JOIN, bytes(32), payload),
    ):
        assert refusal(house.join(ADA, record=record)) == "bad signature"


def test_a_join_is_refused_on_a_socket_of_another_device() -> None:
    house = House().complete()
    asked = JoinAsk(
        GATEWAY,
        1,
        ADA.citizen,
        BEN.device.public_key,  # whose token opened the socket
        5,
        COMMONS,
        ADA.join(COMMONS, ADA.citizen, house.now_ms),
    )
    assert refusal(house.receive(ask("sanctuary", slot_of(COMMONS)), asked)) == "unknown device"


def test_an_unknown_citizens_join_waits_a_second_and_is_then_refused() -> None:
    house = House().complete()
    assert house.join(PEOPLE["eve"]) == []
    events = house.pass_time(WAIT_NS + MS)
    assert refusal(events) == "unknown citizen"


def test_a_join_that_overtook_the_enrolment_is_seated_when_the_citizen_is_known() -> None:
    house = House().complete()
    assert house.join(PEOPLE["eve"]) == []
    assert answer(house.enrol(PEOPLE["eve"])).seated
    assert house.members() == [PEOPLE["eve"].citizen]
    assert not [e for e in house.pass_time(2 * WAIT_NS) if isinstance(e, SeatAnswered)]


def test_what_one_may_not_enter_looks_like_what_is_not_there() -> None:
    house = House().complete()

    def asked(sanctuary: bytes) -> tuple[Any, ...]:
        found = answer(house.join(PEOPLE["cleo"], sanctuary))
        return (found.seated, found.record, found.message, found.ref)

    nowhere = asked(b"?" * 16)
    assert decode(nowhere[2], RefusedMessage).reason == "no such room"
    assert asked(CIRCLE) == asked(LOCKED) == nowhere
    assert house.leave(b"x" * 16, CIRCLE)[0].message == encode(Left(6, CIRCLE))
    assert house.leave(b"x" * 16, b"?" * 16)[0].message == encode(Left(6, b"?" * 16))


def test_who_is_invited_enters_a_circle() -> None:
    house = House().complete()
    assert answer(house.join(ADA, CIRCLE)).seated
    assert refusal(house.join(BEN, CIRCLE)) == "no such room"


def test_a_session_cannot_be_taken_over_by_another_gateway() -> None:
    house = House().complete()
    house.join(ADA)
    taken = BEN.join(COMMONS, ADA.citizen, house.now_ms, gateway="gateway-1")
    events = house.join(BEN, session=ADA.citizen, gateway="gateway-1", record=taken)
    assert refusal(events) == "wrong session"
    assert house.members() == [ADA.citizen]


def test_a_session_that_becomes_somebody_else_leaves_first() -> None:
    house = House().complete()
    house.join(ADA)
    batch, _ = house.join(BEN, session=ADA.citizen)
    assert [type(event) for event in batch.events] == [MemberLeft, MemberJoined]
    assert house.members() == [BEN.citizen]


# ── leaving ──────────────────────────────────────────────────────────────────────────────────────


def test_a_leave_is_published_and_answered_and_may_be_repeated() -> None:
    house = House().complete()
    house.join(ADA)
    batch, answered = house.leave(ADA.citizen)
    assert batch.events == (MemberLeft(COMMONS, ADA.citizen, ADA.citizen),)
    assert (answered.seated, answered.message) == (False, encode(Left(6, COMMONS)))
    assert house.leave(ADA.citizen) == [answered]
    assert house.members() == []


def test_a_socket_that_closed_leaves_without_an_answer() -> None:
    house = House().complete()
    house.join(ADA)
    assert [type(event) for event in house.leave(ADA.citizen, ref=None)] == [MemberBatch]


def test_a_stale_or_foreign_leave_unseats_nobody() -> None:
    house = House().complete()
    house.join(ADA)
    house.leave(ADA.citizen, incarnation=2)
    house.leave(ADA.citizen, gateway="gateway-1")
    assert house.members() == [ADA.citizen]


def test_a_leave_takes_back_a_join_that_still_waits() -> None:
    house = House().complete()
    house.join(PEOPLE["eve"])
    house.leave(PEOPLE["eve"].citizen, ref=None)
    house.enrol(PEOPLE["eve"])
    assert house.members() == []


# ── gateways ─────────────────────────────────────────────────────────────────────────────────────


def test_a_gateway_silent_for_three_seconds_loses_its_seats() -> None:
    house = House().complete()
    house.join(ADA)
    house.join(BEN, session=b"b" * 16, gateway="gateway-1")
    house.beating = {GATEWAY: 1}
    house.pass_time(SILENCE_NS - 300 * MS)
    assert len(house.members()) == 2
    house.pass_time(600 * MS)
    assert house.members() == [ADA.citizen]
    assert house.core.counts["gateway silent"] == 1


def test_a_gateway_that_restarted_loses_its_former_seats_and_keeps_new_ones() -> None:
    house = House().complete()
    house.join(ADA)
    house.join(BEN, incarnation=2)  # overtakes the new life's first beat
    assert len(house.members()) == 2
    house.beating = {GATEWAY: 2}
    house.pass_time(250 * MS)
    assert house.members() == [BEN.citizen]
    house.join(ADA, incarnation=1)  # a late echo of the former life
    house.pass_time(250 * MS)
    assert house.members() == [BEN.citizen]


def test_a_sanctuary_that_heard_nobody_unseats_nobody() -> None:
    house = House().complete()
    house.join(ADA)
    house.beating, house.does_registry_answer = {}, False
    house.pass_time(20_000 * MS)
    assert house.members() == [ADA.citizen]
    house.beating = {"gateway-9": 1}  # the bus is back, ada's gateway is not
    house.pass_time(SILENCE_NS - 300 * MS)
    assert house.members() == [ADA.citizen]
    house.pass_time(600 * MS)
    assert house.members() == []


def test_the_list_names_what_anybody_may_know_and_nothing_else() -> None:
    house = House()
    house.start()
    house.beating = {GATEWAY: 1}
    told = [each for each in house.pass_time(250 * MS) if isinstance(each, RoomsListed)]
    assert {room.sanctuary for room in told[-1].rooms} == {COMMONS, STAGE}, "no circle"
    assert {room.name: room.public for room in told[-1].rooms} == {"Commons": False, "Stage": True}
    assert told[-1].sender == "sanctuary-0"


def test_the_list_is_said_again_and_to_a_gateway_that_restarted() -> None:
    house = House().complete()

    def lists(ns: int) -> int:
        return sum(isinstance(each, RoomsListed) for each in house.pass_time(ns))

    lists(LIST_NS)
    assert lists(2 * LIST_NS) == 2
    house.beating = {GATEWAY: 2}
    assert lists(260 * MS) == 1


def test_a_gateway_that_comes_back_is_asked_for_its_joins() -> None:
    house = House().complete()
    kept = answer(house.join(ADA)).record
    house.beating = {}
    house.pass_time(SILENCE_NS + 250 * MS)
    assert house.members() == []
    house.beating = {GATEWAY: 1}
    assert any(isinstance(event, JoinsWanted) for event in house.pass_time(MS))
    assert answer(house.join(ADA, record=kept, again=True)).message == b""
    assert house.members() == [ADA.citizen]


def test_another_senders_beat_is_not_believed() -> None:
    house = House().complete()
    house.join(ADA)
    house.receive(control("gateway-1"), GatewayBeat(GATEWAY, 99, 0))
    assert house.members() == [ADA.citizen]
    stranger = PEOPLE["eve"].known_as(PEOPLE["eve"].citizen)
    house.receive(
        control("gateway-1"), IdentityRecorded("registry-0", 1, house.number + 1, stranger)
    )
    house.receive(
        control("gateway-1"), IdentityRecorded("gateway-1", 1, house.number + 1, stranger)
    )
    assert house.join(PEOPLE["eve"]) == []


# ── restarts ─────────────────────────────────────────────────────────────────────────────────────


def test_kept_joins_are_wanted_until_the_state_is_complete() -> None:
    house = House().start()
    events = house.pass_time(2_000 * MS)
    wanted = [event for event in events if isinstance(event, JoinsWanted)]
    assert 3 <= len(wanted) <= 5
    assert wanted[0].slots == HERE
    completeness = [batch.complete for batch in house.read if batch.slot == slot_of(COMMONS)]
    assert completeness == sorted(completeness)
    assert True in completeness
    assert False in completeness


def test_members_survive_a_restart_through_the_joins_that_gateways_kept() -> None:
    before = House().complete()
    kept = [answer(before.join(PEOPLE[name])).record for name in ("ada", "ben")]
    after = House(epoch=2, reader=before.reader)
    after.now_ns, after.now_ms = before.now_ns, WallMs(before.now_ms + 2 * SKEW_MS_MAX)
    after.start()
    after.beating = {GATEWAY: 1}
    changes: list[bytes] = []
    for name, record in zip(("ada", "ben"), kept, strict=True):
        events = after.join(PEOPLE[name], record=record, again=True)
        assert answer(events).message == b""
        changes += after.members()
    # the old state stands until the new one is complete, and then nothing has changed
    assert changes == [ADA.citizen, BEN.citizen] * 2
    after.pass_time(COLLECT_NS + MS)
    assert after.members() == [ADA.citizen, BEN.citizen]
    assert all(after.reader.complete(slot) for slot in HERE)


def test_rooms_open_only_when_identities_are_known() -> None:
    house = House()
    house.does_registry_answer = False
    house.start()
    assert house.join(ADA) == []
    events = house.pass_time(1_500 * MS)
    assert refusal(events) == "not ready"
    assert not house.read
    assert not house.core.is_open
    house.does_registry_answer = True
    house.join(ADA)
    house.pass_time(300 * MS)
    assert house.core.is_open
    house.pass_time(COLLECT_NS)
    assert house.members() == [ADA.citizen]


def test_a_kept_join_that_does_not_hold_is_told_to_its_client() -> None:
    house = House().complete()
    assert refusal(house.join(PEOPLE["cleo"], CIRCLE, again=True)) == "no such room"


# ── policies and voices ──────────────────────────────────────────────────────────────────────────


def voices(house: House) -> tuple[bytes, ...] | None:
    room = house.reader.room(STAGE)
    assert room is not None
    return room.policy.voices


def test_a_voice_named_by_its_key_is_filled_in_when_it_enrols() -> None:
    house = House(known=("ada",)).complete()
    assert voices(house) == (bytes(16),)
    (batch,) = house.enrol(BEN)
    assert [type(event) for event in batch.events] == [RoomOpened]
    assert voices(house) == (BEN.citizen, bytes(16))
    assert [e for e in house.enrol(PEOPLE["eve"]) if isinstance(e, MemberBatch)] == []


def test_a_restart_does_not_change_a_policy() -> None:
    house = House().complete()
    before = house.reader.room(STAGE)
    House(epoch=2, reader=house.reader).complete()
    assert house.reader.room(STAGE) == before
    stages = [e for batch in house.read for e in batch.events if isinstance(e, RoomOpened)]
    assert len([room for room in stages if room.sanctuary == STAGE]) == 1


def test_voices_may_be_added_by_a_setting() -> None:
    rooms = with_voices(read_seeds(TOML), (f"commons={DID_OF_ADA}", f"stage={'07' * 16}"))
    by_id = {room.sanctuary: room for room in rooms}
    named = by_id[COMMONS].voices
    assert named is not None
    assert named.citizens({ADA.identity.public_key: ADA.citizen}) == (ADA.citizen,)
    both = by_id[STAGE].voices
    assert both is not None
    assert both.citizens({}) == (bytes(16), b"\7" * 16)
    for entry in (f"nowhere={DID_OF_ADA}", "stage=somebody", "stage"):
        with pytest.raises(SeedsUnusable):
            with_voices(read_seeds(TOML), (entry,))


GOOD = TOML.split("[[sanctuary]]")[1]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (("capacity = 3", "capacity = 0"), "capacity"),
        (("capacity = 3", 'capacity = "3"'), "capacity"),
        (('"full"', '"everything"'), "tier_max"),
        (('"commons"\nsetting', '"palace"\nsetting'), "kind"),
        (("capacity = 3", "capacity = 3\npublic = true"), "public"),
        (("capacity = 3", "capacity = 3\ncolour = 1"), "colour"),
        (("capacity = 3", "capacity = 3\nclose_back = 90"), "close_back"),
        (('slug = "commons"', 'slug = "Com mons"'), "slug"),
        (('slug = "commons"', 'id = "abcd"'), "hex"),
        (('slug = "commons"\n', ""), "slug or an id"),
        (("capacity = 3", 'capacity = 3\nvoices = ["bob"]'), "hex"),
        (("capacity = 3", 'capacity = 3\nvoices = ["did:key:z1"]'), "did:key"),
        (("capacity = 3", f"capacity = 3\n[[sanctuary]]\n{GOOD}"), "same id"),
        (
            (
                '"commons"\nsetting = "open"\ntier_max = "full"\ncapacity = 3',
                '"circle"\nsetting = "open"\ntier_max = "full"\ncapacity = 13',
            ),
            "at most 12",
        ),
    ],
)
def test_a_bad_seed_is_refused_with_the_field(change: tuple[str, str], wrong: str) -> None:
    toml = "[[sanctuary]]" + GOOD
    assert change[0] in toml
    read_seeds(toml)
    with pytest.raises(SeedsUnusable, match=wrong):
        read_seeds(toml.replace(*change, 1))


# ── following ────────────────────────────────────────────────────────────────────────────────────


def test_a_follow_is_published_then_answered_with_its_record() -> None:
    house = House().complete()
    house.join(ADA)
    record = ADA.follow(COMMONS, ADA.citizen, (BEN.citizen, bytes(16)), house.now_ms)
    batch, answered = house.follow(ADA, record=record)
    assert batch.events == (MemberFollows(COMMONS, ADA.citizen, (BEN.citizen, bytes(16))),)
    assert answered.record == record
    assert decode(answered.message, Following) == Following(7, COMMONS, 2)
    assert house.reader.followed(COMMONS, ADA.citizen) == (BEN.citizen, bytes(16))
    house.leave(ADA.citizen)
    house.join(ADA)
    assert house.reader.followed(COMMONS, ADA.citizen) == ()
    assert house.state(slot_of(COMMONS)).follows == ()


def test_everybody_who_is_named_gets_one_answer() -> None:
    """Whether somebody is there, is enrolled, or is nobody at all: sanctuary does not look."""
    house = House().complete()
    house.join(ADA)
    house.join(BEN)
    named = (BEN.citizen, PEOPLE["cleo"].citizen, PEOPLE["eve"].citizen, b"?" * 16)
    answers = [
        follow_answer(house.follow(ADA, citizen, number=number)).message
        for number, citizen in enumerate(named)
    ]
    assert len(dict.fromkeys(answers)) == 1


def test_a_later_list_replaces_an_earlier_one_and_an_earlier_one_is_stale() -> None:
    house = House().complete()
    house.join(ADA)
    house.follow(ADA, BEN.citizen, number=3)
    assert follow_refusal(house.follow(ADA, bytes(16), number=3)) == "stale"
    assert follow_refusal(house.follow(ADA, bytes(16), number=2)) == "stale"
    (repeated,) = house.follow(ADA, BEN.citizen, number=3)
    assert repeated.record is not None
    assert house.reader.followed(COMMONS, ADA.citizen) == (BEN.citizen,)
    house.follow(ADA, number=4)
    assert house.reader.followed(COMMONS, ADA.citizen) == ()


def _follow(**changes: Any) -> bytes:
    fields = {
        "sanctuary": COMMONS,
        "session": ADA.citizen,
        "gateway": GATEWAY,
        "citizen": ADA.citizen,
        "device": ADA.device.public_key,
        "t_ms": NOW_MS + 1250,
        "number": 1,
        "followed": (BEN.citizen,),
        **changes,
    }
    return encode(FollowRequest(**fields))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xc1", "malformed"),
        (_follow() + b"\xc0", "malformed"),
        (_follow(followed=(bytes(16),) * 65), "out of range"),
        (_follow(sanctuary=STAGE), "wrong session"),
        (_follow(session=BEN.citizen), "wrong session"),
        (_follow(gateway="gateway-1"), "wrong session"),
        (_follow(citizen=BEN.citizen), "wrong session"),
        (_follow(device=BEN.device.public_key), "unknown device"),
        (_follow(t_ms=NOW_MS - SKEW_MS_MAX), "skew"),
        (_follow(t_ms=NOW_MS + 1251 + SKEW_MS_MAX), "skew"),
    ],
)
def test_a_bad_follow_is_refused_by_name(payload: bytes, reason: str) -> None:
    house = House().complete()
    house.join(ADA)
    record = ADA.device.sign_record(RecordKind.FOLLOW, CITY, payload)
    assert follow_refusal(house.follow(ADA, record=record)) == reason
    assert house.reader.followed(COMMONS, ADA.citizen) == ()


def test_a_follow_needs_the_devices_signature_in_its_domain_and_city() -> None:
    house = House().complete()
    house.join(ADA)
    for record in (
        ADA.identity.sign_record(RecordKind.FOLLOW, CITY, _follow()),
        ADA.device.sign_record(RecordKind.JOIN, CITY, _follow()),
        ADA.device.sign_record(RecordKind.FOLLOW, bytes(32), _follow()),
    ):
        assert follow_refusal(house.follow(ADA, record=record)) == "bad signature"


def test_who_has_no_seat_follows_nobody() -> None:
    house = House().complete()
    assert follow_refusal(house.follow(ADA, BEN.citizen)) == "not a member"
    assert follow_refusal(house.follow(ADA, BEN.citizen, sanctuary=b"?" * 16)) == "not a member"
    house.join(ADA)
    assert follow_refusal(house.follow(ADA, BEN.citizen, incarnation=2)) == "not a member"
    assert follow_refusal(house.follow(ADA, BEN.citizen, gateway="gateway-1")) == "not a member"


def test_a_kept_follow_comes_back_with_its_kept_join() -> None:
    house = House().start()
    joined, followed = (
        ADA.join(COMMONS, ADA.citizen, house.now_ms - 10 * SKEW_MS_MAX),
        ADA.follow(COMMONS, ADA.citizen, (BEN.citizen,), house.now_ms - 10 * SKEW_MS_MAX),
    )
    house.join(ADA, record=joined, again=True, follow=followed)
    house.beating = {GATEWAY: 1}
    house.pass_time(COLLECT_NS + 250 * MS)
    assert house.reader.followed(COMMONS, ADA.citizen) == (BEN.citizen,)
    house.join(ADA, record=joined, again=True, follow=followed)
    assert house.reader.followed(COMMONS, ADA.citizen) == (BEN.citizen,)


def test_a_kept_follow_of_another_leaves_the_seat_without() -> None:
    house = House().complete()
    forged = BEN.follow(COMMONS, ADA.citizen, (PEOPLE["cleo"].citizen,), house.now_ms)
    house.join(ADA, again=True, follow=forged)
    assert house.members() == [ADA.citizen]
    assert house.reader.followed(COMMONS, ADA.citizen) == ()


def test_the_lists_of_a_slot_are_bounded_and_shortening_is_never_refused() -> None:
    follows = Follows(bytes_max=300)

    def request(session: bytes, number: int, count: int) -> FollowRequest:
        named = tuple(bytes([index]) * 16 for index in range(count))
        key = ADA.device.public_key
        return FollowRequest(COMMONS, session, GATEWAY, ADA.citizen, key, 1, number, named)

    assert follows.take(request(b"1" * 16, 1, 10)) is not None
    with pytest.raises(Refused, match="full"):
        follows.take(request(b"2" * 16, 1, 1))
    with pytest.raises(Refused, match="full"):
        follows.take(request(b"1" * 16, 2, 14))
    assert follows.take(request(b"1" * 16, 2, 0)) is not None
    assert follows.take(request(b"2" * 16, 1, 1)) is not None
    follows.forget(COMMONS, b"1" * 16)
    follows.forget(COMMONS, b"2" * 16)
    assert follows.take(request(b"3" * 16, 1, 13)) is not None


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────


def test_batches_count_from_nought_without_holes_and_beat() -> None:
    house = House().complete()
    house.join(ADA)
    house.pass_time(3_000 * MS)
    numbers: dict[int, list[int]] = {}
    for batch in house.read:
        numbers.setdefault(batch.slot, []).append(batch.number)
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert len(numbers) == len(HERE)
    assert len(numbers[slot_of(COMMONS)]) >= 8


def test_a_beat_every_quarter_second() -> None:
    house = House().complete()
    beats = [e for e in house.pass_time(1_000 * MS) if isinstance(e, SanctuaryBeat)]
    assert len(beats) == 4


step = st.tuples(
    st.sampled_from(["join", "leave", "follow", "time", "die", "back", "restart"]),
    st.sampled_from(sorted(PEOPLE)),
    st.integers(0, 1),
    st.sampled_from([COMMONS, STAGE]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=25), st.integers(0, 2**32))
def test_snapshot_and_events_are_the_state(steps: list[Any], seed: int) -> None:
    """A reader that lost batches, and asked, holds what one that lost none holds."""
    random = Random(seed)
    house = House(known=tuple(sorted(PEOPLE))).complete()
    lossy = MembersReplica(HERE)
    epoch, numbered = 1, 0
    for kind, name, which, sanctuary in steps:
        gateway = f"gateway-{which}"
        before = len(house.read)
        session = sha256(f"{name}{which}".encode())[:16]
        match kind:
            case "join":
                house.beating.setdefault(gateway, 1)
                house.join(PEOPLE[name], sanctuary, session=session, gateway=gateway)
            case "leave":
                house.leave(session, sanctuary, gateway=gateway)
            case "follow":
                numbered += 1
                named = [PEOPLE[each].citizen for each in sorted(PEOPLE) if random.random() > 0.6]
                house.follow(
                    PEOPLE[name],
                    *named,
                    sanctuary=sanctuary,
                    session=session,
                    gateway=gateway,
                    number=numbered,
                )
            case "time":
                house.pass_time(700 * MS)
            case "die":
                house.beating.pop(gateway, None)
                house.pass_time(SILENCE_NS + 500 * MS)
            case "back":
                house.beating[gateway] = random.randrange(3)
                house.pass_time(300 * MS)
            case _:
                epoch += 1
                read, now_ns, now_ms = house.read, house.now_ns, house.now_ms
                house = House(known=tuple(sorted(PEOPLE)), epoch=epoch, reader=house.reader)
                house.read, house.now_ns, house.now_ms = read, now_ns, now_ms
                house.complete()
        for batch in house.read[before:]:
            if random.random() > 0.3:
                lossy.receive(batch, house.now_ns)
    before = len(house.read)
    house.pass_time(3_000 * MS)
    for batch in house.read[before:]:
        lossy.receive(batch, house.now_ns)
    house.answer_reader(lossy)
    for slot in HERE:
        truth = {(m.sanctuary, m.session): m for m in house.state(slot).members}
        for reader in (house.reader, lossy):
            assert {(m.sanctuary, m.session): m for m in reader.members(slot)} == truth
            follows = {(f.sanctuary, f.session): f.followed for f in house.state(slot).follows}
            assert {seat: f for seat in truth if (f := reader.followed(*seat))} == follows
            assert reader.complete(slot)


def test_answers_go_back_to_the_asking_gateway() -> None:
    house = House().complete()
    effects = house.core.receive(
        ask("sanctuary", slot_of(COMMONS)),
        LeaveAsk("gateway-7", 1, ADA.citizen, 6, COMMONS),
        house.now_ns,
        house.now_ms,
    )
    assert [effect.subject for effect in effects if isinstance(effect, Publish)] == [
        back("gateway-7")
    ]


def test_a_slot_of_more_seats_than_a_message_holds_is_told_in_parts() -> None:
    house = House(toml=TOML.replace("capacity = 3", "capacity = 20000")).complete()
    room = house.core._rooms[COMMONS]
    seats = [
        MemberJoined(
            COMMONS,
            sha256(b"%d" % n)[:16],
            sha256(b"s%d" % n)[:16],
            bytes(32),
            GATEWAY,
            n,
            bytes(8),
        )
        for n in range(9000)
    ]
    for seat in seats:
        room.seat(seat)
    answers = house.core.receive(
        ask("sanctuary", slot_of(COMMONS)), MembersAsk(slot_of(COMMONS)), NOW_NS, NOW_MS
    )
    parts = [
        decode(encode(answer.event), Members) for answer in answers if isinstance(answer, Reply)
    ]
    assert len(parts) > 1
    assert max(len(encode(part)) for part in parts) < 1024 * 1024
    assert sum(len(encode(part)) for part in parts) > 1024 * 1024
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    reader = MembersReplica([slot_of(COMMONS)])
    asked = Ask("ask", MembersAsk(slot_of(COMMONS)), Members)
    for part in Random(1).sample(parts, len(parts)):
        assert reader.population(slot_of(COMMONS)) == 0
        reader.answered(asked, part, NOW_NS)
    assert {*reader.members(slot_of(COMMONS))} == {*seats}


def test_no_row_of_a_state_is_heavier_than_it_is_weighed() -> None:
    member = MemberJoined(
        COMMONS, bytes(16), bytes(16), bytes(32), "g" * 64, 2**63 - 1, b"\xff" * 8
    )
    follows = MemberFollows(COMMONS, bytes(16), (bytes(16),) * 64)
    for row in (member, follows, RoomOpened(COMMONS, bytes(3000))):
        assert len(encode(row)) <= weigh(row)

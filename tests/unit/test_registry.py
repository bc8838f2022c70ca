"""The registry's core: nothing is told before it is durable, and only the identity key widens."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.core import Append, Damaged, Effect, Limits, Registry
from services.registry.core.pages import CHAIN_BYTES_MAX, PAGE_BYTES_MAX
from services.registry.core.registry import EARLY_NS, SKEW_MS_MAX
from services.registry.core.stored import AHEAD_MS_MAX, Accepted
from services.registry.genesis import make_charter
from shared.codec import ZERO_HASH, decode, encode, sha256
from shared.consent import granted_tier
from shared.contracts import (
    Answers,
    Audience,
    Chain,
    ChainAsk,
    ConsentException,
    ConsentForwarded,
    ConsentRecorded,
    ConsentRefused,
    EnrolAsk,
    Enrolled,
    Grant,
    IdentityRecorded,
    Inception,
    Purpose,
    RecordAnswered,
    Recorded,
    RecordKind,
    RegistryBeat,
    Signed,
    StateAsk,
    StatePage,
    Tier,
)
from shared.contracts import Refused as RefusedMessage
from shared.identifiers import MonotonicNs, WallMs
from shared.identity import Signer
from shared.replica import RegistryReplica
from shared.subjects import Publish, Reply, ask, back, control
from tests.support.person import Person

NOW_NS, NOW_MS = MonotonicNs(10_000_000_000), WallMs(1_790_000_000_000)
CHARTER = make_charter(
    'name = "test"\ntier_max = "full"\nquorum = 1\n[[institutions]]\nname = "founder"\n',
    Signer(sha256(b"founder")),
    WallMs(1),
)
CITY = sha256(CHARTER.payload)
S1, S2 = b"s" * 16, b"t" * 16
GATEWAY = "gateway-0"
Told = Recorded | RefusedMessage | Enrolled | Chain


class City:
    """A registry whose stream answers when the test says so."""

    def __init__(self, *, limits: Limits | None = None, epoch: int = 1, seed: int = 1) -> None:
        self.core = Registry(
            "registry-0",
            charter=CHARTER,
            epoch=epoch,
            random_bytes=Random(seed).randbytes,
            limits=limits or Limits(),
        )
        self.stored: list[Append] = []
        self.waiting: list[Append] = []
        self.now_ns, self.now_ms = NOW_NS, NOW_MS
        self.published: list[tuple[str, Any]] = []
        self.core.start(self.now_ns, self.now_ms)

    def do(self, effects: list[Effect]) -> list[Any]:
        """Carry out; returns what was published or replied."""
        events = []
        for effect in effects:
            match effect:
                case Append():
                    self.waiting.append(effect)
                case Publish():
                    self.published.append((effect.subject, effect.event))
                    events.append(effect.event)
                case Reply():
                    events.append(effect.event)
        return events

    def settle(self) -> list[Any]:
        """Everything that waits becomes durable."""
        events = []
        while self.waiting:
            append = self.waiting.pop(0)
            self.stored.append(append)
            events += self.do(self.core.appended(append.token, self.now_ns, self.now_ms))
        return events

    def receive(self, subject: str, event: Any) -> list[Any]:
        return self.do(self.core.receive(subject, event, self.now_ns, self.now_ms))

    def pass_time(self, ns: int) -> list[Any]:
        """Tick at each deadline until `ns` have passed."""
        events, end = [], self.now_ns + ns
        while (deadline := self.core.next_deadline()) is not None and deadline <= end:
            passed = max(0, deadline - self.now_ns)
            self.now_ns = MonotonicNs(self.now_ns + passed)
            self.now_ms = WallMs(self.now_ms + passed // 1_000_000)
            events += self.do(self.core.tick(self.now_ns, self.now_ms))
        self.now_ms = WallMs(self.now_ms + (end - self.now_ns) // 1_000_000)
        self.now_ns = MonotonicNs(end)
        return events

    def enrol(self, record: Signed, *, ref: int = 1, session: bytes = S1) -> list[Any]:
        return self.receive(ask("registry"), EnrolAsk(GATEWAY, session, ref, record))

    def forward(self, record: Signed, *, ref: int = 7, session: bytes = S1) -> list[Any]:
        event = ConsentForwarded(GATEWAY, 1, 1, session, ref, record)
        return self.receive(control(GATEWAY), event)

    def person(self, name: str) -> Person:
        """An enrolled one."""
        person = Person(name, CITY)
        self.enrol(person.inception())
        person.citizen = self.told(self.settle()[-1], Enrolled).citizen
        return person

    @staticmethod
    def told(event: Any, kind: type[Any]) -> Any:
        """The client's message inside an answer."""
        if isinstance(event, Answers):
            payload = bytes(event.entries[0].message)
        else:
            assert isinstance(event, RecordAnswered)
            payload = event.message
        return decode(payload, kind)

    def refusal(self, events: list[Any]) -> str:
        reason: str = self.told(events[-1], RefusedMessage).reason
        return reason

    def rebuilt(self) -> City:
        """Another start, from what is durable."""
        city = City(epoch=self.core.epoch + 1, seed=99)
        city.core = Registry(
            "registry-0",
            charter=CHARTER,
            epoch=self.core.epoch + 1,
            random_bytes=Random(99).randbytes,
            limits=Limits(),
        )
        for stream in ("identity", "consent"):
            for append in self.stored:
                if append.stream == stream:
                    citizen = bytes.fromhex(append.subject.rpartition(".")[2])
                    city.core.load(stream, citizen, append.payload, city.now_ms)
        city.stored = list(self.stored)
        city.core.start(city.now_ns, city.now_ms)
        return city


# ── enrolment ────────────────────────────────────────────────────────────────────────────────────


def test_an_enrolment_is_told_only_when_it_is_durable() -> None:
    city = City()
    person = Person("ada", CITY)
    assert city.enrol(person.inception()) == []
    assert city.core.citizens == 0
    (append,) = city.waiting
    assert (append.stream, append.number) == ("identity", 0)
    recorded, answer = city.settle()
    assert isinstance(recorded, IdentityRecorded)
    assert recorded.number == 1
    assert recorded.identity == person.known_as(recorded.identity.citizen)
    assert city.told(answer, Enrolled) == Enrolled(1, recorded.identity.citizen)
    assert append.subject == f"identity.{recorded.identity.citizen.hex()}"
    assert [subject for subject, _ in city.published] == [control("registry-0"), back(GATEWAY)]


def test_the_same_inception_gives_the_same_citizen_before_and_after_it_is_durable() -> None:
    city = City()
    person = Person("ada", CITY)
    city.enrol(person.inception())
    assert city.enrol(person.inception(), ref=2, session=S2) == []
    assert city.enrol(person.inception(), ref=2, session=S2) == []
    _, first, second = city.settle()
    citizen = city.told(first, Enrolled).citizen
    assert city.told(second, Enrolled) == Enrolled(2, citizen)
    (again,) = city.enrol(person.inception(), ref=3)
    assert city.told(again, Enrolled) == Enrolled(3, citizen)
    (later,) = city.rebuilt().enrol(person.inception(created_ms=5), ref=4)
    assert city.told(later, Enrolled) == Enrolled(4, citizen)
    assert len(city.stored) == 1


def _inception(person: Person, **changes: Any) -> Signed:
    fields = {
        "identity_key": person.identity.public_key,
        "next_key_hash": bytes(32),
        "devices": (person.device.public_key,),
        "created_ms": 1,
        **changes,
    }
    payload = encode(Inception(**fields))
    return person.identity.sign_record(RecordKind.INCEPTION, CITY, payload)


def _refused_inceptions() -> list[tuple[Signed, str]]:
    person = Person("eve", CITY)
    good = person.inception()
    key = person.device.public_key
    small = b"\x01" + bytes(31)
    return [
        (Signed(good.payload, bytes(64)), "bad signature"),
        (Signed(good.payload[:-1], good.signature), "malformed"),
        (Signed(b"\xc1", good.signature), "malformed"),
        (Signed(good.payload + b"\xc0", good.signature), "malformed"),
        (_inception(person, devices=(key, key)), "out of range"),
        (_inception(person, devices=(small,)), "out of range"),
        (_inception(person, identity_key=small), "out of range"),
        (_inception(person, identity_key=key), "bad signature"),
        (_inception(person, created_ms=NOW_MS + SKEW_MS_MAX + 1), "skew"),
        (
            person.identity.sign_record(RecordKind.CONSENT, CITY, good.payload),
            "bad signature",
        ),
        (
            person.identity.sign_record(RecordKind.INCEPTION, bytes(32), good.payload),
            "bad signature",
        ),
    ]


@pytest.mark.parametrize(("record", "reason"), _refused_inceptions())
def test_a_bad_inception_is_refused_by_name(record: Signed, reason: str) -> None:
    city = City()
    assert city.refusal(city.enrol(record)) == reason
    assert not city.waiting


def test_another_inception_by_the_same_key_is_stale() -> None:
    city = City()
    city.person("ada")
    other = _inception(Person("ada", CITY), devices=(bytes([5] * 32),))
    assert city.refusal(city.enrol(other)) == "stale"


def test_enrolments_have_a_rate() -> None:
    city = City(limits=Limits(enrolments_per_s=1, enrolments_burst=2))
    for name in ("a", "b"):
        city.person(name)
    third = Person("c", CITY)
    assert city.refusal(city.enrol(third.inception())) == "too fast"
    city.pass_time(1_000_000_000)
    city.enrol(third.inception())
    assert city.told(city.settle()[-1], Enrolled)


# ── consent ──────────────────────────────────────────────────────────────────────────────────────


def test_a_record_is_told_only_when_it_is_durable() -> None:
    city = City()
    ada = city.person("ada")
    record = ada.grant(Tier.FULL, NOW_MS)
    assert city.forward(record) == []
    recorded, answer = city.settle()
    assert isinstance(recorded, ConsentRecorded)
    assert (recorded.record, recorded.state.counter, recorded.state.head) == (record, 1, ada.head)
    assert answer.recorded
    assert answer.payload_hash == sha256(record.payload)
    assert city.told(answer, Recorded) == Recorded(7, ada.citizen, 1, ada.head)


def test_the_same_record_again_is_answered_recorded_again_and_told_to_nobody_else() -> None:
    city = City()
    ada = city.person("ada")
    record = ada.grant(Tier.FULL, NOW_MS)
    city.forward(record)
    assert city.forward(record) == []
    assert city.forward(record, session=S2, ref=9) == []
    _, first, second = city.settle()
    assert (first.session, second.session) == (S1, S2)
    for start in (city, city.rebuilt()):
        (again,) = start.forward(record, ref=11)
        assert city.told(again, Recorded) == Recorded(11, ada.citizen, 1, ada.head)
    assert len(city.stored) == 2


def test_another_record_at_a_used_counter_is_stale() -> None:
    city = City()
    ada = city.person("ada")
    other = Person("ada", CITY, citizen=ada.citizen)
    city.forward(ada.grant(Tier.FULL, NOW_MS))
    rival = other.grant(Tier.COARSE, NOW_MS)
    refused, answer = city.forward(rival)
    assert isinstance(refused, ConsentRefused)
    assert refused.payload_hash == sha256(rival.payload)
    assert city.refusal([answer]) == "stale"
    city.settle()
    assert city.refusal(city.forward(rival)) == "stale"


def test_order_is_kept_while_records_are_on_their_way() -> None:
    city = City()
    ada = city.person("ada")
    records = [ada.grant(tier, NOW_MS) for tier in (Tier.FULL, Tier.COARSE)]
    records.append(ada.withdrawal(NOW_MS))
    for record in records:
        assert city.forward(record) == []
    assert [append.number for append in city.waiting] == [1, 2, 3]
    told = [event for event in city.settle() if isinstance(event, ConsentRecorded)]
    assert [event.record for event in told] == records
    assert [event.number for event in told] == [2, 3, 4]


def test_a_record_that_overtook_its_predecessor_waits_for_it() -> None:
    city = City()
    ada = city.person("ada")
    first, second, third = (ada.grant(tier, NOW_MS) for tier in (Tier.FULL, Tier.COARSE, Tier.FULL))
    assert city.forward(third) == []
    assert city.forward(second) == []
    assert city.waiting == []
    city.forward(first)
    assert [append.number for append in city.waiting] == [1, 2, 3]
    assert city.core.pending() == "3 appends"
    city.settle()
    assert city.core.pending() == ""


def test_a_record_without_predecessor_is_refused_after_two_seconds() -> None:
    city = City()
    ada = city.person("ada")
    ada.grant(Tier.FULL, NOW_MS)
    orphan = ada.withdrawal(NOW_MS)
    assert city.forward(orphan) == []
    assert not [e for e in city.pass_time(EARLY_NS - 1) if not isinstance(e, RegistryBeat)]
    refused, answer = (e for e in city.pass_time(1) if not isinstance(e, RegistryBeat))
    assert isinstance(refused, ConsentRefused)
    assert city.refusal([answer]) == "broken chain"
    assert city.core.pending() == ""


def test_a_record_on_another_head_breaks_the_chain() -> None:
    city = City()
    ada = city.person("ada")
    ada.head = sha256(b"elsewhere")
    assert city.refusal(city.forward(ada.grant(Tier.FULL, NOW_MS))) == "broken chain"


def test_only_the_identity_key_widens_and_any_key_narrows() -> None:
    city = City()
    ada = city.person("ada")
    by_device = Person("ada", CITY, citizen=ada.citizen)
    widening = by_device.grant(Tier.AGGREGATE, NOW_MS, key=by_device.device)
    assert city.refusal(city.forward(widening)) == "needs the identity key"
    city.forward(ada.grant(Tier.FULL, NOW_MS))
    city.forward(ada.grant(Tier.COARSE, NOW_MS, key=ada.device))
    city.forward(ada.withdrawal(NOW_MS))
    assert len([e for e in city.settle() if isinstance(e, ConsentRecorded)]) == 3
    longer = ada.grant(Tier.COARSE, NOW_MS, until_ms=NOW_MS + 5, key=ada.device)
    assert city.refusal(city.forward(longer)) == "needs the identity key"


def test_lifting_an_exception_needs_the_identity_key() -> None:
    city = City()
    ada = city.person("ada")
    city.forward(ada.exception(b"x" * 16, Tier.WITHHELD, NOW_MS, key=ada.device))
    city.settle()
    lift = ada.exception(b"x" * 16, Tier.FULL, NOW_MS, key=ada.device)
    assert city.refusal(city.forward(lift)) == "needs the identity key"


def _refused_records(ada: Person) -> list[tuple[Signed, str]]:
    def grant(**changes: Any) -> Signed:
        fields = {
            "citizen": ada.citizen,
            "counter": 1,
            "previous": ZERO_HASH,
            "t_ms": NOW_MS,
            "sanctuary": None,
            "audience": Audience.MEMBERS,
            "tier": Tier.FULL,
            "purpose": Purpose.LIVE,
            "until_ms": None,
            **changes,
        }
        return ada.sign(Grant(**fields))

    good = grant()
    return [
        (Signed(good.payload, bytes(64)), "bad signature"),
        (Signed(b"\x90", good.signature), "malformed"),
        (ada.sign(Grant(ada.citizen, 1, ZERO_HASH, 1, None, 9, 3, 0, None)), "out of range"),  # type: ignore[arg-type]
        (grant(citizen=b"?" * 16), "unknown citizen"),
        (grant(counter=0), "stale"),
        (grant(t_ms=NOW_MS + SKEW_MS_MAX + 1), "skew"),
        (grant(t_ms=NOW_MS - SKEW_MS_MAX - 1), "skew"),
        (grant(previous=b"p" * 32), "broken chain"),
    ]


@pytest.mark.parametrize("row", range(8))
def test_a_bad_record_is_refused_by_name(row: int) -> None:
    city = City()
    record, reason = _refused_records(city.person("ada"))[row]
    events = city.forward(record)
    assert city.refusal(events) == reason
    assert not city.waiting
    # only what a key of the citizen signed can have been acted on
    is_theirs = reason not in {"bad signature", "malformed", "out of range", "unknown citizen"}
    assert any(isinstance(event, ConsentRefused) for event in events) == is_theirs


def test_what_narrows_is_taken_whatever_its_stamp_and_the_rate() -> None:
    city = City(limits=Limits(records_per_s=0.01, records_burst=1))
    ada = city.person("ada")
    city.forward(ada.grant(Tier.FULL, NOW_MS))
    other = Person("ada", CITY, citizen=ada.citizen)
    other.counter, other.head = ada.counter, ada.head
    assert city.refusal(city.forward(other.grant(Tier.FULL, NOW_MS, until_ms=None))) == "too fast"
    city.forward(ada.withdrawal(1))
    city.settle()
    assert city.core.counts["recorded"] == 2


def test_another_gateways_control_subject_is_not_believed() -> None:
    city = City()
    ada = city.person("ada")
    event = ConsentForwarded(GATEWAY, 1, 1, S1, 7, ada.grant(Tier.FULL, NOW_MS))
    assert city.receive(control("gateway-1"), event) == []
    assert not city.waiting


# ── the state ────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_is_told_to_its_own_devices_only() -> None:
    city = City()
    ada, eve = city.person("ada"), city.person("eve")
    records = (ada.grant(Tier.FULL, NOW_MS), ada.withdrawal(NOW_MS))
    for record in records:
        city.forward(record)
    city.settle()

    def asked(device: bytes, citizen: bytes) -> list[Any]:
        return city.receive(ask("registry"), ChainAsk(GATEWAY, S1, device, 4, citizen))

    (answer,) = asked(ada.device.public_key, ada.citizen)
    assert city.told(answer, Chain) == Chain(4, ada.citizen, 2, ada.head, records)
    (theirs,) = asked(eve.device.public_key, ada.citizen)
    (nobodys,) = asked(eve.device.public_key, b"?" * 16)
    assert theirs == nobodys
    assert city.refusal([theirs]) == "unknown citizen"


def test_a_long_chain_is_answered_page_by_page_from_its_end() -> None:
    city = City(limits=Limits(records_burst=1000))
    ada = city.person("ada")
    records = []
    for number in range(400):
        records.append(ada.grant(Tier.COARSE if number % 2 else Tier.FULL, NOW_MS))
        city.forward(records[-1])
        city.settle()

    def page(before: int | None) -> Chain:
        asked = ChainAsk(GATEWAY, S1, ada.device.public_key, 4, ada.citizen, before)
        chain: Chain = city.told(city.receive(ask("registry"), asked)[0], Chain)
        assert (chain.counter, chain.head) == (400, ada.head)
        assert len(encode(chain)) <= CHAIN_BYTES_MAX + 200
        return chain

    newest = page(None).records
    assert 100 < len(newest) < 400
    found = list(newest)
    while len(found) < 400:
        found[:0] = page(401 - len(found)).records
    assert found == records
    assert page(1).records == page(0).records == ()
    assert page(2**53 - 1).records == newest
    assert page(2).records == (records[0],)


def read_all(city: City, replica: RegistryReplica, *, between: Any = lambda: None) -> int:
    """Answer the replica's asks until it has none; returns the number of pages."""
    pages = 0
    while asks := replica.asks(city.now_ns):
        (asked,) = asks
        (page,) = city.receive(asked.subject, asked.event)
        assert isinstance(page, StatePage)
        assert len(encode(page)) <= PAGE_BYTES_MAX + 5000
        replica.answered(asked, page, city.now_ns)
        pages += 1
        between()
    return pages


def test_a_replica_reads_the_whole_state_in_pages() -> None:
    city = City()
    people = [city.person(f"person {number}") for number in range(3500)]
    for person in people[::50]:
        city.forward(person.grant(Tier.FULL, NOW_MS))
    city.settle()
    replica = RegistryReplica(consent=True)
    assert read_all(city, replica) > 1
    assert replica.certain
    assert replica.city == CITY
    assert set(replica.identities) == {person.citizen for person in people}
    assert len(replica.states) == 70


def test_a_replica_sees_what_was_recorded_while_it_read() -> None:
    city = City()
    people = [city.person(f"person {number}") for number in range(3500)]
    replica = RegistryReplica(consent=True)

    def speak() -> None:
        city.published.clear()
        for person in (people[0], people[-1]):
            city.forward(person.grant(Tier.FULL, NOW_MS))
        city.person(f"late {city.core.citizens}")
        city.settle()
        for subject, event in city.published:
            if subject == control("registry-0"):
                replica.receive(event, city.now_ns)

    read_all(city, replica, between=speak)
    assert replica.certain
    fresh = RegistryReplica(consent=True)
    read_all(city, fresh)
    assert dict(replica.identities) == dict(fresh.identities)
    assert dict(replica.states) == dict(fresh.states)


def test_a_page_shows_nothing_that_is_not_durable() -> None:
    city = City()
    ada = city.person("ada")
    city.forward(ada.grant(Tier.FULL, NOW_MS))
    city.enrol(Person("bob", CITY).inception())
    (page,) = city.receive(ask("registry"), StateAsk(None, consent=True))
    assert len(page.identities) == 1
    assert page.states == ()


def test_a_beat_every_quarter_second_says_the_last_number() -> None:
    city = City()
    city.person("ada")
    beats = city.pass_time(1_000_000_000)
    assert beats == [RegistryBeat("registry-0", 1, 1)] * 4


# ── rebuilding ───────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(st.lists(st.sampled_from(["grant", "coarse", "withdraw", "enrol", "crash"]), max_size=12))
def test_what_was_told_is_there_after_any_crash_and_what_was_not_can_be_said_again(
    steps: list[str],
) -> None:
    city = City()
    ada = city.person("ada")
    told: list[Signed] = []
    sent: list[Signed] = []
    for step in steps:
        if step == "crash":
            # appends may or may not have reached the stream: here the first one did
            city.stored += city.waiting[:1]
            city = city.rebuilt()
            for record in sent:
                city.forward(record)
        elif step == "enrol":
            city.person(f"person {len(city.stored)}")
        else:
            record = (
                ada.withdrawal(NOW_MS)
                if step == "withdraw"
                else ada.grant(Tier.FULL if step == "grant" else Tier.COARSE, NOW_MS)
            )
            sent.append(record)
            city.forward(record)
            if len(sent) % 2:
                told += [e.record for e in city.settle() if isinstance(e, ConsentRecorded)]
    city.settle()
    (answer,) = city.receive(
        ask("registry"), ChainAsk(GATEWAY, S1, ada.device.public_key, 4, ada.citizen)
    )
    chain = city.told(answer, Chain)
    assert list(chain.records) == sent
    assert [record for record in told if record not in chain.records] == []
    (page,) = city.rebuilt().receive(ask("registry"), StateAsk(None, consent=True))
    (before,) = city.receive(ask("registry"), StateAsk(None, consent=True))
    assert (page.identities, page.states) == (before.identities, before.states)
    for state in page.states:
        tier = granted_tier(
            state,
            sanctuary=b"?" * 16,
            audience=Audience.MEMBERS,
            purpose=Purpose.LIVE,
            now_ms=NOW_MS,
        )
        last = [step for step in steps if step not in {"crash", "enrol"}][-1]
        assert tier == {"grant": 3, "coarse": 2, "withdraw": 0}[last]


def test_a_rebuild_refuses_what_does_not_hold() -> None:
    city = City()
    ada = city.person("ada")
    city.forward(ada.grant(Tier.FULL, NOW_MS))
    city.forward(ada.withdrawal(NOW_MS))
    city.settle()
    identity, grant, withdrawal = (append.payload for append in city.stored)
    forged = Person("eve", CITY, citizen=ada.citizen).grant(Tier.FULL, NOW_MS)
    orders: list[list[tuple[str, bytes]]] = [
        [("consent", grant)],
        [("identity", identity), ("consent", withdrawal)],
        [("identity", identity), ("consent", grant), ("consent", grant)],
        [("identity", identity), ("identity", identity)],
        [("identity", identity), ("consent", encode(forged))],
        [("identity", grant)],
        [("identity", b"\xc1")],
    ]
    for order in orders:
        core = Registry(
            "registry-0",
            charter=CHARTER,
            epoch=2,
            random_bytes=Random(1).randbytes,
            limits=Limits(),
        )
        *good, (stream, last) = order
        for each, payload in good:
            core.load(each, ada.citizen, payload, NOW_MS)
        with pytest.raises(Damaged, match=f"stream {stream}"):
            core.load(stream, ada.citizen, last, NOW_MS)


def loaded(city: City, *payloads: bytes, now_ms: int = NOW_MS) -> None:
    """What a start makes of a citizen's records. Raises: Damaged."""
    identity, *_ = city.stored
    core = Registry(
        "registry-0",
        charter=CHARTER,
        epoch=2,
        random_bytes=Random(1).randbytes,
        limits=Limits(),
    )
    citizen = bytes.fromhex(identity.subject.rpartition(".")[2])
    core.load("identity", citizen, identity.payload, WallMs(now_ms))
    for payload in payloads:
        core.load("consent", citizen, payload, WallMs(now_ms))


@pytest.mark.parametrize("accepted_ms", [None, 0, NOW_MS - 1, NOW_MS])
def test_a_start_takes_no_widening_by_a_device_whatever_its_moment(
    accepted_ms: int | None,
) -> None:
    city = City()
    ada = city.person("ada")
    forged = ada.grant(Tier.FULL, NOW_MS, key=ada.device)
    payload = encode(forged) if accepted_ms is None else encode(Accepted(forged, accepted_ms))
    with pytest.raises(Damaged, match="identity key"):
        loaded(city, payload)


def test_a_widening_cannot_be_dated_beyond_its_own_end() -> None:
    city = City()
    ada = city.person("ada")
    forged = ada.grant(Tier.FULL, NOW_MS, key=ada.device, until_ms=NOW_MS + 60_000)
    with pytest.raises(Damaged, match="identity key"):
        loaded(city, encode(Accepted(forged, NOW_MS + 60_000)))
    with pytest.raises(Damaged, match="clock"):
        loaded(city, encode(Accepted(forged, NOW_MS + AHEAD_MS_MAX + 1)))


def test_what_was_accepted_is_accepted_again_whatever_its_stamp_and_however_late() -> None:
    """A device excepts a person less than an exception did which has ended by then: narrowing at the
    moment of acceptance, widening at the record's own stamp.
    """
    city = City()
    ada = city.person("ada")
    ends_ms = NOW_MS + 60_000
    person, stamp_ms = b"v" * 16, 1
    first = ada.sign(
        ConsentException(ada.citizen, 1, ada.head, NOW_MS, None, person, Tier.WITHHELD, ends_ms)
    )
    lesser = ConsentException(
        ada.citizen, 2, sha256(first.payload), stamp_ms, None, person, Tier.AGGREGATE, None
    )
    second = ada.sign(lesser, ada.device)
    city.forward(first)
    city.now_ms = WallMs(ends_ms)
    city.forward(second)
    city.settle()
    _, *stored = [append.payload for append in city.stored]
    for now_ms in (ends_ms, ends_ms + 10**10):
        loaded(city, *stored, now_ms=now_ms)
        loaded(city, encode(first), encode(second), now_ms=now_ms)  # as older versions stored it
    with pytest.raises(Damaged, match="identity key"):
        loaded(city, stored[0], encode(Accepted(second, ends_ms - 1)), now_ms=ends_ms)
    with pytest.raises(Damaged, match="identity key"):
        loaded(city, encode(first), encode(second), now_ms=ends_ms - 1)


def test_the_moment_of_acceptance_is_stored_with_the_record() -> None:
    city = City()
    ada = city.person("ada")
    city.now_ms = WallMs(NOW_MS + 1234)
    record = ada.grant(Tier.FULL, NOW_MS)
    city.forward(record)
    assert decode(city.waiting[0].payload, Accepted) == Accepted(record, NOW_MS + 1234)


def test_a_city_under_a_new_charter_keeps_its_id_and_its_citizens() -> None:
    city = City()
    ada = city.person("ada")
    city.forward(ada.grant(Tier.FULL, NOW_MS))
    city.settle()
    later = make_charter(
        'name = "later"\ntier_max = "full"\nquorum = 1\n[[institutions]]\nname = "founder"\n',
        Signer(sha256(b"founder")),
        WallMs(2),
    )
    city.core = Registry(
        "registry-0",
        charter=later,
        genesis=CITY,
        epoch=2,
        random_bytes=Random(99).randbytes,
        limits=Limits(),
    )
    for append in city.stored:
        city.core.load(append.stream, ada.citizen, append.payload, NOW_MS)
    replica = RegistryReplica(consent=True)
    read_all(city, replica)
    assert (replica.charter, replica.city) == (later, CITY)
    city.forward(ada.withdrawal(NOW_MS))  # signed for the city's id
    assert isinstance(city.settle()[0], ConsentRecorded)

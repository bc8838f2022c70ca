"""A session against a city made of answers: what is sent, repeated, and presented again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from shared.client.consent import grant_draft
from shared.client.core import (
    ChainKnown,
    Declined,
    Event,
    FollowsTaken,
    Interrupted,
    Keyring,
    Mood,
    NumbersRefused,
    RecordActed,
    RecordDurable,
    Seated,
    SeatRefused,
    Session,
    SessionReady,
    StrandClosedByUs,
    VoiceOpened,
)
from shared.client.outbox import REQUEST_REPEAT_NS
from shared.codec import ZERO_HASH, decode_canonical, encode, seal_of, sha256
from shared.consent import read_record
from shared.contracts.client import (
    Acted,
    AskChain,
    Chain,
    Challenge,
    ClientMessage,
    Enrol,
    Enrolled,
    Follow,
    Following,
    Hello,
    Join,
    Joined,
    Limits,
    Nonce,
    Open,
    Opened,
    Record,
    Recorded,
    RefusedSamples,
    Release,
    Samples,
    Sealed,
    SealWanted,
    SealWindow,
    ServerMessage,
    StrandEnded,
    Token,
    Welcome,
)
from shared.contracts.client import Refused as RefusedMessage
from shared.contracts.records import (
    Approval,
    FollowRequest,
    JoinRequest,
    Kind,
    Opening,
    Policy,
    RecordKind,
    Setting,
    Tier,
)
from shared.identifiers import CitizenId, MonotonicNs, WallMs
from shared.identity import verify_record
from shared.identity.token import read_token

CITY, PLACE = hashlib.sha256(b"city").digest(), b"p" * 16
CITIZEN = CitizenId(b"c" * 16)
LIMITS = Limits(65536, 64, 128, 256, 30_000, 5)
POLICY = Policy(PLACE, "Room", Kind.COMMONS, Setting.OPEN, Tier.FULL, 100)
T = TypeVar("T")
BEGAN_MS = 1_700_000_000_000
MS = 1_000_000


class Stage:
    """A session, its clocks, and a city that answers as told."""

    def __init__(self, *, known: bool = True) -> None:
        self.randoms = 0
        self.keys = Keyring.new(self.random, WallMs(BEGAN_MS))
        if known:
            self.keys.citizens[CITY] = CITIZEN
        self.session = Session(self.keys, self.random)
        self.ns = MonotonicNs(10**9)
        self.events: list[Event] = []
        self.sockets = 0

    def random(self, count: int) -> bytes:
        self.randoms += 1
        return hashlib.sha256(self.randoms.to_bytes(4, "big")).digest()[:count]

    @property
    def ms(self) -> WallMs:
        return WallMs(BEGAN_MS + self.ns // MS)

    def say(self, *messages: ServerMessage) -> list[ClientMessage]:
        self.events += self.session.receive(messages, self.ns, self.ms)
        return self.session.take()

    def wait(self, ms: int) -> list[ClientMessage]:
        """Time passes in steps of 10 ms; what was sent meanwhile."""
        out: list[ClientMessage] = []
        for _ in range(ms // 10):
            self.ns = MonotonicNs(self.ns + 10 * MS)
            deadline = self.session.next_deadline()
            if deadline is not None and self.ns >= deadline:
                self.session.tick(self.ns, self.ms)
            out += self.session.take()
        return out

    def hello(self, now_ms: int | None = None) -> list[ClientMessage]:
        self.sockets += 1
        nonce = bytes([self.sockets]) * 16
        stamp = self.ms if now_ms is None else now_ms
        return self.say(Hello(1, nonce, stamp, "http://here", CITY, "gateway-0", LIMITS))

    def welcome(self) -> list[ClientMessage]:
        self.hello()
        return self.say(Welcome(bytes([self.sockets]) * 16, None, self.ms + 300_000))

    def chain_known(self, sent: list[ClientMessage]) -> list[ClientMessage]:
        ask = one(sent, AskChain)
        return self.say(Chain(ask.ref, CITIZEN, 0, ZERO_HASH, ()))

    def speak(self) -> bytes:
        """All the way to an open strand; its id."""
        self.session.join(PLACE, speak=True)
        sent = self.welcome()
        self.chain_known(sent)
        policy = encode(POLICY)
        self.say(Joined(one(sent, Join).ref, PLACE, policy, sha256(policy)))
        return self.challenge(b"1" * 16)

    def challenge(self, challenge: bytes, *, reopen: bool = False) -> bytes:
        opening = one(self.say(Challenge(PLACE, challenge, reopen, self.ms)), Open)
        strand = sha256(opening.record.payload)
        self.say(Opened(opening.ref, strand, 0, 0))
        return strand

    def feel(self) -> list[ClientMessage]:
        self.session.feel(PLACE, Mood(1, 2), self.ns, self.ms)
        return self.session.take()


def one(sent: list[ClientMessage], kind: type[T]) -> T:
    (found,) = [message for message in sent if isinstance(message, kind)]
    return found


def of(events: list[Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def test_the_first_frame_is_a_token_for_this_socket() -> None:
    stage = Stage()
    token = one(stage.hello(), Token)
    claims = read_token(
        token.jwt, origin="http://here", city=CITY, nonce=b"\x01" * 16, now_ms=stage.ms
    )
    assert claims.device == stage.keys.device.public_key
    assert claims.citizen == CITIZEN
    renewal = one(stage.say(Nonce(b"n" * 16, 60)), Token)
    read_token(renewal.jwt, origin="http://here", city=CITY, nonce=b"n" * 16, now_ms=stage.ms)


def test_somebody_new_enrols_and_the_id_is_kept() -> None:
    stage = Stage(known=False)
    enrol = one(stage.welcome(), Enrol)
    assert verify_record(stage.keys.identity.public_key, RecordKind.INCEPTION, CITY, enrol.record)
    again = one(stage.wait(REQUEST_REPEAT_NS // MS), Enrol)
    assert again == enrol
    stage.say(Enrolled(enrol.ref, CITIZEN))
    assert of(stage.events, SessionReady) == [SessionReady(CITIZEN)]
    assert stage.keys.citizens == {CITY: CITIZEN}


def test_a_join_is_signed_for_this_session_and_gateway() -> None:
    stage = Stage()
    stage.session.join(PLACE)
    join = one(stage.welcome(), Join)
    request = decode_canonical(join.record.payload, JoinRequest)
    assert (request.session, request.gateway) == (b"\x01" * 16, "gateway-0")
    assert verify_record(stage.keys.device.public_key, RecordKind.JOIN, CITY, join.record)


def test_requests_are_repeated_until_they_are_answered() -> None:
    stage = Stage()
    stage.session.join(PLACE, speak=True)
    sent = stage.welcome()
    join, ask = one(sent, Join), one(sent, AskChain)
    repeated = stage.wait(1000)
    assert join in repeated
    assert ask in repeated
    policy = encode(POLICY)
    stage.say(Joined(join.ref, PLACE, policy, sha256(policy)))
    stage.chain_known(sent)
    assert stage.wait(1000) == []


def test_a_seat_without_a_challenge_is_asked_for_again() -> None:
    stage = Stage()
    stage.session.join(PLACE, speak=True)
    sent = stage.welcome()
    stage.chain_known(sent)
    policy = encode(POLICY)
    stage.say(Joined(one(sent, Join).ref, PLACE, policy, sha256(policy)))
    assert one(stage.wait(3100), Join).sanctuary == PLACE


def test_a_refusal_that_passes_is_retried_ever_more_slowly_and_others_are_told() -> None:
    stage = Stage()
    stage.session.join(PLACE)
    join = one(stage.welcome(), Join)
    waits = []
    for _ in range(4):
        stage.say(RefusedMessage(join.ref, "not ready", "", stage.ms))
        began = stage.ns
        while not (joins := [m for m in stage.wait(10) if isinstance(m, Join)]):
            assert stage.ns - began < 10**10
        join = joins[0]
        waits.append((stage.ns - began) // MS)
    assert waits == [250, 500, 1000, 2000]
    stage.say(RefusedMessage(join.ref, "full", "", stage.ms))
    assert of(stage.events, SeatRefused)[-1] == SeatRefused(PLACE, "full", will_retry=False)
    assert not [m for m in stage.wait(6000) if isinstance(m, Join)]


def test_samples_of_one_turn_travel_together_and_before_their_seal() -> None:
    stage = Stage()
    strand = stage.speak()
    for _ in range(33):
        stage.session.feel(PLACE, Mood(0, 0), stage.ns, stage.ms)
    sent = stage.session.take()
    assert [type(m) for m in sent] == [Samples, SealWindow, Samples]
    first, seal, second = sent
    assert isinstance(first, Samples)
    assert isinstance(seal, SealWindow)
    assert isinstance(second, Samples)
    assert (len(first.bodies), len(second.bodies)) == (32, 1)
    assert seal_of(seal.record.payload).strand == strand


def test_a_window_is_sealed_after_a_second_and_asked_for_again_answered() -> None:
    stage = Stage()
    strand = stage.speak()
    stage.feel()
    sealed = one(stage.wait(1000), SealWindow)
    assert one(stage.say(SealWanted(strand, 0)), SealWindow) == sealed
    assert one(stage.wait(1100), SealWindow) == sealed
    stage.say(Sealed(strand, 0, (0,)))
    assert stage.say(SealWanted(strand, 0)) == []
    assert stage.wait(3000) == []
    assert stage.session.writers[strand].tally.admitted == 1


def test_a_seal_that_goes_out_beside_a_sample_asks_for_no_look_before_its_second_is_over() -> None:
    stage = Stage()
    strand = stage.speak()
    stage.feel()
    stage.ns = MonotonicNs(stage.ns + 1000 * MS)
    seal = one(stage.feel(), SealWindow)
    assert stage.session.next_deadline() == stage.ns + 1000 * MS
    stage.session.tick(MonotonicNs(stage.ns + 999 * MS), stage.ms)
    assert stage.session.take() == []
    stage.say(Sealed(strand, 0, ()))
    assert seal not in stage.wait(3000)
    for _ in range(32):
        stage.session.feel(PLACE, Mood(0, 0), stage.ns, stage.ms)
    assert stage.session.next_deadline() == stage.ns + 1000 * MS


def test_a_seal_wanted_before_its_time_is_cut_at_once() -> None:
    stage = Stage()
    strand = stage.speak()
    stage.feel()
    assert seal_of(one(stage.say(SealWanted(strand, 0)), SealWindow).record.payload).window == 0


def test_hush_closes_with_the_total_and_the_key_follows_a_minute_later() -> None:
    stage = Stage()
    strand = stage.speak()
    stage.feel()
    stage.session.hush(PLACE, stage.ms)
    seal = seal_of(one(stage.session.take(), SealWindow).record.payload)
    assert (seal.flags, seal.total) == (1, 1)
    stage.say(Sealed(strand, 0, (0,)))
    assert of(stage.events, StrandClosedByUs) == [StrandClosedByUs(strand, 1)]
    stage.wait(59_000)
    stage.session.release_due(stage.ms)
    assert not [m for m in stage.session.take() if isinstance(m, Release)]
    stage.wait(2_000)
    stage.session.release_due(stage.ms)
    release = one(stage.session.take(), Release)
    assert release.strand == strand


def test_after_a_reconnect_the_opening_is_presented_and_lost_seals_are_sent() -> None:
    stage = Stage()
    strand = stage.speak()
    stage.feel()
    seal = one(stage.wait(1000), SealWindow)
    stage.session.disconnected()
    assert stage.session.feel(PLACE, Mood(0, 0), stage.ns, stage.ms) is None
    sent = stage.welcome()
    policy = encode(POLICY)
    join = one(sent, Join)
    assert decode_canonical(join.record.payload, JoinRequest).session == b"\x02" * 16
    stage.say(Joined(join.ref, PLACE, policy, sha256(policy)))
    opening = one(stage.say(Challenge(PLACE, b"1" * 16, reopen=False, now_ms=stage.ms)), Open)
    assert sha256(opening.record.payload) == strand
    assert one(stage.say(Opened(opening.ref, strand, 1, 0)), SealWindow) == seal
    assert of(stage.events, VoiceOpened)[-1] == VoiceOpened(PLACE, strand, resumed=True)
    stage.feel()
    assert stage.session.writers[strand].next_seq == 2


def test_reopen_interrupts_and_opens_a_new_strand_with_the_new_challenge() -> None:
    stage = Stage()
    strand = stage.speak()
    stage.feel()
    new = stage.challenge(b"2" * 16, reopen=True)
    assert new != strand
    assert of(stage.events, Interrupted) == [Interrupted(PLACE, strand, "interrupted")]


def test_a_strand_the_city_forgot_is_replaced() -> None:
    for end in (
        lambda s, strand: RefusedSamples(strand, 0, 0, "unknown strand", s.ms),
        lambda s, strand: StrandEnded(strand, "unsealed", None, 0),
    ):
        forget: Callable[[Stage, bytes], ServerMessage] = end
        stage = Stage()
        strand = stage.speak()
        stage.feel()
        sent = stage.say(forget(stage, strand)) + stage.wait(300)
        opening = decode_canonical(one(sent, Open).record.payload, Opening)
        assert opening.strand_key != stage.session.seats[PLACE].policy_hash
        assert sha256(one(sent, Open).record.payload) != strand
        assert of(stage.events, Interrupted)[0].strand == strand


def test_a_policy_whose_announcement_was_lost_is_learned_by_joining_again() -> None:
    stage = Stage()
    stage.speak()
    sent = stage.say(Challenge(PLACE, b"2" * 16, True, stage.ms))
    refused = RefusedMessage(one(sent, Open).ref, "wrong policy", "another is current", stage.ms)
    again = one(stage.say(refused) + stage.wait(300), Join)
    policy = encode(msgspec.structs.replace(POLICY, capacity=POLICY.capacity + 1))
    sent = stage.say(Joined(again.ref, PLACE, policy, sha256(policy))) + stage.wait(300)
    opening = decode_canonical(one(sent, Open).record.payload, Opening)
    assert opening.policy_hash == sha256(policy)


def test_refused_numbers_are_counted_by_name_and_skew_corrects_the_clock() -> None:
    stage = Stage()
    strand = stage.speak()
    stage.feel()
    stage.say(RefusedSamples(strand, 0, 0, "skew", stage.ms + 60_000))
    assert of(stage.events, NumbersRefused) == [NumbersRefused(strand, 0, 0, "skew")]
    assert stage.session.writers[strand].tally.refused == {"skew": 1}
    assert stage.session.clock_offset_ms == 60_000


def grants(sent: list[ClientMessage]) -> list[Record]:
    return [message for message in sent if isinstance(message, Record)]


def test_consent_waits_for_the_chain_and_links_to_its_head() -> None:
    stage = Stage()
    ref = stage.session.grant(PLACE, Tier.FULL, stage.ns, stage.ms)
    sent = stage.welcome()
    assert not grants(sent)
    ask = one(sent, AskChain)
    (record,) = grants(stage.say(Chain(ask.ref, CITIZEN, 7, b"h" * 32, ())))
    grant = read_record(record.record.payload)
    assert (grant.citizen, grant.counter, grant.previous) == (CITIZEN, 8, b"h" * 32)
    assert verify_record(stage.keys.identity.public_key, RecordKind.CONSENT, CITY, record.record)
    stage.say(Recorded(ref, CITIZEN, 8, sha256(record.record.payload)))
    assert of(stage.events, RecordDurable) == [RecordDurable(ref, 8)]
    assert stage.session.chain.epoch == 8
    assert not stage.session.chain.in_flight


def test_a_withdrawal_does_not_wait_for_a_grants_answer() -> None:
    stage = Stage()
    stage.chain_known(stage.welcome())
    stage.session.grant(PLACE, Tier.FULL, stage.ns, stage.ms)
    (first,) = grants(stage.session.take())
    ref = stage.session.withdraw(None, stage.ns, stage.ms)
    (second,) = grants(stage.session.take())
    withdrawal = read_record(second.record.payload)
    assert (withdrawal.counter, withdrawal.previous) == (2, sha256(first.record.payload))
    # from its signing on, samples say so: a fanout that has not heard of it delivers nothing
    assert stage.session.chain.epoch == 2
    # narrowing needs only the device
    assert verify_record(stage.keys.device.public_key, RecordKind.CONSENT, CITY, second.record)
    assert second.ref == ref


def test_a_withdrawal_is_repeated_until_it_is_both_acted_and_recorded() -> None:
    stage = Stage()
    stage.chain_known(stage.welcome())
    ref = stage.session.withdraw(None, stage.ns, stage.ms)
    (record,) = grants(stage.session.take())
    stage.say(Recorded(ref, CITIZEN, 1, sha256(record.record.payload)))
    assert grants(stage.wait(1100)) == [record]
    stage.say(Acted(CITIZEN, 1))
    assert of(stage.events, RecordActed) == [RecordActed(ref, 1)]
    assert not grants(stage.wait(2100))


def test_what_is_in_flight_is_sent_again_on_the_next_socket() -> None:
    stage = Stage()
    stage.chain_known(stage.welcome())
    stage.session.withdraw(None, stage.ns, stage.ms)
    sent = grants(stage.session.take())
    stage.session.disconnected()
    assert grants(stage.welcome()) == sent


def test_a_broken_chain_is_asked_for_and_what_was_in_flight_built_anew() -> None:
    stage = Stage()
    stage.chain_known(stage.welcome())
    ref = stage.session.grant(PLACE, Tier.FULL, stage.ns, stage.ms)
    (stale,) = grants(stage.session.take())
    ask = one(stage.say(RefusedMessage(ref, "broken chain", "", stage.ms)), AskChain)
    (fresh,) = grants(stage.say(Chain(ask.ref, CITIZEN, 3, b"h" * 32, ())))
    assert fresh.ref == ref
    assert read_record(fresh.record.payload).counter == 4
    assert fresh.record != stale.record


def test_a_record_that_turns_out_to_be_in_the_chain_is_not_signed_twice() -> None:
    stage = Stage()
    stage.chain_known(stage.welcome())
    ref = stage.session.grant(PLACE, Tier.FULL, stage.ns, stage.ms)
    (record,) = grants(stage.session.take())
    stage.session.chain.counter = None
    stage.session.disconnected()
    ask = one(stage.welcome(), AskChain)
    head = sha256(record.record.payload)
    stage.say(Chain(ask.ref, CITIZEN, 1, head, (record.record,)))
    assert of(stage.events, RecordDurable) == [RecordDurable(ref, 1)]
    assert not stage.session.chain.in_flight


def test_a_refused_record_is_told_and_those_behind_it_are_rebuilt_without_it() -> None:
    stage = Stage()
    stage.chain_known(stage.welcome())
    bad = stage.session.grant(PLACE, Tier.FULL, stage.ns, stage.ms)
    stage.session.withdraw(None, stage.ns, stage.ms)
    stage.session.take()
    (rebuilt,) = grants(stage.say(RefusedMessage(bad, "out of range", "m", stage.ms)))
    record = read_record(rebuilt.record.payload)
    assert (record.counter, record.previous) == (1, ZERO_HASH)
    assert stage.session.declined == {bad: "out of range"}


def test_a_far_clock_is_corrected_by_hello() -> None:
    stage = Stage()
    stage.session.join(PLACE, speak=True)
    token = one(stage.hello(now_ms=stage.ms + 600_000), Token)
    city_ms = WallMs(stage.ms + 600_000)
    read_token(token.jwt, origin="http://here", city=CITY, nonce=b"\x01" * 16, now_ms=city_ms)


def test_seats_come_back_by_themselves() -> None:
    stage = Stage()
    stage.speak()
    assert of(stage.events, Seated) == [Seated(PLACE, POLICY)]
    stage.session.disconnected()
    assert one(stage.welcome(), Join).sanctuary == PLACE


def test_secrets_do_not_show() -> None:
    stage = Stage()
    text = repr(stage.keys) + repr(stage.keys.identity)
    assert stage.keys.identity.seed.hex() not in text
    assert repr(stage.keys.identity.seed) not in text
    assert msgspec.json.decode(stage.keys.dump())["version"] == 1


def test_a_long_chain_is_followed_to_its_beginning_while_consent_goes_on() -> None:
    stage = Stage()
    keys, records, head = stage.keys, [], ZERO_HASH
    for counter in range(1, 6):
        grant = grant_draft(PLACE, Tier.FULL, now_ms=stage.ms)
        changes = {"citizen": CITIZEN, "counter": counter, "previous": head}
        payload = encode(msgspec.structs.replace(grant, **changes))
        records.append(keys.identity.sign_record(RecordKind.CONSENT, CITY, payload))
        head = sha256(payload)
    stage.session.withdraw(None, stage.ns, stage.ms)
    newest = one(stage.welcome(), AskChain)
    assert newest.before is None
    sent = stage.say(Chain(newest.ref, CITIZEN, 5, head, tuple(records[3:])))
    (withdrawal,) = grants(sent)  # which waits for the head alone
    assert read_record(withdrawal.record.payload).counter == 6
    older = one(sent, AskChain)
    assert older.before == 4
    assert not of(stage.events, ChainKnown)
    # a lost answer is asked for again, on the next socket too
    assert one(stage.wait(1100), AskChain) == older
    stage.session.disconnected()
    older = one(stage.welcome(), AskChain)
    assert older.before == 4
    last = one(stage.say(Chain(older.ref, CITIZEN, 5, head, tuple(records[1:3]))), AskChain)
    assert last.before == 2
    stage.say(Chain(last.ref, CITIZEN, 5, head, (records[0],)))
    assert of(stage.events, ChainKnown) == [ChainKnown(5, tuple(records))]
    assert not [each for each in stage.wait(3000) if isinstance(each, AskChain)]


def test_a_city_without_the_older_pages_is_asked_once() -> None:
    stage = Stage()
    keys = stage.keys
    changes = {"citizen": CITIZEN, "counter": 5, "previous": b"?" * 32}
    grant = grant_draft(PLACE, Tier.FULL, now_ms=stage.ms)
    payload = encode(msgspec.structs.replace(grant, **changes))
    record = keys.identity.sign_record(RecordKind.CONSENT, CITY, payload)
    stage.session.withdraw(None, stage.ns, stage.ms)
    newest = one(stage.welcome(), AskChain)
    answer = Chain(newest.ref, CITIZEN, 5, sha256(payload), (record,))
    older = one(stage.say(answer), AskChain)
    stage.say(Chain(older.ref, CITIZEN, 5, sha256(payload), ()))
    assert of(stage.events, ChainKnown) == [ChainKnown(5, (record,))]
    assert not [each for each in stage.wait(3000) if isinstance(each, AskChain)]


def test_who_is_one_too_many_is_told_and_asks_again_after_a_minute() -> None:
    stage = Stage(known=False)
    enrol = one(stage.welcome(), Enrol)
    stage.say(RefusedMessage(enrol.ref, "too many enrolments", "come back in a minute", stage.ms))
    assert of(stage.events, Declined) == [Declined("too many enrolments", "come back in a minute")]
    assert not [each for each in stage.wait(59_000) if isinstance(each, Enrol)]
    assert one(stage.wait(1_100), Enrol) == enrol
    stage.say(Enrolled(enrol.ref, CITIZEN))
    assert stage.session.is_ready


def joined(stage: Stage, sent: list[ClientMessage]) -> None:
    policy = encode(POLICY)
    stage.say(Joined(one(sent, Join).ref, PLACE, policy, sha256(policy)))


def follows(follow: Follow) -> FollowRequest:
    return decode_canonical(follow.record.payload, FollowRequest)


def test_whom_one_follows_is_signed_for_the_session_and_said_until_it_is_answered() -> None:
    stage = Stage()
    stage.session.join(PLACE)
    stage.session.follow(PLACE, [b"a" * 16, b"b" * 16])
    sent = stage.welcome()
    assert not [message for message in sent if isinstance(message, Follow)]
    stage.chain_known(sent)
    joined(stage, sent)
    follow = one(stage.wait(10), Follow)
    request = follows(follow)
    assert (request.session, request.gateway, request.number) == (b"\x01" * 16, "gateway-0", 1)
    assert request.followed == (b"a" * 16, b"b" * 16)
    assert verify_record(stage.keys.device.public_key, RecordKind.FOLLOW, CITY, follow.record)
    assert one(stage.wait(REQUEST_REPEAT_NS // MS), Follow) == follow
    stage.say(Following(follow.ref, PLACE, 2))
    assert of(stage.events, FollowsTaken) == [FollowsTaken(PLACE, 2)]
    assert stage.wait(2000) == []


def test_a_list_that_changed_replaces_the_one_on_its_way_and_comes_back_after_a_reconnect() -> None:
    stage = Stage()
    stage.session.join(PLACE)
    sent = stage.welcome()
    stage.chain_known(sent)
    joined(stage, sent)
    stage.session.follow(PLACE, [b"a" * 16])
    first = one(stage.wait(10), Follow)
    stage.session.follow(PLACE, [])
    second = one(stage.wait(2500)[:1], Follow)
    assert (follows(second).number, follows(second).followed) == (2, ())
    stage.say(Following(first.ref, PLACE, 1))
    assert not of(stage.events, FollowsTaken)
    stage.say(Following(second.ref, PLACE, 0))
    stage.session.follow(PLACE, [b"b" * 16])
    one(stage.wait(10), Follow)
    stage.session.disconnected()
    joined(stage, stage.welcome())
    again = follows(one(stage.wait(10), Follow))
    assert (again.session, again.followed) == (b"\x02" * 16, (b"b" * 16,))


def test_a_list_refused_for_a_passing_reason_is_signed_anew_and_another_is_told() -> None:
    stage = Stage()
    stage.session.join(PLACE)
    sent = stage.welcome()
    stage.chain_known(sent)
    joined(stage, sent)
    stage.session.follow(PLACE, [b"a" * 16])
    follow = one(stage.wait(10), Follow)
    stage.say(RefusedMessage(follow.ref, "stale", "", stage.ms))
    again = one(stage.wait(300), Follow)
    assert follows(again).number == 2
    stage.say(RefusedMessage(again.ref, "not a member", "", stage.ms))
    joined(stage, stage.wait(300))
    last = one(stage.wait(10), Follow)
    stage.say(RefusedMessage(last.ref, "full", "no place", stage.ms))
    assert of(stage.events, Declined) == [Declined("full", "no place")]
    assert stage.wait(2000) == []


def test_approving_takes_the_identity_key_and_its_end_the_devices() -> None:
    stage = Stage()
    stage.chain_known(stage.welcome())
    approved = stage.session.approve(b"x" * 16, stage.ns, stage.ms)
    (record,) = grants(stage.session.take())
    content = read_record(record.record.payload)
    assert isinstance(content, Approval)
    assert (content.person, content.is_approved) == (b"x" * 16, True)
    keys = stage.keys
    assert verify_record(keys.identity.public_key, RecordKind.CONSENT, CITY, record.record)
    stage.say(Recorded(approved, CITIZEN, 1, sha256(record.record.payload)))
    assert stage.session.chain.epoch == 1
    revoked = stage.session.revoke(b"x" * 16, stage.ns, stage.ms)
    (record,) = grants(stage.session.take())
    assert verify_record(keys.device.public_key, RecordKind.CONSENT, CITY, record.record)
    assert stage.session.chain.epoch == 2
    stage.say(Recorded(revoked, CITIZEN, 2, sha256(record.record.payload)))
    assert revoked in stage.session.chain.in_flight
    stage.say(Acted(CITIZEN, 2))
    assert revoked not in stage.session.chain.in_flight

"""What the gateway decides, input by input: sessions, uplink, edge streams, consent, stalls."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.core import Close, Form, Gateway, Ping, Write
from services.gateway.core.gateway import STALL_FENCE_NS, STALL_NS_MAX
from services.gateway.settings import GatewaySettings
from shared.codec import encode, sha256
from shared.contracts import (
    AskChain,
    ChainAsk,
    Clear,
    ClientMessage,
    CloseCode,
    ConsentActed,
    ConsentForwarded,
    Deliver,
    Depart,
    EdgeBatch,
    EdgeOp,
    Enrol,
    EnrolAsk,
    Enter,
    EnterPublic,
    FanoutBeat,
    Fenced,
    GatewayBeat,
    Held,
    Interest,
    Join,
    JoinAsk,
    JoinsWanted,
    Leave,
    LeaveAsk,
    Marker,
    Open,
    Passed,
    Record,
    RecordAnswered,
    Samples,
    SampleShown,
    SeatAnswered,
    Segment,
    ServerMessage,
    Signed,
    SnapshotAsk,
    StateAsk,
    StatePage,
    StrandNumber,
    Strike,
    Struck,
    Time,
    Token,
    Tombstones,
    TombstonesWanted,
    UpBatch,
)
from shared.contracts import client as c
from shared.identifiers import MonotonicNs, SanctuaryId, SessionId, WallMs, slot_of
from shared.identity import Signer
from shared.identity.token import make_token
from shared.subjects import Ask, Publish

ORIGIN = "http://127.0.0.1:8080"
CITY = b"i" * 32
ROOM = SanctuaryId(b"r" * 16)
SLOT = slot_of(ROOM)
CITIZEN = b"c" * 16
OTHER = b"o" * 16
STRAND = b"s" * 32
RECORD = Signed(b"payload", b"x" * 64)
MS = 1_000_000
S = 1000 * MS


class Bench:
    """A core, its clock, and what it did."""

    def __init__(self, *, city: bytes | None = CITY, **chosen: Any) -> None:
        self.drawn = 0
        self.now_ns = 10**12
        self.core = Gateway(
            GatewaySettings(**chosen), gateway="gateway-0", random_bytes=self._draw, city=city
        )
        self.signer = Signer(b"d" * 32)
        self.effects: list[Any] = []
        self.written: dict[SessionId, list[Any]] = {}
        self.frames: dict[SessionId, list[bytes]] = {}
        self.did(self.core.start(self.ns, self.ms))

    def _draw(self, count: int) -> bytes:
        self.drawn += 1
        return hashlib.sha256(self.drawn.to_bytes(8, "big")).digest()[:count]

    @property
    def ns(self) -> MonotonicNs:
        return MonotonicNs(self.now_ns)

    @property
    def ms(self) -> WallMs:
        return WallMs(1_700_000_000_000 + self.now_ns // MS)

    def did(self, effects: Iterable[Any]) -> list[Any]:
        kept = list(effects)
        self.effects += kept
        for effect in kept:
            if isinstance(effect, Write):
                self._write([effect.session], effect.payload)
        return kept

    def _write(self, sessions: list[SessionId], payload: bytes) -> None:
        for session in sessions:
            self.frames.setdefault(session, []).append(payload)
            messages = msgspec.msgpack.decode(payload, type=list[ServerMessage])
            self.written.setdefault(session, []).extend(messages)

    def flush(self) -> list[Any]:
        effects = self.did(self.core.flush(self.ns, self.ms))
        while self.core.wants_sweep:
            for effect in self.core.sweep():
                self._write(
                    [effect.session] if isinstance(effect, Write) else effect.sessions,
                    effect.payload,
                )
        return effects

    def later(self, ns: int, *, flush: bool = True) -> list[Any]:
        """Let time pass as an idle loop would: every deadline in turn."""
        until, effects = self.now_ns + ns, []
        while True:
            at = max(self.core.next_deadline(), self.now_ns)
            if at > until:
                break
            self.now_ns = at
            effects += self.did(self.core.tick(self.ns, self.ms))
            if flush:
                effects += self.flush()
        self.now_ns = until
        return effects

    def connect(self, *, watch: SanctuaryId | None = None, **chosen: Any) -> SessionId:
        told: dict[str, Any] = {"address": "10.0.0.1", "origin": ORIGIN, "form": Form.MESSAGEPACK}
        session, effects = self.core.connected(self.ns, self.ms, watch=watch, **(told | chosen))
        self.did(effects)
        self.flush()
        return session

    def token(self, nonce: bytes, **changes: Any) -> Token:
        claims: dict[str, Any] = {
            "origin": ORIGIN,
            "city": CITY,
            "nonce": nonce,
            "citizen": CITIZEN,
            "now_ms": self.ms,
        }
        return Token(make_token(changes.pop("signer", self.signer), **(claims | changes)))

    def send(self, session: SessionId, *messages: Any) -> list[Any]:
        effects = self.did(self.core.frame(session, encode(list(messages)), self.ns, self.ms))
        return effects + self.flush()

    def send_bytes(self, session: SessionId, payload: bytes) -> list[Any]:
        effects = self.did(self.core.frame(session, payload, self.ns, self.ms))
        return effects + self.flush()

    def live(self, **chosen: Any) -> SessionId:
        session = self.connect(**chosen)
        self.send(session, self.token(session))
        assert isinstance(self.written[session][-1], c.Welcome)
        return session

    def receive(self, subject: str, event: msgspec.Struct) -> list[Any]:
        effects = self.did(self.core.receive(subject, event, self.ns, self.ms))
        return effects + self.flush()

    def edge(
        self, number: int, *operations: EdgeOp, epoch: int = 1, incarnation: int | None = None
    ) -> list[Any]:
        incarnation = self.core.incarnation if incarnation is None else incarnation
        batch = EdgeBatch(SLOT, epoch, incarnation, number, operations)
        return self.receive("edge.gateway-0", batch)

    def seated(self, *, held: tuple[Held, ...] = (), room: SanctuaryId = ROOM) -> SessionId:
        session = self.live()
        self.send(session, Join(1, room, RECORD, held))
        joined = encode(c.Joined(1, room, b"policy", bytes(32)))
        answer = SeatAnswered(session, room, True, RECORD, joined, 1)
        self.receive("back.gateway-0", answer)
        return session

    def member(self) -> SessionId:
        """In the room's audience, its stream at number 0."""
        session = self.seated()
        self.edge(0, Clear(), Enter(session, ROOM, (), ()))
        return session

    def bodies(self, session: SessionId) -> list[bytes]:
        return [m.body for m in self.written.get(session, []) if isinstance(m, SampleShown)]

    def kinds(self, session: SessionId) -> list[str]:
        return [type(m).__name__ for m in self.written.get(session, [])]


def published(effects: Iterable[Any], kind: type[Any]) -> list[Any]:
    return [e.event for e in effects if isinstance(e, Publish) and isinstance(e.event, kind)]


def closes(effects: Iterable[Any]) -> list[tuple[SessionId, CloseCode]]:
    return [(e.session, e.code) for e in effects if isinstance(e, Close)]


def shown(number: int, citizen: bytes = CITIZEN) -> Segment:
    return Segment(citizen, encode(SampleShown(STRAND, bytes((number,)))))


def members() -> bytes:
    return b"m" + ROOM


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────


def test_the_city_is_learned_from_the_registry_and_asked_again_until_then() -> None:
    bench = Bench(city=None)
    bench.later(600 * MS)
    asks = [e for e in bench.effects if isinstance(e, Ask)]
    assert len(asks) == 3
    assert asks[0] == Ask("ask.registry.0", StateAsk(b"\xff" * 16, False), StatePage)
    page = StatePage(1, 0, Signed(b"charter", bytes(64)), (), (), None)
    bench.core.answered(asks[0], page, bench.ns, bench.ms)
    assert bench.core.city == sha256(b"charter")
    assert not [e for e in bench.later(600 * MS) if isinstance(e, Ask)]


def test_a_city_keeps_its_id_under_another_charter() -> None:
    bench = Bench(city=None)
    ask = Ask("ask.registry.0", StateAsk(b"\xff" * 16, False), StatePage)
    page = StatePage(1, 0, Signed(b"charter 2", bytes(64)), (), (), None, sha256(b"charter"))
    bench.core.answered(ask, page, bench.ns, bench.ms)
    assert bench.core.city == sha256(b"charter")


def test_hello_states_the_nonce_the_city_and_the_limits() -> None:
    bench = Bench()
    session = bench.connect()
    [hello] = bench.written[session]
    assert (hello.session, hello.city, hello.origin) == (session, CITY, ORIGIN)
    assert (hello.version, hello.gateway, hello.now_ms) == (1, "gateway-0", bench.ms)
    assert hello.limits == c.Limits(65536, 64, 128, 256, 30_000, 5)


def test_a_good_token_is_welcomed_and_tells_its_end() -> None:
    bench = Bench()
    session = bench.live()
    [_, welcome] = bench.written[session]
    assert welcome.session == session
    assert welcome.citizen == CITIZEN
    assert 299_000 <= welcome.expires_ms - bench.ms <= 300_000


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "http://evil.example"},
        {"city": b"j" * 32},
        {"nonce": b"n" * 16},
        {"now_ms": WallMs(0)},
        {"now_ms": WallMs(1_800_000_000_000)},
    ],
)
def test_a_token_for_something_else_is_refused_and_closed(changes: dict[str, Any]) -> None:
    bench = Bench()
    session = bench.connect()
    effects = bench.send(session, bench.token(**({"nonce": session} | changes)))
    assert closes(effects) == [(session, CloseCode.BAD_TOKEN)]
    assert bench.written[session][-1].reason == "bad token"
    assert bench.core.sessions == 0


def test_anything_before_the_token_is_closed() -> None:
    bench = Bench()
    session = bench.connect()
    assert closes(bench.send(session, Leave(1, ROOM))) == [(session, CloseCode.BAD_TOKEN)]
    session = bench.connect()
    assert closes(bench.send_bytes(session, b"\xc1")) == [(session, CloseCode.MALFORMED)]
    assert bench.written[session][-1].reason == "malformed"


def test_messages_may_stand_behind_the_token_in_its_frame() -> None:
    bench = Bench()
    session = bench.connect()
    bench.send(session, bench.token(session), Time(5))
    assert bench.kinds(session) == ["Hello", "Welcome", "TimeIs"]


def test_without_a_token_the_session_ends_after_five_seconds() -> None:
    bench = Bench()
    session = bench.connect()
    assert closes(bench.later(4800 * MS)) == []
    assert closes(bench.later(400 * MS)) == [(session, CloseCode.HANDSHAKE_TIMEOUT)]


def keep_alive(bench: Bench, session: SessionId, seconds: int) -> list[Any]:
    effects = []
    for _ in range(seconds):
        effects += bench.later(S)
        effects += bench.did(bench.core.heard(session, bench.ns))
    return effects


def test_a_nonce_comes_at_four_fifths_and_its_token_renews() -> None:
    bench = Bench()
    session = bench.live()
    keep_alive(bench, session, 239)
    assert bench.kinds(session) == ["Hello", "Welcome"]
    keep_alive(bench, session, 2)
    nonce = bench.written[session][-1]
    assert isinstance(nonce, c.Nonce)
    assert 55 <= nonce.within_s <= 60
    assert closes(bench.send(session, bench.token(session))) == []
    assert bench.written[session][-1].reason == "bad token"
    other = Signer(b"e" * 32)
    bench.send(session, bench.token(nonce.nonce, signer=other))
    assert bench.written[session][-1].reason == "bad token"
    bench.send(session, bench.token(nonce.nonce, citizen=OTHER))
    assert bench.written[session][-1].reason == "bad token"
    bench.send(session, bench.token(nonce.nonce))
    assert bench.kinds(session)[-1] == "Welcome"
    assert closes(keep_alive(bench, session, 200)) == []


def test_a_token_that_is_not_renewed_ends_the_session() -> None:
    bench = Bench()
    session = bench.live()
    assert closes(keep_alive(bench, session, 302)) == [(session, CloseCode.TOKEN_EXPIRED)]


def test_a_silent_client_is_pinged_then_closed() -> None:
    bench = Bench()
    session = bench.live()
    effects = bench.later(21 * S)
    assert [e for e in effects if isinstance(e, Ping)] == [Ping(session)]
    assert closes(bench.later(20 * S)) == [(session, CloseCode.IDLE)]


def test_connections_from_one_address_are_bounded() -> None:
    bench = Bench(connections_per_address_max=2)
    first = bench.connect()
    bench.connect()
    session, effects = bench.core.connected(
        bench.ns, bench.ms, address="10.0.0.1", origin=ORIGIN, form=Form.MESSAGEPACK
    )
    assert closes(effects) == [(session, CloseCode.TOO_MANY_CONNECTIONS)]
    bench.connect(address="10.0.0.2")
    bench.did(bench.core.closed(first, bench.ns))
    bench.connect()
    assert bench.core.sessions == 3


# ── uplink ───────────────────────────────────────────────────────────────────────────────────────


def test_messages_for_ingest_go_up_as_they_were_received_once_a_turn() -> None:
    bench = Bench()
    session = bench.live()
    sent: list[Any] = [
        Open(1, ROOM, RECORD),
        Samples(ROOM, STRAND, 0, (b"body",)),
        c.SealWindow(ROOM, STRAND, RECORD),
        c.Release(ROOM, STRAND, bytes(32)),
    ]
    for message in sent:
        bench.did(bench.core.frame(session, encode([message]), bench.ns, bench.ms))
    [batch] = published(bench.flush(), UpBatch)
    assert [bytes(entry.message) for entry in batch.entries] == [encode(m) for m in sent]
    assert {(e.session, e.device) for e in batch.entries} == {(session, bench.signer.public_key)}
    assert (batch.slot, batch.number, batch.incarnation) == (SLOT, 0, bench.core.incarnation)
    [batch] = published(bench.send(session, sent[1]), UpBatch)
    assert batch.number == 1


def test_bytes_that_are_not_shortest_go_up_as_they_were_received() -> None:
    bench = Bench()
    session = bench.live()
    loose = b"\xdc\x00\x05" + encode(Samples(ROOM, STRAND, 0, (b"body",)))[1:]
    [batch] = published(bench.send_bytes(session, b"\xdd\0\0\0\1" + loose), UpBatch)
    assert bytes(batch.entries[0].message) == loose


def test_a_full_uplink_is_cut_in_batches_that_the_bus_takes() -> None:
    bench = Bench(units_burst=10_000)
    session = bench.live()
    message = Samples(ROOM, STRAND, 0, (bytes(700),) * 32)
    for _ in range(40):
        bench.did(bench.core.frame(session, encode([message, message]), bench.ns, bench.ms))
    batches = published(bench.flush(), UpBatch)
    assert [batch.number for batch in batches] == list(range(len(batches)))
    assert sum(len(batch.entries) for batch in batches) == 80
    assert max(len(encode(batch)) for batch in batches) < 300_000


@pytest.mark.parametrize(
    ("payload", "reason", "ref"),
    [
        (b"", "malformed", None),
        (b"\xc1", "malformed", None),
        (b"\x80", "malformed", None),
        (b"\x91\x00\x00", "malformed", None),
        (b"\x91\x00", "malformed", None),
        (b"\x91\x90", "malformed", None),
        (b"\x91" * 40_000, "malformed", None),
        (encode([["nonsense"]]), "unknown kind", None),
        (encode([["open"]]), "malformed", None),
        (encode([["leave", 7]]), "malformed", 7),
        (encode([["leave", 7, b"short"]]), "out of range", 7),
        (encode([["leave", -1, ROOM]]), "out of range", None),
        (encode([["leave", "x", ROOM]]), "malformed", None),
        (encode([["time?", 1]] * 65), "oversize", None),
        (encode([["samples", ROOM, STRAND, 0, []]]), "out of range", None),
        (encode([["samples", ROOM, STRAND, 0, [b"x"] * 33]]), "out of range", None),
        (encode([["token", "x" * 2049]]), "out of range", None),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    payload: bytes, reason: str, ref: int | None
) -> None:
    bench = Bench()
    session = bench.live()
    bystander = bench.live()
    assert closes(bench.send_bytes(session, payload)) == []
    refused = bench.written[session][-1]
    assert (refused.reason, refused.ref) == (reason, ref)
    assert bench.kinds(bystander) == ["Hello", "Welcome"]
    bench.send(session, Time(3))
    assert bench.written[session][-1] == c.TimeIs(3, bench.ms)
    assert bench.core.refusals == {reason: 1}


def test_repeated_garbage_is_closed() -> None:
    bench = Bench(malformed_max=3)
    session = bench.live()
    effects: list[Any] = []
    for _ in range(4):
        assert closes(effects) == []
        effects += bench.send_bytes(session, b"\xc1")
    assert closes(effects) == [(session, CloseCode.MALFORMED)]
    assert bench.send_bytes(session, b"\xc1") == []


def test_a_frame_over_the_limit_is_closed() -> None:
    bench = Bench()
    session = bench.live()
    assert closes(bench.send_bytes(session, bytes(65537))) == [(session, CloseCode.OVERSIZE)]


def test_too_fast_is_refused_and_far_too_fast_is_closed() -> None:
    bench = Bench(units_per_s=100, units_burst=200)
    session = bench.live()
    effects: list[Any] = []
    for number in range(400):
        effects += bench.send(session, Time(number))
    refused = [m for m in bench.written[session] if isinstance(m, c.Refused)]
    assert {m.reason for m in refused} == {"too fast"}
    assert closes(effects) == [(session, CloseCode.TOO_FAST)]


def test_a_question_costs_what_its_answer_weighs() -> None:
    bench = Bench(units_per_s=100, units_burst=200)
    session = bench.live()
    asked: list[Any] = []
    for number in range(3):  # of 48 units and the frame's one; the token left 149
        asked += published(bench.send(session, AskChain(number, CITIZEN, 7)), ChainAsk)
    assert [ask.before for ask in asked] == [7] * 3
    assert published(bench.send(session, AskChain(5, CITIZEN, 7)), ChainAsk) == []
    assert bench.written[session][-1].reason == "too fast"


def test_one_address_cannot_enrol_without_end_and_hinders_nobody_else() -> None:
    bench = Bench(enrolments_per_address_burst=2, enrolments_per_address_per_min=60)

    def enrol(session: SessionId) -> bool:
        sent = bench.send(session, Enrol(7, Signed(b"inception", bytes(64))))
        return bool(published(sent, EnrolAsk))

    here = [bench.live(address="10.0.0.1") for _ in range(2)]
    assert [enrol(here[0]), enrol(here[1]), enrol(here[0])] == [True, True, False]
    told = bench.written[here[0]][-1]
    assert (told.ref, told.reason) == (7, "too many enrolments")
    assert "in a minute" in told.meaning
    assert enrol(bench.live(address="10.0.0.2"))
    bench.later(1000 * MS)
    assert [enrol(here[1]), enrol(here[0])] == [True, False]


def test_patience_fills_the_bucket_again() -> None:
    bench = Bench(units_per_s=100, units_burst=200)
    session = bench.live()
    for number in range(80):
        bench.send(session, Time(number))
    bench.later(2 * S)
    bench.send(session, Time(999))
    assert bench.written[session][-1] == c.TimeIs(999, bench.ms)


message_bytes = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**63), 2**64 - 1),
            st.text(max_size=5),
            st.binary(max_size=40),
            st.floats(),
        ),
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=12,
    ).map(encode),
    st.tuples(
        st.sampled_from(["token", "join", "leave", "open", "samples", "seal", "record", "chain?"]),
        st.lists(
            st.one_of(
                st.integers(0, 2**33),
                st.binary(max_size=33),
                st.just(ROOM),
                st.just(STRAND),
                st.just(["p", "s"]),
                st.just([b"p", bytes(64)]),
                st.lists(st.binary(max_size=3)),
            ),
            max_size=6,
        ),
    ).map(lambda parts: encode([[parts[0], *parts[1]]])),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(message_bytes, min_size=1, max_size=12), st.booleans())
def test_nothing_a_client_sends_makes_the_core_raise_or_touches_a_bystander(
    payloads: list[bytes],
    is_json: bool,  # noqa: FBT001
) -> None:
    bench = Bench(units_burst=5000)
    bystander = bench.live()
    session, _ = bench.core.connected(
        bench.ns,
        bench.ms,
        address="10.0.0.9",
        origin=ORIGIN,
        form=Form.JSON if is_json else Form.MESSAGEPACK,
    )
    if not is_json:
        bench.send(session, bench.token(session))
    for payload in payloads:
        for effect in bench.core.frame(session, payload, bench.ns, bench.ms):
            assert not isinstance(effect, Close) or effect.session == session
        bench.core.flush(bench.ns, bench.ms)
        for effect in bench.core.sweep():
            assert isinstance(effect, Write)
            assert effect.session == session
    assert bench.kinds(bystander) == ["Hello", "Welcome"]


def test_the_json_subprotocol_carries_the_same_messages() -> None:
    bench = Bench()
    session, _ = bench.core.connected(
        bench.ns, bench.ms, address="10.0.0.9", origin=ORIGIN, form=Form.JSON
    )
    text = msgspec.json.encode([{"type": "token", "jwt": bench.token(session).jwt}])
    bench.core.frame(session, text, bench.ns, bench.ms)
    room = "cnJycnJycnJycnJycnJycg"
    strand = "c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M"
    samples = {
        "type": "samples",
        "sanctuary": room,
        "strand": strand,
        "epoch": 0,
        "bodies": ["Ym9keQ"],
    }
    bench.core.frame(session, msgspec.json.encode([samples]), bench.ns, bench.ms)
    [batch] = published(bench.core.flush(bench.ns, bench.ms), UpBatch)
    assert bytes(batch.entries[0].message) == encode(Samples(ROOM, STRAND, 0, (b"body",)))
    [effect] = bench.core.sweep()
    assert effect.form is Form.JSON
    hello, welcome = msgspec.json.decode(effect.payload)
    assert (hello["type"], welcome["type"]) == ("hello", "welcome")


def test_asks_go_to_their_authorities() -> None:
    bench = Bench()
    session = bench.live()
    [ask] = published(bench.send(session, Enrol(4, RECORD)), EnrolAsk)
    assert ask == EnrolAsk("gateway-0", session, 4, RECORD)
    effects = bench.send(session, AskChain(5, CITIZEN))
    assert [e.subject for e in effects] == ["ask.registry.0"]
    assert effects[0].event.device == bench.signer.public_key


# ── seats ────────────────────────────────────────────────────────────────────────────────────────


def test_a_join_is_asked_until_answered_and_kept_for_a_restarted_sanctuary() -> None:
    bench = Bench()
    session = bench.live()
    [ask] = published(bench.send(session, Join(9, ROOM, RECORD)), JoinAsk)
    assert (ask.session, ask.ref, ask.sanctuary, ask.again) == (session, 9, ROOM, False)
    assert len(published(bench.later(1100 * MS), JoinAsk)) == 2
    answer = SeatAnswered(session, ROOM, True, RECORD, encode(c.TimeIs(1, 1)), 9)
    bench.receive("back.gateway-0", answer)
    assert bench.kinds(session)[-1] == "TimeIs"
    assert published(bench.later(2 * S), JoinAsk) == []
    wanted = JoinsWanted("sanctuary-0", 1, (SLOT,))
    [again] = published(bench.receive("control.sanctuary-0", wanted), JoinAsk)
    assert again == msgspec.structs.replace(ask, again=True)
    other = JoinsWanted("sanctuary-0", 2, ((SLOT + 1) % 64,))
    assert published(bench.receive("control.sanctuary-0", other), JoinAsk) == []
    assert published(bench.receive("control.ingest-0", wanted), JoinAsk) == []


def test_a_join_that_nobody_answers_is_refused_and_undone() -> None:
    bench = Bench()
    session = bench.live()
    bench.send(session, Join(9, ROOM, RECORD))
    effects = bench.later(5100 * MS)
    assert len(published(effects, JoinAsk)) == 9
    assert bench.written[session][-1].reason == "not ready"
    assert bench.written[session][-1].ref == 9
    assert [leave.ref for leave in published(effects, LeaveAsk)] == [None]
    late = SeatAnswered(session, ROOM, True, RECORD, b"", 9)
    assert published(bench.receive("back.gateway-0", late), LeaveAsk) != []


def test_a_closed_socket_gives_its_seats_back() -> None:
    bench = Bench()
    session = bench.seated()
    [leave] = published(bench.did(bench.core.closed(session, bench.ns)), LeaveAsk)
    assert (leave.session, leave.sanctuary, leave.ref) == (session, ROOM, None)
    assert len(published(bench.later(3 * S), LeaveAsk)) == 2
    assert published(bench.later(3 * S), LeaveAsk) == []


@pytest.mark.parametrize("is_said", [True, False])
def test_what_was_said_goes_up_ahead_of_the_leave(is_said: bool) -> None:  # noqa: FBT001
    """Whether the session says that it leaves, or its socket closes: the leave ends the right to it."""
    bench = Bench()
    session = bench.member()
    said = Samples(ROOM, bytes(32), 0, (b"body",))
    if is_said:
        effects = bench.send(session, said, Leave(3, ROOM))
    else:
        bench.core.frame(session, encode([said]), bench.ns, bench.ms)
        effects = bench.did(bench.core.closed(session, bench.ns))
    order = [type(effect.event) for effect in effects if isinstance(effect, Publish)]
    assert order.index(UpBatch) < order.index(LeaveAsk)


def test_leaving_ends_what_is_received() -> None:
    bench = Bench()
    session = bench.member()
    [leave] = published(bench.send(session, Leave(3, ROOM)), LeaveAsk)
    assert leave.ref == 3
    left = SeatAnswered(session, ROOM, False, None, encode(c.Left(3, ROOM)), 3)
    bench.receive("back.gateway-0", left)
    bench.edge(1, Deliver(members(), (shown(1),)))
    assert bench.kinds(session)[-1] == "Left"
    assert published(bench.later(3 * S), LeaveAsk) == []


def test_seats_of_a_session_are_bounded() -> None:
    bench = Bench()
    session = bench.live()
    for number in range(33):
        bench.send(session, Join(number, bytes((number,)) * 16, RECORD))
    assert bench.written[session][-1].reason == "full"


# ── edge streams ─────────────────────────────────────────────────────────────────────────────────


def test_the_snapshot_comes_before_any_batch() -> None:
    bench = Bench()
    session = bench.seated()
    bench.edge(
        0,
        Clear(),
        Deliver(members(), (shown(1),)),
        Enter(session, ROOM, (shown(2),), ()),
        Deliver(members(), (shown(3),)),
    )
    assert bench.kinds(session)[-3:] == ["Snapshot", "SampleShown", "SampleShown"]
    assert bench.bodies(session) == [b"\2", b"\3"]


def test_nobody_enters_who_never_asked_to() -> None:
    bench = Bench()
    session = bench.live()
    bench.edge(0, Clear(), Enter(session, ROOM, (shown(2),), ()), Deliver(members(), (shown(3),)))
    assert bench.bodies(session) == []
    assert bench.core.edge_drops == {"session": 1, "audience": 1}


@pytest.mark.parametrize(
    ("held", "numbers", "recovered"),
    [
        ((), (), False),
        ((), ((b"1", 3),), False),
        (((b"1", 2),), ((b"1", 3),), True),
        (((b"1", 2),), ((b"1", 3), (b"2", 0)), True),
        (((b"1", 1),), ((b"1", 3),), False),
        (((b"1", 2),), ((b"1", 3), (b"2", 1)), False),
        (((b"1", 2), (b"2", 5)), ((b"1", 3),), False),
    ],
)
def test_recovered_is_said_only_when_every_last_number_is_held(
    held: tuple[tuple[bytes, int], ...], numbers: tuple[tuple[bytes, int], ...], *, recovered: bool
) -> None:
    bench = Bench()
    session = bench.seated(held=tuple(Held(name * 32, last) for name, last in held))
    rows = tuple(StrandNumber(name * 32, following) for name, following in numbers)
    bench.edge(0, Clear(), Enter(session, ROOM, (), rows))
    assert bench.written[session][-1] == c.Snapshot(ROOM, 0, recovered)
    bench.edge(0, Clear(), Enter(session, ROOM, (), rows), epoch=2)
    assert bench.written[session][-1] == c.Snapshot(ROOM, 0, False)


def test_a_hole_empties_the_slot_tells_gap_and_asks_until_a_fresh_start() -> None:
    bench = Bench()
    session = bench.member()
    bench.edge(1, Deliver(members(), (shown(1),)))
    effects = bench.edge(3, Deliver(members(), (shown(3),)))
    assert published(effects, SnapshotAsk) == [
        SnapshotAsk("gateway-0", bench.core.incarnation, SLOT)
    ]
    assert bench.kinds(session)[-1] == "Gap"
    bench.edge(4, Deliver(members(), (shown(4),)))
    assert len(published(bench.later(600 * MS), SnapshotAsk)) == 2
    bench.edge(0, Clear(), Enter(session, ROOM, (shown(5),), (), True))
    bench.edge(1, Deliver(members(), (shown(6),)))
    assert bench.bodies(session) == [b"\1", b"\5", b"\6"]
    assert bench.kinds(session).count("Gap") == 1
    assert published(bench.later(S), SnapshotAsk) == []


def test_old_epochs_other_incarnations_and_repeats_are_dropped() -> None:
    bench = Bench()
    session = bench.member()
    bench.edge(0, Clear(), Enter(session, ROOM, (), ()), epoch=2)
    bench.edge(1, Deliver(members(), (shown(1),)), epoch=2)
    bench.edge(1, Deliver(members(), (shown(2),)), epoch=2)
    bench.edge(2, Deliver(members(), (shown(3),)), epoch=1)
    bench.edge(2, Deliver(members(), (shown(4),)), epoch=2, incarnation=1)
    bench.edge(2, Deliver(members(), (shown(5),)), epoch=2)
    assert bench.bodies(session) == [b"\1", b"\5"]
    assert bench.core.edge_drops == {"repeated": 1, "epoch": 1}
    assert bench.core.dropped == {"incarnation": 1}


def test_a_new_epoch_must_begin_with_clear() -> None:
    bench = Bench()
    session = bench.member()
    effects = bench.edge(1, Deliver(members(), (shown(1),)), epoch=2)
    assert bench.bodies(session) == []
    assert len(published(effects, SnapshotAsk)) == 1
    bench.edge(0, Clear(), Enter(session, ROOM, (shown(2),), ()), epoch=2)
    assert bench.bodies(session) == [b"\2"]


def test_three_seconds_of_silence_are_a_gap() -> None:
    bench = Bench()
    session = bench.member()
    for number in range(1, 7):
        bench.later(500 * MS)
        assert published(bench.edge(number), SnapshotAsk) == []
    assert published(bench.later(2700 * MS), SnapshotAsk) == []
    assert published(bench.later(600 * MS), SnapshotAsk) != []
    assert bench.kinds(session)[-1] == "Gap"


def test_a_silent_slot_that_nobody_wants_is_not_asked_about() -> None:
    bench = Bench()
    bench.edge(0, Clear())
    assert published(bench.later(10 * S), SnapshotAsk) == []


def test_departed_means_nothing_more() -> None:
    bench = Bench()
    session = bench.member()
    batch = (
        Deliver(members(), (shown(1),)),
        Depart(session, ROOM),
        Deliver(members(), (shown(2),)),
    )
    bench.edge(1, *batch)
    assert bench.bodies(session) == []


def test_viewers_of_a_stage_enter_by_generation() -> None:
    bench = Bench()
    first = bench.connect(watch=ROOM)
    [interest] = published(bench.effects, Interest)
    assert (interest.sanctuary, interest.count) == (ROOM, 1)
    second = bench.connect(watch=ROOM)
    public = b"p" + ROOM
    bench.edge(
        0,
        Clear(),
        EnterPublic(ROOM, interest.generation, (shown(1),)),
        Deliver(public, (shown(2),)),
    )
    assert bench.bodies(first) == [b"\1", b"\2"]
    assert bench.bodies(second) == []
    later = published(bench.effects, Interest)[-1]
    assert (later.count, later.generation > interest.generation) == (2, True)
    bench.edge(1, EnterPublic(ROOM, later.generation, (shown(3),)), Deliver(public, (shown(4),)))
    assert bench.bodies(first) == [b"\1", b"\2", b"\4"]
    assert bench.bodies(second) == [b"\3", b"\4"]
    bench.did(bench.core.closed(first, bench.ns))
    bench.did(bench.core.closed(second, bench.ns))
    assert [i.count for i in published(bench.flush(), Interest)] == [0]
    assert published(bench.later(2 * S), Interest) == []


def test_interest_is_announced_every_half_second() -> None:
    bench = Bench()
    bench.connect(watch=ROOM)
    assert len(published(bench.later(2 * S), Interest)) in {4, 5}


def test_an_anonymous_viewer_can_do_nothing_but_watch() -> None:
    bench = Bench()
    session = bench.connect(watch=ROOM)
    effects = bench.send(
        session, Samples(ROOM, STRAND, 0, (b"body",)), Join(1, ROOM, RECORD), Time(4)
    )
    assert [e for e in effects if not isinstance(e, Publish)] == []
    assert bench.kinds(session) == ["Hello", "Refused", "Refused", "TimeIs"]


# ── consent ──────────────────────────────────────────────────────────────────────────────────────


def test_a_record_is_repeated_until_the_registry_answers() -> None:
    bench = Bench()
    session = bench.live()
    [first] = published(bench.send(session, Record(6, RECORD)), ConsentForwarded)
    assert (first.session, first.ref, first.record, first.again) == (session, 6, RECORD, False)
    repeats = published(bench.later(1010 * MS), ConsentForwarded)
    assert [r.again for r in repeats] == [True] * 4
    answer = RecordAnswered(session, 6, sha256(RECORD.payload), True, encode(c.TimeIs(1, 1)))
    bench.receive("back.gateway-0", answer)
    assert bench.kinds(session)[-1] == "TimeIs"
    assert published(bench.later(2 * S), ConsentForwarded) == []


def test_control_is_numbered_without_holes_and_beats_tell_the_last_number() -> None:
    bench = Bench()
    session = bench.live()
    bench.send(session, Record(6, RECORD))
    bench.edge(0, Clear(), Marker(CITIZEN, 5))
    bench.later(2 * S)
    last = 0
    for event in [e.event for e in bench.effects if isinstance(e, Publish)]:
        if isinstance(event, ConsentForwarded | Passed):
            assert event.number == last + 1
            last = event.number
        elif isinstance(event, GatewayBeat):
            assert event.number == last
    assert last > 5


def test_a_record_outlives_its_socket() -> None:
    bench = Bench()
    session = bench.live()
    bench.send(session, Record(6, RECORD))
    bench.did(bench.core.closed(session, bench.ns))
    assert published(bench.later(S), ConsentForwarded) != []


def test_acted_is_said_once_every_fanout_has() -> None:
    bench = Bench()
    session = bench.live()
    bench.send(session, Record(6, RECORD))

    def acted(ordinal: int) -> None:
        event = ConsentActed(f"fanout-{ordinal}", ordinal, 2, session, 6, CITIZEN, 3)
        bench.receive("back.gateway-0", event)

    acted(1)
    acted(1)
    assert bench.kinds(session) == ["Hello", "Welcome"]
    acted(0)
    acted(0)
    assert bench.written[session][2:] == [c.Acted(CITIZEN, 3)]


def test_tombstones_are_kept_for_a_minute_and_until_answered() -> None:
    bench = Bench()
    session = bench.live()
    other, refused = Signed(b"other", bytes(64)), Signed(b"refused", bytes(64))
    for ref, record in enumerate((RECORD, other, refused)):
        bench.send(session, Record(ref, record))
    for ref, record in ((0, RECORD), (2, refused)):
        answer = RecordAnswered(session, ref, sha256(record.payload), record is RECORD, b"")
        bench.receive("back.gateway-0", answer)
    wanted = TombstonesWanted("fanout-0", 1)

    def tombstones() -> set[bytes]:
        [event] = published(bench.receive("control.fanout-0", wanted), Tombstones)
        return {record.payload for record in event.records}

    assert tombstones() == {b"payload", b"other"}
    keep_alive(bench, session, 61)
    assert tombstones() == {b"other"}
    assert published(bench.receive("control.ingest-0", wanted), Tombstones) == []


def test_unanswered_records_of_a_session_are_bounded() -> None:
    bench = Bench()
    session = bench.live()
    for number in range(9):
        bench.send(session, Record(number, Signed(bytes((number + 1,)), bytes(64))))
    assert bench.written[session][-1].reason == "too fast"
    assert bench.written[session][-1].ref == 8


def test_a_marker_purges_and_is_passed_to_the_owner_of_its_slot() -> None:
    bench = Bench()
    session = bench.member()
    for ordinal in range(2):
        name = f"fanout-{ordinal}"
        bench.receive(f"control.{name}", FanoutBeat(name, ordinal, 2, 0, True))
    bench.core.paused(session)
    bench.edge(1, Deliver(members(), (shown(1), shown(2, OTHER))))
    [passed] = published(bench.edge(2, Marker(CITIZEN, 77)), Passed)
    assert (passed.fanout, passed.marker) == (f"fanout-{SLOT % 2}", 77)
    bench.core.resumed(session)
    bench.flush()
    assert bench.bodies(session) == [b"\2"]


def test_a_strike_silences_before_its_notice() -> None:
    bench = Bench()
    session = bench.member()
    notice = encode(Struck(ROOM, CITIZEN, None))
    effects = bench.edge(
        1,
        Deliver(members(), (shown(1), shown(2, OTHER))),
        Strike(CITIZEN, members(), None, notice, 9),
        Deliver(members(), (shown(3, OTHER),)),
    )
    assert bench.bodies(session) == [b"\2", b"\3"]
    assert bench.kinds(session)[-3:] == ["SampleShown", "Struck", "SampleShown"]
    assert [passed.marker for passed in published(effects, Passed)] == [9]


# ── stalls and fences ────────────────────────────────────────────────────────────────────────────


def test_after_a_stall_nothing_that_waited_is_written() -> None:
    bench = Bench()
    session = bench.member()
    batch = EdgeBatch(SLOT, 1, bench.core.incarnation, 1, (Deliver(members(), (shown(1),)),))
    bench.core.receive("edge.gateway-0", batch, bench.ns, bench.ms)
    bench.now_ns += STALL_NS_MAX + MS
    effects = bench.flush()
    assert len(published(effects, SnapshotAsk)) == 1
    bench.edge(2, Deliver(members(), (shown(2),)))
    assert bench.bodies(session) == []
    assert bench.kinds(session)[-1] == "Gap"
    bench.edge(0, Clear(), Enter(session, ROOM, (shown(3),), ()))
    assert bench.bodies(session) == [b"\3"]


def test_a_stall_longer_than_a_fence_closes_whoever_receives() -> None:
    bench = Bench()
    session, stranger = bench.member(), bench.live()
    watcher = bench.connect(watch=ROOM)
    incarnation = bench.core.incarnation
    bench.now_ns += STALL_FENCE_NS
    batch = EdgeBatch(SLOT, 1, incarnation, 1, (Deliver(members(), (shown(1),)),))
    effects = bench.receive("edge.gateway-0", batch)
    assert closes(effects) == [(session, CloseCode.FENCED), (watcher, CloseCode.FENCED)]
    assert bench.bodies(session) == []
    assert bench.core.incarnation != incarnation
    assert [beat.number for beat in published(effects, GatewayBeat)] == [0]
    bench.send(stranger, Time(1))
    assert bench.kinds(stranger)[-1] == "TimeIs"


def test_a_fence_of_this_incarnation_closes_members_and_begins_anew() -> None:
    bench = Bench()
    session = bench.member()
    incarnation = bench.core.incarnation
    ignored = [
        ("control.fanout-0", Fenced("fanout-0", 1, "gateway-1", incarnation)),
        ("control.fanout-0", Fenced("fanout-0", 1, "gateway-0", incarnation + 1)),
        ("control.ingest-0", Fenced("fanout-0", 1, "gateway-0", incarnation)),
        ("control.ingest-0", Fenced("ingest-0", 1, "gateway-0", incarnation)),
    ]
    for subject, event in ignored:
        assert closes(bench.receive(subject, event)) == []
    fenced = Fenced("fanout-0", 1, "gateway-0", incarnation)
    effects = bench.receive("control.fanout-0", fenced)
    assert closes(effects) == [(session, CloseCode.FENCED)]
    assert bench.core.incarnation != incarnation


def test_draining_says_move_and_takes_nobody_in() -> None:
    bench = Bench()
    session = bench.live()
    bench.core.drain(2)
    bench.flush()
    assert bench.written[session][-1] == c.Move(2)
    late, effects = bench.core.connected(
        bench.ns, bench.ms, address="10.0.0.1", origin=ORIGIN, form=Form.MESSAGEPACK
    )
    assert closes(effects) == [(late, CloseCode.MOVE)]
    effects = bench.did(bench.core.close_all(CloseCode.GOING_AWAY, bench.ns))
    assert closes(effects) == [(session, CloseCode.GOING_AWAY)]


def test_a_viewer_that_cannot_keep_up_is_closed_and_nobody_else() -> None:
    bench = Bench(backlog_bytes_max=65536)
    session = bench.member()
    bystander = bench.seated()
    bench.edge(1, Enter(bystander, ROOM, (), ()))
    bench.core.paused(session)
    effects: list[Any] = []
    for number in range(2, 100):
        part = Segment(CITIZEN, encode(SampleShown(STRAND, bytes(1000))))
        effects += bench.edge(number, Deliver(members(), (part,)))
    assert closes(effects) == [(session, CloseCode.TOO_SLOW)]
    assert len(bench.bodies(bystander)) == 98


def test_every_kind_of_client_message_has_a_home() -> None:
    bench = Bench(units_burst=5000)
    session = bench.live()
    samples: dict[str, Any] = {
        "token": ["x"],
        "enrol": [1, RECORD],
        "join": [1, ROOM, RECORD],
        "leave": [1, ROOM],
        "follow": [1, ROOM, RECORD],
        "open": [1, ROOM, RECORD],
        "samples": [ROOM, STRAND, 0, [b"b"]],
        "seal": [ROOM, STRAND, RECORD],
        "release": [ROOM, STRAND, bytes(32)],
        "record": [1, RECORD],
        "chain?": [1, CITIZEN],
        "time?": [1],
    }
    tags = {kind.__struct_config__.tag for kind in ClientMessage.__args__}
    assert tags == set(samples)
    for tag, fields in samples.items():
        before = len(bench.effects) + len(bench.written[session])
        bench.send_bytes(session, encode([[tag, *fields]]))
        assert len(bench.effects) + len(bench.written[session]) > before, tag

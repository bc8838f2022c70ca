"""The gateway's decisions: sessions in, audiences out. Pure.

It knows sockets' sessions and audiences; it decides nothing about consent and can assert no viewer.
Inputs that come from a client can be refused or close that client, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

import msgspec

from services.gateway.core.control_line import ControlLine
from services.gateway.core.courier import Courier
from services.gateway.core.edge import Edge
from services.gateway.core.effects import (
    Close,
    Cut,
    Effect,
    Ping,
    RefuseWatch,
    Respond,
    Write,
    WriteMany,
)
from services.gateway.core.egress import Egress
from services.gateway.core.enrolments import Enrolments
from services.gateway.core.form import Form, event_of
from services.gateway.core.interest import InterestBook
from services.gateway.core.listing import Listing
from services.gateway.core.posts import Posts, refused
from services.gateway.core.seats import Seats, Wanted
from services.gateway.core.session import SECOND_NS, UNIT_BYTES, UNITS_OF, Limits, Session
from services.gateway.core.silence import Silences
from services.gateway.core.uplink import Message, Unread, Uplink, read_frame
from services.gateway.core.wheel_timer import WheelTimer
from services.gateway.settings import GatewaySettings
from shared import subjects
from shared.codec import Refused, encode
from shared.contracts import client
from shared.contracts.client import FRAME_BYTES_MAX, FRAME_MESSAGES_MAX
from shared.contracts.fanout import (
    ConsentActed,
    EdgeBatch,
    FanoutBeat,
    Fenced,
    TombstonesWanted,
)
from shared.contracts.gateway import (
    ChainAsk,
    ConsentForwarded,
    EnrolAsk,
    FollowAsk,
    Interest,
    JoinAsk,
    LeaveAsk,
    SnapshotAsk,
)
from shared.contracts.ingest import Answers
from shared.contracts.refusals import MEANING, CloseCode, Refusal
from shared.contracts.registry import RecordAnswered, StateAsk, StatePage
from shared.contracts.sanctuary import FollowAnswered, JoinsWanted, RoomsListed, SeatAnswered
from shared.contracts.window import ChallengeTold
from shared.identifiers import MonotonicNs, SanctuaryId, SessionId, WallMs, slot_of
from shared.subjects import FANOUT, REGISTRY, SANCTUARY, Ask, Publish

PROTOCOL_VERSION = 1
BEAT_EVERY_NS = 250_000_000
CITY_ASK_EVERY_NS = 250_000_000
STALL_NS_MAX = 500_000_000
"""A loop that stood still longer holds batches of an unknown age: it purges them before it writes."""
STALL_FENCE_NS = 1_000_000_000
"""fanout waits 1 s for a marker before it fences: after so long a stall a withdrawal may have been
answered `acted` without us, so we fence ourselves, as fanout's `Fenced` may still be on its way."""
LEFT_NS_MAX = 25_000_000
"""A struck citizen's bytes that a viewer's transport holds are neither ours to take back nor in the
kernel: it gets so long to hand them over, and then ends with them. Within the promise's 50 ms."""
WHEEL_WIDTH_NS = 100_000_000
NOT_FOUND = (404, "not found")
NOT_READY = (503, "not ready")
TOO_MANY = (429, "too many connections")
EVENTS_BEGIN = b"retry: 1000\n"
"""Milliseconds after which a browser comes back by itself."""
_LAST_CITIZEN = b"\xff" * 16
"""Asks the registry for the page behind the last citizen: the charter and nobody."""


class Gateway:
    """The core. `random_bytes` makes session ids, nonces and the incarnation."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        gateway: str,
        random_bytes: Callable[[int], bytes],
        city: bytes | None = None,
    ) -> None:
        self._settings = settings
        self.gateway = gateway
        self._random_bytes = random_bytes
        self.city = city
        self.listing = Listing()
        """What anybody may choose among."""
        self._control = ControlLine(gateway, int.from_bytes(random_bytes(6), "big"))
        self._limits = Limits(
            handshake_s=settings.handshake_s,
            ping_after_s=settings.ping_after_s,
            units_per_s=settings.units_per_s,
            units_burst=settings.units_burst,
            malformed_max=settings.malformed_max,
        )
        self._sessions: dict[SessionId, Session] = {}
        self._of_address: dict[str, int] = {}
        self._enrolments = Enrolments(
            per_min=settings.enrolments_per_address_per_min,
            burst=settings.enrolments_per_address_burst,
        )
        self._wheel: WheelTimer[SessionId] = WheelTimer(WHEEL_WIDTH_NS)
        self._uplink = Uplink()
        self._seats = Seats()
        self._posts = Posts(
            gateway,
            uplink=self._uplink,
            seats=self._seats,
            random_bytes=random_bytes,
            units_per_s=settings.units_per_s,
            units_burst=settings.units_burst,
            posters_max=settings.posters_max,
        )
        self._interest = InterestBook()
        self._courier = Courier()
        self.silences = Silences()
        self._egress = Egress(backlog_bytes_max=settings.backlog_bytes_max, silences=self.silences)
        self._cut_ns: dict[SessionId, int] = {}
        """Viewers whose transport holds what was struck, and when they are cut off."""
        self._passed: list[tuple[int, int]] = []
        self._edge = Edge(
            self._egress,
            passed=lambda slot, marker: self._passed.append((slot, marker)),
            recovered=self._seats.recovered,
            may_enter=self._seats.has,
            watchers=self._interest.watchers,
        )
        self._beat_at_ns = MonotonicNs(0)
        self._city_ask_at_ns = MonotonicNs(0)
        self._last_turn_ns = MonotonicNs(0)
        self._seen_ms = WallMs(0)
        """The wall clock at the last tick."""
        self.is_draining = False
        self.refusals: dict[str, int] = {}
        self.closes: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.frames_in = 0
        self.bytes_in = 0
        self.stalls = 0
        self.fences = 0
        self.cuts = 0

    # ── what the shell asks ──────────────────────────────────────────────────────────────────────

    @property
    def incarnation(self) -> int:
        return self._control.incarnation

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    @property
    def unanswered_records(self) -> int:
        return self._courier.unanswered

    @property
    def posts(self) -> Posts:
        """For counting only."""
        return self._posts

    @property
    def egress(self) -> Egress:
        """For counting only."""
        return self._egress

    @property
    def edge_drops(self) -> dict[str, int]:
        return self._edge.batches_dropped

    @property
    def gaps(self) -> int:
        return self._edge.gaps

    def next_deadline(self) -> MonotonicNs:
        deadlines = (
            self._wheel.next_deadline(),
            self._courier.next_deadline(),
            self._seats.next_deadline(),
            self._interest.next_deadline(),
            self._posts.next_deadline(),
            min(self._cut_ns.values(), default=None),
        )
        return MonotonicNs(min([self._beat_at_ns, *(at for at in deadlines if at is not None)]))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def start(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._last_turn_ns = now_ns
        self._beat_at_ns = self._city_ask_at_ns = now_ns
        return self.tick(now_ns, now_ms)

    def tick(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        self._seen_ms = now_ms
        effects = self._turn(now_ns)
        if now_ns >= self._beat_at_ns:
            self._beat_at_ns = MonotonicNs(now_ns + BEAT_EVERY_NS)
            effects.append(self._control.beat())
            self.silences.tick(now_ns)
        effects.extend(self._end_strikes(now_ns))
        if self.city is None and now_ns >= self._city_ask_at_ns:
            self._city_ask_at_ns = MonotonicNs(now_ns + CITY_ASK_EVERY_NS)
            ask = StateAsk(after=_LAST_CITIZEN, consent=False)
            effects.append(Ask(subjects.ask(REGISTRY), ask, StatePage))
        for carried_by, ref, record in self._courier.due(now_ns):
            effects.append(self._control.forward(carried_by, ref, record, again=True))
        effects.extend(self._repeat_seats(now_ns, now_ms))
        effects.extend(self._snapshot_asks(now_ns))
        effects.extend(self._announce(now_ns))
        effects.extend(self._posts_due(now_ns, now_ms))
        for id_ in self._wheel.due(now_ns):
            session = self._sessions[id_]
            if session.form is Form.EVENTS:
                effects.extend(self._check_events(session, now_ns))
                continue
            code, message, is_ping = session.check(now_ns, self._random_bytes)
            if code is not None:
                effects.extend(self._close(session, code, now_ns))
                continue
            self._egress.owe(id_, message)
            if is_ping:
                effects.append(Ping(id_))
            self._wheel.arm(id_, session.next_check())
        return effects

    def _check_events(self, session: Session, now_ns: MonotonicNs) -> list[Effect]:
        """An event stream begins with its snapshot. Without one there is nothing public of that name,
        whatever else there may be: one answer for all of it.
        """
        if self._egress.has_begun(session.id):
            self._wheel.arm(session.id, now_ns + self._settings.ping_after_s * SECOND_NS)
            return [Ping(session.id)]
        assert session.watch is not None
        effects: list[Effect] = [RefuseWatch(session.id, *NOT_READY)]
        if self._edge.is_current(slot_of(session.watch), now_ns):
            effects = [RefuseWatch(session.id, *NOT_FOUND)]
        return effects + self._forget(session, now_ns)

    def _turn(self, now_ns: MonotonicNs) -> list[Effect]:
        """The stall guard: stands at the head of every input."""
        stood_ns = now_ns - self._last_turn_ns
        self._last_turn_ns = now_ns
        if stood_ns <= STALL_NS_MAX:
            return []
        self.stalls += 1
        if stood_ns >= STALL_FENCE_NS:
            return self._fence(now_ns)
        self._edge.lose_all(now_ns)
        return self._snapshot_asks(now_ns)

    def _fence(self, now_ns: MonotonicNs) -> list[Effect]:
        """Close whoever receives anything, and begin a new incarnation."""
        self.fences += 1
        effects: list[Effect] = []
        for session in list(self._sessions.values()):
            if session.watch is not None or self._seats.any_of(session.id):
                self._seats.forget_session(session.id)
                effects.extend(self._close(session, CloseCode.FENCED, now_ns))
        effects.extend(self._posts.end_all(self._seen_ms))
        self._control.begin_incarnation(int.from_bytes(self._random_bytes(6), "big"))
        self._uplink.begin_incarnation()
        self._edge.begin_incarnation(now_ns)
        self._passed.clear()
        self._interest.announce_all()
        self._beat_at_ns = MonotonicNs(now_ns + BEAT_EVERY_NS)
        effects.append(self._control.beat())
        return effects

    # ── sockets ──────────────────────────────────────────────────────────────────────────────────

    def connected(
        self,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        address: str,
        origin: str,
        form: Form,
        watch: SanctuaryId | None = None,
        held: str = "",
    ) -> tuple[SessionId, list[Effect]]:
        """A socket was upgraded, or an event stream asked for. The session id is its first nonce.
        `held`: what a returning event stream says it holds.
        """
        assert self.city is not None
        effects = self._turn(now_ns)
        id_ = SessionId(self._random_bytes(16))
        if self._of_address.get(address, 0) >= self._settings.connections_per_address_max:
            effects.append(self._end(id_, CloseCode.TOO_MANY_CONNECTIONS, form))
            return id_, effects
        if self.is_draining:
            effects.append(self._end(id_, CloseCode.MOVE, form))
            return id_, effects
        session = Session(
            id_,
            address=address,
            origin=origin,
            form=form,
            watch=watch,
            limits=self._limits,
            now_ns=now_ns,
        )
        self._sessions[id_] = session
        self._of_address[address] = self._of_address.get(address, 0) + 1
        settings = self._settings
        told = client.Limits(
            FRAME_BYTES_MAX,
            FRAME_MESSAGES_MAX,
            settings.samples_per_s,
            settings.samples_burst,
            settings.skew_ms,
            settings.handshake_s,
        )
        hello = client.Hello(PROTOCOL_VERSION, id_, now_ms, origin, self.city, self.gateway, told)
        if form is Form.EVENTS:
            greeting = EVENTS_BEGIN + event_of(encode(hello))
            self._egress.add_viewer(id_, form=form, greeting=greeting, held=held)
            self._wheel.arm(id_, now_ns + settings.watch_s * SECOND_NS)
        else:
            self._egress.add_viewer(id_, form=form)
            self._egress.owe(id_, encode(hello))
            self._wheel.arm(id_, session.next_check())
        if watch is not None:
            self._interest.watch(id_, watch)
        return id_, effects

    def closed(self, id_: SessionId, now_ns: MonotonicNs) -> list[Effect]:
        """The socket is gone. Unknown ones were closed from here."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is not None:
            effects.extend(self._forget(session, now_ns))
        return effects

    def heard(self, id_: SessionId, now_ns: MonotonicNs) -> list[Effect]:
        """A ping or pong came."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is not None:
            session.heard(now_ns)
            if not session.bucket.take(1, now_ns) and session.bucket.is_far_below:
                effects.extend(self._close(session, CloseCode.TOO_FAST, now_ns))
        return effects

    def broke(self, id_: SessionId, code: CloseCode, now_ns: MonotonicNs) -> list[Effect]:
        """The socket broke the WebSocket protocol or a limit that its door watches."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is not None:
            effects.extend(self._close(session, code, now_ns))
        return effects

    def paused(self, id_: SessionId) -> None:
        self._egress.pause(id_)

    def resumed(self, id_: SessionId) -> None:
        self._egress.resume(id_)

    def frame(
        self, id_: SessionId, payload: bytes, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        """One data message of a socket."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is None:
            return effects
        self.frames_in += 1
        self.bytes_in += len(payload)
        session.heard(now_ns)
        if len(payload) > FRAME_BYTES_MAX:
            effects.extend(self._close(session, CloseCode.OVERSIZE, now_ns))
            return effects
        if not session.bucket.take(1 + len(payload) // UNIT_BYTES, now_ns):
            effects.extend(self._too_fast(session, None, now_ns, now_ms))
            return effects
        try:
            messages = read_frame(payload, is_json=session.form is Form.JSON)
        except Refused as refused:
            self._refuse(session, None, refused.reason, now_ms)
            if refused.reason is Refusal.MALFORMED:
                effects.extend(self._malformed(session, now_ns))
            return effects
        for read in messages:
            if isinstance(read, Unread):
                self._refuse(session, read.ref, read.reason, now_ms)
                effects.extend(self._malformed(session, now_ns))
            else:
                message = read.message
                units = UNITS_OF.get(type(message), 1)
                if not session.bucket.take(units, now_ns):
                    ref = getattr(message, "ref", None)
                    effects.extend(self._too_fast(session, ref, now_ns, now_ms))
                else:
                    effects.extend(self._message(session, message, read.raw, now_ns, now_ms))
            if id_ not in self._sessions:
                break
        return effects

    def _message(
        self,
        session: Session,
        message: Message,
        raw: msgspec.Raw,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> list[Effect]:
        if isinstance(message, client.Time):
            is_known = session.watch is not None or session.device is not None
            if is_known:
                self._egress.owe(session.id, encode(client.TimeIs(message.client_ms, now_ms)))
                return []
        elif isinstance(message, client.Token):
            return self._token(session, message, now_ns, now_ms)
        device = session.device
        if device is None:
            self._refuse(session, getattr(message, "ref", None), Refusal.BAD_TOKEN, now_ms)
            if session.watch is not None:
                return []
            return self._close(session, CloseCode.BAD_TOKEN, now_ns)
        id_ = session.id
        match message:
            case client.Open() | client.Samples() | client.SealWindow() | client.Release():
                self._uplink.add(slot_of(message.sanctuary), id_, device, raw)
            case client.Join(ref, sanctuary):
                wanted = self._seats.join(id_, message, device, now_ns)
                if wanted is None:
                    self._refuse(session, ref, Refusal.FULL, now_ms)
                    return []
                return [self._ask_seat(id_, sanctuary, wanted)]
            case client.Leave(ref, sanctuary):
                wanted = self._seats.leave(id_, sanctuary, ref, now_ns)
                return [*self._flush_uplink(), self._ask_seat(id_, sanctuary, wanted)]
            case client.Follow(ref, sanctuary, record):
                if not self._seats.has(id_, sanctuary):
                    self._refuse(session, ref, Refusal.NOT_A_MEMBER, now_ms)
                    return []
                slot = slot_of(sanctuary)
                follow = FollowAsk(
                    self.gateway, self.incarnation, id_, device, ref, sanctuary, record
                )
                return [Publish(subjects.ask(SANCTUARY, slot), follow)]
            case client.Enrol(ref, record):
                if not self._enrolments.spend(session.address, now_ns):
                    self._refuse(session, ref, Refusal.TOO_MANY_ENROLMENTS, now_ms)
                    return []
                ask = EnrolAsk(self.gateway, id_, ref, record)
                return [Publish(subjects.ask(REGISTRY), ask)]
            case client.AskChain(ref, citizen, before):
                chain = ChainAsk(self.gateway, id_, device, ref, citizen, before)
                return [Publish(subjects.ask(REGISTRY), chain)]
            case client.Record(ref, record):
                is_new = self._courier.take(id_, ref, record, now_ns)
                if is_new is None:
                    self._refuse(session, ref, Refusal.TOO_FAST, now_ms)
                    return []
                if is_new:
                    self.silences.hear(record, now_ns, is_here=True)
                return [self._control.forward(id_, ref, record, again=not is_new)]
            case client.Time() | client.Token():
                pass
            case _:
                assert_never(message)
        return []

    def _token(
        self, session: Session, token: client.Token, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        assert self.city is not None
        is_first = session.device is None
        try:
            welcome = session.take_token(token.jwt, self.city, now_ns, now_ms)
        except Refused as refused:
            self._refuse(session, None, refused.reason, now_ms)
            if is_first and session.watch is None:
                return self._close(session, CloseCode.BAD_TOKEN, now_ns)
            return []
        self._egress.owe(session.id, welcome)
        self._wheel.arm(session.id, session.next_check())
        return []

    # ── refusing and closing ─────────────────────────────────────────────────────────────────────

    def _refuse(self, session: Session, ref: int | None, reason: Refusal, now_ms: WallMs) -> None:
        self.refusals[reason.value] = self.refusals.get(reason.value, 0) + 1
        refused = client.Refused(ref, reason.value, MEANING[reason], now_ms)
        self._egress.owe(session.id, encode(refused))

    def _too_fast(
        self, session: Session, ref: int | None, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        self._refuse(session, ref, Refusal.TOO_FAST, now_ms)
        if session.bucket.is_far_below:
            return self._close(session, CloseCode.TOO_FAST, now_ns)
        return []

    def _malformed(self, session: Session, now_ns: MonotonicNs) -> list[Effect]:
        session.malformed += 1
        is_stranger = session.device is None and session.watch is None
        if is_stranger or session.malformed > self._limits.malformed_max:
            return self._close(session, CloseCode.MALFORMED, now_ns)
        return []

    def _end(self, id_: SessionId, code: CloseCode, form: Form) -> Close | RefuseWatch:
        self.closes[code.name] = self.closes.get(code.name, 0) + 1
        if form is not Form.EVENTS or self._egress.has_begun(id_):
            return Close(id_, code)
        is_crowd = code is CloseCode.TOO_MANY_CONNECTIONS
        return RefuseWatch(id_, *(TOO_MANY if is_crowd else NOT_READY))

    def _close(self, session: Session, code: CloseCode, now_ns: MonotonicNs) -> list[Effect]:
        """Write the answers it is still owed, then close it and forget it."""
        effects: list[Effect] = []
        farewell = self._egress.farewell(session.id)
        if farewell is not None:
            effects.append(farewell)
        effects.append(self._end(session.id, code, session.form))
        effects.extend(self._forget(session, now_ns))
        return effects

    def _forget(self, session: Session, now_ns: MonotonicNs) -> list[Effect]:
        id_ = session.id
        del self._sessions[id_]
        left = self._of_address[session.address] - 1
        if left:
            self._of_address[session.address] = left
        else:
            del self._of_address[session.address]
        self._wheel.disarm(id_)
        self._egress.drop_viewer(id_)
        self._edge.forget(id_)
        if session.watch is not None:
            self._interest.unwatch(id_, session.watch)
        left_seats = self._seats.close(id_, now_ns)
        return [
            *(self._flush_uplink() if left_seats else ()),
            *(self._ask_seat(id_, sanctuary, wanted) for sanctuary, wanted in left_seats),
        ]

    # ── windows that are posted ──────────────────────────────────────────────────────────────────

    def to_speak(
        self, number: int, sanctuary: SanctuaryId, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        """What a device must know to sign a window for this sanctuary."""
        effects = self._turn(now_ns)
        if self.city is None or self.is_draining:
            return [*effects, refused(number, Refusal.NOT_READY, now_ms)]
        return [*effects, *self._posts.to_speak(number, sanctuary, self.city, now_ns, now_ms)]

    def post(self, number: int, body: bytes, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        """A whole window. Nothing that is in it raises."""
        effects = self._turn(now_ns)
        if self.city is None or self.is_draining:
            return [*effects, refused(number, Refusal.NOT_READY, now_ms)]
        answers, join = self._posts.post(number, body, now_ns, now_ms)
        if join is not None:
            session, wanted = join
            effects.append(self._ask_seat(session, self._posts.sanctuary_of(session), wanted))
        return [*effects, *self._counted(answers)]

    def _posts_due(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        answers, over = self._posts.due(now_ns, now_ms)
        effects = self._counted(answers)
        for id_ in over:
            effects.extend(
                self._ask_seat(id_, sanctuary, wanted)
                for sanctuary, wanted in self._seats.close(id_, now_ns)
            )
        return effects

    def _counted(self, effects: Iterable[Effect]) -> list[Effect]:
        """The same, with refusals among the answers counted by name."""
        kept = list(effects)
        for effect in kept:
            if isinstance(effect, Respond) and isinstance(effect.answer, client.Refused):
                reason = effect.answer.reason
                self.refusals[reason] = self.refusals.get(reason, 0) + 1
        return kept

    # ── seats, consent, interest ─────────────────────────────────────────────────────────────────

    def _flush_uplink(self) -> list[Publish]:
        """What clients said so far. It goes ahead of a leave, which would take away the right to it."""
        return self._uplink.flush(self.gateway, self.incarnation)

    def _ask_seat(
        self, id_: SessionId, sanctuary: bytes, wanted: Wanted, *, again: bool = False
    ) -> Publish:
        subject = subjects.ask(SANCTUARY, wanted.slot)
        if wanted.record is None:
            return Publish(
                subject, LeaveAsk(self.gateway, self.incarnation, id_, wanted.ref, sanctuary)
            )
        assert wanted.ref is not None
        ask = JoinAsk(
            self.gateway,
            self.incarnation,
            id_,
            wanted.device,
            wanted.ref,
            sanctuary,
            wanted.record,
            again,
        )
        return Publish(subject, ask)

    def _repeat_seats(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        repeat, give_up = self._seats.due(now_ns)
        effects: list[Effect] = [
            self._ask_seat(id_, sanctuary, wanted) for (id_, sanctuary), wanted in repeat
        ]
        for (id_, sanctuary), wanted in give_up:
            session = self._sessions.get(id_)
            if session is None and not self._posts.has(id_):
                continue
            if session is not None:
                self._refuse(session, wanted.ref, Refusal.NOT_READY, now_ms)
            if wanted.record is not None:  # it may be seated without our knowing: it leaves
                self._seats.release(id_, sanctuary)
                self._egress.depart(id_, sanctuary)
                leave = LeaveAsk(self.gateway, self.incarnation, id_, None, sanctuary)
                effects.append(Publish(subjects.ask(SANCTUARY, wanted.slot), leave))
        return effects

    def _snapshot_asks(self, now_ns: MonotonicNs) -> list[Effect]:
        wanted = {**dict.fromkeys(self._seats.slots()), **self._interest.slots()}
        self._edge.has_new_asks = False
        return [
            Publish(subjects.ask(FANOUT, slot), SnapshotAsk(self.gateway, self.incarnation, slot))
            for slot in self._edge.asks_due(wanted, now_ns)
        ]

    def _announce(self, now_ns: MonotonicNs) -> list[Effect]:
        return [
            Publish(
                subjects.interest(slot),
                Interest(self.gateway, self.incarnation, sanctuary, generation, count),
            )
            for slot, sanctuary, generation, count in self._interest.due(now_ns)
        ]

    # ── the bus ──────────────────────────────────────────────────────────────────────────────────

    def receive(
        self,
        subject: str,
        event: msgspec.Struct,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> list[Effect]:
        effects = self._turn(now_ns)
        match event:
            case EdgeBatch():
                effects.extend(self._edge_batch(event, now_ns))
            case Answers():
                for answer in event.entries:
                    session, message = SessionId(answer.session), bytes(answer.message)
                    if self._posts.has(session):
                        effects.extend(self._counted(self._posts.answer(session, message, now_ms)))
                    else:
                        self._egress.owe(session, message)
            case SeatAnswered():
                effects.extend(self._seat_answered(event))
                effects.extend(self._counted(self._posts.seat_answered(event, now_ms)))
            case FollowAnswered():
                self._seats.keep_follow(SessionId(event.session), event.sanctuary, event.record)
                self._egress.owe(SessionId(event.session), event.message)
            case RecordAnswered():
                self._courier.answered(event)
                if not event.recorded:
                    self.silences.refused(event.payload_hash)
                self._egress.owe(SessionId(event.session), event.message)
            case ConsentActed():
                acted = self._courier.acted(event, now_ns)
                if acted:
                    self.silences.acted_everywhere(event.citizen, event.counter, now_ns)
                self._egress.owe(SessionId(event.session), acted)
            case _:
                effects.extend(self._control_event(subject.rpartition(".")[2], event, now_ns))
        return effects

    def _edge_batch(self, batch: EdgeBatch, now_ns: MonotonicNs) -> list[Effect]:
        if batch.incarnation != self.incarnation:
            self._drop("incarnation")
            return []
        self._edge.receive(batch, now_ns)
        effects = self._end_strikes(now_ns)
        if self._edge.has_new_asks:
            effects.extend(self._snapshot_asks(now_ns))
        return effects

    def _end_strikes(self, now_ns: MonotonicNs) -> list[Effect]:
        """Cut off the transports that held what was struck for too long; once none does, say that the
        markers were passed.
        """
        effects: list[Effect] = []
        holders = self._egress.holders
        if holders or self._cut_ns:
            self._cut_ns = {id_: self._cut_ns.get(id_, now_ns + LEFT_NS_MAX) for id_ in holders}
            for id_ in [id_ for id_, at_ns in self._cut_ns.items() if at_ns <= now_ns]:
                del self._cut_ns[id_]
                self.cuts += 1
                effects.append(Cut(id_))
                effects.extend(self._forget(self._sessions[id_], now_ns))
        if self._passed and not self._cut_ns:
            effects.extend(self._control.passed(slot, marker) for slot, marker in self._passed)
            self._passed.clear()
        return effects

    def _seat_answered(self, event: SeatAnswered) -> list[Effect]:
        id_ = SessionId(event.session)
        if self._seats.is_overtaken(event):
            self._egress.owe(id_, event.message)
            return []
        must_leave = self._seats.answered(event)
        if not event.seated:
            self._egress.depart(id_, event.sanctuary)
        self._egress.owe(id_, event.message)
        if not must_leave:
            return []
        leave = LeaveAsk(self.gateway, self.incarnation, id_, None, event.sanctuary)
        return [Publish(subjects.ask(SANCTUARY, slot_of(event.sanctuary)), leave)]

    def _control_event(
        self, sender: str, event: msgspec.Struct, now_ns: MonotonicNs
    ) -> list[Effect]:
        """Others' control. What speaks in another's name is dropped: the subject names the sender."""
        match event:
            case FanoutBeat():
                if event.fanout == sender and 0 <= event.ordinal < event.replicas:
                    self._control.hear(event)
                else:
                    self._drop("sender")
            case TombstonesWanted():
                if event.fanout != sender:
                    self._drop("sender")
                    return []
                return [self._control.tombstones(sender, self._courier.tombstones())]
            case Fenced():
                if event.fanout != sender or not sender.startswith(FANOUT):
                    self._drop("sender")
                elif event.gateway == self.gateway and event.incarnation == self.incarnation:
                    return self._fence(now_ns)
            case JoinsWanted():
                if event.sender != sender:
                    self._drop("sender")
                    return []
                return [
                    Publish(
                        subjects.ask(SANCTUARY, seat.slot),
                        JoinAsk(
                            self.gateway,
                            self.incarnation,
                            id_,
                            seat.device,
                            seat.ref,
                            sanctuary,
                            seat.record,
                            again=True,
                            follow=seat.follow,
                        ),
                    )
                    for id_, sanctuary, seat in self._seats.kept(event.slots)
                    if seat.record is not None
                ]
            case RoomsListed():
                if event.sender == sender and sender.startswith(SANCTUARY):
                    self.listing.hear(event, now_ns)
                else:
                    self._drop("sender")
            case ConsentForwarded():
                if event.gateway == sender and sender != self.gateway and not event.again:
                    self.silences.hear(event.record, now_ns, is_here=False)
            case _:
                pass
        return []

    def answered(
        self,
        ask: Ask,
        event: msgspec.Struct,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> list[Effect]:
        effects = self._turn(now_ns)
        if ask.answer is StatePage and isinstance(event, StatePage) and self.city is None:
            self.city = event.city
        elif isinstance(event, ChallengeTold) and self.city is not None:
            effects.extend(self._posts.told(event, self.city, now_ns, now_ms))
        return effects

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def wants_sweep(self) -> bool:
        """Whether something waits that could be written now."""
        return self._egress.wants_flush

    def flush(
        self,
        now_ns: MonotonicNs,
        now_ms: WallMs,  # noqa: ARG002  (the shape of every core)
    ) -> list[Effect]:
        """What this turn collected for the bus, and whom it closes; then call `sweep`."""
        effects = self._turn(now_ns)
        self.silences.handed(now_ns)
        if self._cut_ns:
            effects.extend(self._end_strikes(now_ns))
        effects.extend(self._flush_uplink())
        if self._interest.has_changed:
            effects.extend(self._announce(now_ns))
        for slot in self._egress.overflowed_slots:
            self._edge.lose(slot, now_ns)
        if self._egress.overflowed_slots:
            self._egress.overflowed_slots.clear()
            effects.extend(self._snapshot_asks(now_ns))
        for id_ in list(self._egress.too_slow):
            session = self._sessions.get(id_)
            if session is not None:
                effects.extend(self._close(session, CloseCode.TOO_SLOW, now_ns))
        self._egress.too_slow.clear()
        return effects

    def sweep(self, writes_max: int = 2**31) -> Iterator[Write | WriteMany]:
        """The next slice of writes; carry each out before taking the next."""
        return self._egress.sweep(writes_max)

    def handed(self, now_ns: MonotonicNs) -> None:
        """A slice was carried out."""
        self.silences.handed(now_ns)

    @property
    def is_sweeping(self) -> bool:
        return self._egress.is_sweeping

    def drain(self, within_s: int) -> None:
        """Tell everybody to come back (elsewhere) within some seconds; take nobody in any more."""
        self.is_draining = True
        move = encode(client.Move(within_s))
        for id_ in self._sessions:
            self._egress.owe(id_, move)

    def close_all(self, code: CloseCode, now_ns: MonotonicNs) -> list[Effect]:
        effects: list[Effect] = []
        for session in list(self._sessions.values()):
            effects.extend(self._close(session, code, now_ns))
        return effects

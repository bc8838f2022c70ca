"""The gateway's decisions: sessions in, audiences out. Pure.

It knows sockets' sessions and audiences; it decides nothing about consent and can assert no viewer.
Inputs that come from a client can be refused or close that client, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator

import msgspec

from services.gateway.core.control_line import ControlLine
from services.gateway.core.courier import Courier
from services.gateway.core.edge import Edge
from services.gateway.core.effects import (
    Cut,
    Effect,
    Respond,
    Write,
    WriteMany,
)
from services.gateway.core.egress import Egress
from services.gateway.core.enrolments import Enrolments
from services.gateway.core.form import Form
from services.gateway.core.hearing import Hearing
from services.gateway.core.interest import InterestBook
from services.gateway.core.listing import Listing
from services.gateway.core.posts import Posts, refused
from services.gateway.core.seating import Seating
from services.gateway.core.seats import Seats
from services.gateway.core.session import Limits, Session
from services.gateway.core.sessions import Sessions
from services.gateway.core.siblings import Siblings
from services.gateway.core.silence import Silences
from services.gateway.core.uplink import Uplink
from services.gateway.settings import GatewaySettings
from shared import subjects
from shared.codec import encode
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
    ConsentForwarded,
    GatewayBeat,
    Interest,
    SnapshotAsk,
)
from shared.contracts.ingest import Answers
from shared.contracts.refusals import CloseCode, Refusal
from shared.contracts.registry import RecordAnswered, StateAsk, StatePage
from shared.contracts.sanctuary import FollowAnswered, JoinsWanted, RoomsListed, SeatAnswered
from shared.contracts.window import ChallengeTold, PostAnswered, PostAsk
from shared.identifiers import MonotonicNs, SanctuaryId, SessionId, WallMs
from shared.subjects import FANOUT, GATEWAY, REGISTRY, SANCTUARY, Ask, Publish

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
        self._uplink = Uplink()
        self._seats = Seats()
        self.siblings = Siblings(gateway)
        self._posts = Posts(
            gateway,
            uplink=self._uplink,
            seats=self._seats,
            siblings=self.siblings,
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
        self._seating = Seating(
            gateway,
            self._seats,
            control=self._control,
            uplink=self._uplink,
            egress=self._egress,
        )
        self._sessions = Sessions(
            settings,
            egress=self._egress,
            edge=self._edge,
            interest=self._interest,
            seating=self._seating,
            random_bytes=random_bytes,
        )
        self._hearing = Hearing(
            gateway,
            sessions=self._sessions,
            seats=self._seats,
            seating=self._seating,
            uplink=self._uplink,
            courier=self._courier,
            control=self._control,
            enrolments=Enrolments(
                per_min=settings.enrolments_per_address_per_min,
                burst=settings.enrolments_per_address_burst,
            ),
            egress=self._egress,
            silences=self.silences,
        )
        self._beat_at_ns = MonotonicNs(0)
        self._city_ask_at_ns = MonotonicNs(0)
        self._last_turn_ns = MonotonicNs(0)
        self._seen_ms = WallMs(0)
        """The wall clock at the last tick."""
        self.is_draining = False
        self.dropped: dict[str, int] = {}
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
    def refusals(self) -> dict[str, int]:
        """By reason."""
        return self._sessions.refusals

    @property
    def closes(self) -> dict[str, int]:
        """By the code's name: those closed from here."""
        return self._sessions.closes

    @property
    def frames_in(self) -> int:
        return self._hearing.frames_in

    @property
    def bytes_in(self) -> int:
        return self._hearing.bytes_in

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
            self._sessions.next_deadline(),
            self._courier.next_deadline(),
            self._seats.next_deadline(),
            self._interest.next_deadline(),
            self._posts.next_deadline(),
            self.siblings.next_deadline(),
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
            self._egress.climb(now_ns)
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
        effects.extend(self._sessions.tick(now_ns))
        return effects

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
        for session in self._sessions:
            if session.watch is not None or self._seats.any_of(session.id):
                self._seats.forget_session(session.id)
                effects.extend(self._sessions.close(session, CloseCode.FENCED, now_ns))
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
        if not self._sessions.has_place_for(address):
            effects.append(self._sessions.end(id_, CloseCode.TOO_MANY_CONNECTIONS, form))
            return id_, effects
        if self.is_draining:
            effects.append(self._sessions.end(id_, CloseCode.MOVE, form))
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
        self._sessions.begin(session, hello, held=held, now_ns=now_ns)
        return id_, effects

    def closed(self, id_: SessionId, now_ns: MonotonicNs) -> list[Effect]:
        """The socket is gone. Unknown ones were closed from here."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is not None:
            effects.extend(self._sessions.forget(session, now_ns))
        return effects

    def heard(self, id_: SessionId, now_ns: MonotonicNs) -> list[Effect]:
        """A ping or pong came."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is not None:
            session.heard(now_ns)
            if not session.bucket.take(1, now_ns) and session.bucket.is_far_below:
                effects.extend(self._sessions.close(session, CloseCode.TOO_FAST, now_ns))
        return effects

    def broke(self, id_: SessionId, code: CloseCode, now_ns: MonotonicNs) -> list[Effect]:
        """The socket broke the WebSocket protocol or a limit that its door watches."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is not None:
            effects.extend(self._sessions.close(session, code, now_ns))
        return effects

    def paused(self, id_: SessionId) -> None:
        self._egress.pause(id_)

    @property
    def slow(self) -> Container[SessionId]:
        """Viewers who could not keep up lately."""
        return self._egress.slow

    def took_nothing(self, id_: SessionId) -> None:
        self._egress.take_back(id_)

    def resumed(self, id_: SessionId) -> None:
        self._egress.resume(id_)

    def frame(
        self,
        id_: SessionId,
        payload: bytes,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        read_ns: MonotonicNs | None = None,
    ) -> list[Effect]:
        """One data message of a socket; `read_ns`: when it was read, if that is earlier."""
        effects = self._turn(now_ns)
        session = self._sessions.get(id_)
        if session is None:
            return effects
        assert self.city is not None
        self._hearing.read_ns = read_ns or now_ns
        return [*effects, *self._hearing.frame(session, payload, self.city, now_ns, now_ms)]

    # ── windows that are posted ──────────────────────────────────────────────────────────────────

    def to_speak(
        self, number: int, sanctuary: SanctuaryId, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        """What a device must know to sign a window for this sanctuary."""
        effects = self._turn(now_ns)
        if self.city is None or self.is_draining:
            return [*effects, refused(number, Refusal.NOT_READY, now_ms)]
        return [*effects, *self._posts.to_speak(number, sanctuary, self.city, now_ns, now_ms)]

    def post(
        self,
        number: int,
        body: bytes,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        is_passed_on: bool = False,
    ) -> list[Effect]:
        """A whole window. Nothing that is in it raises. `is_passed_on`: by another gateway."""
        effects = self._turn(now_ns)
        if self.city is None or self.is_draining:
            return [*effects, refused(number, Refusal.NOT_READY, now_ms)]
        answers, join = self._posts.post(
            number, body, self.city, now_ns, now_ms, is_passed_on=is_passed_on
        )
        if join is not None:
            session, wanted = join
            effects.append(self._seating.ask(session, self._posts.sanctuary_of(session), wanted))
        return [*effects, *self._counted(answers)]

    def _posts_due(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        answers, over = self._posts.due(now_ns, now_ms)
        late = [refused(n, Refusal.NOT_READY, now_ms) for n in self.siblings.given_up(now_ns)]
        effects = self._counted([*answers, *late])
        for id_ in over:
            effects.extend(self._seating.leave_all(id_, now_ns))
        return effects

    def _counted(self, effects: Iterable[Effect]) -> list[Effect]:
        """The same, with refusals among the answers counted by name."""
        kept = list(effects)
        for effect in kept:
            if isinstance(effect, Respond) and isinstance(effect.answer, client.Refused):
                self._sessions.count_refusal(effect.answer.reason)
        return kept

    # ── seats, consent, interest ─────────────────────────────────────────────────────────────────

    def _repeat_seats(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        asks, given_up = self._seating.due(
            now_ns, lambda id_: id_ in self._sessions or self._posts.has(id_)
        )
        for id_, ref in given_up:
            session = self._sessions.get(id_)
            if session is not None:
                self._sessions.refuse(session, ref, Refusal.NOT_READY, now_ms)
        return [*asks]

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
                effects.extend(self._seating.answered(event))
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
                session = self._sessions.get(id_)
                assert session is not None, "a queue ends with its session"
                effects.extend(self._sessions.forget(session, now_ns))
        if self._passed and not self._cut_ns:
            effects.extend(self._control.passed(slot, marker) for slot, marker in self._passed)
            self._passed.clear()
        return effects

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
                return [*self._seating.present_again(event.slots)]
            case RoomsListed():
                if event.sender == sender and sender.startswith(SANCTUARY):
                    self.listing.hear(event, now_ns)
                else:
                    self._drop("sender")
            case GatewayBeat():
                if event.gateway == sender and sender.startswith(GATEWAY):
                    self.siblings.hear(sender, now_ns)
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
        elif isinstance(event, PostAnswered) and isinstance(ask.event, PostAsk):
            number = self.siblings.answered(ask.event)
            if number is not None:
                effects.append(Respond(number, event.answer))
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
        effects.extend(self._seating.flush_uplink())
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
                effects.extend(self._sessions.close(session, CloseCode.TOO_SLOW, now_ns))
        self._egress.too_slow.clear()
        return effects

    def sweep(self, writes_max: int = 2**31) -> Iterator[Write | WriteMany]:
        """The next slice of writes; carry each out before taking the next."""
        return self._egress.sweep(writes_max)

    def handed(self, now_ns: MonotonicNs) -> None:
        """A slice was carried out."""
        self.silences.handed(now_ns)

    def drain(self, within_s: int) -> None:
        """Tell everybody to come back (elsewhere) within some seconds; take nobody in any more."""
        self.is_draining = True
        move = encode(client.Move(within_s))
        for session in self._sessions:
            self._egress.owe(session.id, move)

    def close_all(self, code: CloseCode, now_ns: MonotonicNs) -> list[Effect]:
        effects: list[Effect] = []
        for session in self._sessions:
            effects.extend(self._sessions.close(session, code, now_ns))
        return effects

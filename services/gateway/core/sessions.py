"""Who is connected: sessions by id and by address, their deadlines, refusals, and how they end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.gateway.core.edge import Edge
from services.gateway.core.effects import Close, Effect, Ping, RefuseWatch
from services.gateway.core.egress import Egress
from services.gateway.core.form import Form, event_of
from services.gateway.core.interest import InterestBook
from services.gateway.core.seating import Seating
from services.gateway.core.session import SECOND_NS, Session
from services.gateway.core.wheel_timer import WheelTimer
from services.gateway.settings import GatewaySettings
from shared.codec import encode
from shared.contracts import client
from shared.contracts.refusals import MEANING, CloseCode, Refusal
from shared.identifiers import MonotonicNs, SessionId, WallMs, slot_of

WHEEL_WIDTH_NS = 100_000_000
NOT_FOUND = (404, "not found")
NOT_READY = (503, "not ready")
TOO_MANY = (429, "too many connections")
EVENTS_BEGIN = b"retry: 1000\n"
"""Milliseconds after which a browser comes back by itself."""


class Sessions:
    """Whatever a session holds elsewhere (queues, seats, interest) ends here with it."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        egress: Egress,
        edge: Edge,
        interest: InterestBook,
        seating: Seating,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._egress = egress
        self._edge = edge
        self._interest = interest
        self._seating = seating
        self._random_bytes = random_bytes
        self._sessions: dict[SessionId, Session] = {}
        self._of_address: dict[str, int] = {}
        self._wheel: WheelTimer[SessionId] = WheelTimer(WHEEL_WIDTH_NS)
        self.refusals: dict[str, int] = {}
        self.closes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """Those of now, whoever ends meanwhile."""
        return iter(list(self._sessions.values()))

    def __contains__(self, id_: SessionId) -> bool:
        return id_ in self._sessions

    def get(self, id_: SessionId) -> Session | None:
        return self._sessions.get(id_)

    def has_place_for(self, address: str) -> bool:
        most = self._settings.connections_per_address_max
        return self._of_address.get(address, 0) < most

    def begin(
        self, session: Session, hello: client.Hello, *, held: str, now_ns: MonotonicNs
    ) -> None:
        """`held`: what a returning event stream says it holds."""
        id_, form = session.id, session.form
        self._sessions[id_] = session
        self._of_address[session.address] = self._of_address.get(session.address, 0) + 1
        if form is Form.EVENTS:
            greeting = EVENTS_BEGIN + event_of(encode(hello))
            self._egress.add_viewer(id_, form=form, greeting=greeting, held=held)
            self._wheel.arm(id_, now_ns + self._settings.watch_s * SECOND_NS)
        else:
            self._egress.add_viewer(id_, form=form)
            self._egress.owe(id_, encode(hello))
            self.arm(session)
        if session.watch is not None:
            self._interest.watch(id_, session.watch)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def next_deadline(self) -> int | None:
        return self._wheel.next_deadline()

    def arm(self, session: Session) -> None:
        """Look at it again when something of it is due."""
        self._wheel.arm(session.id, session.next_check())

    def tick(self, now_ns: MonotonicNs) -> list[Effect]:
        effects: list[Effect] = []
        for id_ in self._wheel.due(now_ns):
            session = self._sessions[id_]
            if session.form is Form.EVENTS:
                effects.extend(self._check_events(session, now_ns))
                continue
            if id_ in self._egress.slow:
                session.heard(now_ns)  # its pong is late, not it: the ladder ends who is gone
            code, message, is_ping = session.check(now_ns, self._random_bytes)
            if code is not None:
                effects.extend(self.close(session, code, now_ns))
                continue
            self._egress.owe(id_, message)
            if is_ping:
                effects.append(Ping(id_))
            self.arm(session)
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
        return effects + self.forget(session, now_ns)

    # ── refusing ─────────────────────────────────────────────────────────────────────────────────

    def count_refusal(self, reason: str) -> None:
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def refuse(self, session: Session, ref: int | None, reason: Refusal, now_ms: WallMs) -> None:
        self.count_refusal(reason.value)
        refused = client.Refused(ref, reason.value, MEANING[reason], now_ms)
        self._egress.owe(session.id, encode(refused))

    def too_fast(
        self, session: Session, ref: int | None, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        self.refuse(session, ref, Refusal.TOO_FAST, now_ms)
        if session.bucket.is_far_below:
            return self.close(session, CloseCode.TOO_FAST, now_ns)
        return []

    def malformed(self, session: Session, now_ns: MonotonicNs) -> list[Effect]:
        session.malformed += 1
        is_stranger = session.device is None and session.watch is None
        if is_stranger or session.malformed > self._settings.malformed_max:
            return self.close(session, CloseCode.MALFORMED, now_ns)
        return []

    # ── ending ───────────────────────────────────────────────────────────────────────────────────

    def end(self, id_: SessionId, code: CloseCode, form: Form) -> Close | RefuseWatch:
        self.closes[code.name] = self.closes.get(code.name, 0) + 1
        if form is not Form.EVENTS or self._egress.has_begun(id_):
            return Close(id_, code)
        is_crowd = code is CloseCode.TOO_MANY_CONNECTIONS
        return RefuseWatch(id_, *(TOO_MANY if is_crowd else NOT_READY))

    def close(self, session: Session, code: CloseCode, now_ns: MonotonicNs) -> list[Effect]:
        """Write the answers it is still owed, then close it and forget it."""
        effects: list[Effect] = []
        farewell = self._egress.farewell(session.id)
        if farewell is not None:
            effects.append(farewell)
        effects.append(self.end(session.id, code, session.form))
        effects.extend(self.forget(session, now_ns))
        return effects

    def forget(self, session: Session, now_ns: MonotonicNs) -> list[Effect]:
        """The socket is gone, or is as good as gone."""
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
        return [*self._seating.leave_all(id_, now_ns)]

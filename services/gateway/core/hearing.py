"""What clients say: each message charged, read, and handed to whom it concerns. Pure."""

from __future__ import annotations

from typing import assert_never

from services.gateway.core.control_line import ControlLine
from services.gateway.core.courier import Courier
from services.gateway.core.effects import Effect
from services.gateway.core.egress import Egress
from services.gateway.core.enrolments import Enrolments
from services.gateway.core.form import Form
from services.gateway.core.seating import Seating
from services.gateway.core.seats import Seats
from services.gateway.core.session import UNIT_BYTES, UNITS_OF, Session
from services.gateway.core.sessions import Sessions
from services.gateway.core.silence import Silences
from services.gateway.core.uplink import Read, Unread, Uplink, read_frame
from shared import subjects
from shared.codec import Refused, encode
from shared.contracts import client
from shared.contracts.client import FRAME_BYTES_MAX
from shared.contracts.gateway import ChainAsk, EnrolAsk, FollowAsk
from shared.contracts.refusals import CloseCode, Refusal
from shared.identifiers import MonotonicNs, WallMs, slot_of
from shared.subjects import REGISTRY, SANCTUARY, Publish


class Hearing:
    """Nothing that a client says can do more than be refused, or close that client."""

    def __init__(
        self,
        gateway: str,
        *,
        sessions: Sessions,
        seats: Seats,
        seating: Seating,
        uplink: Uplink,
        courier: Courier,
        control: ControlLine,
        enrolments: Enrolments,
        egress: Egress,
        silences: Silences,
    ) -> None:
        self._gateway = gateway
        self._sessions = sessions
        self._seats = seats
        self._seating = seating
        self._uplink = uplink
        self._courier = courier
        self._control = control
        self._enrolments = enrolments
        self._egress = egress
        self._silences = silences
        self.frames_in = 0
        self.bytes_in = 0
        self.read_ns = MonotonicNs(0)
        """When the frame was read that is heard next; it may have waited for its turn."""

    def frame(
        self, session: Session, payload: bytes, city: bytes, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        """One data message of a socket."""
        sessions = self._sessions
        self.frames_in += 1
        self.bytes_in += len(payload)
        session.heard(now_ns)
        if len(payload) > FRAME_BYTES_MAX:
            return sessions.close(session, CloseCode.OVERSIZE, now_ns)
        if not session.bucket.take(1 + len(payload) // UNIT_BYTES, now_ns):
            return sessions.too_fast(session, None, now_ns, now_ms)
        try:
            messages = read_frame(payload, is_json=session.form is Form.JSON)
        except Refused as refused:
            sessions.refuse(session, None, refused.reason, now_ms)
            if refused.reason is Refusal.MALFORMED:
                return sessions.malformed(session, now_ns)
            return []
        effects: list[Effect] = []
        for read in messages:
            if isinstance(read, Unread):
                sessions.refuse(session, read.ref, read.reason, now_ms)
                effects.extend(sessions.malformed(session, now_ns))
            else:
                message = read.message
                units = UNITS_OF.get(type(message), 1)
                if not session.bucket.take(units, now_ns):
                    ref = getattr(message, "ref", None)
                    effects.extend(sessions.too_fast(session, ref, now_ns, now_ms))
                else:
                    effects.extend(self._message(session, read, city, now_ns, now_ms))
            if session.id not in sessions:
                break
        return effects

    def _message(
        self,
        session: Session,
        read: Read,
        city: bytes,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> list[Effect]:
        message = read.message
        if isinstance(message, client.Time):
            is_known = session.watch is not None or session.device is not None
            if is_known:
                self._egress.owe(session.id, encode(client.TimeIs(message.client_ms, now_ms)))
                return []
        elif isinstance(message, client.Token):
            return self._token(session, message, city, now_ns, now_ms)
        if session.device is None:
            ref = getattr(message, "ref", None)
            self._sessions.refuse(session, ref, Refusal.BAD_TOKEN, now_ms)
            if session.watch is not None:
                return []
            return self._sessions.close(session, CloseCode.BAD_TOKEN, now_ns)
        return self._carry(session, session.device, read, now_ns, now_ms)

    def _carry(
        self,
        session: Session,
        device: bytes,
        read: Read,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> list[Effect]:
        """A message of somebody whose token holds."""
        id_, message = session.id, read.message
        match message:
            case client.Open() | client.Samples() | client.SealWindow() | client.Release():
                self._uplink.add(slot_of(message.sanctuary), id_, device, read.raw)
            case client.Join(ref, sanctuary):
                wanted = self._seats.join(id_, message, device, now_ns)
                if wanted is None:
                    self._sessions.refuse(session, ref, Refusal.FULL, now_ms)
                    return []
                return [self._seating.ask(id_, sanctuary, wanted)]
            case client.Leave(ref, sanctuary):
                return [*self._seating.leave(id_, sanctuary, ref, now_ns)]
            case client.Follow(ref, sanctuary, record):
                if not self._seats.has(id_, sanctuary):
                    self._sessions.refuse(session, ref, Refusal.NOT_A_MEMBER, now_ms)
                    return []
                incarnation = self._control.incarnation
                follow = FollowAsk(self._gateway, incarnation, id_, device, ref, sanctuary, record)
                return [Publish(subjects.ask(SANCTUARY, slot_of(sanctuary)), follow)]
            case client.Enrol(ref, record):
                if not self._enrolments.spend(session.address, now_ns):
                    self._sessions.refuse(session, ref, Refusal.TOO_MANY_ENROLMENTS, now_ms)
                    return []
                return [Publish(subjects.ask(REGISTRY), EnrolAsk(self._gateway, id_, ref, record))]
            case client.AskChain(ref, citizen, before):
                chain = ChainAsk(self._gateway, id_, device, ref, citizen, before)
                return [Publish(subjects.ask(REGISTRY), chain)]
            case client.Record(ref, record):
                is_new = self._courier.take(id_, ref, record, now_ns)
                if is_new is None:
                    self._sessions.refuse(session, ref, Refusal.TOO_FAST, now_ms)
                    return []
                if is_new:
                    self._silences.hear(record, self.read_ns, is_here=True)
                return [self._control.forward(id_, ref, record, again=not is_new)]
            case client.Time() | client.Token():
                pass
            case _:
                assert_never(message)
        return []

    def _token(
        self,
        session: Session,
        token: client.Token,
        city: bytes,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> list[Effect]:
        is_first = session.device is None
        try:
            welcome = session.take_token(token.jwt, city, now_ns, now_ms)
        except Refused as refused:
            self._sessions.refuse(session, None, refused.reason, now_ms)
            if is_first and session.watch is None:
                return self._sessions.close(session, CloseCode.BAD_TOKEN, now_ns)
            return []
        self._egress.owe(session.id, welcome)
        self._sessions.arm(session)
        return []

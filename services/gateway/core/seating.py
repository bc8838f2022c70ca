"""What sanctuary is asked about seats, and what becomes of its answers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from services.gateway.core.control_line import ControlLine
from services.gateway.core.egress import Egress
from services.gateway.core.seats import Seats, Wanted
from services.gateway.core.uplink import Uplink
from shared import subjects
from shared.contracts.gateway import JoinAsk, LeaveAsk
from shared.contracts.sanctuary import SeatAnswered
from shared.identifiers import MonotonicNs, SessionId, slot_of
from shared.subjects import SANCTUARY, Publish


class GivenUp(NamedTuple):
    """Nobody answered this session's join or leave."""

    session: SessionId
    ref: int | None


class Seating:
    """The asks behind `Seats`, in this gateway's name and incarnation."""

    def __init__(
        self, gateway: str, seats: Seats, *, control: ControlLine, uplink: Uplink, egress: Egress
    ) -> None:
        self._gateway = gateway
        self._seats = seats
        self._control = control
        self._uplink = uplink
        self._egress = egress

    def ask(self, id_: SessionId, sanctuary: bytes, wanted: Wanted) -> Publish:
        if wanted.record is None:
            return self._leave(id_, sanctuary, wanted.slot, wanted.ref)
        assert wanted.ref is not None
        ask = JoinAsk(
            self._gateway,
            self._control.incarnation,
            id_,
            wanted.device,
            wanted.ref,
            sanctuary,
            wanted.record,
        )
        return Publish(subjects.ask(SANCTUARY, wanted.slot), ask)

    def leave(
        self, id_: SessionId, sanctuary: bytes, ref: int, now_ns: MonotonicNs
    ) -> list[Publish]:
        wanted = self._seats.leave(id_, sanctuary, ref, now_ns)
        return [*self.flush_uplink(), self.ask(id_, sanctuary, wanted)]

    def leave_all(self, id_: SessionId, now_ns: MonotonicNs) -> list[Publish]:
        """The session is gone."""
        left = self._seats.close(id_, now_ns)
        asks = [self.ask(id_, sanctuary, wanted) for sanctuary, wanted in left]
        return [*self.flush_uplink(), *asks] if asks else []

    def flush_uplink(self) -> list[Publish]:
        """What clients said so far. It goes ahead of a leave, which would take away the right to it."""
        return self._uplink.flush(self._gateway, self._control.incarnation)

    def due(
        self, now_ns: MonotonicNs, is_there: Callable[[SessionId], bool]
    ) -> tuple[list[Publish], list[GivenUp]]:
        """Asks that are repeated, and those that nobody answered often enough. Whoever asked for one of
        those may be seated without our knowing: it leaves.
        """
        repeat, give_up = self._seats.due(now_ns)
        asks = [self.ask(id_, sanctuary, wanted) for (id_, sanctuary), wanted in repeat]
        given_up = []
        for (id_, sanctuary), wanted in give_up:
            if not is_there(id_):
                continue
            given_up.append(GivenUp(id_, wanted.ref))
            if wanted.record is not None:
                self._seats.release(id_, sanctuary)
                self._egress.depart(id_, sanctuary)
                asks.append(self._leave(id_, sanctuary, wanted.slot, None))
        return asks, given_up

    def answered(self, event: SeatAnswered) -> list[Publish]:
        """The client is told; what was granted is kept."""
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
        return [self._leave(id_, event.sanctuary, slot_of(event.sanctuary), None)]

    def present_again(self, slots: tuple[int, ...]) -> list[Publish]:
        """The kept joins of these slots, for a sanctuary that has started."""
        return [
            Publish(
                subjects.ask(SANCTUARY, seat.slot),
                JoinAsk(
                    self._gateway,
                    self._control.incarnation,
                    id_,
                    seat.device,
                    seat.ref,
                    sanctuary,
                    seat.record,
                    again=True,
                    follow=seat.follow,
                ),
            )
            for id_, sanctuary, seat in self._seats.kept(slots)
            if seat.record is not None
        ]

    def _leave(self, id_: SessionId, sanctuary: bytes, slot: int, ref: int | None) -> Publish:
        ask = LeaveAsk(self._gateway, self._control.incarnation, id_, ref, sanctuary)
        return Publish(subjects.ask(SANCTUARY, slot), ask)

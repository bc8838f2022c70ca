"""Seats in sanctuaries: joins and leaves on their way, and the joins that were granted. Pure.

A join is asked every 500 ms until sanctuary answers, at most 5 s. The granted ones are kept as signed,
so that a sanctuary which restarted can be shown them again. A leave is repeated likewise; one of a
closed socket three times, since nobody waits for its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, takewhile

from shared.contracts.client import Held, Join
from shared.contracts.fanout import StrandNumber
from shared.contracts.records import Signed
from shared.contracts.sanctuary import SeatAnswered
from shared.identifiers import MonotonicNs, SessionId, slot_of

REPEAT_EVERY_NS = 500_000_000
REPEATS_PER_TICK = 64
"""A sanctuary that ten thousand have left in one moment answers late; the gateway goes on meanwhile."""
REPEATS_MAX = 10
REPEATS_CLOSED_MAX = 3
SEATS_PER_SESSION_MAX = 32

Place = tuple[SessionId, bytes]
"""(session, sanctuary)"""


class Seat:
    """`record` nil: nothing was granted yet. `follow`: whom its session follows, as signed."""

    __slots__ = ("device", "follow", "held", "record", "ref", "slot")

    def __init__(self, device: bytes, slot: int) -> None:
        self.device = device
        self.slot = slot
        self.record: Signed | None = None
        self.follow: Signed | None = None
        self.ref = 0
        self.held: tuple[Held, ...] | None = None


@dataclass(slots=True)
class Wanted:
    """A join (`record`) or a leave (nil) that waits for its answer."""

    ref: int | None
    record: Signed | None
    device: bytes
    slot: int
    at_ns: int
    """When it is to be asked (again), monotonic ns."""
    repeats_left: int


class Seats:
    """All sessions' seats. What is due to be asked is in `Wanted`, by place."""

    def __init__(self) -> None:
        self._seats: dict[SessionId, dict[bytes, Seat]] = {}
        self._wanted: dict[Place, Wanted] = {}
        """Ordered by `at_ns`: what is asked again is moved to the end."""
        self._slots: dict[int, int] = {}

    def join(
        self, session: SessionId, join: Join, device: bytes, now_ns: MonotonicNs
    ) -> Wanted | None:
        """The ask to send now; nil: too many seats."""
        seats = self._seats.setdefault(session, {})
        seat = seats.get(join.sanctuary)
        if seat is None:
            if len(seats) >= SEATS_PER_SESSION_MAX:
                return None
            seat = seats[join.sanctuary] = Seat(device, slot_of(join.sanctuary))
            self._slots[seat.slot] = self._slots.get(seat.slot, 0) + 1
        seat.held = join.held
        if join.record != seat.record:
            seat.follow = None  # a session that enters anew follows nobody
        wanted = Wanted(
            join.ref, join.record, device, seat.slot, now_ns + REPEAT_EVERY_NS, REPEATS_MAX
        )
        return self._want((session, join.sanctuary), wanted)

    def leave(self, session: SessionId, sanctuary: bytes, ref: int, now_ns: MonotonicNs) -> Wanted:
        wanted = Wanted(ref, None, b"", slot_of(sanctuary), now_ns + REPEAT_EVERY_NS, REPEATS_MAX)
        return self._want((session, sanctuary), wanted)

    def close(self, session: SessionId, now_ns: MonotonicNs) -> list[tuple[bytes, Wanted]]:
        """The socket is gone: a leave for each of its seats, granted or asked for."""
        leaves = []
        for sanctuary, seat in self._seats.pop(session, {}).items():
            self._release(seat.slot)
            place = (session, sanctuary)
            wanted = Wanted(
                None, None, b"", seat.slot, now_ns + REPEAT_EVERY_NS, REPEATS_CLOSED_MAX
            )
            leaves.append((sanctuary, self._want(place, wanted)))
        return leaves

    def forget_session(self, session: SessionId) -> None:
        """As `close`, without leaves: a new incarnation says as much of all of them."""
        for sanctuary, seat in self._seats.pop(session, {}).items():
            self._release(seat.slot)
            self._wanted.pop((session, sanctuary), None)

    def _want(self, place: Place, wanted: Wanted) -> Wanted:
        self._wanted.pop(place, None)
        self._wanted[place] = wanted
        return wanted

    def is_overtaken(self, event: SeatAnswered) -> bool:
        """Whether it ends a seat that its session has asked for anew meanwhile: the edge stream may
        have let it in already, ahead of this.
        """
        wanted = self._wanted.get((SessionId(event.session), event.sanctuary))
        return (
            not event.seated
            and wanted is not None
            and wanted.record is not None
            and event.ref not in (None, wanted.ref)
        )

    def answered(self, event: SeatAnswered) -> bool:
        """Keep or forget the seat. True: sanctuary seats a session that is gone, so it must leave."""
        session = SessionId(event.session)
        place = (session, event.sanctuary)
        wanted = self._wanted.get(place)
        if wanted is not None and (wanted.record is not None or not event.seated):
            del self._wanted[place]
        seat = self._seats.get(session, {}).get(event.sanctuary)
        if event.seated:
            if seat is None:
                return wanted is None
            record = event.record or (wanted.record if wanted is not None else None)
            if record is not None:
                seat.record = record
                seat.ref = event.ref or 0
        elif seat is not None:
            self.release(session, event.sanctuary)
        return False

    def keep_follow(self, session: SessionId, sanctuary: bytes, record: Signed | None) -> None:
        """A follow was taken; one that was refused (nil) changes nothing."""
        seat = self._seats.get(session, {}).get(sanctuary)
        if seat is not None and record is not None:
            seat.follow = record

    def release(self, session: SessionId, sanctuary: bytes) -> None:
        seats = self._seats.get(session, {})
        seat = seats.pop(sanctuary, None)
        if seat is not None:
            self._release(seat.slot)

    def _release(self, slot: int) -> None:
        self._slots[slot] -= 1
        if not self._slots[slot]:
            del self._slots[slot]

    def slots(self) -> dict[int, int]:
        """Slots with seats, and how many."""
        return self._slots

    def has(self, session: SessionId, sanctuary: bytes) -> bool:
        return sanctuary in self._seats.get(session, {})

    def is_granted(self, session: SessionId, sanctuary: bytes) -> bool:
        seat = self._seats.get(session, {}).get(sanctuary)
        return seat is not None and seat.record is not None

    def any_of(self, session: SessionId) -> bool:
        return bool(self._seats.get(session))

    def kept(self, slots: tuple[int, ...]) -> list[tuple[SessionId, bytes, Seat]]:
        """Granted joins of these slots, to be shown again."""
        wanted = frozenset(slots)
        return [
            (session, sanctuary, seat)
            for session, seats in self._seats.items()
            for sanctuary, seat in seats.items()
            if seat.record is not None and seat.slot in wanted
        ]

    def recovered(
        self, session: SessionId, sanctuary: bytes, numbers: tuple[StrandNumber, ...]
    ) -> bool:
        """Whether what the client said it held is just what the snapshot says there is. Asked once
        for each join: after a gap nothing is recovered.
        """
        seat = self._seats.get(session, {}).get(sanctuary)
        if seat is None or not seat.held:
            return False
        held, seat.held = seat.held, None
        theirs = {row.strand: row.last_seq + 1 for row in held}
        return theirs == {row.strand: row.next_seq for row in numbers if row.next_seq > 0}

    def due(
        self, now_ns: MonotonicNs
    ) -> tuple[list[tuple[Place, Wanted]], list[tuple[Place, Wanted]]]:
        """(asks to repeat now, asks to give up); what is left over is due at once."""
        repeat: list[tuple[Place, Wanted]] = []
        give_up: list[tuple[Place, Wanted]] = []
        due = takewhile(lambda row: row[1].at_ns <= now_ns, self._wanted.items())
        for place, wanted in list(islice(due, REPEATS_PER_TICK)):
            del self._wanted[place]
            wanted.repeats_left -= 1
            if wanted.repeats_left <= 0:
                give_up.append((place, wanted))
                continue
            wanted.at_ns = now_ns + REPEAT_EVERY_NS
            self._wanted[place] = wanted
            repeat.append((place, wanted))
        return repeat, give_up

    def next_deadline(self) -> MonotonicNs | None:
        first = next(iter(self._wanted.values()), None)
        return None if first is None else MonotonicNs(first.at_ns)

"""Rooms and members: sanctuary's `member.<slot>`, slot by slot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from shared import subjects
from shared.codec import Refused, decode, sha256
from shared.contracts.records import Policy
from shared.contracts.sanctuary import (
    MemberBatch,
    MemberEvent,
    MemberFollows,
    MemberJoined,
    MemberLeft,
    Members,
    MembersAsk,
    RoomClosed,
    RoomOpened,
)
from shared.identifiers import MonotonicNs
from shared.parts import Gathering
from shared.replica.pace import ASK_AGAIN_NS
from shared.subjects import Ask

HELD_BATCHES_MAX = 1024
"""Batches of one slot kept while its state is asked for; then the oldest go, and are asked for."""


class Room(NamedTuple):
    """A room that stands. `policy_bytes` as published; `policy_hash` their SHA-256."""

    sanctuary: bytes
    policy: Policy
    policy_bytes: bytes
    policy_hash: bytes


class RoomStood(NamedTuple):
    """A room is there (`before` nil) or has another policy now."""

    room: Room
    before: Room | None


class RoomGone(NamedTuple):
    """A room was closed; `SessionLeft` of everyone in it came before."""

    room: Room


class SessionJoined(NamedTuple):
    member: MemberJoined


class SessionLeft(NamedTuple):
    """`member` is what the replica held of the session."""

    member: MemberJoined


class SessionFollows(NamedTuple):
    """Whom a session follows from now on. A session that leaves follows nobody; that is not told."""

    member: MemberJoined
    before: tuple[bytes, ...]
    followed: tuple[bytes, ...]


class SlotCompleted(NamedTuple):
    """The slot's state was taken over whole: the first time, after a hole or under a new epoch.
    Follows the changes it brought.
    """

    slot: int
    epoch: int


MemberChange = RoomStood | RoomGone | SessionJoined | SessionLeft | SessionFollows | SlotCompleted

_Seat = tuple[bytes, bytes]  # sanctuary, session


class _View:
    """One epoch's rooms and members of a slot, as of batch `number`."""

    __slots__ = ("complete", "epoch", "follows", "number", "rooms", "seats")

    def __init__(self, epoch: int, number: int, *, complete: bool) -> None:
        self.epoch = epoch
        self.number = number
        self.complete = complete
        self.rooms: dict[bytes, RoomOpened] = {}
        self.seats: dict[_Seat, MemberJoined] = {}
        self.follows: dict[_Seat, MemberFollows] = {}
        """Of seats that are there; without those that follow nobody."""

    def apply(self, event: MemberEvent) -> None:
        match event:
            case RoomOpened():
                self.rooms[event.sanctuary] = event
            case RoomClosed():
                self.rooms.pop(event.sanctuary, None)
                gone = [seat for seat in self.seats if seat[0] == event.sanctuary]
                for seat in gone:
                    self._unseat(seat)
            case MemberJoined():
                seat = (event.sanctuary, event.session)
                if self.seats.get(seat) != event:
                    self._unseat(seat)
                    self.seats[seat] = event
            case MemberLeft():
                self._unseat((event.sanctuary, event.session))
            case MemberFollows():
                seat = (event.sanctuary, event.session)
                if seat in self.seats and event.followed:
                    self.follows[seat] = event
                else:
                    self.follows.pop(seat, None)

    def _unseat(self, seat: _Seat) -> None:
        self.seats.pop(seat, None)
        self.follows.pop(seat, None)


class _Slot:
    """What is known of one slot: the newest epoch, its view, what waits behind a hole."""

    __slots__ = ("coming", "epoch", "held", "parts", "shown")

    def __init__(self) -> None:
        self.epoch = -1
        self.parts = Gathering[Members]()
        self.coming: _View | None = None
        """The newest epoch's state; nil while it has to be asked for."""
        self.held: dict[int, MemberBatch] = {}
        self.shown = False
        """Whether the public state is the newest epoch's."""


class MembersReplica:
    """Rooms and members of some slots; sessions by sanctuary and citizen.

    Until a slot is complete for the first time it shows nothing. When sanctuary restarts, the old
    epoch's state stands until the new one is complete, then the two are compared and swapped.
    Every batch has a number of its own, empty ones too.
    """

    def __init__(self, slots: Iterable[int]) -> None:
        self._slots: dict[int, _Slot] = {slot: _Slot() for slot in slots}
        self._ask_at: dict[int, int] = dict.fromkeys(self._slots, 0)
        self._complete: dict[int, bool] = dict.fromkeys(self._slots, False)
        self._rooms: dict[int, dict[bytes, Room]] = {slot: {} for slot in self._slots}
        self._seats: dict[int, dict[_Seat, MemberJoined]] = {slot: {} for slot in self._slots}
        self._room: dict[bytes, Room] = {}
        self._seat: dict[_Seat, MemberJoined] = {}
        self._follows: dict[_Seat, tuple[bytes, ...]] = {}
        self._citizens: dict[bytes, dict[bytes, dict[bytes, MemberJoined]]] = {}
        self.unreadable_rooms = 0
        """Rooms whose policy could not be read; they do not stand here."""

    # what stands now

    def complete(self, slot: int) -> bool:
        """Whether the slot's state has been whole once; it then stays usable through holes."""
        return self._complete[slot]

    def asking(self, slot: int) -> bool:
        """Whether the slot has a hole, or an epoch not yet known, and waits for an answer."""
        return slot in self._ask_at

    def room(self, sanctuary: bytes) -> Room | None:
        return self._room.get(sanctuary)

    def rooms(self, slot: int) -> Iterator[Room]:
        yield from self._rooms[slot].values()

    def member(self, sanctuary: bytes, session: bytes) -> MemberJoined | None:
        return self._seat.get((sanctuary, session))

    def citizens(self, sanctuary: bytes) -> Mapping[bytes, Mapping[bytes, MemberJoined]]:
        """Citizen → session → member, in the order in which they came."""
        return self._citizens.get(sanctuary, _NOBODY)

    def sessions(self, sanctuary: bytes, citizen: bytes) -> Mapping[bytes, MemberJoined]:
        return self._citizens.get(sanctuary, _NOBODY).get(citizen, _NO_SESSIONS)

    def followed(self, sanctuary: bytes, session: bytes) -> tuple[bytes, ...]:
        """Whom a session follows."""
        return self._follows.get((sanctuary, session), ())

    def members(self, slot: int) -> Iterator[MemberJoined]:
        """Every session of the slot."""
        yield from self._seats[slot].values()

    def population(self, slot: int) -> int:
        """Sessions in the slot."""
        return len(self._seats[slot])

    # inputs

    def receive(self, batch: MemberBatch, now_ns: MonotonicNs) -> list[MemberChange]:
        """A batch of `member.<slot>`; other slots' are ignored."""
        slot = self._slots.get(batch.slot)
        if slot is None or batch.epoch < slot.epoch:
            return []
        if batch.epoch > slot.epoch:
            self._begin(slot, batch.slot, batch.epoch, now_ns)
        view = slot.coming
        if view is not None and batch.number <= view.number:
            return []
        slot.held[batch.number] = batch
        if len(slot.held) > HELD_BATCHES_MAX:
            del slot.held[min(slot.held)]
        return self._catch_up(batch.slot, slot, now_ns)

    def answered(self, ask: Ask, answer: Members, now_ns: MonotonicNs) -> list[MemberChange]:
        """The answer to an ask of ours, or a part of it."""
        del ask  # the answer says which slot it is of
        slot = self._slots.get(answer.slot)
        if slot is None or answer.epoch < slot.epoch:
            return []
        if answer.epoch > slot.epoch:
            self._begin(slot, answer.slot, answer.epoch, now_ns)
        if slot.coming is not None and answer.number <= slot.coming.number:
            return self._catch_up(answer.slot, slot, now_ns)
        parts = slot.parts.take(answer, (answer.epoch, answer.number))
        if parts is None:
            return []
        view = _View(answer.epoch, answer.number, complete=answer.complete)
        for part in parts:
            events: list[MemberEvent] = [*part.rooms, *part.members, *part.follows]
            for event in events:
                view.apply(event)
        slot.coming = view
        slot.shown = False
        return self._catch_up(answer.slot, slot, now_ns)

    def asks(self, now_ns: MonotonicNs) -> list[Ask]:
        """The asks that are due; each is due again 250 ms later unless answered."""
        due = [slot for slot, at in self._ask_at.items() if at <= now_ns]
        for slot in due:
            self._ask_at[slot] = now_ns + ASK_AGAIN_NS
        return [
            Ask(subjects.ask(subjects.SANCTUARY, slot), MembersAsk(slot), Members) for slot in due
        ]

    def next_deadline(self) -> MonotonicNs | None:
        return MonotonicNs(min(self._ask_at.values())) if self._ask_at else None

    # within

    def _begin(self, slot: _Slot, name: int, epoch: int, now_ns: MonotonicNs) -> None:
        slot.epoch = epoch
        slot.coming = None
        slot.held.clear()
        slot.shown = False
        self._ask_at[name] = now_ns

    def _catch_up(self, name: int, slot: _Slot, now_ns: MonotonicNs) -> list[MemberChange]:
        """Apply what follows without a hole; show it if it is complete; ask if a hole is left."""
        view = slot.coming
        changes: list[MemberChange] = []
        if view is not None:
            for stale in [n for n in slot.held if n <= view.number]:
                del slot.held[stale]
            while (batch := slot.held.pop(view.number + 1, None)) is not None:
                view.number = batch.number
                view.complete = batch.complete
                for event in batch.events:
                    view.apply(event)
                    if slot.shown:
                        self._show(name, event, changes)
            if view.complete and not slot.shown:
                self._swap(name, slot, view, changes)
        if view is None or slot.held:
            self._ask_at.setdefault(name, now_ns)
        else:
            self._ask_at.pop(name, None)
        return changes

    def _show(self, slot: int, event: MemberEvent, changes: list[MemberChange]) -> None:
        """Carry one event over into the public state."""
        match event:
            case RoomOpened():
                self._show_room(slot, event, changes)
            case RoomClosed():
                for seat in [s for s in self._seats[slot] if s[0] == event.sanctuary]:
                    self._unseat(slot, seat, changes)
                self._close_room(slot, event.sanctuary, changes)
            case MemberJoined():
                seat = (event.sanctuary, event.session)
                if self._seats[slot].get(seat) != event:
                    self._unseat(slot, seat, changes)
                    self._seats[slot][seat] = self._seat[seat] = event
                    room = self._citizens.setdefault(event.sanctuary, {})
                    room.setdefault(event.citizen, {})[event.session] = event
                    changes.append(SessionJoined(event))
            case MemberLeft():
                self._unseat(slot, (event.sanctuary, event.session), changes)
            case MemberFollows():
                self._show_follows((event.sanctuary, event.session), event.followed, changes)

    def _show_follows(
        self, seat: _Seat, followed: tuple[bytes, ...], changes: list[MemberChange]
    ) -> None:
        member = self._seat.get(seat)
        before = self._follows.get(seat, ())
        if member is None or followed == before:
            return
        if followed:
            self._follows[seat] = followed
        else:
            del self._follows[seat]
        changes.append(SessionFollows(member, before, followed))

    def _show_room(self, slot: int, event: RoomOpened, changes: list[MemberChange]) -> None:
        before = self._rooms[slot].get(event.sanctuary)
        if before is not None and before.policy_bytes == event.policy:
            return
        try:
            policy = decode(event.policy, Policy)
        except Refused:
            self.unreadable_rooms += 1
            self._close_room(slot, event.sanctuary, changes)
            return
        room = Room(event.sanctuary, policy, event.policy, sha256(event.policy))
        self._rooms[slot][event.sanctuary] = self._room[event.sanctuary] = room
        changes.append(RoomStood(room, before))

    def _close_room(self, slot: int, sanctuary: bytes, changes: list[MemberChange]) -> None:
        room = self._rooms[slot].pop(sanctuary, None)
        if room is not None:
            del self._room[sanctuary]
            changes.append(RoomGone(room))

    def _unseat(self, slot: int, seat: _Seat, changes: list[MemberChange]) -> None:
        member = self._seats[slot].pop(seat, None)
        if member is None:
            return
        del self._seat[seat]
        self._follows.pop(seat, None)
        citizens = self._citizens[member.sanctuary]
        sessions = citizens[member.citizen]
        del sessions[member.session]
        if not sessions:
            del citizens[member.citizen]
            if not citizens:
                del self._citizens[member.sanctuary]
        changes.append(SessionLeft(member))

    def _swap(self, slot: int, of: _Slot, view: _View, changes: list[MemberChange]) -> None:
        """Make the public state equal to the view."""
        of.shown = True
        for seat, member in list(self._seats[slot].items()):
            if view.seats.get(seat) != member or seat[0] not in view.rooms:
                self._unseat(slot, seat, changes)
        for sanctuary in [s for s in self._rooms[slot] if s not in view.rooms]:
            self._close_room(slot, sanctuary, changes)
        for room in view.rooms.values():
            self._show_room(slot, room, changes)
        for member in view.seats.values():
            self._show(slot, member, changes)
            follows = view.follows.get((member.sanctuary, member.session))
            followed = () if follows is None else follows.followed
            self._show_follows((member.sanctuary, member.session), followed, changes)
        self._complete[slot] = True
        changes.append(SlotCompleted(slot, view.epoch))


_NO_SESSIONS: Mapping[bytes, MemberJoined] = MappingProxyType({})
_NOBODY: Mapping[bytes, Mapping[bytes, MemberJoined]] = MappingProxyType({})

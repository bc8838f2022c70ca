"""Identities and consent: the registry's pages and its control messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from shared import subjects
from shared.contracts.records import Signed
from shared.contracts.registry import (
    ConsentRecorded,
    ConsentRefused,
    ConsentState,
    Identity,
    IdentityRecorded,
    RegistryBeat,
    RegistryControl,
    StateAsk,
    StatePage,
)
from shared.identifiers import MonotonicNs
from shared.replica.pace import ASK_AGAIN_NS
from shared.subjects import Ask

HELD_CONTROL_MAX = 16_384
"""Control messages kept while the registry's pages are read; then the reading begins again."""


class IdentityKnown(NamedTuple):
    identity: Identity


class ConsentKnown(NamedTuple):
    """A citizen's recorded state is now `state`; `record` if it came live (nil: from a page)."""

    state: ConsentState
    record: Signed | None


class ConsentNotTaken(NamedTuple):
    """The registry refused a forwarded record."""

    citizen: bytes
    payload_hash: bytes


class CitizenForgotten(NamedTuple):
    """The registry's state no longer has any consent of this citizen, nor, unless `is_known`, the
    citizen.
    """

    citizen: bytes
    is_known: bool


class RegistryCompleted(NamedTuple):
    """The state is whole: for the first time, after a hole, or under a new epoch."""

    epoch: int


RegistryChange = (
    IdentityKnown | ConsentKnown | ConsentNotTaken | CitizenForgotten | RegistryCompleted
)
_Recorded = IdentityRecorded | ConsentRecorded | ConsentRefused


class RegistryReplica:
    """Identities, and consent states if wanted, of the whole city.

    A reading goes page by page; control messages that arrive meanwhile are applied on top. Live
    messages act at once also while a reading is under way: each is whole for its citizen, and
    consent is ordered by its counter. The old state stands until a new reading is complete.
    """

    def __init__(self, *, consent: bool) -> None:
        self._consent = consent
        self._identities: dict[bytes, Identity] = {}
        self._states: dict[bytes, ConsentState] = {}
        self.identities: Mapping[bytes, Identity] = MappingProxyType(self._identities)
        self.states: Mapping[bytes, ConsentState] = MappingProxyType(self._states)
        self.charter: Signed | None = None
        self.city: bytes | None = None
        """The city id, once known. (The charter in force is the genesis charter.)"""
        self.epoch = -1
        self.complete = False
        """Whether the state has been whole once."""
        self._heard_ns = 0
        self._number: int | None = None
        """Last control message applied without a hole; nil: not known in this epoch."""
        self._highest = -1
        """The highest number heard of in this epoch."""
        self._reading: _Reading | None = _Reading(-1)
        self._ask_at = 0

    @property
    def certain(self) -> bool:
        """Whether the state is whole and has no hole that is known of."""
        return self.complete and self._reading is None

    def silent_for(self, now_ns: MonotonicNs) -> int:
        """Nanoseconds since the registry was last heard on its control subject; before that, since 0."""
        return now_ns - self._heard_ns

    def receive(self, event: RegistryControl, now_ns: MonotonicNs) -> list[RegistryChange]:
        """A control message of the registry, in any order, perhaps repeated."""
        if event.epoch < self.epoch:
            return []
        self._heard_ns = now_ns
        if event.epoch > self.epoch:
            self._begin(event.epoch, now_ns)
        self._highest = max(self._highest, event.number)
        if isinstance(event, RegistryBeat):
            if self._reading is None and self._number is not None and event.number > self._number:
                self._read(now_ns)
            return []
        if self._number is not None and event.number <= self._number:
            return []
        changes: list[RegistryChange] = []
        if self._reading is None:
            assert self._number is not None  # without a reading the position is known
            if event.number == self._number + 1:
                self._number = event.number
            else:
                self._read(now_ns)
        if self._reading is not None:
            self._reading.log.append(event)
            if len(self._reading.log) > HELD_CONTROL_MAX:
                self._read(now_ns)
        if self.complete:
            self._apply(event, self._identities, self._states, changes)
        elif isinstance(event, ConsentRefused):
            changes.append(ConsentNotTaken(event.citizen, event.payload_hash))
        return changes

    def answered(self, ask: Ask, page: StatePage, now_ns: MonotonicNs) -> list[RegistryChange]:
        """A page; pages of a reading that is over are ignored."""
        if page.epoch < self.epoch:
            return []
        if page.epoch > self.epoch:
            self._begin(page.epoch, now_ns)
        reading = self._reading
        wanted = StateAsk(None if reading is None else reading.after, self._consent)
        if reading is None or ask.event != wanted or page.number < reading.least:
            return []
        if reading.number is None:
            reading.number = reading.least = page.number
        reading.identities.update((identity.citizen, identity) for identity in page.identities)
        reading.states.update((state.citizen, state) for state in page.states)
        reading.after = page.next
        self._ask_at = now_ns
        if page.next is not None:
            return []
        self.charter = page.charter
        self.city = page.city
        return self._finish(reading, now_ns)

    def asks(self, now_ns: MonotonicNs) -> list[Ask]:
        """The page that is due, if any; due again 250 ms later unless answered."""
        if self._reading is None or self._ask_at > now_ns:
            return []
        self._ask_at = now_ns + ASK_AGAIN_NS
        event = StateAsk(self._reading.after, self._consent)
        return [Ask(subjects.ask(subjects.REGISTRY), event, StatePage)]

    def next_deadline(self) -> MonotonicNs | None:
        return None if self._reading is None else MonotonicNs(self._ask_at)

    # within

    def _begin(self, epoch: int, now_ns: MonotonicNs) -> None:
        self.epoch = epoch
        self._number = None
        self._highest = -1
        self._read(now_ns)

    def _read(self, now_ns: MonotonicNs) -> None:
        self._reading = _Reading(self._highest)
        self._ask_at = now_ns

    def _finish(self, reading: _Reading, now_ns: MonotonicNs) -> list[RegistryChange]:
        """Compare what was read, and the messages on top of it, with what stood."""
        assert reading.number is not None
        number, hole = reading.number, False
        silent: list[RegistryChange] = []
        for event in sorted(reading.log, key=_number_of):
            if event.number <= reading.number:
                continue  # the pages have it
            self._apply(event, reading.identities, reading.states, silent)
            hole = hole or event.number > number + 1
            if not hole:
                number = max(number, event.number)
        changes: list[RegistryChange] = []
        gone = [c for c in self._identities if c not in reading.identities]
        for citizen in gone:
            del self._identities[citizen]
            self._states.pop(citizen, None)
            changes.append(CitizenForgotten(citizen, is_known=False))
        for identity in reading.identities.values():
            if self._identities.get(identity.citizen) != identity:
                self._identities[identity.citizen] = identity
                changes.append(IdentityKnown(identity))
        for citizen in [c for c in self._states if c not in reading.states]:
            del self._states[citizen]
            changes.append(CitizenForgotten(citizen, is_known=True))
        for state in reading.states.values():
            if self._states.get(state.citizen) != state:
                self._states[state.citizen] = state
                changes.append(ConsentKnown(state, None))
        self._number = number
        self._reading = None
        if hole:
            self._read(now_ns)
        else:
            self.complete = True
            changes.append(RegistryCompleted(self.epoch))
        return changes

    def _apply(
        self,
        event: _Recorded,
        identities: dict[bytes, Identity],
        states: dict[bytes, ConsentState],
        changes: list[RegistryChange],
    ) -> None:
        match event:
            case IdentityRecorded():
                if identities.get(event.identity.citizen) != event.identity:
                    identities[event.identity.citizen] = event.identity
                    changes.append(IdentityKnown(event.identity))
            case ConsentRecorded():
                known = states.get(event.state.citizen)
                if self._consent and (known is None or known.counter < event.state.counter):
                    states[event.state.citizen] = event.state
                    changes.append(ConsentKnown(event.state, event.record))
            case ConsentRefused():
                changes.append(ConsentNotTaken(event.citizen, event.payload_hash))


class _Reading:
    """A reading of the registry's pages under way."""

    __slots__ = ("after", "identities", "least", "log", "number", "states")

    def __init__(self, least: int) -> None:
        self.least = least
        """What had been heard of when the reading began: an answer that knows less is an old one."""
        self.after: bytes | None = None
        self.number: int | None = None
        """Of the first page: what came later is in `log`."""
        self.identities: dict[bytes, Identity] = {}
        self.states: dict[bytes, ConsentState] = {}
        self.log: list[_Recorded] = []


def _number_of(event: _Recorded) -> int:
    return event.number

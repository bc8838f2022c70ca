"""Consent as it arrives: forwarded records, tombstones, the registry's word; strikes and `acted`."""

from __future__ import annotations

from typing import NamedTuple

from services.fanout.core.city import City
from services.fanout.core.consents import hash_of, is_ending, may_narrow
from services.fanout.core.gateways import Gateway
from services.fanout.core.withdrawal import NOBODY, Act, Acts, Requester, answer
from shared import subjects
from shared.codec import Refused, decode_canonical
from shared.consent import narrows
from shared.contracts.fanout import Marker
from shared.contracts.records import ConsentRecord, RecordKind, Signed
from shared.identifiers import MonotonicNs, WallMs
from shared.identity import verify_record
from shared.replica import (
    CitizenForgotten,
    ConsentKnown,
    ConsentNotTaken,
    IdentityKnown,
    RegistryChange,
    RegistryCompleted,
    RegistryReplica,
)

UNVERIFIED_MAX = 4096
"""Records that wait for their citizen's identity; the oldest go (gateways repeat them)."""
_MARKER_BYTES = 64


class _Unverified(NamedTuple):
    citizen: bytes
    record: Signed
    requester: Requester | None


class Authority:
    """Decides what a record narrows, acts on it at once, and tells who asked when it is done."""

    def __init__(
        self,
        city: City,
        registry: RegistryReplica,
        gateways: dict[str, Gateway],
        acts: Acts,
        *,
        fanout: str,
        ordinal: int,
        replicas: int,
    ) -> None:
        self._city = city
        self._registry = registry
        self._gateways = gateways
        self._fanout = fanout
        self._ordinal = ordinal
        self._replicas = replicas
        self.acts = acts
        self.may_act = False
        """Whether every live gateway is known, so that markers can reach them all."""
        self._unverified: dict[bytes, _Unverified] = {}

    def take(
        self,
        signed: Signed,
        requester: Requester | None,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> None:
        """A consent record from a gateway, for the first time or again. `requester` nil: a tombstone."""
        payload_hash = hash_of(signed.payload)
        act = self.acts.get(payload_hash)
        if act is not None:
            self._ask_for(act, requester)
            return
        try:
            # mypy takes a union for a type only with its own help
            record: ConsentRecord = decode_canonical(signed.payload, ConsentRecord)  # type: ignore[arg-type]
        except Refused:
            self._city.counts.malformed += 1
            return
        if requester is None and record.counter <= self._recorded_counter(record.citizen):
            return  # a tombstone of what is in the state already
        if not self._verified(signed, record, payload_hash, requester):
            return
        consent = self._city.consent(record.citizen)
        if record.counter > consent.recorded.counter:
            has_hole = record.counter > consent.known + 1
            consent.add_pending(record, payload_hash)
            takes_away = (
                is_ending(record)
                or consent.narrows_with(payload_hash, now_ms)
                or (has_hole and may_narrow(record))
            )
            self._city.reroute(record.citizen, now_ns, now_ms)
        else:
            takes_away = may_narrow(record)
            self._city.forget_consent(record.citizen)
        if requester is None:
            return  # whoever wants to hear of it repeats it
        act = Act(record.citizen, record.counter, is_silent=not takes_away)
        self.acts.add(payload_hash, act, now_ns)
        self._ask_for(act, requester)
        if self.may_act:
            self._mark(act, now_ns)

    def _recorded_counter(self, citizen: bytes) -> int:
        state = self._registry.states.get(citizen)
        return -1 if state is None or not self._registry.complete else state.counter

    def _verified(
        self,
        signed: Signed,
        record: ConsentRecord,
        payload_hash: bytes,
        requester: Requester | None,
    ) -> bool:
        """Whether one of the citizen's keys signed it. If the citizen is not known yet, it waits."""
        identity = self._registry.identities.get(record.citizen)
        city = self._registry.city
        if identity is None or city is None or not self._registry.complete:
            if len(self._unverified) >= UNVERIFIED_MAX:
                del self._unverified[next(iter(self._unverified))]
            self._unverified[payload_hash] = _Unverified(record.citizen, signed, requester)
            return False
        for key in (identity.identity_key, *identity.devices):
            if verify_record(key, RecordKind.CONSENT, city, signed):
                return True
        self._city.counts.bad_signatures += 1
        return False

    def _ask_for(self, act: Act, requester: Requester | None) -> None:
        if requester is None or act.is_silent:
            return
        act.requesters[requester] = None
        if act.done_ns is not None:
            self._answer(act, requester)

    def _answer(self, act: Act, requester: Requester) -> None:
        event = answer(
            act, requester, fanout=self._fanout, ordinal=self._ordinal, replicas=self._replicas
        )
        self._city.effects.append(subjects.Publish(subjects.back(requester[0]), event))

    # markers

    def begin(self, now_ns: MonotonicNs) -> None:
        """Every gateway is known: what waited for that is marked now."""
        self.may_act = True
        for act in list(self.acts.under_way.values()):
            if act.begun_ns is None:
                self._mark(act, now_ns)

    def _mark(self, act: Act, now_ns: MonotonicNs) -> None:
        """A marker on every live gateway's stream, in each slot where the citizen was on show."""
        if act.is_silent:
            return
        act.begun_ns = now_ns
        presences = self._city.presences.get(act.citizen, {}).values()
        slots = {presence.room.slot.number: False for presence in presences}
        for presence in presences:
            slots[presence.room.slot.number] |= presence.is_visible()
        for number, is_visible in sorted(slots.items()) or [(min(self._city.slots), True)]:
            slot = self._city.slots[number]
            purges = NOBODY if is_visible else act.citizen
            for gateway in self._gateways.values():
                if gateway.is_fenced:
                    continue
                marker = self.acts.marker(
                    act, gateway.name, gateway.incarnation, slot=number, purges=purges
                )
                stream = slot.streams.get(gateway.key)
                if stream is not None:
                    stream.add(Marker(purges, marker), _MARKER_BYTES)

    def finish(self, now_ns: MonotonicNs) -> None:
        """Answer everyone whose record has been carried out everywhere."""
        for act in self.acts.finish(now_ns):
            self._city.counts.acted += 1
            for requester in act.requesters:
                self._answer(act, requester)

    # the registry

    def learn(
        self, changes: list[RegistryChange], now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[RegistryCompleted]:
        """Follow the registry's word. Returns its completions, which are the router's concern."""
        completed = []
        retry: dict[bytes, None] = {}
        for change in changes:
            match change:
                case IdentityKnown(identity):
                    retry[identity.citizen] = None
                case ConsentKnown(state, record):
                    consent = self._city.consents.get(state.citizen)
                    if consent is None:
                        continue
                    if record is not None:
                        self._note_harmless(
                            record,
                            not narrows(consent.recorded, state, now_ms),
                            now_ns,
                        )
                    consent.record(state)
                    self._city.reroute(state.citizen, now_ns, now_ms)
                case ConsentNotTaken(citizen, payload_hash):
                    self._unverified.pop(payload_hash, None)
                    consent = self._city.consents.get(citizen)
                    if consent is not None and consent.refuse(payload_hash):
                        self._city.reroute(citizen, now_ns, now_ms)
                case CitizenForgotten(citizen):
                    consent = self._city.consents.get(citizen)
                    if consent is not None:
                        consent.record(None)
                        self._city.reroute(citizen, now_ns, now_ms)
                case RegistryCompleted():
                    completed.append(change)
        if self._unverified and self._registry.complete and (retry or completed):
            waiting, self._unverified = self._unverified, {}
            for payload_hash, item in waiting.items():
                if completed or item.citizen in retry:
                    self.take(item.record, item.requester, now_ns, now_ms)
                else:
                    self._unverified[payload_hash] = item
        return completed

    def _note_harmless(self, record: Signed, is_harmless: bool, now_ns: MonotonicNs) -> None:  # noqa: FBT001
        """A record that took nothing away when it was recorded is not acted on if it is repeated."""
        payload_hash = hash_of(record.payload)
        if is_harmless and self.acts.get(payload_hash) is None:
            try:
                content: ConsentRecord = decode_canonical(record.payload, ConsentRecord)  # type: ignore[arg-type]
            except Refused:
                return
            if not is_ending(content):
                act = Act(content.citizen, content.counter, is_silent=True)
                self.acts.add(payload_hash, act, now_ns)

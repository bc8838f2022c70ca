"""One citizen as the registry knows it: the identity, the chain, what is on its way to the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from shared.codec import Refused, decode_canonical
from shared.consent import empty_state
from shared.contracts import (
    ConsentForwarded,
    ConsentState,
    Identity,
    Inception,
    RecordKind,
    Refusal,
    Signed,
)
from shared.identifiers import MonotonicNs
from shared.identity import verify_record
from shared.identity.signing import is_small_order


class Waiter(NamedTuple):
    """Whom to answer."""

    gateway: str
    session: bytes
    ref: int


@dataclass(slots=True)
class Ahead:
    """A record that was accepted and is not yet durable."""

    token: int
    record: Signed
    payload_hash: bytes
    state: ConsentState
    waiters: list[Waiter]


class Allowance:
    """Full at `burst`, refilled by `per_s`; each thing done spends one."""

    __slots__ = ("_burst", "_left", "_per_s", "_seen_ns")

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._left = self._burst
        self._seen_ns: int | None = None

    def spend(self, now_ns: MonotonicNs) -> bool:
        if self._seen_ns is not None:
            gained = (now_ns - self._seen_ns) / 1e9 * self._per_s
            self._left = min(self._burst, self._left + gained)
        self._seen_ns = now_ns
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Early(NamedTuple):
    """A record whose predecessor has not come: the bus may have lost it, and repeats it."""

    counter: int
    event: ConsentForwarded


@dataclass(slots=True)
class Citizen:
    identity: Identity
    inception: Signed
    allowance: Allowance
    state: ConsentState
    """Durable: what replicas are told."""
    records: list[Signed] = field(default_factory=list)
    ahead: list[Ahead] = field(default_factory=list)
    early: dict[bytes, Early] = field(default_factory=dict)

    @classmethod
    def of(cls, identity: Identity, inception: Signed, allowance: Allowance) -> Citizen:
        return cls(identity, inception, allowance, empty_state(identity.citizen))

    @property
    def tail(self) -> ConsentState:
        """The state that the next record must follow: everything accepted, durable or not."""
        return self.ahead[-1].state if self.ahead else self.state

    def accepted(self, counter: int) -> Signed | None:
        """The record at this place of the chain, durable or not."""
        if not 1 <= counter <= self.tail.counter:
            return None
        if counter <= len(self.records):
            return self.records[counter - 1]
        return self.ahead[counter - len(self.records) - 1].record

    def settle(self, record: Signed, state: ConsentState) -> None:
        """The record at the chain's next place is durable."""
        assert state.counter == len(self.records) + 1
        self.records.append(record)
        self.state = state


def read_inception(record: Signed, city: bytes) -> Inception:
    """Raises: Refused(MALFORMED | OUT_OF_RANGE | NOT_CANONICAL | BAD_SIGNATURE)."""
    inception = decode_canonical(record.payload, Inception)
    devices = inception.devices
    if len(dict.fromkeys(devices)) != len(devices) or any(
        is_small_order(key) for key in (inception.identity_key, *devices)
    ):
        raise Refused(Refusal.OUT_OF_RANGE)
    if not verify_record(inception.identity_key, RecordKind.INCEPTION, city, record):
        raise Refused(Refusal.BAD_SIGNATURE)
    return inception


def identity_of(citizen: bytes, inception: Inception) -> Identity:
    return Identity(citizen, inception.identity_key, inception.next_key_hash, inception.devices)


class NotSigned(Refused):
    """No key of the citizen made this signature."""

    def __init__(self) -> None:
        super().__init__(Refusal.BAD_SIGNATURE)


def by_identity_key(identity: Identity, record: Signed, city: bytes) -> bool:
    """Whether the identity key signed the consent record; False: one of the devices did.

    Raises: NotSigned if none did.
    """
    if verify_record(identity.identity_key, RecordKind.CONSENT, city, record):
        return True
    if any(verify_record(key, RecordKind.CONSENT, city, record) for key in identity.devices):
        return False
    raise NotSigned

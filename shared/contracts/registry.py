"""What the registry publishes: recorded identities and consent, the state for replicas, answers."""

from __future__ import annotations

import hashlib

import msgspec

from shared.contracts.records import Audience, Purpose, Signed, Tier
from shared.identifiers import U32, U53, Bytes16, Bytes32, Word


class Scope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What stands in one scope of a citizen's consent."""

    purpose: Purpose
    audience: Audience
    sanctuary: Bytes16 | None
    tier: Tier
    until_ms: U53 | None


class Limit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The most that one person may see."""

    person: Bytes16
    sanctuary: Bytes16 | None
    tier: Tier
    until_ms: U53 | None


class Approved(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A person who may follow."""

    person: Bytes16
    until_ms: U53 | None


class ConsentState(msgspec.Struct, frozen=True, array_like=True):
    """A citizen's chain folded up to `counter` (`shared.consent`); rows in no order."""

    citizen: Bytes16
    counter: U53
    head: Bytes32
    scopes: tuple[Scope, ...]
    limits: tuple[Limit, ...]
    approved: tuple[Approved, ...] = ()


class Identity(msgspec.Struct, frozen=True, array_like=True):
    citizen: Bytes16
    identity_key: Bytes32
    next_key_hash: Bytes32
    devices: tuple[Bytes32, ...]


# ── control.<registry> ───────────────────────────────────────────────────────────────────────────


class RegistryBeat(msgspec.Struct, frozen=True, array_like=True, tag="registry beat/1"):
    """Every 250 ms; its silence for 3 s holds everything. `epoch` changes with every start."""

    sender: Word
    epoch: int
    number: int


class IdentityRecorded(msgspec.Struct, frozen=True, array_like=True, tag="identity recorded/1"):
    sender: Word
    epoch: int
    number: int
    identity: Identity


class ConsentRecorded(msgspec.Struct, frozen=True, array_like=True, tag="consent recorded/1"):
    """Durable. `record` as signed; `state` what it folded to."""

    sender: Word
    epoch: int
    number: int
    record: Signed
    state: ConsentState


class ConsentRefused(msgspec.Struct, frozen=True, array_like=True, tag="consent refused/1"):
    """A forwarded record was refused: a fanout that narrowed for it takes that back."""

    sender: Word
    epoch: int
    number: int
    citizen: Bytes16
    payload_hash: Bytes32


RegistryControl = RegistryBeat | IdentityRecorded | ConsentRecorded | ConsentRefused


class StateAsk(msgspec.Struct, frozen=True, array_like=True, tag="state ask/1"):
    """ingest, sanctuary, fanout → `ask.registry.0`: one page of the state, citizens in the order of
    their ids from `after` on (nil: the beginning). Answered with `StatePage` on the inbox.
    """

    after: Bytes16 | None
    consent: bool


class StatePage(msgspec.Struct, frozen=True, array_like=True, tag="state page/1"):
    """As of control message `number`. Apply control messages received since the first page on top
    (they are idempotent). `next` nil: complete. `charter` is the current charter, as signed.
    """

    epoch: int
    number: int
    charter: Signed
    identities: tuple[Identity, ...]
    states: tuple[ConsentState, ...]
    next: Bytes16 | None
    genesis: Bytes32 | None = None
    """SHA-256 of the genesis charter; nil: `charter` is that one."""

    @property
    def city(self) -> bytes:
        """The city's id, which signatures are made for: it outlives the charter it began with."""
        return self.genesis or hashlib.sha256(self.charter.payload).digest()


class RecordAnswered(msgspec.Struct, frozen=True, array_like=True, tag="record answered/1"):
    """`back.<gateway>`: the forwarded record was recorded or refused; stop repeating it.
    `message` is the client's `recorded` or `refused`.
    """

    session: Bytes16
    ref: U32
    payload_hash: Bytes32
    recorded: bool
    message: bytes

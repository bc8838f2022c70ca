"""What gateways publish: uplink batches, asks, control, interest. Core NATS, at most once."""

from __future__ import annotations

import msgspec

from shared.contracts.records import Signed
from shared.identifiers import U32, U53, Bytes16, Bytes32, Word


class UpEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One client message (Open, Samples, SealWindow or Release) as received.

    `device` is the key that signed the session's token: the gateway's own word, which seals check.
    """

    session: Bytes16
    device: Bytes32
    message: msgspec.Raw


class UpBatch(msgspec.Struct, frozen=True, array_like=True, tag="up/1"):
    """`up.<slot>`, gateway → ingest's queue group. `number` counts per (gateway, incarnation, slot);
    a hole shows as missing strand numbers, which ingest announces.
    """

    gateway: Word
    incarnation: int
    slot: int
    number: int
    entries: tuple[UpEntry, ...]


# ── control.<gateway>: to every fanout and the registry; numbered per sender ─────────────────────


class GatewayBeat(msgspec.Struct, frozen=True, array_like=True, tag="gateway beat/1"):
    """Every 250 ms. `number` is that of the last control message sent, so a hole shows within a beat."""

    gateway: Word
    incarnation: int
    number: int


class ConsentForwarded(msgspec.Struct, frozen=True, array_like=True, tag="consent forwarded/1"):
    """A client's signed consent record, repeated every 250 ms until the registry answered it.

    Idempotency key: SHA-256 of the payload. `again` marks repeats.
    """

    gateway: Word
    incarnation: int
    number: int
    session: Bytes16
    ref: U32
    record: Signed
    again: bool = False


class Passed(msgspec.Struct, frozen=True, array_like=True, tag="passed/1"):
    """This gateway has carried out the fanout's marker: what it held of the citizen is purged."""

    gateway: Word
    incarnation: int
    number: int
    fanout: Word
    marker: int


class Tombstones(msgspec.Struct, frozen=True, array_like=True, tag="tombstones/1"):
    """Answer to a fanout's `TombstonesWanted`: every consent record forwarded in the last 60 s or not
    yet recorded.
    """

    gateway: Word
    incarnation: int
    number: int
    fanout: Word
    records: tuple[Signed, ...]


GatewayControl = GatewayBeat | ConsentForwarded | Passed | Tombstones


class Interest(msgspec.Struct, frozen=True, array_like=True, tag="interest/1"):
    """`interest.<slot>`: how many anonymous viewers watch the public stage here; on change and every
    500 ms while count > 0. fanout answers a new `generation` with `EnterPublic` in band.
    """

    gateway: Word
    incarnation: int
    sanctuary: Bytes16
    generation: int
    count: int


# ── ask.<service>.<slot> ─────────────────────────────────────────────────────────────────────────


class JoinAsk(msgspec.Struct, frozen=True, array_like=True, tag="join ask/1"):
    """→ sanctuary. `again`: a kept join presented to a restarted sanctuary, with the session's kept
    follow; answered silently.
    """

    gateway: Word
    incarnation: int
    session: Bytes16
    device: Bytes32
    ref: U32
    sanctuary: Bytes16
    record: Signed
    again: bool = False
    follow: Signed | None = None


class LeaveAsk(msgspec.Struct, frozen=True, array_like=True, tag="leave ask/1"):
    """→ sanctuary. `ref` nil when the socket closed: nobody waits for an answer."""

    gateway: Word
    incarnation: int
    session: Bytes16
    ref: U32 | None
    sanctuary: Bytes16


class FollowAsk(msgspec.Struct, frozen=True, array_like=True, tag="follow ask/1"):
    """→ sanctuary: whom a member's session follows from now on. Repeated by the client."""

    gateway: Word
    incarnation: int
    session: Bytes16
    device: Bytes32
    ref: U32
    sanctuary: Bytes16
    record: Signed


class SnapshotAsk(msgspec.Struct, frozen=True, array_like=True, tag="snapshot ask/1"):
    """→ fanout: this gateway's edge stream of the slot had a hole; enter all its sessions afresh."""

    gateway: Word
    incarnation: int
    slot: int


class EnrolAsk(msgspec.Struct, frozen=True, array_like=True, tag="enrol ask/1"):
    """→ registry, `ask.registry.0`."""

    gateway: Word
    session: Bytes16
    ref: U32
    record: Signed


class ChainAsk(msgspec.Struct, frozen=True, array_like=True, tag="chain ask/1"):
    """→ registry, `ask.registry.0`. Answered only if `device` is one of the citizen's."""

    gateway: Word
    session: Bytes16
    device: Bytes32
    ref: U32
    citizen: Bytes16
    before: U53 | None = None
    """Only records before this counter; nil: the newest."""


SanctuaryAsk = JoinAsk | LeaveAsk | FollowAsk

"""What fanout publishes: edge streams, `acted`, control, the field's and the record's feed."""

from __future__ import annotations

import msgspec

from shared.contracts.client import Body
from shared.contracts.records import Signed
from shared.identifiers import U32, Bytes16, Bytes32, Word

AudienceKey = bytes
"""Whom an edge segment goes to: `m` ‖ sanctuary (members), `p` ‖ sanctuary (anonymous viewers of a
public stage), `f` ‖ citizen ‖ sanctuary (members who see the citizen as its followers), `s` ‖ session ‖
sanctuary (one member who gets a citizen in a form of its own)."""


class Segment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One client message (encoded) and the citizen whose data it is; nil: nobody's."""

    citizen: Bytes16 | None
    message: bytes


class DenyPair(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """This session must not get this citizen's segments of the delivery it stands in."""

    session: Bytes16
    citizen: Bytes16


class StrandNumber(msgspec.Struct, frozen=True, array_like=True, gc=False):
    strand: Bytes32
    next_seq: U32


class Deliver(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """Segments for an audience, with the deny pairs for exactly the citizens in it."""

    audience: AudienceKey
    segments: tuple[Segment, ...]
    deny: tuple[DenyPair, ...] = ()


class Enter(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """Add a session to `m` ‖ sanctuary (idempotent); write it the snapshot first.

    `numbers` are the snapshot's strands, for `recovered`. `gap`: tell it `gap` before.
    """

    session: Bytes16
    sanctuary: Bytes16
    segments: tuple[Segment, ...]
    numbers: tuple[StrandNumber, ...]
    gap: bool = False


class EnterPublic(msgspec.Struct, frozen=True, array_like=True, tag="np"):
    """Add every local viewer of the public stage with an interest generation ≤ `generation`."""

    sanctuary: Bytes16
    generation: int
    segments: tuple[Segment, ...]
    gap: bool = False


class EnterFollowers(msgspec.Struct, frozen=True, array_like=True, tag="nf"):
    """Add a member's session to `f` ‖ citizen ‖ sanctuary (idempotent); write it the segments first.

    From here on it gets the citizen by this audience, and by no other of the sanctuary.
    """

    session: Bytes16
    sanctuary: Bytes16
    citizen: Bytes16
    segments: tuple[Segment, ...] = ()


class DepartFollowers(msgspec.Struct, frozen=True, array_like=True, tag="lf"):
    """Remove a session from `f` ‖ citizen ‖ sanctuary. What it is owed of it stays: whatever must not
    be written any more was struck before.
    """

    session: Bytes16
    sanctuary: Bytes16
    citizen: Bytes16


class Depart(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """Remove a session from the sanctuary's audiences and drop what it is still owed of them."""

    session: Bytes16
    sanctuary: Bytes16


class Strike(msgspec.Struct, frozen=True, array_like=True, tag="x"):
    """Behind this, no byte of `citizen` to `audience` (or to `session` alone, if given) in its
    former form. Purge it from every queue; then write `notice` (client messages; empty: silent).

    Gateways answer markers > 0 with `Passed`.
    """

    citizen: Bytes16
    audience: AudienceKey
    session: Bytes16 | None
    notice: bytes
    marker: int


class Marker(msgspec.Struct, frozen=True, array_like=True, tag="k"):
    """Ends a withdrawal's strikes on this stream: purge `citizen` from everything of this
    slot, then answer `Passed(marker)`. Sent to every live gateway.
    """

    citizen: Bytes16
    marker: int


class Clear(msgspec.Struct, frozen=True, array_like=True, tag="z"):
    """First of a new epoch on a (slot, gateway) stream: forget the slot's audiences and queues.

    Viewers are told `gap`; snapshots follow.
    """


EdgeOp = (
    Deliver
    | Enter
    | EnterPublic
    | EnterFollowers
    | DepartFollowers
    | Depart
    | Strike
    | Marker
    | Clear
)


class EdgeBatch(msgspec.Struct, frozen=True, array_like=True, tag="edge/1"):
    """`edge.<gateway>`, fanout → one gateway. `number` counts per (slot, epoch, gateway
    incarnation) from 0, the first of which holds `Clear`; empty ones beat,
    every 450 ms for 2 s behind operations, then every 1.25 s.
    """

    slot: int
    epoch: int
    incarnation: int
    number: int
    operations: tuple[EdgeOp, ...]


# ── control.<fanout> ─────────────────────────────────────────────────────────────────────────────


class FanoutBeat(msgspec.Struct, frozen=True, array_like=True, tag="fanout beat/1"):
    """Every 250 ms. `acted` needs one answer of each ordinal below `replicas`. `epoch`: the highest
    of its slots'; a process of the same name that hears a higher one than its own ends.
    """

    fanout: Word
    ordinal: int
    replicas: int
    number: int
    certain: bool
    epoch: int = 0


class TombstonesWanted(msgspec.Struct, frozen=True, array_like=True, tag="tombstones wanted/1"):
    fanout: Word
    number: int


class Fenced(msgspec.Struct, frozen=True, array_like=True, tag="fenced/1"):
    """This gateway did not pass a marker within 1 s: it gets nothing more under this incarnation,
    closes its members' and viewers' sockets and begins a new incarnation.
    """

    fanout: Word
    number: int
    gateway: Word
    incarnation: int


FanoutControl = FanoutBeat | TombstonesWanted | Fenced


class ConsentActed(msgspec.Struct, frozen=True, array_like=True, tag="consent acted/1"):
    """`back.<gateway>` of the forwarding gateway: this fanout's gateways all passed (or are fenced)."""

    fanout: Word
    ordinal: int
    replicas: int
    session: Bytes16
    ref: U32
    citizen: Bytes16
    counter: int


class FeedWindow(msgspec.Struct, frozen=True, array_like=True, tag="feed/1"):
    """`field.<slot>` (tier ≥ aggregate) and `record.<slot>` (stages, purpose record): a sealed
    window's delivered bodies.
    """

    slot: int
    sanctuary: Bytes16
    citizen: Bytes16
    strand: Bytes32
    window: U32
    seal: Signed
    bodies: tuple[Body, ...]

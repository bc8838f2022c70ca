r"""What people sign: inception, join, opening, seal, consent records; and the charter.

Every signature is Ed25519 over ``synchronia/1/<kind>\n`` ‖ city id (32 bytes) ‖ payload bytes as
received (`shared.identity.signing`). Payloads are MessagePack arrays in shortest form; readers refuse
payloads that re-encode differently. Hashes are SHA-256.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated

import msgspec

from shared.contracts.sample import WINDOW_SAMPLES_MAX
from shared.identifiers import U32, U53, Bytes16, Bytes32, Bytes64, Word

RECORD_BYTES_MAX = 4096
"""A signed record's payload; a seal of 32 hashes takes some 700 bytes."""
FOLLOWED_MAX = 64
"""Whom one session may follow in one sanctuary: more than a close room shows at its default limit."""
STRAND_KEY_PUBLISH_AFTER_S = 60
"""How long after a commons or circle strand ends its client publishes the strand's private key."""


class RecordKind(StrEnum):
    """The domain of a signature; part of the signed bytes."""

    INCEPTION = "inception"
    JOIN = "join"
    OPENING = "opening"
    SEAL = "seal"
    CONSENT = "consent"
    CHARTER = "charter"
    FOLLOW = "follow"


class Signed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A payload as its signer made it, and the signature over it."""

    payload: Annotated[bytes, msgspec.Meta(min_length=1, max_length=RECORD_BYTES_MAX)]
    signature: Bytes64


class Tier(IntEnum):
    """How closely somebody is seen. Ordered: the least of several is the effective one."""

    WITHHELD = 0
    AGGREGATE = 1
    COARSE = 2
    FULL = 3


class Audience(IntEnum):
    """Those who see the same. PRESS is grantable, and nothing is delivered to it yet."""

    MEMBERS = 0
    PUBLIC = 1
    FOLLOWERS = 2
    PRESS = 3


class Purpose(IntEnum):
    LIVE = 0
    RECORD = 1


class Kind(StrEnum):
    """Kinds of sanctuary; part of the `sig` subject."""

    COMMONS = "commons"
    CIRCLE = "circle"
    STAGE = "stage"


class Setting(StrEnum):
    """Where a room stands in life. `derived` samples are refused in WORK and EDUCATION."""

    OPEN = "open"
    THERAPY = "therapy"
    RESEARCH = "research"
    WORK = "work"
    EDUCATION = "education"


class Inception(msgspec.Struct, frozen=True, array_like=True, tag="inception/1"):
    """A person's beginning, signed by `identity_key`. Its `did:key` names that first key."""

    identity_key: Bytes32
    next_key_hash: Bytes32
    """SHA-256 of the next identity key (pre-rotation)."""
    devices: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=16)]
    created_ms: U53


class JoinRequest(msgspec.Struct, frozen=True, array_like=True, tag="join/1"):
    """Signed by `device`, for one session of one gateway only."""

    sanctuary: Bytes16
    session: Bytes16
    gateway: Word
    citizen: Bytes16
    device: Bytes32
    t_ms: U53


class FollowRequest(msgspec.Struct, frozen=True, array_like=True, tag="follow/1"):
    """Whom one session follows in one sanctuary: all of them, whoever they are. Signed by `device`,
    for this session only; a higher `number` replaces the list whole, so an empty one ends it.
    """

    sanctuary: Bytes16
    session: Bytes16
    gateway: Word
    citizen: Bytes16
    """Who follows."""
    device: Bytes32
    t_ms: U53
    number: U32
    followed: Annotated[tuple[Bytes16, ...], msgspec.Meta(max_length=FOLLOWED_MAX)]


class Opening(msgspec.Struct, frozen=True, array_like=True, tag="opening/1"):
    """Opens a strand, signed by `device`. The strand's id is the SHA-256 of this payload."""

    sanctuary: Bytes16
    citizen: Bytes16
    policy_hash: Bytes32
    strand_key: Bytes32
    device: Bytes32
    consent_epoch: U53
    challenge: Bytes16
    t_ms: U53
    name: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    """What viewers at `full` may call the citizen; nobody else receives the opening."""


SEAL_CLOSING = 1
"""Bit 0 of a seal's flags: the strand's last seal; it carries `total`."""


class Seal(msgspec.Struct, frozen=True, array_like=True, tag="seal/1"):
    """The strand key's signature over one window.

    `hashes` are the first 16 bytes of the SHA-256 of each body, numbers `first_seq` onwards without
    holes; `previous` is the SHA-256 of the previous seal's payload, 32 zero bytes for window 0.
    A closing seal may have no hashes and carries `total`, the count of numbers in the strand.
    """

    strand: Bytes32
    window: U32
    first_seq: U32
    t_end_ms: U53
    flags: Annotated[int, msgspec.Meta(ge=0, le=1)]
    hashes: Annotated[tuple[Bytes16, ...], msgspec.Meta(max_length=WINDOW_SAMPLES_MAX)]
    previous: Bytes32
    total: U32 | None = None


class Grant(msgspec.Struct, frozen=True, array_like=True, tag="grant/1"):
    """What a citizen allows: `audience` of one sanctuary, or of any (nil), sees up to `tier`.

    One scope is (purpose, audience, sanctuary); a later record replaces the scope whole. `until_ms`
    nil means until withdrawn.
    """

    citizen: Bytes16
    counter: U53
    previous: Bytes32
    t_ms: U53
    sanctuary: Bytes16 | None
    audience: Audience
    tier: Tier
    purpose: Purpose
    until_ms: U53 | None


class ConsentException(msgspec.Struct, frozen=True, array_like=True, tag="exception/1"):
    """The most that one `person` may see of the citizen; lowers, never raises. FULL lifts it."""

    citizen: Bytes16
    counter: U53
    previous: Bytes32
    t_ms: U53
    sanctuary: Bytes16 | None
    person: Bytes16
    tier: Tier
    until_ms: U53 | None


class Approval(msgspec.Struct, frozen=True, array_like=True, tag="approval/1"):
    """Whether one `person` may follow the citizen, in every sanctuary; `until_ms` nil: until revoked.

    It shows nothing by itself: a grant to FOLLOWERS says where and how closely followers see.
    """

    citizen: Bytes16
    counter: U53
    previous: Bytes32
    t_ms: U53
    person: Bytes16
    is_approved: bool
    until_ms: U53 | None


class Withdrawal(msgspec.Struct, frozen=True, array_like=True, tag="withdrawal/1"):
    """Ends grants: every scope that matches; nil matches all. Exceptions and approvals stay."""

    citizen: Bytes16
    counter: U53
    previous: Bytes32
    t_ms: U53
    sanctuary: Bytes16 | None
    audience: Audience | None
    purpose: Purpose | None


ConsentRecord = Grant | ConsentException | Withdrawal | Approval
"""One chain per citizen: `counter` 1, 2, …; `previous` is the SHA-256 of the previous record's payload
(32 zero bytes before the first). Order is by counter, never by arrival."""


class Policy(msgspec.Struct, frozen=True, array_like=True, tag="policy/1"):
    """A sanctuary's rules; its SHA-256 (`policy hash`) stands in every opening."""

    sanctuary: Bytes16
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    kind: Kind
    setting: Setting
    tier_max: Tier
    capacity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    """Citizens, not sessions."""
    close_limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    close_back: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 45
    public: bool = False
    """Whether `public:<s>` exists: stages only."""
    voices: tuple[Bytes16, ...] | None = None
    """Citizens who may open strands; nil: every member."""
    purpose: Annotated[str, msgspec.Meta(max_length=280)] = ""


class Institution(msgspec.Struct, frozen=True, array_like=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    key: Bytes32


class Charter(msgspec.Struct, frozen=True, array_like=True, tag="charter/1"):
    """The city's constitution; the genesis charter's SHA-256 is the city id.

    Signed by the first institution with 32 zero bytes in place of the city id.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    created_ms: U53
    tier_max: Tier
    quorum: Annotated[int, msgspec.Meta(ge=1, le=100)]
    institutions: Annotated[tuple[Institution, ...], msgspec.Meta(min_length=1, max_length=100)]
    press: tuple[Bytes32, ...] = ()

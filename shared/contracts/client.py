"""What travels on a client's socket (`/v1/live`), both ways.

A frame is one MessagePack array of messages; a message is an array whose first element names it.
The JSON subprotocol carries the same messages as objects (`type` and the field names below, bytes as
base64url without padding), and beside a sample's `body` its decoded fields as `sample`.
`ref` is a number of the client's choice, repeated in the answer.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.contracts.records import Signed
from shared.contracts.sample import WINDOW_SAMPLES_MAX
from shared.identifiers import U32, U53, Bytes8, Bytes16, Bytes32

SUBPROTOCOL = "synchronia.v1"
SUBPROTOCOL_JSON = "synchronia.v1.json"
FRAME_BYTES_MAX = 65536
FRAME_MESSAGES_MAX = 64
TOKEN_BYTES_MAX = 2048

CARRIED_BYTES_MAX = 4096
Body = Annotated[bytes, msgspec.Meta(min_length=1, max_length=CARRIED_BYTES_MAX)]
"""A body on its way to ingest, which refuses what is longer than `BODY_BYTES_MAX` by its number."""


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


# ── from the client ──────────────────────────────────────────────────────────────────────────────


class Token(_Message, frozen=True, tag="token"):
    """First frame within 5 s of `hello`, and again after each `nonce`.

    EdDSA JWT by the device key: `sub` the device's did:key, `cit` the citizen id as 32 hex digits
    (absent before enrolment), `aud` [origin, city id in hex], `nonce` in hex, `exp` ≤ now + 5 min.
    """

    jwt: Annotated[str, msgspec.Meta(max_length=TOKEN_BYTES_MAX)]


class Enrol(_Message, frozen=True, tag="enrol"):
    """Give this identity a citizen id; the same inception again gives the same id."""

    ref: U32
    record: Signed


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a returning viewer still holds of one strand."""

    strand: Bytes32
    last_seq: U32


class Join(_Message, frozen=True, tag="join"):
    """Take a seat. Answered by `joined`, then `challenge` and a snapshot."""

    ref: U32
    sanctuary: Bytes16
    record: Signed
    held: Annotated[tuple[Held, ...], msgspec.Meta(max_length=256)] = ()
    """Lets the gateway say `recovered` honestly in the snapshot."""


class Leave(_Message, frozen=True, tag="leave"):
    """Give the seat back."""

    ref: U32
    sanctuary: Bytes16


class Follow(_Message, frozen=True, tag="follow"):
    """Whom this session follows in a sanctuary where it has a seat, all of them. Answered by `following`,
    whoever they are; they are seen if they approved and as they granted, now or later.
    """

    ref: U32
    sanctuary: Bytes16
    record: Signed


class Open(_Message, frozen=True, tag="open"):
    """Open a strand; again after a reconnect, which answers with the next number."""

    ref: U32
    sanctuary: Bytes16
    record: Signed


class Samples(_Message, frozen=True, tag="samples"):
    """Sample bodies of one strand, in order. `epoch` is the counter of the citizen's last consent
    record: a fanout that does not know that record yet delivers nothing.
    """

    sanctuary: Bytes16
    strand: Bytes32
    epoch: U53
    bodies: Annotated[tuple[Body, ...], msgspec.Meta(min_length=1, max_length=WINDOW_SAMPLES_MAX)]


class SealWindow(_Message, frozen=True, tag="seal"):
    """The strand key's signature over one window of samples."""

    sanctuary: Bytes16
    strand: Bytes32
    record: Signed


class Release(_Message, frozen=True, tag="release"):
    """The private key (32-byte seed) of an ended strand, published for deniability."""

    sanctuary: Bytes16
    strand: Bytes32
    seed: Bytes32


class Record(_Message, frozen=True, tag="record"):
    """A signed consent record. Answered by `acted` if it narrows, then `recorded`."""

    ref: U32
    record: Signed


class AskChain(_Message, frozen=True, tag="chain?"):
    """Ask for the head and the records of one's own consent chain: the newest ones, or those before
    the counter `before`. A long chain is read page by page, from its end to its beginning.
    """

    ref: U32
    citizen: Bytes16
    before: U53 | None = None


class Time(_Message, frozen=True, tag="time?"):
    """Ask for the server's time, to know clock and delay."""

    client_ms: U53


ClientMessage = (
    Token
    | Enrol
    | Join
    | Leave
    | Follow
    | Open
    | Samples
    | SealWindow
    | Release
    | Record
    | AskChain
    | Time
)

# ── to the client ────────────────────────────────────────────────────────────────────────────────


class Limits(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session's bounds, as `hello` states them."""

    frame_bytes: int
    frame_messages: int
    samples_per_s: int
    samples_burst: int
    skew_ms: int
    handshake_s: int


class Hello(_Message, frozen=True, tag="hello"):
    """`session` names the session and is its first nonce; `gateway` goes into joins."""

    version: int
    session: Bytes16
    now_ms: int
    origin: str
    city: Bytes32
    gateway: str
    limits: Limits


class Welcome(_Message, frozen=True, tag="welcome"):
    """The token was taken. `expires_ms` is when it must have been renewed."""

    session: Bytes16
    citizen: Bytes16 | None
    expires_ms: int


class Nonce(_Message, frozen=True, tag="nonce"):
    """Renew the token, with this nonce, within `within_s`."""

    nonce: Bytes16
    within_s: int


class Enrolled(_Message, frozen=True, tag="enrolled"):
    """The citizen's id in this city."""

    ref: U32
    citizen: Bytes16


class Joined(_Message, frozen=True, tag="joined"):
    """A seat. `policy` are the policy's bytes (`shared.contracts.records.Policy`). A `challenge`
    follows from ingest, once it too knows of the seat.
    """

    ref: U32
    sanctuary: Bytes16
    policy: bytes
    policy_hash: Bytes32


class Left(_Message, frozen=True, tag="left"):
    """The seat is given back."""

    ref: U32
    sanctuary: Bytes16


class Following(_Message, frozen=True, tag="following"):
    """The list was taken; `count` of people are on it. It ends with the seat."""

    ref: U32
    sanctuary: Bytes16
    count: U32


class Challenge(_Message, frozen=True, tag="challenge"):
    """What an opening must carry. `reopen` true: strands of this sanctuary were interrupted by a
    restart; open new ones with this challenge.
    """

    sanctuary: Bytes16
    challenge: Bytes16
    reopen: bool
    now_ms: int


class Opened(_Message, frozen=True, tag="opened"):
    """The strand is open. `next_seq` and `next_window` are where it goes on."""

    ref: U32
    strand: Bytes32
    next_seq: U32
    next_window: U32


class Sealed(_Message, frozen=True, tag="sealed"):
    """The window's seal was taken; `admitted` are the numbers that were delivered."""

    strand: Bytes32
    window: U32
    admitted: tuple[int, ...]


class SealWanted(_Message, frozen=True, tag="seal?"):
    """The seal of this window is overdue; send it (again)."""

    strand: Bytes32
    window: U32


class RefusedSamples(_Message, frozen=True, tag="refused samples"):
    """Numbers `first`…`last` were not taken."""

    strand: Bytes32
    first: U32
    last: U32
    reason: str
    now_ms: int


class Refused(_Message, frozen=True, tag="refused"):
    """`ref` nil when the message could not be read. `reason` is a name of the catalogue."""

    ref: U32 | None
    reason: str
    meaning: str
    now_ms: int


class Acted(_Message, frozen=True, tag="acted"):
    """Every gateway passed every marker: no byte of the citizen goes out any more."""

    citizen: Bytes16
    counter: U53


class Recorded(_Message, frozen=True, tag="recorded"):
    """The record is durable; `head` is its payload's SHA-256, the chain's new head."""

    ref: U32
    citizen: Bytes16
    counter: U53
    head: Bytes32


class Chain(_Message, frozen=True, tag="chain"):
    """A citizen's consent chain: its last counter, its head, and in order as many records as fit
    (at least one, at most some 48 kB), which end at the head or before what was asked for.
    """

    ref: U32
    citizen: Bytes16
    counter: U53
    head: Bytes32
    records: tuple[Signed, ...]


class TimeIs(_Message, frozen=True, tag="time"):
    """The server's time, beside the client's own of `time?`."""

    client_ms: U53
    now_ms: int


class Move(_Message, frozen=True, tag="move"):
    """The gateway drains: reconnect (elsewhere) within `within_s`, at a random moment of it."""

    within_s: int


# ── to a viewer ──────────────────────────────────────────────────────────────────────────────────


class Snapshot(_Message, frozen=True, tag="snapshot"):
    """The `count` messages behind this one are what a member since the beginning holds of this
    sanctuary; forget the rest. `recovered`: in every strand the last number equals what the client
    said it held.
    """

    sanctuary: Bytes16
    count: int
    recovered: bool


class StrandShown(_Message, frozen=True, tag="strand"):
    """A strand seen at `full`, before its first sample or within a snapshot.

    `next_seq` is the next number to expect; `body` the newest one; `seal` the newest good seal;
    `unsealed_from`: numbers from here were delivered but never sealed.
    """

    sanctuary: Bytes16
    strand: Bytes32
    citizen: Bytes16
    opening: Signed
    next_seq: U32
    body: bytes | None
    seal: Signed | None
    unsealed_from: U32 | None = None


class SampleShown(_Message, frozen=True, tag="sample"):
    """A sample of somebody seen at `full`: the citizen's own bytes."""

    strand: Bytes32
    body: bytes


class SealShown(_Message, frozen=True, tag="sealed window"):
    """A window's seal, for those who see the strand at `full`."""

    strand: Bytes32
    record: Signed


class Skipped(_Message, frozen=True, tag="skipped"):
    """Numbers `first`…`last` will not come: refused, lost or conflated (`reason`)."""

    strand: Bytes32
    first: U32
    last: U32
    reason: str


class StrandEnded(_Message, frozen=True, tag="ended"):
    """`closed` (total known), `interrupted`, `unsealed` (from `unsealed_from` on) or `left`."""

    strand: Bytes32
    reason: str
    total: U32 | None
    unsealed_from: U32 | None


class Released(_Message, frozen=True, tag="released"):
    """The ended strand's private key: from now on its seals prove nothing to a third party."""

    strand: Bytes32
    seed: Bytes32


class Coarse(_Message, frozen=True, tag="coarse"):
    """One citizen at `coarse` on the room's tick: `cell` = 5 × row(arousal) + column(valence) of a
    5 × 5 grid from (−1, −1); nil: absent. `tick` is the Unix second. Fixed size.
    """

    sanctuary: Bytes16
    tick: Annotated[int, msgspec.Meta(ge=2**16, le=2**32 - 1)]
    pseudonym: Bytes8
    cell: Annotated[int, msgspec.Meta(ge=0, le=24)] | None


class Struck(_Message, frozen=True, tag="struck"):
    """Blank this citizen (at `full`) or this pseudonym (at `coarse`) now; nothing follows it."""

    sanctuary: Bytes16
    citizen: Bytes16 | None
    pseudonym: Bytes8 | None


class Gap(_Message, frozen=True, tag="gap"):
    """Something of this sanctuary was missed here; a snapshot follows."""

    sanctuary: Bytes16


class Closeness(_Message, frozen=True, tag="closeness"):
    """Whether everybody sees everybody as granted (`close`), or the room has outgrown that."""

    sanctuary: Bytes16
    close: bool


class Rung(_Message, frozen=True, tag="rung"):
    """How much this session is written, as it keeps up: `every` message, the `newest` sample of each
    citizen (the numbers left out are `skipped`, `conflated`), or, of what others feel, only the `field`.
    """

    rung: str


class PolicyChanged(_Message, frozen=True, tag="policy"):
    """The room's rules changed; its strands were interrupted."""

    sanctuary: Bytes16
    policy: bytes
    policy_hash: Bytes32


ServerMessage = (
    Hello
    | Welcome
    | Nonce
    | Enrolled
    | Joined
    | Left
    | Following
    | Challenge
    | Opened
    | Sealed
    | SealWanted
    | RefusedSamples
    | Refused
    | Acted
    | Recorded
    | Chain
    | TimeIs
    | Move
    | Snapshot
    | StrandShown
    | SampleShown
    | SealShown
    | Skipped
    | StrandEnded
    | Released
    | Coarse
    | Struck
    | Gap
    | Closeness
    | PolicyChanged
    | Rung
)

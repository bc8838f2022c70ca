"""A whole sealed window at once, for devices without sockets: over HTTP, and on to ingest."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.contracts.client import Body, Refused
from shared.contracts.records import Signed
from shared.contracts.sample import WINDOW_SAMPLES_MAX
from shared.identifiers import U32, U53, Bytes16, Bytes32, Word

POST_BYTES_MAX = 65536
"""A posted body: 32 samples with their longest notes take some 25 kB."""
SEAT_S = 60
"""How long a session that was told by GET may be posted with; so long its citizen is a member."""

Bodies = Annotated[tuple[Body, ...], msgspec.Meta(max_length=WINDOW_SAMPLES_MAX)]


class ToSpeak(msgspec.Struct, frozen=True, array_like=True, tag="to speak/1"):
    """What `GET /v1/signatures/<sanctuary>` tells (as JSON): all that a device must know to sign."""

    version: int
    session: Bytes16
    """Stands in the join, as if it were a socket's. Any number of windows may be posted with it."""
    within_s: int
    """… for so long."""
    now_ms: int
    city: Bytes32
    gateway: str
    sanctuary: Bytes16
    challenge: Bytes16
    """Stands in the opening."""
    policy: bytes | None
    """Nil if the room is not one for anybody to enter, or there is none."""
    policy_hash: Bytes32 | None


class PostedWindow(msgspec.Struct, frozen=True, array_like=True, tag="signatures/1"):
    """The body of `POST /v1/signatures`: the records say the rest.

    `bodies` are the window's, all of them, in order; `seal` their seal (with flag 1 the strand's last);
    `opening` the strand's; `join` a seat to speak from; `epoch` as in `samples`.
    """

    join: Signed
    epoch: U53
    opening: Signed
    bodies: Bodies
    seal: Signed


class TakeWindow(msgspec.Struct, frozen=True, array_like=True, tag="window", gc=False):
    """gateway → ingest, in an `UpEntry`: take the window whole, or refuse it whole by `ref`.

    Idempotency key: SHA-256 of the seal's payload.
    """

    ref: U32
    sanctuary: Bytes16
    epoch: U53
    opening: Signed
    bodies: Bodies
    seal: Signed


class RefusedRun(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Numbers of a window that were not admitted, and why."""

    first: U32
    last: U32
    reason: str


class WindowTaken(msgspec.Struct, frozen=True, array_like=True, tag="window taken", gc=False):
    """ingest → gateway, in an `Answer`: the window is sealed; the same again for the same window."""

    ref: U32
    strand: Bytes32
    window: U32
    admitted: tuple[U32, ...]
    refused: tuple[RefusedRun, ...]


class ChallengeAsk(msgspec.Struct, frozen=True, array_like=True, tag="challenge ask/1"):
    """gateway → `ask.ingest.<slot>`, answered with `ChallengeTold` on the asker's inbox."""

    gateway: Word
    sanctuary: Bytes16


class ChallengeTold(msgspec.Struct, frozen=True, array_like=True, tag="challenge told/1"):
    """What an opening of this sanctuary must hold; `policy` nil unless anybody may enter it."""

    sanctuary: Bytes16
    challenge: Bytes16
    policy: bytes | None


class PostAsk(msgspec.Struct, frozen=True, array_like=True, tag="post ask/1"):
    """gateway → the gateway whose session it is, `ask.gateway.<gateway>`: a body that was posted here.
    Answered once, within 3 s, as if it had been posted there.
    """

    gateway: Word
    """The asker's."""
    ref: U32
    body: Annotated[bytes, msgspec.Meta(max_length=POST_BYTES_MAX)]


class PostAnswered(msgspec.Struct, frozen=True, array_like=True, tag="post answered/1"):
    """The answer to a `PostAsk`, on the asker's inbox."""

    answer: WindowTaken | Refused

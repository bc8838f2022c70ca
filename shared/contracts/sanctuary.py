"""What sanctuary publishes: membership as numbered transitions, snapshots, answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.contracts.records import Kind, Setting, Signed
from shared.identifiers import U32, Bytes16, Bytes32, Word


class RoomOpened(msgspec.Struct, frozen=True, array_like=True, tag="room/1"):
    """A room stands, or its policy changed (strands under another hash are interrupted)."""

    sanctuary: Bytes16
    policy: bytes


class RoomClosed(msgspec.Struct, frozen=True, array_like=True, tag="room closed/1"):
    sanctuary: Bytes16


class MemberJoined(msgspec.Struct, frozen=True, array_like=True, tag="joined/1", gc=False):
    sanctuary: Bytes16
    citizen: Bytes16
    session: Bytes16
    device: Bytes32
    gateway: Word
    incarnation: int
    seating: Annotated[bytes, msgspec.Meta(max_length=8)] = b""
    """The first 8 bytes of the signature of the join that seated it: who left and joined again has
    another, so that a reader which missed both sees that this is a new entrance."""


class MemberLeft(msgspec.Struct, frozen=True, array_like=True, tag="left/1", gc=False):
    sanctuary: Bytes16
    citizen: Bytes16
    session: Bytes16


class MemberFollows(msgspec.Struct, frozen=True, array_like=True, tag="follows/1", gc=False):
    """Whom a member's session follows from now on: all of them. Forgotten when the session leaves."""

    sanctuary: Bytes16
    session: Bytes16
    followed: tuple[Bytes16, ...]


MemberEvent = RoomOpened | RoomClosed | MemberJoined | MemberLeft | MemberFollows


class MemberBatch(msgspec.Struct, frozen=True, array_like=True, tag="members/1"):
    """`member.<slot>` → ingest, fanout. `number` counts per (slot, epoch) from 0; empty ones every
    500 ms. `complete` false while a restarted sanctuary still collects kept joins (≤ 1 s): replicas
    keep the old epoch's state until the first complete batch, then swap.
    """

    slot: int
    epoch: int
    number: int
    complete: bool
    events: tuple[MemberEvent, ...]


class MembersAsk(msgspec.Struct, frozen=True, array_like=True, tag="members ask/1"):
    """ingest, fanout → `ask.sanctuary.<slot>`; answered with `Members` on the asker's inbox."""

    slot: int


class Members(msgspec.Struct, frozen=True, array_like=True, tag="members state/1"):
    """The slot's rooms and members as of batch `number` (−1: none published yet)."""

    slot: int
    epoch: int
    number: int
    complete: bool
    rooms: tuple[RoomOpened, ...]
    members: tuple[MemberJoined, ...]
    follows: tuple[MemberFollows, ...] = ()
    part: int = 0
    """Which of `parts` this is. A long state comes in several answers to the one ask, all of them as of
    one moment (`shared.parts`)."""
    parts: int = 1

    @property
    def is_last(self) -> bool:
        return self.part + 1 >= self.parts


class JoinsWanted(msgspec.Struct, frozen=True, array_like=True, tag="joins wanted/1"):
    """`control.<sanctuary>`, from a sanctuary that started: gateways present kept joins of its
    slots again. Repeated every 250 ms until complete.
    """

    sender: Word
    number: int
    slots: tuple[int, ...]


class SanctuaryBeat(msgspec.Struct, frozen=True, array_like=True, tag="sanctuary beat/1"):
    sender: Word
    number: int


ROOMS_LISTED_MAX = 512
"""Of one sanctuary instance, in the order of the seeds: 200 kB at most, far below the bus's 1 MB."""


class ListedRoom(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A room that anybody may know of; who is there, or how many, is none of it."""

    sanctuary: Bytes16
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    kind: Kind
    setting: Setting
    public: bool
    """Whether it can be watched without an account."""
    purpose: Annotated[str, msgspec.Meta(max_length=280)] = ""


class RoomsListed(msgspec.Struct, frozen=True, array_like=True, tag="rooms listed/1"):
    """`control.<sanctuary>`, for gateways, which tell it by `GET /v1/sanctuaries`: the instance's rooms
    but circles and those by invitation. Once the rooms stand, to every new gateway, and every 5 s.
    """

    sender: Word
    number: int
    rooms: Annotated[tuple[ListedRoom, ...], msgspec.Meta(max_length=ROOMS_LISTED_MAX)]


SanctuaryControl = JoinsWanted | SanctuaryBeat | RoomsListed


class SeatAnswered(msgspec.Struct, frozen=True, array_like=True, tag="seat/1"):
    """`back.<gateway>`: a join or leave was answered. `seated`: keep the join and present it again
    when asked; not `seated`: forget it. `message` is the client's answer (empty when silent).
    """

    session: Bytes16
    sanctuary: Bytes16
    seated: bool
    record: Signed | None
    message: bytes
    ref: U32 | None = None


class FollowAnswered(msgspec.Struct, frozen=True, array_like=True, tag="follow answered/1"):
    """`back.<gateway>`: a follow was taken (`record`: keep it, to present it again with its join) or
    refused (nil). `message` is the client's answer.
    """

    session: Bytes16
    sanctuary: Bytes16
    ref: U32
    record: Signed | None
    message: bytes

"""What ingest publishes: admitted batches on `sig.<kind>.<slot>`, answers, openings for fanout."""

from __future__ import annotations

import msgspec

from shared.contracts.records import Signed
from shared.identifiers import U32, U53, Bytes16, Bytes32


class StrandRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A batch's strand table row. `epoch` is the highest consent epoch stated so far."""

    strand: Bytes32
    citizen: Bytes16
    sanctuary: Bytes16
    epoch: U53


class Admitted(msgspec.Struct, frozen=True, array_like=True, tag="a", gc=False):
    row: int
    seq: U32
    body: bytes


class WindowSealed(msgspec.Struct, frozen=True, array_like=True, tag="s", gc=False):
    row: int
    window: U32
    record: Signed


class NumbersSkipped(msgspec.Struct, frozen=True, array_like=True, tag="k", gc=False):
    """Numbers refused, or lost on the uplink."""

    row: int
    first: U32
    last: U32
    reason: str


class StrandOpened(msgspec.Struct, frozen=True, array_like=True, tag="o", gc=False):
    row: int
    opening: Signed


class StrandClosed(msgspec.Struct, frozen=True, array_like=True, tag="e", gc=False):
    """`closed`, `interrupted`, `unsealed` or `left`; `total` only when closed by its citizen."""

    row: int
    reason: str
    total: U32 | None
    unsealed_from: U32 | None


class KeyReleased(msgspec.Struct, frozen=True, array_like=True, tag="r", gc=False):
    row: int
    seed: Bytes32


SigEntry = Admitted | WindowSealed | NumbersSkipped | StrandOpened | StrandClosed | KeyReleased


class SigBatch(msgspec.Struct, frozen=True, array_like=True, tag="sig/1"):
    """`sig.<kind>.<slot>`, ingest → fanout (and the watchdog). `number` counts per (slot, kind,
    epoch) from 0; a batch without entries every 500 ms lets a lost tail show.
    """

    slot: int
    epoch: int
    number: int
    strands: tuple[StrandRow, ...]
    entries: tuple[SigEntry, ...]


class OpenStrand(msgspec.Struct, frozen=True, array_like=True):
    """What a fanout must hold of an open strand."""

    strand: Bytes32
    citizen: Bytes16
    sanctuary: Bytes16
    epoch: U53
    opening: Signed
    next_seq: U32
    body: bytes | None
    seal: Signed | None


class OpeningsAsk(msgspec.Struct, frozen=True, array_like=True, tag="openings ask/1"):
    """fanout → `ask.ingest.<slot>`, answered with `Openings` on the asker's inbox.

    `epoch` is the highest of this slot that the asker has seen (−1: none): an owner with a lower one
    has been superseded, and ends itself.
    """

    slot: int
    epoch: int = -1


class Openings(msgspec.Struct, frozen=True, array_like=True, tag="openings/1"):
    """Open strands of the slot as of batch `numbers[kind]` (the last published one, −1: none yet)."""

    slot: int
    epoch: int
    numbers: dict[str, int]
    strands: tuple[OpenStrand, ...]
    part: int = 0
    """Which of `parts` this is. A long state comes in several answers to the one ask, all of them as of
    one moment (`shared.parts`)."""
    parts: int = 1

    @property
    def is_last(self) -> bool:
        return self.part + 1 >= self.parts


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer/1", gc=False):
    """`back.<gateway>`: a message (`shared.contracts.client`, encoded) for one session."""

    session: Bytes16
    message: msgspec.Raw


class Answers(msgspec.Struct, frozen=True, array_like=True, tag="answers/1"):
    """`back.<gateway>`, from ingest, sanctuary, registry: answers in order."""

    sender: str
    entries: tuple[Answer, ...]

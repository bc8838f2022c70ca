"""What ingest sends: a lane of numbered batches for each (slot, kind), and the answers. Pure."""

from __future__ import annotations

import msgspec

from services.ingest.core.strands import Strand
from shared import subjects
from shared.codec import encode
from shared.contracts.client import ServerMessage
from shared.contracts.ingest import (
    Admitted,
    Answer,
    Answers,
    NumbersSkipped,
    SigBatch,
    SigEntry,
    StrandRow,
)
from shared.contracts.records import Kind
from shared.contracts.refusals import Refusal
from shared.contracts.window import WindowTaken
from shared.subjects import Publish

BATCH_BYTES_MAX = 256 * 1024
"""A batch that has grown to this is closed; NATS takes 1 MiB, and a reader should not wait."""
_ROW_BYTES, _ENTRY_BYTES = 80, 16
"""What a strand table's row and an entry cost beside their bodies, roughly."""


class Lane:
    """The batches of one (slot, kind), numbered from 0 in this epoch.

    Skipped numbers that follow each other for one reason become one entry: they wait in the strand
    until something else of it, or the end of the batch, is written.
    """

    __slots__ = (
        "_bytes",
        "_closed",
        "_entries",
        "_rowed",
        "_rows",
        "_skipping",
        "epoch",
        "kind",
        "number",
        "slot",
        "spoken_ns",
    )

    def __init__(self, slot: int, kind: Kind, epoch: int) -> None:
        self.slot = slot
        self.kind = kind
        self.epoch = epoch
        self.number = -1
        """Of the last batch returned by `flush`."""
        self.spoken_ns = 0
        """When something was last in a batch."""
        self._rows: list[StrandRow] = []
        self._rowed: list[Strand] = []
        self._entries: list[SigEntry] = []
        self._skipping: list[Strand] = []
        self._bytes = 0
        self._closed: list[SigBatch] = []

    def row(self, strand: Strand) -> int:
        """The strand's row in the open batch; what was skipped before is written first."""
        if strand.skip_first >= 0:
            self._write_skip(strand)
        return self._row(strand)

    def add(self, entry: SigEntry, size_bytes: int = 0) -> None:
        self._entries.append(entry)
        self._bytes += _ENTRY_BYTES + size_bytes
        if self._bytes > BATCH_BYTES_MAX:
            self._close()

    def admit(self, strand: Strand, seq: int, body: bytes) -> None:
        row = strand.row
        if row < 0 or strand.skip_first >= 0:
            row = self.row(strand)
        self._entries.append(Admitted(row, seq, body))
        self._bytes += _ENTRY_BYTES + len(body)
        if self._bytes > BATCH_BYTES_MAX:
            self._close()

    def skip(self, strand: Strand, first: int, last: int, reason: Refusal) -> None:
        """These numbers will not come."""
        if strand.skip_first >= 0:
            if strand.skip_reason is reason:
                assert strand.skip_last + 1 == first  # anything between would have been written
                strand.skip_last = last
                return
            self._write_skip(strand)
        else:
            self._skipping.append(strand)
        strand.skip_first, strand.skip_last, strand.skip_reason = first, last, reason

    def row_of_ended(self, row: StrandRow) -> int:
        """A row for a strand that is no longer open."""
        self._rows.append(row)
        self._bytes += _ROW_BYTES
        return len(self._rows) - 1

    def flush(self, now_ns: int, *, even_empty: bool = False) -> list[Publish]:
        """The batches collected; an empty one if there is nothing and `even_empty`."""
        if self._entries or self._skipping:
            self._close()
        if self._closed:
            self.spoken_ns = now_ns
        elif even_empty:
            self._close()
        subject = subjects.sig(self.kind, self.slot)
        batches = [Publish(subject, batch) for batch in self._closed]
        self._closed.clear()
        return batches

    def _row(self, strand: Strand) -> int:
        if strand.row < 0:
            strand.row = len(self._rows)
            self._rows.append(StrandRow(strand.id, strand.citizen, strand.sanctuary, strand.epoch))
            self._rowed.append(strand)
            self._bytes += _ROW_BYTES
        return strand.row

    def _write_skip(self, strand: Strand) -> None:
        first, last = strand.skip_first, strand.skip_last
        strand.skip_first = -1
        entry = NumbersSkipped(self._row(strand), first, last, strand.skip_reason.value)
        self._entries.append(entry)
        self._bytes += _ENTRY_BYTES
        # the strand may be in the list twice from here on; `_close` writes only what is open

    def _close(self) -> None:
        for strand in self._skipping:
            if strand.skip_first >= 0:
                self._write_skip(strand)
        self._skipping.clear()
        for strand in self._rowed:
            strand.row = -1
        self._rowed.clear()
        self.number += 1
        self._closed.append(
            SigBatch(self.slot, self.epoch, self.number, tuple(self._rows), tuple(self._entries))
        )
        self._rows.clear()
        self._entries.clear()
        self._bytes = 0


class Outbox:
    """Answers to sessions, a batch for each gateway."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._entries: dict[str, list[Answer]] = {}
        self._bytes: dict[str, int] = {}
        self._closed: list[Publish] = []

    def say(self, gateway: str, session: bytes, message: ServerMessage | WindowTaken) -> None:
        encoded = encode(message)
        self._entries.setdefault(gateway, []).append(Answer(session, msgspec.Raw(encoded)))
        size = self._bytes.get(gateway, 0) + len(encoded) + _ENTRY_BYTES
        self._bytes[gateway] = size
        if size > BATCH_BYTES_MAX:
            self._close(gateway)

    def flush(self) -> list[Publish]:
        for gateway in list(self._entries):
            self._close(gateway)
        answers = self._closed
        self._closed = []
        return answers

    def _close(self, gateway: str) -> None:
        entries = tuple(self._entries.pop(gateway))
        del self._bytes[gateway]
        self._closed.append(Publish(subjects.back(gateway), Answers(self._sender, entries)))

"""A stand-in for the ingest service, under its own nkey: admitted batches of one sample each.

It says what ingest says of a few strands that are open, and then plays the schedule. What ingest itself
does is measured elsewhere (`load.bench.admission`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from load.bench.egress.citizens import Citizen
from load.bench.egress.schedule import MESSAGE_BYTES, mark
from shared import codec, subjects
from shared.bus import Bus
from shared.contracts.client import SampleShown
from shared.contracts.ingest import (
    Admitted,
    Openings,
    OpeningsAsk,
    SigBatch,
    StrandOpened,
    StrandRow,
)
from shared.contracts.records import Kind, Opening, RecordKind
from shared.contracts.sample import Provenance, Sample
from shared.identifiers import SLOTS, slot_of
from shared.runtime.clock import wall_ms

INSTANCE = f"{subjects.INGEST}-0"


class StandIn:
    """The strands of some seated citizens in one commons."""

    def __init__(self, bus: Bus, sanctuary: bytes, slots: Sequence[int]) -> None:
        self.bus = bus
        self.sanctuary = sanctuary
        self.slots = slots
        """Of which it tells what is open; another may tell of the others."""
        self.asked: set[int] = set()
        """Slots whose openings fanout has."""
        self._slot = slot_of(sanctuary)
        self._subject = subjects.sig(Kind.COMMONS, self._slot)
        self._number = 0
        self._rows: list[StrandRow] = []
        self._next_seq: list[int] = []

    @classmethod
    async def start(
        cls, bus: Bus, sanctuary: bytes, *, slots: Sequence[int] = range(SLOTS)
    ) -> StandIn:
        this = cls(bus, sanctuary, slots)
        for slot in slots:
            ask = subjects.ask(subjects.INGEST, slot)
            await bus.subscribe(ask, OpeningsAsk, this._answer)
        return this

    def is_asked(self) -> bool:
        return len(self.asked) == len(self.slots)

    def _answer(self, _subject: str, ask: Any, reply: str | None) -> None:
        numbers = {Kind.COMMONS.value: self._number - 1} if ask.slot == self._slot else {}
        if reply is not None:
            self.bus.publish(reply, Openings(ask.slot, 1, numbers, ()))
            self.asked.add(ask.slot)

    def open(self, speakers: list[Citizen]) -> None:
        """A strand for each."""
        entries: list[StrandOpened] = []
        for speaker in speakers:
            session = speaker.session
            assert session.hello is not None
            assert session.citizen is not None
            opening = Opening(
                sanctuary=self.sanctuary,
                citizen=session.citizen,
                policy_hash=session.seats[self.sanctuary].policy_hash,
                strand_key=os.urandom(32),
                device=session.keyring.device.public_key,
                consent_epoch=session.chain.epoch,
                challenge=bytes(16),
                t_ms=wall_ms(),
            )
            signed = session.keyring.device.sign_record(
                RecordKind.OPENING, session.hello.city, codec.encode(opening)
            )
            strand = codec.strand_id(signed.payload)
            row = StrandRow(strand, session.citizen, self.sanctuary, session.chain.epoch)
            entries.append(StrandOpened(len(entries), signed))
            self._rows.append(row)
            self._next_seq.append(0)
        self._publish(tuple(self._rows), tuple(entries))

    def say(self, number: int, due_ns: int) -> None:
        """One batch of one sample, of the next speaker in turn."""
        place = number % len(self._rows)
        seq = self._next_seq[place]
        self._next_seq[place] += 1
        body = sample_body(seq, due_ns)
        self._publish((self._rows[place],), (Admitted(0, seq, body),))

    def _publish(self, rows: tuple[StrandRow, ...], entries: tuple[Any, ...]) -> None:
        self.bus.publish(self._subject, SigBatch(self._slot, 1, self._number, rows, entries))
        self._number += 1


def sample_body(seq: int, due_ns: int) -> bytes:
    """Of the length that makes a `SampleShown` MESSAGE_BYTES long; the mark is its note."""
    note = mark(due_ns).decode()
    salt = bytes(8)
    stamp = due_ns // 1_000_000
    while True:
        body = codec.encode(
            Sample(seq, stamp, 120, -340, None, 900, Provenance.SCRIPTED, (), note, salt)
        )
        missing = MESSAGE_BYTES - len(codec.encode(SampleShown(bytes(32), body)))
        if missing <= 0:
            return body
        note += "x" * (missing - 1 or 1)  # a longer note has a longer head, by one byte

"""Whole windows, of devices without sockets: opening, samples and seal at once. Pure.

A window is checked whole before anything of it is admitted: its seal is good, fits the strand, and
fits each body. Then its samples are judged one by one as any others, and the seal is taken. So nothing
of a window is delivered without its seal, and a refused one has changed nothing.

The same window again is answered as it was, as long as its answer is remembered; after that, or in
another life of this process, it is refused. It is never delivered twice.
"""

from __future__ import annotations

from typing import NamedTuple

from services.ingest.core.admission import peek_seq
from services.ingest.core.book import Book, Moment
from services.ingest.core.strands import Strand
from services.ingest.core.voices import Sender, Voices
from shared.codec import Refused, body_hash, seal_of, sha256, strand_id
from shared.contracts.records import Seal
from shared.contracts.refusals import Refusal
from shared.contracts.sample import WINDOW_MS_MAX
from shared.contracts.window import RefusedRun, TakeWindow, WindowTaken

ANSWERS_MAX = 16_384
"""Answers remembered, some 500 bytes each; the oldest goes first."""


class _Answered(NamedTuple):
    device: bytes
    taken: WindowTaken


class Windows:
    """Takes windows; remembers the answers by seal."""

    def __init__(self, book: Book, voices: Voices) -> None:
        self._book = book
        self._voices = voices
        self._answers: dict[bytes, _Answered] = {}

    def take(self, sender: Sender, message: TakeWindow, now: Moment) -> WindowTaken:
        """Raises: Refused; then nothing has changed."""
        seal = seal_of(message.seal.payload)
        payload_hash = sha256(message.seal.payload)
        answered = self._answers.get(payload_hash)
        if answered is not None and answered.device == sender.device:
            return _for(message.ref, answered.taken)
        name = strand_id(message.opening.payload)
        strand = self._voices.strand(sender, message.sanctuary, name)
        is_new = strand is None
        if strand is None:
            strand = self._voices.new(
                sender, message.sanctuary, message.opening, name=name, now=now
            )
        end = self._fitting(strand, seal, message, now)
        if is_new:
            self._voices.open(strand)
        self._voices.heard_from(strand, sender, message.epoch)
        admission = self._voices.admit(strand, message.bodies, early=None, now=now)
        self._voices.seal(strand, seal, message.seal, payload_hash=payload_hash, end=end, now=now)
        admitted = strand.last_admitted
        refused = [row for row in admission.refused if row[0] not in admitted]
        taken = WindowTaken(message.ref, strand.id, seal.window, admitted, runs_of(refused))
        if len(self._answers) >= ANSWERS_MAX:
            del self._answers[next(iter(self._answers))]
        self._answers[payload_hash] = _Answered(sender.device, taken)
        return taken

    def _fitting(self, strand: Strand, seal: Seal, message: TakeWindow, now: Moment) -> int:
        """The number after the window's last, of a window that is whole and good. The signature comes
        last: it costs more than all else. Raises: Refused(BAD_SEAL | SKEW).
        """
        bodies = message.bodies
        if len(bodies) != len(seal.hashes):
            raise Refused(Refusal.BAD_SEAL)
        for place, (body, its_hash) in enumerate(zip(bodies, seal.hashes, strict=True)):
            if body_hash(body) != its_hash or peek_seq(body) != seal.first_seq + place:
                raise Refused(Refusal.BAD_SEAL)
        skew_ms = self._book.settings.skew_ms
        try:
            end = strand.check_seal(seal, skew_ms=skew_ms, now_ms=now.ms)
        except Refused:
            is_second = seal.window < strand.next_window
            if is_second and self._voices.is_signed(strand, seal, message.seal):
                self._book.counts.equivocations += 1
            raise
        if bodies and abs(seal.t_end_ms - now.ms) > skew_ms + WINDOW_MS_MAX:
            raise Refused(Refusal.SKEW)
        if not self._voices.is_signed(strand, seal, message.seal):
            raise Refused(Refusal.BAD_SEAL)
        return end


def runs_of(refused: list[tuple[int, Refusal]]) -> tuple[RefusedRun, ...]:
    """Numbers that follow each other for one reason, as one run."""
    runs: list[RefusedRun] = []
    for seq, reason in refused:
        if runs and runs[-1].last == seq - 1 and runs[-1].reason == reason.value:
            runs[-1] = RefusedRun(runs[-1].first, seq, reason.value)
        else:
            runs.append(RefusedRun(seq, seq, reason.value))
    return tuple(runs)


def _for(ref: int, taken: WindowTaken) -> WindowTaken:
    return WindowTaken(ref, taken.strand, taken.window, taken.admitted, taken.refused)

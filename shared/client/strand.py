"""One strand as its citizen writes it: numbers, canonical bodies, windows, chained seals. Pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

import msgspec

from shared.codec import ZERO_HASH, body_hash, encode, sha256, strand_id
from shared.contracts.records import SEAL_CLOSING, Opening, RecordKind, Seal, Signed
from shared.contracts.sample import (
    LABELS_MAX,
    NOTE_CODE_POINTS_MAX,
    WINDOW_MS_MAX,
    WINDOW_SAMPLES_MAX,
    Provenance,
    Sample,
)
from shared.identifiers import MonotonicNs, WallMs
from shared.identity import Signer

WINDOW_NS = WINDOW_MS_MAX * 1_000_000
SEAL_REPEAT_NS = 1_000_000_000


class Mood(msgspec.Struct, frozen=True):
    """What somebody feels, in thousandths; `seq`, stamp and salt are the strand's to add.

    Raises ValueError where the contract's bounds are missed: a programmer's slip is loud here.
    """

    valence: int
    arousal: int
    dominance: int | None = None
    confidence: int = 1000
    provenance: Provenance = Provenance.DECLARED
    labels: tuple[int, ...] = ()
    note: str | None = None

    def __post_init__(self) -> None:
        axes = (self.valence, self.arousal, self.dominance or 0)
        if any(not -1000 <= axis <= 1000 for axis in axes):
            raise ValueError("valence, arousal and dominance lie in −1…1")
        if not 0 <= self.confidence <= 1000:
            raise ValueError("confidence lies in 0…1")
        if len(self.labels) > LABELS_MAX:
            raise ValueError(f"at most {LABELS_MAX} labels")
        note = "" if self.note is None else unicodedata.normalize("NFC", self.note)
        if len(note) > NOTE_CODE_POINTS_MAX:
            raise ValueError(f"a note has at most {NOTE_CODE_POINTS_MAX} signs")

    def body(self, seq: int, t_ms: WallMs, salt: bytes) -> bytes:
        """The canonical bytes: labels ascending, note in NFC."""
        return encode(
            Sample(
                seq=seq,
                t_ms=t_ms,
                valence=self.valence,
                arousal=self.arousal,
                dominance=self.dominance,
                confidence=self.confidence,
                provenance=self.provenance,
                labels=tuple(sorted(set(self.labels))),
                note=None if self.note is None else unicodedata.normalize("NFC", self.note),
                salt=salt,
            )
        )


@dataclass(slots=True)
class Tally:
    """What became of a strand's numbers, as its sender knows it.

    `unanswered` = sent − admitted − refused: lost under way, or its window's answer was.
    """

    sent: int = 0
    admitted: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def unanswered(self) -> int:
        return self.sent - self.admitted - sum(self.refused.values())


class StrandWriter:
    """Numbers samples and seals windows of ≤ 32 samples or 1 s of the citizen's own clock.

    Seals are kept until `taken`, so that `seal?` can be answered. Order of use for a sample:
    `cut_before`, `write`, `cut_full`; a timer calls `cut_due` at `cut_at_ns`.
    """

    def __init__(self, opening: Opening, signed: Signed, signer: Signer, city: bytes) -> None:
        assert opening.strand_key == signer.public_key
        self.opening = opening
        self.signed = signed
        self.signer = signer
        self.strand = strand_id(signed.payload)
        self.next_seq = 0
        self.window = 0
        self.cut_at_ns: MonotonicNs | None = None
        self.closing_window: int | None = None
        self.tally = Tally()
        self.repeat_at_ns: MonotonicNs | None = None
        """When the newest seal is to be sent again, unless it is answered; nil: not yet set."""
        self.repeats = 0
        self.seals: dict[int, Signed] = {}
        """Cut and not yet taken, by window."""
        self._city = city
        self._hashes: list[bytes] = []
        self._first_ms = 0
        self._last_ms = 0
        self._previous = ZERO_HASH

    @property
    def finished(self) -> bool:
        """Closed by its citizen, and every seal taken."""
        return self.closing_window is not None and not self.seals

    def cut_before(self, t_ms: WallMs) -> tuple[int, Signed] | None:
        """The seal of the current window, if a sample stamped `t_ms` lies beyond it."""
        if self._hashes and t_ms >= self._first_ms + WINDOW_MS_MAX:
            return self._cut(t_ms)
        return None

    def write(self, mood: Mood, t_ms: WallMs, salt: bytes, now_ns: MonotonicNs) -> bytes:
        """The next number's body."""
        assert self.closing_window is None
        body = mood.body(self.next_seq, t_ms, salt)
        if not self._hashes:
            self._first_ms = t_ms
            self.cut_at_ns = MonotonicNs(now_ns + WINDOW_NS)
        self._hashes.append(body_hash(body))
        self._last_ms = max(self._last_ms, t_ms)
        self.next_seq += 1
        self.tally.sent += 1
        return body

    def cut_full(self, now_ms: WallMs) -> tuple[int, Signed] | None:
        return self._cut(now_ms) if len(self._hashes) == WINDOW_SAMPLES_MAX else None

    def cut_due(self, now_ns: MonotonicNs, now_ms: WallMs) -> tuple[int, Signed] | None:
        if self.cut_at_ns is not None and now_ns >= self.cut_at_ns:
            return self._cut(now_ms)
        return None

    def cut_now(self, now_ms: WallMs) -> tuple[int, Signed] | None:
        """The current window's seal before its time (`seal?`), if it holds anything."""
        return self._cut(now_ms) if self._hashes else None

    def close(self, now_ms: WallMs) -> tuple[int, Signed]:
        """The closing seal, with the total; nothing can be written after it."""
        assert self.closing_window is None
        self.closing_window = self.window
        return self._cut(now_ms)

    def taken(self, window: int, admitted: tuple[int, ...]) -> bool:
        """Ingest took this window's seal. False if that was known.

        Seals are a chain: those before it were taken too, and their answers lost.
        """
        if window not in self.seals:
            return False
        for each in [each for each in self.seals if each <= window]:
            del self.seals[each]
        self.tally.admitted += len(admitted)
        self.repeat_at_ns = None
        self.repeats = 0
        return True

    def await_answer(self, now_ns: MonotonicNs) -> None:
        """The newest seal goes out now: `repeat_due` counts from here, not from its first look."""
        self.repeat_at_ns = MonotonicNs(now_ns + SEAL_REPEAT_NS)

    def repeat_due(self, now_ns: MonotonicNs) -> tuple[int, Signed] | None:
        """The newest seal again, `SEAL_REPEAT_NS` after it had no answer. Only the newest: ingest
        answers it if it was taken, and asks for an older one if that is what is missing.
        """
        if not self.seals:
            return None
        if self.repeat_at_ns is None:
            self.repeat_at_ns = MonotonicNs(now_ns + SEAL_REPEAT_NS)
            return None
        if now_ns < self.repeat_at_ns:
            return None
        self.repeat_at_ns = MonotonicNs(now_ns + SEAL_REPEAT_NS)
        self.repeats += 1
        newest = max(self.seals)
        return newest, self.seals[newest]

    def refused(self, first: int, last: int, reason: str) -> None:
        count = max(0, min(last, self.next_seq - 1) - first + 1)
        self.tally.refused[reason] = self.tally.refused.get(reason, 0) + count

    def _cut(self, now_ms: WallMs) -> tuple[int, Signed]:
        is_closing = self.closing_window is not None
        seal = Seal(
            strand=self.strand,
            window=self.window,
            first_seq=self.next_seq - len(self._hashes),
            t_end_ms=max(now_ms, self._last_ms),
            flags=SEAL_CLOSING if is_closing else 0,
            hashes=tuple(self._hashes),
            previous=self._previous,
            total=self.next_seq if is_closing else None,
        )
        payload = encode(seal)
        signed = self.signer.sign_record(RecordKind.SEAL, self._city, payload)
        window = self.window
        self.seals[window] = signed
        self.repeat_at_ns = None
        self._previous = sha256(payload)
        self._hashes = []
        self.cut_at_ns = None
        self.window += 1
        return window, signed

"""One affect sample ("signature"): its only form in bytes, its units and bounds."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

from shared.identifiers import U32, U53, Bytes8

BODY_BYTES_MAX = 700
"""The longest body: a note of 140 four-byte code points and every other field at its longest."""
NOTE_CODE_POINTS_MAX = 140
LABELS_MAX = 4
WINDOW_SAMPLES_MAX = 32
WINDOW_MS_MAX = 1000
"""A window is cut after 32 samples or one second of the citizen's own clock, whichever is first."""

VOCABULARY: tuple[str, ...] = (
    "affectionate",
    "afraid",
    "amused",
    "angry",
    "bored",
    "confident",
    "content",
    "disappointed",
    "excited",
    "happy",
    "interested",
    "loving",
    "pleased",
    "relaxed",
    "sad",
    "satisfied",
    "worried",
)
"""Label index → word: the *everyday* categories of W3C "Vocabularies for EmotionML" (2014),
sorted; appended to, never re-ordered."""


class Provenance(IntEnum):
    DECLARED = 0
    DERIVED = 1
    SCRIPTED = 2


Thousandths = Annotated[int, msgspec.Meta(ge=-1000, le=1000)]
"""−1…1 in thousandths."""
Confidence = Annotated[int, msgspec.Meta(ge=0, le=1000)]
"""0…1 in thousandths."""
Label = Annotated[int, msgspec.Meta(ge=0, lt=len(VOCABULARY))]


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A sample's body: one MessagePack array in shortest form, without floats.

    `[seq, t_ms, valence, arousal, dominance|nil, confidence, provenance, labels, note|nil, salt]`:
    `seq` counts from 0 within its strand; `t_ms` is the citizen's wall clock, Unix milliseconds;
    valence, arousal, dominance (PAD, W3C EmotionML) in thousandths of −1…1; labels are ascending
    indices into `VOCABULARY`, without repeats; the note is NFC, at most 140 code points; the salt
    is 8 random bytes, so that a body's hash cannot be guessed. `shared.codec` decides canonical form.
    """

    seq: U32
    t_ms: U53
    valence: Thousandths
    arousal: Thousandths
    dominance: Thousandths | None
    confidence: Confidence
    provenance: Provenance
    labels: Annotated[tuple[Label, ...], msgspec.Meta(max_length=LABELS_MAX)]
    note: Annotated[str, msgspec.Meta(max_length=NOTE_CODE_POINTS_MAX)] | None
    salt: Bytes8

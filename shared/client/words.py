"""What a person types, and what a person is shown: lines to moods, messages to lines. Pure."""

from __future__ import annotations

import re
import unicodedata

from shared.client.strand import Mood
from shared.contracts.sample import (
    LABELS_MAX,
    NOTE_CODE_POINTS_MAX,
    VOCABULARY,
    Provenance,
    Sample,
)
from shared.identifiers import SanctuaryId, sanctuary_of_slug, slug_of

_HEX_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")

LABEL_PLACES: dict[str, tuple[int, int]] = {
    "affectionate": (700, 200),
    "afraid": (-600, 700),
    "amused": (600, 400),
    "angry": (-600, 800),
    "bored": (-400, -700),
    "confident": (600, 300),
    "content": (800, -400),
    "disappointed": (-600, -300),
    "excited": (700, 800),
    "happy": (900, 300),
    "interested": (400, 300),
    "loving": (900, 200),
    "pleased": (800, 100),
    "relaxed": (700, -700),
    "sad": (-800, -400),
    "satisfied": (800, -300),
    "worried": (-500, 400),
}
"""Where a word lies on the plane (valence, arousal in thousandths) if no numbers are given: rounded
readings of Russell, "A circumplex model of affect" (1980), figure 2. A start, to be said better."""
assert tuple(LABEL_PLACES) == VOCABULARY


class LineRefused(ValueError):  # noqa: N818  (the sentence is for a person)
    """A typed line is no mood; the sentence says what one looks like."""


def sanctuary_of(text: str) -> SanctuaryId:
    """A sanctuary by its name ("Emotive Commons"), its slug, or its id in 32 hex digits."""
    if _HEX_ID.fullmatch(text.strip().lower()):
        return SanctuaryId(bytes.fromhex(text.strip()))
    return sanctuary_of_slug(slug_of(text))


def mood_of(line: str, provenance: Provenance = Provenance.DECLARED) -> Mood:
    """`valence arousal [dominance] words…`, or words of the vocabulary alone.

    Words of the vocabulary become labels (at most four); what else is said becomes the note.
    Raises: LineRefused.
    """
    if not line.isascii() and line.encode("utf-8", "replace").decode() != line:
        raise LineRefused("that is no readable text")
    words = line.split()
    numbers: list[int] = []
    while words and len(numbers) < 3 and _NUMBER.fullmatch(words[0]):
        value = round(float(words.pop(0)) * 1000)
        if not -1000 <= value <= 1000:
            raise LineRefused("numbers lie between -1 and 1")
        numbers.append(value)
    if len(numbers) == 1:
        raise LineRefused("two numbers are wanted: valence and arousal, like: 0.4 -0.2")
    plain = [word.lower().strip(",.;") for word in words]
    labels = [word for word in dict.fromkeys(plain) if word in _SET]
    if not numbers:
        if not labels:
            raise LineRefused(
                "say two numbers between -1 and 1, valence and arousal, or one of: "
                + ", ".join(VOCABULARY)
            )
        places = [LABEL_PLACES[label] for label in labels]
        numbers = [sum(place[axis] for place in places) // len(places) for axis in (0, 1)]
    is_labels_only = all(word in _SET for word in plain)
    note = None if is_labels_only or not words else unicodedata.normalize("NFC", " ".join(words))
    if note is not None and len(note) > NOTE_CODE_POINTS_MAX:
        raise LineRefused(f"at most {NOTE_CODE_POINTS_MAX} signs of words; these are {len(note)}")
    return Mood(
        valence=numbers[0],
        arousal=numbers[1],
        dominance=numbers[2] if len(numbers) == 3 else None,
        provenance=provenance,
        labels=tuple(sorted(VOCABULARY.index(label) for label in labels[:LABELS_MAX])),
        note=note,
    )


_SET = frozenset(VOCABULARY)


def line_of(sample: Sample) -> str:
    """A sample as a person reads it."""
    parts = [f"{sample.valence / 1000:+.2f} {sample.arousal / 1000:+.2f}"]
    if sample.labels:
        parts.append(", ".join(VOCABULARY[label] for label in sample.labels))
    if sample.note:
        parts.append(f"“{printable(sample.note)}”")
    return "  ".join(parts)


def printable(text: str) -> str:
    """Text from others, without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def cell_line(cell: int | None) -> str:
    """A coarse cell as a person reads it: the middle of its square."""
    if cell is None:
        return "absent"
    row, column = divmod(cell, 5)
    return f"about {column * 0.4 - 0.8:+.1f} {row * 0.4 - 0.8:+.1f}"

"""What ingest counts; `metrics.py` shows it. No count is of a person."""

from __future__ import annotations

from collections import Counter


class Counts:
    __slots__ = (
        "admitted",
        "closed",
        "equivocations",
        "foreign",
        "lost",
        "opened",
        "refused_messages",
        "refused_samples",
        "released",
        "repeated_batches",
        "seals",
        "seals_wanted",
    )

    def __init__(self) -> None:
        self.admitted = 0
        """Samples."""
        self.refused_samples: Counter[str] = Counter()
        """By reason."""
        self.refused_messages: Counter[str] = Counter()
        """Openings, seals, releases and unreadable messages, by reason."""
        self.lost = 0
        """Numbers that never arrived."""
        self.opened = 0
        self.closed: Counter[str] = Counter()
        """Strands, by how they ended."""
        self.seals = 0
        self.seals_wanted = 0
        self.equivocations = 0
        """Second, different seals for a window, under a good signature."""
        self.released = 0
        self.repeated_batches = 0
        self.foreign = 0
        """Batches of slots that are not ours."""

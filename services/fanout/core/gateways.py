"""Gateways as fanout knows them: beats, holes in their control messages, tombstones, fences."""

from __future__ import annotations

from collections import deque
from enum import Enum

from shared.identifiers import MonotonicNs

SILENT_NS = 1_000_000_000
"""A gateway that was not heard for this long gets nothing until it has answered."""
GONE_NS = 3_000_000_000
"""After this its sessions are dropped; a beat this young makes a gateway count at the start."""
HOLE_HOLD_NS = 1_000_000_000
"""How long a hole holds everything; then only citizens with sessions there."""
ASK_AGAIN_NS = 250_000_000
_PAST_INCARNATIONS = 8


class Doubt(Enum):
    """Why a gateway's word is not complete."""

    NONE = "none"
    NEW = "new"
    """This incarnation has not yet said what it forwarded."""
    HOLE = "hole"
    """A control message of it is missing."""
    SILENT = "silent"
    """It was not heard for a second."""


class Gateway:
    """One gateway and its present incarnation."""

    __slots__ = (
        "doubt",
        "doubt_ns",
        "heard_ns",
        "incarnation",
        "is_fenced",
        "is_live",
        "name",
        "number",
        "past",
    )

    def __init__(self, name: str, incarnation: int, now_ns: MonotonicNs) -> None:
        self.name = name
        self.past: deque[int] = deque(maxlen=_PAST_INCARNATIONS)
        self.begin(incarnation, now_ns)

    def begin(self, incarnation: int, now_ns: MonotonicNs) -> None:
        """A new incarnation: nothing of the old one counts any more."""
        self.incarnation = incarnation
        self.number: int | None = None
        """Of its last control message; nil: not known."""
        self.heard_ns: int = now_ns
        self.doubt = Doubt.NEW
        self.doubt_ns: int = now_ns
        self.is_live = False
        """Whether it may be written to."""
        self.is_fenced = False

    @property
    def key(self) -> tuple[str, int]:
        return (self.name, self.incarnation)

    def hear(self, number: int, now_ns: MonotonicNs, *, is_beat: bool) -> None:
        """Follow its numbering. A beat repeats the last number, everything else has the next."""
        self.heard_ns = now_ns
        if self.number is None:
            self.number = number
            return
        expected = self.number if is_beat else self.number + 1
        if number > expected and self.doubt is Doubt.NONE:
            self.doubt = Doubt.HOLE
            self.doubt_ns = now_ns
        self.number = max(self.number, number)

    def doubts(self, now_ns: MonotonicNs) -> None:
        """It was silent for too long."""
        self.is_live = False
        self.doubt = Doubt.SILENT
        self.doubt_ns = now_ns

    def holds_all(self, now_ns: MonotonicNs) -> bool:
        return self.doubt is Doubt.HOLE and now_ns - self.doubt_ns < HOLE_HOLD_NS

    def holds_its_citizens(self) -> bool:
        """Whether a withdrawal of somebody with a session here may be lost."""
        return self.doubt is Doubt.HOLE and not self.is_fenced

"""An open strand as fanout holds it: what a viewer at `full` holds of it, and what waits."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.fanout.core.lifts import Said
from shared.contracts.ingest import SigEntry
from shared.contracts.records import Signed

if TYPE_CHECKING:
    from services.fanout.core.presences import Presence


class Strand:
    """An open strand: what a viewer at `full` holds of it, and what waits."""

    __slots__ = (
        "at_ns",
        "blocked",
        "body",
        "epoch",
        "held",
        "id",
        "next_seq",
        "opening",
        "prefix",
        "presence",
        "seal",
        "unsealed",
    )

    def __init__(self, strand: bytes, presence: Presence, opening: Signed, epoch: int) -> None:
        self.id = strand
        self.presence = presence
        self.opening = opening
        self.prefix = b"\x93\xa6sample\xc4\x20" + strand
        """`SampleShown` up to its body, encoded."""
        self.next_seq = 0
        self.body: bytes | None = None
        self.at_ns = 0
        """When the newest sample came."""
        self.seal: Signed | None = None
        self.epoch = epoch
        """The highest consent epoch its samples stated."""
        self.blocked = False
        """Entries wait in `held`: their consent epoch is not known, or their citizen is in doubt."""
        self.held: deque[tuple[int, SigEntry]] = deque()
        """(deadline, entry) in order."""
        self.unsealed: list[tuple[int, bytes, int]] = []
        """(number, body, the feeds it may go to: `FIELD`, `RECORD`), until its seal comes."""

    @property
    def said(self) -> Said:
        return (self.body, self.seal)

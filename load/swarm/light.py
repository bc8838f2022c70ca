"""A speaker's ears: what the city says to it, without what it shows of others.

Members of an audience get the same bytes; so a frame is decoded once for all speakers of a process, and
what only a viewer wants is dropped. Two thousand speakers in one room would else decode it all, each.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.client.core import decode_frame
from shared.contracts.client import (
    Coarse,
    Released,
    SampleShown,
    SealShown,
    ServerMessage,
    Skipped,
    StrandShown,
    Struck,
)
from shared.identifiers import MonotonicNs

FRAMES_KEPT_MAX = 512
_OF_OTHERS = (Coarse, Released, SampleShown, SealShown, Skipped, StrandShown, Struck)


class LightReader:
    """An `Intake` of `shared.client.connection`, shared by all speakers of a process."""

    def __init__(self) -> None:
        self._known: dict[bytes, Sequence[ServerMessage]] = {}

    def __call__(self, frame: bytes, _now_ns: MonotonicNs) -> Sequence[ServerMessage]:
        known = self._known.get(frame)
        if known is None:
            known = [each for each in decode_frame(frame) if not isinstance(each, _OF_OTHERS)]
            if len(self._known) >= FRAMES_KEPT_MAX:
                del self._known[next(iter(self._known))]
            self._known[frame] = known
        return known

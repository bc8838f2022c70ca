"""Lifts: what a person is not shown although it may see the citizen again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from services.fanout.core.coarse import HOLD_NS
from shared.contracts.records import Signed
from shared.identifiers import MonotonicNs

if TYPE_CHECKING:
    from services.fanout.core.strands import Strand

Said = tuple[bytes | None, Signed | None]
"""A strand's newest sample and seal at some moment."""


class Lift:
    """An exception became milder or ended: what was said before is not shown to that person (D19).

    By person, not by session: whoever comes back, or opens a second window, is still the one who was
    not meant.
    """

    __slots__ = ("at_ns", "before")

    def __init__(self, at_ns: MonotonicNs, strands: Iterable[Strand]) -> None:
        self.at_ns = at_ns
        self.before: dict[bytes, Said] = {strand.id: strand.said for strand in strands}

    def hides(self, strand: Strand) -> bool:
        """Whether the strand's newest sample or seal is one from before."""
        body, seal = self.before.get(strand.id, (None, None))
        return (body is not None and body is strand.body) or (
            seal is not None and seal is strand.seal
        )

    def is_over(self, strands: Iterable[Strand], now_ns: MonotonicNs) -> bool:
        """Whether nothing from before could be shown any more, as bytes or as a held cell."""
        return now_ns - self.at_ns >= HOLD_NS and not any(self.hides(each) for each in strands)


def after(said: Said, *befores: dict[bytes, Said], strand: bytes) -> Said:
    """What remains of a strand's sample and seal without those that any of `befores` names."""
    body, seal = said
    for before in befores:
        old_body, old_seal = before.get(strand, (None, None))
        if body is old_body:
            body = None
        if seal is old_seal:
            seal = None
    return body, seal


def replace(befores: Iterable[dict[bytes, Said]], strand: Strand, said: Said) -> None:
    """Newer ones were heard of late: nobody knows when they were said, so they count as from before
    for whom the ones they replace were.
    """
    for before in befores:
        old = before.get(strand.id)
        if old is not None:
            before[strand.id] = (
                said[0] if old[0] is strand.body else old[0],
                said[1] if old[1] is strand.seal else old[1],
            )

"""A state that is too long for one message: divided by its owner, put together by who asked. Pure.

All parts of an answer are made in one go, so they are one state as of one moment, and parts of two
answers as of the same moment are each other's. What gets lost is asked for again, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

PART_BYTES_MAX = 400_000
"""Of a part's rows. NATS takes 1 MiB in one message unless it is told otherwise."""
PARTS_MAX = 64
"""Some 25 MB, above what a slot's owner lets in. The broker takes no more answers to one ask."""

Row = TypeVar("Row")


class Part(Protocol):
    @property
    def part(self) -> int: ...
    @property
    def parts(self) -> int: ...


P = TypeVar("P", bound=Part)


def divide(
    rows: Iterable[Row], weigh: Callable[[Row], int], bytes_max: int = PART_BYTES_MAX
) -> list[tuple[Row, ...]]:
    """Rows in order, in runs of at most `bytes_max` bytes as `weigh` says, but of at least one row;
    one empty run if there are none.
    """
    runs: list[list[Row]] = [[]]
    left = bytes_max
    for row in rows:
        weight = weigh(row)
        if weight > left and runs[-1]:
            runs.append([])
            left = bytes_max
        runs[-1].append(row)
        left -= weight
    return [tuple(run) for run in runs]


class Gathering(Generic[P]):
    """The parts of one answer that have come so far."""

    def __init__(self) -> None:
        self._moment: Hashable = None
        self._parts: dict[int, P] = {}

    def take(self, part: P, moment: Hashable) -> list[P] | None:
        """All parts in order, once the last that was missing is here. `moment`: of which state the
        part is; a part of another state than those before it begins anew.
        """
        if not 0 <= part.part < part.parts <= PARTS_MAX:
            return None
        if part.parts == 1:
            return [part]
        if (moment, part.parts) != self._moment:
            self._moment = (moment, part.parts)
            self._parts = {}
        self._parts[part.part] = part
        if len(self._parts) < part.parts:
            return None
        parts, self._parts, self._moment = self._parts, {}, None
        return [parts[number] for number in range(part.parts)]

"""Costs out of measurements: least squares with costs that cannot be negative. Pure.

Each measured total is a sum of counted work, each kind at its unknown cost. Errors are taken relative
to the total (a row that is weighed by 1 / measured), so that a small load counts as much as a large one.
A cost that comes out negative is none: the most negative kind is left out, and the rest fitted anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

TELLING_MIN: Final = 1e-9
"""A pivot below this part of its column: the work of that kind follows from the others'."""


class CannotFitError(Exception):
    """The measurements do not say what is asked of them; the text is one clear line."""


@dataclass(frozen=True)
class Point:
    """What was done, by kind of work, and what all of it took."""

    work: Mapping[str, float]
    took: float


def fit(points: Sequence[Point], kinds: Sequence[str], *, of: str = "costs") -> dict[str, float]:
    """The cost of one of each kind, 0 or more; `of` names them in an error.

    Raises: CannotFitError when there are fewer points than kinds and one more, or when two kinds of
    work always grow together.
    """
    points = [point for point in points if point.took > 0]
    if len(points) <= len(kinds):
        raise CannotFitError(
            f"{of}: {len(kinds)} unknown costs want at least {len(kinds) + 1} measurements,"
            f" there are {len(points)}"
        )
    left = list(kinds)
    while left:
        costs = _solve(points, left, of)
        worst = min(left, key=lambda kind: costs[kind])
        if costs[worst] >= 0:
            return dict.fromkeys(kinds, 0.0) | costs
        left.remove(worst)
    return dict.fromkeys(kinds, 0.0)


def total(costs: Mapping[str, float], work: Mapping[str, float]) -> float:
    """What that work takes."""
    return sum(cost * work.get(kind, 0.0) for kind, cost in costs.items())


def _solve(points: Sequence[Point], kinds: Sequence[str], of: str) -> dict[str, float]:
    """The normal equations, by elimination with the largest pivot; columns are scaled to length 1."""
    rows = [[point.work.get(kind, 0.0) / point.took for kind in kinds] for point in points]
    lengths = [sum(row[i] ** 2 for row in rows) ** 0.5 or 1.0 for i in range(len(kinds))]
    rows = [[each / length for each, length in zip(row, lengths, strict=True)] for row in rows]
    size = len(kinds)
    matrix = [
        [sum(row[i] * row[j] for row in rows) for j in range(size)] + [sum(row[i] for row in rows)]
        for i in range(size)
    ]
    for column in range(size):
        best = max(range(column, size), key=lambda i: abs(matrix[i][column]))
        if abs(matrix[best][column]) < TELLING_MIN:
            raise CannotFitError(
                f"{of}: {kinds[column]} cannot be told apart from the rest in these measurements"
            )
        matrix[column], matrix[best] = matrix[best], matrix[column]
        for i in range(size):
            if i != column:
                part = matrix[i][column] / matrix[column][column]
                matrix[i] = [a - part * b for a, b in zip(matrix[i], matrix[column], strict=True)]
    return {kind: matrix[i][size] / matrix[i][i] / lengths[i] for i, kind in enumerate(kinds)}

"""A state in parts: nothing is lost between its owner and who asked, whatever comes twice or late."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.parts import PARTS_MAX, Gathering, divide


@dataclass(frozen=True)
class Piece:
    rows: tuple[int, ...]
    part: int
    parts: int


@given(st.lists(st.integers(0, 300)), st.integers(1, 500))
def test_divided_rows_are_the_rows_in_runs_that_fit(rows: list[int], bytes_max: int) -> None:
    runs = divide(rows, lambda row: row, bytes_max)
    assert [row for run in runs for row in run] == rows
    assert all(sum(run) <= bytes_max or len(run) == 1 for run in runs)
    assert all(runs) or runs == [()]
    # no two neighbours would have fitted into one
    assert all(sum(run) + after[0] > bytes_max for run, after in pairwise(runs))


@given(st.data(), st.integers(1, 6))
def test_parts_are_put_together_once_all_are_here_in_any_order(
    data: st.DataObject, parts: int
) -> None:
    pieces = [Piece((number,), number, parts) for number in range(parts)]
    order = data.draw(st.permutations(pieces))
    repeated = data.draw(st.lists(st.sampled_from(order[:-1]))) if parts > 1 else []
    gathering = Gathering[Piece]()
    for piece in [*order[:-1], *repeated]:
        assert gathering.take(piece, "now") is None
    assert gathering.take(order[-1], "now") == pieces


def test_parts_of_two_moments_are_never_put_together() -> None:
    gathering = Gathering[Piece]()
    assert gathering.take(Piece((1,), 0, 2), "before") is None
    assert gathering.take(Piece((2,), 1, 2), "after") is None
    assert gathering.take(Piece((3,), 0, 3), "after") is None
    assert gathering.take(Piece((4,), 1, 2), "after") is None
    whole = gathering.take(Piece((5,), 0, 2), "after")
    assert whole == [Piece((5,), 0, 2), Piece((4,), 1, 2)]


def test_a_part_out_of_its_bounds_is_not_kept() -> None:
    gathering = Gathering[Piece]()
    for part, parts in ((-1, 2), (2, 2), (0, 0), (0, PARTS_MAX + 1)):
        assert gathering.take(Piece((), part, parts), "now") is None
    assert gathering.take(Piece((1,), 0, 1), "now") == [Piece((1,), 0, 1)]

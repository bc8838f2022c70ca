"""What `synchronia watch` draws: on a terminal of any size, what matters most is there."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from shared.client.board import Blurred, Picture, Seen, cell_middle
from shared.client.screen import HEIGHT, WIDTH, plane, screen


def seen(name: str, valence: float = 0.0, arousal: float = 0.0) -> Seen:
    return Seen(bytes(32), bytes(16), name, valence, arousal, 4.0, 12.0, 3, 0, 0, is_followed=False)


def picture(full: list[Seen], coarse: list[Blurred] | None = None, **changes: bool) -> Picture:
    return Picture(
        full=full,
        coarse=coarse or [],
        per_s=7.5,
        delay_ms_p50=12.0,
        delay_ms_max=40.0,
        gaps=2,
        snapshots=1,
        is_connected=changes.get("is_connected", True),
        is_close=changes.get("is_close", True),
        recovered=False,
    )


def drawn(shown: Picture, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(screen(shown, "Emotive Commons", width=width, height=height))
    return capture.get().splitlines()


@pytest.mark.parametrize(
    ("valence", "arousal", "place"),
    [
        (-1, 1, (0, 0)),
        (1, 1, (WIDTH - 1, 0)),
        (1, -1, (WIDTH - 1, HEIGHT - 1)),
        (0, 0, (WIDTH // 2, HEIGHT // 2)),
    ],
)
def test_the_plane_has_valence_to_the_right_and_arousal_upwards(
    valence: float, arousal: float, place: tuple[int, int]
) -> None:
    rows = plane(picture([seen("bo", valence, arousal)])).plain.split("\n")
    assert (len(rows), {len(row) for row in rows}) == (HEIGHT, {WIDTH})
    assert rows[place[1]][place[0]] == "B"


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (21, 7)])
def test_a_cell_is_shaded_where_its_moods_lie_and_nowhere_else(size: tuple[int, int]) -> None:
    width, height = size
    for column in range(5):
        for row in range(5):
            cell = Blurred(b"p" * 8, cell_middle(column), cell_middle(row))
            rows = plane(picture([], [cell]), width, height).plain.split("\n")
            for y, signs in enumerate(rows):
                for x, sign in enumerate(signs):
                    across, up = x * 5 / (width - 1), (height - 1 - y) * 5 / (height - 1)
                    is_inside = column <= across <= column + 1 and row <= up <= row + 1
                    assert (sign == "░") == is_inside, (column, row, x, y)


@pytest.mark.parametrize("size", [(110, 34), (80, 24), (60, 20), (40, 20)])
def test_the_common_sizes_show_the_plane_the_people_and_how_it_arrives(
    size: tuple[int, int],
) -> None:
    cell = Blurred(b"p" * 8, 0.4, -0.8)
    rows = drawn(picture([seen("Ada", 0.5, 0.5), seen("Bo", -0.7, 0.2)], [cell]), *size)
    text = "\n".join(rows)
    assert len(rows) <= size[1]
    assert all(len(row) <= size[0] for row in rows)
    assert rows[0].startswith("Emotive Commons")
    for part in (
        "┼",
        "░",
        "Ada",
        "Bo",
        "~707070",
        "2 full, 1 coarse",
        "7.5/s",
        "delay 12 ms",
        "gaps 2",
    ):
        assert part in text


def test_without_room_for_it_the_plane_gives_way_to_the_people() -> None:
    rows = drawn(picture([seen("Ada"), seen("Bo")]), 24, 8)
    assert len(rows) <= 8
    text = "\n".join(rows)
    assert "┼" not in text
    for part in ("Ada", "Bo", "2 full, 0 coarse", "gaps 2"):
        assert part in text


def test_who_has_no_row_is_counted() -> None:
    rows = drawn(picture([seen(f"P{number}", 0.5, 0.5) for number in range(40)]), 80, 24)
    assert len(rows) <= 24
    named = sum(row.startswith("P") for row in rows)
    assert named >= 5
    assert f"and {40 - named} more" in "\n".join(rows)
    assert any("┼" in row for row in rows)


@pytest.mark.parametrize("width", [24, 40, 80])
def test_what_is_not_shown_or_not_reached_is_said_at_any_width(width: int) -> None:
    rows = drawn(picture([seen("Ada")], is_connected=False, is_close=False), width, 24)
    text = " ".join(" ".join(rows).split())
    for part in ("too many to see", "only whom you follow", "not connected"):
        assert part in text


@given(
    width=st.integers(16, 200),
    height=st.integers(8, 80),
    full=st.integers(0, 60),
    coarse=st.integers(0, 20),
    is_close=st.booleans(),
)
def test_nothing_is_drawn_beyond_the_terminal(
    *, width: int, height: int, full: int, coarse: int, is_close: bool
) -> None:
    people = [seen("Zoë with a long name that goes on", 1, -1) for _ in range(full)]
    cells = [Blurred(bytes([number]) * 8, 0.8, -0.8) for number in range(coarse)]
    rows = drawn(picture(people, cells, is_close=is_close), width, height)
    assert len(rows) <= height
    assert all(len(row) <= width for row in rows)
    assert "gaps 2" in "\n".join(rows)

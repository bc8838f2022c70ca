"""What `synchronia watch` draws on a terminal of any size: the plane, the people, how it arrives. Pure.

The line of rates and gaps is always there; then as many people as fit, and the plane as large as what
is left, up to `WIDTH` × `HEIGHT` signs. On a terminal too small for both, the plane gives way.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from shared.client.board import GRID, Picture, cell_middle

WIDTH, HEIGHT = 51, 19
"""The largest plane in signs: odd, so that the axes lie in the middle; wider, since a sign is higher."""
WIDTH_MIN, HEIGHT_MIN = 15, 7
"""A smaller one shows nothing."""
FRAME = 2
"""Rows of the frame around the plane; its columns are twice as many."""
PEOPLE_MIN = 3
"""Rows of the table, its head included: so many, or half of the terminal, come before the plane."""
COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")


class _Column(NamedTuple):
    name: str
    width_min: int
    """Columns of the terminal from which on it is shown."""


COLUMNS = (
    _Column("who", 0),
    _Column("tier", 42),
    _Column("valence", 0),
    _Column("arousal", 0),
    _Column("per s", 52),
    _Column("delay ms", 52),
    _Column("windows", 78),
    _Column("skipped", 78),
)
WHO_WIDTH_MAX = 16


def plane(picture: Picture, width: int = WIDTH, height: int = HEIGHT) -> Text:
    """Valence to the right, arousal upwards; coarse as a shade, full as a letter above it. Both odd."""
    signs = [[" "] * width for _ in range(height)]
    styles = [["dim"] * width for _ in range(height)]

    def place(valence: float, arousal: float) -> tuple[int, int]:
        return round((valence + 1) / 2 * (width - 1)), round((1 - arousal) / 2 * (height - 1))

    middles = [cell_middle(cell) for cell in range(GRID)]
    for valence in middles:
        for arousal in middles:
            x, y = place(valence, arousal)
            signs[y][x] = "·"
    for row in signs:
        row[width // 2] = "│"
    signs[height // 2] = ["─"] * width
    signs[height // 2][width // 2] = "┼"
    for blurred in picture.coarse:
        for y in _signs_of_cell(-blurred.arousal, height):
            for x in _signs_of_cell(blurred.valence, width):
                signs[y][x] = "░"
    for number, seen in enumerate(picture.full):
        x, y = place(seen.valence, seen.arousal)
        signs[y][x] = seen.name[:1].upper() or "?"
        styles[y][x] = f"bold {COLOURS[number % len(COLOURS)]}"
    text = Text(no_wrap=True)
    for y, row in enumerate(signs):
        for x, sign in enumerate(row):
            text.append(sign, styles[y][x])
        text.append("\n" if y < height - 1 else "")
    return text


def _signs_of_cell(middle: float, size: int) -> list[int]:
    """Which of `size` signs from −1 to 1 lie in the coarse cell around `middle`."""
    half = 1 / GRID + 1e-9  # both edges belong to it
    return [sign for sign in range(size) if abs(2 * sign / (size - 1) - 1 - middle) <= half]


def people(picture: Picture, width: int, rows_max: int) -> list[RenderableType]:
    """A table of at most `rows_max` rows with its head, each of one line; who is left out is counted."""
    total = len(picture.full) + len(picture.coarse)
    if rows_max < 2 or total == 0:
        return []
    shown = total if total < rows_max else rows_max - 2
    columns = [column.name for column in COLUMNS if width >= column.width_min]
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(
            name,
            justify="left" if name in {"who", "tier"} else "right",
            no_wrap=True,
            max_width=WHO_WIDTH_MAX if name == "who" else None,
        )
    for cells in _rows(picture)[:shown]:
        table.add_row(*(cells.get(name, "") for name in columns))
    if shown == total:
        return [table]
    return [table, Text(f"and {total - shown} more", style="dim", no_wrap=True)]


def _rows(picture: Picture) -> list[dict[str, Text | str]]:
    rows: list[dict[str, Text | str]] = []
    for number, seen in enumerate(picture.full):
        doubt = f" {seen.doubtful} doubtful" if seen.doubtful else ""
        rows.append(
            {
                "who": Text(seen.name, style=COLOURS[number % len(COLOURS)]),
                "tier": "full, followed" if seen.is_followed else "full",
                "valence": f"{seen.valence:+.2f}",
                "arousal": f"{seen.arousal:+.2f}",
                "per s": f"{seen.per_s:.1f}",
                "delay ms": "" if seen.delay_ms is None else f"{seen.delay_ms:.0f}",
                "windows": Text(f"{seen.verified} verified{doubt}", style="red" if doubt else ""),
                "skipped": str(seen.skipped),
            }
        )
    rows += (
        {
            "who": Text("~" + blurred.pseudonym.hex()[:6], style="dim"),
            "tier": "coarse",
            "valence": f"{blurred.valence:+.1f}",
            "arousal": f"{blurred.arousal:+.1f}",
        }
        for blurred in picture.coarse
    )
    return rows


def _odd(size: int) -> int:
    return size - 1 + size % 2


def _fitted(parts: list[str], width: int) -> list[str]:
    """Parts beside each other, on as many lines as they need."""
    lines = parts[:1]
    for part in parts[1:]:
        if len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(part)
    return lines


def screen(picture: Picture, called: str, *, width: int, height: int) -> Group:
    """All of it, in at most `height` rows if there are eight.

    Who is at `aggregate` or withheld is not here, and cannot be.
    """
    note = [] if picture.is_close else ["too many to see everybody:", "only whom you follow"]
    titles, lines = _fitted([called, *note], width), _fitted(picture.parts(), width)
    left = height - len(titles) - len(lines)
    wanted = 1 + len(picture.full) + len(picture.coarse)
    rows = min(wanted, max(PEOPLE_MIN, left // 2))
    plane_width, plane_height = _odd(min(WIDTH, width - 2 * FRAME)), left - FRAME - rows
    plane_height = _odd(min(HEIGHT, plane_height))
    drawn: list[RenderableType] = []
    if plane_height >= HEIGHT_MIN and plane_width >= WIDTH_MIN:
        name = "arousal ↑  valence →"
        drawn = [Panel(plane(picture, plane_width, plane_height), title=name, expand=False)]
        left -= plane_height + FRAME
    return Group(
        Text("\n".join(titles), style="bold", no_wrap=True, overflow="ellipsis"),
        *drawn,
        *people(picture, width, left),
        Text("\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis"),
    )

"""Line charts and bars as inline SVG, coloured by the page's own variables. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 760, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 18, 26
COLOURS = 8
DASHES = ("", "7 3", "2 2", "9 3 2 3")
"""In turn, beside the colours: on grey paper, and to eyes that do not tell colours apart."""
POINTS_MAX = 1500
BARS_MAX = 48


class Line(NamedTuple):
    name: str
    x: list[float]
    y: list[float]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover low…high, about so many."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten within low…high."""
    found = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    kept = [each for each in found if low <= each <= high]
    return kept if len(kept) <= 8 else [each for each in kept if f"{each:e}".startswith("1")]


def thinned(line: Line) -> Line:
    """At most `POINTS_MAX` points; of those that share a place the highest stays."""
    width = -(-len(line.x) // POINTS_MAX)
    if width <= 1:
        return line
    starts = range(0, len(line.x), width)
    return Line(
        line.name,
        [line.x[start] for start in starts],
        [max(line.y[start : start + width]) for start in starts],
    )


def chart(
    lines: list[Line], marks: list[tuple[float, str]], *, is_logarithmic: bool = False
) -> str:
    """`marks`: (x, name) of the acts' beginnings. On a logarithm's way 0 is no value: the line breaks."""
    lines = [thinned(line) for line in lines if line.x]
    if not lines:
        return "<p>nothing was measured</p>"
    x_low, x_high = min(min(each.x) for each in lines), max(max(each.x) for each in lines)
    x_high = max(x_high, x_low + 1e-9)
    values = [value for each in lines for value in each.y if value > 0 or not is_logarithmic]
    top = max(values, default=1.0) or 1.0
    low = min(values, default=1.0) if is_logarithmic else 0.0
    if is_logarithmic:
        low, top = low / 1.1, max(top * 1.1, low * 2)

    def across(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        part = math.log(max(y, low) / low) / math.log(top / low) if is_logarithmic else y / top
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    parts = []
    for value in decades(low, top) if is_logarithmic else ticks(0, top):
        y = up(value)
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.6g}</text>',
        ]
    parts += [
        f'<text x="{across(x):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{x:g}</text>'
        for x in ticks(x_low, x_high, 8)
    ]
    parts += _marks(marks, across, x_low, x_high)
    for place, line in enumerate(lines):
        points = [
            f"{across(x):.1f} {up(y):.1f}" if y > 0 or not is_logarithmic else ""
            for x, y in zip(line.x, line.y, strict=True)
        ]
        parts += [f'<path {_pen(place)} d="M{"L".join(run)}"/>' for run in _runs(points)]
    legend = "".join(
        f'<span><svg viewBox="0 0 26 6" aria-hidden="true"><path {_pen(place)} d="M0 3L26 3"/></svg>'
        f"{escape(line.name)}</span>"
        for place, line in enumerate(lines)
    )
    names = ", ".join(line.name for line in lines)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(names)}">'
        f'{"".join(parts)}</svg><div class="legend">{legend}</div>'
    )


def _pen(place: int) -> str:
    dash = DASHES[place % len(DASHES)]
    return f'stroke="var(--c{place % COLOURS})"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _runs(points: list[str]) -> list[list[str]]:
    """What lies between empty ones; a point that stands alone is drawn as a dot."""
    runs: list[list[str]] = [[]]
    for point in points:
        if point:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run if len(run) > 1 else run * 2 for run in runs if run]


def _marks(
    marks: list[tuple[float, str]], across: Callable[[float], float], x_low: float, x_high: float
) -> list[str]:
    """Each has its number; its name too, where there is room up to the next one."""
    parts: list[str] = []
    places = [across(x) for x, _ in marks]
    for number, (x, name) in enumerate(marks, 1):
        if not x_low <= x <= x_high:
            continue
        place = places[number - 1]
        room = (places[number] if number < len(places) else WIDTH) - place
        parts.append(
            f'<line class="act" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        )
        told = f"{number} {name}"
        if room < 10 + 6 * len(told):
            told = str(number)
        if room >= 8 * len(told):
            parts.append(f'<text x="{place + 3:.1f}" y="{TOP - 5}">{escape(told)}</text>')
    return parts


def bars(values: list[tuple[str, float]]) -> str:
    """(name, height), from the left; beyond `BARS_MAX` names the rest is one bar."""
    if not values:
        return "<p>nothing was measured</p>"
    if len(values) > BARS_MAX:
        rest = sum(height for _, height in values[BARS_MAX - 1 :])
        values = [*values[: BARS_MAX - 1], (f"{values[BARS_MAX - 1][0]}+", rest)]
    top = max(height for _, height in values) or 1.0
    width = (WIDTH - LEFT - RIGHT) / len(values)
    parts = []
    for value in ticks(0, top, 4):
        y = HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.6g}</text>',
        ]
    every = max(1, -(-len(values) // 24))
    for place, (name, height) in enumerate(values):
        tall = height / top * (HEIGHT - TOP - BOTTOM)
        x = LEFT + place * width
        parts.append(
            f'<rect fill="var(--c0)" x="{x + width * 0.15:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}"'
            f' width="{min(40.0, width * 0.7):.1f}" height="{tall:.1f}"/>'
        )
        if place % every == 0:
            middle = x + width * 0.15 + min(40.0, width * 0.7) / 2
            parts.append(
                f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(name)}</text>'
            )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="bars">{"".join(parts)}</svg>'
    )

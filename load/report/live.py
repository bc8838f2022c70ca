"""The run as it goes, in the terminal: where the story is, what flows, how late, what broke."""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from load.judge.knee import Knee
from load.judge.timeline import Timeline
from load.story.schedule import Schedule
from load.swarm.meter import Reading, usage

REDRAWS_PER_S = 4
WINDOW_S = 3
"""Rates and percentiles are of the last so many seconds."""
SPARK_S = 60
_BLOCKS = " ▁▂▃▄▅▆▇█"


class Scene(NamedTuple):
    """A run as it stands."""

    schedule: Schedule
    timeline: Timeline
    readings: list[Reading]
    own: list[Reading]
    """Of the run's own processes."""
    knee: Knee | None
    entered: int = 0
    entering: int = 0
    """People and viewers who are in, of how many."""


def sparkline(values: list[float]) -> str:
    """One block a value, of eight heights, the highest for the largest."""
    top = max(values, default=0.0)
    if top <= 0:
        return " " * len(values)
    return "".join(_BLOCKS[round(8 * max(0.0, value) / top)] for value in values)


class LiveView:
    """A context in which `look` redraws."""

    def __init__(self, console: Console) -> None:
        self._live = Live(
            console=console, refresh_per_second=REDRAWS_PER_S, transient=True, auto_refresh=False
        )
        self._said = "entering"

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, sentence: str) -> None:
        self._said = sentence

    def look(self, scene: Scene) -> None:
        self._live.update(drawn(scene, self._said), refresh=True)


def drawn(scene: Scene, said: str) -> RenderableType:
    """The whole view, of what is known now."""
    timeline, story = scene.timeline, scene.schedule.story
    now_s = timeline.at_ms // 1000
    title = Text.assemble((story.name, "bold"), "  ", story.about)
    if not timeline.seconds:
        coming = ProgressBar(total=max(1, scene.entering), completed=scene.entered, width=60)
        came = f"{said}: {scene.entered} of {scene.entering} are in"
        return Group(title, coming, Text(came, style="dim"))
    first_s = max(0, now_s - WINDOW_S)
    recent = timeline.between(first_s, now_s - 1)
    latency = timeline.percentiles(first_s, now_s - 1)
    span = max(1, now_s - first_s)
    of = [timeline.between(second, second).delivered for second in range(now_s - SPARK_S, now_s)]
    late = [timeline.percentiles(second, second).p99 for second in range(now_s - SPARK_S, now_s)]
    act = Text.assemble(
        ("now  ", "dim"), scene.schedule.act_at(timeline.at_ms), ("  ", ""), _clock(scene)
    )
    flow = Table(show_header=False, box=None, pad_edge=False)
    flow.add_row("sent/s", f"{recent.sent / span:,.0f}", f"{timeline.sent:,} in all")
    flow.add_row(
        "delivered/s", f"{recent.delivered / span:,.0f}", sparkline([float(n) for n in of])
    )
    flow.add_row("p50 ms", f"{latency.p50:.1f}", "")
    flow.add_row("p99 ms", f"{latency.p99:.1f}", sparkline(late))
    parts: list[RenderableType] = [
        title,
        ProgressBar(total=scene.schedule.length_ms, completed=timeline.at_ms, width=60),
        act,
        flow,
    ]
    if scene.knee is not None and scene.knee.steps:
        parts.append(Text(scene.knee.sentence(), style="dim"))
    used = usage(scene.readings[-600:]) | usage(scene.own[-600:])
    if used:
        services = Table("service", "CPU", "MB", box=None, pad_edge=False, header_style="dim")
        for name, each in used.items():
            services.add_row(name, f"{100 * each['cpu']:.0f} %", f"{each['memory_mb_max']:.0f}")
        parts.append(services)
    return Group(*parts)


def _clock(scene: Scene) -> str:
    """The story's own time of day."""
    at_ms = min(scene.timeline.at_ms, scene.schedule.length_ms)
    hour = scene.schedule.story.clock.hour(at_ms / 1000)
    minutes = int(hour * 60 + 1e-6)
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"

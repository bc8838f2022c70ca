"""The knee: the fastest step of a growing load that the city still carried. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from load.judge.timeline import Timeline
from load.story.language import Thresholds

SETTLE_S = 1
"""Of each step the first second is not judged: it still holds what the step before had left."""
DELIVERED_SHARE_MIN = 0.95
"""Of what the first step delivered for each sample sent: below it something is being held or dropped."""
P99_MS_MAX = 250.0
"""Or less, if the story's thresholds say so. A knee is where waiting begins; far beyond it the crowd
and the city starve each other on one machine, and the figure is of neither."""


BROKEN_IN_A_ROW = 2
"""A step that breaks alone was noise on the machine: the next one, faster, was carried."""


class Step(NamedTuple):
    pace: float
    sent_per_s: float
    delivered_per_s: float
    p50_ms: float
    p99_ms: float
    why_broken: str

    @property
    def is_good(self) -> bool:
        return not self.why_broken


@dataclass(slots=True)
class Knee:
    """Steps of one length and growing pace, judged one after another."""

    step_s: int
    paces: list[float]
    thresholds: Thresholds = field(default_factory=Thresholds)
    steps: list[Step] = field(default_factory=list)

    def judge(self, timeline: Timeline) -> bool:
        """Every step that is over; whether one is broken. A second's grace for what is under way."""
        while not self.is_broken and len(self.steps) < len(self.paces):
            place = len(self.steps)
            first, last = place * self.step_s + SETTLE_S, (place + 1) * self.step_s - 1
            if timeline.at_ms < (last + 2) * 1000:
                return False
            self.steps.append(self._step(timeline, self.paces[place], first, last))
        return self.is_broken

    def _step(self, timeline: Timeline, pace: float, first: int, last: int) -> Step:
        seconds = last - first + 1
        total = timeline.between(first, last)
        latency = timeline.percentiles(first, last)
        sent, delivered = total.sent / seconds, total.delivered / seconds
        most = min(self.thresholds.p99_ms or P99_MS_MAX, P99_MS_MAX)
        why = ""
        if latency.p99 > most:
            why = f"p99 {latency.p99:.0f} ms, above {most:g}"
        elif self.steps and sent:
            base = self.steps[0].delivered_per_s / max(1e-9, self.steps[0].sent_per_s)
            share = delivered / sent / base if base else 1.0
            if share < DELIVERED_SHARE_MIN:
                why = f"{100 * share:.0f} % of what was sent arrived in its step"
        elif not sent or not delivered:
            why = "nothing arrived"
        return Step(pace, sent, delivered, latency.p50, latency.p99, why)

    @property
    def is_broken(self) -> bool:
        """Twice in a row, or at the last step."""
        wanted = min(BROKEN_IN_A_ROW, len(self.paces))
        last = self.steps[-1:] if len(self.steps) == len(self.paces) else self.steps[-wanted:]
        return len(self.steps) >= wanted and not any(each.is_good for each in last)

    @property
    def best(self) -> Step | None:
        return next((each for each in reversed(self.steps) if each.is_good), None)

    def told(self) -> dict[str, Any]:
        return {
            "broken": self.is_broken,
            "best": None if self.best is None else self.best._asdict(),
            "steps": [each._asdict() for each in self.steps],
        }

    def sentence(self) -> str:
        best = self.best
        if best is None:
            return "below the first step: it breaks at the story's own pace"
        carried = (
            f"{best.sent_per_s:.0f} samples/s in, {best.delivered_per_s:.0f} deliveries/s out,"
            f" p99 {best.p99_ms:.0f} ms at pace {best.pace:g}"
        )
        if not self.is_broken:
            return f"not reached; still good: {carried}. More citizens or steps reach further"
        first = self.steps[self.steps.index(best) + 1]
        return f"{carried}; pace {first.pace:g} breaks: {first.why_broken}"

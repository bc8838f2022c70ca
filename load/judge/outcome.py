"""What a story's run found, and whether it kept the laws and the story's own thresholds. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from load.judge.knee import Knee
from load.judge.timeline import Timeline
from load.judge.verdict import Judged, Verdict, law, percentile, withdrawal_times
from load.story.language import Story, Withdraw
from load.swarm.latency import Latencies, Percentiles
from load.swarm.meter import Reading, usage
from load.swarm.plan import AttackReport, AudienceReport


class Group(NamedTuple):
    """What one group of viewers got."""

    name: str
    viewers: int
    is_slow: bool
    delivered: int
    conflated: int
    lost: int
    gaps: int
    disconnects: int
    latency: Percentiles


@dataclass(slots=True)
class Outcome:
    story: Story
    verdict: Verdict
    attacks: list[AttackReport]
    audiences: list[AudienceReport]
    timeline: Timeline
    readings: list[Reading] = field(default_factory=list)
    own_readings: list[Reading] = field(default_factory=list)
    knee: Knee | None = None
    acts: list[tuple[int, str]] = field(default_factory=list)
    """(begins at ms, name)."""

    @property
    def is_good(self) -> bool:
        """Every law kept, and every threshold: a search for the knee breaks those on purpose."""
        return all(each.is_kept for each in self.judged() if each.is_law or self.knee is None)

    def groups(self) -> list[Group]:
        found = []
        for name in dict.fromkeys(each.group for each in self.audiences):
            of = [each for each in self.audiences if each.group == name]
            latencies = Latencies()
            for each in of:
                latencies.counts.update(each.latencies)
            books = [each.accounts for each in of]
            found.append(
                Group(
                    name=name,
                    viewers=sum(each.viewers for each in of),
                    is_slow=of[0].is_slow,
                    delivered=sum(each.delivered for each in books),
                    conflated=sum(each.skipped.get("conflated", 0) for each in books),
                    lost=sum(each.skipped.get("lost", 0) + each.lost_in_gaps for each in books),
                    gaps=sum(each.gaps for each in books),
                    disconnects=sum(each.disconnects for each in books),
                    latency=latencies.percentiles(),
                )
            )
        return found

    def tool_busy(self) -> float:
        """The busiest of the run's own processes, as a share of one core."""
        return max((each["cpu"] for each in usage(self.own_readings).values()), default=0.0)

    def judged(self) -> list[Judged]:
        return [*self._laws(), *self._thresholds()]

    def _laws(self) -> list[Judged]:
        """Those of any run, and what no attack may reach."""
        forging = [each for each in self.attacks if each.kind != "flood"]
        floods = [each for each in self.attacks if each.kind == "flood"]
        above = sum(max(0, each.admitted - each.admitted_max) for each in floods)
        return [
            *self.verdict.laws(),
            law("forgeries and replays admitted", sum(each.admitted for each in forging)),
            law("of a flood, admitted above the rate", above),
        ]

    @property
    def _awaits_withdrawals(self) -> bool:
        """The story was played to its end, and has some."""
        happening = [each for act in self.story.act for each in act.happening]
        was_played = self.knee is None and not self.verdict.ended_early
        return was_played and any(isinstance(each, Withdraw) for each in happening)

    def _thresholds(self) -> list[Judged]:
        """What could not be measured, though it was to be, is not kept."""
        wanted = self.story.thresholds
        latency = self.verdict.latency
        is_measured = latency.samples > 0 or self.verdict.ended_early
        fast = [each for each in self.groups() if not each.is_slow]
        due = max(1, sum(each.delivered + each.conflated + each.lost for each in fast))
        people = self.verdict.people
        sent = max(1, sum(each.sent for each in people))
        unsent = sum(each.not_sent for each in people if not each.turned_away)
        silence = withdrawal_times(self.verdict.withdrawals)["last byte"]
        silence_ms = percentile(silence, 0.99) if silence else 0.0
        if self._awaits_withdrawals and not self.verdict.withdrawals:
            silence_ms = math.inf
        growth = [each["memory_mb_per_min"] for each in usage(self.readings).values()]
        values = {
            "p50_ms": latency.p50 if is_measured else math.inf,
            "p99_ms": latency.p99 if is_measured else math.inf,
            "p999_ms": latency.p999 if is_measured else math.inf,
            "lost_share": sum(each.lost for each in fast) / due,
            "conflated_share": sum(each.conflated for each in fast) / due,
            "refused_share": sum(sum(each.refused.values()) for each in people) / sent,
            "unsent_share": unsent / (sent + unsent),
            "unanswered_share": sum(each.unanswered for each in people) / sent,
            "silence_p99_ms": silence_ms,
            "memory_mb_per_min": max(growth, default=0.0),
        }
        limits = {name: getattr(wanted, name) for name in values}
        return [
            Judged(name, round(value, 4), limits[name])
            for name, value in values.items()
            if limits[name] is not None
        ]

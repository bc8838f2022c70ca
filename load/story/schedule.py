"""A story's schedule: who does what, when. A pure function of the story (with its seed) and the time.

Time is ms from the play's beginning. All citizens share one clock of `units`, which runs at the acts'
pace: a citizen of `per_s` samples a second is due each time that clock has gone on by 1 / per_s. So a
ramp is the same for everybody, and a step of `--until-breaking` is a pace like any other.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from random import Random
from typing import NamedTuple

from load.story.language import (
    Attack,
    Broadcast,
    Citizens,
    Enter,
    Go,
    Happening,
    Reconnect,
    Regrant,
    Story,
    Withdraw,
)
from load.story.moods import GroupMoods
from load.story.recordings import Cue, Recording
from shared.contracts.records import Audience, Tier

MIXED = ((Tier.FULL, 8), (Tier.COARSE, 6), (Tier.AGGREGATE, 1), (Tier.WITHHELD, 1))
"""Shares of `mixed` grants: mostly visible people, and a few that nobody may see."""


def tiers_of(grants: str, people: int, seed: int) -> list[Tier]:
    """Everybody's tier; for `mixed` drawn by seed."""
    if grants != "mixed":
        return [Tier[grants.upper()]] * people
    tiers = [tier for tier, _ in MIXED]
    weights = [weight for _, weight in MIXED]
    return Random(seed).choices(tiers, weights, k=people)  # noqa: S311  (a plan, no secret)


class Role(NamedTuple):
    """One citizen of the cast."""

    number: int
    name: str
    tier: Tier
    stage: str | None = None
    """Where a voice speaks; nil: in the story's sanctuary."""
    is_here: bool = True
    """From the beginning."""
    keys: bytes | None = None
    """A voice's, kept from run to run; nil: new ones."""

    @property
    def audience(self) -> Audience:
        return Audience.MEMBERS if self.stage is None else Audience.PUBLIC


class Change(NamedTuple):
    """Something that one citizen or viewer does, other than speak."""

    at_ms: int
    who: int
    """The citizen's number; or the viewer's place in its group."""
    do: str
    """`enter`, `leave`, `withdraw`, `grant`, `reconnect`."""
    tier: Tier | None = None


class Assault(NamedTuple):
    """An attack, on the play's clock."""

    at_ms: int
    attack: Attack


class Pace:
    """Pieces of (length in s, pace at its beginning, pace at its end); after the last, nothing."""

    def __init__(self, pieces: list[tuple[float, float, float]]) -> None:
        self.pieces = pieces
        self._ends_s = list(accumulate(length for length, _, _ in pieces))
        self._ends_units = list(accumulate(n * (begin + end) / 2 for n, begin, end in pieces))
        self.seconds = self._ends_s[-1]
        self.units = self._ends_units[-1]

    def time_at(self, units: float) -> float | None:
        """When the clock has run so far, in s; nil beyond the end."""
        place = bisect_left(self._ends_units, units)
        if place == len(self.pieces):
            return None
        length, begin, end = self.pieces[place]
        began_s = self._ends_s[place] - length
        units -= self._ends_units[place] - length * (begin + end) / 2
        slope = (end - begin) / length
        if abs(slope) < 1e-9:
            return began_s + units / begin
        # units = begin·t + slope·t²/2
        return began_s + (math.sqrt(begin * begin + 2 * slope * units) - begin) / slope


def steps(seconds: float, growth: float, most: float) -> Pace:
    """For `--until-breaking`: paces 1, growth, growth², … up to `most`, each for so long."""
    pieces, pace = [], 1.0
    while pace <= most:
        pieces.append((seconds, pace, pace))
        pace *= growth
    return Pace(pieces)


@dataclass(frozen=True)
class Schedule:
    """Everything of one run; picklable. `paces`: instead of the acts' own (`--until-breaking`);
    `rounds`: how often the acts are played (a soak).
    """

    story: Story
    recordings: dict[str, list[Recording]]
    """By group."""
    paces: list[tuple[float, float, float]] | None = None
    rounds: int = 1

    @property
    def pace(self) -> Pace:
        if self.paces is not None:
            return Pace(self.paces)
        acts = self.story.act * self.rounds
        return Pace([(act.seconds, act.pace, act.pace_to or act.pace) for act in acts])

    @property
    def length_ms(self) -> int:
        return round(self.pace.seconds * 1000)

    def roles(self) -> list[Role]:
        """Citizens, in the order of their groups."""
        late = {each.who for _, each in self._happenings() if isinstance(each, Enter | Broadcast)}
        roles: list[Role] = []
        for place, group in enumerate(self.story.citizens):
            tiers = tiers_of(group.grant, group.count, self.story.seed * 1000 + place)
            for number, tier in enumerate(tiers):
                tier = tier if group.stage is None else Tier.FULL  # noqa: PLW2901  (a voice is seen)
                name = group.name if group.count == 1 else f"{group.name} {number + 1}"
                roles.append(Role(len(roles), name, tier, group.stage, group.name not in late))
        return roles

    def cues(self, numbers: frozenset[int]) -> Iterator[Cue]:
        """The samples of these citizens, in the order of their times."""
        pace, seed = self.pace, self.story.seed
        waiting: list[tuple[float, int, float, Citizens, GroupMoods, Random]] = []
        first = 0
        for group in self.story.citizens:
            moods = GroupMoods(
                group,
                first=first,
                seed=seed,
                clock=self.story.clock,
                recordings=self.recordings.get(group.name),
            )
            for person in range(first, first + group.count):
                if person in numbers:
                    dice = Random(f"{seed}/{person}/rhythm")  # noqa: S311  (a plan, no secret)
                    units = dice.random() / group.per_s
                    at_s = pace.time_at(units)
                    if at_s is not None:
                        waiting.append((at_s, person, units, group, moods, dice))
            first += group.count
        heapq.heapify(waiting)
        while waiting:
            at_s, person, units, group, moods, dice = waiting[0]
            yield Cue(int(at_s * 1000), person, *moods.at(person, at_s))
            gap = dice.expovariate(1.0) if group.rhythm == "poisson" else 1.0
            units += gap / group.per_s
            next_s = pace.time_at(units)
            if next_s is None:
                heapq.heappop(waiting)
            else:
                heapq.heapreplace(waiting, (next_s, person, units, group, moods, dice))

    def changes(self) -> list[Change]:
        """What citizens do, in the order of time."""
        members: dict[str, list[int]] = {group.name: [] for group in self.story.citizens}
        number = 0
        for group in self.story.citizens:
            for _ in range(group.count):
                members[group.name].append(number)
                number += 1
        return self._changes(members)

    def viewers_changes(self, group: str) -> list[Change]:
        """What viewers of a group do; `who` is the place in it."""
        count = next(each.count for each in self.story.viewers if each.name == group)
        return self._changes({group: list(range(count))})

    def assaults(self) -> list[Assault]:
        return [
            Assault(began_ms + int(each.at_s * 1000), each)
            for began_ms, each in self._happenings()
            if isinstance(each, Attack)
        ]

    def fingerprint(self) -> str:
        """SHA-256 of everything that is planned, who, what and when, as hex: the same for the same story,
        seed and scale on any machine, and another one if a single mood differs.
        """
        digest = sha256()
        everybody = frozenset(range(sum(group.count for group in self.story.citizens)))
        groups = [each.name for each in self.story.viewers]
        parts: list[Iterable[object]] = [
            self.roles(),
            self.cues(everybody),
            self.changes(),
            *map(self.viewers_changes, groups),
            self.assaults(),
        ]
        for part in parts:
            for each in part:
                digest.update(repr(each).encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def act_at(self, at_ms: int) -> str:
        """The name of the act that is played; behind the end, of the last one."""
        if self.paces is not None:
            place = min(len(self.paces) - 1, int(at_ms / 1000 / self.paces[0][0]))
            return f"pace × {self.paces[place][1]:.2f}"
        if at_ms >= self.length_ms:
            return self.story.act[-1].name
        at_ms %= max(1, round(self.story.seconds * 1000))
        for act in self.story.act:
            if at_ms < act.seconds * 1000:
                return act.name
            at_ms -= int(act.seconds * 1000)
        return self.story.act[-1].name

    def _happenings(self) -> Iterator[tuple[int, Happening]]:
        """(its act's beginning in ms, what happens). Steps of a search for the knee have none."""
        began_s = 0.0
        if self.paces is not None:
            return
        for act in self.story.act * self.rounds:
            for each in act.happening:
                yield round(began_s * 1000), each
            began_s += act.seconds

    def _changes(self, members: dict[str, list[int]]) -> list[Change]:
        changes: list[Change] = []
        for place, (began_ms, each) in enumerate(self._happenings()):
            if isinstance(each, Attack):
                continue
            everyone = isinstance(each, Reconnect) and each.who == "everyone"
            for group, people in members.items():
                if group == each.who or everyone:
                    key = f"{self.story.seed}/{place}/{group}"
                    changes += _spread(each, people, began_ms, Random(key))  # noqa: S311
        return sorted(changes, key=lambda change: (change.at_ms, change.who))


def _spread(
    each: Enter | Go | Withdraw | Regrant | Reconnect | Broadcast,
    people: list[int],
    began_ms: int,
    dice: Random,
) -> list[Change]:
    """The people whom it concerns, each at its time."""
    began_ms += int(each.at_s * 1000)
    if isinstance(each, Broadcast):
        ends_ms = began_ms + int(each.for_s * 1000)
        return [
            change
            for who in people
            for change in (Change(began_ms, who, "enter"), Change(ends_ms, who, "leave"))
        ]
    count = math.ceil(len(people) * each.share - 1e-9)
    chosen = dice.sample(people, count)
    step_ms = each.over_s * 1000 / max(1, count)
    words = {
        Enter: "enter",
        Go: "leave",
        Withdraw: "withdraw",
        Regrant: "grant",
        Reconnect: "reconnect",
    }
    tier = Tier[each.tier.upper()] if isinstance(each, Regrant) else None
    return [
        Change(began_ms + int(place * step_ms), who, words[type(each)], tier)
        for place, who in enumerate(chosen)
    ]

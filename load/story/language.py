"""A story: what a crowd of scripted citizens does in a city, as its TOML file says it. Pure but for
`find_story`.

Groups of citizens and of viewers, then acts one after another; in an act things happen at their times.
`load/stories/evening.toml` is written to be read as the example. Every key is refused by name if it is
none, and every value outside its bounds with its line.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from load.story.place import line_of, takes

SHIPPED = Path(__file__).resolve().parents[1] / "stories"
PER_S_MAX = 100.0
"""Samples a second of one citizen, at any pace: a city takes 128, in bursts of 256."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Unit = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=PER_S_MAX)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Pace = Annotated[float, msgspec.Meta(gt=0, le=1000)]
TierName = Literal["withheld", "aggregate", "coarse", "full"]


class StoryRefused(Exception):  # noqa: N818  (an outcome; the sentence names file, line and key)
    """A story cannot be played; the sentence names file, line, key and what it takes."""


class Citizens(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A group of people who speak. All are enrolled before the first act, and are in the room from
    its beginning unless some act lets the group `enter`.
    """

    name: Name
    count: Annotated[int, msgspec.Meta(ge=1, le=5000)]
    per_s: Rate = 2.0
    """Samples a second of each, at pace 1."""
    rhythm: Literal["steady", "poisson"] = "steady"
    grant: Literal["mixed", "withheld", "aggregate", "coarse", "full"] = "mixed"
    """The tier that each grants; `mixed`: drawn by the seed, mostly full and coarse."""
    mood: Literal["walk", "still", "recorded"] = "walk"
    recordings: str | None = None
    """For `recorded`: a directory of CSV files, beside the story's file or from here."""
    valence: Unit = 0.0
    arousal: Unit = 0.0
    swing: Share = 0.4
    """How far a mood strays from its middle."""
    period_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 30.0
    """About how long a mood takes to turn."""
    circadian: Share = 0.0
    """How far the story's hour lifts or lowers it."""
    contagion: Share = 0.0
    """The share of a mood that is the neighbours' mood of a moment ago."""
    neighbours: Annotated[int, msgspec.Meta(ge=2, le=16)] = 4
    """How many live side by side, and feel each other's mood."""
    stage: str | None = None
    """A voice: speaks on this stage, to its public, at `full`, whatever `grant` says."""

    def __post_init__(self) -> None:
        if (self.mood == "recorded") != (self.recordings is not None):
            raise ValueError("mood = 'recorded' and a directory in `recordings` go together")


class Viewers(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A group of citizens who only watch."""

    name: Name
    count: Annotated[int, msgspec.Meta(ge=1, le=20_000)]
    verify: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many of them check every opening, seal and hash."""
    books: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many keep books of every number; the others count all that comes and time each frame by its
    first sample, at a tenth of the work. nil: all keep books."""
    bytes_per_s: Annotated[int, msgspec.Meta(ge=64, le=100_000_000)] | None = None
    """Slow viewers: how fast each reads. What they miss is theirs; it is no failure of the city's."""
    stage: str | None = None
    """Watch this public stage, without an account."""

    def __post_init__(self) -> None:
        if self.books is not None and self.verify > self.books:
            raise ValueError("who verifies keeps books too: `verify` is at most `books`")


class Enter(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="enter"):
    """People of the group come into the room."""

    who: Name
    share: Share = 1.0
    at_s: Seconds = 0.0
    over_s: Seconds = 0.0
    """Spread evenly over so long; 0: all at once."""


class Go(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="leave"):
    """People of the group close their strands and leave."""

    who: Name
    share: Share = 1.0
    at_s: Seconds = 0.0
    over_s: Seconds = 0.0


class Withdraw(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="withdraw"
):
    """Each withdraws right behind a sample of its own, and grants again later."""

    who: Name
    share: Share = 1.0
    at_s: Seconds = 0.0
    over_s: Seconds = 0.0


class Regrant(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="grant"):
    """Each grants another tier."""

    who: Name
    tier: TierName
    share: Share = 1.0
    at_s: Seconds = 0.0
    over_s: Seconds = 0.0


class Reconnect(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="reconnect"
):
    """Sockets are cut, as a network does it; each comes back by itself. `who`: a group of citizens
    or viewers, or "everyone".
    """

    who: Name = "everyone"
    share: Share = 1.0
    at_s: Seconds = 0.0
    over_s: Seconds = 0.0


class Broadcast(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="broadcast"
):
    """A voice (a group with a `stage`) goes live there, for so long."""

    who: Name
    at_s: Seconds = 0.0
    for_s: Seconds = 5.0


class Attack(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="attack"):
    """Somebody tries what the city must withstand. flood: far above the rate; replay: what was said
    is said again, as one's own and as its author's; forged-seal: a seal that nobody's key made;
    sybil: a crowd of new citizens from one address.
    """

    kind: Literal["flood", "replay", "forged-seal", "sybil"]
    count: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 1
    per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 50.0
    """Attempts a second of each attacker; for sybil: new citizens a second of all."""
    at_s: Seconds = 0.0
    for_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 2.0


Happening = Enter | Go | Withdraw | Regrant | Reconnect | Broadcast | Attack


class Act(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: Name
    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    pace: Pace = 1.0
    """Everybody's rate is multiplied by this: 3 is a spike."""
    pace_to: Pace | None = None
    """A ramp: from `pace` evenly to this."""
    happening: list[Happening] = []


class Clock(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The story's own time of day; moods with `circadian` follow it."""

    begins: str = "18:00"
    minutes_per_s: Annotated[float, msgspec.Meta(ge=0, le=1440)] = 1.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", self.begins):
            raise ValueError(f"begins is a time of day like 18:30, not {self.begins[:20]}")

    def hour(self, at_s: float) -> float:
        """0…24, at so many seconds of the play."""
        hours, minutes = self.begins.split(":")
        return (int(hours) + (int(minutes) + at_s * self.minutes_per_s) / 60) % 24


class Thresholds(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What the run must keep; a nil one is not judged. What could not be measured is not kept. The laws
    are always judged: nothing lost unaccounted, nothing against a grant, nothing out of order, nothing
    forged.
    """

    p50_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    p99_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    p999_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    lost_share: Share | None = None
    """Of what viewers at full should have got: lost and shown as lost. Cuts of the story's own count."""
    conflated_share: Share | None = None
    refused_share: Share | None = 0.2
    """Of what citizens (not attackers) sent. A tool that is half a minute late is refused everything."""
    unsent_share: Share | None = 0.2
    """Of what fell due: while its citizen had no open strand. A city that is gone takes nothing amiss."""
    unanswered_share: Share | None = 0.2
    """Of what citizens sent: no word ever came whether it was taken."""
    silence_p99_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """From the signing of a withdrawal to the last byte at any viewer."""
    memory_mb_per_min: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Growth of any one service, over the run's second half."""


class Story(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: Name
    act: Annotated[list[Act], msgspec.Meta(min_length=1, max_length=1000)]
    about: str = ""
    sanctuary: str = "emotive-commons"
    seed: int = 1
    clock: Clock = Clock()
    thresholds: Thresholds = Thresholds()
    citizens: list[Citizens] = []
    viewers: list[Viewers] = []

    def __post_init__(self) -> None:
        names = [each.name for each in self.citizens] + [each.name for each in self.viewers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two groups are called {twice[0]!r}")
        if not names:
            raise ValueError("nobody is in it: name [[citizens]] or [[viewers]]")
        if "everyone" in names:
            raise ValueError("'everyone' means all groups; no group can be called that")

    @property
    def seconds(self) -> float:
        return sum(act.seconds for act in self.act)

    def citizens_called(self, name: str) -> Citizens | None:
        return next((each for each in self.citizens if each.name == name), None)


def read_story(text: str, file: str) -> Story:
    """Raises: StoryRefused."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        at = f":{place[1]}" if place else ""
        raise StoryRefused(f"{file}{at}: no TOML: {error}") from None
    try:
        story = msgspec.convert(raw, Story)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        path = path.rstrip("`")
        unknown = re.match(r"Object contains unknown field `(.*)`", what)
        if unknown is not None:
            known = takes(Story, path, raw)
            line = line_of(text, f"{path}.{unknown[1]}")
            what = f"unknown key {unknown[1]!r}; it takes {', '.join(known)}"
        else:
            line = line_of(text, path)
            words = takes(Story, path, raw) if what.startswith("Invalid") else []
            what += f"; it takes {', '.join(words)}" if words else ""
        where = f"{path.lstrip('.')}: " if path else ""
        raise StoryRefused(f"{file}:{line}: {where}{what}") from None
    _check_happenings(story, text, file)
    return story


def _check_happenings(story: Story, text: str, file: str) -> None:
    """Who is named exists, and everything lies within its act. Raises: StoryRefused."""
    speaking = {each.name for each in story.citizens}
    watching = {each.name for each in story.viewers}

    def refuse(path: str, why: str) -> None:
        raise StoryRefused(f"{file}:{line_of(text, path)}: {path.lstrip('.')}: {why}")

    for act_number, act in enumerate(story.act):
        for place, each in enumerate(act.happening):
            path = f".act[{act_number}].happening[{place}]"
            if each.at_s > act.seconds:
                refuse(f"{path}.at_s", f"the act ends at {act.seconds:g} s")
            if isinstance(each, Attack):
                continue
            groups = speaking
            if isinstance(each, Reconnect):
                groups = speaking | watching | {"everyone"}
            if each.who not in groups:
                known = ", ".join(sorted(groups)) or "nobody"
                refuse(f"{path}.who", f"no such group; here it may be {known}")
            voice = story.citizens_called(each.who)
            if isinstance(each, Broadcast) and (voice is None or voice.stage is None):
                refuse(f"{path}.who", "a broadcast is by a group of citizens with a `stage`")
    for number, group in enumerate(story.citizens):
        pace = max(max(act.pace, act.pace_to or 0) for act in story.act)
        if group.per_s * pace > PER_S_MAX:
            most = f"{group.per_s * pace:g} a second at the fastest act; at most {PER_S_MAX:g}"
            refuse(f".citizens[{number}].per_s", most)


def shipped() -> list[Story]:
    """The stories that come with us, by name."""
    return [
        read_story(file.read_text(encoding="utf-8"), file.name)
        for file in sorted(SHIPPED.glob("*.toml"))
    ]


def find_story(wanted: str) -> tuple[Story, Path]:
    """A shipped story by its name, or a file; with the file. Raises: StoryRefused."""
    file = SHIPPED / f"{wanted}.toml"
    if not re.fullmatch(r"[a-z0-9-]+", wanted) or not file.is_file():
        file = Path(wanted)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        known = ", ".join(each.stem for each in sorted(SHIPPED.glob("*.toml")))
        raise StoryRefused(
            f"{wanted}: {why}; give a file, or one of the stories that come with us: {known}"
        ) from None
    return read_story(text, str(file)), file

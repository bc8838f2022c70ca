"""`synchronia load play`: a story, driven. Shares its people and viewers out over processes."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from load.judge.knee import Knee
from load.judge.outcome import Outcome
from load.judge.timeline import Timeline
from load.judge.verdict import judge, judge_coarse
from load.report.live import Scene
from load.story.language import PER_S_MAX, Citizens, Story, StoryRefused, Viewers
from load.story.recordings import Recording, RecordingRefused, read_directory
from load.story.schedule import Role, Schedule, steps
from load.swarm.drive import VIEWERS_A_PROCESS, Drive, RunFailed, split
from load.swarm.meter import Meter
from load.swarm.plan import (
    AttackersPlan,
    AudiencePlan,
    Plan,
    Progress,
    SpeakersPlan,
    Standing,
    Told,
)
from shared.client.keyring import Keyring
from shared.client.keystore import Keystore, KeysUnusable
from shared.client.words import sanctuary_of
from shared.identifiers import slug_of
from shared.runtime.clock import monotonic_ns, wall_ms

PEOPLE_A_PROCESS_MIN = 40
"""Fewer than so many speakers are not worth another process."""
STEP_S = 5
STEP_GROWTH = 1.3


@dataclass(frozen=True, slots=True)
class PlayWish:
    """The command line, read."""

    story: Story
    file: Path
    url: str
    state: Path
    soak_s: float | None = None
    """Play the acts again and again for at least so long."""
    is_until_breaking: bool = False
    step_s: int = STEP_S
    keys: Path | None = None
    """Where the voices' keys are kept, so that a stage can name them."""
    scale: float = 1.0
    """So many times the citizens and viewers of each group."""
    processes: int | None = None
    """At most so many for all citizens, and for each group of viewers; nil: one a core."""


def scaled(story: Story, scale: float) -> Story:
    """The story with more people in it, or fewer; of each group at least one."""
    if scale == 1.0:
        return story
    return msgspec.structs.replace(
        story,
        citizens=[
            msgspec.structs.replace(each, count=max(1, round(each.count * scale)))
            for each in story.citizens
        ],
        viewers=[
            msgspec.structs.replace(each, count=max(1, round(each.count * scale)))
            for each in story.viewers
        ],
    )


def recordings_of(story: Story, file: Path) -> dict[str, list[Recording]]:
    """By group. Raises: StoryRefused."""
    found = {}
    for group in story.citizens:
        if group.recordings is not None:
            beside = file.parent / group.recordings
            directory = beside if beside.is_dir() else Path(group.recordings)
            try:
                found[group.name] = read_directory(directory)
            except RecordingRefused as error:
                raise StoryRefused(f"{file}: recordings of {group.name!r}: {error}") from None
    return found


def voices(roles: list[Role], keys: Path) -> list[tuple[Role, Keyring]]:
    """Who speaks on a stage, with the keys kept in that directory; made when missing.

    Raises: RunFailed.
    """
    store = Keystore(keys)
    try:
        return [
            (role, store.load_or_new(slug_of(role.name))[0])
            for role in roles
            if role.stage is not None
        ]
    except KeysUnusable as error:
        raise RunFailed(str(error)) from None


def voices_setting(story: Story, keys: Path) -> str:
    """The story's voices as the city's setting SYNCHRONIA_SANCTUARY_VOICES names them; "" if it has none.

    Raises: RunFailed.
    """
    found = voices(Schedule(story, {}).roles(), keys)
    return ",".join(f"{role.stage}={keyring.did}" for role, keyring in found)


def plan_rows(story: Story, file: Path) -> list[tuple[str, str]]:
    """What would be played: act by act, and the fingerprint. Raises: StoryRefused."""
    schedule = Schedule(story, recordings_of(story, file))
    everybody = frozenset(range(sum(group.count for group in story.citizens)))
    seconds = Counter(cue.at_ms // 1000 for cue in schedule.cues(everybody))
    rows = [
        ("story", f"{story.name}: {story.about}"),
        ("seed", str(story.seed)),
        ("people", _groups(story.citizens)),
        ("viewers", _groups(story.viewers)),
    ]
    began_s = 0.0
    for act in story.act:
        within = range(math.floor(began_s), math.ceil(began_s + act.seconds))
        happening = ", ".join(str(type(each).__struct_config__.tag) for each in act.happening)
        rows.append(
            (
                f"act: {act.name}",
                (
                    f"from {began_s:g} s for {act.seconds:g} s,"
                    f" at most {max((seconds[each] for each in within), default=0)} samples/s"
                    + (f"; {happening}" if happening else "")
                ),
            )
        )
        began_s += act.seconds
    rows.append(("samples", f"{seconds.total()}, if everybody were there all the time"))
    rows.append(("fingerprint", schedule.fingerprint()))
    return rows


def _groups(groups: Sequence[Citizens | Viewers]) -> str:
    return ", ".join(f"{each.count} {each.name}" for each in groups) or "none"


class Play:
    """One run of a story."""

    def __init__(
        self,
        wish: PlayWish,
        *,
        say: Callable[[str], None],
        on_look: Callable[[Play], None] = lambda _play: None,
    ) -> None:
        self.wish = wish
        self.story = scaled(wish.story, wish.scale)
        self.timeline = Timeline()
        self._carried = Timeline()
        """What the story's own people sent and their room got: what the knee is judged by."""
        self.meter = Meter(wish.state, wish.url)
        self.drive = Drive(say=say, on_progress=self._on_progress, on_look=self._look)
        self.schedule = self._schedule(recordings_of(self.story, wish.file))
        self.knee = self._knee()
        self.standings: dict[int, Standing] = {}
        """The newest of each process, by pid."""
        self._slow = {each.name for each in self.story.viewers if each.bytes_per_s is not None}
        self._say = say
        self._on_look = on_look

    def _schedule(self, recordings: dict[str, list[Recording]]) -> Schedule:
        story, wish = self.story, self.wish
        if wish.is_until_breaking:
            fastest = max((each.per_s for each in story.citizens), default=PER_S_MAX)
            pace = steps(wish.step_s, STEP_GROWTH, PER_S_MAX / fastest)
            return Schedule(story, recordings, paces=pace.pieces)
        rounds = (
            1 if wish.soak_s is None else -(-int(wish.soak_s * 1000) // int(story.seconds * 1000))
        )
        return Schedule(story, recordings, rounds=rounds)

    def _knee(self) -> Knee | None:
        paces = self.schedule.paces
        if paces is None:
            return None
        if not self.story.citizens or not self.story.viewers:
            raise RunFailed("--until-breaking needs a story with citizens and viewers")
        return Knee(self.wish.step_s, [piece[1] for piece in paces], self.story.thresholds)

    @property
    def scene(self) -> Scene:
        drive = self.drive
        return Scene(
            schedule=self.schedule,
            timeline=self.timeline,
            readings=self.meter.readings,
            own=self.meter.own,
            knee=self.knee,
            entered=drive.entered,
            entering=drive.entering,
        )

    def run(self) -> Outcome:
        """Raises: RunFailed."""
        story = self.story
        room = sanctuary_of(story.sanctuary)
        common = Plan(self.wish.url, room, wall_ms() * 1_000_000 - monotonic_ns())
        assaults = self.schedule.assaults()
        found = self.drive.run(
            [plan for group in story.viewers for plan in self._audiences(common, group)],
            self._speakers(common),
            AttackersPlan(common, assaults) if assaults else None,
        )
        if self.knee is not None:
            self.knee.judge(self._carried)
        # the first one's first viewer speaks for all at coarse: it must be there, and quick
        in_room = self._in_the_room()
        audiences = sorted(found.audiences, key=lambda each: each.group not in in_room)
        verdict = judge(
            found.speakers,
            audiences,
            viewers=sum(each.count for each in story.viewers),
            ended_early=self.drive.is_stopped and self.knee is None,
        )
        judge_coarse(verdict, found.speakers, [each for each in audiences if each.group in in_room])
        return Outcome(
            story=story,
            verdict=verdict,
            attacks=[] if found.attackers is None else found.attackers.attacks,
            audiences=found.audiences,
            timeline=self.timeline,
            readings=self.meter.readings,
            own_readings=self.meter.own,
            knee=self.knee,
            acts=self._acts(),
        )

    def _in_the_room(self) -> set[str]:
        """Viewers whose coarse cells can be judged: there, and reading as fast as they come."""
        return {
            each.name
            for each in self.story.viewers
            if each.stage is None and each.bytes_per_s is None
        }

    def _audiences(self, common: Plan, group: Viewers) -> Iterable[AudiencePlan]:
        if group.stage is not None:
            common = common._replace(sanctuary=sanctuary_of(group.stage))
        changes = self.schedule.viewers_changes(group.name)
        verifying, first = group.verify, 0
        books = group.count if group.books is None else group.books
        for viewers in split(group.count, self._share(group.count, VIEWERS_A_PROCESS)):
            yield AudiencePlan(
                common,
                viewers,
                min(viewers, verifying),
                books=min(viewers, books),
                group=group.name,
                bytes_per_s=group.bytes_per_s,
                is_public=group.stage is not None,
                changes=tuple(
                    each._replace(who=each.who - first)
                    for each in changes
                    if first <= each.who < first + viewers
                ),
            )
            verifying, books = max(0, verifying - viewers), max(0, books - viewers)
            first += viewers

    def _speakers(self, common: Plan) -> list[SpeakersPlan]:
        roles, changes = self._roles(), self.schedule.changes()
        plans: list[SpeakersPlan] = []
        first = 0
        shares = split(len(roles), self._share(len(roles), PEOPLE_A_PROCESS_MIN))
        for people in shares or [0]:
            of: list[Role] = roles[first : first + people]
            numbers = frozenset(role.number for role in of)
            plans.append(
                SpeakersPlan(
                    common,
                    of,
                    Told(self.schedule, numbers),
                    [change for change in changes if change.who in numbers],
                    until_ms=self.schedule.length_ms,
                )
            )
            first += people
        return plans

    def _roles(self) -> list[Role]:
        """With the keys of those who keep them. Raises: RunFailed."""
        roles = self.schedule.roles()
        if self.wish.keys is None:
            return roles
        for role, keyring in voices(roles, self.wish.keys):
            self._say(f"{role.name} is the voice {role.stage}={keyring.did}")
            roles[role.number] = role._replace(keys=keyring.dump())
        return roles

    def _share(self, total: int, least: int) -> int:
        """How many a process takes: evenly over all, but no fewer than are worth one."""
        processes = self.wish.processes or os.cpu_count() or 1
        return max(least, -(-total // processes))

    def _acts(self) -> list[tuple[int, str]]:
        """(begins at ms, name), as far as it was played."""
        found: list[tuple[int, str]] = []
        began_ms = 0.0
        for place, (length_s, _, _) in enumerate(self.schedule.pace.pieces):
            if began_ms <= self.timeline.at_ms and place < 200:
                found.append((round(began_ms), self.schedule.act_at(round(began_ms) + 1)))
            began_ms += length_s * 1000
        return found

    def _on_progress(self, progress: Progress, whose: str) -> None:
        if progress.standing is not None:
            self.standings[progress.standing.process] = progress.standing
        is_sending = whose in {"speakers", "attackers"}
        self.timeline.add(progress, is_sending=is_sending, is_slow=whose in self._slow)
        if whose == "speakers" or whose in self._in_the_room():
            self._carried.add(progress, is_sending=is_sending)

    def _look(self) -> None:
        now_ns = monotonic_ns()
        if self.drive.began_ns and now_ns >= self.drive.began_ns:
            at_ms = (now_ns - self.drive.began_ns) // 1_000_000
            self.meter.read(now_ns, at_ms, self.drive.pids)
            if (
                self.knee is not None
                and not self.drive.is_stopped
                and self.knee.judge(self._carried)
            ):
                self.drive.stop()
        self._on_look(self)

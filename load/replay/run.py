"""`synchronia load replay`: plays recordings of people into a city and keeps the books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from load.judge.verdict import Verdict, judge, judge_coarse
from load.story.recordings import Recording, play_ms, rate_hz, read_directory
from load.story.schedule import Role, tiers_of
from load.swarm.drive import VIEWERS_A_PROCESS, Drive, RunFailed, split
from load.swarm.plan import AudiencePlan, Plan, Progress, Recorded, SpeakersPlan
from shared.runtime.clock import monotonic_ns, wall_ms

SAMPLES_PER_S_MAX = 128
"""A citizen's default rate: beyond it ingest refuses, so a speed that needs more is refused here."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The command line, read."""

    directory: Path
    url: str
    sanctuary: bytes
    speed: float = 1.0
    viewers: int = 8
    verifying: int = 2
    grants: str = "mixed"
    seed: int = 1
    is_looped: bool = False
    seconds: float | None = None
    withdraw_every_s: float | None = None


class Replay:
    """One play."""

    def __init__(
        self,
        wish: Wish,
        *,
        say: Callable[[str], None],
        progress: Callable[[int, int, int], None],
    ) -> None:
        self.wish = wish
        self.recordings: list[Recording] = read_directory(wish.directory)
        self.tiers = tiers_of(wish.grants, len(self.recordings), wish.seed)
        self.length_ms = int(sum(play_ms(self.recordings).values()) / wish.speed)
        self.drive = Drive(say=say, on_progress=self._on_progress)
        self._progress = progress
        self._delivered = self._sent = self._at_ms = 0
        needed = rate_hz(self.recordings) * wish.speed
        if needed > SAMPLES_PER_S_MAX:
            raise RunFailed(
                f"at --speed {wish.speed:g} a person would send {needed:.0f} samples a second;"
                f" a city takes {SAMPLES_PER_S_MAX}"
            )

    def run(self) -> Verdict:
        """Raises: RunFailed."""
        wish = self.wish
        common = Plan(wish.url, wish.sanctuary, wall_ms() * 1_000_000 - monotonic_ns())
        audiences, verifying = [], wish.verifying
        for viewers in split(wish.viewers, VIEWERS_A_PROCESS):
            audiences.append(AudiencePlan(common, viewers, min(viewers, verifying)))
            verifying = max(0, verifying - viewers)
        speakers = SpeakersPlan(
            common,
            [
                Role(number, recording.person, tier)
                for number, (recording, tier) in enumerate(
                    zip(self.recordings, self.tiers, strict=True)
                )
            ],
            Recorded(self.recordings, wish.speed, wish.is_looped),
            [],
            wish.seconds,
            wish.withdraw_every_s,
        )
        found = self.drive.run(audiences, [speakers])
        verdict = judge(
            found.speakers,
            found.audiences,
            viewers=wish.viewers,
            ended_early=self.drive.is_stopped,
        )
        judge_coarse(verdict, found.speakers, found.audiences)
        return verdict

    def _on_progress(self, progress: Progress, whose: str) -> None:
        if whose == "speakers":
            self._sent, self._at_ms = self._sent + progress.samples, progress.at_ms
        else:
            self._delivered += progress.samples
        self._progress(self._at_ms, self._sent, self._delivered)

"""`synchronia load replay`: plays recordings of people into a city and keeps the books. The parent.

Speakers and viewers run in processes of their own, so that no drawing on the screen delays a sample;
this one relays what was signed, shows progress, and judges.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from load.audience import audience_process
from load.plan import (
    AudiencePlan,
    AudienceReport,
    Begin,
    Failed,
    Finish,
    GrantActed,
    GrantSigned,
    Leave,
    Plan,
    Progress,
    Ready,
    Silenced,
    SpeakersPlan,
    SpeakersReport,
    Stop,
)
from load.recordings import Recording, play_ms, rate_hz, read_directory
from load.schedule import tiers_of
from load.speakers import speakers_process
from load.verdict import Verdict, judge, unexplained
from shared.runtime.clock import monotonic_ns, wall_ms

VIEWERS_A_PROCESS = 250
READY_S_MAX = 90.0
"""For everyone to connect, enrol and sit down."""
LEAD_NS = 300_000_000
FINISH_S_MAX = 4.0
REPORT_S_MAX = 30.0
END_S_MAX = 5.0
SAMPLES_PER_S_MAX = 128
"""A citizen's default rate: beyond it ingest refuses, so a speed that needs more is refused here."""


class ReplayFailed(Exception):  # noqa: N818  (an outcome; the sentence is for a person)
    """The replay could not be played to its end; the sentence says why."""


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
    """One play. `stop` ends it early; the books are kept all the same."""

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
        self.length_ms = sum(play_ms(self.recordings).values())
        self.is_stopped = False
        self._is_interrupted = False
        self._say = say
        self._progress = progress
        self._children: dict[Pipe, BaseProcess] = {}
        self._speakers: Pipe | None = None
        self._audiences: list[Pipe] = []
        self._delivered: dict[int, int] = {}
        self._waiting_silenced: dict[bytes, list[Silenced]] = {}
        self._reports: dict[Pipe, object] = {}
        self._ready: set[int] = set()
        self._sent = self._at_ms = 0
        needed = rate_hz(self.recordings) * wish.speed
        if needed > SAMPLES_PER_S_MAX:
            raise ReplayFailed(
                f"at --speed {wish.speed:g} a person would send {needed:.0f} samples a second;"
                f" a city takes {SAMPLES_PER_S_MAX}"
            )

    def run(self) -> Verdict:
        """Raises: ReplayFailed."""
        try:
            return self._run()
        finally:
            self._end_children()

    def _run(self) -> Verdict:
        wish = self.wish
        common = Plan(wish.url, wish.sanctuary, wall_ms() * 1_000_000 - monotonic_ns())
        left, verifying = wish.viewers, wish.verifying
        while left > 0:
            viewers = min(left, VIEWERS_A_PROCESS)
            plan = AudiencePlan(common, viewers, min(viewers, verifying))
            self._audiences.append(self._spawn(audience_process, plan))
            left, verifying = left - viewers, max(0, verifying - viewers)
        self._say(f"{wish.viewers} viewers enter")
        for audience in self._audiences:
            self._await(partial(self._is_ready, audience), READY_S_MAX)
        self._say(f"{len(self.recordings)} people enter, grant and open their strands")
        seconds = wish.seconds
        speakers = self._spawn(
            speakers_process,
            SpeakersPlan(
                common,
                self.recordings,
                self.tiers,
                wish.speed,
                wish.is_looped,
                seconds,
                wish.withdraw_every_s,
            ),
        )
        self._speakers = speakers
        self._await(partial(self._is_ready, speakers), READY_S_MAX)
        speakers.send(Begin(monotonic_ns() + LEAD_NS))
        self._await(lambda: speakers in self._reports, None)
        spoken = self._reports[speakers]
        assert isinstance(spoken, SpeakersReport)
        for audience in self._audiences:
            audience.send(Finish(spoken.totals, FINISH_S_MAX))
        self._await(lambda: len(self._reports) == 1 + len(self._audiences), REPORT_S_MAX)
        seen = [each for each in self._reports.values() if isinstance(each, AudienceReport)]
        verdict = judge(spoken, seen, viewers=wish.viewers, ended_early=self.is_stopped)
        self._judge_coarse(verdict, spoken, seen)
        return verdict

    def _is_ready(self, pipe: Pipe) -> bool:
        return pipe.fileno() in self._ready

    def _judge_coarse(
        self, verdict: Verdict, spoken: SpeakersReport, seen: list[AudienceReport]
    ) -> None:
        """The first audience's first viewer speaks for all. Strangers' cells cannot be explained; as
        many as were there before may be there still, under whatever pseudonym.
        """
        for audience in seen[:1]:
            for tick in audience.coarse:
                left = unexplained(tick, spoken.people) - audience.strangers
                verdict.coarse_unexplained += max(0, left)
        if verdict.coarse_unexplained:
            verdict.against["coarse cells that nobody felt"] = verdict.coarse_unexplained

    def _spawn(self, target: Callable[..., None], plan: object) -> Pipe:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(target=target, args=(plan, theirs), daemon=True)
        child.start()
        theirs.close()
        self._children[ours] = child
        return ours

    def interrupt(self, *_: object) -> None:
        """A handler of SIGINT: the first one ends the play early, with its books; another one, or one
        before the play began, ends the tool. Only marks it: a message may be half sent right now.
        """
        if self._is_interrupted or self._speakers is None:
            raise KeyboardInterrupt
        self._is_interrupted = True

    def stop(self) -> None:
        self.is_stopped = True
        if self._speakers is not None and self._speakers not in self._reports:
            self._speakers.send(Stop())

    def _await(self, met: Callable[[], bool], within_s: float | None) -> None:
        deadline_ns = None if within_s is None else monotonic_ns() + int(within_s * 1e9)
        while not met():
            if deadline_ns is not None and monotonic_ns() > deadline_ns:
                raise ReplayFailed("a process of the replay did not answer in time")
            for pipe in wait(list(self._children), timeout=0.25):
                assert not isinstance(pipe, int)
                self._relay(pipe)  # type: ignore[arg-type]
            if self._is_interrupted and not self.is_stopped:
                self.stop()

    def _relay(self, pipe: Pipe) -> None:
        try:
            message = pipe.recv()
        except EOFError:
            raise ReplayFailed("a process of the replay ended by itself") from None
        match message:
            case Ready():
                self._ready.add(pipe.fileno())
            case Progress():
                if pipe is self._speakers:
                    self._sent, self._at_ms = message.samples, message.at_ms
                else:
                    self._delivered[pipe.fileno()] = message.samples
                self._progress(self._at_ms, self._sent, sum(self._delivered.values()))
            case GrantSigned() | GrantActed():
                for audience in self._audiences:
                    audience.send(message)
            case Silenced():
                self._on_silenced(pipe, message)
            case SpeakersReport() | AudienceReport():
                self._reports[pipe] = message
            case Failed():
                raise ReplayFailed(message.sentence)
            case _:
                raise AssertionError(message)

    def _on_silenced(self, pipe: Pipe, message: Silenced) -> None:
        """From the speakers: ask every audience. From an audience: when all answered, tell them."""
        if pipe is self._speakers:
            self._waiting_silenced[message.citizen] = []
            for audience in self._audiences:
                audience.send(message)
            if self._audiences:
                return
        answers = self._waiting_silenced[message.citizen]
        answers.append(message)
        if len(answers) >= len(self._audiences) and self._speakers is not None:
            last_ns = max(each.last_ns for each in answers)
            self._speakers.send(message._replace(last_ns=last_ns))

    def _end_children(self) -> None:
        for pipe in self._children:
            try:
                pipe.send(Leave())
            except OSError:
                continue  # it has ended already
        for pipe, child in self._children.items():
            child.join(END_S_MAX)
            if child.is_alive():
                child.kill()
                child.join()
            pipe.close()

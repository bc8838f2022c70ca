"""Drives one run: starts the processes, relays what was signed, gathers the reports. The parent's side.

Speakers, viewers and attackers run in processes of their own, so that no drawing on the screen delays
a sample.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple, TypeVar

from load.swarm.attackers import attackers_process
from load.swarm.audience import audience_process
from load.swarm.plan import (
    AttackersPlan,
    AttackersReport,
    AudiencePlan,
    AudienceReport,
    Begin,
    Entered,
    Failed,
    Finish,
    GrantActed,
    GrantSigned,
    Leave,
    Progress,
    Ready,
    Silenced,
    SpeakersPlan,
    SpeakersReport,
    Stop,
)
from load.swarm.speakers import speakers_process
from shared.runtime.clock import monotonic_ns

VIEWERS_A_PROCESS = 250
STALLED_S_MAX = 90.0
"""How long nobody may come in before it is given up. The whole crowd may take longer: each identity and
grant is on the city's disk before it is answered.
"""
LEAD_NS = 300_000_000
FINISH_S_MAX = 4.0
REPORT_S_MAX = 30.0
END_S_MAX = 5.0
LOOK_S = 0.25

Report = TypeVar("Report")


def split(total: int, most: int) -> list[int]:
    """Into shares of at most so many."""
    whole, rest = divmod(total, most)
    return [most] * whole + ([rest] if rest else [])


class RunFailed(Exception):  # noqa: N818  (an outcome; the sentence is for a person)
    """The run could not be driven to its end; the sentence says why."""


class Found(NamedTuple):
    """All reports of a run."""

    speakers: SpeakersReport
    audiences: list[AudienceReport]
    attackers: AttackersReport | None


class Drive:
    """One run. `stop` ends it early; the books are kept all the same."""

    def __init__(
        self,
        *,
        say: Callable[[str], None],
        on_progress: Callable[[Progress, str], None],
        on_look: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_progress`: with whose it is, `speakers`, `attackers`, or the viewers' group. `on_look`:
        some four times a second while it runs.
        """
        self.is_stopped = False
        self.began_ns = 0
        self.entered = self.entering = 0
        """People and viewers who are in, of how many."""
        self._is_interrupted = False
        self._say = say
        self._on_progress = on_progress
        self._on_look = on_look
        self._children: dict[Pipe, BaseProcess] = {}
        self._speakers: list[Pipe] = []
        self._attackers: list[Pipe] = []
        self._audiences: dict[Pipe, str] = {}
        self._silenced_by: dict[bytes, tuple[Pipe, list[Silenced]]] = {}
        self._reports: dict[Pipe, object] = {}
        self._ready: set[Pipe] = set()

    def run(
        self,
        audiences: Sequence[AudiencePlan],
        speakers: Sequence[SpeakersPlan],
        attackers: AttackersPlan | None = None,
    ) -> Found:
        """Raises: RunFailed."""
        try:
            return self._run(audiences, speakers, attackers)
        finally:
            self._end_children()

    def _run(
        self,
        audiences: Sequence[AudiencePlan],
        speakers: Sequence[SpeakersPlan],
        attackers: AttackersPlan | None,
    ) -> Found:
        viewers = sum(plan.viewers for plan in audiences)
        self.entering = viewers + sum(len(plan.roles) for plan in speakers)
        self._say(f"{viewers} viewers enter")
        for audience in audiences:
            self._audiences[self._spawn(audience_process, audience)] = audience.group
        # before anybody speaks: who is seen until then is a stranger
        self._await_entered(self._audiences)
        people = sum(len(plan.roles) for plan in speakers)
        self._say(f"{people} people enter, grant and open their strands")
        for plan in speakers:
            self._speakers.append(self._spawn(speakers_process, plan))
        if attackers is not None:
            self._attackers.append(self._spawn(attackers_process, attackers))
        driving = [*self._speakers, *self._attackers]
        self._await_entered(driving)
        self.began_ns = monotonic_ns() + LEAD_NS
        for pipe in self._children:
            pipe.send(Begin(self.began_ns))
        self._say("it begins")
        self._await(lambda: self._reports.keys() >= set(driving), None)
        spoken = _merged(self._all_reports(SpeakersReport))
        attacked = next(iter(self._all_reports(AttackersReport)), None)
        totals = spoken.totals | (attacked.totals if attacked else {})
        for pipe in self._audiences:
            pipe.send(Finish(totals, FINISH_S_MAX, spoken.visible))
        self._await(lambda: len(self._reports) == len(self._children), REPORT_S_MAX)
        return Found(spoken, self._all_reports(AudienceReport), attacked)

    def _all_reports(self, kind: type[Report]) -> list[Report]:
        """In the order in which the processes were started."""
        reports = [self._reports.get(pipe) for pipe in self._children]
        return [each for each in reports if isinstance(each, kind)]

    def _spawn(self, target: Callable[..., None], plan: object) -> Pipe:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(target=target, args=(plan, theirs), daemon=True)
        child.start()
        theirs.close()
        self._children[ours] = child
        return ours

    def interrupt(self, *_: object) -> None:
        """A handler of SIGINT: the first one ends the run early, with its books; another one, or one
        before the run began, ends the tool. Only marks it: a message may be half sent right now.
        """
        if self._is_interrupted or not self._speakers:
            raise KeyboardInterrupt
        self._is_interrupted = True

    def pids(self) -> dict[str, int]:
        """Of the run's own processes, by what they are: `speakers 1`, `viewers friends 1`."""
        found: dict[str, int] = {}
        for pipe, child in self._children.items():
            what = "speakers" if pipe in self._speakers else "attackers"
            what = f"viewers {self._audiences[pipe]}" if pipe in self._audiences else what
            number = sum(name.rpartition(" ")[0] == what for name in found) + 1
            if child.pid is not None:
                found[f"{what} {number}"] = child.pid
        return found

    def stop(self) -> None:
        self.is_stopped = True
        for pipe in (*self._speakers, *self._attackers):
            if pipe not in self._reports:
                pipe.send(Stop())

    def _await_entered(self, processes: Iterable[Pipe]) -> None:
        """As long as somebody comes in every now and then. Raises: RunFailed."""
        wanted = set(processes)
        while not self._ready >= wanted:
            self._await_another(wanted, self.entered)

    def _await_another(self, wanted: set[Pipe], before: int) -> None:
        self._await(
            lambda: self._ready >= wanted or self.entered > before,
            STALLED_S_MAX,
            f"nobody came in for {STALLED_S_MAX:g} s; {before} of {self.entering} are in",
        )

    def _await(
        self,
        met: Callable[[], bool],
        within_s: float | None,
        or_else: str = "a process of the run did not answer in time",
    ) -> None:
        deadline_ns = None if within_s is None else monotonic_ns() + int(within_s * 1e9)
        while not met():
            if deadline_ns is not None and monotonic_ns() > deadline_ns:
                raise RunFailed(or_else)
            for pipe in wait(list(self._children), timeout=LOOK_S):
                assert not isinstance(pipe, int)
                self._relay(pipe)  # type: ignore[arg-type]
            self._on_look()
            if self._is_interrupted and not self.is_stopped:
                self.stop()

    def _relay(self, pipe: Pipe) -> None:
        try:
            message = pipe.recv()
        except EOFError:
            raise RunFailed("a process of the run ended by itself") from None
        match message:
            case Entered():
                self.entered += 1
            case Ready():
                self._ready.add(pipe)
            case Progress():
                whose = "attackers" if pipe in self._attackers else "speakers"
                self._on_progress(message, self._audiences.get(pipe, whose))
            case GrantSigned() | GrantActed():
                for audience in self._audiences:
                    audience.send(message)
            case Silenced():
                self._on_silenced(pipe, message)
            case SpeakersReport() | AudienceReport() | AttackersReport():
                self._reports[pipe] = message
            case Failed():
                raise RunFailed(message.sentence)
            case _:
                raise AssertionError(message)

    def _on_silenced(self, pipe: Pipe, message: Silenced) -> None:
        """From speakers: ask every audience. From an audience: when all answered, tell who asked."""
        if pipe not in self._audiences:
            self._silenced_by[message.citizen] = (pipe, [])
            for audience in self._audiences:
                audience.send(message)
            if self._audiences:
                return
        asked, answers = self._silenced_by[message.citizen]
        answers.append(message)
        if len(answers) >= len(self._audiences):
            last_ns = max(each.last_ns for each in answers)
            asked.send(message._replace(last_ns=last_ns))

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


def _merged(reports: list[SpeakersReport]) -> SpeakersReport:
    """Of several processes, as of one."""
    return SpeakersReport(
        people=[person for each in reports for person in each.people],
        totals={strand: total for each in reports for strand, total in each.totals.items()},
        visible={strand: room for each in reports for strand, room in each.visible.items()},
        withdrawals=[silenced for each in reports for silenced in each.withdrawals],
        late_ms_max=max((each.late_ms_max for each in reports), default=0.0),
        elapsed_s=max((each.elapsed_s for each in reports), default=0.0),
    )

"""What the processes of a run tell each other. Pickled over pipes between our own processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from load.story.recordings import Cue, Recording, cues
from load.story.schedule import Assault, Change, Role, Schedule
from shared.client.accounts import AccountsReport
from shared.contracts.records import Tier


class TurnedAway(Exception):  # noqa: N818  (an outcome)
    """Somebody who enters was refused for good: waiting would change nothing."""


class Plan(NamedTuple):
    """Common to everyone. `wall_zero_ns`: Unix time minus the monotonic clock, read once, so that a
    sample's stamp is its intended send time on the clock that all processes of a machine share.
    """

    url: str
    sanctuary: bytes
    wall_zero_ns: int


class Score(Protocol):
    """Where the samples come from, in the order of their times."""

    def cues(self) -> Iterator[Cue]: ...


class Recorded(NamedTuple):
    """Recordings, played at a speed; without end if `is_looped`."""

    recordings: list[Recording]
    speed: float
    is_looped: bool

    def cues(self) -> Iterator[Cue]:
        for cue in cues(self.recordings, is_looped=self.is_looped):
            yield Cue(int(cue.at_ms / self.speed), cue.person, cue.valence, cue.arousal)


class Told(NamedTuple):
    """A story's samples of some of its people."""

    schedule: Schedule
    people: frozenset[int]

    def cues(self) -> Iterator[Cue]:
        return self.schedule.cues(self.people)


class SpeakersPlan(NamedTuple):
    common: Plan
    roles: list[Role]
    """Those of this process."""
    score: Score
    changes: list[Change]
    """Of these people, in the order of time."""
    seconds: float | None = None
    withdraw_every_s: float | None = None
    until_ms: int | None = None
    """The play lasts so long, though nobody speaks any more."""


class AudiencePlan(NamedTuple):
    common: Plan
    viewers: int
    verifying: int
    """How many of them check every opening, seal and hash; the others keep the books of numbers."""
    books: int | None = None
    """How many of them keep the books, those who verify among them; the others count. nil: all."""
    group: str = ""
    bytes_per_s: int | None = None
    """Slow viewers: how fast each reads."""
    is_public: bool = False
    """They watch a public stage without an account, and keep books of whoever speaks there."""
    changes: tuple[Change, ...] = ()
    """`reconnect`, in the order of time; `who` counts this process's viewers from 0."""


class AttackersPlan(NamedTuple):
    common: Plan
    assaults: list[Assault]


# To a child.


class Begin(NamedTuple):
    at_ns: int


class Stop(NamedTuple):
    """Speakers and attackers: close every strand and report. A second one is not needed."""


class Finish(NamedTuple):
    """Audience: wait for what is still under way (at most `within_s`), then report."""

    totals: dict[bytes, int]
    """Numbers of each strand that its citizen closed."""
    within_s: float
    visible: dict[bytes, bytes]
    """Strand → sanctuary, of those who granted `full` all along: every viewer there was shown them."""


class Leave(NamedTuple):
    """Everything is reported: close the sockets and end."""


class GrantSigned(NamedTuple):
    citizen: bytes
    tier: Tier
    at_ns: int


class GrantActed(NamedTuple):
    citizen: bytes
    tier: Tier
    at_ns: int


class Silenced(NamedTuple):
    """A withdrawal was acted upon a while ago: when did the last byte arrive? `last_ns` by audience.
    `acted_ns` and `recorded_ns` are 0 if that was not answered.
    """

    citizen: bytes
    tier: Tier
    sent_ns: int
    acted_ns: int
    recorded_ns: int
    last_ns: int = 0


# From a child.


class Entered(NamedTuple):
    """One more is in: connected, enrolled, seated."""


class Ready(NamedTuple):
    """Everybody of this process is."""


@dataclass(slots=True)
class Standing:
    """How a process stands: totals since it began, and what is so now."""

    process: int
    """Its pid."""
    late_s: float = 0.0
    """Of the latest sample since it was told last: how far the tool was behind its schedule."""
    connections: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By role (`people` or `viewers`) and state: `connecting`, `ready`, `speaking`, `watching`."""
    refused: Counter[str] = field(default_factory=Counter)
    unsent: int = 0
    accounts: AccountsReport = field(default_factory=AccountsReport)
    windows: Counter[str] = field(default_factory=Counter)
    forged: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Since the last one: samples sent or delivered, and what goes with them."""

    samples: int
    at_ms: int
    """Of the play, which began at 0."""
    latencies: Counter[int] = field(default_factory=Counter)
    """By `STEP_NS`."""
    due: Counter[int] = field(default_factory=Counter)
    """The samples by the second of the play in which they were to be sent."""
    batches: Counter[int] = field(default_factory=Counter)
    """Frames by the samples in them; each distinct frame once, however many viewers it had."""
    bytes_received: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    """How many viewers more, or fewer, stand on each rung of the ladder; on `closed`: fell off."""
    standing: Standing | None = None
    """Every now and then."""


class Failed(NamedTuple):
    sentence: str


@dataclass(slots=True)
class Felt:
    """One sample: when it was to be sent, its cell, and whether it surely was admitted."""

    due_ns: int
    cell: int
    is_sure: bool = False


@dataclass(slots=True)
class PersonReport:
    person: str
    citizen: bytes
    tier: Tier
    sent: int = 0
    admitted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    not_sent: int = 0
    """Fell due while there was no open strand (entering, reconnecting): never numbered."""
    strands: int = 0
    interrupted: int = 0
    was_coarse: bool = False
    """For a while, whatever `tier` it began with."""
    turned_away: str = ""
    """Why the city did not let it into its room, if so."""
    cells: list[Felt] = field(default_factory=list)
    """What a person at coarse sent, in order."""


class SpeakersReport(NamedTuple):
    people: list[PersonReport]
    totals: dict[bytes, int]
    visible: dict[bytes, bytes]
    """As in `Finish`."""
    withdrawals: list[Silenced]
    late_ms_max: float
    """How late the tool itself was, at worst; it counts into the latencies."""
    elapsed_s: float


class CoarseSeen(NamedTuple):
    received_ns: int
    tick: int
    cells: tuple[int, ...]


@dataclass(slots=True)
class AttackReport:
    """What became of one attack."""

    kind: str
    tried: int = 0
    admitted: int = 0
    """Taken as good by the city. Of a flood some may be; of the others none."""
    admitted_max: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """By reason, as far as the city answered."""
    seats: int = 0
    """Of a crowd: how many sat down in the room."""
    closed: int = 0
    """Connections that the city ended."""

    def refuse(self, reason: str, count: int = 1) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + count


class AttackersReport(NamedTuple):
    attacks: list[AttackReport]
    totals: dict[bytes, int]


TWO_IN_A_TICK = "two coarse records in a tick"
"""Among what was against a grant."""


class AudienceReport(NamedTuple):
    accounts: AccountsReport
    latencies: Counter[int]
    windows: dict[str, int]
    coarse: list[CoarseSeen]
    """Of one viewer, by tick."""
    strangers: int
    """People at coarse who were in the room before ours."""
    frames: int
    bytes_received: int
    orphans: int
    group: str = ""
    is_slow: bool = False
    viewers: int = 0
    forged: int = 0
    """Samples that an attacker made in another's name, as often as they were seen."""
    never_shown: int = 0
    """Samples of strands that a viewer had a right to and was not even shown."""
    owed: int = 0
    """Strands that viewers had a right to, whatever they missed meanwhile."""

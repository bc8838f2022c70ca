"""What the processes of a replay tell each other. Pickled over pipes between our own processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from load.recordings import Recording
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


class SpeakersPlan(NamedTuple):
    common: Plan
    recordings: list[Recording]
    tiers: list[Tier]
    speed: float
    is_looped: bool
    seconds: float | None
    withdraw_every_s: float | None


class AudiencePlan(NamedTuple):
    common: Plan
    viewers: int
    verifying: int
    """How many of them check every opening, seal and hash; the others keep the books of numbers."""


# To a child.


class Begin(NamedTuple):
    at_ns: int


class Stop(NamedTuple):
    """Speakers: close every strand and report. A second one is not needed."""


class Finish(NamedTuple):
    """Audience: wait for what is still under way (at most `within_s`), then report."""

    totals: dict[bytes, int]
    """Numbers of each strand that its citizen closed."""
    within_s: float


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
    """A withdrawal was acted upon a while ago: when did the last byte arrive? `last_ns` by audience."""

    citizen: bytes
    tier: Tier
    sent_ns: int
    acted_ns: int
    recorded_ns: int
    last_ns: int = 0


# From a child.


class Ready(NamedTuple):
    people: list[bytes]


class Progress(NamedTuple):
    samples: int
    at_ms: int


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
    """Fell due while there was no open strand (reconnecting): never numbered."""
    strands: int = 0
    interrupted: int = 0
    cells: list[Felt] = field(default_factory=list)
    """What a person at coarse sent, in order."""


class SpeakersReport(NamedTuple):
    people: list[PersonReport]
    totals: dict[bytes, int]
    withdrawals: list[Silenced]
    late_ms_max: float
    """How late the tool itself was, at worst; it counts into the latencies."""
    elapsed_s: float


class CoarseSeen(NamedTuple):
    received_ns: int
    tick: int
    cells: tuple[int, ...]


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

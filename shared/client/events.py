"""What a session tells its owner. Viewer messages pass through as they came. Pure."""

from __future__ import annotations

from typing import NamedTuple

from shared.client.viewer import WindowJudged
from shared.contracts.client import (
    Closeness,
    Coarse,
    Gap,
    PolicyChanged,
    Released,
    Rung,
    SampleShown,
    SealShown,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)
from shared.contracts.records import Policy, Signed
from shared.identifiers import CitizenId


class SessionReady(NamedTuple):
    """Welcome, with a citizen id."""

    citizen: CitizenId


class Seated(NamedTuple):
    sanctuary: bytes
    policy: Policy


class SeatRefused(NamedTuple):
    sanctuary: bytes
    reason: str
    will_retry: bool


class FollowsTaken(NamedTuple):
    """The city has the list of whom this session follows. Whether they are seen is theirs to say."""

    sanctuary: bytes
    people: int


class VoiceOpened(NamedTuple):
    """Samples can be sent. `resumed`: the same strand as before the reconnect."""

    sanctuary: bytes
    strand: bytes
    resumed: bool


class Interrupted(NamedTuple):
    """The strand ended without its citizen's doing; a new one is opened if it wants to speak."""

    sanctuary: bytes
    strand: bytes
    reason: str


class StrandClosedByUs(NamedTuple):
    """The closing seal was taken."""

    strand: bytes
    total: int


class WindowTaken(NamedTuple):
    strand: bytes
    window: int
    admitted: tuple[int, ...]


class NumbersRefused(NamedTuple):
    strand: bytes
    first: int
    last: int
    reason: str


class RecordActed(NamedTuple):
    """Every gateway passed every marker for this record."""

    ref: int | None
    counter: int


class RecordDurable(NamedTuple):
    ref: int
    counter: int


class RecordDeclined(NamedTuple):
    ref: int
    reason: str
    meaning: str


class ChainKnown(NamedTuple):
    """All pages of one's own chain have come."""

    counter: int
    records: tuple[Signed, ...]


class Declined(NamedTuple):
    """Any other refusal."""

    reason: str
    meaning: str


class MoveWanted(NamedTuple):
    within_s: int


ViewerMessage = (
    Snapshot
    | StrandShown
    | SampleShown
    | SealShown
    | Skipped
    | StrandEnded
    | Released
    | Coarse
    | Struck
    | Gap
    | Closeness
    | PolicyChanged
    | Rung
)
Event = (
    SessionReady
    | Seated
    | SeatRefused
    | FollowsTaken
    | VoiceOpened
    | Interrupted
    | StrandClosedByUs
    | WindowTaken
    | NumbersRefused
    | RecordActed
    | RecordDurable
    | RecordDeclined
    | ChainKnown
    | Declined
    | MoveWanted
    | WindowJudged
    | ViewerMessage
)

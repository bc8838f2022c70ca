"""A viewer's books: for each number at `full`, delivered, or skipped with a reason, or unaccounted.

Design, section 8 "Accounting": from the first number after a snapshot to the closing seal's total or
`struck`, delivered + skipped = sent; a missing number that nobody announced is unaccounted. Against a
grant is: above the tier that the tool itself signed; after `struck` without a later snapshot on that
connection; more than 1 s after `acted`. Pure, and cheap: one call a sample, no decoding of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.contracts.client import (
    Coarse,
    Gap,
    SampleShown,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)
from shared.contracts.records import Tier
from shared.identifiers import MonotonicNs

GRACE_NS = 1_000_000_000
"""How long after `acted` a byte may still be read: it may have waited in the viewer's own kernel."""
_NEVER = 2**63
SUSPECTS_MAX = 10_000


@dataclass(slots=True)
class CitizenGrant:
    """One citizen's grant to the audience, as the tool signed it, over time.

    `full_until_ns`: bytes at `full` are within the grant up to then. `last_ns`: when anyone here
    last received them.
    """

    is_known: bool = False
    """One of the tool's own people. The books keep others, and count nothing of them."""
    full_until_ns: int = 0
    last_ns: int = 0
    changes: list[tuple[int, int]] = field(default_factory=list)
    """(from when, `full` within the grant until when), one for each record."""


class GrantsSigned:
    """What the tool itself signed, by citizen; shared by all viewers of a process."""

    def __init__(self) -> None:
        self.by_citizen: dict[bytes, CitizenGrant] = {}

    def of(self, citizen: bytes) -> CitizenGrant:
        grant = self.by_citizen.get(citizen)
        if grant is None:
            grant = self.by_citizen[citizen] = CitizenGrant()
        return grant

    def signed(self, citizen: bytes, tier: Tier, at_ns: MonotonicNs) -> None:
        """A grant or withdrawal (`WITHHELD`) was signed. A narrowing binds from `acted` on."""
        grant = self.of(citizen)
        grant.is_known = True
        if tier >= Tier.FULL:
            grant.full_until_ns = _NEVER
            grant.changes.append((at_ns, _NEVER))

    def acted(self, citizen: bytes, tier: Tier, at_ns: MonotonicNs) -> None:
        """The record that left `tier` was acted upon everywhere."""
        grant = self.of(citizen)
        until_ns = at_ns + GRACE_NS
        if tier < Tier.FULL and grant.full_until_ns == _NEVER:
            grant.full_until_ns = until_ns
            if grant.changes:
                grant.changes[-1] = (grant.changes[-1][0], until_ns)

    def allows_full(self, citizen: bytes, at_ns: int) -> bool:
        """Whether a byte received at `at_ns` was within what had been signed, in hindsight."""
        changes = self.of(citizen).changes
        return any(from_ns <= at_ns <= until_ns for from_ns, until_ns in changes)


@dataclass(slots=True)
class StrandBooks:
    """One strand at one viewer, from a snapshot's number on."""

    sanctuary: bytes
    citizen: bytes
    grant: CitizenGrant
    next_seq: int
    delivered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    holes: list[list[int]] = field(default_factory=list)
    """Missing and not yet announced, as [first, last], ascending."""
    is_stale: bool = False
    """Of a former connection or before a snapshot: nothing may come until it is shown again."""
    is_told: bool = False
    """Stale, and the viewer knows that it missed something: by `gap`, or its own disconnect."""
    ended: str | None = None


@dataclass(slots=True)
class AccountsReport:
    """Totals; merged over viewers by `add`."""

    delivered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    lost_in_gaps: int = 0
    """Missing, but the viewer was told: a `gap`, or it was disconnected itself."""
    unaccounted: int = 0
    repeated: int = 0
    disordered: int = 0
    """Came after a higher number of the same strand."""
    gaps: int = 0
    snapshots: int = 0
    recovered: int = 0
    disconnects: int = 0
    against: dict[str, int] = field(default_factory=dict)
    coarse: int = 0
    struck: int = 0
    strands_open: int = 0

    def add(self, other: AccountsReport) -> None:
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count
            else:
                setattr(self, name, mine + theirs)


class Accounts:
    """One viewer's books."""

    def __init__(self, grants: GrantsSigned | None = None) -> None:
        self.grants = GrantsSigned() if grants is None else grants
        self.checks_grants = grants is not None
        self.strands: dict[bytes, StrandBooks] = {}
        self.totals = AccountsReport()
        self.suspects: list[tuple[bytes, int]] = []
        """(citizen, received at) of bytes that the grants known at that moment did not cover; judged
        by `report`, when the tool's own records have all arrived."""
        self._struck: dict[bytes, bytes] = {}
        self._told: set[bytes] = set()

    # One for each message that matters.

    def sample(self, strand: bytes, seq: int, now_ns: int) -> bool:
        """One number arrived; whether it is one of the tool's own people's."""
        books = self.strands.get(strand)
        if books is None or books.is_stale:
            self._against("after struck" if strand in self._struck else "never shown")
            return False
        grant = books.grant
        grant.last_ns = now_ns
        if now_ns > grant.full_until_ns and self.checks_grants and grant.is_known:
            self._suspect(books.citizen, now_ns)
        if seq == books.next_seq:
            books.next_seq = seq + 1
            books.delivered += 1
        elif seq > books.next_seq:
            books.holes.append([books.next_seq, seq - 1])
            books.next_seq = seq + 1
            books.delivered += 1
        elif self._fill(books, seq, seq):
            books.delivered += 1
            self.totals.disordered += 1
        else:
            self.totals.repeated += 1
        return grant.is_known

    def skipped(self, message: Skipped) -> None:
        books = self.strands.get(message.strand)
        if books is None or books.is_stale:
            return
        count = self._fill(books, message.first, message.last)
        if message.last >= books.next_seq:
            if message.first > books.next_seq:
                books.holes.append([books.next_seq, message.first - 1])
            count += message.last - max(message.first, books.next_seq) + 1
            books.next_seq = message.last + 1
        if count:
            books.skipped[message.reason] = books.skipped.get(message.reason, 0) + count

    def strand_shown(self, message: StrandShown, now_ns: int) -> None:
        books = self.strands.get(message.strand)
        self._struck.pop(message.strand, None)
        grant = self.grants.of(message.citizen)
        if now_ns > grant.full_until_ns and self.checks_grants:
            self._suspect(message.citizen, now_ns)  # a grant may be on its way here: judged later
        if books is not None:
            if message.next_seq > books.next_seq:
                books.holes.append([books.next_seq, message.next_seq - 1])
            self._close(books, is_told=books.is_told or message.sanctuary in self._told)
        self.strands[message.strand] = StrandBooks(
            message.sanctuary, message.citizen, grant, message.next_seq
        )

    def snapshot(self, message: Snapshot) -> None:
        self.totals.snapshots += 1
        self.totals.recovered += message.recovered
        told = message.sanctuary in self._told
        for books in self.strands.values():
            if books.sanctuary == message.sanctuary and not books.is_stale:
                books.is_stale, books.is_told = True, told
        self._told.discard(message.sanctuary)

    def gap(self, message: Gap) -> None:
        """Everything of this sanctuary up to the coming snapshot is announced as missed."""
        self.totals.gaps += 1
        self._told.add(message.sanctuary)

    def ended(self, message: StrandEnded) -> None:
        books = self.strands.get(message.strand)
        if books is None or books.is_stale or books.ended is not None:
            return
        books.ended = message.reason
        if message.total is not None and message.total > books.next_seq:
            books.holes.append([books.next_seq, message.total - 1])
            books.next_seq = message.total

    def struck(self, message: Struck) -> None:
        self.totals.struck += 1
        if message.citizen is None:
            return
        for strand, books in list(self.strands.items()):
            if books.citizen == message.citizen and books.sanctuary == message.sanctuary:
                self._struck[strand] = message.citizen
                self._close(books, is_told=False)
                del self.strands[strand]

    def coarse(self, _message: Coarse) -> None:
        self.totals.coarse += 1

    def disconnected(self) -> None:
        """This viewer knows itself that it missed something until the next snapshot."""
        self.totals.disconnects += 1
        self._told.clear()
        self._struck.clear()
        for books in self.strands.values():
            books.is_stale = books.is_told = True

    def apply(self, message: object, seq: int | None, now_ns: int) -> None:
        """The dispatch for those who hold decoded messages; `seq` is a sample's number."""
        match message:
            case SampleShown():
                assert seq is not None
                self.sample(message.strand, seq, now_ns)
            case Skipped():
                self.skipped(message)
            case StrandShown():
                self.strand_shown(message, now_ns)
            case Snapshot():
                self.snapshot(message)
            case Gap():
                self.gap(message)
            case StrandEnded():
                self.ended(message)
            case Struck():
                self.struck(message)
            case Coarse():
                self.coarse(message)
            case _:
                pass

    # The end.

    @property
    def open_strands(self) -> int:
        """Of the tool's own people: seen here, and not seen to end."""
        return sum(
            each.ended is None
            and not each.is_stale
            and (each.grant.is_known or not self.checks_grants)
            for each in self.strands.values()
        )

    def so_far(self) -> AccountsReport:
        """Totals up to now. What is missing in an open book is judged when that is closed."""
        found = AccountsReport()
        found.add(self.totals)
        for books in self.strands.values():
            if not self.checks_grants or books.grant.is_known:
                found.delivered += books.delivered
                for reason, count in books.skipped.items():
                    found.skipped[reason] = found.skipped.get(reason, 0) + count
        return found

    def report(self) -> AccountsReport:
        """Close every book. Call once."""
        self.totals.strands_open = self.open_strands
        for books in self.strands.values():
            self._close(books, is_told=books.is_told)
        self.strands = {}
        for citizen, at_ns in self.suspects:
            if self.grants.of(citizen).is_known and not self.grants.allows_full(citizen, at_ns):
                self._against("above the grant")
        self.suspects = []
        return self.totals

    def _close(self, books: StrandBooks, *, is_told: bool) -> None:
        if self.checks_grants and not books.grant.is_known:
            return
        self.totals.delivered += books.delivered
        for reason, count in books.skipped.items():
            self.totals.skipped[reason] = self.totals.skipped.get(reason, 0) + count
        missing = sum(last - first + 1 for first, last in books.holes)
        if is_told:
            self.totals.lost_in_gaps += missing
        else:
            self.totals.unaccounted += missing

    def _fill(self, books: StrandBooks, first: int, last: int) -> int:
        """Take `first`…`last` out of the holes; how many were in them."""
        filled = 0
        left: list[list[int]] = []
        for low, high in books.holes:
            a, b = max(low, first), min(high, last)
            if a > b:
                left.append([low, high])
                continue
            filled += b - a + 1
            if low < a:
                left.append([low, a - 1])
            if b < high:
                left.append([b + 1, high])
        books.holes = left
        return filled

    def _suspect(self, citizen: bytes, now_ns: int) -> None:
        if len(self.suspects) < SUSPECTS_MAX:
            self.suspects.append((citizen, now_ns))

    def _against(self, why: str) -> None:
        self.totals.against[why] = self.totals.against.get(why, 0) + 1

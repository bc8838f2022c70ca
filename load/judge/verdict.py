"""What a run found, and whether it is a failure. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from load.swarm.latency import STEP_NS, Latencies, Percentiles
from load.swarm.plan import (
    TWO_IN_A_TICK,
    AudienceReport,
    CoarseSeen,
    Felt,
    PersonReport,
    Silenced,
    SpeakersReport,
)
from shared.client.accounts import AccountsReport
from shared.contracts.records import Tier

COARSE_SPREAD_NS = 1_500_000_000
"""How long before a coarse record's arrival its cell may have been the newest: the tick is a second,
and the sample and the record each travel."""


class Judged(NamedTuple):
    """One law or threshold. A law's `most` is 0."""

    name: str
    value: float
    most: float
    is_law: bool = False

    @property
    def is_kept(self) -> bool:
        return self.value <= self.most


def law(name: str, breaches: int) -> Judged:
    return Judged(name, breaches, 0, is_law=True)


AFTER_STRUCK, NEVER_INTRODUCED = "after struck", "never shown"
"""Named by `shared.client.accounts`."""


@dataclass(slots=True)
class Verdict:
    people: list[PersonReport]
    accounts: AccountsReport
    latency: Percentiles
    """Of those who read as fast as they can."""
    windows: dict[str, int]
    withdrawals: list[Silenced]
    late_ms_max: float
    elapsed_s: float
    viewers: int
    coarse_ticks: int = 0
    coarse_per_tick_max: int = 0
    coarse_unexplained: int = 0
    ended_early: bool = False
    against: dict[str, int] = field(default_factory=dict)

    never_shown: int = 0
    owed: int = 0
    forged: int = 0

    def laws(self) -> list[Judged]:
        """The laws of any run, whoever speaks."""
        accounts, against = self.accounts, self.against
        told = {AFTER_STRUCK, NEVER_INTRODUCED, TWO_IN_A_TICK}
        above = sum(count for name, count in against.items() if name not in told)
        return [
            law(
                "unaccounted: in = out + refused + conflated + lost and shown", accounts.unaccounted
            ),
            law("granted in full, and never shown", self.never_shown),
            law("owed to viewers, and nothing came at all", self._nothing_came()),
            law("delivered after struck", against.get(AFTER_STRUCK, 0)),
            law("above the granted tier", above),
            law("of a strand that was not introduced", against.get(NEVER_INTRODUCED, 0)),
            law("two cells of one person in a tick", against.get(TWO_IN_A_TICK, 0)),
            law("withdrawals not acted upon", sum(not each.acted_ns for each in self.withdrawals)),
            law("out of order within a strand", accounts.disordered),
            law("delivered twice", accounts.repeated),
            law("windows that prove a forgery", self.windows.get("false", 0)),
            law("forged samples seen", self.forged),
        ]

    def _nothing_came(self) -> int:
        """Strands owed, if not one sample of anybody came, or was at least conflated."""
        came = self.accounts.delivered or self.accounts.skipped.get("conflated")
        return 0 if came or self.ended_early else self.owed

    @property
    def is_good(self) -> bool:
        return all(each.is_kept for each in self.laws())


def judge(
    speakers: SpeakersReport, audiences: list[AudienceReport], *, viewers: int, ended_early: bool
) -> Verdict:
    accounts, latencies = AccountsReport(), Latencies()
    windows: dict[str, int] = {}
    for audience in audiences:
        accounts.add(audience.accounts)
        if not audience.is_slow:
            latencies.counts.update(audience.latencies)
        for state, count in audience.windows.items():
            windows[state] = windows.get(state, 0) + count
    verdict = Verdict(
        people=speakers.people,
        accounts=accounts,
        latency=latencies.percentiles(),
        windows=windows,
        withdrawals=speakers.withdrawals,
        late_ms_max=speakers.late_ms_max,
        elapsed_s=speakers.elapsed_s,
        viewers=viewers,
        ended_early=ended_early,
        against=dict(accounts.against),
        never_shown=sum(each.never_shown for each in audiences),
        owed=sum(each.owed for each in audiences),
        forged=sum(each.forged for each in audiences),
    )
    ticks = [seen for audience in audiences[:1] for seen in audience.coarse]
    verdict.coarse_ticks = len({seen.tick for seen in ticks})
    per_tick: dict[int, int] = {}
    for seen in ticks:
        per_tick[seen.tick] = per_tick.get(seen.tick, 0) + len(seen.cells)
    verdict.coarse_per_tick_max = max(per_tick.values(), default=0)
    return verdict


def judge_coarse(
    verdict: Verdict, speakers: SpeakersReport, audiences: list[AudienceReport]
) -> None:
    """The first audience's first viewer speaks for all. Strangers' cells cannot be explained; as
    many as were there before may be there still, under whatever pseudonym. Where samples came late,
    records did too: the spread is wider by twice the latest sample.
    """
    for audience in audiences[:1]:
        late_ns = max(audience.latencies, default=0) * STEP_NS
        spread_ns = COARSE_SPREAD_NS + 2 * late_ns
        for tick in audience.coarse:
            left = unexplained(tick, speakers.people, spread_ns) - audience.strangers
            verdict.coarse_unexplained += max(0, left)
    if verdict.coarse_unexplained:
        verdict.against["coarse cells that nobody felt"] = verdict.coarse_unexplained


def unexplained(
    seen: CoarseSeen, people: list[PersonReport], spread_ns: int = COARSE_SPREAD_NS
) -> int:
    """How many of one tick's cells no person at coarse had felt just then, each person for one cell.

    A maximum matching of cells to people (Kuhn's augmenting paths): 16 people are small.
    """
    might = [_cells_around(person, seen.received_ns, spread_ns) for person in people]
    owner: dict[int, int] = {}

    def place(cell_index: int, tried: set[int]) -> bool:
        for person, cells in enumerate(might):
            if person in tried or seen.cells[cell_index] not in cells:
                continue
            tried.add(person)
            if person not in owner or place(owner[person], tried):
                owner[person] = cell_index
                return True
        return False

    return sum(not place(index, set()) for index in range(len(seen.cells)))


def _cells_around(person: PersonReport, at_ns: int, spread_ns: int) -> frozenset[int]:
    """The cells that were the person's newest at some moment shortly before `at_ns`."""
    if person.tier is not Tier.COARSE and not person.was_coarse:
        return frozenset()
    first = _last_before(person.cells, at_ns - spread_ns)
    last = _last_before(person.cells, at_ns)
    while first > 0 and not person.cells[first].is_sure:
        first -= 1  # it may not have been admitted: then the one before it was the newest
    return frozenset(felt.cell for felt in person.cells[max(0, first) : last + 1])


def _last_before(cells: list[Felt], at_ns: int) -> int:
    """Index of the last one due at or before `at_ns`; −1 if none."""
    return bisect_right(cells, at_ns, key=lambda felt: felt.due_ns) - 1


def withdrawal_times(withdrawals: list[Silenced]) -> dict[str, list[float]]:
    """Milliseconds from the signing: until `acted`, `recorded`, the last byte at any viewer."""
    times: dict[str, list[float]] = {"acted": [], "recorded": [], "last byte": []}
    for each in withdrawals:
        if each.acted_ns:
            times["acted"].append((each.acted_ns - each.sent_ns) / 1e6)
        if each.recorded_ns:
            times["recorded"].append((each.recorded_ns - each.sent_ns) / 1e6)
        if each.tier is Tier.FULL:
            times["last byte"].append(max(0, each.last_ns - each.sent_ns) / 1e6)
    return {name: sorted(values) for name, values in times.items()}


def percentile(values: list[float], share: float) -> float:
    """Of ascending values, by nearest rank."""
    assert values
    return values[min(len(values) - 1, max(0, -(-int(len(values) * share * 1000) // 1000) - 1))]

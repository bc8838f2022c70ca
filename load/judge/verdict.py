"""What a replay found, in numbers and in words; and whether it is a failure. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from load.swarm.latency import STEP_NS, Latencies, Percentiles
from load.swarm.plan import AudienceReport, CoarseSeen, Felt, PersonReport, Silenced, SpeakersReport
from shared.client.accounts import AccountsReport
from shared.contracts.records import Tier

COARSE_SPREAD_NS = 1_500_000_000
"""How long before a coarse record's arrival its cell may have been the newest: the tick is a second,
and the sample and the record each travel."""


@dataclass(slots=True)
class Verdict:
    people: list[PersonReport]
    accounts: AccountsReport
    latency: Percentiles
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

    @property
    def is_good(self) -> bool:
        """Nothing lost unaccounted, nothing against a grant, no window that proves a forgery."""
        return not (self.accounts.unaccounted or self.against or self.windows.get("false"))


def judge(
    speakers: SpeakersReport, audiences: list[AudienceReport], *, viewers: int, ended_early: bool
) -> Verdict:
    accounts, latencies = AccountsReport(), Latencies()
    windows: dict[str, int] = {}
    for audience in audiences:
        accounts.add(audience.accounts)
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


def as_json(verdict: Verdict) -> dict[str, Any]:
    """For machines; names are stable, fields are only added."""
    people, accounts = verdict.people, verdict.accounts
    return {
        "good": verdict.is_good,
        "ended_early": verdict.ended_early,
        "elapsed_s": round(verdict.elapsed_s, 3),
        "people": len(people),
        "viewers": verdict.viewers,
        "sent": sum(each.sent for each in people),
        "admitted": sum(each.admitted for each in people),
        "refused": refusals(people),
        "unanswered": sum(each.unanswered for each in people),
        "not_sent": sum(each.not_sent for each in people),
        "strands": sum(each.strands for each in people),
        "interrupted": sum(each.interrupted for each in people),
        "delivered": accounts.delivered,
        "skipped": dict(sorted(accounts.skipped.items())),
        "conflated": accounts.skipped.get("conflated", 0),
        "lost": accounts.skipped.get("lost", 0) + accounts.lost_in_gaps,
        "lost_in_gaps": accounts.lost_in_gaps,
        "unaccounted": accounts.unaccounted,
        "repeated": accounts.repeated,
        "gaps": accounts.gaps,
        "disconnects": accounts.disconnects,
        "struck": accounts.struck,
        "against_grants": dict(sorted(verdict.against.items())),
        "windows": dict(sorted(verdict.windows.items())),
        "coarse": {
            "records": accounts.coarse,
            "ticks": verdict.coarse_ticks,
            "per_tick_max": verdict.coarse_per_tick_max,
            "unexplained": verdict.coarse_unexplained,
        },
        "latency_ms": {
            "samples": verdict.latency.samples,
            "p50": verdict.latency.p50,
            "p99": verdict.latency.p99,
            "p999": verdict.latency.p999,
            "max": verdict.latency.max,
        },
        "tool_late_ms_max": round(verdict.late_ms_max, 3),
        "withdrawals": {
            name: {
                "count": len(values),
                "p50_ms": round(percentile(values, 0.5), 2),
                "p99_ms": round(percentile(values, 0.99), 2),
                "max_ms": round(values[-1], 2),
            }
            for name, values in withdrawal_times(verdict.withdrawals).items()
            if values
        },
    }


def refusals(people: list[PersonReport]) -> dict[str, int]:
    names: dict[str, int] = {}
    for person in people:
        for reason, count in person.refused.items():
            names[reason] = names.get(reason, 0) + count
    return dict(sorted(names.items()))


def rows(verdict: Verdict) -> list[tuple[str, str]]:
    """The table for people: what, how much."""
    all_of = as_json(verdict)
    lines = [
        ("sent", f"{all_of['sent']} by {all_of['people']} people in {verdict.elapsed_s:.1f} s"),
        ("admitted", str(all_of["admitted"])),
    ]
    lines += [(f"refused: {reason}", str(count)) for reason, count in all_of["refused"].items()]
    if all_of["unanswered"]:
        lines.append(("unanswered", f"{all_of['unanswered']} (no word whether they were taken)"))
    if all_of["not_sent"]:
        lines.append(("not sent", f"{all_of['not_sent']} (no open strand just then)"))
    if all_of["interrupted"]:
        lines.append(("interrupted", f"{all_of['interrupted']} strands"))
    lines += [
        ("delivered", f"{all_of['delivered']} to {verdict.viewers} viewers"),
        ("conflated", str(all_of["conflated"])),
        ("lost", f"{all_of['lost']} (shown as skipped or as a gap)"),
        ("unaccounted", str(all_of["unaccounted"])),
        ("against a grant", _named(all_of["against_grants"])),
        (
            "coarse",
            (
                f"{all_of['coarse']['records']} records, {all_of['coarse']['ticks']} ticks,"
                f" at most {all_of['coarse']['per_tick_max']} a tick"
            ),
        ),
        ("windows checked", _named(all_of["windows"])),
        (
            "latency, ms",
            (
                f"p50 {verdict.latency.p50:.2f}  p99 {verdict.latency.p99:.2f}"
                f"  p99.9 {verdict.latency.p999:.2f}  max {verdict.latency.max:.2f}"
            ),
        ),
        ("the tool itself late", f"{verdict.late_ms_max:.2f} ms at worst"),
    ]
    for name, times in all_of["withdrawals"].items():
        lines.append(
            (
                f"withdrawal → {name}, ms",
                (
                    f"p50 {times['p50_ms']:.1f}  p99 {times['p99_ms']:.1f}"
                    f"  max {times['max_ms']:.1f}  of {times['count']}"
                ),
            )
        )
    return lines


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "0"

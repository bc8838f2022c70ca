"""A run's numbers, for machines and for people: what a replay and a story tell alike. Pure but for
`print_rows`.
"""

from __future__ import annotations

import math
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from load.judge.outcome import Outcome
from load.judge.verdict import Judged, Verdict, percentile, withdrawal_times
from load.swarm.latency import Latencies
from load.swarm.meter import usage
from load.swarm.plan import PersonReport

TOOL_BUSY_MAX = 0.85
"""Of a core. Above it a process of the tool is likely to be what is measured."""

TOOL_LATE_MS_MAX = 1000.0
"""Behind its schedule at worst; what it sends so late is late at every viewer."""


def verdict_json(verdict: Verdict) -> dict[str, Any]:
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
        "never_shown": verdict.never_shown,
        "laws": {each.name: each.value for each in verdict.laws()},
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


def verdict_rows(verdict: Verdict) -> list[tuple[str, str]]:
    """The table for people: what, how much."""
    all_of = verdict_json(verdict)
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


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What `verdict_json` tells of any run, and what only a story has."""
    timeline = outcome.timeline
    found = verdict_json(outcome.verdict)
    found["good"] = outcome.is_good
    found["story"] = {"name": outcome.story.name, "seed": outcome.story.seed}
    found["laws"] = {each.name: each.value for each in outcome.judged() if each.is_law}
    found["thresholds"] = {
        each.name: {"value": each.value, "most": each.most, "kept": each.is_kept}
        for each in outcome.judged()
        if not each.is_law
    }
    found["attacks"] = [
        {
            "kind": each.kind,
            "tried": each.tried,
            "admitted": each.admitted,
            "refused": dict(sorted(each.refused.items())),
            "seats": each.seats,
            "closed": each.closed,
        }
        for each in outcome.attacks
    ]
    found["groups"] = {
        each.name: {
            "viewers": each.viewers,
            "slow": each.is_slow,
            "delivered": each.delivered,
            "conflated": each.conflated,
            "lost": each.lost,
            "gaps": each.gaps,
            "disconnects": each.disconnects,
            "latency_ms": each.latency._asdict(),
        }
        for each in outcome.groups()
    }
    found["turned_away"] = {
        each.person: each.turned_away for each in outcome.verdict.people if each.turned_away
    }
    found["services"] = usage(outcome.readings)
    found["tool"] = usage(outcome.own_readings)
    found["cautions"] = cautions(outcome)
    found["samples_a_frame"] = {
        str(size): count for size, count in sorted(timeline.batches.items())
    }
    found["seconds"] = [
        {
            "at_s": place,
            "sent": second.sent,
            "delivered": second.delivered,
            "bytes": second.bytes_received,
            "rungs": {name: count for name, count in sorted(second.rungs.items()) if count},
            "p50_ms": round(latency.p50, 2),
            "p99_ms": round(latency.p99, 2),
        }
        for place, second in sorted(timeline.seconds.items())
        for latency in [Latencies(second.latencies).percentiles()]
    ]
    if outcome.knee is not None:
        found["knee"] = outcome.knee.told()
    return found


def outcome_rows(outcome: Outcome) -> list[tuple[str, str]]:
    """The table for people: what, how much."""
    lines = verdict_rows(outcome.verdict)
    for group in outcome.groups():
        word = " (slow by intent)" if group.is_slow else ""
        lines.append(
            (
                f"viewers: {group.name}{word}",
                (
                    f"{group.viewers}: {group.delivered} delivered, {group.conflated} conflated,"
                    f" {group.lost} lost, {group.gaps} gaps, {group.disconnects} disconnects"
                ),
            )
        )
    for each in outcome.attacks:
        answers = ", ".join(f"{count} {why}" for why, count in sorted(each.refused.items()))
        seats = f", {each.seats} seats" if each.kind == "sybil" else ""
        lines.append(
            (
                f"attack: {each.kind}",
                f"{each.tried} tried, {each.admitted} admitted{seats}; {answers or 'no answer'}",
            )
        )
    lines += [
        (f"turned away: {each.person}", each.turned_away)
        for each in outcome.verdict.people
        if each.turned_away
    ]
    for what, readings in (("service", outcome.readings), ("the tool", outcome.own_readings)):
        lines += [
            (
                f"{what}: {name}",
                (
                    f"{100 * used['cpu']:.0f} % of a core, {used['memory_mb_max']:.0f} MB,"
                    f" {used['memory_mb_per_min']:+.2f} MB/min"
                    + (f", started again {used['restarts']:g} times" if used["restarts"] else "")
                ),
            )
            for name, used in usage(readings).items()
        ]
    lines += [("CAUTION", sentence) for sentence in cautions(outcome)]
    lines += judged_rows(outcome.judged())
    if outcome.knee is not None:
        lines.append(("the knee", outcome.knee.sentence()))
    return lines


def cautions(outcome: Outcome) -> list[str]:
    """Why the figures may be the tool's own, and not the city's."""
    found = []
    if outcome.tool_busy() > TOOL_BUSY_MAX:
        share = f"{100 * outcome.tool_busy():.0f} % of a core"
        found.append(f"one of the tool's processes used {share}: its waiting is counted too")
    late_ms = outcome.verdict.late_ms_max
    if late_ms > TOOL_LATE_MS_MAX:
        found.append(f"the tool fell {late_ms / 1000:.1f} s behind its schedule: so late it sent")
    return found


def judged_rows(judged: list[Judged]) -> list[tuple[str, str]]:
    return [
        (
            f"{'kept' if each.is_kept else 'BROKEN'}: {each.name}",
            found(each) + ("" if each.is_law else f" (at most {each.most:g})"),
        )
        for each in judged
    ]


def found(judged: Judged) -> str:
    """In words where it could not be measured."""
    return "nothing was measured" if math.isinf(judged.value) else f"{judged.value:g}"


def print_rows(rows: list[tuple[str, str]]) -> None:
    """A table on a terminal; elsewhere a line each, with a tab between."""
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(show_header=False, box=None)
        for name, value in rows:
            table.add_row(name, value)
        console.print(table)
    else:
        for name, value in rows:
            typer.echo(f"{name}\t{value}")

"""What a person reads of a bench: each figure beside its goal, each ratio within the run. Pure.

`rows` is the table in the terminal; `page` is one HTML file with the same and the plots.
"""

from __future__ import annotations

from html import escape
from typing import Any

from load import capacity
from load.least_squares import CannotFitError
from load.report.page import STYLE
from load.report.plots import bars


def egress_rows(cases: dict[str, dict[str, Any]]) -> list[str]:
    """The city's figures, then ours over each peer's: less than 1 is better."""
    lines = []
    for case, servers in cases.items():
        ours = servers.get("city", {})
        if "p50_ms" not in ours:
            lines.append(f"egress {case}: {ours.get('error', 'not measured')}")
            continue
        cores = sum(ours["cpu_cores"].values())
        lines.append(
            f"egress {case} (viewers x samples/s): p50 {ours['p50_ms']:.2f}"
            f"  p99 {ours['p99_ms']:.2f} ms  {100 * ours['delivered_part']:.1f} % in time"
            f"  {cores:.2f} cores, the gateway {ours['cpu_cores']['gateway']:.2f}"
            f"  worst tenth / best tenth {ours['worst_tenth_over_best_tenth_p99']:.2f} (goal 1.3)"
        )
        for name, row in servers.items():
            if name == "city":
                continue
            if row.get("p50_ms") is None:
                lines.append(f"    {name}: {row.get('error', 'nothing came in time')}")
                continue
            its_cores = max(0.01, sum(row["cpu_cores"].values()))
            lines.append(
                f"    ours / {name}: p50 {ours['p50_ms'] / row['p50_ms']:.2f}"
                f"  p99 {ours['p99_ms'] / row['p99_ms']:.2f}"
                f"  CPU {cores / its_cores:.2f}"
                f", the gateway's {ours['cpu_cores']['gateway'] / its_cores:.2f}"
                f"  ({name}: {100 * row['delivered_part']:.1f} % in time)"
            )
    return lines


def scaling_rows(growth: dict[str, dict[str, Any]]) -> list[str]:
    """Gateways x fanouts beside 1x1 under the same load."""
    return [
        f"scaling {name}, over 1x1: busiest gateway {row['gateway_busiest']:.2f} x, all gateways"
        f" {row['gateway_whole']:.2f} x; busiest fanout {row['fanout_busiest']:.2f} x, all fanouts"
        f" {row['fanout_whole']:.2f} x; broker {row['nats-server']:.2f} x;"
        f" p50 {row['p50']:.2f} x" + ("; the source was late: no figure" if row["is_late"] else "")
        for name, row in growth.items()
    ]


def capacity_rows(result: dict[str, Any]) -> list[str]:
    """How well the capacity model says what it was not fitted to."""
    if "scaling" not in result:
        return []
    try:
        rows = capacity.checks(result, capacity.costs_of(result))
    except CannotFitError as error:
        return [f"capacity: {error}"]
    return [
        f"capacity, {row.case} {row.instance}: predicted {row.predicted:.3f}, measured"
        f" {row.measured:.3f} ({100 * row.error:+.0f} %)"
        for row in rows
    ]


def ladder_rows(ladder: dict[str, Any]) -> list[str]:
    if "p99_ratio" not in ladder:
        return []
    slow = ladder["slow"]
    viewers = sum(each["viewers"] for each in slow)
    return [
        (
            f"ladder: beside a slow tenth the others' p99 is {ladder['p99_ratio']:.2f} x what it is"
            f" without (goal {ladder['p99_ratio_goal']}), the gateway takes"
            f" {ladder['gateway_grew_bytes_more'] / 1e6:.1f} MB more (goal"
            f" {ladder['gateway_grew_bytes_goal'] / 1e6:.0f}); of {viewers} slow viewers"
            f" {sum(each['told_lower'] for each in slow)} were told their rung,"
            f" {sum(each['told_every_again'] for each in slow)} climbed back"
        )
    ]


def soak_rows(soak: dict[str, Any]) -> list[str]:
    if "minutes" not in soak:
        return []
    growth = ", ".join(
        f"{name} {mb:+.2f}" for name, mb in soak["memory_mb_per_min"].items() if abs(mb) >= 0.05
    )
    return [
        (
            f"soak, {soak['minutes']:g} minutes at {soak['deliveries_per_s']:.0f} deliveries/s, half the"
            f" knee: p99 {soak['p99_ms']:.1f} ms and {soak['p99_ms_per_min']:+.2f} ms a minute; memory,"
            f" MB a minute over the second half: {growth or 'none'}; unaccounted {soak['unaccounted']};"
            f" {'flat' if soak['is_flat'] else 'NOT FLAT'}"
        )
    ]


def router_rows(router: dict[str, Any]) -> list[str]:
    if "target" not in router:
        return []
    lines = [
        (
            f"router, 200 sanctuaries: {router['target']['samples_per_s']} samples a CPU second"
            f" (goal {router['goal_samples_per_s']})"
        )
    ]
    for sweep in router.get("sweeps", []):
        told = ", ".join(
            f"{row['shape'][sweep['changed']]:g}: {row['us_per_sample']:.1f}"
            for row in sweep["measured"]
        )
        lines.append(f"    us a sample by {sweep['about']}: {told}")
    return lines


def page(result: dict[str, Any]) -> str:
    """One self-contained HTML file."""
    head = f"{result['date']}, commit {result['commit']}, {result['cores']} x {result['processor']}"
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Synchronia: a bench</title><style>{STYLE} td {{ white-space: pre-wrap; }}</style>",
        f"<h1>A bench</h1><p class=about>{escape(head)}. Ratios hold within this run.</p>",
        "<table>",
        *(f"<tr><td>{escape(line)}</td></tr>" for line in rows(result)),
        "</table>",
    ]
    for sweep in result.get("router", {}).get("sweeps", []):
        values = [
            (f"{row['shape'][sweep['changed']]:g}", float(row["us_per_sample"]))
            for row in sweep["measured"]
        ]
        parts.append(_figure(f"Router: µs a sample by {sweep['about']}", values))
    for case, servers in result.get("egress", {}).get("cases", {}).items():
        for name in ("p50_ms", "p99_ms"):
            values = [(server, float(row[name])) for server, row in servers.items() if name in row]
            parts.append(_figure(f"Egress {case}: {name.removesuffix('_ms')}, ms", values))
    return "".join(parts)


def _figure(caption: str, values: list[tuple[str, float]]) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{bars(values)}</figure>"


def withdrawal_rows(viewers: str, part: dict[str, Any]) -> list[str]:
    told = part["gateway"]
    rows = [
        f"withdrawal, {viewers}: the gateway's {name}: p50 <= {times['p50_ms_at_most']}"
        f"  p99 <= {times['p99_ms_at_most']}  max <= {times['max_ms_at_most']} ms"
        f" of {times['count']} (goal p99 < 50)"
        for name, times in (("silence", told["silence"]), ("acted", told["acted"]))
    ]
    return rows + [
        f"withdrawal, {viewers}: seen, {name}: p50 {times['p50_ms']:.1f}  p99 {times['p99_ms']:.1f}"
        f"  max {times['max_ms']:.1f} ms of {times['count']} (goal p99 < 50)"
        for name, times in part.get("withdrawals", {}).items()
    ]


def rows(result: dict[str, Any]) -> list[str]:
    """What a person reads: each figure beside its goal and the floor of the run."""
    lines = []
    floor = result.get("floor", {})
    if floor:
        lines.append(
            f"floor: a loopback echo  p50 {floor['p50_ms']:.3f} ms  p99 {floor['p99_ms']:.3f} ms"
        )
    if quiet := result.get("quiet", {}).get("latency_ms"):
        lines.append(
            f"quiet, 100 viewers x 10 samples/s, the whole way: p50 {quiet['p50']:.2f}"
            f"  p99 {quiet['p99']:.2f} ms (goal p50 < 3.5, p99 < 8)"
        )
    for name, goal in (("viewers_1", "p50 < 3.5"), ("viewers_50", "p50 < 5, p99 < 15")):
        part = result.get("latency", {}).get(name)
        if part and "latency_ms" in part:
            ms = part["latency_ms"]
            ratio = f"  p50 {ms['p50'] / floor['p50_ms']:.0f} x the floor" if floor else ""
            lines.append(
                f"latency, 16 people, {name}: p50 {ms['p50']:.2f}  p99 {ms['p99']:.2f}"
                f"  p99.9 {ms['p999']:.2f} ms (goal {goal}){ratio}"
            )
    for viewers, part in result.get("withdrawal", {}).items():
        lines += withdrawal_rows(viewers.replace("_", " "), part)
    for viewers, part in result.get("silence", {}).items():
        if isinstance(part, dict):
            half = f"{part['deliveries_per_s'] / 1000:.0f} k deliveries/s, {viewers}"
            lines += withdrawal_rows(half.replace("_", " "), part)
    for name, silence in result.get("recovery", {}).items():
        lines.append(
            f"recovery, {name}: next sample after {silence['silence_s']:.2f} s (goal 2, broker 5)"
        )
    if memory := result.get("memory", {}).get("gateway_bytes_a_connection"):
        lines.append(f"memory: {memory / 1000:.1f} kB an idle connection in the gateway (goal 14)")
    lines += egress_rows(result.get("egress", {}).get("cases", {}))
    lines += ladder_rows(result.get("ladder", {}))
    lines += soak_rows(result.get("soak", {}))
    lines += scaling_rows(result.get("scaling", {}).get("growth", {}))
    if held := result.get("connections", {}).get("held"):
        lines.append(
            f"connections: {held} held by {len(result['connections']['by_gateway'])} gateways,"
            f" files allowed to each process: {result['connections']['files_max']}"
        )
    lines += capacity_rows(result)
    lines += router_rows(result.get("router", {}))
    return lines + [
        f"admission, {row['samples_a_seal']} a seal: {row['samples_per_cpu_s']} samples a CPU second"
        for row in result.get("admission", {}).get("rows", [])
    ]

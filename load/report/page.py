"""A run as one HTML file: nothing is fetched, plots are inline SVG, and it prints well. Pure."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from load.judge.outcome import Outcome
from load.judge.timeline import Second
from load.report.plots import Line, bars, chart
from load.report.told import cautions, found, outcome_rows
from load.swarm.latency import Latencies
from load.swarm.meter import Reading

STYLE = """
:root { color-scheme: light dark; --ink: #1c2230; --soft: #667085; --rule: #d5dae3; --page: #fff;
  --good: #18794e; --bad: #b42318; --c0: #2f5fd0; --c1: #d2691e; --c2: #18794e; --c3: #8e4ec6;
  --c4: #0f8b8d; --c5: #b42318; --c6: #7a6a00; --c7: #667085; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf2; --soft: #98a2b3; --rule: #344054;
  --page: #12151c; --good: #4cc38a; --bad: #ff8b7e; --c0: #8ab0ff; --c1: #ffab70; --c2: #4cc38a;
  --c3: #c9a0ef; --c4: #5ccfd1; --c5: #ff8b7e; --c6: #d8c75a; --c7: #98a2b3; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p.about { color: var(--soft); margin: 0 0 1rem; }
.verdict { font-weight: 600; padding: .6rem .9rem; border: 1px solid var(--rule);
  border-left: .4rem solid var(--good); } .verdict.bad { border-left-color: var(--bad); }
.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .5rem 1.5rem;
  margin: 1.2rem 0; } .key div { border-top: 2px solid var(--rule); padding-top: .3rem; }
.key b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.key span { color: var(--soft); font-size: .85rem; }
figure { margin: 1.4rem 0; break-inside: avoid; } figcaption { font-weight: 600; margin-bottom: .2rem; }
figcaption span { font-weight: 400; color: var(--soft); }
figure { overflow-x: auto; } svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg .grid { stroke: var(--rule); } svg .act { stroke: var(--soft); stroke-dasharray: 2 3; }
svg path { fill: none; stroke-width: 1.6; }
.legend { font-size: .85rem; color: var(--soft); } .legend span { display: inline-block;
  margin-right: 1rem; } .legend svg { display: inline-block; width: 1.6rem; min-width: 0;
  vertical-align: middle; margin-right: .35rem; } .legend svg path { stroke-width: 2.4; }
ol.acts { color: var(--soft); font-size: .9rem; padding-left: 1.4rem; columns: 18rem; margin: .4rem 0; }
code, td { overflow-wrap: anywhere; } td.number { white-space: nowrap; }
@media screen and (max-width: 40rem) { figure > svg { min-width: 34rem; } figure > svg text {
  font-size: 13px; } body { margin: 1rem auto; } }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } td, th { text-align: left;
  padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
td { font-variant-numeric: tabular-nums; } tr { break-inside: avoid; }
.kept { color: var(--good); } .broken { color: var(--bad); font-weight: 600; }
footer { color: var(--soft); font-size: .85rem; margin-top: 2rem; }
@media print { :root { --ink: #000; --soft: #444; --rule: #bbb; --page: #fff; --good: #060;
  --bad: #a00; --c0: #2f5fd0; --c1: #d2691e; --c2: #18794e; --c3: #8e4ec6; --c4: #0f8b8d;
  --c5: #b42318; --c6: #7a6a00; --c7: #667085; } body { margin: 0; max-width: none; font-size: 12px; }
  .key { grid-template-columns: repeat(6, 1fr); gap: .5rem; } .key b { font-size: 1.1rem; }
  .legend { font-size: 10px; } figure { overflow: visible; margin: .7rem 0; } h2 { break-after: avoid; }
  table { font-size: 11px; } thead { display: table-header-group; } }
"""


def report_html(outcome: Outcome, *, made_at: str = "", command: str = "") -> str:
    """The whole file. `made_at`, `command`: for the foot, as the caller has them."""
    story = outcome.story
    broken = [each.name for each in outcome.judged() if not each.is_kept]
    said = (
        "Every law and every threshold was kept." if not broken else f"Broken: {', '.join(broken)}"
    )
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(story.name)}: a run of Synchronia</title><style>{STYLE}</style>",
        f"<h1>{escape(story.name)}</h1><p class=about>{escape(story.about)}</p>",
        f'<p class="verdict{"" if outcome.is_good else " bad"}">{escape(said)}</p>',
        *(f"<p>Caution: {escape(sentence)}.</p>" for sentence in cautions(outcome)),
        _key_numbers(outcome),
        _acts(outcome),
        *_plots(outcome),
        _judged(outcome),
        _all_numbers(outcome),
        f"<footer>seed {story.seed} · {escape(made_at)} · <code>{escape(command)}</code></footer></html>",
    ]
    return "\n".join(parts)


def _key_numbers(outcome: Outcome) -> str:
    latency, verdict = outcome.verdict.latency, outcome.verdict
    sent = sum(each.sent for each in verdict.people)
    cells = [
        (f"{sent:,}", "samples sent"),
        (f"{verdict.accounts.delivered:,}", "deliveries"),
        (f"{latency.p50:.1f} ms", "latency, p50"),
        (f"{latency.p99:.1f} ms", "latency, p99"),
        (f"{verdict.accounts.unaccounted}", "unaccounted"),
        (f"{sum(verdict.against.values())}", "against a grant"),
    ]
    inner = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in cells)
    return f'<div class="key">{inner}</div>'


def _acts(outcome: Outcome) -> str:
    """The numbers that stand in the drawings."""
    items = "".join(
        f"<li>{escape(name)}, from {began_ms / 1000:g} s" for began_ms, name in outcome.acts
    )
    return f'<ol class="acts">{items}</ol>' if items else ""


def _plots(outcome: Outcome) -> list[str]:
    timeline = outcome.timeline
    seconds = sorted(timeline.seconds)
    if not seconds:
        return []
    of = [timeline.seconds[each] for each in seconds]
    late = [Latencies(each.latencies).percentiles() for each in of]
    at = [float(each) for each in seconds]
    acts = [(began_ms / 1000, name) for began_ms, name in outcome.acts]
    found = [
        _figure(
            "Latency",
            "from the intended moment of sending to the viewer, ms, each second; logarithmic",
            chart(
                [
                    Line("p50", at, [each.p50 for each in late]),
                    Line("p99", at, [each.p99 for each in late]),
                    Line("p99.9", at, [each.p999 for each in late]),
                    Line("max", at, [each.max for each in late]),
                ],
                acts,
                is_logarithmic=True,
            ),
        ),
        _figure(
            "Throughput",
            "samples each second, over the seconds of the play",
            chart(
                [
                    Line("delivered", at, [float(each.delivered) for each in of]),
                    Line("sent", at, [float(each.sent) for each in of]),
                ],
                acts,
            ),
        ),
        _figure(
            "Batch sizes",
            "frames by the samples in them; a frame counts once, however many viewers it had",
            bars([(str(size), float(n)) for size, n in sorted(timeline.batches.items())]),
        ),
    ]
    found.append(
        _figure(
            "The ladder",
            "viewers below the rung every, and how many fell off and were closed so far",
            _ladder(at, of, acts),
        )
    )
    if outcome.readings:
        found += [
            _figure(
                "CPU",
                "share of one core, %, over the seconds of the play",
                chart(_cpu(outcome.readings), acts),
            ),
            _figure("Memory", "resident, MB", chart(_memory(outcome.readings), acts)),
        ]
    if outcome.own_readings:
        found.append(
            _figure(
                "CPU of the run's own processes",
                "share of one core, %; near 100 the figures above are the tool's, not the city's",
                chart(_cpu(outcome.own_readings), acts),
            )
        )
    if outcome.knee is not None and outcome.knee.steps:
        taken = outcome.knee.steps
        rates = [each.sent_per_s for each in taken]
        found.append(
            _figure(
                "The knee",
                f"p99 in ms over samples sent each second; {outcome.knee.sentence()}",
                chart([Line("p99", rates, [each.p99_ms for each in taken])], []),
            )
        )
    return found


def _ladder(at: list[float], of: list[Second], acts: list[tuple[float, str]]) -> str:
    rungs = ("newest", "field", "closed")
    if not any(each.rungs[rung] for each in of for rung in rungs):
        return "<p>Every viewer stayed where it began: it was written everything.</p>"
    return chart([Line(rung, at, [float(each.rungs[rung]) for each in of]) for rung in rungs], acts)


def _cpu(readings: list[Reading]) -> list[Line]:
    lines = []
    for service in dict.fromkeys(each.service for each in readings):
        of = [each for each in readings if each.service == service]
        at, share = [], []
        for earlier, later in pairwise(of):
            span_s = (later.at_ms - earlier.at_ms) / 1000
            if later.pid == earlier.pid and span_s > 0:
                at.append(later.at_ms / 1000)
                share.append(100 * (later.cpu_s - earlier.cpu_s) / span_s)
        lines.append(Line(service, at, share))
    return lines


def _memory(readings: list[Reading]) -> list[Line]:
    return [
        Line(
            service,
            [each.at_ms / 1000 for each in readings if each.service == service],
            [each.memory_bytes / 1e6 for each in readings if each.service == service],
        )
        for service in dict.fromkeys(each.service for each in readings)
    ]


def _figure(title: str, what: str, drawing: str) -> str:
    caption = f"<figcaption>{escape(title)} <span>{escape(what)}</span></figcaption>"
    return f"<figure>{caption}{drawing}</figure>"


def _judged(outcome: Outcome) -> str:
    rows = "".join(
        f'<tr><td class="{"kept" if each.is_kept else "broken"}">'
        f"{'kept' if each.is_kept else 'BROKEN'}<td>{'law' if each.is_law else 'threshold'}"
        f"<td>{escape(each.name)}<td class=number>{found(each)}<td class=number>{each.most:g}"
        for each in outcome.judged()
    )
    head = "<thead><tr><th><th><th>what<th>found<th>at most</thead>"
    return f"<h2>Laws and thresholds</h2><table>{head}<tbody>{rows}</table>"


def _all_numbers(outcome: Outcome) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}<td>{escape(value)}"
        for name, value in outcome_rows(outcome)
        if not name.startswith(("kept: ", "BROKEN: "))
    )
    return f"<h2>All numbers</h2><table>{rows}</table>"

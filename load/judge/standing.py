"""How a run stands while it lasts, merged from its processes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from load.judge.verdict import Verdict
from load.swarm.latency import Latencies
from load.swarm.plan import Standing


def total(standings: Iterable[Standing]) -> Standing:
    """Of several processes, as of one; as late as the latest."""
    found = Standing(0)
    for each in standings:
        found.late_s = max(found.late_s, each.late_s)
        found.connections.update(each.connections)
        found.refused.update(each.refused)
        found.unsent += each.unsent
        found.accounts.add(each.accounts)
        found.windows.update(each.windows)
        found.forged += each.forged
    return found


def broken_so_far(so_far: Standing) -> dict[str, int]:
    """Breaches by law, by the verdict's names. What only the end can tell is 0 until then."""
    verdict = Verdict(
        people=[],
        accounts=so_far.accounts,
        latency=Latencies().percentiles(),
        windows=so_far.windows,
        withdrawals=[],
        late_ms_max=so_far.late_s * 1000,
        elapsed_s=0.0,
        viewers=0,
        ended_early=True,
        against=so_far.accounts.against,
        forged=so_far.forged,
    )
    return {each.name: int(each.value) for each in verdict.laws()}

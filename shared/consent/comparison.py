"""Whether one state allows less, or more, than another: anywhere, to anyone, at any later time. Pure.

Grants, exceptions and approvals are compared each for itself. So both answers are safe: whatever lowers
(or raises) what somebody sees is found, and lifting an exception, or approving a follower, counts as
widening even while nothing is granted, since a later grant would then reach that person.
"""

from __future__ import annotations

from math import inf

from shared.consent.decision import FACETS, Index, facet, index_of, scope_for
from shared.contracts.records import Tier
from shared.contracts.registry import Approved, ConsentState, Limit, Scope
from shared.identifiers import WallMs


def narrows(before: ConsentState, after: ConsentState, now_ms: WallMs) -> bool:
    """Whether somebody, somewhere, at some time from `now_ms` on, may see less than before."""
    return _falls(index_of(before), index_of(after), now_ms)


def widens(before: ConsentState, after: ConsentState, now_ms: WallMs) -> bool:
    """Whether somebody, somewhere, at some time from `now_ms` on, may see more than before."""
    return _falls(index_of(after), index_of(before), now_ms)


def _falls(high: Index, low: Index, now_ms: WallMs) -> bool:
    """Whether `low` is below `high` in one cell at one time.

    Cells: each sanctuary that either names and, for all others, the `any` entries; each person that
    either names. Tiers are steps in time that change only where an entry ends.
    """
    sanctuaries: dict[bytes | None, None] = {None: None}
    for place, _ in (*high.scopes, *low.scopes):
        sanctuaries[place] = None
    for place in sanctuaries:
        for purpose, audience in FACETS:
            which = facet(purpose, audience)
            above, below = scope_for(high, place, which), scope_for(low, place, which)
            if above is not below and any(
                _scope_tier(below, at) < _scope_tier(above, at)
                for at in _steps(above, below, now_ms)
            ):
                return True
    # exceptions of one sanctuary and of any add up to a least; each is compared by itself, so that
    # dropping one counts even while the other hides the difference
    for key in {**high.limits, **low.limits}:
        most, least = high.limits.get(key), low.limits.get(key)
        if most is not least and any(
            _limit_tier(least, at) < _limit_tier(most, at) for at in _steps(most, least, now_ms)
        ):
            return True
    return any(
        _approval_end(low.approved.get(person)) < _approval_end(row)
        for person, row in high.approved.items()
        if _approval_end(row) > now_ms
    )


def _steps(one: Scope | Limit | None, other: Scope | Limit | None, now_ms: WallMs) -> list[int]:
    ends = [row.until_ms for row in (one, other) if row is not None and row.until_ms is not None]
    return [now_ms, *(end for end in ends if end > now_ms)]


def _scope_tier(row: Scope | None, at_ms: int) -> Tier:
    live = row is not None and (row.until_ms is None or at_ms < row.until_ms)
    return row.tier if row is not None and live else Tier.WITHHELD


def _limit_tier(row: Limit | None, at_ms: int) -> Tier:
    live = row is not None and (row.until_ms is None or at_ms < row.until_ms)
    return row.tier if row is not None and live else Tier.FULL


def _approval_end(row: Approved | None) -> float:
    """When somebody may follow no more; 0: never might."""
    if row is None:
        return 0
    return inf if row.until_ms is None else row.until_ms

"""The pure decision: who may see whom, how closely, now.

A citizen's signed records fold, in the order of their counters, into a `ConsentState`; everything
else is a look-up in it. fanout applies the decision to what is live, the registry folds and decides
which key a record needs, replays and the watchdog re-decide. No clock, no bus, no service's policy.
"""

from shared.consent.comparison import narrows, widens
from shared.consent.decision import (
    APPROVED_MAX,
    LIMITS_MAX,
    SCOPES_MAX,
    effective_tier,
    empty_state,
    fold,
    granted_tier,
    limit_for,
    may_follow,
    next_expiry,
    preview,
    read_record,
)

__all__ = [
    "APPROVED_MAX",
    "LIMITS_MAX",
    "SCOPES_MAX",
    "effective_tier",
    "empty_state",
    "fold",
    "granted_tier",
    "limit_for",
    "may_follow",
    "narrows",
    "next_expiry",
    "preview",
    "read_record",
    "widens",
]

"""How much of what is known fits into one answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from services.registry.core.citizen import Citizen
from shared.codec import encode
from shared.contracts import ConsentState, Identity, Signed

PAGE_BYTES_MAX = 200_000
CHAIN_BYTES_MAX = 48_000
"""Of the records in a `chain` answer, so that it fits a frame."""
_SIGNED_BYTES = 80
"""What a record takes beside its payload: the signature and the headers."""


class Rows(NamedTuple):
    """One page. `following`: the citizen after whom the next page begins; nil: this was the last."""

    identities: tuple[Identity, ...]
    states: tuple[ConsentState, ...]
    following: bytes | None


def rows_after(
    after: bytes | None,
    order: Sequence[bytes],
    citizens: Mapping[bytes, Citizen],
    *,
    with_consent: bool,
    room_bytes: int,
) -> Rows:
    """Durable rows in the order of citizen ids, at least one if there is one; who has said nothing
    has no state.
    """
    identities: list[Identity] = []
    states: list[ConsentState] = []
    start = 0 if after is None else bisect_right(order, after)
    for citizen in islice(order, start, None):
        known = citizens[citizen]
        has_state = with_consent and known.state.counter > 0
        room_bytes -= len(encode(known.identity))
        room_bytes -= len(encode(known.state)) if has_state else 0
        if room_bytes < 0 and identities:
            return Rows(tuple(identities), tuple(states), identities[-1].citizen)
        identities.append(known.identity)
        if has_state:
            states.append(known.state)
    return Rows(tuple(identities), tuple(states), None)


def records_before(records: Sequence[Signed], before: int | None) -> tuple[Signed, ...]:
    """The newest records of a chain whose counters (1, 2, …) are below `before`, as many as fit into
    CHAIN_BYTES_MAX; at least one if there is one.
    """
    end = len(records) if before is None else max(0, min(before - 1, len(records)))
    left = CHAIN_BYTES_MAX
    first = end
    while first > 0:
        left -= len(records[first - 1].payload) + _SIGNED_BYTES
        if left < 0 and first < end:
            break
        first -= 1
    return tuple(records[first:end])

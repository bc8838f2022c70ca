"""How many new citizens may come from one address. Pure.

The registry limits enrolment for the whole city, so that one flood cannot fill its disk; this keeps
one address from using up what the city allows. Whoever has many addresses meets the city's limit.
"""

from __future__ import annotations

from services.gateway.core.neighbourhood import neighbourhood
from shared.identifiers import MonotonicNs

ADDRESSES_MAX = 16_384
"""Those remembered (some 200 bytes each); beyond them the one that asked longest ago is forgotten."""
_MINUTE_NS = 60_000_000_000


class Enrolments:
    """An allowance for each address: full at `burst`, refilled by `per_min`."""

    def __init__(self, *, per_min: int, burst: int) -> None:
        self._per_min = per_min
        self._burst = burst
        self._left: dict[str, tuple[float, int]] = {}
        """Address → what is left, and as of when; the one that asked last is last."""

    @property
    def addresses(self) -> int:
        return len(self._left)

    def spend(self, address: str, now_ns: MonotonicNs) -> bool:
        """Whether one more may come from there now."""
        place = neighbourhood(address)
        left, seen_ns = self._left.pop(place, (float(self._burst), now_ns))
        left = min(self._burst, left + (now_ns - seen_ns) / _MINUTE_NS * self._per_min)
        may = left >= 1
        self._left[place] = (left - 1 if may else left, now_ns)
        if len(self._left) > ADDRESSES_MAX:
            del self._left[next(iter(self._left))]
        return may

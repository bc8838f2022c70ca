"""The rooms that anybody may know of, as their sanctuaries last said. Pure."""

from __future__ import annotations

from shared.contracts.sanctuary import ListedRoom, RoomsListed
from shared.identifiers import MonotonicNs

STALE_NS = 20_000_000_000
"""Three repeats and slack: a sanctuary that has not said its list for so long has none."""
SENDERS_MAX = 64
"""As many sanctuary instances as there are slots."""


class Listing:
    """`hear` what sanctuaries say; `rooms` is what to tell."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[MonotonicNs, tuple[ListedRoom, ...]]] = {}

    def hear(self, listed: RoomsListed, now_ns: MonotonicNs) -> None:
        if listed.sender in self._heard or len(self._heard) < SENDERS_MAX:
            self._heard[listed.sender] = (now_ns, listed.rooms)

    def rooms(self, now_ns: MonotonicNs) -> list[ListedRoom] | None:
        """By name, then id; nil: nobody has said anything lately, which is not the same as none."""
        for sender, (heard_ns, _) in tuple(self._heard.items()):
            if now_ns - heard_ns > STALE_NS:
                del self._heard[sender]
        if not self._heard:
            return None
        told = {room.sanctuary: room for _, rooms in self._heard.values() for room in rooms}
        return sorted(told.values(), key=lambda room: (room.name, room.sanctuary))

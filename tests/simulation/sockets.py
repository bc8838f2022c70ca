"""A socket: ordered and reliable both ways until it is cut, then silent for ever.

What was written before a cut may still be under way; it arrives or not with everything behind it,
as with TCP: a cut drops what has not arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from tests.simulation.oracle import Connection
from tests.simulation.schedule import Schedule

TRANSIT_NS = (200_000, 3_000_000)


class End(Protocol):
    """One end of a socket."""

    def frame(self, socket: Socket, payload: bytes) -> None: ...

    def lost(self, socket: Socket, code: int | None) -> None: ...

    def unblocked(self, socket: Socket) -> None: ...


class Socket:
    """Between one person (`client`) and one gateway (`server`)."""

    def __init__(
        self,
        schedule: Schedule,
        random: Random,
        *,
        client: End,
        server: End,
        connection: Connection,
    ) -> None:
        self._schedule = schedule
        self._random = random
        self._ends = {True: client, False: server}
        self._last_ns = {True: 0, False: 0}
        self.connection = connection
        self._blocked_until_ns = 0
        self._has_room = True
        self.is_open = True

    def to_client(self, payload: bytes) -> None:
        self._send(payload, to_client=True)

    def to_server(self, payload: bytes) -> None:
        self._send(payload, to_client=False)

    @property
    def is_blocked(self) -> bool:
        """The client does not read: what the server writes waits in the kernel."""
        return self._schedule.now_ns < self._blocked_until_ns

    @property
    def is_full(self) -> bool:
        """Blocked, and the kernel does not even take the next frame."""
        return self.is_blocked and not self._has_room

    def block(self, for_ns: int) -> None:
        self._blocked_until_ns = self._schedule.now_ns + for_ns
        self._has_room = (
            for_ns // 1_000_000 % 2 == 0
        )  # no draw of its own, which would change kept seeds
        self._schedule.at(self._blocked_until_ns, lambda: self._ends[False].unblocked(self))

    def _send(self, payload: bytes, *, to_client: bool) -> None:
        if not self.is_open:
            return
        self._arrive(
            lambda: self._ends[to_client].frame(self, payload), to_client=to_client, whole=True
        )

    def _arrive(self, what: Callable[[], None], *, to_client: bool, whole: bool) -> None:
        at_ns = self._schedule.now_ns + self._random.randint(*TRANSIT_NS)
        at_ns = max(at_ns, self._last_ns[to_client] + 1)
        if to_client:
            at_ns = max(at_ns, self._blocked_until_ns)
        self._last_ns[to_client] = at_ns
        self._schedule.at(at_ns, lambda: what() if self.is_open or not whole else None)

    def close(self, *, by_client: bool, code: int | None = None) -> None:
        """One end closes: the other sees it behind everything that was written before."""
        if not self.is_open:
            return
        last_ns = self._last_ns[by_client is False]
        at_ns = max(self._schedule.now_ns + self._random.randint(*TRANSIT_NS), last_ns + 1)

        def closed() -> None:
            if self.is_open:
                self.is_open = False
                self._ends[not by_client].lost(self, code)

        self._schedule.at(at_ns, closed)

    def cut(self) -> None:
        """Both ends lose it now, with whatever is under way."""
        if not self.is_open:
            return
        self.is_open = False
        for end in self._ends.values():
            end.lost(self, None)

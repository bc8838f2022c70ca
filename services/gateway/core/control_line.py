"""What this gateway says on its own control subject, numbered without holes. Pure.

A reader that misses a number asks for the tombstones; beats tell the last number, so a lost tail
shows within 250 ms.
"""

from __future__ import annotations

from shared import subjects
from shared.contracts.fanout import FanoutBeat
from shared.contracts.gateway import ConsentForwarded, GatewayBeat, Passed, Tombstones
from shared.contracts.records import Signed
from shared.identifiers import SessionId
from shared.subjects import FANOUT, Publish


class ControlLine:
    """The numbering of one incarnation, and who owns which slot at the other end."""

    def __init__(self, gateway: str, incarnation: int) -> None:
        self.gateway = gateway
        self.incarnation = incarnation
        self._number = 0
        self._fanouts: dict[int, str] = {}
        self._replicas = 1

    def begin_incarnation(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self._number = 0

    def hear(self, beat: FanoutBeat) -> None:
        """Learn a fanout's name and how many there are."""
        self._fanouts[beat.ordinal] = beat.fanout
        self._replicas = beat.replicas

    def _owner_of(self, slot: int) -> str:
        ordinal = slot % self._replicas
        return self._fanouts.get(ordinal, f"{FANOUT}-{ordinal}")

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _say(self, event: ConsentForwarded | Passed | Tombstones | GatewayBeat) -> Publish:
        return Publish(subjects.control(self.gateway), event)

    def beat(self) -> Publish:
        return self._say(GatewayBeat(self.gateway, self.incarnation, self._number))

    def forward(self, session: SessionId, ref: int, record: Signed, *, again: bool) -> Publish:
        number = self._next_number()
        return self._say(
            ConsentForwarded(self.gateway, self.incarnation, number, session, ref, record, again)
        )

    def passed(self, slot: int, marker: int) -> Publish:
        """To the fanout that owns the slot: its marker was carried out."""
        number = self._next_number()
        return self._say(
            Passed(self.gateway, self.incarnation, number, self._owner_of(slot), marker)
        )

    def tombstones(self, fanout: str, records: tuple[Signed, ...]) -> Publish:
        number = self._next_number()
        return self._say(Tombstones(self.gateway, self.incarnation, number, fanout, records))

"""Withdrawals under way: markers on every live gateway's streams, passed or fenced, then acted."""

from __future__ import annotations

from shared.contracts.fanout import ConsentActed
from shared.identifiers import MonotonicNs

PASS_WITHIN_NS = 1_000_000_000
"""A gateway that has not passed a marker by then is fenced."""
REMEMBER_NS = 60_000_000_000
"""How long a repeat of an acted record is answered from memory; gateways keep theirs as long."""
ACTS_MAX = 20_000
NOBODY = bytes(16)
"""In a marker that purges no one: only its place in the stream counts."""

Requester = tuple[str, bytes, int]
"""Gateway, session, ref."""


class Act:
    """One narrowing record: whom to tell, and which markers are still out."""

    __slots__ = (
        "begun_ns",
        "citizen",
        "counter",
        "done_ns",
        "is_silent",
        "requesters",
        "waits",
    )

    def __init__(self, citizen: bytes, counter: int, *, is_silent: bool = False) -> None:
        self.citizen = citizen
        self.counter = counter
        self.is_silent = is_silent
        """It takes nothing away: nobody waits for `acted`."""
        self.requesters: dict[Requester, None] = {}
        self.waits: dict[int, tuple[str, int, int, bytes]] = {}
        """Marker → gateway, incarnation, slot, whom it purges."""
        self.begun_ns: int | None = None
        self.done_ns: int | None = None


class Acts:
    """All records acted on, under way or done within the last minute, by payload hash."""

    def __init__(self, first_marker: int) -> None:
        self._acts: dict[bytes, Act] = {}
        self._markers: dict[int, Act] = {}
        self._next_marker = first_marker
        self.under_way: dict[bytes, Act] = {}

    def get(self, payload_hash: bytes) -> Act | None:
        return self._acts.get(payload_hash)

    def add(self, payload_hash: bytes, act: Act, now_ns: MonotonicNs) -> None:
        if len(self._acts) >= ACTS_MAX:
            oldest = next((h for h, a in self._acts.items() if a.done_ns is not None), None)
            if oldest is not None:
                del self._acts[oldest]
        self._acts[payload_hash] = act
        if act.is_silent:
            act.done_ns = now_ns
        else:
            self.under_way[payload_hash] = act

    def marker(self, act: Act, gateway: str, incarnation: int, *, slot: int, purges: bytes) -> int:
        """A fresh marker number that this act now waits for."""
        number = self._next_marker
        self._next_marker += 1
        act.waits[number] = (gateway, incarnation, slot, purges)
        self._markers[number] = act
        return number

    def outstanding(self, gateway: str, incarnation: int, slot: int) -> list[tuple[int, bytes]]:
        """Markers on one stream that were not passed, in order, with whom they purge."""
        return [
            (number, act.waits[number][3])
            for number, act in self._markers.items()
            if act.waits[number][:3] == (gateway, incarnation, slot)
        ]

    def passed(self, marker: int, gateway: str, incarnation: int) -> None:
        """A gateway has carried a marker out."""
        act = self._markers.get(marker)
        if act is not None and act.waits[marker][:2] == (gateway, incarnation):
            del act.waits[marker]
            del self._markers[marker]

    def forget_gateway(self, gateway: str, incarnation: int) -> None:
        """It is fenced or gone: nothing it held can be written any more."""
        for number, act in list(self._markers.items()):
            if act.waits[number][:2] == (gateway, incarnation):
                del act.waits[number]
                del self._markers[number]

    def late(self, now_ns: MonotonicNs) -> dict[tuple[str, int], None]:
        """Gateways that did not pass a marker in time."""
        return {
            (gateway, incarnation): None
            for act in self.under_way.values()
            if act.begun_ns is not None and now_ns - act.begun_ns >= PASS_WITHIN_NS
            for gateway, incarnation, _, _ in act.waits.values()
        }

    def wait_again(self, now_ns: MonotonicNs) -> None:
        """This process stood still: gateways get their second from now on."""
        for act in self.under_way.values():
            if act.begun_ns is not None:
                act.begun_ns = now_ns

    def finish(self, now_ns: MonotonicNs) -> list[Act]:
        """The acts that have become complete."""
        done = [
            payload_hash
            for payload_hash, act in self.under_way.items()
            if act.begun_ns is not None and not act.waits
        ]
        acts = []
        for payload_hash in done:
            act = self.under_way.pop(payload_hash)
            act.done_ns = now_ns
            acts.append(act)
        return acts

    def forget_old(self, now_ns: MonotonicNs) -> None:
        old = [
            payload_hash
            for payload_hash, act in self._acts.items()
            if act.done_ns is not None and now_ns - act.done_ns >= REMEMBER_NS
        ]
        for payload_hash in old:
            del self._acts[payload_hash]


def answer(
    act: Act, requester: Requester, *, fanout: str, ordinal: int, replicas: int
) -> ConsentActed:
    _, session, ref = requester
    return ConsentActed(fanout, ordinal, replicas, session, ref, act.citizen, act.counter)

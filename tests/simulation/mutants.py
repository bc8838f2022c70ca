"""Cores with one plausible mistake each: the law of that name must notice it.

A mutant is a patched method of a real core, for as long as its context lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec

from services.fanout.core.consents import Consent
from services.fanout.core.presences import Presence
from services.fanout.core.rooms import Room
from services.fanout.core.views import View
from services.gateway.core.edge import Edge
from services.ingest.core.lanes import Lane
from shared.contracts import Deliver, EdgeBatch, MemberBatch, Signed
from shared.replica import MembersReplica
from shared.subjects import Publish

Mutant = Callable[[], AbstractContextManager[None]]


def _mutant(owner: type, name: str, make: Callable[[Any], Any]) -> Mutant:
    """`make` gets the method as it is and returns the one that stands in for it."""

    @contextmanager
    def mutated() -> Iterator[None]:
        original = getattr(owner, name)
        setattr(owner, name, make(original))
        try:
            yield
        finally:
            setattr(owner, name, original)

    return mutated


def _only_the_recorded_state(fold: Any) -> Any:
    def folded(self: Consent) -> None:
        fold(self)
        self.states = (self.recorded,)

    return folded


def _aims_where_it_aimed(aim: Any) -> Any:
    def aimed(self: Presence) -> None:
        before = self.full
        aim(self)
        self.full = self.full or before

    return aimed


def _no_barrier(settle: Any) -> Any:
    def settled(self: Room) -> None:
        """What waits for the room's audiences stays there."""

    return settled


def _some_batches_again(flush: Any) -> Any:
    def flushed(self: Lane, now_ns: int, *, even_empty: bool = False) -> list[Publish]:
        published: list[Publish] = flush(self, now_ns, even_empty=even_empty)
        if published and self.number % 16 == 9:
            last = published[-1]
            self.number += 1
            again = msgspec.structs.replace(last.event, number=self.number)
            published.append(Publish(last.subject, again))
        return published

    return flushed


def _repeats_are_carried_out(receive: Any) -> Any:
    def received(self: Edge, batch: EdgeBatch, now_ns: Any) -> None:
        before = self.batches_dropped.get("repeated", 0)
        receive(self, batch, now_ns)
        if self.batches_dropped.get("repeated", 0) > before:
            for operation in batch.operations:
                if isinstance(operation, Deliver):
                    self._carry_out(batch.slot, operation)

    return received


def _nothing_is_announced(skip: Any) -> Any:
    def skipped(self: Lane, *_: object) -> None:
        """Lost and refused numbers are passed over."""

    return skipped


def _no_lift_is_noted(_: Any) -> Any:
    def noted(self: Presence, *_: object) -> None:
        """Whoever may see again is shown what the others hold."""

    return noted


def _all_are_followers(_: Any) -> Any:
    def followers(self: Room, citizen: bytes) -> dict[bytes, None]:
        """Whoever may follow does, asked or not."""
        return dict.fromkeys(self.seats)

    return followers


def _without_seal(strand: Any) -> Any:
    def shown(self: View, of: Any, lift: Any = None) -> bytes:
        seal: Signed | None = of.seal
        of.seal = None
        try:
            message: bytes = strand(self, of, lift)
        finally:
            of.seal = seal
        return message

    return shown


def _holes_are_passed_over(receive: Any) -> Any:
    def received(self: MembersReplica, batch: MemberBatch, now_ns: Any) -> Any:
        slot = self._slots.get(batch.slot)
        if (
            slot is not None
            and slot.coming is not None
            and batch.epoch == slot.epoch
            and batch.number > slot.coming.number
        ):
            slot.coming.number = batch.number - 1
        return receive(self, batch, now_ns)

    return received


MUTANTS: dict[str, Mutant] = {
    "no signature reaches anyone without a live grant": _mutant(
        Consent, "_fold", _only_the_recorded_state
    ),
    "what was said out of somebody's sight stays out of it": _mutant(
        Presence, "_note_lifts", _no_lift_is_noted
    ),
    "beyond the limit one sees whom one follows, and nobody else": _mutant(
        Room, "followers", _all_are_followers
    ),
    "nothing after struck": _mutant(Presence, "aim", _aims_where_it_aimed),
    "order within a strand": _mutant(Room, "settle", _no_barrier),
    "no sample admitted twice": _mutant(Lane, "flush", _some_batches_again),
    "nobody receives a citizen twice": _mutant(Edge, "receive", _repeats_are_carried_out),
    "what went in equals what came out plus what was counted": _mutant(
        Lane, "skip", _nothing_is_announced
    ),
    "snapshot + events == state": _mutant(View, "strand", _without_seal),
    "after the faults stop, everyone converges": _mutant(
        MembersReplica, "receive", _holes_are_passed_over
    ),
}
"""Law → the mutant that breaks it: in order, a fanout that waits for the registry before it narrows;
one that shows a person what was said while it was excepted; one to which whoever may follow does;
one that strikes and goes on; one that lets people in ahead of what waits; an ingest that sends a batch
again under a new number; a gateway that carries repeated batches out; an ingest that announces no loss;
a snapshot without its seal; a replica that passes over holes."""

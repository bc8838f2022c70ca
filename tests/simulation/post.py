"""The bus of the simulation: `shared.bus.twin` on the schedule, events encoded and decoded as on the
real one, asks answered on the asker's inbox.

A message reaches those that listened when it was sent: who was down then never gets it. Faults lose,
repeat, delay and reorder, each copy by itself, until the calm.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec

from shared import codec
from shared.bus.twin import Faults as BusFaults
from shared.bus.twin import TwinBus
from shared.contracts import (
    Answers,
    ChainAsk,
    ConsentActed,
    EdgeBatch,
    EnrolAsk,
    FanoutControl,
    FeedWindow,
    FollowAnswered,
    GatewayControl,
    Interest,
    MemberBatch,
    MembersAsk,
    OpeningsAsk,
    PostAsk,
    RecordAnswered,
    RegistryControl,
    SanctuaryAsk,
    SanctuaryControl,
    SeatAnswered,
    SigBatch,
    SnapshotAsk,
    StateAsk,
    UpBatch,
)
from shared.subjects import Ask
from tests.simulation.faults import Faults
from tests.simulation.schedule import Schedule

KINDS: dict[str, Any] = {
    "up": UpBatch,
    "sig": SigBatch,
    "edge": EdgeBatch,
    "back": Answers | SeatAnswered | FollowAnswered | RecordAnswered | ConsentActed,
    "control": GatewayControl | FanoutControl | SanctuaryControl | RegistryControl,
    "member": MemberBatch,
    "interest": Interest,
    "field": FeedWindow,
    "record": FeedWindow,
    "ask.sanctuary": SanctuaryAsk | MembersAsk,
    "ask.registry": EnrolAsk | ChainAsk | StateAsk,
    "ask.ingest": OpeningsAsk,
    "ask.fanout": SnapshotAsk,
    "ask.gateway": PostAsk,
}
"""What a subject carries, by its first words."""


@cache
def kind_of(subject: str) -> Any:
    first, _, rest = subject.partition(".")
    return KINDS[f"ask.{rest.partition('.')[0]}"] if first == "ask" else KINDS[first]


class Listener(Protocol):
    """One instance: its name, how often it has started, and where its mail goes."""

    name: str
    life: int

    def heard(self, subject: str, event: Any, answer: Callable[[Any], None] | None) -> None: ...

    def answered(self, ask: Ask, event: Any) -> None: ...


class _Answered(NamedTuple):
    ask: Ask
    life: int
    event: Any


class Post:
    """Carries messages between listeners, through the faults that are on."""

    def __init__(self, schedule: Schedule, faults: Faults, random: Random) -> None:
        self._schedule = schedule
        self._bus = TwinBus(
            random,
            BusFaults(
                loss=faults.loss,
                repeat=faults.repeat,
                disorder=faults.disorder,
                delay_ms_max=faults.delay_ms_max,
            ),
        )
        self._listeners: dict[str, Listener] = {}
        self._asked: dict[str, tuple[Listener, Ask, int]] = {}
        self._asks = 0
        self._drain_at_ns: int | None = None
        self._planned: set[int] = set()
        """The times for which the schedule already holds a look at the bus."""
        self.carried = 0

    def listen(self, listener: Listener, patterns: tuple[str, ...]) -> None:
        """A start: from now on it hears these."""
        self._listeners[listener.name] = listener
        for pattern in (*patterns, f"_INBOX.{listener.name}"):
            self._bus.subscribe(listener.name, pattern)

    def forget(self, listener: Listener) -> None:
        """A crash: its interest is gone, and what flies to it."""
        self._bus.forget(listener.name)

    def be_calm(self) -> None:
        """From now on the bus does what core NATS does on one machine."""
        self._bus.faults = BusFaults()

    def publish(self, sender: Listener, subject: str, event: msgspec.Struct) -> None:
        arriving = codec.decode(codec.encode(event), kind_of(subject))
        self._bus.publish(sender.name, subject, arriving, self._schedule.now_ns)
        self._plan()

    def ask(self, sender: Listener, ask: Ask) -> None:
        """One ask; its answer, if any, takes the same way back. Silence is for the asker's timer."""
        arriving = codec.decode(codec.encode(ask.event), kind_of(ask.subject))
        self._asks += 1
        reply = str(self._asks)
        self._asked[reply] = (sender, ask, sender.life)
        self._bus.publish(sender.name, ask.subject, arriving, self._schedule.now_ns, reply=reply)
        self._plan()

    def _answer(self, sender: str, reply: str, event: msgspec.Struct) -> None:
        asker, ask, life = self._asked[reply]
        arriving = codec.decode(codec.encode(event), ask.answer)
        self._bus.publish(
            sender, f"_INBOX.{asker.name}", _Answered(ask, life, arriving), self._schedule.now_ns
        )
        self._plan()

    def _plan(self) -> None:
        due_ns = self._bus.next_due()
        if due_ns is not None and (self._drain_at_ns is None or due_ns < self._drain_at_ns):
            self._drain_at_ns = due_ns
            if due_ns not in self._planned:
                self._planned.add(due_ns)
                self._schedule.at(due_ns, partial(self._drain, due_ns))

    def _drain(self, at_ns: int) -> None:
        self._planned.discard(at_ns)
        if self._drain_at_ns != at_ns:
            return
        self._drain_at_ns = None
        for delivery in self._bus.due(self._schedule.now_ns):
            self.carried += 1
            listener = self._listeners[delivery.receiver]
            event = delivery.event
            if isinstance(event, _Answered):
                if listener.life == event.life:
                    listener.answered(event.ask, event.event)
                continue
            answer: Callable[[Any], None] | None = None
            if delivery.reply is not None:

                def answer(event: Any, of: str = listener.name, to: str = delivery.reply) -> None:
                    self._answer(of, to, event)

            listener.heard(delivery.subject, event, answer)
        self._plan()

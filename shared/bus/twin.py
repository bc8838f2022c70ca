"""The simulation's bus: the promises of core NATS, and no more, on virtual time. Pure.

At most once; order kept for each (sender, subject, receiver) and for nothing else; a queue group
gets each message once; who is cut off loses what is sent meanwhile. By seed it loses, repeats,
delays and, if told, breaks even that order. `tests/contract/test_bus_twin.py` holds it to the same
laws as the real broker.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Faults:
    """What may go wrong with one delivery. Probabilities 0…1; delays are drawn evenly.

    A seed first draws which faults are on, then the run.
    """

    loss: float = 0.0
    repeat: float = 0.0
    """Delivered once more, later by a delay of its own. Core NATS does not; a cluster that heals may."""
    disorder: float = 0.0
    """Delivered without regard to what its sender sent before it on the same subject."""
    delay_ms_min: float = 0.1
    delay_ms_max: float = 1.0

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.loss, self.repeat, self.disorder)):
            raise ValueError(f"a probability is not 0 … 1: {self}")
        if not 0 <= self.delay_ms_min <= self.delay_ms_max:
            raise ValueError(f"the delays are not ordered: {self}")


NO_FAULTS = Faults()


class Delivery(NamedTuple):
    """`event` for `receiver`; `sender` and `reply` as published."""

    receiver: str
    subject: str
    event: Any
    sender: str
    reply: str | None


class _Interest(NamedTuple):
    pattern: str
    queue: str | None


def matches(pattern: str, subject: str) -> bool:
    """NATS wildcards: `*` is any one token, `>` at the end one or more."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":  # noqa: S105
            return index == len(wanted) - 1 and len(tokens) > index
        if index >= len(tokens) or token not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)


_matches = lru_cache(maxsize=65536)(matches)


class TwinBus:
    """A bus of named instances. `faults` may be replaced while it runs (faults stop, all converge).

    All randomness is `rng`'s: the same seed and calls give the same deliveries, whatever the hash
    seed. `now` never goes back.
    """

    def __init__(self, rng: Random, faults: Faults = NO_FAULTS) -> None:
        self.faults = faults
        self.lost = 0
        self.repeated = 0
        self._rng = rng
        self._interests: dict[str, dict[_Interest, None]] = {}
        self._routes: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {}
        self._cut: dict[str, None] = {}
        self._generation: dict[str, int] = {}
        self._last_due: dict[tuple[str, str, str], int] = {}
        self._flying: list[tuple[int, int, int, Delivery]] = []
        self._sent = 0

    # ── interest ─────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, receiver: str, pattern: str, queue: str | None = None) -> None:
        """Hear what is published from now on. Twice is once."""
        self._interests.setdefault(receiver, {})[_Interest(pattern, queue)] = None
        self._routes.clear()

    def unsubscribe(self, receiver: str, pattern: str, queue: str | None = None) -> None:
        self._interests.get(receiver, {}).pop(_Interest(pattern, queue), None)
        self._routes.clear()

    def forget(self, receiver: str) -> None:
        """It crashed: its interest and what flies to it are gone."""
        self._interests.pop(receiver, None)
        self._generation[receiver] = self._generation.get(receiver, 0) + 1
        self._routes.clear()

    def cut(self, instance: str) -> None:
        """Its connection is away: what it publishes, and what is sent to it, is lost. Its interest
        is remembered, as the client does.
        """
        self._cut[instance] = None
        self._generation[instance] = self._generation.get(instance, 0) + 1

    def heal(self, instance: str) -> None:
        self._cut.pop(instance, None)

    def receivers(self, subject: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Who hears a subject: those alone, once for each matching pattern, and the queue groups."""
        route = self._routes.get(subject)
        if route is None:
            alone: list[str] = []
            groups: dict[str, list[str]] = {}
            for receiver, interests in self._interests.items():
                for pattern, queue in interests:
                    if not _matches(pattern, subject):
                        continue
                    if queue is None:
                        alone.append(receiver)
                    else:
                        groups.setdefault(queue, []).append(receiver)
            route = tuple(alone), tuple(tuple(members) for members in groups.values())
            self._routes[subject] = route
        return route

    # ── messages ─────────────────────────────────────────────────────────────────────────────────

    def publish(
        self, sender: str, subject: str, event: Any, now: int, *, reply: str | None = None
    ) -> None:
        """Send at `now` (ns); never fails, promises nothing."""
        if sender in self._cut:
            self.lost += 1
            return
        alone, groups = self.receivers(subject)
        for receiver in alone:
            self._send(Delivery(receiver, subject, event, sender, reply), now)
        for members in groups:
            there = [member for member in members if member not in self._cut]
            if there:
                receiver = there[0] if len(there) == 1 else self._rng.choice(there)
                self._send(Delivery(receiver, subject, event, sender, reply), now)

    def _send(self, delivery: Delivery, now: int) -> None:
        faults, rng = self.faults, self._rng
        if delivery.receiver in self._cut or (faults.loss and rng.random() < faults.loss):
            self.lost += 1
            return
        self._fly(delivery, now)
        if faults.repeat and rng.random() < faults.repeat:
            self.repeated += 1
            self._fly(delivery, now)

    def _fly(self, delivery: Delivery, now: int) -> None:
        faults, rng = self.faults, self._rng
        due = now + int(rng.uniform(faults.delay_ms_min, faults.delay_ms_max) * _NS_PER_MS)
        if not faults.disorder or rng.random() >= faults.disorder:
            strand = (delivery.sender, delivery.subject, delivery.receiver)
            due = max(due, self._last_due.get(strand, 0))
            self._last_due[strand] = due
        self._sent += 1
        generation = self._generation.get(delivery.receiver, 0)
        heapq.heappush(self._flying, (due, self._sent, generation, delivery))

    def next_due(self) -> int | None:
        """When the next delivery is due, ns; None: nothing flies."""
        return self._flying[0][0] if self._flying else None

    def due(self, now: int) -> list[Delivery]:
        """What has arrived by `now`, in order of arrival; each is handed out once."""
        arrived: list[Delivery] = []
        while self._flying and self._flying[0][0] <= now:
            _, _, generation, delivery = heapq.heappop(self._flying)
            if generation == self._generation.get(delivery.receiver, 0):
                arrived.append(delivery)
            else:
                self.lost += 1
        return arrived

    def flying(self) -> Iterable[Delivery]:
        """What is on its way, in no order: for `pending()` of a simulation."""
        return (delivery for *_, delivery in self._flying)

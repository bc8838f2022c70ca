"""One instance of a service: a pure core, an inbox, two clocks, and the ways in which it can fail.

A turn is what the real shell's loop turn is: everything that has arrived is received in order, the
timer ticks if it is due, the core is flushed once. A crash loses the core and the inbox; a stall
(SIGSTOP) lets the inbox fill and the clocks jump.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.identifiers import MonotonicNs, WallMs, slot_of
from shared.subjects import Ask, Publish, Reply
from tests.simulation.city import BEGAN_MS
from tests.simulation.schedule import MS, S

if TYPE_CHECKING:
    from tests.simulation.world import World

TURN_NS = 100_000
"""From an arrival to the turn that receives it: whatever arrives meanwhile shares the turn."""

Core = Any
"""The cores share a shape, not a base class (ARCHITECTURE.md, "How a core looks")."""
Input = Callable[[MonotonicNs, WallMs], Iterable[Any]]
"""Something that the core takes in, given its clocks; what comes back is to be carried out."""


class Node(ABC):
    """An instance of one service in the simulation."""

    flushes = False
    """Data-plane cores collect batches; `flush` returns them once a turn."""

    def __init__(self, world: World, service: str, ordinal: int) -> None:
        self.world = world
        self.schedule = world.schedule
        self.service = service
        self.ordinal = ordinal
        self.name = f"{service}-{ordinal}"
        self.life = 0
        self.is_up = False
        self.core: Core = None
        self.turns = 0
        self._stalled_until_ns = 0
        self._origin_ns = world.random.randint(1 * S, 100_000 * S)
        """This process's monotonic clock began somewhere else than everybody's."""
        self._began_ms = BEGAN_MS + world.faults.skew_ms.get(self.name, 0)
        self._inbox: deque[tuple[Input, Callable[[Any], None] | None]] = deque()
        self._turn_at_ns: int | None = None
        self._due_ns: int | None = None
        """The core's deadline as of its last turn, by its own clock; its timer is set to it."""
        self._planned: set[int] = set()
        """The times for which the schedule already holds a turn of this instance."""

    # ── its clocks ───────────────────────────────────────────────────────────────────────────────

    @property
    def now_ns(self) -> MonotonicNs:
        return MonotonicNs(self.schedule.now_ns + self._origin_ns)

    @property
    def now_ms(self) -> WallMs:
        return WallMs(self.schedule.now_ns // MS + self._began_ms)

    # ── its life ─────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def make(self) -> Core:
        """A core as `__main__` would make it at a start."""

    def start(self) -> None:
        self.life += 1
        self.is_up = True
        self.core = self.make()
        self.world.trace(self.name, f"starts ({self.life})")
        self.world.post.listen(self, self.patterns())
        self.give(self.core.start)

    def start_unless_up(self) -> None:
        if not self.is_up:
            self.start()

    @abstractmethod
    def patterns(self) -> tuple[str, ...]:
        """The subjects that its shell subscribes to."""

    def slots(self) -> tuple[int, ...]:
        """The slots that it owns; those without a room are left out, nothing would happen there."""
        return tuple(sorted(slot_of(sanctuary) for sanctuary in self.world.policies))

    def take_epochs(self) -> dict[int, int]:
        return {slot: self.world.take_epoch(self.service, slot) for slot in self.slots()}

    def crash(self) -> None:
        if not self.is_up:
            return
        self.world.post.forget(self)
        self.world.trace(self.name, "crashes")
        self.is_up = False
        self.life += 1
        self.core = None
        self._inbox.clear()
        self._turn_at_ns = self._due_ns = None
        self._stalled_until_ns = 0

    def stall(self, for_ns: int) -> None:
        if not self.is_up:
            return
        self.world.trace(self.name, f"stands still for {for_ns // MS} ms")
        self._stalled_until_ns = self.schedule.now_ns + for_ns
        self._want_turn(self._stalled_until_ns)

    # ── its mail ─────────────────────────────────────────────────────────────────────────────────

    def heard(self, subject: str, event: Any, answer: Callable[[Any], None] | None) -> None:
        if self.is_up:
            self.give(partial(self.core.receive, subject, event), answer)

    def answered(self, ask: Ask, event: Any) -> None:
        if self.is_up:
            self.give(partial(self.core.answered, ask, event))

    def give(self, take: Input, answer: Callable[[Any], None] | None = None) -> None:
        """One input for the next turn."""
        if self.is_up:
            self._inbox.append((take, answer))
            self._want_turn(self.schedule.now_ns + TURN_NS)

    def _want_turn(self, at_ns: int) -> None:
        if at_ns < self._stalled_until_ns:  # noqa: PLR1730  (asked twice a turn)
            at_ns = self._stalled_until_ns
        if self._turn_at_ns is not None and self._turn_at_ns <= at_ns:
            return
        self._turn_at_ns = at_ns
        if at_ns not in self._planned:
            self._planned.add(at_ns)
            self.schedule.at(at_ns, partial(self._turn, at_ns))

    def _turn(self, at_ns: int) -> None:
        self._planned.discard(at_ns)
        if not self.is_up or self._turn_at_ns != at_ns:
            return
        self._turn_at_ns = None
        if at_ns < self._stalled_until_ns:
            self._want_turn(self._stalled_until_ns)
            return
        self.turns += 1
        core, now_ns, now_ms, life = self.core, self.now_ns, self.now_ms, self.life
        inbox = self._inbox
        while inbox:
            take, answer = inbox.popleft()
            for effect in self.attempt(take, now_ns, now_ms):
                self.carry_out(effect, answer)
            if self.life != life:
                return
        if self._due_ns is not None and self._due_ns <= now_ns:
            for effect in core.tick(now_ns, now_ms):
                self.carry_out(effect, None)
        if self.flushes:
            self.flush(now_ns, now_ms)
        self._due_ns = due_ns = core.next_deadline()
        if due_ns is not None:
            self._want_turn(max(due_ns - self._origin_ns, self.schedule.now_ns + TURN_NS))

    def attempt(self, take: Input, now_ns: MonotonicNs, now_ms: WallMs) -> Iterable[Any]:
        """One input into the core."""
        return take(now_ns, now_ms)

    def flush(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        for effect in self.core.flush(now_ns, now_ms):
            self.carry_out(effect, None)

    def want_turn_soon(self) -> None:
        self._want_turn(self.schedule.now_ns + TURN_NS)

    def carry_out(self, effect: Any, answer: Callable[[Any], None] | None) -> None:
        match effect:
            case Publish():
                self.world.publish(self, effect.subject, effect.event)
            case Ask():
                self.world.ask(self, effect)
            case Reply():
                assert answer is not None, f"{self.name} replies to what was no ask"
                self.world.replies(self, effect.event)
                answer(effect.event)
            case _:
                raise TypeError(f"{self.name} returned {type(effect).__name__}")

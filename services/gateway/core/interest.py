"""Anonymous viewers of public stages: how many watch which, by generation. Pure.

A new viewer gets a new generation; fanout answers it in band with `EnterPublic`, so no viewer gets a
batch before its snapshot. Announced on change and every 500 ms while somebody watches.
"""

from __future__ import annotations

from shared.identifiers import MonotonicNs, SessionId, slot_of

ANNOUNCE_EVERY_NS = 500_000_000


class _Stage:
    __slots__ = ("generation", "slot", "viewers")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.generation = 0
        self.viewers: dict[SessionId, int] = {}


class InterestBook:
    """Stages watched here. Generations are never re-used within an incarnation."""

    def __init__(self) -> None:
        self._stages: dict[bytes, _Stage] = {}
        self._changed: dict[bytes, None] = {}
        self._generation = 0
        self._announce_at_ns = MonotonicNs(0)

    def __len__(self) -> int:
        return len(self._stages)

    def watch(self, session: SessionId, sanctuary: bytes) -> None:
        stage = self._stages.get(sanctuary)
        if stage is None:
            stage = self._stages[sanctuary] = _Stage(slot_of(sanctuary))
        self._generation += 1
        stage.generation = stage.viewers[session] = self._generation
        self._changed[sanctuary] = None

    def unwatch(self, session: SessionId, sanctuary: bytes) -> None:
        stage = self._stages.get(sanctuary)
        if stage is not None and stage.viewers.pop(session, None) is not None:
            self._changed[sanctuary] = None

    def watchers(self, sanctuary: bytes, generation: int) -> list[SessionId]:
        stage = self._stages.get(sanctuary)
        if stage is None:
            return []
        return [session for session, mine in stage.viewers.items() if mine <= generation]

    def slots(self) -> dict[int, None]:
        return {stage.slot: None for stage in self._stages.values() if stage.viewers}

    @property
    def has_changed(self) -> bool:
        return bool(self._changed)

    def announce_all(self) -> None:
        for sanctuary in self._stages:
            self._changed[sanctuary] = None

    def due(self, now_ns: MonotonicNs) -> list[tuple[int, bytes, int, int]]:
        """(slot, sanctuary, generation, count) to announce now; emptied stages are then forgotten."""
        if now_ns >= self._announce_at_ns:
            self._announce_at_ns = MonotonicNs(now_ns + ANNOUNCE_EVERY_NS)
            self.announce_all()
        rows = []
        for sanctuary in self._changed:
            stage = self._stages[sanctuary]
            rows.append((stage.slot, sanctuary, stage.generation, len(stage.viewers)))
            if not stage.viewers:
                del self._stages[sanctuary]
        self._changed.clear()
        return rows

    def next_deadline(self) -> MonotonicNs | None:
        return self._announce_at_ns if self._stages else None

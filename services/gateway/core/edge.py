"""The numbered edge streams, one a slot: what fanout says, carried out on the egress queues. Pure.

A slot is *current* while its batches follow each other. A hole, a silence of 3 s, or a stall of this
process makes it *stale*: its audiences are emptied, its viewers are told `gap`, and nothing but a
batch that begins with `Clear` is taken, which is asked for every 250 ms. fanout answers a
`SnapshotAsk` by starting the (slot, gateway) stream over with `Clear`, at number 0 or further on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import assert_never

from services.gateway.core.egress import Egress
from services.gateway.core.form import EventSnapshot
from services.gateway.core.owed import members_key, public_key
from shared.codec import encode
from shared.contracts.client import Gap
from shared.contracts.fanout import (
    AudienceKey,
    Clear,
    Deliver,
    Depart,
    DepartFollowers,
    EdgeBatch,
    EdgeOp,
    Enter,
    EnterFollowers,
    EnterPublic,
    Marker,
    StrandNumber,
    Strike,
)
from shared.identifiers import SLOTS, MonotonicNs, SessionId

ASK_EVERY_NS = 250_000_000
SILENCE_NS_MAX = 3_000_000_000


class _Stream:
    """One slot's stream. `number` −1: nothing taken yet."""

    __slots__ = ("ask_at_ns", "epoch", "heard_ns", "is_current", "number")

    def __init__(self, now_ns: MonotonicNs) -> None:
        self.epoch = -1
        self.number = -1
        self.is_current = False
        self.heard_ns = now_ns
        self.ask_at_ns: MonotonicNs | None = None


class Edge:
    """Slots' streams in, calls on `Egress` out. `passed` is called for every marker carried out,
    `recovered` decides the honesty of a snapshot, `may_enter` whether a session ever asked to.
    """

    def __init__(
        self,
        egress: Egress,
        *,
        passed: Callable[[int, int], None],
        recovered: Callable[[SessionId, bytes, tuple[StrandNumber, ...]], bool],
        may_enter: Callable[[SessionId, bytes], bool],
        watchers: Callable[[bytes, int], list[SessionId]],
    ) -> None:
        self._egress = egress
        self._passed = passed
        self._recovered = recovered
        self._may_enter = may_enter
        self._watchers = watchers
        self._streams: dict[int, _Stream] = {}
        self._told_gap: dict[SessionId, dict[AudienceKey, None]] = {}
        """Viewers that were told `gap` and have had no snapshot since: they are told once."""
        self.batches_dropped: dict[str, int] = {}
        self.gaps = 0
        self.has_new_asks = False
        """Whether `asks_due` has something to say at once."""

    def receive(self, batch: EdgeBatch, now_ns: MonotonicNs) -> None:
        """One batch of this gateway's present incarnation."""
        slot = batch.slot
        if not 0 <= slot < SLOTS:
            self._drop("slot")
            return
        stream = self._streams.get(slot)
        if stream is None:
            stream = self._streams[slot] = _Stream(now_ns)
        if batch.epoch < stream.epoch:
            self._drop("epoch")
            return
        stream.heard_ns = now_ns
        begins = bool(batch.operations) and isinstance(batch.operations[0], Clear)
        if begins:
            is_old = batch.epoch == stream.epoch and 0 < batch.number <= stream.number
            if is_old:
                self._drop("repeated")
                return
        elif not stream.is_current or batch.epoch != stream.epoch:
            self._drop("awaiting clear")
            self.lose(slot, now_ns)
            return
        elif batch.number <= stream.number:
            self._drop("repeated")
            return
        elif batch.number != stream.number + 1:
            self._drop("hole")
            self.lose(slot, now_ns)
            return
        stream.epoch = batch.epoch
        stream.number = batch.number
        stream.is_current = True
        stream.ask_at_ns = None
        for operation in batch.operations:
            self._carry_out(slot, operation)

    def _carry_out(
        self,
        slot: int,
        operation: EdgeOp,
    ) -> None:
        egress = self._egress
        match operation:
            case Deliver(audience, segments, deny):
                if not egress.deliver(audience, slot, segments, deny):
                    self._drop("audience")
            case Enter(session, sanctuary, segments, numbers, gap):
                known = SessionId(session)
                if not self._may_enter(known, sanctuary):
                    self._drop("session")
                    return
                recovered = self._recovered(known, sanctuary, numbers) and not gap
                self._enter(known, members_key(sanctuary), slot, gap=gap)
                egress.enter(known, members_key(sanctuary), slot, segments, recovered=recovered)
            case EnterPublic(sanctuary, generation, segments, gap):
                key = public_key(sanctuary)
                events = EventSnapshot(segments)
                for watcher in self._watchers(sanctuary, generation):
                    if not egress.is_member(watcher, key):
                        has_kept = egress.has_kept(watcher, events) and not gap
                        self._enter(watcher, key, slot, gap=gap)
                        egress.enter(
                            watcher, key, slot, segments, recovered=has_kept, events=events
                        )
            case EnterFollowers(session, sanctuary, citizen, segments):
                known = SessionId(session)
                if not egress.enter_followers(known, sanctuary, citizen, slot, segments):
                    self._drop("session")
            case DepartFollowers(session, sanctuary, citizen):
                egress.depart_followers(SessionId(session), sanctuary, citizen)
            case Depart(session, sanctuary):
                egress.depart(SessionId(session), sanctuary)
            case Strike(citizen, audience, session, notice, marker):
                only = None if session is None else SessionId(session)
                egress.strike(citizen, audience, slot, only, notice)
                if marker > 0:
                    self._passed(slot, marker)
            case Marker(citizen, marker):
                egress.purge_citizen(slot, citizen)
                if marker > 0:
                    self._passed(slot, marker)
            case Clear():
                self._empty(slot)
            case _:
                assert_never(operation)

    def _enter(self, session: SessionId, key: AudienceKey, slot: int, *, gap: bool) -> None:
        told = self._told_gap.get(session, {})
        was_told = key in told
        told.pop(key, None)
        if gap and not was_told:
            self._egress.owe_notice(session, encode(Gap(key[-16:])), key, slot)

    def _empty(self, slot: int) -> None:
        """Empty the slot's audiences and queues; tell each viewer `gap`, once until its snapshot."""
        for session, key in self._egress.clear_slot(slot):
            self.gaps += 1
            self._told_gap.setdefault(session, {})[key] = None
            self._egress.owe(session, encode(Gap(key[-16:])))

    def lose(self, slot: int, now_ns: MonotonicNs) -> None:
        """The slot's stream had a hole or grew too old: empty it and ask for a snapshot."""
        stream = self._streams.get(slot)
        if stream is None:
            stream = self._streams[slot] = _Stream(now_ns)
        stream.is_current = False
        self._empty(slot)
        if stream.ask_at_ns is None:
            stream.ask_at_ns = now_ns
            self.has_new_asks = True

    def lose_all(self, now_ns: MonotonicNs) -> None:
        for slot in self._streams:
            self.lose(slot, now_ns)

    def begin_incarnation(self, now_ns: MonotonicNs) -> None:
        """A new incarnation: every stream begins anew; epochs stay known."""
        self.lose_all(now_ns)
        for stream in self._streams.values():
            stream.number = -1
            stream.ask_at_ns = None
            stream.heard_ns = now_ns

    def is_current(self, slot: int, now_ns: MonotonicNs) -> bool:
        """Whether fanout speaks for the slot: what does not come is not there."""
        stream = self._streams.get(slot)
        return (
            stream is not None and stream.is_current and now_ns - stream.heard_ns < SILENCE_NS_MAX
        )

    def forget(self, session: SessionId) -> None:
        """The session is gone: nothing is remembered of it."""
        self._told_gap.pop(session, None)

    def asks_due(self, wanted: Collection[int], now_ns: MonotonicNs) -> list[int]:
        """The slots to ask a snapshot of now. `wanted`: slots in which sessions have seats or watch.
        They are lost after 3 s of silence; a silent slot that nobody wants is not asked about.
        """
        for slot in wanted:
            stream = self._streams.get(slot)
            if stream is None:
                self._streams[slot] = _Stream(now_ns)
            elif stream.ask_at_ns is None and now_ns - stream.heard_ns >= SILENCE_NS_MAX:
                self.lose(slot, now_ns)
        due = []
        for slot, stream in self._streams.items():
            if stream.ask_at_ns is None or stream.ask_at_ns > now_ns:
                continue
            if slot in wanted or now_ns - stream.heard_ns < SILENCE_NS_MAX:
                stream.ask_at_ns = MonotonicNs(now_ns + ASK_EVERY_NS)
                due.append(slot)
        return due

    def _drop(self, reason: str) -> None:
        self.batches_dropped[reason] = self.batches_dropped.get(reason, 0) + 1

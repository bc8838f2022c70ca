"""Edge streams: numbered operations to one gateway for one slot, in order, in bounded batches."""

from __future__ import annotations

from shared import subjects
from shared.contracts.fanout import (
    Clear,
    Deliver,
    DenyPair,
    EdgeBatch,
    EdgeOp,
    Segment,
)
from shared.identifiers import MonotonicNs
from shared.subjects import Publish

BATCH_BYTES_MAX = 262_144
"""A batch is closed once it holds this much; NATS carries 1 MiB (its default `max_payload`)."""
DELIVER_BYTES_MAX = 131_072
"""A delivery's segments are divided above this much."""
BEAT_NS = 450_000_000
"""Between beats behind operations: if the last of them is lost, its gateway learns it from a beat."""
BEATS_NS = 2_000_000_000
"""How long such beats go on; four of them are not lost together."""
IDLE_BEAT_NS = 1_250_000_000
"""Between beats of a stream with nothing to show: a gateway gives one up after 3 s of silence, so one
of them may be lost. (64 idle streams: 141 batches a second at `BEAT_NS`, 50 so.)"""
_OPERATION_BYTES = 96
_SEGMENT_BYTES = 24
_DENY_BYTES = 40


class Stream:
    """The operations for one gateway incarnation and slot, numbered from 0 (which holds `Clear`).

    Numbers never begin again while the incarnation lasts: if the `Clear` of a new beginning is lost,
    its gateway must see a hole, not numbers that it has had.
    """

    __slots__ = (
        "_batches",
        "_bytes",
        "_operations",
        "_subject",
        "busy",
        "epoch",
        "gateway",
        "incarnation",
        "number",
        "said_ns",
        "sent_ns",
        "slot",
        "started_ns",
    )

    def __init__(
        self,
        *,
        slot: int,
        epoch: int,
        gateway: str,
        incarnation: int,
        number: int,
        busy: list[Stream],
    ) -> None:
        self.slot = slot
        self.epoch = epoch
        self.gateway = gateway
        self.incarnation = incarnation
        self.busy = busy
        """The router's list of streams with something to send."""
        self.number = number
        """Of the next batch."""
        self.sent_ns = 0
        self.said_ns = 0
        """When operations were last sent."""
        self.started_ns = 0
        self._subject = subjects.edge(gateway)
        self._batches: list[tuple[EdgeOp, ...]] = []
        self._operations: list[EdgeOp] = []
        self._bytes = 0

    def start_over(self, now_ns: MonotonicNs) -> None:
        """Forget what was not sent; begin again with `Clear`."""
        self.started_ns = now_ns
        self._batches.clear()
        self._operations.clear()
        self._bytes = 0
        self.add(Clear(), 0)

    def add(self, operation: EdgeOp, size: int) -> None:
        """Append an operation of about `size` bytes."""
        if not self._operations and not self._batches:
            self.busy.append(self)
        self._operations.append(operation)
        self._bytes += size + _OPERATION_BYTES
        if self._bytes >= BATCH_BYTES_MAX:
            self._batches.append(tuple(self._operations))
            self._operations.clear()
            self._bytes = 0

    def take(self, now_ns: MonotonicNs) -> list[Publish]:
        """What has gathered, as numbered batches."""
        if self._operations:
            self._batches.append(tuple(self._operations))
            self._operations.clear()
            self._bytes = 0
        publishes = [
            Publish(self._subject, self._batch(operations)) for operations in self._batches
        ]
        self._batches.clear()
        self.sent_ns = self.said_ns = now_ns
        return publishes

    def abandon(self) -> None:
        """Its gateway gets nothing more: drop what was about to be sent."""
        self._batches.clear()
        self._operations.clear()
        self._bytes = 0

    def beat(self, now_ns: MonotonicNs) -> Publish | None:
        """An empty batch if nothing was sent for a while."""
        is_idle = now_ns - self.said_ns >= BEATS_NS
        every_ns = IDLE_BEAT_NS if is_idle else BEAT_NS
        if now_ns - self.sent_ns < every_ns or self._operations or self._batches:
            return None
        self.sent_ns = now_ns
        return Publish(self._subject, self._batch(()))

    def _batch(self, operations: tuple[EdgeOp, ...]) -> EdgeBatch:
        batch = EdgeBatch(self.slot, self.epoch, self.incarnation, self.number, operations)
        self.number += 1
        return batch


def deliveries(
    audience: bytes, segments: list[Segment], deny: dict[bytes, tuple[DenyPair, ...]]
) -> list[tuple[Deliver, int]]:
    """Segments as deliveries of bounded size, each with its size and the deny pairs of exactly the
    citizens in it.
    """
    size = sum([len(segment.message) for segment in segments]) + _SEGMENT_BYTES * len(segments)
    if size <= DELIVER_BYTES_MAX:
        return [_delivery(audience, segments, deny, size)]
    result = []
    part: list[Segment] = []
    size = 0
    for segment in segments:
        bytes_more = len(segment.message) + _SEGMENT_BYTES
        if part and size + bytes_more > DELIVER_BYTES_MAX:
            result.append(_delivery(audience, part, deny, size))
            part, size = [], 0
        part.append(segment)
        size += bytes_more
    result.append(_delivery(audience, part, deny, size))
    return result


def _delivery(
    audience: bytes,
    segments: list[Segment],
    deny: dict[bytes, tuple[DenyPair, ...]],
    size: int,
) -> tuple[Deliver, int]:
    if not deny:
        return Deliver(audience, tuple(segments)), size
    citizens = {segment.citizen: None for segment in segments if segment.citizen is not None}
    pairs = tuple(pair for citizen in citizens for pair in deny.get(citizen, ()))
    return Deliver(audience, tuple(segments), pairs), size + _DENY_BYTES * len(pairs)

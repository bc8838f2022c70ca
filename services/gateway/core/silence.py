"""How long after a withdrawal bytes of its citizen still went out: counted, nothing more. Pure.

From the moment when this gateway has read the whole withdrawal (or, of one that another gateway has
read, has heard of it: clocks of two machines cannot be compared) to its last hand-over to the kernel of
bytes of that citizen, over all its viewers. It is counted where bytes leave and not where queues are
purged, so that what a purge has missed shows.

Only a withdrawal from every audience is watched: after any other there are bytes of the citizen that
may go on. A watch counts if fanout struck the citizen here, so if somebody here had seen it; it ends
with the citizen's next grant. While none is open, a sweep pays one look at an empty dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.codec import Refused, decode, sha256
from shared.contracts.records import ConsentRecord, Grant, Purpose, Signed, Withdrawal
from shared.identifiers import MonotonicNs

BOUNDS_MS = (
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    12,
    15,
    20,
    25,
    30,
    40,
    50,
    75,
    100,
    200,
    500,
    1000,
    2000,
    5000,
)
"""Upper bounds of the histogram's buckets: fine below the promise's 50 ms."""
LISTEN_NS = 5_000_000_000
"""How long one listens behind a strike for bytes that should not have gone out any more."""
FORGET_NS = 60_000_000_000
"""A record that no fanout acted on by then is none (or nobody here had seen its citizen)."""
WATCHES_MAX = 256


class Histogram:
    """Durations by bucket. `counts` has one more than `BOUNDS_MS`: what lies above them all."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        place = 0
        while place < len(BOUNDS_MS) and duration_ns > BOUNDS_MS[place] * 1_000_000:
            place += 1
        self.counts[place] += 1
        self.sum_ns += duration_ns


class _Watch:
    __slots__ = (
        "citizen",
        "counter",
        "is_here",
        "is_struck",
        "last_ns",
        "payload_hash",
        "sanctuary",
        "since_ns",
    )

    def __init__(
        self, record: Withdrawal, payload_hash: bytes, since_ns: MonotonicNs, *, is_here: bool
    ) -> None:
        self.citizen = record.citizen
        self.counter = record.counter
        self.sanctuary = record.sanctuary
        self.payload_hash = payload_hash
        self.since_ns = since_ns
        self.is_here = is_here
        self.is_struck = False
        self.last_ns: int = since_ns
        """Of the last hand-over with bytes of the citizen; at first, the withdrawal's own moment."""


class Silences:
    """Open watches and what came of the closed ones."""

    def __init__(self) -> None:
        self.here = Histogram()
        """Of withdrawals that were read by this gateway."""
        self.elsewhere = Histogram()
        """Of withdrawals that another gateway has read."""
        self.acted = Histogram()
        """Of withdrawals read here: until every gateway of the city had passed every marker. On one
        clock, and never below the city's silence."""
        self._watches: dict[bytes, _Watch] = {}
        """By payload hash, in the order in which they were heard."""
        self._of_citizen: dict[bytes, list[_Watch]] = {}
        self._went_out: dict[bytes, _Watch] = {}

    @property
    def is_open(self) -> bool:
        return bool(self._watches)

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def hear(self, record: Signed, now_ns: MonotonicNs, *, is_here: bool) -> None:
        """A consent record was read here, or forwarded by another gateway; nobody has verified it yet."""
        payload_hash = sha256(record.payload)
        if payload_hash in self._watches:
            return
        try:
            read: ConsentRecord = decode(record.payload, ConsentRecord)  # type: ignore[arg-type]
        except Refused:
            return
        if isinstance(read, Grant | Withdrawal):
            for watch in list(self._of_citizen.get(read.citizen, ())):
                if isinstance(read, Grant) or read.sanctuary == watch.sanctuary:
                    self._close(watch)
        if not isinstance(read, Withdrawal) or read.audience is not None:
            return
        if read.purpose is Purpose.RECORD:
            return
        if len(self._watches) >= WATCHES_MAX:
            self._close(next(iter(self._watches.values())))
        watch = _Watch(read, payload_hash, now_ns, is_here=is_here)
        self._watches[payload_hash] = watch
        self._of_citizen.setdefault(watch.citizen, []).append(watch)

    def refused(self, payload_hash: bytes) -> None:
        watch = self._watches.get(payload_hash)
        if watch is not None:
            watch.is_struck = False
            self._close(watch)

    def acted_everywhere(self, citizen: bytes, counter: int, now_ns: MonotonicNs) -> None:
        """Every gateway of the city has carried the record out."""
        for watch in self._of_citizen.get(citizen, ()):
            if watch.is_here and watch.counter == counter:
                self.acted.observe(now_ns - watch.since_ns)

    # ── bytes ────────────────────────────────────────────────────────────────────────────────────

    def strike(self, citizen: bytes, sanctuary: bytes) -> None:
        """Fanout struck the citizen in a room that somebody here is in."""
        for watch in self._of_citizen.get(citizen, ()):
            if watch.sanctuary in (None, sanctuary):
                watch.is_struck = True

    def go_out(self, parts: Iterable[tuple[bytes, bytes]]) -> None:
        """(audience key, citizen) of what is being handed over; the moment comes with `handed`."""
        of_citizen = self._of_citizen
        for key, citizen in parts:
            for watch in of_citizen.get(citizen, ()):
                if watch.sanctuary is None or watch.sanctuary == key[-16:]:
                    self._went_out[watch.payload_hash] = watch

    def handed(self, now_ns: MonotonicNs) -> None:
        """What went out since the last call has been handed over by now, at the latest."""
        if self._went_out:
            for watch in self._went_out.values():
                watch.last_ns = now_ns
            self._went_out.clear()

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now_ns: MonotonicNs) -> None:
        for watch in list(self._watches.values()):
            age_ns = now_ns - watch.since_ns
            if age_ns < LISTEN_NS:
                break
            is_quiet = now_ns - watch.last_ns >= LISTEN_NS
            if (watch.is_struck and is_quiet) or age_ns >= FORGET_NS:
                self._close(watch)

    def _close(self, watch: _Watch) -> None:
        del self._watches[watch.payload_hash]
        self._went_out.pop(watch.payload_hash, None)
        others = self._of_citizen[watch.citizen]
        others.remove(watch)
        if not others:
            del self._of_citizen[watch.citizen]
        if watch.is_struck:
            histogram = self.here if watch.is_here else self.elsewhere
            histogram.observe(watch.last_ns - watch.since_ns)

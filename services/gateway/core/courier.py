"""Consent records on their way: forwarded and repeated until answered, kept as tombstones. Pure.

The gateway does not read them: fanout and the registry verify the same signed bytes. It repeats each
record every 250 ms until the registry has answered, keeps it for 60 s (and until then) so that a
fanout which starts learns of it, and tells the citizen `acted` when every fanout has acted.
"""

from __future__ import annotations

from shared.codec import encode, sha256
from shared.contracts.client import Acted
from shared.contracts.fanout import ConsentActed
from shared.contracts.records import Signed
from shared.contracts.registry import RecordAnswered
from shared.identifiers import MonotonicNs, SessionId

REPEAT_EVERY_NS = 250_000_000
TOMBSTONE_NS = 60_000_000_000
UNANSWERED_PER_SESSION_MAX = 8
RECORDS_MAX = 8192
"""Records held, answered or not: at most some 40 MB."""

Key = tuple[SessionId, int, bytes]
"""(session, ref, SHA-256 of the payload)"""


class _Carried:
    __slots__ = ("is_answered", "record", "since_ns")

    def __init__(self, record: Signed, now_ns: MonotonicNs) -> None:
        self.record = record
        self.since_ns = now_ns
        self.is_answered = False


class _Acting:
    __slots__ = ("is_sent", "ordinals", "since_ns")

    def __init__(self, now_ns: MonotonicNs) -> None:
        self.since_ns = now_ns
        self.ordinals: dict[int, None] = {}
        self.is_sent = False


class Courier:
    """Every record in hand, in the order in which they came."""

    def __init__(self) -> None:
        self._carried: dict[Key, _Carried] = {}
        self._unanswered: dict[Key, int] = {}
        """Key → when to repeat (monotonic ns). Every repeat is moved to the end: ordered by time."""
        self._of_session: dict[SessionId, int] = {}
        self._acting: dict[tuple[bytes, int, bytes, int], _Acting] = {}
        """(session, ref, citizen, counter) → the fanouts that have acted; kept as long as tombstones,
        so that a repeat is not told twice."""

    @property
    def unanswered(self) -> int:
        return len(self._unanswered)

    def take(
        self, session: SessionId, ref: int, record: Signed, now_ns: MonotonicNs
    ) -> bool | None:
        """Carry a record. True: forward it as new, False: as a repeat; nil: too many in hand."""
        key = (session, ref, sha256(record.payload))
        carried = self._carried.get(key)
        if carried is not None:
            if carried.is_answered:  # asked again: the registry answers the same again
                carried.is_answered = False
                self._of_session[session] = self._of_session.get(session, 0) + 1
            self._unanswered.pop(key, None)
            self._unanswered[key] = now_ns + REPEAT_EVERY_NS
            return False
        if (
            self._of_session.get(session, 0) >= UNANSWERED_PER_SESSION_MAX
            or len(self._carried) >= RECORDS_MAX
        ):
            return None
        self._carried[key] = _Carried(record, now_ns)
        self._unanswered[key] = now_ns + REPEAT_EVERY_NS
        self._of_session[session] = self._of_session.get(session, 0) + 1
        return True

    def answered(self, event: RecordAnswered) -> None:
        """Stop repeating. A refused record leaves no tombstone: fanout has taken it back."""
        key = (SessionId(event.session), event.ref, event.payload_hash)
        carried = self._carried.get(key)
        if carried is None:
            return
        if not carried.is_answered:
            carried.is_answered = True
            self._unanswered.pop(key, None)
            self._release(key[0])
        if not event.recorded:
            del self._carried[key]

    def _release(self, session: SessionId) -> None:
        left = self._of_session.get(session, 0) - 1
        if left > 0:
            self._of_session[session] = left
        else:
            self._of_session.pop(session, None)

    def acted(self, event: ConsentActed, now_ns: MonotonicNs) -> bytes:
        """One fanout has acted. The client's `acted` once all ordinals have (else empty)."""
        key = (event.session, event.ref, event.citizen, event.counter)
        acting = self._acting.get(key)
        if acting is None:
            if len(self._acting) >= RECORDS_MAX:
                return b""
            acting = self._acting[key] = _Acting(now_ns)
        acting.ordinals[event.ordinal] = None
        if acting.is_sent or any(n not in acting.ordinals for n in range(event.replicas)):
            return b""
        acting.is_sent = True
        return encode(Acted(event.citizen, event.counter))

    def due(self, now_ns: MonotonicNs) -> list[tuple[SessionId, int, Signed]]:
        """Records to be forwarded again now; old tombstones are dropped on the way."""
        repeats = []
        for key, at_ns in list(self._unanswered.items()):
            if at_ns > now_ns:
                break
            del self._unanswered[key]
            self._unanswered[key] = now_ns + REPEAT_EVERY_NS
            repeats.append((key[0], key[1], self._carried[key].record))
        old: list[Key] = []
        for key, carried in self._carried.items():
            if now_ns - carried.since_ns < TOMBSTONE_NS:
                break
            if carried.is_answered:
                old.append(key)
        for key in old:
            del self._carried[key]
        while self._acting:
            first = next(iter(self._acting))
            if now_ns - self._acting[first].since_ns < TOMBSTONE_NS:
                break
            del self._acting[first]
        return repeats

    def tombstones(self) -> tuple[Signed, ...]:
        """Every record of the last 60 s, or not answered yet, each once."""
        by_hash = {key[2]: carried.record for key, carried in self._carried.items()}
        return tuple(by_hash.values())

    def next_deadline(self) -> MonotonicNs | None:
        first = next(iter(self._unanswered.values()), None)
        return None if first is None else MonotonicNs(first)

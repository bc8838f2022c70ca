"""A strand as ingest keeps it: the next number, the unsealed window, the chain of seals. Pure."""

from __future__ import annotations

from bisect import bisect_left

from services.ingest.core.admission import Speaker
from services.ingest.settings import IngestSettings
from shared.codec import ZERO_HASH, Refused, body_hash
from shared.contracts.records import SEAL_CLOSING, Kind, Opening, Seal, Signed
from shared.contracts.refusals import Refusal
from shared.contracts.sample import WINDOW_MS_MAX, WINDOW_SAMPLES_MAX

NUMBERS_MAX = 2**32 - 1
"""A strand's count of numbers is itself a 32-bit number."""
WINDOW_NS_MAX = WINDOW_MS_MAX * 1_000_000
_NS = 1_000_000


class Strand:
    """An open strand.

    Numbers below `next_seq` were admitted, refused or lost, each announced once. Numbers below
    `sealed_seq` are covered by the `next_window` seals taken so far. The three `pending` lists hold
    what was admitted from `sealed_seq` on, side by side: number, body, monotonic arrival.
    """

    __slots__ = (
        "absent_ns",
        "armed_ns",
        "body",
        "citizen",
        "device",
        "epoch",
        "gateway",
        "id",
        "is_open",
        "key",
        "kind",
        "last_admitted",
        "next_seq",
        "next_window",
        "opening",
        "order",
        "pending_at",
        "pending_bodies",
        "pending_seqs",
        "previous",
        "refuses_derived",
        "row",
        "sanctuary",
        "seal",
        "seal_asks",
        "sealed_seq",
        "session",
        "skip_first",
        "skip_last",
        "skip_reason",
        "slot",
        "speaker",
        "t_end_ms",
    )

    def __init__(
        self,
        strand: bytes,
        opening: Opening,
        record: Signed,
        *,
        slot: int,
        kind: Kind,
        refuses_derived: bool,
        speaker: Speaker,
        session: bytes,
        gateway: str,
        order: int,
    ) -> None:
        self.id = strand
        self.sanctuary = opening.sanctuary
        self.citizen = opening.citizen
        self.device = opening.device
        self.key = opening.strand_key
        self.opening = record
        self.slot = slot
        self.kind = kind
        self.refuses_derived = refuses_derived
        self.speaker = speaker
        self.session = session
        """Who spoke last, and through which gateway: `seal?` goes there."""
        self.gateway = gateway
        self.order = order
        """Counts openings of this process; orders timers of equal deadlines."""
        self.epoch = opening.consent_epoch
        self.is_open = True
        self.absent_ns: int | None = None
        """Since when the device has no session in the room."""
        self.armed_ns: int | None = None
        """The deadline in the timer heap that counts."""

        self.next_seq = 0
        self.body: bytes | None = None
        """The newest one."""
        self.sealed_seq = 0
        self.next_window = 0
        self.previous = ZERO_HASH
        self.t_end_ms = 0
        self.seal: Signed | None = None
        self.last_admitted: tuple[int, ...] = ()
        """What the last seal was acknowledged with, to say it again."""
        self.seal_asks = 0
        """How often the window that is due was asked for."""
        self.pending_seqs: list[int] = []
        self.pending_bodies: list[bytes] = []
        self.pending_at: list[int] = []

        self.row = -1
        """Place in the strand table of the batch that is being collected; −1: none."""
        self.skip_first = -1
        """Skipped numbers not yet written into that batch; −1: none."""
        self.skip_last = -1
        self.skip_reason = Refusal.LOST

    def due_ns(self) -> int | None:
        """When the window that comes next is due: with its 32nd number, or 1 s after its first
        admitted sample; nil while nothing unsealed was admitted.
        """
        if not self.pending_at:
            return None
        due = self.pending_at[0] + WINDOW_NS_MAX
        if self.next_seq - self.sealed_seq >= WINDOW_SAMPLES_MAX:
            full = bisect_left(self.pending_seqs, self.sealed_seq + WINDOW_SAMPLES_MAX - 1)
            if full < len(self.pending_at):
                due = min(due, self.pending_at[full])
        return due

    def deadline_ns(self, settings: IngestSettings) -> int | None:
        """When something is to be done about this strand: `seal?`, `unsealed` or `left`."""
        due = self.due_ns()
        deadline = None
        if due is not None:
            ask = due + settings.seal_wanted_after_ms * _NS * (self.seal_asks + 1)
            deadline = min(ask, due + settings.unsealed_after_ms * _NS)
        if self.absent_ns is not None:
            left = self.absent_ns + settings.absence_ms * _NS
            deadline = left if deadline is None else min(deadline, left)
        return deadline

    def check_seal(self, seal: Seal, *, skew_ms: int, now_ms: int) -> int:
        """Whether `seal` is the next one and fits what was admitted; strand and signature aside.
        Returns the number after the window's last.

        Raises: Refused(BAD_SEAL).
        """
        end = seal.first_seq + len(seal.hashes)
        closing = bool(seal.flags & SEAL_CLOSING)
        fits = (
            seal.window == self.next_window
            and seal.first_seq == self.sealed_seq
            and seal.previous == self.previous
            and end <= NUMBERS_MAX
            # a window says something, and only the closing seal may close and must tell the total
            and (closing or end > seal.first_seq)
            and seal.total == (end if closing else None)
            # a closing seal covers all that was delivered
            and (not closing or end >= self.next_seq)
            # windows end one after the other (a clock may be set back by a window's length), and
            # now; of a clock so wrong that nothing was admitted, only the order is asked
            and seal.t_end_ms >= self.t_end_ms - WINDOW_MS_MAX
            and (not self.pending_seqs or abs(seal.t_end_ms - now_ms) <= skew_ms + WINDOW_MS_MAX)
        )
        if not fits:
            raise Refused(Refusal.BAD_SEAL)
        first, hashes = seal.first_seq, seal.hashes
        for seq, body in zip(self.pending_seqs, self.pending_bodies, strict=True):
            if seq >= end:
                break
            if body_hash(body) != hashes[seq - first]:
                raise Refused(Refusal.BAD_SEAL)
        return end

    def take_seal(self, seal: Seal, record: Signed, payload_hash: bytes, end: int) -> None:
        """The window up to `end` is sealed by a checked and verified seal."""
        covered = bisect_left(self.pending_seqs, end)
        self.last_admitted = tuple(self.pending_seqs[:covered])
        del self.pending_seqs[:covered]
        del self.pending_bodies[:covered]
        del self.pending_at[:covered]
        self.sealed_seq = end
        self.next_seq = max(self.next_seq, end)
        self.next_window += 1
        self.previous = payload_hash
        self.t_end_ms = max(self.t_end_ms, seal.t_end_ms)
        self.seal = record
        self.seal_asks = 0

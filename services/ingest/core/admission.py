"""The decisions of admission: openings, stamps, rates, conduct. Pure; refusals are raised by name."""

from __future__ import annotations

from collections import deque

from services.ingest.settings import IngestSettings
from shared.codec import Refused, decode_canonical
from shared.contracts.records import Opening, RecordKind, Setting, Signed
from shared.contracts.refusals import Refusal
from shared.contracts.registry import Identity
from shared.contracts.sample import Provenance, Sample
from shared.contracts.sanctuary import MemberJoined
from shared.identity import verify_record
from shared.identity.signing import is_small_order
from shared.replica import Room

_NS_PER_S = 1_000_000_000
_DEVICES_MAX = 16_384
"""Devices whose conduct is remembered; the one whose last refusal is oldest goes first."""


class Rate:
    """`per_s` with bursts of `burst`, in integers.

    Generic cell rate algorithm (ITU-T I.371, virtual scheduling): one number a citizen, the
    theoretical arrival time, says all. At 128/s the interval is exactly 7 812 500 ns.
    """

    __slots__ = ("interval_ns", "tolerance_ns")

    def __init__(self, per_s: int, burst: int) -> None:
        self.interval_ns = -(-_NS_PER_S // per_s)
        self.tolerance_ns = (burst - 1) * self.interval_ns


class Speaker:
    """One citizen's rates, over all its strands."""

    __slots__ = ("openings_ns", "samples_ns", "strands")

    def __init__(self) -> None:
        self.samples_ns = 0
        """Theoretical arrival time of the next sample, and of the next opening."""
        self.openings_ns = 0
        self.strands = 0
        """Open ones; a speaker without any is forgotten once its rates are at rest."""

    def may_open(self, rate: Rate, now_ns: int) -> bool:
        """Take one opening from the rate, if there is one left."""
        if self.openings_ns - now_ns > rate.tolerance_ns:
            return False
        self.openings_ns = max(self.openings_ns, now_ns) + rate.interval_ns
        return True

    def is_at_rest(self, now_ns: int) -> bool:
        return not self.strands and max(self.samples_ns, self.openings_ns) <= now_ns


def refusal_of(
    sample: Sample,
    speaker: Speaker,
    rate: Rate,
    *,
    is_derived_refused: bool,
    skew_ms: int,
    now_ns: int,
    now_ms: int,
) -> Refusal | None:
    """Why a canonical sample of the next number is not taken; nil: it is, and costs its rate."""
    if not -skew_ms <= sample.t_ms - now_ms <= skew_ms:
        return Refusal.SKEW
    if is_derived_refused and sample.provenance is Provenance.DERIVED:
        return Refusal.DERIVED_IN_WORK
    due_ns = speaker.samples_ns
    if due_ns - now_ns > rate.tolerance_ns:
        return Refusal.TOO_FAST
    speaker.samples_ns = max(now_ns, due_ns) + rate.interval_ns
    return None


def refuses_derived(setting: Setting) -> bool:
    """EU AI Act, article 5: no emotion is inferred from biometrics at work and in education."""
    return setting in (Setting.WORK, Setting.EDUCATION)


def peek_seq(body: bytes) -> int | None:
    """The number of a body that may be wrong in everything else; nil if it cannot be read."""
    if len(body) < 2 or body[0] & 0xF0 != 0x90:
        return None
    head = body[1]
    if head < 0x80:
        return head
    width = {0xCC: 1, 0xCD: 2, 0xCE: 4}.get(head)
    if width is None or len(body) < 2 + width:
        return None
    return int.from_bytes(body[2 : 2 + width], "big")


def check_opening(
    record: Signed,
    *,
    sanctuary: bytes,
    device: bytes,
    member: MemberJoined,
    identity: Identity | None,
    room: Room,
    city: bytes,
    challenge: bytes,
    skew_ms: int,
    now_ms: int,
) -> Opening:
    """An opening that may stand, but for rates and numbers of strands.

    Raises: Refused by name. The order is from what costs nothing to the signature, then to what a
    client with good keys gets wrong and can mend.
    """
    opening = decode_canonical(record.payload, Opening)
    if opening.sanctuary != sanctuary:
        raise Refused(Refusal.WRONG_SANCTUARY)
    if opening.citizen != member.citizen:
        raise Refused(Refusal.WRONG_SESSION)
    if identity is None:
        raise Refused(Refusal.UNKNOWN_CITIZEN)
    if opening.device != device or opening.device not in identity.devices:
        raise Refused(Refusal.UNKNOWN_DEVICE)
    if not verify_record(opening.device, RecordKind.OPENING, city, record):
        raise Refused(Refusal.BAD_SIGNATURE)
    if opening.challenge != challenge:
        raise Refused(Refusal.WRONG_CHALLENGE)
    if opening.policy_hash != room.policy_hash:
        raise Refused(Refusal.WRONG_POLICY)
    if not -skew_ms <= opening.t_ms - now_ms <= skew_ms:
        raise Refused(Refusal.SKEW)
    if is_small_order(opening.strand_key) or _is_own_key(opening, identity):
        raise Refused(Refusal.OUT_OF_RANGE)
    if room.policy.voices is not None and opening.citizen not in room.policy.voices:
        raise Refused(Refusal.NOT_INVITED)
    return opening


def _is_own_key(opening: Opening, identity: Identity) -> bool:
    """A strand key is published one day (`release`): it must not be one that signs anything else."""
    return opening.strand_key in (*identity.devices, identity.identity_key)


class Conduct:
    """What a device was refused lately, and until when it is suspended for it."""

    __slots__ = ("level", "refused_ns", "until_ns")

    def __init__(self, refusals_max: int) -> None:
        self.refused_ns: deque[int] = deque(maxlen=refusals_max + 1)
        self.until_ns = 0
        self.level = 0


class Conducts:
    """Conduct by device. Suspensions lift themselves; what is refused meanwhile does not count."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._devices: dict[bytes, Conduct] = {}
        self.suspensions = 0

    def is_suspended(self, device: bytes, now_ns: int) -> bool:
        conduct = self._devices.get(device)
        return conduct is not None and now_ns < conduct.until_ns

    def count(self, device: bytes, now_ns: int) -> None:
        """One more message of the device was refused."""
        settings = self._settings
        conduct = self._devices.pop(device, None)
        if conduct is None:
            conduct = Conduct(settings.refusals_max)
            if len(self._devices) >= _DEVICES_MAX:
                del self._devices[next(iter(self._devices))]
        self._devices[device] = conduct
        refused = conduct.refused_ns
        refused.append(now_ns)
        if (
            len(refused) > settings.refusals_max
            and now_ns - refused[0] <= settings.refusals_within_s * _NS_PER_S
        ):
            if now_ns > conduct.until_ns + settings.suspension_s_max * _NS_PER_S:
                conduct.level = 0
            length_s = min(settings.suspension_s << conduct.level, settings.suspension_s_max)
            conduct.until_ns = now_ns + length_s * _NS_PER_S
            conduct.level = min(conduct.level + 1, 6)
            self.suspensions += 1
            refused.clear()

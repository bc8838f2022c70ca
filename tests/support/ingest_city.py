"""A small city around ingest's core: real keys, real bytes, a clock that the test holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from services.ingest.core import Core
from services.ingest.settings import IngestSettings
from shared import subjects
from shared.codec import ZERO_HASH, body_hash, decode, encode, sha256
from shared.contracts import (
    Admitted,
    Answers,
    Challenge,
    Charter,
    Identity,
    Institution,
    Kind,
    MemberBatch,
    MemberEvent,
    MemberJoined,
    MemberLeft,
    Members,
    NumbersSkipped,
    Open,
    Opened,
    Opening,
    Openings,
    OpeningsAsk,
    Policy,
    Provenance,
    RecordKind,
    Refused,
    RegistryControl,
    RoomOpened,
    Sample,
    Samples,
    Seal,
    SealWindow,
    ServerMessage,
    Setting,
    SigBatch,
    SigEntry,
    Signed,
    StatePage,
    StrandClosed,
    Tier,
    UpBatch,
    UpEntry,
    WindowTaken,
)
from shared.identifiers import MonotonicNs, WallMs, slot_of
from shared.identity import Signer
from shared.subjects import Ask, Publish, Reply

NS = 1_000_000
SERVER_MESSAGE: Any = ServerMessage | WindowTaken
CHALLENGE = b"challenge of one"
INSTITUTION = Signer(b"\x01" * 32)
CHARTER_PAYLOAD = encode(
    Charter("test", 0, Tier.FULL, 1, (Institution("we", INSTITUTION.public_key),))
)
CHARTER = INSTITUTION.sign_record(RecordKind.CHARTER, ZERO_HASH, CHARTER_PAYLOAD)
CITY = sha256(CHARTER_PAYLOAD)
ROOM = b"sanctuary no one"
SLOT = slot_of(ROOM)


def policy(**changes: Any) -> Policy:
    plain = Policy(ROOM, "A room", Kind.COMMONS, Setting.OPEN, Tier.FULL, 100)
    return msgspec.structs.replace(plain, **changes)


def body(seq: int, t_ms: int, **changes: Any) -> bytes:
    plain = Sample(seq, t_ms, 100, -200, None, 1000, Provenance.SCRIPTED, (), None, b"8 bytes.")
    return encode(msgspec.structs.replace(plain, **changes))


class Place(Protocol):
    """Where somebody speaks: the room's policy, and what time it is."""

    policy_bytes: bytes

    @property
    def now_ms(self) -> int: ...


class Speaker:
    """A citizen with one device, one session and (once opened) one strand."""

    def __init__(self, number: int, *, gateway: str = "gateway-0", session: int = 0) -> None:
        self.number = number
        self.citizen = bytes([number]) * 16
        self.identity_key = Signer(bytes([number, 1]) * 16)
        self.device = Signer(bytes([number, 2]) * 16)
        self.strand_key = Signer(bytes([number, 3]) * 16)
        self.session = bytes([number, session]) * 8
        self.gateway = gateway
        self.incarnation = 7
        self.strand = b""
        self.window = 0
        self.previous = ZERO_HASH
        self.sealed = 0
        self.bodies: list[bytes] = []
        """Everything ever said, by number."""

    def identity(self) -> Identity:
        return Identity(
            self.citizen, self.identity_key.public_key, bytes(32), (self.device.public_key,)
        )

    def member(self, sanctuary: bytes = ROOM) -> MemberJoined:
        return MemberJoined(
            sanctuary,
            self.citizen,
            self.session,
            self.device.public_key,
            self.gateway,
            self.incarnation,
        )

    def opening(self, city: Place, **changes: Any) -> Signed:
        plain = Opening(
            sanctuary=ROOM,
            citizen=self.citizen,
            policy_hash=sha256(city.policy_bytes),
            strand_key=self.strand_key.public_key,
            device=self.device.public_key,
            consent_epoch=0,
            challenge=CHALLENGE,
            t_ms=city.now_ms,
        )
        payload = encode(msgspec.structs.replace(plain, **changes))
        return self.device.sign_record(RecordKind.OPENING, CITY, payload)

    def seal(self, city: Place, count: int, **changes: Any) -> Signed:
        """The seal of the next `count` bodies, whether they were sent or not."""
        hashes = tuple(body_hash(b) for b in self.bodies[self.sealed : self.sealed + count])
        plain = Seal(
            self.strand, self.window, self.sealed, city.now_ms, 0, hashes, self.previous, None
        )
        payload = encode(msgspec.structs.replace(plain, **changes))
        return self.strand_key.sign_record(RecordKind.SEAL, CITY, payload)

    def took(self, record: Signed) -> None:
        """The seal was taken: the next one follows it."""
        seal = decode(record.payload, Seal)
        self.window += 1
        self.sealed = seal.first_seq + len(seal.hashes)
        self.previous = sha256(record.payload)


class IngestCity:
    """ingest's core, and everybody around it, in one test's hand."""

    def __init__(
        self,
        *,
        settings: IngestSettings | None = None,
        policy: Policy = policy(),  # noqa: B008  (frozen)
        speakers: Iterable[Speaker] = (),
        ready: bool = True,
        challenge: bytes = CHALLENGE,
    ) -> None:
        self.now_ns = 1_000_000_000_000
        self.core = Core(
            "ingest-0", settings or IngestSettings(), epochs={SLOT: 5}, challenge=challenge
        )
        self.policy_bytes = encode(policy)
        self.speakers = list(speakers)
        self.told: dict[bytes, list[Any]] = {}
        """What each session was told since it was last asked."""
        self.batches: list[SigBatch] = []
        self.asks: list[Ask] = []
        self.up_numbers: dict[str, int] = {}
        self.member_number = 0
        self.carry_out(self.core.start(self.ns, self.ms))
        if ready:
            self.become_ready()

    @property
    def ns(self) -> MonotonicNs:
        return MonotonicNs(self.now_ns)

    @property
    def now_ms(self) -> int:
        return 1_700_000_000_000 + self.now_ns // NS

    @property
    def ms(self) -> WallMs:
        return WallMs(self.now_ms)

    # ── around it ────────────────────────────────────────────────────────────────────────────────

    def become_ready(self) -> None:
        self.answer_registry()
        self.answer_members()
        self.flush()
        self.told.clear()

    def answer_registry(self) -> None:
        identities = tuple(speaker.identity() for speaker in self.speakers)
        for ask in self.take_asks(StatePage):
            page = StatePage(1, 0, CHARTER, identities, (), None)
            self.carry_out(self.core.answered(ask, page, self.ns, self.ms))

    def answer_members(self) -> None:
        members = Members(
            SLOT,
            1,
            self.member_number,
            complete=True,
            rooms=(RoomOpened(ROOM, self.policy_bytes),),
            members=tuple(speaker.member() for speaker in self.speakers),
        )
        for ask in self.take_asks(Members):
            self.carry_out(self.core.answered(ask, members, self.ns, self.ms))

    def take_asks(self, answer: type[msgspec.Struct]) -> list[Ask]:
        taken = [ask for ask in self.asks if ask.answer is answer]
        self.asks = [ask for ask in self.asks if ask.answer is not answer]
        return taken

    def publish_members(self, *events: MemberEvent) -> None:
        self.member_number += 1
        batch = MemberBatch(SLOT, 1, self.member_number, complete=True, events=events)
        self.receive(subjects.member(SLOT), batch)

    def enter(self, speaker: Speaker) -> None:
        self.publish_members(speaker.member())

    def leave(self, speaker: Speaker) -> None:
        self.publish_members(MemberLeft(ROOM, speaker.citizen, speaker.session))

    def change_policy(self, policy: Policy) -> None:
        self.policy_bytes = encode(policy)
        self.publish_members(RoomOpened(ROOM, self.policy_bytes))

    def control(self, event: RegistryControl) -> None:
        self.receive("control.registry-0", event)

    # ── into it and out of it ────────────────────────────────────────────────────────────────────

    def receive(self, subject: str, event: msgspec.Struct) -> list[Any]:
        arrived = decode(encode(event), type(event))
        return self.carry_out(self.core.receive(subject, arrived, self.ns, self.ms))

    def carry_out(self, effects: Iterable[Any]) -> list[Any]:
        replies = []
        for effect in effects:
            match effect:
                case Publish():
                    self.publish(effect)
                case Ask():
                    self.asks.append(effect)
                case Reply():
                    replies.append(decode(encode(effect.event), type(effect.event)))
        return replies

    def publish(self, effect: Publish) -> None:
        encoded = encode(effect.event)
        if isinstance(effect.event, SigBatch):
            batch = decode(encoded, SigBatch)
            assert effect.subject.startswith("sig.")
            assert effect.subject.endswith(f".{batch.slot}")
            self.batches.append(batch)
        else:
            answers = decode(encoded, Answers)
            assert answers.sender == "ingest-0"
            for answer in answers.entries:
                message = decode(answer.message, SERVER_MESSAGE)
                self.told.setdefault(answer.session, []).append(message)

    def flush(self) -> None:
        self.carry_out(self.core.flush(self.ns, self.ms))

    def up(self, speaker: Speaker, *messages: msgspec.Struct | bytes, device: bytes = b"") -> None:
        """One uplink batch of one session, and a flush."""
        number = self.up_numbers.get(speaker.gateway, -1) + 1
        self.up_numbers[speaker.gateway] = number
        entries = tuple(
            UpEntry(
                speaker.session,
                device or speaker.device.public_key,
                msgspec.Raw(m if isinstance(m, bytes) else encode(m)),
            )
            for m in messages
        )
        batch = UpBatch(speaker.gateway, speaker.incarnation, SLOT, number, entries)
        self.receive(subjects.up(SLOT), batch)
        self.flush()

    def wait(self, ns: int) -> None:
        """Time passes; the timer is served at every deadline, as the shell does."""
        until = self.now_ns + ns
        while True:
            deadline = self.core.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now_ns = max(self.now_ns, deadline)
            self.carry_out(self.core.tick(self.ns, self.ms))
            self.flush()
        self.now_ns = until

    def ask_openings(self, epoch: int = -1) -> Openings:
        (answer,) = self.receive(subjects.ask("ingest", SLOT), OpeningsAsk(SLOT, epoch))
        assert isinstance(answer, Openings)
        return answer

    # ── what a speaker does ──────────────────────────────────────────────────────────────────────

    def open(self, speaker: Speaker, record: Signed | None = None, ref: int = 1) -> Any:
        record = record or speaker.opening(self)
        self.up(speaker, Open(ref, ROOM, record))
        answer = self.answers(speaker)[-1]
        if isinstance(answer, Opened):
            speaker.strand = answer.strand
        return answer

    def say(self, speaker: Speaker, count: int, *, lost: bool = False, **changes: Any) -> None:
        """The next `count` bodies in one message; `lost`: they never arrive."""
        first = len(speaker.bodies)
        bodies = tuple(body(first + i, self.now_ms, **changes) for i in range(count))
        speaker.bodies += bodies
        if not lost:
            self.up(speaker, Samples(ROOM, speaker.strand, 0, bodies))

    def say_bodies(self, speaker: Speaker, *bodies: bytes, epoch: int = 0) -> None:
        self.up(speaker, Samples(ROOM, speaker.strand, epoch, bodies))

    def seal(self, speaker: Speaker, count: int, **changes: Any) -> Any:
        """Seal the next `count` bodies, and remember if it was taken."""
        record = speaker.seal(self, count, **changes)
        return self.send_seal(speaker, record)

    def send_seal(self, speaker: Speaker, record: Signed) -> Any:
        self.up(speaker, SealWindow(ROOM, speaker.strand, record))
        answer = self.answers(speaker)[-1]
        if not isinstance(answer, Refused):
            speaker.took(record)
        return answer

    # ── what came of it ──────────────────────────────────────────────────────────────────────────

    def answers(self, speaker: Speaker) -> list[Any]:
        """What the session was told since last asked, without challenges."""
        return [m for m in self.told.pop(speaker.session, []) if not isinstance(m, Challenge)]

    def challenges(self, speaker: Speaker) -> list[Challenge]:
        return [m for m in self.told.pop(speaker.session, []) if isinstance(m, Challenge)]

    def entries(self, strand: bytes) -> list[SigEntry]:
        """Everything ever published of one strand, in order."""
        return [
            entry
            for batch in self.batches
            for entry in batch.entries
            if batch.strands[entry.row].strand == strand
        ]

    def numbers(self, strand: bytes) -> dict[int, str]:
        """Number → `admitted` or why not; a number that is announced twice fails."""
        found: dict[int, str] = {}
        for entry in self.entries(strand):
            if isinstance(entry, Admitted):
                assert entry.seq not in found
                found[entry.seq] = "admitted"
            elif isinstance(entry, NumbersSkipped):
                for seq in range(entry.first, entry.last + 1):
                    assert seq not in found
                    found[seq] = entry.reason
        return found

    def ends(self, strand: bytes) -> list[StrandClosed]:
        return [entry for entry in self.entries(strand) if isinstance(entry, StrandClosed)]

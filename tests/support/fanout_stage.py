"""A stage for fanout's core: a scripted registry, sanctuary, ingest and gateways, and what viewers see.

Time is virtual. Everything the core asks is answered at once unless a test takes that away; viewers
keep what a client would keep, so that laws can be read off them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from services.fanout.core import Router
from shared import codec, subjects
from shared.consent import empty_state, fold
from shared.contracts import (
    Admitted,
    Approval,
    Audience,
    Charter,
    Clear,
    Closeness,
    Coarse,
    ConsentActed,
    ConsentException,
    ConsentForwarded,
    ConsentRecord,
    ConsentRecorded,
    ConsentRefused,
    ConsentState,
    Deliver,
    Depart,
    DepartFollowers,
    EdgeBatch,
    Enter,
    EnterFollowers,
    EnterPublic,
    FanoutBeat,
    FeedWindow,
    Fenced,
    GatewayBeat,
    Grant,
    Identity,
    IdentityRecorded,
    Institution,
    Interest,
    KeyReleased,
    Kind,
    Marker,
    MemberBatch,
    MemberFollows,
    MemberJoined,
    MemberLeft,
    Members,
    MembersAsk,
    NumbersSkipped,
    Opening,
    Openings,
    OpeningsAsk,
    OpenStrand,
    Passed,
    Policy,
    PolicyChanged,
    Provenance,
    Purpose,
    RecordKind,
    RegistryBeat,
    Released,
    RoomOpened,
    Sample,
    SampleShown,
    Seal,
    SealShown,
    ServerMessage,
    Setting,
    SigBatch,
    SigEntry,
    Signed,
    Skipped,
    SnapshotAsk,
    StateAsk,
    StatePage,
    StrandClosed,
    StrandEnded,
    StrandOpened,
    StrandRow,
    StrandShown,
    Strike,
    Struck,
    Tier,
    Tombstones,
    TombstonesWanted,
    WindowSealed,
    Withdrawal,
)
from shared.identifiers import MonotonicNs, WallMs, slot_of
from shared.identity import Signer
from shared.subjects import Ask, Publish

MS = 1_000_000
BEGAN_MS = 1_790_000_000_000
FANOUT = "fanout-0"


def id16(word: str) -> bytes:
    return codec.sha256(word.encode())[:16]


@dataclass
class Screen:
    """What one viewer holds of one sanctuary."""

    strands: dict[bytes, StrandShown] = field(default_factory=dict)
    cells: dict[bytes, int] = field(default_factory=dict)
    is_close: bool = True
    gone: set[bytes] = field(default_factory=set)

    def show(self, message: Any) -> None:
        match message:
            case StrandShown():
                self.strands[message.strand] = message
            case SampleShown(strand, body):
                seq = codec.decode_sample(body).seq
                assert strand in self.strands, "a sample of a strand that is not on show"
                held = self.strands[strand]
                assert seq == held.next_seq, "order within a strand, every number accounted for"
                self.strands[strand] = msgspec.structs.replace(held, body=body, next_seq=seq + 1)
            case SealShown(strand, record):
                self.strands[strand] = msgspec.structs.replace(self.strands[strand], seal=record)
            case Skipped(strand, first, last, _):
                held = self.strands[strand]
                assert first == held.next_seq, "order within a strand, every number accounted for"
                self.strands[strand] = msgspec.structs.replace(held, next_seq=last + 1)
            case StrandEnded(strand):
                self.strands.pop(strand, None)
            case Coarse(_, _, pseudonym, cell):
                assert pseudonym not in self.gone, "a struck or absent pseudonym came back"
                if cell is None:
                    assert self.cells.pop(pseudonym, None) is not None, "absent without a cell"
                    self.gone.add(pseudonym)
                else:
                    self.cells[pseudonym] = cell
            case Struck(_, citizen, pseudonym):
                if pseudonym is not None:
                    self.cells.pop(pseudonym, None)
                    self.gone.add(pseudonym)
                self.strands = {s: m for s, m in self.strands.items() if m.citizen != citizen}
            case Closeness(_, close):
                self.is_close = close
            case Released() | PolicyChanged():
                pass
            case _:
                raise AssertionError(message)

    @property
    def state(self) -> tuple[dict[bytes, StrandShown], dict[bytes, int], bool]:
        return self.strands, self.cells, self.is_close


@dataclass
class Viewer:
    """A session (or the anonymous viewers) of one gateway, in one sanctuary."""

    log: list[Any] = field(default_factory=list)
    screen: Screen = field(default_factory=Screen)
    is_in: bool = False
    person: bytes | None = None
    """Whose session it is; nil: anonymous."""
    sanctuary: bytes = b""
    followed: tuple[bytes, ...] = ()
    """Whom its session follows."""
    is_choosing: bool = False
    """Its session just now changes whom it follows: a pseudonym that it gives up may come back."""
    witness: Callable[[Viewer, bytes | None, Any], None] = lambda *_: None
    """Looks at each message, with the citizen it is of, before it is shown."""
    bytes_seen: list[bytes] = field(default_factory=list)

    def enter(self, segments: Iterable[Any]) -> None:
        self.screen = Screen(gone=self.screen.gone)
        self.is_in = True
        for segment in segments:
            self.take(segment.message, segment.citizen)

    def take(self, message: bytes, citizen: bytes | None = None) -> None:
        decoded: Any = codec.decode(message, ServerMessage)  # type: ignore[arg-type]
        self.witness(self, citizen, decoded)
        self.log.append(decoded)
        self.bytes_seen.append(message)
        gone = set(self.screen.gone)
        self.screen.show(decoded)
        if self.is_choosing:
            self.screen.gone = gone

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.log if isinstance(message, kind)]


class Gate:
    """A gateway as the contract describes it, without sockets: it writes at once."""

    def __init__(self, stage: Stage, name: str, incarnation: int) -> None:
        self.stage = stage
        self.name = name
        self.incarnation = incarnation
        self.number = 0
        self.viewers: dict[tuple[bytes, bytes], Viewer] = defaultdict(Viewer)
        """(session, sanctuary) → viewer."""
        self.public: dict[bytes, Viewer] = defaultdict(Viewer)
        """Sanctuary → the anonymous viewers, who all see the same."""
        self.followers: dict[bytes, dict[bytes, None]] = defaultdict(dict)
        """`f` ‖ citizen ‖ sanctuary → sessions."""
        self.numbers: dict[int, tuple[int, int]] = {}
        self.tombstones: list[Signed] = []
        self.batches: list[EdgeBatch] = []
        self.beats = True
        self.answers = True
        self.passes = True
        self.markers: list[tuple[int, Marker]] = []
        self.acted: list[ConsentActed] = []
        self.operations: list[Any] = []
        self.coarse_sizes: set[int] = set()
        self.coarse_told: set[tuple[bytes, int, bytes]] = set()
        self.fenced = False

    def beat(self) -> None:
        if self.beats:
            self.say(GatewayBeat(self.name, self.incarnation, self.number))

    def say(self, event: Any) -> None:
        self.stage.receive(subjects.control(self.name), event)

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def forward(self, record: Signed, *, ref: int = 1, again: bool = False) -> None:
        self.tombstones.append(record)
        self.say(
            ConsentForwarded(
                self.name,
                self.incarnation,
                self.next_number(),
                id16("asking session"),
                ref,
                record,
                again,
            )
        )

    def wanted(self) -> None:
        if self.answers:
            self.say(
                Tombstones(
                    self.name, self.incarnation, self.next_number(), FANOUT, tuple(self.tombstones)
                )
            )

    def pass_markers(self) -> None:
        markers, self.markers = self.markers, []
        for _, marker in markers:
            self.say(Passed(self.name, self.incarnation, self.next_number(), FANOUT, marker.marker))

    def watch(self, sanctuary: bytes, generation: int = 1) -> Viewer:
        """Anonymous viewers of a public stage."""
        viewer = self.public[sanctuary]
        viewer.sanctuary, viewer.witness = sanctuary, self.stage.witness
        self.interest(sanctuary, generation)
        self.stage.flush()
        return viewer

    def interest(self, sanctuary: bytes, generation: int, count: int = 1) -> None:
        self.stage.receive(
            subjects.interest(slot_of(sanctuary)),
            Interest(self.name, self.incarnation, sanctuary, generation, count),
        )

    def receive(self, batch: EdgeBatch) -> None:
        if batch.incarnation != self.incarnation:
            return
        self.batches.append(batch)
        begins = bool(batch.operations) and isinstance(batch.operations[0], Clear)
        epoch, number = self.numbers.get(batch.slot, (-1, -1))
        if begins:
            assert (batch.epoch, batch.number) > (epoch, number)
        elif (batch.epoch, batch.number) != (epoch, number + 1):
            self.stage.receive(
                subjects.ask(subjects.FANOUT, batch.slot),
                SnapshotAsk(self.name, self.incarnation, batch.slot),
            )
            return
        self.numbers[batch.slot] = (batch.epoch, batch.number)
        for operation in batch.operations:
            self.operations.append(operation)
            self.carry_out(batch.slot, operation)
        if self.passes:
            self.pass_markers()

    def audience(self, key: bytes) -> list[tuple[bytes | None, Viewer]]:
        sanctuary = key[-16:]
        match key[:1]:
            case b"m":
                return [
                    (session, viewer)
                    for (session, where), viewer in self.viewers.items()
                    if where == sanctuary and viewer.is_in
                ]
            case b"p":
                return [(None, self.public[sanctuary])] if self.public[sanctuary].is_in else []
            case b"f":
                return [
                    (session, self.viewers[session, sanctuary]) for session in self.followers[key]
                ]
            case _:
                viewer = self.viewers[key[1:17], sanctuary]
                return [(key[1:17], viewer)] if viewer.is_in else []

    def judge_coarse(self, delivery: Deliver) -> None:
        """Records of a tick: of one size, sorted by pseudonym, one for each, told to an audience once."""
        records: list[tuple[int, bytes]] = []
        for segment in delivery.segments:
            message: Any = codec.decode(segment.message, ServerMessage)  # type: ignore[arg-type]
            if isinstance(message, Coarse):
                records.append((message.tick, message.pseudonym))
                self.coarse_sizes.add(len(segment.message))
                key = (delivery.audience, message.tick, message.pseudonym)
                assert key not in self.coarse_told, "one record for each pseudonym and tick"
                self.coarse_told.add(key)
        assert records == sorted(records), "coarse records are sorted by pseudonym"
        assert len(self.coarse_sizes) <= 1, "coarse records are of one size"

    def carry_out(self, slot: int, operation: Any) -> None:
        match operation:
            case Clear():
                for (_, sanctuary), viewer in self.viewers.items():
                    if slot_of(sanctuary) == slot:
                        viewer.is_in = False
                for sanctuary, viewer in self.public.items():
                    if slot_of(sanctuary) == slot:
                        viewer.is_in = False
                for key, sessions in self.followers.items():
                    if slot_of(key[-16:]) == slot:
                        sessions.clear()
            case EnterFollowers(session, sanctuary, citizen, segments):
                viewer = self.viewers[session, sanctuary]
                assert viewer.is_in, "a follower is a member"
                self.followers[b"f" + citizen + sanctuary][session] = None
                for segment in segments:
                    viewer.take(segment.message, segment.citizen)
            case DepartFollowers(session, sanctuary, citizen):
                del self.followers[b"f" + citizen + sanctuary][session]
            case Enter(session, sanctuary, segments, numbers):
                viewer = self.viewers[session, sanctuary]
                viewer.enter(segments)
                assert {n.strand: n.next_seq for n in numbers} == {
                    s: m.next_seq for s, m in viewer.screen.strands.items()
                } or len(segments) < len(numbers)
            case EnterPublic(sanctuary, _, segments):
                if not self.public[sanctuary].is_in:
                    self.public[sanctuary].enter(segments)
            case Depart(session, sanctuary):
                self.viewers[session, sanctuary].is_in = False
                for key, sessions in self.followers.items():
                    if key[-16:] == sanctuary:
                        sessions.pop(session, None)
            case Deliver(key, segments, deny):
                pairs = {(pair.session, pair.citizen) for pair in deny}
                self.judge_coarse(operation)
                inside = {segment.citizen for segment in segments}
                assert all(pair.citizen in inside for pair in deny), "deny pairs of others"
                for of, viewer in self.audience(key):
                    for segment in segments:
                        if (of, segment.citizen) not in pairs:
                            viewer.take(segment.message, segment.citizen)
            case Strike(_, key, only, notice):
                for of, viewer in self.audience(key):
                    if notice and only in {None, of}:
                        viewer.take(notice)
            case Marker():
                self.markers.append((slot, operation))
            case _:
                raise AssertionError(operation)


class Citizen:
    """A person with keys and a chain."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.id: bytes = id16(name)
        self.identity = Signer(codec.sha256(f"identity {name}".encode()))
        self.device = Signer(codec.sha256(f"device {name}".encode()))
        self.counter = 0
        self.head = codec.ZERO_HASH
        self.state = empty_state(self.id)

    def sign(self, record: ConsentRecord, *, signer: Signer | None = None) -> Signed:
        payload = codec.encode(record)
        self.counter = record.counter
        self.head = codec.sha256(payload)
        return (signer or self.identity).sign_record(RecordKind.CONSENT, self.stage.city, payload)

    def grant(
        self,
        tier: Tier,
        *,
        audience: Audience = Audience.MEMBERS,
        sanctuary: bytes | None = None,
        purpose: Purpose = Purpose.LIVE,
        until_ms: int | None = None,
    ) -> Signed:
        return self.sign(
            Grant(
                self.id,
                self.counter + 1,
                self.head,
                self.stage.now_ms,
                sanctuary,
                audience,
                tier,
                purpose,
                until_ms,
            )
        )

    def except_(
        self,
        person: bytes,
        tier: Tier,
        *,
        sanctuary: bytes | None = None,
        until_ms: int | None = None,
    ) -> Signed:
        return self.sign(
            ConsentException(
                self.id,
                self.counter + 1,
                self.head,
                self.stage.now_ms,
                sanctuary,
                person,
                tier,
                until_ms,
            )
        )

    def approve(
        self, person: bytes, *, is_approved: bool = True, until_ms: int | None = None
    ) -> Signed:
        """Let somebody follow, by the identity key; or not any more, by the device's."""
        return self.sign(
            Approval(
                self.id,
                self.counter + 1,
                self.head,
                self.stage.now_ms,
                person,
                is_approved,
                until_ms,
            ),
            signer=None if is_approved else self.device,
        )

    def withdraw(
        self,
        *,
        sanctuary: bytes | None = None,
        audience: Audience | None = None,
        purpose: Purpose | None = None,
    ) -> Signed:
        return self.sign(
            Withdrawal(
                self.id,
                self.counter + 1,
                self.head,
                self.stage.now_ms,
                sanctuary,
                audience,
                purpose,
            ),
            signer=self.device,
        )


class Voice:
    """A strand as ingest sees it."""

    def __init__(self, stage: Stage, citizen: Citizen, sanctuary: bytes, word: str) -> None:
        self.stage = stage
        self.citizen = citizen
        self.sanctuary = sanctuary
        opening = Opening(
            sanctuary,
            citizen.id,
            bytes(32),
            bytes(32),
            citizen.device.public_key,
            0,
            id16(word),
            stage.now_ms,
        )
        self.opening = citizen.device.sign_record(
            RecordKind.OPENING, stage.city, codec.encode(opening)
        )
        self.strand = codec.sha256(self.opening.payload)
        self.next_seq = 0
        self.window = 0
        self.sealed_to = 0
        self.body: bytes | None = None
        self.seal: Signed | None = None
        self.epoch = 0

    @property
    def row(self) -> StrandRow:
        return StrandRow(self.strand, self.citizen.id, self.sanctuary, self.epoch)

    def body_of(self, seq: int, *, valence: int = 0, arousal: int = 0) -> bytes:
        return codec.encode(
            Sample(
                seq,
                self.stage.now_ms,
                valence,
                arousal,
                None,
                900,
                Provenance.SCRIPTED,
                (),
                None,
                codec.sha256(self.strand + seq.to_bytes(4, "big"))[:8],
            )
        )

    def open(self) -> Voice:
        self.stage.strands[self.strand] = self
        self.stage.sig(self, StrandOpened(0, self.opening))
        return self

    def speak(self, count: int = 1, *, valence: int = 0, arousal: int = 0) -> None:
        for _ in range(count):
            self.body = self.body_of(self.next_seq, valence=valence, arousal=arousal)
            seq = self.next_seq
            self.next_seq += 1
            self.stage.sig(self, Admitted(0, seq, self.body))

    def skip(self, count: int, reason: str = "skew") -> None:
        first = self.next_seq
        self.next_seq += count
        self.stage.sig(self, NumbersSkipped(0, first, self.next_seq - 1, reason))

    def seal_window(self, count: int | None = None) -> None:
        """Seal all that was said since the last one, or the first `count` of it."""
        end = self.next_seq if count is None else self.sealed_to + count
        hashes = tuple(codec.body_hash(self.body_of(seq)) for seq in range(self.sealed_to, end))
        seal = Seal(
            self.strand, self.window, self.sealed_to, self.stage.now_ms, 0, hashes, bytes(32)
        )
        self.seal = self.citizen.device.sign_record(
            RecordKind.SEAL, self.stage.city, codec.encode(seal)
        )
        self.sealed_to = end
        self.window += 1
        self.stage.sig(self, WindowSealed(0, self.window - 1, self.seal))

    def close(self, reason: str = "closed") -> None:
        del self.stage.strands[self.strand]
        total = self.next_seq if reason == "closed" else None
        self.stage.sig(self, StrandClosed(0, reason, total, None))

    def release(self) -> None:
        self.stage.sig(self, KeyReleased(0, bytes(32)))


class Stage:
    """Everything around one fanout."""

    def __init__(self, slots: Iterable[int] = range(64), *, tier_max: Tier = Tier.FULL) -> None:
        charter = Charter(
            "stage", BEGAN_MS, tier_max, 1, (Institution("the institution", bytes(32)),)
        )
        self.charter = Signed(codec.encode(charter), bytes(64))
        self.city = codec.sha256(self.charter.payload)
        self.now_ns = MonotonicNs(1_000 * MS)
        self.now_ms = WallMs(BEGAN_MS)
        self._random = 0
        self.epochs = dict.fromkeys(slots, 1)
        self.gates: dict[str, Gate] = {}
        self.citizens: dict[bytes, Citizen] = {}
        self.rooms: dict[bytes, Policy] = {}
        self.seats: dict[tuple[bytes, bytes], MemberJoined] = {}
        self.follows: dict[tuple[bytes, bytes], MemberFollows] = {}
        self.strands: dict[bytes, Voice] = {}
        self.member_numbers: dict[int, int] = defaultdict(lambda: -1)
        self.member_epoch = 1
        self.sig_numbers: dict[tuple[str, int], int] = defaultdict(lambda: -1)
        self.sig_epoch = 1
        self.registry_epoch = 1
        self.registry_number = 0
        self.registry_beats = True
        self.answers: set[type] = {StateAsk, MembersAsk, OpeningsAsk}
        self.fed: list[tuple[str, FeedWindow]] = []
        self.published: list[Publish] = []
        self.asked: list[Ask] = []
        self.lose: Callable[[Publish], bool] = lambda _: False
        self.words = 0
        self.witness: Callable[[Viewer, bytes | None, Any], None] = lambda *_: None
        self.fed_witness: Callable[[str, FeedWindow], None] = lambda *_: None
        self.words_heard: list[Any] = []
        """What fanout said on its control subject."""
        self.core = self.make()

    def make(self) -> Router:
        return Router(
            instance=FANOUT,
            ordinal=0,
            replicas=1,
            epochs=dict(self.epochs),
            random_bytes=self.random_bytes,
        )

    def random_bytes(self, count: int) -> bytes:
        self._random += 1
        return codec.sha256(self._random.to_bytes(8, "big"))[:count]

    # ── time and transport ───────────────────────────────────────────────────────────────────────

    def start(self) -> Stage:
        """Start the core and wait until it is certain."""
        self.carry_out(self.core.start(self.now_ns, self.now_ms))
        self.flush()
        self.advance(1000)
        return self

    def restart(self) -> None:
        """Kill -9 and a successor."""
        for slot in self.epochs:
            self.epochs[slot] += 1
        self.core = self.make()
        self.carry_out(self.core.start(self.now_ns, self.now_ms))
        self.flush()

    def receive(self, subject: str, event: Any) -> None:
        self.carry_out(self.core.receive(subject, event, self.now_ns, self.now_ms))

    def flush(self) -> None:
        while publishes := self.core.flush(self.now_ns, self.now_ms):
            self.carry_out(publishes)

    def carry_out(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case Publish():
                    self.published.append(effect)
                    if not self.lose(effect):
                        self.route(effect.subject, effect.event)
                case Ask():
                    self.asked.append(effect)
                    self.answer(effect)
                case _:
                    raise AssertionError(effect)

    def route(self, subject: str, event: Any) -> None:
        # every event crosses a wire
        kind, _, rest = subject.partition(".")
        event = codec.decode(codec.encode(event), type(event))
        match event:
            case EdgeBatch():
                if rest in self.gates:
                    self.gates[rest].receive(event)
            case FanoutBeat():
                self.words_heard.append(event)
            case TombstonesWanted():
                self.words_heard.append(event)
                for gate in list(self.gates.values()):
                    gate.wanted()
            case Fenced():
                if event.gateway in self.gates:
                    self.gates[event.gateway].fenced = True
            case ConsentActed():
                self.gates[rest].acted.append(event)
            case FeedWindow():
                self.fed_witness(kind, event)
                self.fed.append((kind, event))
            case _:
                pass

    def answer(self, ask: Ask) -> None:
        answer = self.answer_to(ask)
        if answer is not None:
            self.carry_out(self.core.answered(ask, answer, self.now_ns, self.now_ms))

    def answer_to(self, ask: Ask) -> Any:
        event = ask.event
        if type(event) not in self.answers:
            return None
        answer: Any
        match event:
            case StateAsk():
                answer = StatePage(
                    self.registry_epoch,
                    self.registry_number,
                    self.charter,
                    tuple(self.identity(citizen) for citizen in self.citizens.values()),
                    tuple(citizen.state for citizen in self.citizens.values()),
                    None,
                )
            case MembersAsk(slot):
                answer = Members(
                    slot,
                    self.member_epoch,
                    self.member_numbers[slot],
                    True,
                    tuple(
                        RoomOpened(sanctuary, codec.encode(policy))
                        for sanctuary, policy in self.rooms.items()
                        if slot_of(sanctuary) == slot
                    ),
                    tuple(s for s in self.seats.values() if slot_of(s.sanctuary) == slot),
                    tuple(f for f in self.follows.values() if slot_of(f.sanctuary) == slot),
                )
            case OpeningsAsk(slot):
                answer = Openings(
                    slot,
                    self.sig_epoch,
                    {kind.value: self.sig_numbers[kind.value, slot] for kind in Kind},
                    tuple(
                        OpenStrand(
                            voice.strand,
                            voice.citizen.id,
                            voice.sanctuary,
                            voice.epoch,
                            voice.opening,
                            voice.next_seq,
                            voice.body,
                            voice.seal,
                        )
                        for voice in self.strands.values()
                        if slot_of(voice.sanctuary) == slot
                    ),
                )
            case _:
                raise AssertionError(event)
        return answer

    def advance(self, ms: int) -> None:
        """Virtual time, in steps no longer than a beat."""
        end_ns = self.now_ns + ms * MS
        while True:
            deadline = self.core.next_deadline()
            assert deadline is not None
            beat_ns = (self.now_ns // (250 * MS) + 1) * 250 * MS
            step_ns = min(max(deadline, self.now_ns + 1), beat_ns, end_ns)
            self.now_ms = WallMs(self.now_ms + step_ns // MS - self.now_ns // MS)
            self.now_ns = MonotonicNs(step_ns)
            if step_ns == beat_ns:
                self.beat()
            if deadline <= step_ns:
                self.carry_out(self.core.tick(self.now_ns, self.now_ms))
            self.flush()
            if step_ns == end_ns:
                return

    def beat(self) -> None:
        if self.registry_beats:
            self.receive(
                subjects.control("registry-0"),
                RegistryBeat("registry-0", self.registry_epoch, self.registry_number),
            )
        for gate in list(self.gates.values()):
            gate.beat()

    # ── the others' words ────────────────────────────────────────────────────────────────────────

    def gate(self, name: str = "gateway-0", incarnation: int = 7) -> Gate:
        if name not in self.gates:
            self.gates[name] = Gate(self, name, incarnation)
            self.gates[name].beat()
            self.flush()
        return self.gates[name]

    def identity(self, citizen: Citizen) -> Identity:
        return Identity(
            citizen.id, citizen.identity.public_key, bytes(32), (citizen.device.public_key,)
        )

    def citizen(self, name: str) -> Citizen:
        """Known to the registry; with no grant at all."""
        citizen = Citizen(self, name)
        self.citizens[citizen.id] = citizen
        self.registry_number += 1
        self.receive(
            subjects.control("registry-0"),
            IdentityRecorded(
                "registry-0", self.registry_epoch, self.registry_number, self.identity(citizen)
            ),
        )
        return citizen

    def record(self, citizen: Citizen, *records: Signed, tell: bool = True) -> None:
        """The registry records, durably, and tells."""
        for signed in records:
            content: ConsentRecord = codec.decode(signed.payload, ConsentRecord)  # type: ignore[arg-type]
            citizen.state = fold(citizen.state, content, codec.sha256(signed.payload))
            self.registry_number += 1
            if tell:
                self.receive(
                    subjects.control("registry-0"),
                    ConsentRecorded(
                        "registry-0",
                        self.registry_epoch,
                        self.registry_number,
                        signed,
                        citizen.state,
                    ),
                )
        self.flush()

    def refuse(self, citizen: Citizen, *records: Signed) -> None:
        """The registry does not take them; the citizen begins again from the recorded head."""
        for signed in records:
            self.registry_number += 1
            self.receive(
                subjects.control("registry-0"),
                ConsentRefused(
                    "registry-0",
                    self.registry_epoch,
                    self.registry_number,
                    citizen.id,
                    codec.sha256(signed.payload),
                ),
            )
        citizen.counter, citizen.head = citizen.state.counter, citizen.state.head
        self.flush()

    def set_state(self, citizen: Citizen, state: ConsentState) -> None:
        citizen.state = state

    def room(self, word: str = "commons", kind: Kind = Kind.COMMONS, **policy: Any) -> bytes:
        sanctuary = id16(word)
        self.rooms[sanctuary] = Policy(
            sanctuary,
            word,
            kind,
            Setting.OPEN,
            policy.pop("tier_max", Tier.FULL),
            policy.pop("capacity", 1000),
            **policy,
        )
        self.members(sanctuary, RoomOpened(sanctuary, codec.encode(self.rooms[sanctuary])))
        return sanctuary

    def policy(self, sanctuary: bytes, **changes: Any) -> None:
        self.rooms[sanctuary] = msgspec.structs.replace(self.rooms[sanctuary], **changes)
        self.members(sanctuary, RoomOpened(sanctuary, codec.encode(self.rooms[sanctuary])))

    def members(self, sanctuary: bytes, *events: Any, lost: bool = False) -> None:
        slot = slot_of(sanctuary)
        self.member_numbers[slot] += 1
        if not lost:
            self.receive(
                subjects.member(slot),
                MemberBatch(
                    slot,
                    self.member_epoch,
                    self.member_numbers[slot],
                    True,
                    events,
                ),
            )
        self.flush()

    def join(
        self, who: Citizen, sanctuary: bytes, gate: Gate | None = None, word: str | None = None
    ) -> Viewer:
        """A session of the citizen takes a seat; what it sees."""
        self.words += 1
        gate = gate or self.gate()
        session = id16(word or f"session {self.words}")
        seat = MemberJoined(
            sanctuary, who.id, session, who.device.public_key, gate.name, gate.incarnation
        )
        self.seats[sanctuary, session] = seat
        viewer = gate.viewers[session, sanctuary]
        viewer.person, viewer.sanctuary, viewer.witness = who.id, sanctuary, self.witness
        self.members(sanctuary, seat)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        for gate in self.gates.values():
            for (session, sanctuary), known in gate.viewers.items():
                if known is viewer:
                    seat = self.seats.pop((sanctuary, session))
                    self.follows.pop((sanctuary, session), None)
                    self.members(sanctuary, MemberLeft(sanctuary, seat.citizen, session))
                    return
        raise AssertionError("no such seat")

    def follow(self, viewer: Viewer, *followed: Citizen) -> None:
        """The viewer's session follows exactly these from now on."""
        for gate in self.gates.values():
            for (session, sanctuary), known in gate.viewers.items():
                if known is viewer:
                    viewer.followed = tuple(citizen.id for citizen in followed)
                    told = MemberFollows(sanctuary, session, viewer.followed)
                    self.follows[sanctuary, session] = told
                    viewer.is_choosing = True
                    self.members(sanctuary, told)
                    viewer.is_choosing = False
                    return
        raise AssertionError("no such seat")

    def voice(self, who: Citizen, sanctuary: bytes) -> Voice:
        self.words += 1
        return Voice(self, who, sanctuary, f"voice {self.words}").open()

    def sig(self, voice: Voice, *entries: SigEntry, lost: bool = False) -> None:
        kind = self.rooms[voice.sanctuary].kind.value
        slot = slot_of(voice.sanctuary)
        self.sig_numbers[kind, slot] += 1
        if not lost:
            self.receive(
                f"sig.{kind}.{slot}",
                SigBatch(slot, self.sig_epoch, self.sig_numbers[kind, slot], (voice.row,), entries),
            )
            self.flush()

    def sig_beat(self, sanctuary: bytes) -> None:
        kind, slot = self.rooms[sanctuary].kind.value, slot_of(sanctuary)
        self.sig_numbers[kind, slot] += 1
        self.receive(
            f"sig.{kind}.{slot}",
            SigBatch(slot, self.sig_epoch, self.sig_numbers[kind, slot], (), ()),
        )
        self.flush()

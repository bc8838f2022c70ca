"""What is true in the city, whoever believes what: chains, strands, pseudonyms, seats.

Fed from every publication on the bus, every append to the disk and every write of a gateway, in the
order in which they happen; the laws ask it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared import codec
from shared.contracts import (
    Acted,
    Admitted,
    Audience,
    Charter,
    Coarse,
    ConsentRecord,
    ConsentRecorded,
    ConsentState,
    Deliver,
    EdgeBatch,
    Enrolled,
    Enter,
    EnterFollowers,
    EnterPublic,
    Joined,
    KeyReleased,
    Left,
    MemberBatch,
    MemberJoined,
    MemberLeft,
    NumbersSkipped,
    Opening,
    Policy,
    Segment,
    ServerMessage,
    SigBatch,
    Signed,
    StrandClosed,
    StrandOpened,
    StrandShown,
    Tier,
    Welcome,
)
from tests.simulation.consent import NOTHING, Allowed
from tests.simulation.screen import Screen

_NEVER_MS = 2**62


class Broken(Exception):  # noqa: N818  (a law's verdict, not an error of the harness)
    """A law does not hold."""

    def __init__(self, law: str, what: str) -> None:
        super().__init__(f"{law}: {what}")
        self.law = law
        self.what = what


@dataclass(slots=True)
class Connection:
    """One socket of one person, as its gateway writes to it."""

    number: int
    who: str
    gateway: str
    citizen: bytes | None = None
    """None: an anonymous viewer of a public stage."""
    screen: Screen = field(default_factory=Screen)
    seats: set[bytes] = field(default_factory=set)
    session: bytes = b""
    watches: bytes | None = None

    def __str__(self) -> str:
        return f"{self.who}@{self.gateway}#{self.number}"


@dataclass(slots=True)
class Reign:
    """A consent state and the time in which it might be applied."""

    state: Allowed
    from_ns: int
    until_ns: int | None = None
    """When a later record had been acted on everywhere; None: not yet."""


@dataclass(slots=True)
class Rule:
    """A room's policy and the time in which it might be applied."""

    policy: Policy
    from_ns: int
    until_ns: int | None = None
    """When everybody had come to know its successor; None: not yet."""


@dataclass(slots=True)
class Chain:
    """One citizen's consent: the states after each recorded record, and how far they are dead."""

    states: list[Allowed] = field(default_factory=lambda: [NOTHING])
    head: bytes = codec.ZERO_HASH
    acted: int = 0
    """The highest counter whose `acted` was written to the citizen; what is before it is dead."""
    acted_payload: bytes = b""
    acted_state: Allowed | None = None
    """The state after the acted record, when the registry has not recorded it yet."""
    reigns: list[Reign] = field(default_factory=lambda: [Reign(NOTHING, 0)])
    """Of the states in `states`, and behind them of others that were acted on."""
    limits: int = 0

    @property
    def recorded(self) -> int:
        return len(self.states) - 1


@dataclass(slots=True)
class StrandTruth:
    """What ingest has published of one strand."""

    strand: bytes
    citizen: bytes
    sanctuary: bytes
    expected: int = 0
    admitted: set[int] = field(default_factory=set)
    skipped: set[int] = field(default_factory=set)
    ended: str | None = None
    body: bytes | None = None
    released: bool = False
    settled: int = 0
    """`expected` a moment ago: what every viewer must have been shown by now."""


class Oracle:
    """The omniscient observer. Names are for messages to people who read a failing run."""

    def __init__(self, policies: dict[bytes, Policy], charter: Charter) -> None:
        self.rules = {key: [Rule(policy, 0)] for key, policy in policies.items()}
        self.tier_max: Tier = charter.tier_max
        self.chains: dict[bytes, Chain] = {}
        self.sent: dict[bytes, ConsentRecord] = {}
        """Every consent record that a citizen ever signed, by its payload's hash."""
        self.seats: dict[tuple[bytes, bytes], bool] = {}
        """(session, sanctuary) → whether sanctuary's last word is that it sits there. Who left is
        still on the way out, until its gateway has told it so."""
        self.strands: dict[bytes, StrandTruth] = {}
        self.pseudonyms: dict[bytes, tuple[bytes, bytes]] = {}
        """Pseudonym → (citizen, sanctuary), from the segment tables."""
        self.names: dict[bytes, str] = {}
        self.durable: dict[str, int] = {}
        """How many records the disk holds, by subject."""
        self.narrowed_ns: dict[bytes, int] = {}
        """When each citizen's last record was recorded or acted on."""
        self.said: dict[bytes, tuple[int, bytes, bytes]] = {}
        """Body → when ingest published it, its citizen, its sanctuary."""
        self.endings: set[str] = set()
        """In which ways strands have ended."""
        self.now_ns = 0
        self._signed: set[bytes] = set()
        self._tiers: dict[tuple[object, ...], tuple[int, int, int]] = {}
        """What decides → the tier, and since and until when it holds."""
        self._segments_read: set[bytes] = set()

    def name(self, key: bytes | None) -> str:
        if key is None:
            return "nobody"
        return self.names.get(key, key.hex()[:8])

    def chain(self, citizen: bytes) -> Chain:
        found = self.chains.get(citizen)
        if found is None:
            found = self.chains[citizen] = Chain()
        return found

    def signs(self, record: Signed) -> None:
        """A citizen has signed a record; from here on it may turn up anywhere."""
        if record.payload not in self._signed:
            self._signed.add(record.payload)
            meaning: ConsentRecord = codec.decode(record.payload, ConsentRecord)  # type: ignore[arg-type]
            self.sent[codec.sha256(record.payload)] = meaning

    # ── what the rooms' keeper decides ───────────────────────────────────────────────────────────

    def changes_policy(self, policy: Policy) -> None:
        """From now on either may be applied, until everybody knows the new one."""
        self.rules[policy.sanctuary].append(Rule(policy, self.now_ns))
        self._tiers.clear()

    def settles_policies(self) -> None:
        """Everybody knows the newest ones."""
        for rules in self.rules.values():
            for rule in rules[:-1]:
                rule.until_ns = self.now_ns if rule.until_ns is None else rule.until_ns
        self._tiers.clear()

    # ── what the services say ────────────────────────────────────────────────────────────────────

    def recorded(self, event: ConsentRecorded) -> None:
        payload_hash = codec.sha256(event.record.payload)
        self._record(self.sent[payload_hash], payload_hash)

    def stated(self, state: ConsentState) -> None:
        """A page of the registry's state: what it holds is durable, whoever heard of it."""
        chain = self.chain(state.citizen)
        missing: list[bytes] = []
        head = state.head
        while head not in (chain.head, codec.ZERO_HASH):
            missing.append(head)
            head = self.sent[head].previous
        if state.counter > chain.recorded:
            for payload_hash in reversed(missing):
                self._record(self.sent[payload_hash], payload_hash)

    def _record(self, record: ConsentRecord, payload_hash: bytes) -> None:
        chain = self.chain(record.citizen)
        if record.counter <= chain.recorded:
            return
        held = self.durable.get(f"consent.{record.citizen.hex()}", 0)
        if held < record.counter:
            raise Broken(
                "durable before recorded",
                f"{self.name(record.citizen)}'s record {record.counter} is announced; "
                f"the disk holds {held}",
            )
        if record.counter != chain.recorded + 1 or record.previous != chain.head:
            raise Broken(
                "one chain per citizen",
                f"{self.name(record.citizen)}'s record {record.counter} does not follow "
                f"{chain.recorded}",
            )
        chain.states.append(chain.states[-1].after(record))
        chain.reigns.insert(chain.recorded, Reign(chain.states[-1], self.now_ns))
        chain.head = payload_hash
        self.narrowed_ns[record.citizen] = self.now_ns
        if record.counter == chain.acted and payload_hash != chain.acted_payload:
            chain.acted = 0  # what was acted on was refused: another record took its number
            for reign in chain.reigns:
                reign.until_ns = None
        elif record.counter < chain.acted:
            chain.reigns[record.counter].until_ns = self.now_ns

    def published(self, subject: str, event: object) -> None:
        match event:
            case ConsentRecorded():
                self.recorded(event)
            case EdgeBatch():
                for operation in event.operations:
                    if isinstance(operation, Deliver | Enter | EnterFollowers | EnterPublic):
                        self._read_segments(operation.segments)
            case MemberBatch():
                for each in event.events:
                    if isinstance(each, MemberJoined):
                        self.seats[each.session, each.sanctuary] = True
                    elif isinstance(each, MemberLeft):
                        self.seats[each.session, each.sanctuary] = False
            case _:
                pass

    def sig(self, event: SigBatch) -> None:
        """After the laws have judged the batch."""
        for entry in event.entries:
            row = event.strands[entry.row]
            truth = self.strands.get(row.strand)
            if truth is None:
                truth = self.strands[row.strand] = StrandTruth(
                    row.strand, row.citizen, row.sanctuary
                )
            match entry:
                case Admitted():
                    truth.admitted.add(entry.seq)
                    truth.expected = max(truth.expected, entry.seq + 1)
                    truth.body = entry.body
                    self.said.setdefault(entry.body, (self.now_ns, row.citizen, row.sanctuary))
                case NumbersSkipped():
                    truth.skipped.update(range(entry.first, entry.last + 1))
                    truth.expected = max(truth.expected, entry.last + 1)
                case StrandClosed():
                    truth.ended = entry.reason
                    self.endings.add(entry.reason)
                case StrandOpened():
                    opening = codec.decode(entry.opening.payload, Opening)
                    assert opening.citizen == row.citizen
                case KeyReleased():
                    truth.released = True
                case _:
                    pass

    def _read_segments(self, segments: tuple[Segment, ...]) -> None:
        """Pseudonyms are random: only the segment table says whose they are."""
        for segment in segments:
            if segment.citizen is None or segment.message[1:8] != b"\xa6coarse":
                continue
            if segment.message in self._segments_read:
                continue
            self._segments_read.add(segment.message)
            shown = codec.decode(segment.message, Coarse)
            self.pseudonyms[shown.pseudonym] = (segment.citizen, shown.sanctuary)

    # ── what gateways write ──────────────────────────────────────────────────────────────────────

    def wrote(self, connection: Connection, message: ServerMessage) -> None:
        """After the laws have judged the message."""
        match message:
            case Acted():
                self._acted(message)
            case Welcome() | Enrolled():
                if message.citizen is not None:
                    connection.citizen = message.citizen
                    self.names.setdefault(message.citizen, connection.who)
            case Joined():
                connection.seats.add(message.sanctuary)
            case Left():
                connection.seats.discard(message.sanctuary)
                seat = (connection.session, message.sanctuary)
                if not self.seats.get(seat):
                    self.seats.pop(seat, None)
            case StrandShown():
                self.names.setdefault(message.strand, f"strand of {self.name(message.citizen)}")
            case _:
                pass

    def _acted(self, message: Acted) -> None:
        chain = self.chain(message.citizen)
        if message.counter <= chain.acted:
            return
        chain.acted = message.counter
        for reign in chain.reigns[: message.counter]:
            reign.until_ns = self.now_ns if reign.until_ns is None else reign.until_ns
        self.narrowed_ns[message.citizen] = self.now_ns
        if message.counter > chain.recorded:
            # not recorded yet: the citizen's own chain says what it is
            path: list[ConsentRecord] = []
            for payload_hash, record in self.sent.items():
                if record.citizen == message.citizen and record.counter == message.counter:
                    chain.acted_payload = payload_hash
                    path = self._path(record, chain)
            state = chain.states[-1]
            for each in path:
                state = state.after(each)
            chain.acted_state = state
            chain.reigns.append(Reign(state, self.now_ns))
        else:
            chain.acted_payload = chain.head
            chain.acted_state = None

    def _path(self, record: ConsentRecord, chain: Chain) -> list[ConsentRecord]:
        path = [record]
        while path[0].counter > chain.recorded + 1 and path[0].previous in self.sent:
            path.insert(0, self.sent[path[0].previous])
        return path

    def alive(self, citizen: bytes) -> list[Allowed]:
        """The states under which something may be shown now."""
        chain = self.chain(citizen)
        if chain.acted > chain.recorded and chain.acted_state is not None:
            return [chain.acted_state]
        return chain.states[chain.acted :]

    def tier_meant(
        self, connection: Connection, body: bytes, *, late_ms: int, fanout_now_ms: int
    ) -> int:
        """The closest tier at which a sample was meant for this connection when fanout took it, which
        it does within `late_ms` of its publication.
        """
        said_ns, citizen, sanctuary = self.said[body]
        late_ns = said_ns + late_ms * 1_000_000
        said_ms = fanout_now_ms - (self.now_ns - said_ns) // 1_000_000
        person = connection.citizen
        audience = Audience.PUBLIC if person is None else Audience.MEMBERS

        def is_met(span: Reign | Rule) -> bool:
            return span.from_ns <= late_ns and (span.until_ns is None or span.until_ns >= said_ns)

        best = 0
        for reign in filter(is_met, self.chain(citizen).reigns):
            for rule in filter(is_met, self.rules[sanctuary]):
                for now_ms in reign.state.moments(said_ms, said_ms + late_ms):
                    tier = reign.state.tier(rule.policy, audience, person, now_ms, self.tier_max)
                    best = max(best, tier)
        return best

    def tier_lawful(
        self, connection: Connection, citizen: bytes, sanctuary: bytes, times_ms: tuple[int, ...]
    ) -> int:
        """The closest tier at which this connection may be shown the citizen now."""
        if sanctuary not in self.rules:
            return 0
        if connection.citizen is None:
            audience = Audience.PUBLIC
            if connection.watches != sanctuary:
                return 0
        else:
            audience = Audience.MEMBERS
            if (connection.session, sanctuary) not in self.seats:
                return 0
        chain = self.chain(citizen)
        key = (
            *(citizen, sanctuary, connection.citizen, audience),
            *(len(chain.states), chain.acted, chain.acted_payload),
        )
        known = self._tiers.get(key)
        if known is not None and known[1] <= times_ms[-1] and times_ms[0] < known[2]:
            return known[0]
        states = self.alive(citizen)
        policies = [rule.policy for rule in self.rules[sanctuary] if rule.until_ns is None]
        best = 0
        for state in states:
            for policy in policies:
                for now_ms in times_ms:
                    best = max(
                        best,
                        state.tier(policy, audience, connection.citizen, now_ms, self.tier_max),
                    )
        # nothing changes by itself between two ends
        ends = [end for state in states for end in state.ends]
        since = max((end for end in ends if end <= times_ms[-1]), default=0)
        until = min((end for end in ends if end > times_ms[-1]), default=_NEVER_MS)
        if until > times_ms[0]:
            self._tiers[key] = (best, since, until)
        return best

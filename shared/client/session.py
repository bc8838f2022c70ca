"""One person's session with a city: what to send, and what the city's messages mean for it. Pure.

Messages in (`receive`), messages out (`take`), events returned; `tick` at `next_deadline`. The bus is
at most once, so every request is repeated until it is answered; a reconnect (`disconnected`, then a new
`hello`) joins again with what is held and presents openings again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.client.consent import (
    ConsentChain,
    approval_draft,
    exception_draft,
    grant_draft,
    withdrawal_draft,
)
from shared.client.events import (
    ChainKnown,
    Declined,
    Event,
    FollowsTaken,
    Interrupted,
    MoveWanted,
    NumbersRefused,
    RecordActed,
    RecordDeclined,
    RecordDurable,
    Seated,
    SeatRefused,
    SessionReady,
    StrandClosedByUs,
    ViewerMessage,
    VoiceOpened,
    WindowTaken,
)
from shared.client.keyring import Keyring
from shared.client.outbox import REQUEST_REPEAT_NS, Outbox
from shared.client.strand import Mood, StrandWriter
from shared.client.viewer import Viewer
from shared.codec import Refused, decode, encode
from shared.contracts.client import (
    Acted,
    AskChain,
    Chain,
    Challenge,
    ClientMessage,
    Enrol,
    Enrolled,
    Follow,
    Following,
    Hello,
    Join,
    Joined,
    Leave,
    Left,
    Move,
    Nonce,
    Open,
    Opened,
    PolicyChanged,
    Recorded,
    RefusedSamples,
    Release,
    Sealed,
    SealWanted,
    SealWindow,
    ServerMessage,
    StrandEnded,
    TimeIs,
    Token,
    Welcome,
)
from shared.contracts.client import Refused as RefusedMessage
from shared.contracts.records import (
    FOLLOWED_MAX,
    STRAND_KEY_PUBLISH_AFTER_S,
    Audience,
    ConsentRecord,
    FollowRequest,
    JoinRequest,
    Kind,
    Opening,
    Policy,
    Purpose,
    RecordKind,
    Signed,
    Tier,
)
from shared.contracts.refusals import Refusal
from shared.identifiers import CitizenId, MonotonicNs, WallMs
from shared.identity import Signer
from shared.identity.token import make_token

CROWD_WAIT_NS = 60_000_000_000
"""After `too many enrolments`."""
RETRY_NS_MIN = 250_000_000
RETRY_NS_MAX = 5_000_000_000
"""A refusal that passes by itself (`not ready`, …) is retried after 0.25 s, doubling up to 5 s."""
SEAL_REPEATS_MAX = 10
"""A closing seal that nobody answers this often belongs to a strand that the city has forgotten."""
CHALLENGE_WAIT_NS = 3_000_000_000
"""A seat whose challenge got lost is asked for again after this long."""

_PASSING = frozenset(
    {Refusal.NOT_READY, Refusal.TOO_FAST, Refusal.UNKNOWN_CITIZEN, Refusal.WRONG_SESSION}
)
_STRAND_GONE = frozenset(
    {
        Refusal.UNKNOWN_STRAND,
        Refusal.WRONG_CHALLENGE,
        Refusal.WRONG_POLICY,
        Refusal.NOT_A_MEMBER,
        Refusal.UNKNOWN_DEVICE,
    }
)
_REOPENED = _STRAND_GONE | {Refusal.SKEW}
"""An opening refused for one of these is not presented again; another one is made."""
_JOINED_AGAIN = frozenset({Refusal.NOT_A_MEMBER, Refusal.WRONG_POLICY})
"""Only the answer to a join tells a policy whose announcement was lost."""


_FOLLOWED_AGAIN = _PASSING | {Refusal.SKEW, Refusal.STALE}
"""A list refused for one of these is signed anew."""


@dataclass(slots=True)
class _Seat:
    """One sanctuary this citizen wants to be in."""

    sanctuary: bytes
    speak: bool
    name: str | None
    policy: Policy | None = None
    policy_hash: bytes = b""
    challenge: bytes | None = None
    is_joined: bool = False
    writer: StrandWriter | None = None
    is_open: bool = False
    retries: int = 0
    join_at_ns: MonotonicNs | None = None
    open_at_ns: MonotonicNs | None = None
    followed: tuple[bytes, ...] = ()
    follow_at_ns: MonotonicNs | None = None


@dataclass(slots=True)
class PendingRelease:
    """An ended strand's key, to be published at `due_ms`."""

    sanctuary: bytes
    strand: bytes
    seed: bytes
    due_ms: WallMs


class Session:
    """`join` and `feel` say what is wanted; the session gets there, and back there after a loss."""

    def __init__(
        self,
        keyring: Keyring,
        random_bytes: Callable[[int], bytes],
        *,
        viewer: Viewer | None = None,
        is_anonymous: bool = False,
    ) -> None:
        """`is_anonymous`: on a socket that watches a public stage it says nothing, not even who it is."""
        self.keyring = keyring
        self.is_anonymous = is_anonymous
        self.viewer = viewer
        self.hello: Hello | None = None
        self.citizen: CitizenId | None = None
        self.is_ready = False
        self.chain = ConsentChain(keyring.identity, keyring.device)
        self.seats: dict[bytes, _Seat] = {}
        self.releases: list[PendingRelease] = []
        self.writers: dict[bytes, StrandWriter] = {}
        """Every strand that may still be asked about, by id."""
        self.clock_offset_ms = 0
        """Added to stamps after the city refused one for skew."""
        self.city_ahead_ms = 0
        """How far the city's clock was ahead of ours at hello, its way here included."""
        self.declined: dict[int, str] = {}
        """Consent records that were refused for good, by ref, with the reason."""
        self._follow_number = 0
        self._random_bytes = random_bytes
        self._out = Outbox[_Seat | None]()
        self._pages_asked: set[int | None] = set()
        """Pages of the chain on their way, by what `chain?` said; nil: the newest."""

    # What is wanted.

    def join(self, sanctuary: bytes, *, speak: bool = False, name: str | None = None) -> None:
        """Be a member, and a voice if `speak`; `name` is shown to those who see one at full."""
        seat = self.seats.get(sanctuary)
        if seat is None:
            seat = self.seats[sanctuary] = _Seat(sanctuary, speak, name)
            if self.is_ready:
                seat.join_at_ns = MonotonicNs(0)
        elif speak and not seat.speak:
            seat.speak, seat.name, seat.open_at_ns = True, name, MonotonicNs(0)

    def leave(self, sanctuary: bytes, now_ms: WallMs) -> None:
        self.hush(sanctuary, now_ms)
        seat = self.seats.pop(sanctuary, None)
        if seat is not None and seat.is_joined:
            self._out.say(Leave(self._out.next_ref(), sanctuary))

    def hush(self, sanctuary: bytes, now_ms: WallMs) -> None:
        """Close the strand with its closing seal and stop speaking."""
        seat = self.seats.get(sanctuary)
        if seat is None:
            return
        seat.speak = False
        writer = seat.writer
        if writer is not None and seat.is_open:
            self._say_seal(sanctuary, writer.strand, writer.close(now_ms))
            self._will_release(seat, writer, now_ms)
        seat.writer, seat.is_open = None, False

    def follow(self, sanctuary: bytes, followed: Sequence[bytes]) -> None:
        """Follow exactly these citizens there, as soon as there is a seat; nobody, to end it. They are
        seen if they approved, as they granted to followers; the city does not say who did.
        """
        assert len(followed) <= FOLLOWED_MAX
        seat = self.seats[sanctuary]
        if seat.followed != tuple(followed):
            seat.followed = tuple(followed)
            if seat.is_joined:
                seat.follow_at_ns = MonotonicNs(0)

    def has_seat(self, sanctuary: bytes) -> bool:
        seat = self.seats.get(sanctuary)
        return seat is not None and seat.is_joined

    def can_feel(self, sanctuary: bytes) -> bool:
        seat = self.seats.get(sanctuary)
        return seat is not None and seat.is_open and self.is_ready

    def feel(
        self,
        sanctuary: bytes,
        mood: Mood,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        t_ms: WallMs | None = None,
    ) -> int | None:
        """Send one sample; its number, or None if the strand is not open now (nothing is kept)."""
        seat = self.seats.get(sanctuary)
        if seat is None or seat.writer is None or not seat.is_open or not self.is_ready:
            return None
        writer = seat.writer
        stamp = WallMs((now_ms if t_ms is None else t_ms) + self.clock_offset_ms)
        if (cut := writer.cut_before(stamp)) is not None:
            self._say_seal(sanctuary, writer.strand, cut)
            writer.await_answer(now_ns)
        body = writer.write(mood, stamp, self._random_bytes(8), now_ns)
        self._out.add_sample(sanctuary, writer.strand, self.chain.epoch, body)
        if (cut := writer.cut_full(stamp)) is not None:
            self._say_seal(sanctuary, writer.strand, cut)
            writer.await_answer(now_ns)
        return writer.next_seq - 1

    def grant(
        self,
        sanctuary: bytes | None,
        tier: Tier,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        audience: Audience = Audience.MEMBERS,
        purpose: Purpose = Purpose.LIVE,
        until_ms: WallMs | None = None,
    ) -> int:
        draft = grant_draft(
            sanctuary, tier, audience=audience, purpose=purpose, until_ms=until_ms, now_ms=now_ms
        )
        return self._record(draft, now_ns)

    def except_person(
        self,
        sanctuary: bytes | None,
        person: bytes,
        tier: Tier,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        until_ms: WallMs | None = None,
    ) -> int:
        draft = exception_draft(sanctuary, person, tier, until_ms=until_ms, now_ms=now_ms)
        return self._record(draft, now_ns)

    def approve(
        self,
        person: bytes,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        until_ms: WallMs | None = None,
    ) -> int:
        """Let this person follow: they see what is granted to followers."""
        draft = approval_draft(person, is_approved=True, until_ms=until_ms, now_ms=now_ms)
        return self._record(draft, now_ns)

    def revoke(self, person: bytes, now_ns: MonotonicNs, now_ms: WallMs) -> int:
        """This person follows no more."""
        return self._record(approval_draft(person, is_approved=False, now_ms=now_ms), now_ns)

    def withdraw(
        self,
        sanctuary: bytes | None,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        audience: Audience | None = None,
        purpose: Purpose | None = None,
    ) -> int:
        draft = withdrawal_draft(sanctuary, audience=audience, purpose=purpose, now_ms=now_ms)
        return self._record(draft, now_ns)

    def _record(self, draft: ConsentRecord, now_ns: MonotonicNs) -> int:
        ref = self._out.next_ref()
        self.chain.add(ref, draft)
        self._send_records(now_ns)
        return ref

    # What goes out.

    def take(self) -> list[ClientMessage]:
        """Everything to be sent now, in order."""
        return self._out.take()

    def say(self, message: ClientMessage) -> None:
        """Send this beside what the session itself wants; whoever says it reads the answer."""
        self._out.say(message)

    def _say_seal(self, sanctuary: bytes, strand: bytes, cut: tuple[int, Signed]) -> None:
        self._out.say(SealWindow(sanctuary, strand, cut[1]))

    # Time.

    def next_deadline(self) -> MonotonicNs | None:
        if not self.is_ready:
            return self._out.next_deadline()
        times = [self._out.next_deadline(), self.chain.next_deadline()]
        for seat in self.seats.values():
            times += (seat.join_at_ns, seat.open_at_ns, seat.follow_at_ns)
            if seat.writer is not None:
                times.append(seat.writer.cut_at_ns)
        for writer in self.writers.values():
            if writer.seals:
                times.append(writer.repeat_at_ns or MonotonicNs(0))
        return min([each for each in times if each is not None], default=None)

    def tick(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        self._out.tick(now_ns)
        if not self.is_ready:
            return
        for seat in self.seats.values():
            if seat.writer is not None:
                cut = seat.writer.cut_due(now_ns, WallMs(now_ms + self.clock_offset_ms))
                if cut is not None:
                    self._say_seal(seat.sanctuary, seat.writer.strand, cut)
            if seat.join_at_ns is not None and now_ns >= seat.join_at_ns:
                self._join(seat, now_ns, now_ms)
            if seat.open_at_ns is not None and now_ns >= seat.open_at_ns:
                self._open(seat, now_ns, now_ms)
            if seat.follow_at_ns is not None and now_ns >= seat.follow_at_ns:
                self._follow(seat, now_ns, now_ms)
        for writer in list(self.writers.values()):
            if (seal := writer.repeat_due(now_ns)) is not None:
                self._say_seal(writer.opening.sanctuary, writer.strand, seal)
            if writer.repeats > SEAL_REPEATS_MAX and writer.closing_window is not None:
                del self.writers[writer.strand]  # the city has forgotten it
        self._send_records(now_ns)
        self.release_due(now_ms)

    def release_due(self, now_ms: WallMs) -> None:
        """Publish the keys of strands that ended a minute ago. The shell asks once a second or so."""
        if not self.is_ready:
            return
        for release in [each for each in self.releases if now_ms >= each.due_ms]:
            self.releases.remove(release)
            self._out.say(Release(release.sanctuary, release.strand, release.seed))

    def _send_records(self, now_ns: MonotonicNs) -> None:
        if not self.is_ready or self.hello is None or self.citizen is None:
            return
        self.chain.build(self.citizen, self.hello.city)
        for record in self.chain.due(now_ns):
            self._out.say(record)
        before = None if self.chain.is_wanted else self.chain.before
        if (self.chain.is_wanted or before is not None) and before not in self._pages_asked:
            self._pages_asked.add(before)
            ref = self._out.next_ref()
            self._out.request(ref, AskChain(ref, self.citizen, before), None, now_ns)

    # What comes in.

    def disconnected(self) -> None:
        """The socket is gone. Strands stay: they are presented again after the next welcome."""
        self.hello = None
        self.is_ready = False
        self._out.clear()
        self._pages_asked.clear()
        self.chain.disconnected()
        for seat in self.seats.values():
            seat.is_joined = seat.is_open = False
            seat.challenge = seat.join_at_ns = seat.open_at_ns = seat.follow_at_ns = None
        if self.viewer is not None:
            self.viewer.disconnected()

    def receive(
        self, messages: Sequence[ServerMessage], now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Event]:
        events: list[Event] = []
        for message in messages:
            self._receive(message, events, now_ns, now_ms)
        return events

    def _receive(
        self, message: ServerMessage, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        match message:
            case Hello():
                self._on_hello(message, now_ms)
            case Welcome():
                self._on_welcome(events, now_ns, now_ms)
            case Nonce():
                self._say_token(message.nonce, now_ms)
            case Enrolled():
                if self._out.answered(message.ref) is not None:
                    self._on_enrolled(message.citizen, events, now_ns, now_ms)
            case Joined():
                self._on_joined(message, events, now_ns)
            case Following():
                if self._out.answered(message.ref) is not None:
                    events.append(FollowsTaken(message.sanctuary, message.count))
            case Challenge():
                self._on_challenge(message, events, now_ns, now_ms)
            case Opened():
                self._on_opened(message, events)
            case Sealed():
                self._on_sealed(message, events)
            case SealWanted():
                self._on_seal_wanted(message, now_ms)
            case RefusedSamples():
                self._on_refused_samples(message, events, now_ns, now_ms)
            case RefusedMessage():
                self._on_refused(message, events, now_ns, now_ms)
            case Acted():
                each = self.chain.acted(message.counter)
                events.append(RecordActed(None if each is None else each.ref, message.counter))
            case Recorded():
                self.chain.recorded(message.ref, message.counter, message.head)
                events.append(RecordDurable(message.ref, message.counter))
                self._send_records(now_ns)
            case Chain():
                self._on_chain(message, events, now_ns)
            case Move():
                events.append(MoveWanted(message.within_s))
            case Left() | TimeIs():
                pass
            case _:
                self._on_shown(message, events, now_ns, now_ms)

    def _say_token(self, nonce: bytes, now_ms: WallMs) -> None:
        assert self.hello is not None
        token = make_token(
            self.keyring.device,
            origin=self.hello.origin,
            city=self.hello.city,
            nonce=nonce,
            citizen=self.citizen,
            now_ms=WallMs(now_ms + self.clock_offset_ms),
        )
        self._out.say(Token(token))

    def _on_hello(self, hello: Hello, now_ms: WallMs) -> None:
        self.hello = hello
        skew_ms = self.city_ahead_ms = hello.now_ms - now_ms
        # a token lives five minutes and stamps may be 30 s off: correct a clock that is further off
        self.clock_offset_ms = skew_ms if abs(skew_ms) > hello.limits.skew_ms // 2 else 0
        self.citizen = self.keyring.citizens.get(hello.city)
        if self.viewer is not None:
            self.viewer.city = hello.city
        if not self.is_anonymous:
            self._say_token(hello.session, now_ms)

    def _on_welcome(self, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs) -> None:
        if self.is_ready:
            return
        if self.citizen is None:
            self._enrol(now_ns)
        else:
            self._on_ready(events, now_ns, now_ms)

    def _enrol(self, now_ns: MonotonicNs) -> None:
        assert self.hello is not None
        if self._out.is_asking(Enrol, None):
            return
        ref = self._out.next_ref()
        message = Enrol(ref, self.keyring.inception(self.hello.city))
        self._out.request(ref, message, None, now_ns)

    def _on_enrolled(
        self, citizen: bytes, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        assert self.hello is not None
        self.citizen = CitizenId(citizen)
        self.keyring.citizens[self.hello.city] = self.citizen
        self._on_ready(events, now_ns, now_ms)

    def _on_ready(self, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs) -> None:
        assert self.citizen is not None
        if not self.is_ready:
            self.is_ready = True
            events.append(SessionReady(self.citizen))
        self._send_records(now_ns)
        for seat in self.seats.values():
            if not seat.is_joined:
                self._join(seat, now_ns, now_ms)

    def _join(self, seat: _Seat, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        assert self.hello is not None
        assert self.citizen is not None
        seat.join_at_ns = None
        self._out.forget(seat)
        payload = JoinRequest(
            sanctuary=seat.sanctuary,
            session=self.hello.session,
            gateway=self.hello.gateway,
            citizen=self.citizen,
            device=self.keyring.device.public_key,
            t_ms=now_ms + self.clock_offset_ms,
        )
        record = self.keyring.device.sign_record(RecordKind.JOIN, self.hello.city, encode(payload))
        held = () if self.viewer is None else self.viewer.held(seat.sanctuary)
        ref = self._out.next_ref()
        self._out.request(ref, Join(ref, seat.sanctuary, record, held), seat, now_ns)

    def _on_joined(self, message: Joined, events: list[Event], now_ns: MonotonicNs) -> None:
        self._out.answered(message.ref)
        seat = self.seats.get(message.sanctuary)
        if seat is None:
            return
        try:
            seat.policy = decode(message.policy, Policy)
        except Refused as refused:
            events.append(SeatRefused(seat.sanctuary, refused.reason, will_retry=False))
            return
        seat.policy_hash = message.policy_hash
        seat.is_joined = True
        seat.retries = 0
        if seat.challenge is None and seat.speak:
            seat.join_at_ns = MonotonicNs(now_ns + CHALLENGE_WAIT_NS)
        events.append(Seated(seat.sanctuary, seat.policy))
        if seat.challenge is not None and seat.speak and not seat.is_open:
            seat.open_at_ns = now_ns
        if seat.followed:
            seat.follow_at_ns = now_ns

    def _follow(self, seat: _Seat, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Say whom this session follows. It ends with the seat, so it is said again after each join."""
        assert self.hello is not None
        assert self.citizen is not None
        seat.follow_at_ns = None
        if not seat.is_joined:
            return
        self._out.forget(seat, Follow)
        self._follow_number += 1
        request = FollowRequest(
            sanctuary=seat.sanctuary,
            session=self.hello.session,
            gateway=self.hello.gateway,
            citizen=self.citizen,
            device=self.keyring.device.public_key,
            t_ms=now_ms + self.clock_offset_ms,
            number=self._follow_number,
            followed=seat.followed,
        )
        record = self.keyring.device.sign_record(
            RecordKind.FOLLOW, self.hello.city, encode(request)
        )
        ref = self._out.next_ref()
        self._out.request(ref, Follow(ref, seat.sanctuary, record), seat, now_ns)

    def _on_challenge(
        self, message: Challenge, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        seat = self.seats.get(message.sanctuary)
        if seat is None:
            return
        seat.challenge = message.challenge
        if seat.is_joined:
            seat.join_at_ns = None
        # told more than once, it must not end the strand that was opened with this very challenge
        is_ours = seat.writer is not None and seat.writer.opening.challenge == message.challenge
        if message.reopen and not is_ours:
            self._interrupt(seat, "interrupted", events, now_ms)
        if seat.speak and seat.is_joined and not seat.is_open:
            self._open(seat, now_ns, now_ms)

    def _open(self, seat: _Seat, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Present the strand's opening again, or make a new strand."""
        seat.open_at_ns = None
        if seat.speak and seat.is_joined and seat.challenge is None and seat.join_at_ns is None:
            # it was lost before this seat wanted to speak
            seat.join_at_ns = MonotonicNs(now_ns + CHALLENGE_WAIT_NS)
        if (
            not seat.speak
            or seat.is_open
            or seat.challenge is None
            or not seat.is_joined
            or self.hello is None
            or self.citizen is None
            or self._out.is_asking(Open, seat)
        ):
            return
        if seat.writer is None:
            signer = Signer(self._random_bytes(32))
            opening = Opening(
                sanctuary=seat.sanctuary,
                citizen=self.citizen,
                policy_hash=seat.policy_hash,
                strand_key=signer.public_key,
                device=self.keyring.device.public_key,
                consent_epoch=self.chain.epoch,
                challenge=seat.challenge,
                t_ms=now_ms + self.clock_offset_ms,
                name=seat.name,
            )
            signed = self.keyring.device.sign_record(
                RecordKind.OPENING, self.hello.city, encode(opening)
            )
            seat.writer = StrandWriter(opening, signed, signer, self.hello.city)
            self.writers[seat.writer.strand] = seat.writer
        ref = self._out.next_ref()
        self._out.request(ref, Open(ref, seat.sanctuary, seat.writer.signed), seat, now_ns)

    def _on_opened(self, message: Opened, events: list[Event]) -> None:
        self._out.answered(message.ref)
        writer = self.writers.get(message.strand)
        seat = None if writer is None else self.seats.get(writer.opening.sanctuary)
        if writer is None or seat is None or seat.writer is not writer or seat.is_open:
            if seat is not None and seat.writer is None and seat.speak:
                seat.open_at_ns = MonotonicNs(0)  # hushed and raised again while this was asked
            return
        seat.is_open = True
        seat.retries = 0
        for window in list(writer.seals):
            if window < message.next_window:
                del writer.seals[window]  # taken; its answer was lost
            else:
                self._say_seal(seat.sanctuary, writer.strand, (window, writer.seals[window]))
        events.append(VoiceOpened(seat.sanctuary, writer.strand, resumed=writer.next_seq > 0))

    def _on_sealed(self, message: Sealed, events: list[Event]) -> None:
        writer = self.writers.get(message.strand)
        if writer is None or not writer.taken(message.window, message.admitted):
            return
        events.append(WindowTaken(message.strand, message.window, message.admitted))
        if writer.finished:
            del self.writers[message.strand]
            events.append(StrandClosedByUs(message.strand, writer.next_seq))

    def _on_seal_wanted(self, message: SealWanted, now_ms: WallMs) -> None:
        writer = self.writers.get(message.strand)
        if writer is None:
            return
        sanctuary = writer.opening.sanctuary
        if message.window == writer.window and writer.closing_window is None:
            cut = writer.cut_now(WallMs(now_ms + self.clock_offset_ms))
            if cut is not None:
                self._say_seal(sanctuary, message.strand, cut)
        elif message.window in writer.seals:
            seal = writer.seals[message.window]
            self._say_seal(sanctuary, message.strand, (message.window, seal))

    def _on_refused_samples(
        self, message: RefusedSamples, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        writer = self.writers.get(message.strand)
        if writer is None:
            return
        writer.refused(message.first, message.last, message.reason)
        events.append(NumbersRefused(message.strand, message.first, message.last, message.reason))
        if message.reason == Refusal.SKEW:
            self.clock_offset_ms = message.now_ms - now_ms
        seat = self.seats.get(writer.opening.sanctuary)
        if message.reason in _STRAND_GONE and seat is not None and seat.writer is writer:
            self._interrupt(seat, message.reason, events, now_ms)
            self._again(seat, message.reason, now_ns)

    def _again(self, seat: _Seat, reason: str, now_ns: MonotonicNs) -> None:
        """Join or open again, after a while that doubles with each refusal in a row."""
        wait_ns = min(RETRY_NS_MAX, RETRY_NS_MIN << min(seat.retries, 8))
        seat.retries += 1
        at_ns = MonotonicNs(now_ns + wait_ns)
        if reason in _JOINED_AGAIN or not seat.is_joined:
            seat.is_joined = False
            seat.join_at_ns = at_ns
        else:
            seat.open_at_ns = at_ns

    def _on_refused(
        self, message: RefusedMessage, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        reason = message.reason
        if message.ref is not None and message.ref in self.chain.in_flight:
            self._on_record_refused(message, events, now_ns)
            return
        request = None if message.ref is None else self._out.answered(message.ref)
        if request is None:
            events.append(Declined(reason, message.meaning))
            return
        if isinstance(request.message, Enrol | AskChain):
            is_crowd = reason == Refusal.TOO_MANY_ENROLMENTS
            if (is_crowd or reason in _PASSING) and message.ref is not None:
                wait_ns = CROWD_WAIT_NS if is_crowd else REQUEST_REPEAT_NS
                self._out.ask_again(message.ref, request, now_ns + wait_ns)
            if is_crowd or reason not in _PASSING:
                events.append(Declined(reason, message.meaning))
            return
        seat = request.about
        if seat is None:
            return
        if reason == Refusal.UNKNOWN_CITIZEN and seat.retries % 4 == 3:
            # replicas hear of a new citizen within moments; a city that forgot one is told again
            self._enrol(now_ns)
        if reason == Refusal.SKEW:
            # the services' clocks may differ too: who refuses says what time it has
            self.clock_offset_ms = message.now_ms - now_ms
        if isinstance(request.message, Follow):
            self._on_follow_refused(seat, message, events, now_ns)
            return
        if isinstance(request.message, Open) and reason in _REOPENED:
            self._interrupt(seat, reason, events, now_ms)
        will_retry = reason in _PASSING or reason in _REOPENED
        if isinstance(request.message, Join) or not will_retry:
            events.append(SeatRefused(seat.sanctuary, reason, will_retry))
        if will_retry:
            self._again(seat, reason, now_ns)

    def _on_follow_refused(
        self, seat: _Seat, message: RefusedMessage, events: list[Event], now_ns: MonotonicNs
    ) -> None:
        reason = message.reason
        if reason == Refusal.NOT_A_MEMBER:
            if seat.join_at_ns is None and seat.is_joined:
                self._again(seat, reason, now_ns)
        elif reason in _FOLLOWED_AGAIN:
            seat.follow_at_ns = MonotonicNs(now_ns + RETRY_NS_MIN)
        else:
            events.append(Declined(reason, message.meaning))

    def _on_record_refused(
        self, message: RefusedMessage, events: list[Event], now_ns: MonotonicNs
    ) -> None:
        assert message.ref is not None
        reason = message.reason
        if reason in {Refusal.BROKEN_CHAIN, Refusal.STALE}:
            self.chain.broken()
        elif reason not in _PASSING:
            self.chain.refused(message.ref)
            self.declined[message.ref] = reason
            events.append(RecordDeclined(message.ref, reason, message.meaning))
        self._send_records(now_ns)

    def _on_chain(self, message: Chain, events: list[Event], now_ns: MonotonicNs) -> None:
        request = self._out.answered(message.ref)
        before = None
        if request is not None and isinstance(request.message, AskChain):
            before = request.message.before
            self._pages_asked.discard(before)
        events += [RecordDurable(each.ref, each.counter) for each in self.chain.learned(message)]
        if before is not None and self.chain.before == before:
            self.chain.cut()
        if self.chain.before is None:
            events.append(ChainKnown(self.chain.counter or 0, self.chain.records))
        self._send_records(now_ns)

    def _interrupt(self, seat: _Seat, reason: str, events: list[Event], now_ms: WallMs) -> None:
        """The strand is over on the city's side."""
        writer = seat.writer
        self._out.forget(seat, Open)
        if writer is None:
            return
        self.writers.pop(writer.strand, None)
        if writer.next_seq:
            self._will_release(seat, writer, now_ms)
        seat.writer, seat.is_open = None, False
        self._out.drop_samples(writer.strand)
        events.append(Interrupted(seat.sanctuary, writer.strand, reason))

    def _will_release(self, seat: _Seat, writer: StrandWriter, now_ms: WallMs) -> None:
        if seat.policy is not None and seat.policy.kind is not Kind.STAGE:
            due_ms = WallMs(now_ms + STRAND_KEY_PUBLISH_AFTER_S * 1000)
            self.releases.append(
                PendingRelease(seat.sanctuary, writer.strand, writer.signer.seed, due_ms)
            )

    def _on_shown(
        self, message: ViewerMessage, events: list[Event], now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        if self.viewer is not None:
            judged = self.viewer.apply(message)
            if judged is not None:
                events.append(judged)
        events.append(message)
        if isinstance(message, PolicyChanged):
            seat = self.seats.get(message.sanctuary)
            if seat is not None:
                try:
                    seat.policy = decode(message.policy, Policy)
                except Refused:
                    return
                seat.policy_hash = message.policy_hash
                self._interrupt(seat, "interrupted", events, now_ms)
                if seat.speak:
                    seat.open_at_ns = now_ns
        elif isinstance(message, StrandEnded):
            writer = self.writers.get(message.strand)
            seat = None if writer is None else self.seats.get(writer.opening.sanctuary)
            if seat is not None and seat.writer is writer and message.reason != "closed":
                self._interrupt(seat, message.reason, events, now_ms)
                if seat.speak:
                    seat.open_at_ns = now_ns

"""Windows that are posted over HTTP, by devices without sockets: a session without one. Pure.

`to_speak` tells a device what it must know to sign, and gives it a session: a number that this process
alone can make, with its own moment in it, so that nothing is kept of who only asked. The first post's
join over that session is taken to sanctuary as any other; once ingest knows the seat too, the window
goes up. The seat stays for as long as the session may be posted with: its citizen is a member meanwhile.
A later post may carry the same join or one signed anew, by the same device for the same citizen. A post
with another gateway's session is passed on to it (`siblings`).

Nothing is decided here of what may be said, or by whom: sanctuary and ingest check their own records.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from services.gateway.core.effects import Answer, Respond
from services.gateway.core.seats import Seats, Wanted
from services.gateway.core.session import UNIT_BYTES, Bucket
from services.gateway.core.siblings import Siblings
from services.gateway.core.uplink import Uplink
from services.gateway.core.wheel_timer import WheelTimer
from shared import subjects
from shared.codec import Refused, decode, encode, sha256
from shared.contracts import client
from shared.contracts.records import JoinRequest, RecordKind, Signed
from shared.contracts.refusals import MEANING, Refusal
from shared.contracts.sanctuary import SeatAnswered
from shared.contracts.window import (
    POST_BYTES_MAX,
    SEAT_S,
    ChallengeAsk,
    ChallengeTold,
    PostedWindow,
    TakeWindow,
    ToSpeak,
    WindowTaken,
)
from shared.identifiers import MonotonicNs, SanctuaryId, SessionId, WallMs, slot_of
from shared.identity import verify_record
from shared.subjects import INGEST, Ask

VERSION = 1
SECOND_NS = 1_000_000_000
ANSWER_NS_MAX = 3_000_000_000
"""A post or a question that nobody has answered by then is told `not ready`."""
REPEAT_EVERY_NS = 250_000_000
TOLD_FOR_NS = 1_000_000_000
"""How long a challenge that ingest told answers for: it changes only with ingest's process."""
TOLD_MAX = 256
WAITING_MAX = 1024
"""Posts and questions under way; more are told `not ready`."""
WAITING_PER_SESSION_MAX = 4
SEATS_PER_S, SEATS_BURST = 200, 1000
"""New seats of posts, all together: sanctuary verifies a signature for each."""
_SECRET_BYTES = 32
_MAC_BYTES = 8
_WIDTH_NS = 50_000_000
_QUESTION = b"?"
"""Ahead of a sanctuary among the wheel's keys; sessions stand for themselves."""


class _Post:
    """One post under way. `raw` goes up once ingest knows the seat."""

    __slots__ = ("number", "raw", "until_ns")

    def __init__(self, number: int, raw: msgspec.Raw, until_ns: int) -> None:
        self.number = number
        self.raw = raw
        self.until_ns = until_ns


class _Poster:
    """A session that was posted with."""

    __slots__ = ("bucket", "citizen", "device", "is_known", "posts", "sanctuary", "until_ns")

    def __init__(self, join: JoinRequest, until_ns: int, bucket: Bucket) -> None:
        self.sanctuary = join.sanctuary
        self.citizen = join.citizen
        self.device = join.device
        self.until_ns = until_ns
        self.bucket = bucket
        self.is_known = False
        """Whether ingest has greeted the seat: what goes up now is taken."""
        self.posts: dict[int, _Post] = {}
        """By ref."""

    def is_of(self, join: JoinRequest) -> bool:
        """Whether it may be the same device that posts, there and for the same citizen."""
        mine = (self.sanctuary, self.citizen, self.device)
        return (join.sanctuary, join.citizen, join.device) == mine


class _Question:
    __slots__ = ("numbers", "until_ns")

    def __init__(self, number: int, until_ns: int) -> None:
        self.numbers = [number]
        self.until_ns = until_ns


class Posts:
    """Everything posted and asked, under way. What goes out is returned, or added to the uplink."""

    def __init__(
        self,
        gateway: str,
        *,
        uplink: Uplink,
        seats: Seats,
        siblings: Siblings,
        random_bytes: Callable[[int], bytes],
        units_per_s: int,
        units_burst: int,
        posters_max: int,
    ) -> None:
        self._gateway = gateway
        self._uplink = uplink
        self._seats = seats
        self._siblings = siblings
        self._random_bytes = random_bytes
        self._units = (units_per_s, units_burst)
        self._posters_max = posters_max
        self._secret = random_bytes(_SECRET_BYTES)
        self._posters: dict[SessionId, _Poster] = {}
        self._questions: dict[bytes, _Question] = {}
        self._told: dict[bytes, tuple[int, ChallengeTold]] = {}
        self._wheel: WheelTimer[bytes] = WheelTimer(_WIDTH_NS)
        self._new_seats = Bucket(SEATS_PER_S, SEATS_BURST, MonotonicNs(0))
        self._ref = 0
        self._waiting = 0
        self.taken = 0
        """Windows that ingest has taken."""

    def __len__(self) -> int:
        """Sessions with a seat, or on their way to one."""
        return len(self._posters)

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────

    def new_session(self, now_ns: MonotonicNs) -> SessionId:
        """4 bytes of this process's seconds, 4 random ones, 8 of a MAC over both."""
        head = (now_ns // SECOND_NS).to_bytes(4, "big") + self._random_bytes(4)
        return SessionId(head + self._mac(head))

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._secret, head, hashlib.sha256)[:_MAC_BYTES]

    def _until_ns(self, session: bytes) -> int:
        """Until when the session may be posted with; 0 if it is none of ours."""
        if not hmac.compare_digest(self._mac(session[:8]), session[8:]):
            return 0
        return (int.from_bytes(session[:4], "big") + SEAT_S) * SECOND_NS

    def has(self, session: SessionId) -> bool:
        return session in self._posters

    def sanctuary_of(self, session: SessionId) -> bytes:
        return self._posters[session].sanctuary

    # ── what is asked ────────────────────────────────────────────────────────────────────────────

    def to_speak(
        self, number: int, sanctuary: SanctuaryId, city: bytes, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Ask | Respond]:
        """The answer, or the question to ingest."""
        told = self._told.get(sanctuary)
        if told is not None and now_ns - told[0] < TOLD_FOR_NS:
            return [self._tell(number, told[1], city, now_ns, now_ms)]
        if self._waiting >= WAITING_MAX:
            return [refused(number, Refusal.NOT_READY, now_ms)]
        self._waiting += 1
        question = self._questions.get(sanctuary)
        if question is not None:
            question.numbers.append(number)
            return []
        self._questions[sanctuary] = _Question(number, now_ns + ANSWER_NS_MAX)
        return [self._ask(sanctuary, now_ns)]

    def _ask(self, sanctuary: bytes, now_ns: MonotonicNs) -> Ask:
        self._wheel.arm(_QUESTION + sanctuary, now_ns + REPEAT_EVERY_NS)
        subject = subjects.ask(INGEST, slot_of(sanctuary))
        return Ask(subject, ChallengeAsk(self._gateway, sanctuary), ChallengeTold)

    def told(
        self, event: ChallengeTold, city: bytes, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Respond]:
        self._told.pop(event.sanctuary, None)
        if len(self._told) >= TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[event.sanctuary] = (now_ns, event)
        numbers = self._end_question(event.sanctuary)
        return [self._tell(number, event, city, now_ns, now_ms) for number in numbers]

    def _end_question(self, sanctuary: bytes) -> list[int]:
        question = self._questions.pop(sanctuary, None)
        if question is None:
            return []
        self._wheel.disarm(_QUESTION + sanctuary)
        self._waiting -= len(question.numbers)
        return question.numbers

    def _tell(
        self, number: int, told: ChallengeTold, city: bytes, now_ns: MonotonicNs, now_ms: WallMs
    ) -> Respond:
        facts = ToSpeak(
            VERSION,
            self.new_session(now_ns),
            SEAT_S,
            now_ms,
            city,
            self._gateway,
            told.sanctuary,
            told.challenge,
            told.policy,
            None if told.policy is None else sha256(told.policy),
        )
        return Respond(number, facts)

    # ── what is posted ───────────────────────────────────────────────────────────────────────────

    def post(
        self,
        number: int,
        body: bytes,
        city: bytes,
        now_ns: MonotonicNs,
        now_ms: WallMs,
        *,
        is_passed_on: bool,
    ) -> tuple[list[Ask | Respond], tuple[SessionId, Wanted] | None]:
        """(answers, or the question to the gateway whose session it is; a join to ask sanctuary for)"""
        try:
            window, join = _read(body)
            if not is_passed_on and self._siblings.has(join.gateway, now_ns):
                return [self._siblings.pass_on(number, join.gateway, body, now_ns)], None
            return [], self._take(number, window, join, now_ns, city=city, body_bytes=len(body))
        except Refused as refusal:
            return [refused(number, refusal.reason, now_ms)], None

    def _take(
        self,
        number: int,
        window: PostedWindow,
        join: JoinRequest,
        now_ns: MonotonicNs,
        *,
        city: bytes,
        body_bytes: int,
    ) -> tuple[SessionId, Wanted] | None:
        """Raises: Refused."""
        session = SessionId(join.session)
        poster = self._poster_of(session, join, window.join, city, now_ns)
        if len(poster.posts) >= WAITING_PER_SESSION_MAX:
            raise Refused(Refusal.TOO_FAST)
        if not poster.bucket.take(1 + body_bytes // UNIT_BYTES, now_ns):
            raise Refused(Refusal.TOO_FAST)
        self._posters[session] = poster
        self._ref = (self._ref + 1) % 2**32
        take = TakeWindow(
            self._ref, join.sanctuary, window.epoch, window.opening, window.bodies, window.seal
        )
        post = _Post(number, msgspec.Raw(encode(take)), now_ns + ANSWER_NS_MAX)
        poster.posts[self._ref] = post
        self._waiting += 1
        self._wheel.arm(session, now_ns + REPEAT_EVERY_NS)
        if poster.is_known:
            self._send(session, poster, post)
        elif not self._seats.has(session, join.sanctuary):
            asked = client.Join(self._ref, join.sanctuary, window.join)
            wanted = self._seats.join(session, asked, join.device, now_ns)
            assert wanted is not None, "a session of a post has one seat"
            return session, wanted
        return None

    def _poster_of(
        self,
        session: SessionId,
        join: JoinRequest,
        record: Signed,
        city: bytes,
        now_ns: MonotonicNs,
    ) -> _Poster:
        """The session's, or a new one, which is not kept yet. Raises: Refused.

        Sanctuary verifies the join that a seat is asked for; those behind it, signed again or not, are
        for the same seat and are verified here.
        """
        until_ns = self._until_ns(session)
        poster = self._posters.get(session)
        is_others = poster is not None and not poster.is_of(join)
        if join.gateway != self._gateway or now_ns >= until_ns or is_others:
            raise Refused(Refusal.WRONG_SESSION)
        if self._waiting >= WAITING_MAX:
            raise Refused(Refusal.NOT_READY)
        if poster is not None:
            if not verify_record(join.device, RecordKind.JOIN, city, record):
                raise Refused(Refusal.BAD_SIGNATURE)
            return poster
        if len(self._posters) >= self._posters_max:
            raise Refused(Refusal.NOT_READY)
        if not self._new_seats.take(1, now_ns):
            self._new_seats.level += 1  # who is refused has cost nothing
            raise Refused(Refusal.TOO_FAST)
        per_s, burst = self._units
        return _Poster(join, until_ns, Bucket(per_s, burst, now_ns))

    def _send(self, session: SessionId, poster: _Poster, post: _Post) -> None:
        self._uplink.add(slot_of(poster.sanctuary), session, poster.device, post.raw)

    # ── what is answered ─────────────────────────────────────────────────────────────────────────

    def seat_answered(self, event: SeatAnswered, now_ms: WallMs) -> list[Respond]:
        """Sanctuary's word. A seat that was refused is none: another join may be tried."""
        session = SessionId(event.session)
        if session not in self._posters or event.seated:
            return []
        try:
            message = decode(event.message, client.Refused)
        except Refused:  # it has left, by nobody's wish
            return self._drop(session, _refusal(Refusal.NOT_READY, now_ms))
        return self._drop(session, msgspec.structs.replace(message, ref=None))

    def answer(self, session: SessionId, message: bytes, now_ms: WallMs) -> list[Respond]:
        """Ingest's word to a session of a post."""
        poster = self._posters.get(session)
        if poster is None:
            return []
        try:
            read: Any = decode(message, _ANSWER)
        except Refused:
            return []  # what only a socket is told
        match read:
            case client.Challenge():
                if not poster.is_known:
                    poster.is_known = True
                    for post in poster.posts.values():
                        self._send(session, poster, post)
            case WindowTaken():
                self.taken += 1
                return self._done(poster, read.ref, read)
            case client.Refused() if read.ref is not None and not _is_early(read.reason):
                told = msgspec.structs.replace(read, ref=None, now_ms=now_ms)
                return self._done(poster, read.ref, told)
            case _:
                pass
        return []

    def _done(self, poster: _Poster, ref: int, answer: Answer) -> list[Respond]:
        post = poster.posts.pop(ref, None)
        if post is None:
            return []
        self._waiting -= 1
        return [Respond(post.number, answer)]

    def _drop(self, session: SessionId, answer: Answer) -> list[Respond]:
        poster = self._posters.pop(session)
        self._wheel.disarm(session)
        self._waiting -= len(poster.posts)
        return [Respond(post.number, answer) for post in poster.posts.values()]

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def next_deadline(self) -> MonotonicNs | None:
        return self._wheel.next_deadline()

    def due(
        self, now_ns: MonotonicNs, now_ms: WallMs
    ) -> tuple[list[Ask | Respond], list[SessionId]]:
        """(effects, sessions whose seats have had their time)"""
        effects: list[Ask | Respond] = []
        over: list[SessionId] = []
        for key in self._wheel.due(now_ns):
            if key.startswith(_QUESTION) and len(key) > 16:
                effects += self._ask_again(key[1:], now_ns, now_ms)
                continue
            session = SessionId(key)
            poster = self._posters[session]
            if now_ns >= poster.until_ns + ANSWER_NS_MAX:
                effects += self._drop(session, _refusal(Refusal.NOT_READY, now_ms))
                over.append(session)
            else:
                effects += self._send_again(session, poster, now_ns, now_ms)
        return effects, over

    def _ask_again(
        self, sanctuary: bytes, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Ask | Respond]:
        if now_ns < self._questions[sanctuary].until_ns:
            return [self._ask(sanctuary, now_ns)]
        numbers = self._end_question(sanctuary)
        return [refused(number, Refusal.NOT_READY, now_ms) for number in numbers]

    def _send_again(
        self, session: SessionId, poster: _Poster, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Respond]:
        """What nobody has answered; ingest's greeting may be lost, so a granted seat will do."""
        answers: list[Respond] = []
        for ref, post in list(poster.posts.items()):
            if now_ns >= post.until_ns:
                answers += self._done(poster, ref, _refusal(Refusal.NOT_READY, now_ms))
            elif poster.is_known or self._seats.is_granted(session, poster.sanctuary):
                self._send(session, poster, post)
        at_ns = now_ns + REPEAT_EVERY_NS if poster.posts else poster.until_ns + ANSWER_NS_MAX
        self._wheel.arm(session, at_ns)
        return answers

    def end_all(self, now_ms: WallMs) -> list[Respond]:
        """A new incarnation: no seat holds any more, and nobody answers the old one."""
        answer = _refusal(Refusal.NOT_READY, now_ms)
        numbers = [n for each in list(self._questions) for n in self._end_question(each)]
        answers = [Respond(number, answer) for number in numbers]
        for session in list(self._posters):
            self._seats.forget_session(session)
            answers += self._drop(session, answer)
        assert self._waiting == 0
        return answers


def _read(body: bytes) -> tuple[PostedWindow, JoinRequest]:
    """Raises: Refused."""
    if len(body) > POST_BYTES_MAX:
        raise Refused(Refusal.OVERSIZE)
    window = decode(body, PostedWindow)
    return window, decode(window.join.payload, JoinRequest)


_ANSWER: Any = client.Challenge | client.Refused | WindowTaken


def _refusal(reason: Refusal, now_ms: WallMs) -> client.Refused:
    return client.Refused(None, reason.value, MEANING[reason], now_ms)


def refused(number: int, reason: Refusal, now_ms: WallMs) -> Respond:
    return Respond(number, _refusal(reason, now_ms))


def _is_early(reason: str) -> bool:
    """Ingest does not know the seat yet, or nobody: asked again until it does."""
    return reason in (Refusal.NOT_A_MEMBER, Refusal.NOT_READY)

"""A connection for an errand: do something, wait for a named condition, leave. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from shared.client.connection import Connection, ConnectionEnded
from shared.client.consent import folded, is_whole
from shared.client.events import (
    ChainKnown,
    Declined,
    Event,
    FollowsTaken,
    Seated,
    SeatRefused,
)
from shared.client.keyring import Keyring
from shared.client.session import Session
from shared.client.strand import Mood
from shared.client.viewer import Viewer
from shared.codec import Refused, decode_sample
from shared.consent import granted_tier
from shared.contracts.client import SampleShown
from shared.contracts.records import Audience, Purpose, Tier
from shared.contracts.refusals import MEANING, Refusal
from shared.contracts.registry import ConsentState
from shared.contracts.sample import Provenance
from shared.identifiers import MonotonicNs, SanctuaryId, WallMs
from shared.runtime.clock import monotonic_ns, wall_ms

ANSWER_S_MAX = 10.0
ATTEMPTS_MAX = 4
"""An errand gives up when nobody has answered this often (some 0.5 s): no city is there."""


class ErrandFailed(Exception):  # noqa: N818  (an outcome; the sentence is for a person)
    """What was to be done was not; the sentence says what to do."""


class Visit:
    """`async with Visit(...) as visit:` connects, and reconnects, until the block ends."""

    def __init__(
        self,
        keyring: Keyring,
        url: str,
        *,
        random_bytes: Callable[[int], bytes],
        viewer: Viewer | None = None,
        is_json: bool = False,
        on_events: Callable[[list[Event], MonotonicNs], None] | None = None,
        watch: SanctuaryId | None = None,
    ) -> None:
        """`watch`: see this public stage without identity; the keys are not used."""
        self.url = url
        self.viewer = viewer
        self.session = Session(keyring, random_bytes, viewer=viewer, is_anonymous=watch is not None)
        self.connection = Connection(
            self.session,
            url,
            is_json=is_json,
            on_events=self._on_events,
            on_disconnected=lambda _code: self._changed.set(),
            watch=watch,
        )
        self.refused_seats: dict[bytes, str] = {}
        self.is_chain_known = False
        self._follows_taken: dict[bytes, int] = {}
        """Sanctuary → how many people the city took the list of."""
        self._declined = ""
        self.failure: ConnectionEnded | None = None
        self.turned_away: str | None = None
        """Why there will be no citizen id in a while."""
        self._on_events_too = on_events
        self._changed = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._group.create_task(self._live())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.stop()
        # the block's own error goes on as it is; the group has only the connection to wait for
        await self._group.__aexit__(None, None, None)

    async def _live(self) -> None:
        try:
            await self.connection.run()
        except ConnectionEnded as ended:
            self.failure = ended
        self._changed.set()

    def _on_events(self, events: list[Event], now_ns: MonotonicNs) -> None:
        for event in events:
            match event:
                case Seated():
                    self.refused_seats.pop(event.sanctuary, None)
                case SeatRefused():
                    self.refused_seats[event.sanctuary] = event.reason
                case ChainKnown():
                    self.is_chain_known = True
                case FollowsTaken(sanctuary, people):
                    self._follows_taken[sanctuary] = people
                case Declined(reason=Refusal.TOO_MANY_ENROLMENTS):
                    self.turned_away = event.meaning
                case Declined():
                    self._declined = f"{event.reason} ({event.meaning})"
                case _:
                    pass
        if self._on_events_too is not None:
            self._on_events_too(events, now_ns)
        self._changed.set()

    async def until(
        self, condition: str, met: Callable[[], bool], *, within_s: float = ANSWER_S_MAX
    ) -> None:
        """Raises: ErrandFailed, naming the condition and what stands in the way."""
        try:
            async with asyncio.timeout(within_s):
                while not met():
                    if self.failure is not None:
                        raise ErrandFailed(str(self.failure))
                    if self.turned_away is not None:
                        raise ErrandFailed(self.turned_away)
                    if self.connection.attempts_failed >= ATTEMPTS_MAX:
                        raise ErrandFailed(self.trouble())
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ErrandFailed(
                f"{condition}: not within {within_s:g} s; {self.trouble()}"
            ) from None

    def trouble(self) -> str:
        """What probably stands in the way, and what to do about it."""
        if not self.connection.is_reachable:
            return f"nobody answers at {self.url}; is the city up? (synchronia up)"
        if self.refused_seats:
            reason = next(iter(self.refused_seats.values()))
            known = reason in list(Refusal)
            return f"refused: {reason}" + (f" ({MEANING[Refusal(reason)]})" if known else "")
        return "the city did not answer in time; synchronia doctor says more"

    # Errands.

    async def chain(self) -> ConsentState:
        """The citizen's consent as the registry holds it."""
        await self.until("the consent chain is known", lambda: self.is_chain_known)
        assert self.session.citizen is not None
        return folded(self.session.citizen, self.session.chain.records)

    @property
    def is_chain_whole(self) -> bool:
        """Whether `chain` was folded from its first record on."""
        chain = self.session.chain
        return is_whole(chain.counter or 0, chain.records)

    async def check_room(self, sanctuary: bytes, called: str) -> None:
        """Raises: ErrandFailed if there is no such room for this citizen: only a join can tell, and a
        room to which one is not invited is none.
        """
        try:
            await self.take_seat(sanctuary, speak=False)
        except ErrandFailed:
            if self.refused_seats.get(sanctuary) == Refusal.NO_SUCH_ROOM:
                raise ErrandFailed(f"there is no sanctuary {called!r} for you here") from None

    async def take_seat(self, sanctuary: bytes, *, speak: bool, name: str | None = None) -> None:
        """Join; with `speak` until samples can be sent."""
        self.session.join(sanctuary, speak=speak, name=name)
        self.connection.flush()

        def met() -> bool:
            reason = self.refused_seats.get(sanctuary)
            if reason is not None and reason in _FINAL:
                raise ErrandFailed(f"no seat: {reason} ({MEANING[Refusal(reason)]})")
            return self.session.can_feel(sanctuary) if speak else self.session.has_seat(sanctuary)

        await self.until("a voice in the room" if speak else "a seat in the room", met)

    async def follow(self, sanctuary: bytes, followed: tuple[bytes, ...]) -> None:
        """Follow exactly these there, until the city has the list. Needs a seat."""
        if self.session.seats[sanctuary].followed != followed:
            self._follows_taken.pop(sanctuary, None)
        self._declined = ""
        self.session.follow(sanctuary, followed)
        self.connection.flush()

        def met() -> bool:
            if self._declined:
                raise ErrandFailed(f"not followed: {self._declined}")
            return sanctuary in self._follows_taken

        await self.until("the city has whom you follow", met)

    async def grant(
        self,
        sanctuary: bytes | None,
        tier: Tier,
        *,
        audience: Audience = Audience.MEMBERS,
        until_ms: WallMs | None = None,
        purpose: Purpose = Purpose.LIVE,
    ) -> None:
        """Sign a grant and wait until it is durable."""
        ref = self.session.grant(
            sanctuary,
            tier,
            monotonic_ns(),
            wall_ms(),
            audience=audience,
            purpose=purpose,
            until_ms=until_ms,
        )
        await self.settle(ref)

    async def settle(self, ref: int) -> None:
        """Until record `ref` is recorded, and if it is a withdrawal, acted."""
        declined = self.session.declined
        self.connection.flush()
        await self.until(
            "the record is durable",
            lambda: ref not in self.session.chain.in_flight or ref in declined,
        )
        if ref in declined:
            raise ErrandFailed(f"the record was refused: {declined[ref]}")

    async def stands_at(self, sanctuary: bytes, audience: Audience) -> Tier:
        """What this citizen grants to the audience there, now."""
        return granted_tier(
            await self.chain(),
            sanctuary=sanctuary,
            audience=audience,
            purpose=Purpose.LIVE,
            now_ms=wall_ms(),
        )


_FINAL = frozenset({Refusal.NO_SUCH_ROOM, Refusal.FULL, Refusal.NOT_INVITED})


async def round_trip(
    keyring: Keyring,
    url: str,
    sanctuary: bytes,
    *,
    random_bytes: Callable[[int], bytes],
    within_s: float = ANSWER_S_MAX,
) -> float:
    """Say one `scripted` sample in a room and hear it; the milliseconds that it took.

    The citizen grants the room's members `full` if it does not yet. Raises: ErrandFailed.
    """
    heard: list[int] = []
    own: list[bytes] = []

    def listen(events: list[Event], now_ns: MonotonicNs) -> None:
        for event in events:
            if isinstance(event, SampleShown) and event.strand in own:
                try:
                    decode_sample(event.body)
                except Refused:
                    continue
                heard.append(now_ns)

    async with (
        asyncio.timeout(within_s),
        Visit(keyring, url, random_bytes=random_bytes, on_events=listen) as visit,
    ):
        if await visit.stands_at(sanctuary, Audience.MEMBERS) < Tier.FULL:
            await visit.grant(sanctuary, Tier.FULL)
        await visit.take_seat(sanctuary, speak=True)
        own += list(visit.session.writers)
        began_ns = monotonic_ns()
        mood = Mood(0, 0, provenance=Provenance.SCRIPTED)
        visit.session.feel(sanctuary, mood, began_ns, wall_ms())
        visit.connection.flush()
        await visit.until("the sample has come back", lambda: bool(heard), within_s=within_s)
        visit.session.leave(sanctuary, wall_ms())
        visit.connection.flush()
        return (heard[0] - began_ns) / 1e6

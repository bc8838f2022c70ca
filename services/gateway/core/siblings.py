"""The city's other gateways, and windows that were posted here with a session of theirs. Pure.

Gateways that share one address get each other's posts: a session's MAC, seat and rate are its own
gateway's, so the window goes there as it came, and its answer comes back here. A name is believed only
while it is heard: nothing that a client wrote becomes a subject otherwise.
"""

from __future__ import annotations

from shared import subjects
from shared.codec import Refused
from shared.contracts.refusals import Refusal
from shared.contracts.window import PostAnswered, PostAsk
from shared.identifiers import MonotonicNs
from shared.subjects import Ask

HEARD_NS_MAX = 3_000_000_000
"""A gateway that was silent for longer is none; its sessions are over."""
ANSWER_S_MAX = 3.5
"""Half a second more than a post may take where it belongs."""
UNDER_WAY_MAX = 1024


class Siblings:
    """Who is there, and what was passed on and not answered yet."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._heard_ns: dict[str, int] = {}
        self._under_way: dict[int, tuple[int, int]] = {}
        """Ref → (number of the post, until when), the oldest first."""
        self._ref = 0
        self.passed_on = 0

    def hear(self, gateway: str, now_ns: MonotonicNs) -> None:
        """A beat. The caller has checked that the subject names the same sender."""
        if gateway != self._gateway:
            self._heard_ns[gateway] = now_ns

    def has(self, gateway: str, now_ns: MonotonicNs) -> bool:
        return now_ns - self._heard_ns.get(gateway, -HEARD_NS_MAX) < HEARD_NS_MAX

    def pass_on(self, number: int, gateway: str, body: bytes, now_ns: MonotonicNs) -> Ask:
        """To a gateway that is there. Raises: Refused(not ready) when too many are under way."""
        if len(self._under_way) >= UNDER_WAY_MAX:
            raise Refused(Refusal.NOT_READY)
        self._ref = (self._ref + 1) % 2**32
        self._under_way[self._ref] = (number, now_ns + int(ANSWER_S_MAX * 1e9))
        self.passed_on += 1
        ask = PostAsk(self._gateway, self._ref, body)
        return Ask(subjects.posted(gateway), ask, PostAnswered, within_s=ANSWER_S_MAX)

    def answered(self, ask: PostAsk) -> int | None:
        """The number of the post; nil: it was given up before."""
        return self._under_way.pop(ask.ref, (None, 0))[0]

    def given_up(self, now_ns: MonotonicNs) -> list[int]:
        """Numbers of those whom nobody has answered in time."""
        late = [ref for ref, (_, until_ns) in self._under_way.items() if until_ns <= now_ns]
        return [self._under_way.pop(ref)[0] for ref in late]

    def next_deadline(self) -> MonotonicNs | None:
        first = next(iter(self._under_way.values()), None)
        return None if first is None else MonotonicNs(first[1])

"""What is to be sent: messages in order, samples gathered by strand, requests repeated until answered.

Pure. The bus is at most once, so a request is repeated, with its `ref`, until there is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.contracts.client import ClientMessage, Samples
from shared.contracts.sample import WINDOW_SAMPLES_MAX
from shared.identifiers import MonotonicNs

REQUEST_REPEAT_NS = 1_000_000_000
"""An unanswered request is repeated after 1 s; all of them are idempotent."""

About = TypeVar("About")


@dataclass(slots=True)
class Request(Generic[About]):
    """`about`: whatever of the session's it concerns."""

    message: ClientMessage
    about: About
    due_ns: MonotonicNs


class Outbox(Generic[About]):
    """Empty after each disconnect: what is still wanted is said anew on the next socket."""

    def __init__(self) -> None:
        self._ref = 0
        self._messages: list[ClientMessage] = []
        self._requests: dict[int, Request[About]] = {}
        self._bodies: list[bytes] = []
        self._of: tuple[bytes, bytes, int] | None = None
        """Sanctuary, strand and epoch of the bodies."""

    def clear(self) -> None:
        self._messages, self._bodies, self._of = [], [], None
        self._requests = {}

    def take(self) -> list[ClientMessage]:
        """Everything to be sent now, in order."""
        self._close_samples()
        out, self._messages = self._messages, []
        return out

    def say(self, message: ClientMessage) -> None:
        self._close_samples()
        self._messages.append(message)

    # samples

    def add_sample(self, sanctuary: bytes, strand: bytes, epoch: int, body: bytes) -> None:
        """Gathered with its neighbours into one message."""
        of = (sanctuary, strand, epoch)
        if self._of != of or len(self._bodies) == WINDOW_SAMPLES_MAX:
            self._close_samples()
            self._of = of
        self._bodies.append(body)

    def drop_samples(self, strand: bytes) -> None:
        """The strand is over: what was gathered of it would only be refused."""
        if self._of is not None and self._of[1] == strand:
            self._bodies = []

    def _close_samples(self) -> None:
        if self._bodies and self._of is not None:
            self._messages.append(Samples(*self._of, tuple(self._bodies)))
        self._bodies = []

    # requests

    def next_ref(self) -> int:
        self._ref = (self._ref + 1) & 0xFFFFFFFF
        return self._ref

    def request(self, ref: int, message: ClientMessage, about: About, now_ns: MonotonicNs) -> None:
        """Say it now, and every second until `answered`."""
        self._requests[ref] = Request(message, about, MonotonicNs(now_ns + REQUEST_REPEAT_NS))
        self.say(message)

    def answered(self, ref: int) -> Request[About] | None:
        return self._requests.pop(ref, None)

    def ask_again(self, ref: int, request: Request[About], at_ns: int) -> None:
        """It was refused for now."""
        request.due_ns = MonotonicNs(at_ns)
        self._requests[ref] = request

    def is_asking(self, kind: type[ClientMessage], about: About) -> bool:
        return any(
            isinstance(each.message, kind) and each.about is about
            for each in self._requests.values()
        )

    def forget(self, about: About, *kinds: type[ClientMessage]) -> None:
        """Repeat no more what concerns this: requests of these kinds, or of any."""
        self._requests = {
            ref: each
            for ref, each in self._requests.items()
            if each.about is not about or (kinds and not isinstance(each.message, kinds))
        }

    def next_deadline(self) -> MonotonicNs | None:
        if not self._requests:
            return None
        return min(each.due_ns for each in self._requests.values())

    def tick(self, now_ns: MonotonicNs) -> None:
        for request in self._requests.values():
            if now_ns >= request.due_ns:
                request.due_ns = MonotonicNs(now_ns + REQUEST_REPEAT_NS)
                self.say(request.message)

"""Many people in one room of a real city, made of `tests/support/wire.py`, in a thread of their own.

They speak until they are ended, seal what they say, and end their strands before they go, so that the
room is as empty behind them as it was before.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import threading
from collections.abc import Callable, Iterator

from shared.runtime.clock import pause
from tests.support.wire import Person, Speaking, pack, sanctuary_id

READY_S_MAX = 60.0
_MEMBERS, _LIVE = 0, 0
_AT_ONCE = 8
"""Who comes in at the same time: more would only wait for the two cores."""
Feel = Callable[[int, int], tuple[int, int]]
"""Of a person's number and how often it spoke: valence and arousal in thousandths."""


def around(person: int, beat: int) -> tuple[int, int]:
    """Everybody on a circle of one's own: all of them move, all of the time."""
    angle = beat / 7 + person * 2.4
    middle = 600 * math.cos(person), 600 * math.sin(person)
    return round(middle[0] + 350 * math.cos(angle)), round(middle[1] + 350 * math.sin(angle))


class Crowd:
    """`count` people who grant the room `tier`. `per_s`: samples a second of each; 0: an open strand and
    not a word.
    """

    def __init__(
        self, url: str, count: int, *, name: str, tier: int, per_s: float, feel: Feel
    ) -> None:
        """`url`: ws://…/v1/live."""
        self._url, self._count, self._name = url, count, name
        self._tier, self._per_s, self._feel = tier, per_s, feel
        self._room = sanctuary_id("emotive-commons")
        self._ready, self._is_over = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._live, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(READY_S_MAX), "the crowd has not come"
        self._raise()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(READY_S_MAX)
        assert not self._thread.is_alive(), "the crowd has not gone"
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _live(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  (raised again in the test's thread)
            self._error = error
        self._ready.set()

    async def _main(self) -> None:
        doors = asyncio.Semaphore(_AT_ONCE)
        async with contextlib.AsyncExitStack() as stack:

            async def come(number: int) -> Speaking:
                async with doors:
                    person = Person(f"{self._name} {number} {secrets.token_hex(8)}")
                    wire = await person.welcome(self._url)
                    stack.push_async_callback(wire.close)
                    grant = person.consent("grant/1", self._room, _MEMBERS, self._tier, _LIVE, None)
                    await person.record(wire, grant)
                    place = await person.seat(wire, self._room)
                    name = f"{self._name} {number}"
                    return await Speaking.open(person, wire, place, name=name)

            speakers = await asyncio.gather(*(come(number) for number in range(self._count)))
            over = [asyncio.Event() for _ in speakers]
            async with asyncio.TaskGroup() as group:
                for speaking, each in zip(speakers, over, strict=True):
                    group.create_task(self._hear(speaking, each))
                self._ready.set()
                await self._speak(speakers)

    async def _speak(self, speakers: list[Speaking]) -> None:
        """All say, then all wait: one after the other, each word would be a frame of its own to
        everybody. They seal once a second, and end with a closing seal.
        """
        beat, per_window = 0, max(1, round(self._per_s))
        while not self._is_over.is_set():
            if self._per_s:
                beat += 1
                for number, speaking in enumerate(speakers):
                    valence, arousal = self._feel(number, beat)
                    await speaking.say(
                        speaking.body(valence=valence, arousal=arousal, provenance=0)
                    )
                    if beat % per_window == 0:
                        await speaking.close_window(is_awaited=False)
            await pause(1 / self._per_s if self._per_s else 0.05)
        for speaking in speakers:
            final = pack(speaking.seal(flags=1, total=speaking.seq))
            await speaking.wire.send(speaking.sealed_message(final))

    @staticmethod
    async def _hear(speaking: Speaking, over: asyncio.Event) -> None:
        """Reads, so that nobody is closed as too slow, and understands only the last word, that the
        closing seal was taken: taking apart what everybody gets would leave the browser no time.
        """
        while not over.is_set():
            frame = await speaking.wire.socket.recv(decode=False)
            if pack(["sealed", speaking.strand, speaking.window])[1:] in frame:
                over.set()  # of this window no other seal is sent


@contextlib.contextmanager
def crowd(
    url: str,
    count: int,
    *,
    name: str = "Guest",
    tier: int = 3,
    per_s: float = 5.0,
    feel: Feel = around,
) -> Iterator[Crowd]:
    """Everybody is there and speaks when the block begins, and gone when it has ended."""
    people = Crowd(url, count, name=name, tier=tier, per_s=per_s, feel=feel)
    people.start()
    try:
        yield people
    finally:
        people.end()

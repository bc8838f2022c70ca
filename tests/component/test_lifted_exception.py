"""What is said while somebody is excepted, in a whole city, read by a client made from the protocol."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import pytest

from tests.support.city import RunningCity
from tests.support.wire import Message, Person, Speaking, Wire, sanctuary_id

COMMONS = sanctuary_id("emotive-commons")
MEMBERS, LIVE = 0, 0
WITHHELD, FULL = 0, 3


class Eyes:
    """A session that sees, and keeps all that it was sent."""

    def __init__(self, wire: Wire, citizen: bytes) -> None:
        self.wire = wire
        self.citizen = citizen
        """Whose strand is looked at; others speak here too."""
        self.all: list[Message] = []

    async def see(self, wanted: Callable[[Message], bool]) -> Message:
        """The next message like this."""
        while True:
            message = await self.wire.receive()
            self.all.append(message)
            if wanted(message):
                return message

    async def see_note(self, note: str) -> Message:
        return await self.see(lambda m: m[0] == "sample" and note_of(m[2]) == note)

    async def see_strand(self) -> Message:
        return await self.see(lambda m: m[0] == "strand" and m[3] == self.citizen)

    def notes(self) -> list[str | None]:
        """Everything that was ever said to this session, in strands too."""
        bodies = [m[2] for m in self.all if m[0] == "sample"]
        bodies += [m[6] for m in self.all if m[0] == "strand" and m[6] is not None]
        return [note_of(body) for body in bodies]


def note_of(body: bytes) -> str | None:
    note = msgpack.unpackb(body)[8]
    assert note is None or isinstance(note, str)
    return note


@pytest.mark.timeout(180)
async def test_who_was_excepted_never_learns_what_was_said_meanwhile(
    shared_city: RunningCity,
) -> None:
    url = shared_city.websocket_url
    ada, ben, cleo = Person("lift ada"), Person("lift ben"), Person("lift cleo")
    hers = await ada.welcome(url)
    place = await ada.seat(hers, COMMONS)
    await ada.record(hers, ada.consent("grant/1", COMMONS, MEMBERS, FULL, LIVE, None))

    async def eyes_of(person: Person) -> Eyes:
        wire = await person.welcome(url)
        await person.seat(wire, COMMONS)
        wire.look_back()  # the snapshot may have come before the seat was complete
        return Eyes(wire, ada.citizen)

    bens, cleos = await eyes_of(ben), await eyes_of(cleo)
    speaking = await Speaking.open(ada, hers, place)

    async def say(note: str) -> None:
        await speaking.say(speaking.body(note=note))

    await say("for all")
    await bens.see_note("for all")
    await ada.record(hers, ada.consent("exception/1", COMMONS, ben.citizen, WITHHELD, None))
    await bens.see(lambda m: m[0] == "struck" and m[2] == ada.citizen)
    await say("not for ben 1")
    await speaking.close_window()
    await say("not for ben 2")
    await cleos.see_note("not for ben 2")

    await ada.record(hers, ada.consent("exception/1", COMMONS, ben.citizen, FULL, None))
    shown = await bens.see_strand()
    assert shown[5:8] == [3, None, None], "next number, sample, seal"
    again = await eyes_of(ben)
    assert (await again.see_strand())[5:8] == [3, None, None]

    await say("for all again")
    await speaking.close_window()
    for eyes in (bens, again, cleos):
        await eyes.see_note("for all again")
        sealed = await eyes.see(lambda m: m[0] == "sealed window" and m[1] == speaking.strand)
        first_seq, hashes = (msgpack.unpackb(sealed[2][0])[each] for each in (3, 6))
        assert (first_seq, len(hashes)) == (2, 2), "one of its samples was not for ben"
    fresh = await eyes_of(ben)
    assert note_of((await fresh.see_strand())[6]) == "for all again"
    for eyes in (bens, again, fresh):
        assert not {"not for ben 1", "not for ben 2"} & set(eyes.notes())
    assert {"not for ben 1", "not for ben 2"} <= set(cleos.notes())
    for wire in (hers, bens.wire, again.wire, fresh.wire, cleos.wire):
        await wire.close()

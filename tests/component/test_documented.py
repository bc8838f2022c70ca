"""Real traffic of both directions fits docs/asyncapi.yaml: a person on a socket, a stranger with HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import re

import pytest

from tests.support.city import RunningCity
from tests.support.documented import Document, DocumentedWire
from tests.support.event_stream import asking
from tests.support.wire import Person, Speaking, now_ms, pack, sanctuary_id

COMMONS, STAGE = sanctuary_id("emotive-commons"), sanctuary_id("open-stage")
MEMBERS, FULL, LIVE = 0, 3, 0
SAID = {"token", "enrol", "join", "leave", "open", "samples", "seal", "record", "chain?", "time?"}
TOLD = {
    *("hello", "welcome", "enrolled", "joined", "left", "challenge", "opened", "sealed", "refused"),
    *("refused samples", "acted", "recorded", "chain", "time", "snapshot", "strand", "sample"),
    *("sealed window", "coarse", "ended", "struck"),
}


@pytest.mark.timeout(120)
async def test_a_visit_is_as_documented(shared_city: RunningCity) -> None:
    wire = await DocumentedWire.dial(shared_city.websocket_url, Document.read())
    try:
        async with asyncio.timeout(30):
            await visit(wire)
    finally:
        await wire.close()
    assert SAID - set(wire.said) == set()
    assert TOLD - set(wire.told) == set()


async def visit(wire: DocumentedWire) -> None:
    """All that a person does, once."""
    person = Person("documented")
    await wire.send(["token", person.token(wire)], ["time?", now_ms()])
    await wire.wait_for("time")
    await wire.send(
        ["enrol", 1, person.sign(wire, "inception", person.inception(), person.identity)]
    )
    person.citizen = (await wire.wait_for("enrolled"))[2]
    await person.record(wire, person.consent("grant/1", None, MEMBERS, FULL, LIVE, None))
    place = await person.seat(wire, COMMONS)
    voice = await Speaking.open(person, wire, place)
    await voice.say(voice.body(), voice.body(seq=1))
    await voice.close_window()
    for name in ("sample", "sealed window", "coarse"):
        if name not in wire.told:
            await wire.wait_for(name)
    await wire.send(["samples", COMMONS, voice.strand, 1, [voice.body(seq=0)]])
    await wire.wait_for("refused samples")
    await wire.send(voice.sealed_message(pack(voice.seal(flags=1, total=voice.seq))))
    while "ended" not in wire.told:
        await wire.receive()
    nowhere = bytes(16)
    await wire.send(["join", 7, nowhere, person.sign(wire, "join", person.join(wire, nowhere)), []])
    await wire.wait_for("refused")
    already = len(wire.told)
    withdrawal = pack(person.consent("withdrawal/1", None, None, None))
    await wire.send(["record", 9, person.sign(wire, "consent", withdrawal, person.device)])
    while not {"acted", "recorded", "struck"} <= set(wire.told[already:]):
        await wire.receive()
    await wire.send(["chain?", 10, person.citizen])
    chain = await wire.wait_for("chain")
    assert chain[4] == hashlib.sha256(withdrawal).digest()
    assert [record[0] for record in chain[5]][-1] == withdrawal
    await wire.send(["leave", 11, COMMONS])
    await wire.wait_for("left")


@pytest.mark.timeout(120)
async def test_a_watched_stage_is_as_documented(shared_city: RunningCity) -> None:
    document = Document.read()
    host, port = re.fullmatch(r"http://(.+):(\d+)", shared_city.url).groups()  # type: ignore[union-attr]
    seen: dict[str, int] = {}
    async with (
        asyncio.timeout(20),
        asking((host, int(port)), "/v1/watch/open-stage") as watcher,
    ):
        await watcher.reader.readuntil(b"\r\n\r\n")
        while seen.get("sealed window", 0) < 2:
            event = await watcher.next()
            assert event.name == event.fields["type"]
            document.check("watch", event.fields)
            seen[event.name] = seen.get(event.name, 0) + 1
    assert {"hello", "snapshot", "strand", "sample", "sealed window"} <= set(seen)

"""Bad windows posted by devices without sockets: each gets its status and name, nothing of it is taken,
and nobody else feels it.
"""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from tests.component.bad_input import posts, records, speech
from tests.component.bad_input.posts import POST_REQUESTS, POSTS, STATUS, with_field
from tests.component.bad_input.records import FORGERIES, SHAPES
from tests.support.bare_http import answer_to, echoes_nothing
from tests.support.bystanders import Bystanders, rows
from tests.support.city import RunningCity
from tests.support.posting import Device
from tests.support.wire import Person, pack

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
KINDS = ("join", "opening", "seal")
FIELDS = (
    *("seq", "t_ms", "valence", "arousal", "dominance"),
    *("confidence", "provenance", "labels", "note", "salt"),
)
SKEWED = {"an hour ahead", "an hour ago"}
"""Seals of another time: whoever posts is told so, since a window may be posted long after its end."""


class Strand:
    """A device's strand as the rows of `speech` see it: its next number, a body of it, its seal."""

    def __init__(self, device: Device, seq: int) -> None:
        self.device = device
        self.seq = seq

    def body(self, **changes: Any) -> bytes:
        fields = dict(zip(FIELDS, msgpack.unpackb(self.device.body(self.seq)), strict=True))
        return pack(list((fields | changes).values()))

    def seal(self) -> list[Any]:
        hashes = [bytes(16)]
        return ["seal/1", self.device.strand, 0, 0, 0, 0, hashes, bytes(32), None]


async def device_of(city: RunningCity, name: str) -> Device:
    """Of somebody who has enrolled by socket, and has asked what to sign."""
    person = Person(name)
    wire = await person.welcome(city.websocket_url)
    await wire.close()
    device = Device(person, city.url)
    await device.ask("emotive-commons")
    device.open()
    return device


async def is_refused(device: Device, message: object, reason: str) -> None:
    """With the status that goes with the name, and nothing of what was sent."""
    reply = await device.post(message)
    assert reply.refused == (STATUS.get(reason, 400), reason), reply.fields
    of_request = {"refused"} if reply.status == 413 else {"refused", "meaning", "now_ms"}
    assert set(reply.fields) == of_request


async def is_taken(device: Device, window: list[Any], count: int) -> None:
    """As new: nothing of it was taken before. It closes its strand."""
    reply = await device.post(window)
    assert reply.fields["admitted"] == list(range(count)), reply.fields


@pytest.mark.parametrize("row", **rows(POSTS))
async def test_a_bad_body_is_refused_by_name(
    quiet_city: RunningCity, bystanders: Bystanders, row: Any
) -> None:
    name, make, reason = row
    device = await device_of(quiet_city, f"post {name}")
    good = device.window(2, closing=True)
    await is_refused(device, make(good), reason)
    await is_taken(device, good, 2)
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(speech.SEALS))
async def test_a_bad_seal_refuses_its_window_whole(
    quiet_city: RunningCity, bystanders: Bystanders, row: Any
) -> None:
    name, make, reason = row
    device = await device_of(quiet_city, f"posted seal {name}")
    good = device.window(1, closing=True)
    device.seq = device.number = 0
    device.previous = bytes(32)
    bad = device.window_of(good[4], closing=False, **make(Strand(device, 0)))
    await is_refused(device, bad, "skew" if name in SKEWED else reason)
    await is_taken(device, good, 1)
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(records.OPENINGS))
async def test_a_bad_opening_refuses_its_window_whole(
    quiet_city: RunningCity, bystanders: Bystanders, row: Any
) -> None:
    name, make, reason = row
    device = await device_of(quiet_city, f"posted opening {name}")
    device.open(**make(device.person, device.told.place))
    await is_refused(device, device.window(1, closing=True), reason)
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(speech.BODIES))
async def test_a_bad_sample_is_refused_alone(
    quiet_city: RunningCity, bystanders: Bystanders, row: Any
) -> None:
    """Between two good ones, which are taken; unless its number cannot be read."""
    name, make, reason = row
    device = await device_of(quiet_city, f"posted sample {name}")
    bodies = [device.body(0), make(Strand(device, 1)), device.body(2)]
    window = device.window_of(bodies, closing=True)
    if name in speech.UNNUMBERED:
        await is_refused(device, window, "bad seal")
        return
    reply = await device.post(window)
    assert reply.status == 200, reply.fields
    assert reply.fields["admitted"] == [0, 2]
    assert reply.fields["refused"] == [{"first": 1, "last": 1, "reason": reason}]
    await bystanders.check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", **rows(SHAPES))
async def test_a_record_of_another_shape_refuses_its_window_whole(
    quiet_city: RunningCity, bystanders: Bystanders, row: Any, kind: str
) -> None:
    name, shape, reason = row
    device = await device_of(quiet_city, f"posted shape {name} {kind}")
    good = device.window(1, closing=True)
    fields = msgpack.unpackb(good[posts.AT[kind]][0])
    record = device.sign(kind, shape(fields), device.key if kind == "seal" else None)
    await is_refused(device, with_field(good, kind, record), reason)
    await is_taken(device, good, 1)
    await bystanders.check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", **rows(FORGERIES))
async def test_a_signature_that_does_not_verify_refuses_its_window_whole(
    quiet_city: RunningCity, bystanders: Bystanders, row: Any, kind: str
) -> None:
    name, forge = row
    device = await device_of(quiet_city, f"posted forgery {name} {kind}")
    good = device.window(1, closing=True)
    payload = good[posts.AT[kind]][0]
    key = device.key if kind == "seal" else device.person.device
    record = [payload, forge(key, kind, device.told.city, payload)]
    reason = "bad seal" if kind == "seal" else "bad signature"
    await is_refused(device, with_field(good, kind, record), reason)
    await is_taken(device, good, 1)
    await bystanders.check()


async def test_what_belongs_to_somebody_else_is_refused(
    quiet_city: RunningCity, bystanders: Bystanders
) -> None:
    theirs, mine = await device_of(quiet_city, "lamp"), await device_of(quiet_city, "thief")
    window = theirs.window(1, closing=True)
    stolen = with_field(window, "join", mine.join)
    await is_refused(mine, stolen, "wrong session")
    mine.open()
    swapped = with_field(mine.window(1, closing=True), "seal", window[5])
    await is_refused(mine, swapped, "bad seal")
    await is_taken(theirs, window, 1)
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(POST_REQUESTS))
async def test_a_bad_request_is_refused_by_name(url: str, bystanders: Bystanders, row: Any) -> None:
    _, raw, status, name = row
    code, answer = await answer_to(url, raw)
    assert code == status, answer[:400]
    body = answer.partition(b"\r\n\r\n")[2]
    assert (json.loads(body)["refused"] if body else "") == name
    echoes_nothing(answer)
    await bystanders.check()

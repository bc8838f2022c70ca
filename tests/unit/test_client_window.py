"""A window as `synchronia sign` makes it: read from what the city tells, taken by ingest as it is."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.signatures import told
from shared.client.keyring import Keyring
from shared.client.strand import Mood
from shared.client.window import FactsUnreadable, facts_of, window_of
from shared.codec import decode, sha256
from shared.contracts import (
    JoinRequest,
    PostedWindow,
    RecordKind,
    StrandClosed,
    TakeWindow,
    ToSpeak,
    WindowTaken,
)
from shared.identifiers import CitizenId, WallMs
from shared.identity import verify_record
from tests.support.ingest_city import CHALLENGE, CITY, ROOM, IngestCity, Speaker


def random_bytes() -> Any:
    drawn = iter(range(1000))
    return lambda count: hashlib.sha512(next(drawn).to_bytes(4, "big")).digest()[:count]


def facts(policy: bytes | None) -> ToSpeak:
    policy_hash = None if policy is None else sha256(policy)
    return ToSpeak(1, b"S" * 16, 60, 5, CITY, "gateway-0", ROOM, CHALLENGE, policy, policy_hash)


@pytest.mark.parametrize("policy", [b"rules", None])
def test_what_the_gateway_tells_is_read_back(policy: bytes | None) -> None:
    body = told(facts(policy), {}).body
    assert isinstance(body, bytes)
    assert facts_of(body) == facts(policy)


@given(st.binary(max_size=200))
def test_anything_else_is_unreadable(content: bytes) -> None:
    with pytest.raises(FactsUnreadable):
        facts_of(content)


@pytest.mark.parametrize(
    "changes",
    [{"session": "AA"}, {"city": 7}, {"challenge": None}, {"policy": "!"}, {"gateway": 1}],
)
def test_facts_out_of_shape_are_unreadable(changes: dict[str, Any]) -> None:
    body = told(facts(b"rules"), {}).body
    assert isinstance(body, bytes)
    fields = msgspec.json.decode(body)
    for content in (fields | changes, {k: v for k, v in fields.items() if k not in changes}):
        with pytest.raises(FactsUnreadable):
            facts_of(msgspec.json.encode(content))


def test_ingest_takes_it_whole() -> None:
    keyring = Keyring.new(random_bytes(), WallMs(1))
    speaker = Speaker(1)
    speaker.device = keyring.device
    city = IngestCity(speakers=[speaker])
    moods = [Mood(10 * number, -200) for number in range(32)]
    body = window_of(
        facts(city.policy_bytes),
        moods,
        keyring=keyring,
        citizen=CitizenId(speaker.citizen),
        policy_hash=sha256(city.policy_bytes),
        name="lamp",
        now_ms=city.ms,
        random_bytes=random_bytes(),
    )
    window = decode(body, PostedWindow)
    join = decode(window.join.payload, JoinRequest)
    assert (join.session, join.gateway, join.device) == (
        b"S" * 16,
        "gateway-0",
        keyring.device.public_key,
    )
    assert verify_record(keyring.device.public_key, RecordKind.JOIN, CITY, window.join)
    take = TakeWindow(1, ROOM, window.epoch, window.opening, window.bodies, window.seal)
    city.up(speaker, take)
    [taken] = city.answers(speaker)
    assert isinstance(taken, WindowTaken)
    assert taken.admitted == tuple(range(len(moods)))
    [end] = city.ends(taken.strand)
    assert end == StrandClosed(end.row, "closed", len(moods), None)

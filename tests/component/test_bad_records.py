"""Bad records and samples: each is refused by name, its session goes on, and nobody else feels it."""

from __future__ import annotations

from typing import Any

import nacl.signing
import pytest

from tests.component.bad_input import records, speech
from tests.component.bad_input.follows import follow
from tests.component.bad_input.frames import HERE, STAGE
from tests.component.bad_input.records import FORGERIES, KINDS, SHAPES
from tests.support.bystanders import Bystanders, refusal, rows
from tests.support.wire import Person, Speaking, Wire, pack

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

ANSWERS = {
    "inception": "enrolled",
    "join": "joined",
    "opening": "opened",
    "seal": "sealed",
    "consent": "recorded",
    "follow": "following",
}
"""What each kind of record would be answered with if it were taken."""
ROLES = {
    "inception": "identity",
    "join": "device",
    "opening": "device",
    "seal": "strand_key",
    "consent": "identity",
    "follow": "device",
}
"""Which key of a person signs each."""


@pytest.mark.parametrize("row", **rows(records.INCEPTIONS))
async def test_a_bad_inception_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, reason = row
    person = Person(f"inception {name}")
    wire = await Wire.connect(url)
    await wire.send(["token", person.token(wire)])
    await wire.wait_for("welcome")
    await wire.send(["enrol", 9, person.sign(wire, "inception", make(person), person.identity)])
    assert await refusal(wire, "enrolled") == reason
    await wire.close()
    await bystanders.check()


async def test_an_identity_cannot_change_its_devices_by_enrolling_again(
    url: str, bystanders: Bystanders
) -> None:
    person = Person("twice")
    wire = await person.welcome(url)
    other = bytes(nacl.signing.SigningKey(bytes(range(32))).verify_key)
    again = records.changed(person.inception(), 3, [other])
    await wire.send(["enrol", 9, person.sign(wire, "inception", again, person.identity)])
    assert await refusal(wire, "enrolled") == "stale"
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(records.JOINS))
async def test_a_bad_join_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make, reason = row
    person = Person("joins")
    wire = await person.welcome(url)
    record = person.sign(wire, "join", make(person, wire))
    await wire.send(["join", 9, HERE, record, []])
    assert await refusal(wire, "joined") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(records.OPENINGS))
async def test_a_bad_opening_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make, reason = row
    person = Person("openings")
    wire = await person.welcome(url)
    place = await person.seat(wire, HERE)
    payload = person.opening(place, **make(person, place))
    await wire.send(["open", 9, HERE, person.sign(wire, "opening", payload)])
    assert await refusal(wire, "opened") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(speech.BODIES))
async def test_a_bad_body_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, reason = row
    person = Person(f"body {name}")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    await speaking.say(make(speaking))
    assert await refusal(wire, "refused samples") == reason
    await speaking.end()
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(speech.SEALS))
async def test_a_bad_seal_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, reason = row
    person = Person(f"seal {name}")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    await speaking.say()
    await wire.send(speaking.sealed_message(speaking.seal(**make(speaking))))
    assert await refusal(wire, "sealed") == reason
    await speaking.end()  # the window stays due, and a good seal is taken
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(records.CONSENTS))
async def test_a_bad_consent_record_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, who, reason = row
    person = Person(f"consent {name}")
    wire = await person.welcome(url)
    record = person.sign(wire, "consent", make(person), records.signer_of(person, who))
    await wire.send(["record", 9, record])
    assert await refusal(wire, "recorded") == reason
    await wire.close()
    await bystanders.check()


# ── any record ───────────────────────────────────────────────────────────────────────────────────


class Speaker:
    """Somebody in the room with an open window, and so a good record of each kind at hand."""

    def __init__(self, person: Person, wire: Wire, speaking: Speaking) -> None:
        self.person = person
        self.wire = wire
        self.speaking = speaking

    @classmethod
    async def arrive(cls, url: str, name: str) -> Speaker:
        person = Person(name)
        wire = await person.welcome(url)
        speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
        await speaking.say()
        return cls(person, wire, speaking)

    def fields(self, kind: str) -> list[Any]:
        """Of a record that would be taken."""
        match kind:
            case "inception":
                return self.person.inception()
            case "join":
                return self.person.join(self.wire, HERE)
            case "opening":
                return self.person.opening(self.speaking.place)
            case "seal":
                return self.speaking.seal()
            case "follow":
                return follow(self.person, self.wire)
            case _:
                return self.person.consent("grant/1", HERE, 0, 3, 0, None)

    def key(self, kind: str) -> nacl.signing.SigningKey:
        key: nacl.signing.SigningKey = getattr(self.person, ROLES[kind])
        return key

    async def send(self, kind: str, record: list[bytes]) -> None:
        strand = self.speaking.strand
        messages = {
            "inception": ["enrol", 9, record],
            "join": ["join", 9, HERE, record, []],
            "opening": ["open", 9, HERE, record],
            "seal": ["seal", HERE, strand, record],
            "consent": ["record", 9, record],
            "follow": ["follow", 9, HERE, record],
        }
        await self.wire.send(messages[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", **rows(SHAPES))
async def test_a_record_of_another_shape_is_refused(
    url: str, bystanders: Bystanders, row: Any, kind: str
) -> None:
    _, shape, reason = row
    speaker = await Speaker.arrive(url, f"shape {row[0]} {kind}")
    payload = shape(speaker.fields(kind))
    record = speaker.person.sign(speaker.wire, kind, payload, speaker.key(kind))
    await speaker.send(kind, record)
    assert await refusal(speaker.wire, ANSWERS[kind]) == reason
    await speaker.speaking.end()
    await speaker.wire.close()
    await bystanders.check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", **rows(FORGERIES))
async def test_a_signature_that_does_not_verify_is_refused(
    url: str, bystanders: Bystanders, row: Any, kind: str
) -> None:
    _, forge = row
    speaker = await Speaker.arrive(url, f"forgery {row[0]} {kind}")
    payload = pack(speaker.fields(kind))
    signature = forge(speaker.key(kind), kind, speaker.wire.city, payload)
    await speaker.send(kind, [payload, signature])
    reason = "bad seal" if kind == "seal" else "bad signature"
    assert await refusal(speaker.wire, ANSWERS[kind]) == reason
    await speaker.speaking.end()
    await speaker.wire.close()
    await bystanders.check()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_payload_that_was_changed_after_signing_is_refused(
    url: str, bystanders: Bystanders, kind: str
) -> None:
    """By one millisecond, so that everything else about it is good."""
    speaker = await Speaker.arrive(url, f"changed {kind}")
    fields = speaker.fields(kind)
    stamp_at = {"join": 6, "opening": 8, "follow": 6}.get(kind, 4)
    signed = speaker.person.sign(speaker.wire, kind, fields, speaker.key(kind))
    payload = pack(records.changed(fields, stamp_at, fields[stamp_at] + 1))
    await speaker.send(kind, [payload, signed[1]])
    reason = "bad seal" if kind == "seal" else "bad signature"
    assert await refusal(speaker.wire, ANSWERS[kind]) == reason
    await speaker.speaking.end()
    await speaker.wire.close()
    await bystanders.check()


OTHER_KEYS = [
    (kind, role)
    for kind in KINDS
    for role in ("identity", "device", "strand_key", "next")
    if role != ROLES[kind]
]


@pytest.mark.parametrize(("kind", "role"), OTHER_KEYS)
async def test_a_key_of_ones_own_that_is_not_the_right_one_is_refused(
    url: str, bystanders: Bystanders, kind: str, role: str
) -> None:
    speaker = await Speaker.arrive(url, f"{role} signs {kind}")
    key = getattr(speaker.person, role)
    record = speaker.person.sign(speaker.wire, kind, speaker.fields(kind), key)
    await speaker.send(kind, record)
    reason = "bad seal" if kind == "seal" else "bad signature"
    if (kind, role) == ("consent", "device"):
        reason = "needs the identity key"
    assert await refusal(speaker.wire, ANSWERS[kind]) == reason
    await speaker.speaking.end()
    await speaker.wire.close()
    await bystanders.check()


# ── what belongs to somebody else, or to another time ────────────────────────────────────────────


async def test_what_belongs_to_somebody_else_is_refused(url: str, bystanders: Bystanders) -> None:
    theirs = bystanders.speaking
    person = Person("intruder")
    wire = await person.welcome(url)
    await wire.send(["samples", HERE, theirs.strand, 0, [theirs.body()]])
    assert await refusal(wire, "refused samples") == "not a member"
    place = await person.seat(wire, HERE)
    await wire.send(["samples", HERE, theirs.strand, 0, [theirs.body()]])
    assert await refusal(wire, "refused samples") == "unknown strand"
    await wire.send(theirs.sealed_message(theirs.seal()))
    assert await refusal(wire, "sealed") == "unknown strand"
    await wire.send(["release", HERE, theirs.strand, bytes(theirs.person.strand_key)])
    assert await refusal(wire) == "unknown strand"
    stolen = theirs.person.opening(theirs.place)
    await wire.send(["open", 9, HERE, theirs.person.sign(wire, "opening", stolen)])
    assert await refusal(wire, "opened") == "wrong session"
    mine = person.opening(place)
    await wire.send(["open", 9, HERE, person.sign(wire, "opening", mine, theirs.person.device)])
    assert await refusal(wire, "opened") == "bad signature"
    await wire.send(["chain?", 9, theirs.person.citizen])
    assert await refusal(wire, "chain") == "unknown citizen"
    grant = records.changed(
        person.consent("grant/1", HERE, 0, 3, 0, None), 1, theirs.person.citizen
    )
    await wire.send(["record", 9, person.sign(wire, "consent", grant, person.identity)])
    assert await refusal(wire, "recorded") == "bad signature"
    join = records.changed(person.join(wire, HERE), 4, theirs.person.citizen)
    await wire.send(["join", 9, HERE, person.sign(wire, "join", join), []])
    assert await refusal(wire, "joined") == "unknown device"
    nowhere = person.sign(wire, "join", person.join(wire, bytes(16)))
    await wire.send(["join", 9, bytes(16), nowhere, []])
    assert await refusal(wire, "joined") == "no such room"
    await wire.close()
    await bystanders.check()


async def test_a_join_and_an_opening_of_another_session_are_refused(
    url: str, bystanders: Bystanders
) -> None:
    """One's own, of the connection before: a signature is good for one session."""
    person = Person("twice connected")
    before = await person.welcome(url)
    join = person.sign(before, "join", person.join(before, HERE))
    await before.close()
    wire = await person.welcome(url)
    await wire.send(["join", 9, HERE, join, []])
    assert await refusal(wire, "joined") == "wrong session"
    await wire.close()
    await bystanders.check()


async def test_a_listener_on_a_stage_cannot_speak_there(url: str, bystanders: Bystanders) -> None:
    person = Person("heckler")
    wire = await person.welcome(url)
    place = await person.seat(wire, STAGE)
    await wire.send(["open", 9, STAGE, person.sign(wire, "opening", person.opening(place))])
    assert await refusal(wire, "opened") == "not invited"
    # a policy is one room's, even if everything else fits
    here = await person.seat(wire, HERE)
    payload = person.opening(here, policy_hash=place.policy_hash)
    await wire.send(["open", 9, HERE, person.sign(wire, "opening", payload)])
    assert await refusal(wire, "opened") == "wrong policy"
    await wire.close()
    await bystanders.check()


async def test_what_has_ended_is_over(url: str, bystanders: Bystanders) -> None:
    """A strand that was closed takes no sample, no other seal, no opening; its key is published once."""
    speaker = await Speaker.arrive(url, "gone")
    speaking, wire, person = speaker.speaking, speaker.wire, speaker.person
    opening = speaking.opening_record
    closing = speaking.sealed_message(speaking.seal(flags=1, total=1))
    await wire.send(["release", HERE, speaking.strand, bytes(person.strand_key)])
    assert await refusal(wire) == "unknown strand"  # it has not ended yet
    await wire.send(closing)
    await wire.wait_for("sealed")
    await wire.send(["samples", HERE, speaking.strand, 0, [speaking.body()]])
    assert await refusal(wire, "refused samples") == "unknown strand"
    await wire.send(speaking.sealed_message(speaking.seal(flags=1, total=2)))
    assert await refusal(wire, "sealed") == "unknown strand"
    await wire.send(["open", 9, HERE, opening])
    assert await refusal(wire, "opened") == "unknown strand"
    await wire.send(["release", HERE, speaking.strand, bytes(person.device)])
    assert await refusal(wire) == "bad signature"
    await wire.send(["release", STAGE, speaking.strand, bytes(person.strand_key)])
    assert await refusal(wire) == "unknown strand"
    await wire.close()
    await bystanders.check()


async def test_what_was_said_before_the_leave_counts(url: str, bystanders: Bystanders) -> None:
    """In one frame even: a sample, its closing seal, and the leave that goes another way."""
    person = Person("in a hurry")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    body = speaking.body()
    speaking.bodies = [body]
    closing = speaking.sealed_message(speaking.seal(flags=1, total=1))
    await wire.send(["samples", HERE, speaking.strand, 0, [body]], closing, ["leave", 9, HERE])
    answer = await wire.wait_for("sealed", "refused", "refused samples")
    assert answer == ["sealed", speaking.strand, 0, [0]]
    await wire.close()
    await bystanders.check()


async def test_a_window_is_sealed_once(url: str, bystanders: Bystanders) -> None:
    """A second, different seal of one window is equivocation; the same one is only answered again."""
    speaker = await Speaker.arrive(url, "two-faced")
    speaking, wire = speaker.speaking, speaker.wire
    good, other = speaking.seal(), speaking.seal(t_end_ms=speaking.seal()[4] + 1)
    await wire.send(speaking.sealed_message(good))
    await wire.wait_for("sealed")
    await wire.send(speaking.sealed_message(other))
    assert await refusal(wire, "sealed") == "bad seal"
    await wire.send(speaking.sealed_message(good))
    assert (await wire.wait_for("sealed", "refused"))[:3] == ["sealed", speaking.strand, 0]
    await wire.close()
    await bystanders.check()


async def test_a_number_is_taken_once_and_a_jump_is_announced(
    url: str, bystanders: Bystanders
) -> None:
    person = Person("numbers")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    body = speaking.body()
    await speaking.say(body)
    await wire.send(["samples", HERE, speaking.strand, 0, [body]])
    assert await refusal(wire, "refused samples") == "repeated"
    await wire.send(["samples", HERE, speaking.strand, 0, [speaking.body(seq=2**32 - 1)]])
    assert await refusal(wire, "refused samples") == "out of range"
    await wire.close()
    await bystanders.check()


async def test_a_counter_of_the_chain_is_taken_once(url: str, bystanders: Bystanders) -> None:
    person = Person("chained")
    wire = await person.welcome(url)
    other = person.consent("grant/1", HERE, 0, 1, 0, None)
    await person.record(wire, person.consent("grant/1", HERE, 0, 2, 0, None))
    await wire.send(["record", 9, person.sign(wire, "consent", other, person.identity)])
    assert await refusal(wire, "recorded") == "stale"
    fork = records.changed(person.consent("grant/1", HERE, 0, 1, 0, None), 3, bytes(32))
    await wire.send(["record", 9, person.sign(wire, "consent", fork, person.identity)])
    assert await refusal(wire, "recorded") == "broken chain"
    # lifting an exception lets somebody see more
    except_ = person.consent("exception/1", HERE, bytes(16), 0, None)
    await person.record(wire, except_)
    lift = person.consent("exception/1", HERE, bytes(16), 3, None)
    await wire.send(["record", 9, person.sign(wire, "consent", lift)])
    assert await refusal(wire, "recorded") == "needs the identity key"
    await wire.close()
    await bystanders.check()


async def test_a_flood_is_refused_as_too_fast(url: str, bystanders: Bystanders) -> None:
    person = Person("flood")
    wire = await person.welcome(url)
    speaking = await Speaking.open(person, wire, await person.seat(wire, HERE))
    for _ in range(12):
        await speaking.say(*[speaking.body(seq=speaking.seq + i) for i in range(32)])
    answer = await wire.wait_for("refused samples")
    assert answer[4] == "too fast"
    await wire.close()
    await bystanders.check()


async def test_a_second_opening_of_many_is_refused(url: str, bystanders: Bystanders) -> None:
    person = Person("many strands")
    wire = await person.welcome(url)
    place = await person.seat(wire, HERE)
    for _ in range(4):
        await Speaking.open(person, wire, place)
    await wire.send(["open", 9, HERE, person.sign(wire, "opening", person.opening(place))])
    assert await refusal(wire, "opened") == "too many strands"
    await wire.close()
    await bystanders.check()

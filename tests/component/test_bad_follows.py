"""Bad lists of whom a session follows, and bad approvals: each refused by name, felt by nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.bad_input.follows import APPROVALS, FOLLOW_MESSAGES, FOLLOWS, follow
from tests.component.bad_input.records import changed, signer_of
from tests.support.bystanders import HERE, Bystanders, refusal, rows
from tests.support.wire import Person

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("row", **rows(FOLLOWS))
async def test_a_bad_follow_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    _, make, reason = row
    person = Person("follows")
    wire = await person.welcome(url)
    await person.seat(wire, HERE)
    await wire.send(["follow", 9, HERE, person.sign(wire, "follow", make(person, wire))])
    assert await refusal(wire, "following") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(FOLLOW_MESSAGES))
async def test_a_follow_that_is_none_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    _, message, reason = row
    person = Person("follow messages")
    wire = await person.welcome(url)
    await person.seat(wire, HERE)
    await wire.send(message)
    assert await refusal(wire, "following") == reason
    await wire.close()
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(APPROVALS))
async def test_a_bad_approval_is_refused(url: str, bystanders: Bystanders, row: Any) -> None:
    name, make, who, reason = row
    person = Person(f"approval {name}")
    wire = await person.welcome(url)
    record = person.sign(wire, "consent", make(person), signer_of(person, who))
    await wire.send(["record", 9, record])
    assert await refusal(wire, "recorded") == reason
    await wire.close()
    await bystanders.check()


async def test_a_list_is_replaced_by_a_later_one_alone(url: str, bystanders: Bystanders) -> None:
    person = Person("fickle")
    wire = await person.welcome(url)
    await person.seat(wire, HERE)

    async def send(number: int, *people: bytes) -> None:
        payload = changed(changed(follow(person, wire), 7, number), 8, list(people))
        await wire.send(["follow", 9, HERE, person.sign(wire, "follow", payload)])

    await send(3, bytes(16))
    assert (await wire.wait_for("following", "refused"))[0] == "following"
    await send(2, bytes(16))
    assert await refusal(wire, "following") == "stale"
    await send(3, bytes(range(16)))
    assert await refusal(wire, "following") == "stale"
    await send(3, bytes(16))  # the same again is answered again
    assert (await wire.wait_for("following", "refused"))[3] == 1
    await wire.close()
    await bystanders.check()


async def test_a_follow_of_another_session_is_refused(url: str, bystanders: Bystanders) -> None:
    person = Person("followed before")
    before = await person.welcome(url)
    await person.seat(before, HERE)
    record = person.sign(before, "follow", follow(person, before))
    await before.close()
    wire = await person.welcome(url)
    await wire.send(["follow", 9, HERE, record])
    assert await refusal(wire, "following") == "not a member"
    await person.seat(wire, HERE)
    await wire.send(["follow", 9, HERE, record])
    assert await refusal(wire, "following") == "wrong session"
    await wire.close()
    await bystanders.check()

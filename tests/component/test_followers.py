"""Followers in a real city: a room too full to show everybody shows each those whom it follows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.city.settings import SEEDS
from shared.client.events import Event
from shared.client.keyring import Keyring
from shared.client.keystore import Keystore
from shared.client.strand import Mood
from shared.client.viewer import Viewer
from shared.client.visit import Visit
from shared.codec import decode_sample
from shared.contracts.client import Closeness, SampleShown, Struck
from shared.contracts.records import Audience, Tier
from shared.identifiers import MonotonicNs, sanctuary_of_slug
from shared.runtime.clock import monotonic_ns, wall_ms
from shared.subjects import SERVICES
from tests.browser.node_citizen import NodeCitizen
from tests.component.test_citizen_cli import Listener, Person
from tests.support.city import RunningCity, running_city, wait_until

pytestmark = pytest.mark.timeout(150)

SLUG, PAGES, LINES = "small-hall", "hall-of-pages", "hall-of-lines"
"""A room for each test: strands outlive their sockets."""
ROOM = """
[[sanctuary]]
slug = "{slug}"
name = "The {slug}"
kind = "commons"
setting = "open"
tier_max = "full"
capacity = 100
close_limit = 1
close_back = 1
"""


@pytest.fixture(scope="module")
def small_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCity]:
    """A city without scripted citizens, with a commons where two voices are one too many."""
    place = tmp_path_factory.mktemp("city")
    rooms = place / "sanctuaries.toml"
    small = [ROOM.format(slug=slug) for slug in (SLUG, PAGES, LINES)]
    rooms.write_text((SEEDS / "sanctuaries.toml").read_text() + "".join(small))
    with running_city(
        place / "state",
        *("--services", ",".join(SERVICES)),
        SYNCHRONIA_SANCTUARY_SANCTUARIES_PATH=str(rooms),
    ) as city:
        yield city


class Guest(Visit):
    """Somebody in the hall, and what is seen there."""

    def __init__(self, city: RunningCity, slug: str = SLUG) -> None:
        self.hall = sanctuary_of_slug(slug)
        keys = Keyring.new(os.urandom, wall_ms())
        self.notes: list[str | None] = []
        self.struck = 0
        self.is_close = True
        super().__init__(
            keys, city.url, random_bytes=os.urandom, viewer=Viewer(), on_events=self._see
        )

    def _see(self, events: list[Event], _now_ns: MonotonicNs) -> None:
        for event in events:
            match event:
                case SampleShown():
                    self.notes.append(decode_sample(event.body).note)
                case Struck():
                    self.struck += 1
                case Closeness():
                    self.is_close = event.close
                case _:
                    pass

    @property
    def id(self) -> bytes:
        assert self.session.citizen is not None
        return self.session.citizen

    def say(self, note: str) -> None:
        mood = Mood(100, 200, note=note)
        assert self.session.feel(self.hall, mood, monotonic_ns(), wall_ms()) is not None
        self.connection.flush()

    async def sees(self, note: str) -> None:
        await self.until(f"{note!r} is seen", lambda: note in self.notes)

    async def finds_it(self, *, is_close: bool) -> None:
        await self.until("the hall is otherwise", lambda: self.is_close is is_close)

    async def may_be_followed(self, *people: bytes) -> None:
        await self.grant(None, Tier.FULL, audience=Audience.FOLLOWERS)
        for person in people:
            await self.settle(self.session.approve(person, monotonic_ns(), wall_ms()))


async def test_beyond_the_limit_each_sees_whom_it_follows_and_a_revocation_ends_it(
    small_city: RunningCity,
) -> None:
    async with (
        Guest(small_city) as ada,
        Guest(small_city) as ben,
        Guest(small_city) as cleo,
        Guest(small_city) as dara,
    ):
        for guest in (ben, cleo):
            await guest.take_seat(guest.hall, speak=False)
            # the approved and the stranger ask alike, and are answered alike
            await ada.until("the city knows Ada", lambda: ada.session.is_ready)
            await guest.follow(guest.hall, (ada.id, bytes(16)))
        await ada.grant(None, Tier.FULL)
        await ada.may_be_followed(ben.id)
        await ada.take_seat(ada.hall, speak=True, name="Ada")
        ada.say("among few")
        for guest in (ben, cleo):
            await guest.sees("among few")

        await dara.take_seat(dara.hall, speak=True)
        for guest in (ben, cleo):
            await guest.finds_it(is_close=False)
        await cleo.until("Ada is blank", lambda: cleo.struck == 1)
        ada.say("among many")
        await ben.sees("among many")
        assert ben.struck == 0, "whoever follows goes on seeing"

        await ada.settle(ada.session.revoke(ben.id, monotonic_ns(), wall_ms()))
        await ben.until("Ada is blank", lambda: ben.struck == 1)
        ada.say("to nobody")
        await ada.settle(ada.session.approve(ben.id, monotonic_ns(), wall_ms()))
        ada.say("once more")
        await ben.sees("once more")

        # the hall empties: everybody is seen as before, and what was said meanwhile stays unsaid
        dara.session.hush(dara.hall, wall_ms())
        dara.connection.flush()
        await cleo.finds_it(is_close=True)
        ada.say("among few again")
        for guest in (ben, cleo):
            await guest.sees("among few again")
        assert ben.notes == ["among few", "among many", "once more", "among few again"]
        assert cleo.notes == ["among few", "among few again"]


async def test_the_page_s_client_follows_and_is_silenced_by_a_withdrawal(
    small_city: RunningCity,
) -> None:
    async with Guest(small_city, PAGES) as ada, Guest(small_city, PAGES) as dara:
        with NodeCitizen(small_city.websocket_url) as node:
            follower = bytes.fromhex(node.wait_event("enrolled")["citizen"])
            node.wait_event("chain")
            await ada.until("the city knows Ada", lambda: ada.session.is_ready)
            await ada.may_be_followed(follower)
            node.do("join", slug=PAGES)
            node.do("follow", slug=PAGES, people=[ada.id.hex()])
            assert node.wait_event("following")["count"] == 1
            await dara.take_seat(dara.hall, speak=True)
            await ada.take_seat(ada.hall, speak=True)
            node.wait_event("strand", lambda event: event["citizen"] == ada.id.hex())
            ada.say("to the page")
            node.wait_event("sample", lambda event: event["sample"]["note"] == "to the page")
            await ada.settle(ada.session.withdraw(None, monotonic_ns(), wall_ms()))
            node.wait_event("struck")


def test_by_command_line_one_approves_follows_and_sees(
    small_city: RunningCity, tmp_path: Path
) -> None:
    ada, ben = (Person(small_city, tmp_path / name) for name in ("ada", "ben"))
    assert "follow nobody" in ada.run("follow")
    (citizen,) = Keystore(ada.keys).load().citizens.values()
    said = ben.run("follow", citizen.hex())
    (follower,) = Keystore(ben.keys).load().citizens.values()
    assert follower.hex() in said, "one is told what to tell the other"
    assert "followers see nothing yet" in ada.run("consent", "approve", follower.hex())
    ada.run("consent", "grant", "full", "--audience", "followers", "--until", "1h")
    stands = json.loads(ada.run("consent", "list", "--json"))
    assert [row["person"] for row in stands["followers"]] == [follower.hex()]
    listener = Listener(ben, "--sanctuary", LINES)
    try:
        wait_until("the list is taken", lambda: bool(listener.of("FollowsTaken")), within_s=30)
        ada.run("citizen", "--sanctuary", LINES, "--say", "0.4 -0.2 by command line")
        wait_until("Ada is seen", lambda: "by command line" in listener.notes(), within_s=30)
    finally:
        listener.end()
    assert "on record" in ada.run("consent", "revoke", follower.hex())
    assert "follow nobody" in ben.run("unfollow", citizen.hex())

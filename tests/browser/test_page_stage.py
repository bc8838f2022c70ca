"""A stage from its link: it plays at once, without keys, and says that nobody sees who watches."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.steps import COMMONS, person, touch
from tests.support.city import RunningCity
from tests.support.visitor import PHONE, Visit

pytestmark = pytest.mark.timeout(120)

STAGE = "The Open Stage"


def test_a_link_shows_the_voice_without_keys(shared_city: RunningCity, visit: Visit) -> None:
    visitor = visit(shared_city.url, size=PHONE)
    page = visitor.open("/?watch=open-stage")
    expect(page.get_by_role("heading", name=STAGE, level=1)).to_be_visible()
    expect(page.get_by_text("You watch. Nobody sees you.")).to_be_visible()
    expect(person(page, "Voice")).to_contain_text(re.compile("pleasant|lively|calm|middle"))
    first = person(page, "Voice").inner_text()
    expect(person(page, "Voice")).not_to_have_text(first, timeout=20_000)
    assert visitor.sent == [], "who watches says nothing, not even a token"
    assert page.get_by_role("slider").count() == 0
    assert page.get_by_role("button", name="Withdraw everything").count() == 0
    kept = page.evaluate(
        """async () => {
            const stores = [];
            for (const { name } of await indexedDB.databases()) {
                const opened = await new Promise((done) => {
                    const asked = indexedDB.open(name);
                    asked.onsuccess = () => done(asked.result);
                });
                for (const store of opened.objectStoreNames) {
                    stores.push(await new Promise((done) => {
                        const asked = opened.transaction(store).objectStore(store).count();
                        asked.onsuccess = () => done(asked.result);
                    }));
                }
                opened.close();
            }
            return [stores.reduce((all, one) => all + one, 0), localStorage.length, document.cookie];
        }"""
    )
    assert kept == [0, 0, ""], "nothing is kept of who only watches"
    page.get_by_role("button", name="Take part").click()
    page.get_by_role("button", name="Make my keys and enter").click()
    expect(page.get_by_role("heading", name=STAGE, level=1)).to_be_visible()
    # a voice was invited here, so nobody else is offered what would be refused
    expect(
        page.get_by_text("Only those who were asked may speak here. You listen.")
    ).to_be_visible()
    expect(page.get_by_role("button", name="Start speaking")).to_be_disabled()
    touch(page, 0.5, 0.5)
    expect(person(page, "Voice")).to_be_visible()
    assert page.get_by_role("slider", disabled=False).count() == 0
    assert visitor.said("open") == []


@pytest.mark.parametrize(
    ("name", "title", "subtitle"),
    [
        ("emotive-commons", COMMONS, "commons · open · nothing recorded"),
        ("no-such-stage", "Synchronia", "This circle is not open to you now."),
    ],
)
def test_what_is_not_public_is_shown_empty_and_not_called_public(
    shared_city: RunningCity, visit: Visit, name: str, title: str, subtitle: str
) -> None:
    """What is listed is called as listed; all else is alike, whether it is there or not."""
    page = visit(shared_city.url, expects=("WebSocket",)).open(f"/?watch={name}")
    expect(page.get_by_text("You watch. Nobody sees you.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^live"))).to_be_visible()
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
    expect(page.get_by_role("banner").get_by_role("paragraph")).to_have_text(subtitle)
    expect(page.get_by_role("main")).to_match_aria_snapshot(
        """
        - main:
          - /children: equal
          - figure /^The plane/
          - paragraph:
            - /children: equal
            - text: You watch. Nobody sees you.
            - button "Take part"
        """
    )
    expect(page.get_by_role("complementary")).to_match_aria_snapshot(
        """
        - complementary:
          - region "Who you see":
            - /children: equal
            - heading "Who you see"
            - list
            - paragraph: You see nobody here now.
            - button "Read the room"
        """
    )

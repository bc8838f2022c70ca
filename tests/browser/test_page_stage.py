"""A stage from its link: it plays at once, without keys, and says that nobody sees who watches."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.steps import person, touch
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


def test_a_stage_that_is_none_is_an_empty_one(shared_city: RunningCity, visit: Visit) -> None:
    """A room that is not public, and a name that nobody has, look the same."""
    looks = []
    for name in ("emotive-commons", "no-such-stage"):
        visitor = visit(shared_city.url, expects=("WebSocket",))
        page = visitor.open(f"/?watch={name}")
        expect(page.get_by_text("You watch. Nobody sees you.")).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("^live"))).to_be_visible()
        expect(page.get_by_role("region", name="Who you see")).to_contain_text(
            "You see nobody here now."
        )
        looks.append(page.locator("body").aria_snapshot())
    assert looks[0].replace("Emotive Commons", "A stage") == looks[1]

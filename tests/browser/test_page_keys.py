"""Keys of one's own: kept by the browser, brought back by 24 words; a clear word where there are none."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import COMMONS, allow, enter, person, touch
from tests.support.city import RunningCity
from tests.support.visitor import CITY_HOST, Visit, Visitor

pytestmark = pytest.mark.timeout(120)

NO_WEBCRYPTO = (
    "Keys need a safe connection. Open this page by https or on localhost. You can still watch."
)
KEYS_ARE_MADE = "Your keys are made here and stay in this browser."
WELCOME_BACK = "Welcome back. You are seen by nobody yet."


def citizen(visitor: Visitor) -> bytes:
    """Who one is, as the city said or as the token states."""
    return bytes(visitor.heard("welcome")[-1][2] or visitor.heard("enrolled")[-1][2])


def test_who_comes_back_is_the_same_person(quiet_city: RunningCity, visit: Visit) -> None:
    visitor = visit(quiet_city.url)
    page = enter(visitor)
    allow(page, "a cell")
    before = visitor.heard("enrolled")[0][2]
    kept = page.evaluate(
        """async () => {
            const [{ name }] = await indexedDB.databases();
            const opened = await new Promise((done) => {
                const asked = indexedDB.open(name);
                asked.onsuccess = () => done(asked.result);
            });
            const [stores, keys] = [[...opened.objectStoreNames], []];
            const look = (value) => {
                if (value instanceof CryptoKey) keys.push([value.type, value.extractable]);
                else if (value !== null && typeof value === "object"
                    && !(value instanceof Uint8Array)) Object.values(value).forEach(look);
            };
            for (const store of stores) {
                look(await new Promise((done) => {
                    const asked = opened.transaction(store).objectStore(store).getAll();
                    asked.onsuccess = () => done(asked.result);
                }));
            }
            opened.close();
            return keys;
        }"""
    )
    private = [extractable for kind, extractable in kept if kind == "private"]
    assert len(private) >= 2, "a device key and an identity key"
    assert not any(private), "the page itself cannot read them"
    visitor.open("/")
    expect(page.get_by_text(WELCOME_BACK)).to_be_visible()
    assert page.get_by_role("button", name="Make my keys and enter").count() == 0
    page.get_by_role("navigation").get_by_role("link", name=re.compile(f"^{COMMONS}")).click()
    expect(page.get_by_role("button", name="Start speaking")).to_be_enabled()
    assert citizen(visitor) == before
    expect(page.get_by_role("button", name=re.compile("^What you allowed 1 grant"))).to_be_visible()


def test_24_words_bring_the_same_person_back(quiet_city: RunningCity, visit: Visit) -> None:
    visitor = visit(quiet_city.url)
    page = enter(visitor)
    allow(page, "in full", name="Nour")
    assert page.get_by_role("heading", name="Keep your name").count() == 0, "not before speaking"
    touch(page, 0.5, 0.5)
    keep = page.get_by_role("region", name="Keep your name")
    expect(keep).to_be_visible()
    expect(keep.get_by_text("24 words. Whoever has them can become you.")).to_be_visible()
    keep.get_by_role("button", name="Show the words").click()
    items = keep.get_by_role("listitem")
    expect(items).to_have_count(24)
    words = [re.sub(r"^\d+\s*", "", text.strip()) for text in items.all_inner_texts()]
    keep.get_by_role("checkbox", name="I wrote them down").check()
    for box in keep.get_by_role("textbox").all():
        label = box.evaluate("(input) => input.labels[0].innerText")
        box.fill(words[int(re.sub(r"\D", "", label)) - 1])
    keep.get_by_role("button", name="These are my words").click()
    expect(keep).to_be_hidden()
    before = citizen(visitor)

    other = visit(quiet_city.url)
    there = other.open("/?room=emotive-commons")
    there.get_by_role("button", name="I have 24 words").click()
    there.get_by_role("textbox", name=re.compile("^Your 24 words")).fill(" ".join(reversed(words)))
    there.get_by_role("button", name="Bring my keys back").click()
    expect(there.get_by_role("alert").filter(has_text=re.compile(r"\w"))).to_be_visible()
    there.get_by_role("textbox", name=re.compile("^Your 24 words")).fill(" ".join(words))
    there.get_by_role("button", name="Bring my keys back").click()
    expect(there.get_by_role("button", name="Start speaking")).to_be_enabled()
    expect(
        there.get_by_role("button", name=re.compile("^What you allowed 1 grant"))
    ).to_be_visible()
    assert citizen(other) == before


def test_without_webcrypto_one_is_told_and_can_watch(quiet_city: RunningCity, visit: Visit) -> None:
    port = quiet_city.url.rpartition(":")[2]
    visitor = visit(f"http://{CITY_HOST}:{port}", expects=("Cross-Origin-Opener-Policy",))
    page = visitor.open()
    expect(page.get_by_text(NO_WEBCRYPTO)).to_be_visible()
    assert page.evaluate("() => [isSecureContext, typeof crypto.subtle]") == [False, "undefined"]
    assert page.get_by_role("button", name="Make my keys and enter").count() == 0
    assert page.get_by_text(KEYS_ARE_MADE).count() == 0
    trusted = visit(quiet_city.url).open()
    expect(trusted.get_by_text(KEYS_ARE_MADE)).to_be_visible()
    page.get_by_role("button", name="Just watch").click()
    expect(page.get_by_text("You watch. Nobody sees you.")).to_be_visible()


def note(page: Page, text: str) -> None:
    page.get_by_role("textbox", name=re.compile("^A note")).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def test_a_note_waits_three_seconds_and_can_be_kept_back(
    quiet_city: RunningCity, visit: Visit
) -> None:
    viewer, speaker = visit(quiet_city.url), visit(quiet_city.url)
    there, here = enter(viewer), enter(speaker)
    allow(here, "in full", name="Rai")
    touch(here, 0.5, -0.5)
    here.get_by_role("button", name="note", exact=True).click()
    note(here, "not this")
    here.get_by_role("button", name="Don't send").click()
    expect(here.get_by_role("textbox", name=re.compile("^A note"))).to_have_value("not this")
    note(here, "a calm morning")
    expect(here.get_by_role("button", name="Don't send")).to_be_visible()
    assert not [body for body in speaker.bodies() if body[8] is not None]
    expect(person(there, "Rai")).to_contain_text("“a calm morning”")
    assert [body[8] for body in speaker.bodies() if body[8] is not None] == ["a calm morning"]

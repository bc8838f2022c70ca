"""The page without a pointer: every key, its order, and the whole way from the link to the withdrawal."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import COMMONS, allow, enter, mirror, person, slider, withdraw
from tests.support.city import RunningCity
from tests.support.visitor import Visit

pytestmark = pytest.mark.timeout(120)

TABS_MAX = 40
FOCUSED = """() => {
    const at = document.activeElement;
    return at.getAttribute("aria-label") ?? at.labels?.[0]?.innerText ?? at.innerText ?? "";
}"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus begins with `name`."""
    met = []
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        met.append(page.evaluate(FOCUSED).strip())
        if met[-1].startswith(name):
            return
    raise AssertionError(f"Tab does not come to {name!r}; it met {met}")


def test_keyboard_alone_goes_all_the_way(quiet_city: RunningCity, visit: Visit) -> None:
    viewer, speaker = visit(quiet_city.url), visit(quiet_city.url)
    there = enter(viewer)
    page = speaker.open()
    expect(page.get_by_role("button", name="Make my keys and enter")).to_be_visible()
    tab_to(page, "Make my keys and enter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation").get_by_role("link", name=COMMONS)).to_be_visible()
    tab_to(page, COMMONS)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Start speaking")).to_be_enabled()
    # speak
    page.evaluate("() => document.activeElement.blur()")
    tab_to(page, "Pleasant")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_text("You: pleasant.")).to_be_visible()
    expect(page.get_by_role("button", name="Pause speaking")).to_be_visible()
    # a word, from the list that Enter opens
    page.keyboard.press("Enter")
    words = page.get_by_role("dialog", name="A word for it")
    expect(words).to_be_visible()
    tab_to(page, "loving")
    page.keyboard.press("Space")
    expect(words.get_by_role("button", name="loving")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(words).to_be_hidden()
    assert page.evaluate(FOCUSED).strip().startswith("Pleasant"), "focus goes back"
    # widen, then narrow
    tab_to(page, "This room")
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name="Who sees me")
    expect(sheet).to_be_visible()
    tab_to(page, "in full")
    page.keyboard.press("Enter")
    tab_to(page, "Let this room see me in full")
    page.keyboard.press("Enter")
    expect(person(there, "Somebody without a name")).to_contain_text("loving")
    tab_to(page, "Close")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED).startswith("This room: in full"), "focus goes back to the mirror"
    page.keyboard.press("Enter")
    expect(sheet).to_be_visible()
    tab_to(page, "counted")
    page.keyboard.press("Enter")
    expect(person(there, "Somebody without a name")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    # Esc twice, with no sheet open, withdraws everything
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(withdraw(page)).to_have_text(re.compile("^Withdrawn"))
    expect(mirror(page, "This room")).to_have_accessible_name(re.compile("nothing"))


def test_every_key_says_what_it_should(quiet_city: RunningCity, visit: Visit) -> None:
    visitor = visit(quiet_city.url)
    page = enter(visitor)
    pleasant, lively = slider(page, "Pleasant"), slider(page, "Lively")
    pleasant.focus()
    rows = (
        ("ArrowRight", 50, 0, "in the middle"),
        ("ArrowUp", 50, 50, "in the middle"),
        ("Shift+ArrowRight", 250, 50, "slightly pleasant"),
        ("Shift+ArrowUp", 250, 250, "slightly pleasant, slightly lively"),
        ("PageUp", 250, 450, "slightly pleasant, lively"),
        ("End", 1000, 450, "very pleasant, lively"),
        ("Control+End", 1000, 1000, "very pleasant, very lively"),
        ("Home", -1000, 1000, "very unpleasant, very lively"),
        ("Control+Home", -1000, -1000, "very unpleasant, very calm"),
        ("ArrowLeft", -1000, -1000, "very unpleasant, very calm"),
        ("PageDown", -1000, -1000, "very unpleasant, very calm"),
        ("ArrowDown", -1000, -1000, "very unpleasant, very calm"),
        ("0", 0, 0, "in the middle"),
        ("Shift+ArrowLeft", -200, 0, "slightly unpleasant"),
        ("Shift+ArrowDown", -200, -200, "slightly unpleasant, slightly calm"),
    )
    for each in (pleasant, lively):  # the same on either
        each.focus()
        page.keyboard.press("0")
        for key, valence, arousal, sentence in rows:
            page.keyboard.press(key)
            told = int(pleasant.input_value()), int(lively.input_value())
            assert told == (valence, arousal), key
            expect(each).to_have_attribute("aria-valuetext", sentence)
    # Space pauses and speaks
    expect(page.get_by_role("button", name="Pause speaking")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Start speaking")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause speaking")).to_be_visible()


def test_keys_elsewhere_say_nothing_and_moves_go_out_ten_times_a_second(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url)
    page = enter(visitor)
    page.get_by_role("button", name="Read the room").focus()
    for key in ("0", "w", "ArrowRight", "Home", "Space", "s"):
        page.keyboard.press(key)
    assert visitor.said("open") == visitor.said("record") == []
    pleasant = slider(page, "Pleasant")
    pleasant.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_text("You: slightly pleasant.")).to_be_visible()
    page.wait_for_function("() => new Promise((done) => setTimeout(() => done(true), 250))")
    told = visitor.bodies()
    assert told[-1][2] == 200, "the newest wins"
    # a stamp is made a little after the pace let its sample go, later on a busy machine: at either end
    assert told[-1][1] - told[0][1] >= 100 * (len(told) - 1) - 30, "at most ten a second"


def test_the_focus_order_is_the_pages(quiet_city: RunningCity, visit: Visit) -> None:
    visitor = visit(quiet_city.url)
    page = enter(visitor)
    allow(page, "a cell")
    page.evaluate(
        "() => { document.activeElement.blur(); window.getSelection().removeAllRanges(); }"
    )
    page.get_by_role("heading", level=1).click()
    page.evaluate("() => document.body.focus()")
    order = (
        *("Withdraw everything", "People as a list", "live", "Emotive Commons", "Pleasant"),
        *("Lively", "Read the room", "This room", "Followers", "All others", "Start speaking"),
        "Withdraw everything",
    )
    page.keyboard.press("Control+Home")
    page.evaluate("() => document.querySelector('a').focus()")
    assert page.evaluate(FOCUSED).startswith(order[0])
    for name in order[1:]:
        tab_to(page, name)
    # the first skip link goes where it says
    page.evaluate("() => document.querySelector('a').focus()")
    page.keyboard.press("Enter")
    expect(withdraw(page)).to_be_focused()

"""The page never speaks for somebody who is not there: hidden, or untouched. Its clock is the test's."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import allow, enter, mirror, person, touch
from tests.support.city import RunningCity
from tests.support.visitor import Visit, Visitor

pytestmark = pytest.mark.timeout(120)

ASKS = "You have not moved for 5 minutes. Still feeling this? In a minute you stop speaking."
UNTOUCHED = "You stopped speaking, because you had not moved for 6 minutes."
HIDDEN = "You stopped speaking while this page was hidden."
AHEAD = """() => {
    const now = performance.now.bind(performance);
    let heldMs = null;
    window.aheadMs = 0;
    window.holdTime = (isHeld) => { heldMs = isHeld ? now() : null; };
    performance.now = () => (heldMs ?? now()) + window.aheadMs;
}"""
"""The clock of everything that people do; stamps, and what the city is asked, go by another."""


def pass_time(page: Page, seconds: int) -> None:
    page.evaluate("(ms) => { window.aheadMs += ms; }", seconds * 1000)


def hold_time(page: Page, *, is_held: bool) -> None:
    """Held, it passes by `pass_time` alone: no time-out is met because a machine is slow."""
    page.evaluate("(isHeld) => window.holdTime(isHeld)", is_held)


def wait_said(visitor: Visitor, name: str, *, after_seconds: int = 0) -> None:
    """Until the page has sent one more of these, that time having passed on its clock."""
    said = len(visitor.said(name))
    pass_time(visitor.page, after_seconds)
    while len(visitor.said(name)) == said:
        visitor.page.evaluate("0")


def speaking(visit: Visit, city: RunningCity) -> tuple[Visitor, Page]:
    """Somebody who is seen in full, with a clock of the test's."""
    visitor = visit(city.url)
    visitor.context.add_init_script(f"({AHEAD})()")
    page = enter(visitor)
    allow(page, "in full", name="Nour")
    touch(page, 0.5, 0.5)
    expect(mirror(page, "This room")).to_have_accessible_name(re.compile("in full"))
    return visitor, page


def show(page: Page, state: str) -> None:
    """`hidden` or `visible`. A browser without a screen hides no page, so it is told that it did."""
    page.evaluate(
        """(state) => {
            Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


def expect_silence(visitor: Visitor, notice: str) -> None:
    page = visitor.page
    expect(page.get_by_role("main").get_by_text(notice)).to_be_visible()
    expect(page.get_by_role("status")).to_have_text(notice)
    expect(page.get_by_role("button", name="Start speaking")).to_be_visible()
    expect(mirror(page, "This room")).to_have_accessible_name(re.compile("nothing now"))
    sent = len(visitor.bodies())
    wait_said(visitor, "time?", after_seconds=20)  # which goes out every 5 s
    assert len(visitor.bodies()) == sent, "not one more"


def test_untouched_for_five_minutes_it_asks_and_a_minute_later_it_stops(
    quiet_city: RunningCity, visit: Visit
) -> None:
    viewer = visit(quiet_city.url)
    there = enter(viewer)
    visitor, page = speaking(visit, quiet_city)
    expect(person(there, "Nour")).to_be_visible()
    asks = page.get_by_role("main").get_by_text(ASKS)
    hold_time(page, is_held=True)
    wait_said(visitor, "samples", after_seconds=290)  # at rest it speaks on
    expect(asks).to_be_hidden()
    hold_time(page, is_held=False)
    pass_time(page, 11)
    expect(asks).to_be_visible()
    page.get_by_role("button", name="Still here").click()
    expect(asks).to_be_hidden()
    pass_time(page, 301)
    expect(asks).to_be_visible()
    expect(page.get_by_role("button", name="Pause speaking")).to_be_visible()
    pass_time(page, 60)
    expect_silence(visitor, UNTOUCHED)
    expect(person(there, "Nour")).to_have_count(0)
    page.get_by_role("button", name="Speak again").click()
    expect(person(there, "Nour")).to_be_visible()


def test_a_hidden_page_stops_after_ten_seconds_and_says_so_on_return(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor, page = speaking(visit, quiet_city)
    hold_time(page, is_held=True)
    show(page, "hidden")
    wait_said(visitor, "samples", after_seconds=8)
    show(page, "visible")  # a look elsewhere is no going away
    hold_time(page, is_held=False)
    wait_said(visitor, "samples", after_seconds=12)
    expect(page.get_by_role("button", name="Pause speaking")).to_be_visible()
    show(page, "hidden")
    pass_time(page, 11)
    expect(page.get_by_role("button", name="Start speaking")).to_be_visible()
    show(page, "visible")
    expect_silence(visitor, HIDDEN)
    page.get_by_role("button", name="Speak again").click()
    expect(mirror(page, "This room")).to_have_accessible_name(re.compile("in full"))
    wait_said(visitor, "samples")

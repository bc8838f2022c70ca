"""The commons as people meet it: to enter, to speak, to be seen as one allows, and to withdraw."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import (
    COMMONS,
    MIRRORS,
    allow,
    enter,
    mirror,
    narrow,
    person,
    pixels,
    plane,
    seen,
    touch,
    withdraw,
)
from tests.support.city import RunningCity
from tests.support.visitor import PHONE, WIDE, Visit

pytestmark = pytest.mark.timeout(120)

STRUCK_MS_MAX = 1000
"""The promise's outer bound, at a viewer on the same machine."""
FIRST_VISIT = "Say how you feel. Decide who sees it, and stop any time."
BEFORE_FIRST = "Nothing is sent yet. Touch the plane, or use the arrow keys."
UNSEEN = "Nobody sees it. Press a mirror to let somebody."
EMPTY = (
    "You see nobody here now. Speak if you like. Whoever you allow sees you from then on, "
    "never what was before."
)
NOBODY = "You see nobody here now."
ONE_CELL = "One as a cell, without a name."


def assert_foot_is_in_view(page: Page) -> None:
    """All three mirrors and the withdrawal, without scrolling."""
    size = page.viewport_size
    assert size is not None
    for each in (*(mirror(page, who) for who in MIRRORS), withdraw(page)):
        box = each.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= size["width"]
        assert box["y"] + box["height"] <= size["height"]


def test_two_presses_and_one_touch_send_the_first_sample(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url, size=PHONE)
    page = visitor.open()
    expect(page.get_by_text(FIRST_VISIT)).to_be_visible()
    assert visitor.sockets <= 1, "at most the picture of a public stage"
    page.get_by_role("button", name="Make my keys and enter").click()
    page.get_by_role("navigation").get_by_role("link", name=re.compile(f"^{COMMONS}")).click()
    expect(page.get_by_text(BEFORE_FIRST)).to_be_visible()
    expect(page.get_by_text(EMPTY)).to_be_visible()
    assert_foot_is_in_view(page)
    box = plane(page).bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 260, "with a notice"
    assert visitor.said("open") == visitor.bodies() == []
    touch(page, 0.5, -0.5)
    expect(page.get_by_text("You: pleasant, calm.")).to_be_visible()
    expect(page.get_by_text(UNSEEN)).to_be_visible()
    first = visitor.bodies()[0]
    assert abs(first[2] - 500) < 20
    assert abs(first[3] + 500) < 20
    expect(page.get_by_role("button", name="Pause speaking")).to_be_visible()
    assert_foot_is_in_view(page)
    assert visitor.said("record") == [], "speaking allows nothing by itself"


def test_each_tier_shows_what_it_says_and_no_more(quiet_city: RunningCity, visit: Visit) -> None:
    viewer, speaker = visit(quiet_city.url), visit(quiet_city.url, size=PHONE)
    there = enter(viewer)
    expect(there.get_by_text(EMPTY)).to_be_visible()
    unseen = seen(there).inner_html(), pixels(there, "[data-layer=others]")
    here = enter(speaker)
    touch(here, 0.5, -0.5)
    expect(here.get_by_text(UNSEEN)).to_be_visible()
    expect(mirror(here, "This room")).to_have_accessible_name(re.compile("nothing"))

    allow(here, "a cell")
    expect(seen(there).get_by_text(ONE_CELL)).to_be_visible()
    expect(person(there, "Zoë")).to_have_count(0)
    assert viewer.heard("sample") == viewer.heard("strand") == [], "silence before, a cell now"
    expect(mirror(here, "This room")).to_have_accessible_name(re.compile("a cell"))

    allow(here, "in full", name="Zoë")
    expect(person(there, "Zoë")).to_contain_text("pleasant, calm")
    expect(seen(there).get_by_text(ONE_CELL)).to_have_count(0)

    narrow(here, "counted")
    expect(person(there, "Zoë")).to_have_count(0, timeout=STRUCK_MS_MAX)
    expect(seen(there).get_by_text(NOBODY)).to_be_visible()
    expect(mirror(here, "This room")).to_have_accessible_name(re.compile("counted"))
    there.wait_for_function(  # nothing is left of the person, nor a hint that somebody was there
        "(before) => document.querySelector('[data-layer=others]').toDataURL() === before",
        arg=unseen[1],
    )
    assert seen(there).inner_html() == unseen[0]


def test_a_mirror_of_a_cell_differs_only_when_the_cell_does(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url)
    page = enter(visitor)
    allow(page, "a cell")
    drawn = []
    for valence, arousal, sentence in (
        (0.5, -0.5, "You: pleasant, calm."),
        (0.3, -0.3, "You: slightly pleasant, slightly calm."),
        (0.75, -0.5, "You: very pleasant, calm."),
    ):
        touch(page, valence, arousal)
        expect(page.get_by_text(sentence)).to_be_visible()
        drawn.append(pixels(page, "[aria-label^='This room'] canvas"))
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_withdrawal_strikes_at_once_and_the_other_sees_nobody(
    quiet_city: RunningCity, visit: Visit
) -> None:
    viewer, speaker = visit(quiet_city.url), visit(quiet_city.url, size=PHONE)
    there, here = enter(viewer), enter(speaker)
    allow(here, "in full", name="Zoë")
    touch(here, -0.5, 0.5)
    expect(person(there, "Zoë")).to_contain_text("unpleasant, lively")
    full = pixels(there, "[data-layer=others]")
    withdraw(here).click()
    expect(person(there, "Zoë")).to_have_count(0, timeout=STRUCK_MS_MAX)
    expect(seen(there).get_by_text(NOBODY)).to_be_visible()
    there.wait_for_function(
        "(before) => document.querySelector('[data-layer=others]').toDataURL() !== before", arg=full
    )
    expect(withdraw(here)).to_have_text(re.compile(r"^Withdrawn.*acted \d+ ms, recorded \d+ ms"))
    assert_foot_is_in_view(here)
    for who in MIRRORS:
        expect(mirror(here, who)).to_have_accessible_name(re.compile("nothing"))
    sent = len(speaker.bodies())
    mirror(here, "This room").click()
    sheet = here.get_by_role("dialog", name="Who sees me")
    steps = sheet.get_by_role("region", name="Withdraw").get_by_role("listitem")
    expect(steps).to_have_text(
        [
            "asked",
            re.compile(r"^acted \d+ ms: “No byte of yours leaves any more\.”$"),
            re.compile(r"^recorded \d+ ms: “Written down; it stays so\.”$"),
        ]
    )
    assert len(speaker.bodies()) == sent, "nothing is sent any more"
    # and back: the same grants, listed first
    sheet.get_by_role("button", name="Let them see me again").click()
    again = sheet.get_by_role("region", name="Let them see me again")
    expect(again.get_by_role("listitem")).to_have_text([re.compile("in full")])
    assert len(speaker.said("record")) == 2, "the grant, the withdrawal, and nothing yet"
    again.get_by_role("button", name="Let them see me again").click()
    sheet.get_by_role("button", name="Close", exact=True).click()
    here.get_by_role("button", name="Start speaking").click()
    expect(person(there, "Zoë")).to_contain_text("unpleasant, lively")


def test_who_is_excepted_sees_nobody_and_others_see_on(
    quiet_city: RunningCity, visit: Visit
) -> None:
    """Denied looks as absent does, to the one who is denied."""
    denied, other, speaker = (visit(quiet_city.url) for _ in range(3))
    there, elsewhere, here = enter(denied), enter(other), enter(speaker)
    absent = seen(there).aria_snapshot()
    for page, name in ((there, "Bo Denied"), (here, "Zoë")):
        allow(page, "in full", name=name)
        touch(page, 0.5, 0.5)
    expect(person(there, "Zoë")).to_contain_text("pleasant, lively")
    expect(person(elsewhere, "Zoë")).to_contain_text("pleasant, lively")
    person(here, "Bo Denied").get_by_role("button").click()
    sheet = here.get_by_role("dialog", name="Bo Denied")
    sheet.get_by_role("button", name="nothing", exact=True).click()
    expect(person(there, "Zoë")).to_have_count(0, timeout=STRUCK_MS_MAX)
    expect(seen(there).get_by_text(NOBODY)).to_be_visible()
    assert seen(there).aria_snapshot() == absent
    expect(person(elsewhere, "Zoë")).to_contain_text("pleasant, lively")
    expect(sheet.get_by_text(re.compile("^recorded after"))).to_be_visible()
    sheet.get_by_role("button", name="Close", exact=True).click()
    touch(here, -0.5, -0.5)
    expect(person(elsewhere, "Zoë")).to_contain_text("unpleasant, calm")
    expect(person(there, "Zoë")).to_have_count(0)


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_what_one_agrees_to_is_in_sight_when_it_is_asked(
    quiet_city: RunningCity, visit: Visit, size: tuple[int, int]
) -> None:
    page = enter(visit(quiet_city.url, size=size))
    mirror(page, "This room").click()
    section = page.get_by_role("dialog", name="Who sees me").get_by_role("region", name="This room")
    section.get_by_role("button", name="a cell").click()
    expect(section.get_by_role("button", name=re.compile("^Let this room"))).to_be_in_viewport(
        ratio=1
    )
    expect(section.get_by_text("This room sees you as one of 25 cells")).to_be_in_viewport(ratio=1)
    for who in MIRRORS:
        expect(mirror(page, who)).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")

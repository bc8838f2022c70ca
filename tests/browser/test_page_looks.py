"""Every screen, wide and light, dark and 360 × 640: axe finds nothing, nothing scrolls sideways."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import COMMONS, allow, enter, mirror, person, touch, withdraw
from tests.support.city import RunningCity
from tests.support.visitor import PHONE, WIDE, Visit, Visitor

pytestmark = pytest.mark.timeout(180)

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STAGE = "The Open Stage"


Look = Callable[[Page, str], None]


@pytest.fixture
def look() -> Look:
    """Pictures for whoever wants to see the screens: a folder named by SYNCHRONIA_PICTURES."""
    folder = os.environ.get("SYNCHRONIA_PICTURES")

    def take(page: Page, name: str) -> None:
        if folder is not None:
            page.screenshot(path=Path(folder) / f"{re.sub(r'[^a-z0-9]+', '-', name)}.png")

    return take


def violations(page: Page) -> list[str]:
    """What axe finds on what is on the screen now, scrolled to its end: elsewhere the foot covers part of
    what can be scrolled free, and axe takes that for a small target. No colour is on its way.
    """
    page.evaluate(
        """() => {
            scrollTo(0, document.body.scrollHeight);
            return Promise.allSettled(document.getAnimations().map((each) => each.finished));
        }"""
    )
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate(
        "(tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] })", RULES
    )
    page.evaluate("() => scrollTo(0, 0)")
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def sideways(page: Page) -> int:
    """By how many pixels the page, or a sheet in it, can be scrolled sideways."""
    return int(
        page.evaluate(
            """() => Math.max(...[document.documentElement, ...document.querySelectorAll('body *')]
                .filter((each) => getComputedStyle(each).overflowX !== 'hidden'
                    && each.clientWidth > 1)
                .map((each) => each.scrollWidth - each.clientWidth))"""
        )
    )


def screens(visitor: Visitor) -> Iterator[str]:
    """Goes through every screen; it stands while the name is out."""
    page = visitor.open()
    expect(page.get_by_role("button", name="Make my keys and enter")).to_be_visible()
    yield "first visit"
    page.get_by_role("button", name="I have 24 words").click()
    yield "24 words asked for"
    page.get_by_role("button", name="Just watch").click()
    expect(page.get_by_role("heading", name=STAGE, level=1)).to_be_visible()
    expect(person(page, "Voice")).to_be_visible()
    yield "a watched stage"
    enter(visitor)
    expect(person(page, "Ada")).to_be_visible()
    yield "a commons, watching"
    page.get_by_role("button", name=re.compile("^live")).click()
    expect(page.get_by_role("dialog", name="Connection")).to_be_visible()
    yield "the connection"
    page.keyboard.press("Escape")
    mirror(page, "This room").click()
    page.get_by_role("region", name="This room").get_by_role("button", name="a cell").click()
    yield "consent, a question"
    page.keyboard.press("Escape")
    allow(page, "in full", name="Nour")
    touch(page, -0.5, 0.5)
    expect(page.get_by_text(re.compile("^Arrived"))).to_be_visible()
    yield "a commons, speaking"
    page.get_by_role("button", name="other word").click()
    yield "words"
    page.keyboard.press("Escape")
    person(page, "Ada").get_by_role("button").click()
    expect(page.get_by_role("dialog", name="Ada")).to_be_visible()
    yield "a person"
    page.keyboard.press("Escape")
    withdraw(page).click()
    expect(withdraw(page)).to_contain_text(re.compile("acted.*recorded"))
    yield "withdrawn"
    page.get_by_role("button", name="Let them see me again").click()
    yield "and again"
    page.goto("/")
    expect(page.get_by_role("navigation").get_by_role("link", name=COMMONS)).to_be_visible()
    yield "choosing"
    page.get_by_role("button", name=re.compile("^Your keys")).click()
    page.get_by_role("button", name="Show the words").click()
    expect(page.get_by_role("listitem").filter(has_text=re.compile(r"^24"))).to_be_visible()
    yield "keys and words"


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (WIDE, "light")])
def test_every_screen_can_be_read_by_everybody(
    shared_city: RunningCity, visit: Visit, size: tuple[int, int], scheme: str, look: Look
) -> None:
    visitor = visit(shared_city.url, size=size, scheme=scheme)
    wrong: list[str] = []
    for name in screens(visitor):
        look(visitor.page, f"{name}, {size[0]}, {scheme}")
        wrong += [f"{name}: {each}" for each in violations(visitor.page)]
        if sideways(visitor.page) > 0:
            wrong.append(f"{name}: scrolls sideways by {sideways(visitor.page)} px")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_forced_colours_the_dot_of_the_link_tells_its_states_apart(
    quiet_city: RunningCity, visit: Visit, scheme: str
) -> None:
    visitor = visit(quiet_city.url, scheme=scheme, forced_colors="active")
    page = visitor.open()
    expect(page.get_by_role("button", name="Make my keys and enter")).to_be_visible()
    # a copy, which the page does not draw again meanwhile
    page.evaluate(
        """() => {
            const copied = document.getElementById("link").cloneNode(true);
            Object.assign(copied.style, { position: "fixed", left: 0, top: "50%", zIndex: 9 });
            document.body.append(copied);
        }"""
    )
    dot = page.locator("body > #link i")
    looks = {}
    for kind in ("live", "lost", "connecting"):
        page.locator("body > #link").evaluate("(link, kind) => { link.dataset.kind = kind; }", kind)
        looks[kind] = dot.screenshot()
    dot.evaluate("(dot) => { dot.style.background = 'none'; dot.style.border = 0; }")
    looks["none"] = dot.screenshot()
    assert len(set(looks.values())) == len(looks), "each differs from the others, and from no dot"

"""What people do at the page, in the words that stand on it."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.visitor import Visitor

COMMONS = "Emotive Commons"
MIRRORS = ("This room", "Followers", "All others")


def plane(page: Page) -> Locator:
    return page.get_by_role("figure", name=re.compile("^The plane"))


def slider(page: Page, name: str) -> Locator:
    """`Pleasant` or `Lively`."""
    return page.get_by_role("group", name="How you feel").get_by_role("slider", name=name)


def mirror(page: Page, who: str) -> Locator:
    """One of `MIRRORS`."""
    region = page.get_by_role("region", name="Who sees you now")
    return region.get_by_role("button", name=re.compile(f"^{who}:"))


def seen(page: Page) -> Locator:
    """The text twin: everybody who is seen."""
    return page.get_by_role("region", name="Who you see")


def person(page: Page, name: str) -> Locator:
    """Somebody's row in the list."""
    return seen(page).get_by_role("listitem").filter(has_text=name)


def withdraw(page: Page) -> Locator:
    return page.get_by_role(
        "button", name=re.compile("^(Withdraw everything|Withdrawing|Withdrawn)")
    )


def enter(visitor: Visitor, slug: str = "emotive-commons", name: str = COMMONS) -> Page:
    """From a room's link into the room, with new keys."""
    page = visitor.open(f"/?room={slug}")
    page.get_by_role("button", name="Make my keys and enter").click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Start speaking")).to_be_enabled()
    return page


def allow(page: Page, tier: str, *, who: str = "This room", name: str | None = None) -> None:
    """Open a mirror, choose more, read, press; until it is recorded."""
    mirror(page, who).click()
    sheet = page.get_by_role("dialog", name="Who sees me")
    section = sheet.get_by_role("region", name=who)
    section.get_by_role("button", name=tier, exact=True).click()
    if name is not None:
        field = section.get_by_role("textbox", name=re.compile("^By which name"))
        field.fill(name)
        field.blur()
    section.get_by_role("button", name=re.compile("^Let ")).click()
    expect(section.get_by_text(re.compile("^recorded after"))).to_be_visible()
    sheet.get_by_role("button", name="Close", exact=True).click()


def narrow(page: Page, tier: str, *, who: str = "This room") -> None:
    """One press, nothing to read; until it is acted."""
    mirror(page, who).click()
    sheet = page.get_by_role("dialog", name="Who sees me")
    section = sheet.get_by_role("region", name=who)
    section.get_by_role("button", name=tier, exact=True).click()
    expect(section.get_by_text(re.compile("^(acted|recorded)[^…]* after"))).to_be_visible()
    sheet.get_by_role("button", name="Close", exact=True).click()


def place(page: Page, valence: float, arousal: float) -> tuple[float, float]:
    """Where on the screen that feeling lies; −1…1. No mark goes into the margin of 30 px."""
    box = plane(page).bounding_box()
    assert box is not None
    side = box["width"] - 60
    return (
        box["x"] + 30 + (valence + 1) / 2 * side,
        box["y"] + 30 + (1 - arousal) / 2 * side,
    )


def touch(page: Page, valence: float, arousal: float) -> None:
    """A finger on the plane, there and up again; once more if a notice moved the plane meanwhile."""
    where = None
    while where != (where := place(page, valence, arousal)):
        page.mouse.move(*where)
        page.mouse.down()
        page.mouse.up()


def go(page: Page) -> None:
    """Withdraw, if one is in a room, so that it is as it was for whoever comes next: a strand would
    outlive its socket by 10 s.
    """
    button = page.get_by_role("button", name="Withdraw everything", exact=True)
    if button.is_visible():
        button.click()
        expect(withdraw(page)).to_contain_text("acted")  # struck everywhere


def pixels(page: Page, canvas: str) -> str:
    """What a canvas shows, as one string; `canvas` is a selector."""
    drawn: Any = page.evaluate("(canvas) => document.querySelector(canvas).toDataURL()", canvas)
    return str(drawn)

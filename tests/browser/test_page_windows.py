"""Two windows of one citizen: what is allowed or withdrawn in one of them is what both show."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import allow, enter, go, mirror, narrow, touch, withdraw
from tests.support.city import RunningCity
from tests.support.visitor import Visit, Visitor

pytestmark = pytest.mark.timeout(120)

STOPPED = "You withdrew in another window, so you stopped speaking in this one too."


def another_window(visitor: Visitor) -> Page:
    page = visitor.context.new_page()
    page.goto("/?room=emotive-commons")
    expect(page.get_by_role("button", name="Start speaking")).to_be_enabled()
    return page


def test_mirrors_of_both_windows_show_what_either_allows_and_withdraws(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url)
    one = enter(visitor)
    other = another_window(visitor)
    for page in (one, other):
        touch(page, 0.3, 0.3)
        expect(page.get_by_role("button", name="Pause speaking")).to_be_visible()
        expect(mirror(page, "This room")).to_have_accessible_name(re.compile("^This room: nothing"))
    allow(one, "in full", name="Nour")
    for page in (one, other):
        expect(mirror(page, "This room")).to_have_accessible_name(re.compile("^This room: in full"))
    narrow(other, "a cell")
    for page in (one, other):
        expect(mirror(page, "This room")).to_have_accessible_name(re.compile("^This room: a cell"))
    withdraw(one).click()
    expect(withdraw(one)).to_contain_text(re.compile("acted.*recorded"))
    expect(other.get_by_role("main").get_by_text(STOPPED)).to_be_visible()
    expect(other.get_by_role("button", name="Start speaking")).to_be_visible()
    expect(mirror(other, "This room")).to_have_accessible_name(re.compile("^This room: nothing\\."))
    expect(
        other.get_by_role("button", name=re.compile("^What you allowed 0 grants"))
    ).to_be_visible()


def test_what_one_window_forgets_the_other_does_not_bring_back(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url)
    one = enter(visitor)
    other = another_window(visitor)
    one.get_by_role("button", name=re.compile("^Your keys")).click()
    one.get_by_role("button", name="Show the words").click()
    words = one.get_by_role("dialog").get_by_role("list").get_by_role("listitem")
    all_words = [text.lstrip("0123456789") for text in words.all_inner_texts()]
    one.get_by_role("checkbox", name="I wrote them down").check()
    for field in one.get_by_role("textbox", name=re.compile(r"^Word \d+$")).all():
        label = field.evaluate("(field) => field.labels[0].innerText")
        field.fill(all_words[int(re.findall(r"\d+", label)[0]) - 1].strip())
    one.get_by_role("button", name="These are my words").click()
    saved = one.get_by_role("button", name=re.compile("^Your keys"))
    expect(saved).not_to_contain_text("words not yet written down")
    allow(other, "in full", name="Nour")  # keeps a name, and nothing else
    go(other)
    one.reload()
    expect(saved).not_to_contain_text("words not yet written down")

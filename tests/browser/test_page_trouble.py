"""When something is wrong, the page says so: forged seals, late withdrawals, losses, a killed gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from playwright.sync_api import Browser, expect

from shared.subjects import SERVICES
from tests.browser.steps import MIRRORS, allow, enter, mirror, person, pixels, touch, withdraw
from tests.support.city import RunningCity, running_city
from tests.support.lying_gateway import (
    LyingGateway,
    Message,
    Tamper,
    flip_samples,
    forge_seals,
    lying_gateway,
    withhold,
)
from tests.support.visitor import PHONE, Visit

pytestmark = pytest.mark.timeout(120)

BROKEN_SOCKET = "WebSocket connection to|ERR_CONNECTION|ERR_EMPTY_RESPONSE"
"""What Chromium itself writes when a gateway dies or is not there."""
RECONNECTING = "No connection. You send nothing and see nothing new. Trying again."
SLOW = (
    "Not confirmed yet. We cut off the part that is late and keep trying. You are sending nothing."
)


@pytest.fixture
def liar(quiet_city: RunningCity) -> Iterator[LyingGateway]:
    with lying_gateway(quiet_city.url) as gateway:
        yield gateway


@pytest.mark.parametrize("lie", [flip_samples, forge_seals])
def test_a_false_seal_is_shown_as_false(
    quiet_city: RunningCity, liar: LyingGateway, visit: Visit, lie: Tamper
) -> None:
    viewer, speaker = visit(liar.url), visit(quiet_city.url, size=PHONE)
    there, here = enter(viewer), enter(speaker)
    allow(here, "in full", name="Kira Voss")
    touch(here, 0.5, 0.5)
    expect(person(there, "Kira Voss")).to_contain_text("pleasant, lively")
    assert there.get_by_role("alert").inner_text() == ""
    true = pixels(there, "[data-layer=others]")
    liar.tamper = lie
    touch(here, -0.5, 0.5)
    told = re.compile(
        r"^Kira Voss: one seal does not verify\. "
        r"What you saw since \d\d:\d\d:\d\d may not be from them\.$"
    )
    expect(there.get_by_role("alert")).to_have_text(told)
    expect(there.get_by_role("main").get_by_text(told)).to_be_visible()
    expect(person(there, "Kira Voss")).to_contain_text("seal is false")
    expect(person(there, "Kira Voss")).not_to_contain_text("lively")
    assert pixels(there, "[data-layer=others]") != true
    # the rest of the strand stays what it is: no second alert, no way back
    touch(here, 0.5, -0.5)
    alert = there.get_by_role("alert").inner_text()
    there.wait_for_function("() => new Promise((done) => setTimeout(() => done(true), 1500))")
    assert there.get_by_role("alert").inner_text() == alert
    expect(person(there, "Kira Voss")).to_contain_text("seal is false")


def test_a_withdrawal_that_is_not_acted_says_so_and_strikes_all_the_same(
    quiet_city: RunningCity, liar: LyingGateway, visit: Visit
) -> None:
    visitor = visit(liar.url, size=PHONE)
    page = enter(visitor)
    allow(page, "in full")
    touch(page, 0.5, 0.5)
    expect(mirror(page, "This room")).to_have_accessible_name(re.compile("in full"))
    speaking = pixels(page, "[data-layer=you]")
    liar.tamper = withhold("acted", "recorded")
    struck = page.evaluate(
        """() => new Promise((done) => {
            const said = () => [...document.querySelectorAll('[aria-labelledby=mirrors-h] button')]
                .map((button) => button.getAttribute('aria-label'));
            document.getElementById('withdraw').click();
            requestAnimationFrame(() => requestAnimationFrame(() => done(said())));
        })"""
    )
    assert len(struck) == 3
    assert all(re.match(r"(This room|Followers|All others): nothing\.", each) for each in struck)
    assert pixels(page, "[data-layer=you]") != speaking, "hollow, and dashed"
    sent = len(visitor.bodies())
    expect(page.get_by_role("alert")).to_have_text(SLOW)
    expect(page.get_by_role("main").get_by_text(SLOW)).to_be_visible()
    expect(withdraw(page)).to_contain_text("asked")
    assert visitor.heard("acted") == [], "no answer has come"
    assert len(visitor.heard("recorded")) == 1, "but to the grant"
    for who in MIRRORS:
        expect(mirror(page, who)).to_have_accessible_name(re.compile(": nothing"))
    assert len(visitor.bodies()) == sent
    liar.tamper = None
    liar.cut()
    visitor.expect_problem(BROKEN_SOCKET)
    expect(withdraw(page)).to_contain_text(re.compile("Withdrawn"))
    expect(page.get_by_role("alert")).to_have_text("")


def test_numbers_that_were_lost_are_counted_and_break_the_trail(
    quiet_city: RunningCity, liar: LyingGateway, visit: Visit
) -> None:
    viewer, speaker = visit(liar.url), visit(quiet_city.url, size=PHONE)
    there, here = enter(viewer), enter(speaker)
    allow(here, "in full", name="Teo")
    touch(here, 0.2, 0.2)
    row = person(there, "Teo")
    expect(row).to_contain_text("slightly pleasant")
    liar.tamper = lose_every_other
    for step in range(200):  # until one window has both: what came, and what did not
        touch(here, -0.4, (step % 10) / 10)
        if "parts missing" in row.inner_text():
            break
    expect(row).to_contain_text("parts missing")
    missing = (
        r"^Teo: \d+ samples? (is|are) missing \(lost on the way\)\. "
        r"The break in the trail shows where\.$"
    )
    expect(there.get_by_role("main").get_by_text(re.compile(missing))).to_be_visible()
    assert there.get_by_role("alert").inner_text() == "", "a loss is no offence"


def lose_every_other(message: Message) -> list[Message]:
    """Odd numbers never arrive, and that is said."""
    if message[0] != "sample":
        return [message]
    number = msgpack.unpackb(message[2], raw=False)[0]
    return [["skipped", message[1], number, number, "lost"]] if number % 2 else [message]


def test_after_a_killed_gateway_the_page_is_honest(
    tmp_path: Path, browser: Browser, visit: Visit
) -> None:
    with running_city(tmp_path / "state", "--services", ",".join(SERVICES)) as city:
        viewer = visit(city.url, expects=(BROKEN_SOCKET,))
        speaker = visit(city.url, size=PHONE, expects=(BROKEN_SOCKET,))
        there, here = enter(viewer), enter(speaker)
        allow(here, "in full", name="Ilse")
        touch(here, 0.5, 0.5)
        expect(person(there, "Ilse")).to_be_visible()
        pid = city.kill("gateway-0")
        expect(there.get_by_role("main").get_by_text(RECONNECTING)).to_be_visible()
        expect(there.get_by_role("button", name=re.compile("^reconnecting"))).to_be_visible()
        city.wait_successor("gateway-0", pid, within_s=20)
        back = there.get_by_role("main").get_by_text(re.compile(r"^Back\. "))
        expect(back).to_be_visible(timeout=20_000)
        recovered = viewer.heard("snapshot")[-1][3]
        assert ("Nothing was missed" in back.inner_text()) == recovered
        # both go on by themselves
        touch(here, -0.5, 0.5)
        expect(person(there, "Ilse")).to_contain_text("unpleasant, lively", timeout=20_000)
        withdraw(here).click()
        expect(person(there, "Ilse")).to_have_count(0)
        viewer.close()
        speaker.close()

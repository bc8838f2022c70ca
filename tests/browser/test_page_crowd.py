"""Many on the plane: frames, silence for screen readers, the limit, and stillness when nobody moves."""

from __future__ import annotations

import re
import statistics
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import allow, enter, mirror, pixels, seen, touch
from tests.support.city import RunningCity
from tests.support.crowd import crowd
from tests.support.visitor import Visit

pytestmark = pytest.mark.timeout(120)

PEOPLE = 50
"""As many as see each other in the commons (`close_limit`)."""
BEYOND = (
    "More than 50 are here. You see the room's mood and the people you follow. "
    "This changes back below 45."
)
WATCHED_S = 5
WORK_MEDIAN_MS_MAX = 16.7
"""Of the page's own work in a frame. How often frames come is the machine's, which may be busy: that is
printed. The goal, on a quiet one, is a p95 of 16.7 ms between frames.
"""
HEAP_GROWTH_BYTES_MAX = 5_000_000
MEASURE = """(forMs) => new Promise((done) => {
    const frames = [];
    const said = [];
    const status = document.querySelector('[role=status]');
    const looking = new MutationObserver(() => said.push([performance.now(), status.textContent]));
    looking.observe(status, { childList: true, characterData: true, subtree: true });
    const began = performance.now();
    let last = began;
    const frame = (now) => {
        frames.push(now - last);
        last = now;
        if (now - began < forMs) frameUntimed(frame);
        else { looking.disconnect(); done({ frames: frames.slice(1), said }); }
    };
    frameUntimed(frame);
})"""
TIME_FRAMES = """() => {
    const ask = requestAnimationFrame;
    window.frameUntimed = ask;
    window.workMs = [];
    window.requestAnimationFrame = (act) => ask((now) => {
        const began = performance.now();
        act(now);
        window.workMs.push(performance.now() - began);
    });
}"""
COUNT_FRAMES = """() => {
    const ask = requestAnimationFrame;
    window.framesAsked = 0;
    window.requestAnimationFrame = (act) => { window.framesAsked += 1; return ask(act); };
}"""


FRAMES = """(ms) => new Promise((done) => {
  window.framesAsked = 0;
  const began = performance.now();
  const tell = () => done(Math.floor((window.framesAsked * ms) / (performance.now() - began)));
  setTimeout(tell, ms);
})"""


def frames_within(page: Page, ms: int) -> int:
    """How many frames the page asks for in so long; a timer that fires late counts for longer."""
    return int(page.evaluate(FRAMES, ms))


def heap_bytes(page: Page) -> int:
    """Live bytes, after everything that may go has gone."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used: dict[str, Any] = session.send("Runtime.getHeapUsage")
    session.detach()
    return int(used["usedSize"])


def test_fifty_people_move_and_the_page_keeps_its_calm(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url)
    visitor.context.add_init_script(f"({TIME_FRAMES})()")
    page = enter(visitor)
    with crowd(quiet_city.websocket_url, PEOPLE, per_s=4):
        expect(seen(page).get_by_role("listitem")).to_have_count(PEOPLE, timeout=30_000)
        before = heap_bytes(page)
        page.evaluate("() => { window.workMs.length = 0; }")
        measured = page.evaluate(MEASURE, WATCHED_S * 1000)
        work = sorted(page.evaluate("() => window.workMs"))
        grown = heap_bytes(page) - before
        frames = sorted(measured["frames"])
        print(
            f"{PEOPLE} people, {len(frames)} frames in {WATCHED_S} s: between them median "
            f"{statistics.median(frames):.1f} ms, p95 {frames[int(len(frames) * 0.95)]:.1f}; work median "
            f"{statistics.median(work):.1f} ms, p95 {work[int(len(work) * 0.95)]:.1f}; "
            f"heap {grown / 1e6:+.2f} MB"
        )
        assert statistics.median(work) < WORK_MEDIAN_MS_MAX
        assert grown < HEAP_GROWTH_BYTES_MAX
        assert len(measured["said"]) <= 1 + WATCHED_S // 5, "one sentence in five seconds at most"
        assert not re.search(r"\b(5[01])\b", page.locator("body").inner_text()), "no head count"
        # on demand it is read
        page.get_by_role("button", name="Read the room").click()
        expect(page.get_by_role("status")).to_contain_text("Guest 7:")
    expect(seen(page).get_by_role("listitem")).to_have_count(0)


def test_beyond_the_limit_the_rooms_mirror_says_counted(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url)
    page = enter(visitor)
    allow(page, "in full")
    touch(page, 0.5, 0.5)
    expect(mirror(page, "This room")).to_have_accessible_name(re.compile("in full"))
    with crowd(quiet_city.websocket_url, PEOPLE, tier=2, per_s=0):
        expect(page.get_by_text(BEYOND)).to_be_visible()
        expect(mirror(page, "This room")).to_have_accessible_name(re.compile("counted"))
        expect(seen(page).get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_text(BEYOND)).to_be_hidden()
    expect(mirror(page, "This room")).to_have_accessible_name(re.compile("in full"))


def test_where_nobody_moves_nothing_is_drawn(quiet_city: RunningCity, visit: Visit) -> None:
    visitor = visit(quiet_city.url)
    visitor.context.add_init_script(f"({COUNT_FRAMES})()")
    page = enter(visitor)
    with crowd(quiet_city.websocket_url, 3, per_s=2, feel=lambda person, _: (300 * person, 100)):
        expect(seen(page).get_by_role("listitem")).to_have_count(3)
        expect(seen(page).get_by_role("listitem").last).to_contain_text("pleasant")
        page.wait_for_function(
            "() => new Promise((done) => { const from = window.framesAsked;"
            " setTimeout(() => done(window.framesAsked === from), 1500); })"
        )
        still = pixels(page, "[data-layer=others]")
        assert frames_within(page, 5000) == 0
        assert pixels(page, "[data-layer=others]") == still


def test_with_reduced_motion_marks_step_and_leave_no_trail(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url, reduced_motion="reduce")
    visitor.context.add_init_script(f"({COUNT_FRAMES})()")
    page = enter(visitor)
    with crowd(quiet_city.websocket_url, 3, per_s=8):
        expect(seen(page).get_by_role("listitem")).to_have_count(3)
        page.wait_for_function("() => window.framesAsked > 2")
        assert 1 <= frames_within(page, 3000) <= 7, "two steps a second"

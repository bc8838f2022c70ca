"""One browser a module (its loop must not outlive the module's tests), one context a person."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from shared.subjects import SERVICES
from tests.browser.steps import go
from tests.support.city import RunningCity, running_city
from tests.support.visitor import ANSWER_MS_MAX, Visit, Visitor, launch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=ANSWER_MS_MAX)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def quiet_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCity]:
    """A city without scripted citizens: who comes in a test goes after it."""
    state = tmp_path_factory.mktemp("city") / "state"
    with running_city(state, "--services", ",".join(SERVICES)) as city:
        yield city


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Makes visitors, and holds each to having had no problem."""
    visitors: list[Visitor] = []

    def come(url: str, **options: object) -> Visitor:
        visitors.append(Visitor(browser, url, **options))  # type: ignore[arg-type]
        return visitors[-1]

    yield come
    for visitor in visitors:
        if not visitor.page.is_closed():
            go(visitor.page)
    problems = [problem for visitor in visitors for problem in visitor.problems]
    for visitor in visitors:
        visitor.close()
    assert problems == []

"""Fixtures that more than one kind of test shares live in `tests/support`, by name.

`make test` runs several workers (pytest-xdist) because most tests of a city wait for something. A
group of tests stays with one worker: those of one running city, those of a module that share what it
has started, those of a pure module. The longest groups begin first, and the short ones fill the gaps
at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

pytest_plugins = ("tests.support.broker", "tests.support.city", "tests.support.bystanders")

# laws are not timed: speed lives in the benchmarks, and a busy machine is no failure
hypothesis.settings.register_profile(
    "laws", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("laws")

LAWS, MUTANTS, SHARED, BROWSER, CITY, PURE = range(6)
"""The order in which groups begin."""
PURE_FOLDERS = {"architecture", "contract", "unit"}
PROCESSES_S_MAX = 60
"""For a test that starts processes and says nothing else: others start theirs on the same cores."""
SHARED_FIXTURES = {"shared_city": "shared city", "bystanders": "quiet city"}
"""Cities that live as long as the run, and the groups of those who use them."""
LONG_LIVED = {"shared_city", "quiet_city"}
_living: dict[pytest.FixtureDef[Any], None] = {}
"""Those cities that tests of this process have used, until they are ended."""


def shares_its_modules(item: pytest.Item) -> bool:
    """Whether something that the project starts lives for the whole of the item's module."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = {} if info is None else info.name2fixturedefs
    return any(
        found[-1].scope == "module" and found[-1].func.__module__.startswith("tests")
        for found in definitions.values()
    )


def place_of(item: pytest.Item) -> tuple[int, str | None]:
    """Where in the order a test begins, and the group that it must not be parted from."""
    folder, module = item.path.parent.name, item.path.stem
    if folder == "simulation":
        # a thousand seeds in processes of their own first, then the mutants
        return (LAWS if module == "test_laws" else MUTANTS), folder
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in SHARED_FIXTURES:
            return SHARED, SHARED_FIXTURES[fixture]
    if folder in PURE_FOLDERS:
        return PURE, f"{folder}/{module}"
    rank = BROWSER if folder == "browser" else CITY
    return rank, f"{folder}/{module}" if shares_its_modules(item) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Around the other plugins': xdist must find the groups, and the order must outlast the shuffling."""
    places = {id(item): place_of(item) for item in items}
    for item in items:
        rank, group = places[id(item)]
        if rank != PURE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PROCESSES_S_MAX))
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    if config.getoption("loadgroup", False):
        # else each worker would start every city of the run, and nobody be told
        for item in items:
            group = places[id(item)][1]
            assert group is None or item.nodeid.endswith(f"@{group}"), "xdist lost a group"
    # stable: within one rank the order stays as random as it was
    items.sort(key=lambda item: (*stage_of(places[id(item)]), places[id(item)][1] is None))


def stage_of(place: tuple[int, str | None]) -> tuple[int, str]:
    """What runs without a break between its tests: a rank, or those of one city in it."""
    rank, group = place
    return rank, (group or "") if rank == SHARED else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Should a later test want such a city all the same, pytest makes it another."""
    done = yield
    info = getattr(item, "_fixtureinfo", None)
    for name, found in ({} if info is None else info.name2fixturedefs).items():
        if name in LONG_LIVED and found[-1].scope == "session":
            _living[found[-1]] = None
    if nextitem is not None and stage_of(place_of(nextitem)) != stage_of(place_of(item)):
        while _living:
            _living.popitem()[0].finish(item._request)  # type: ignore[attr-defined]
    return done


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests have found out (`record_property`), on the way to the closing line."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")

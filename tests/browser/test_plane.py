"""The plane's pure parts, under Node's own test runner."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.node_citizen import ROOT
from tests.browser.node_tests import assert_all_pass

pytestmark = pytest.mark.timeout(60)

PLANE = ROOT / "services/gateway/page/plane"
NODE_TESTS = sorted((ROOT / "tests/browser/plane").glob("*.test.js"))
SHELLS = {"plane.js", "pad.js"}
"""Who may read the clock, wait, or ask for a frame."""
PAINTERS = {"shapes.js", "tokens.js"}
"""Who may make canvases and paths, or read styles. Everybody else is given what it draws on."""
LINES_MAX = 300


@pytest.mark.parametrize("tests", NODE_TESTS, ids=lambda path: path.name)
def test_nodes_own_tests_pass(tests: Path) -> None:
    assert_all_pass(tests)


def modules() -> list[Path]:
    return sorted(PLANE.glob("*.js"))


def test_the_plane_imports_nothing_but_itself() -> None:
    assert len(modules()) > 5
    for path in modules():
        for found in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", path.read_text()):
            if found.startswith("../client/"):  # types in comments
                continue
            assert re.fullmatch(r"\./[a-z0-9_]+\.js", found), f"{path.name} imports {found}"
            assert (PLANE / found).exists()


def test_only_the_shells_ask_for_time_or_wait() -> None:
    asks = re.compile(
        r"Date\.now|performance\.|Math\.random|setTimeout|setInterval|requestAnimationFrame"
    )
    for path in modules():
        if path.name not in SHELLS:
            assert not asks.search(path.read_text()), path.name


def test_only_shells_and_painters_know_of_a_screen() -> None:
    screen = re.compile(r"\bdocument\.|\bwindow\.\w|getComputedStyle|Path2D|OffscreenCanvas")
    for path in modules():
        if path.name not in SHELLS | PAINTERS:
            assert not screen.search(path.read_text()), path.name


def test_nothing_is_written_as_markup() -> None:
    for path in modules():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b", path.read_text())


def test_no_module_is_too_long_to_read() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) < LINES_MAX, path.name

"""The JavaScript client, which shares no line with the Python one: same bytes, same judgements.

Node's own test runner runs its tests, which read the golden files that Python wrote; here it is seen
that Python still makes them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.golden_write import GOLDEN, files, main, written
from tests.browser.node_citizen import ROOT
from tests.browser.node_tests import assert_all_pass

pytestmark = pytest.mark.timeout(120)

CLIENT = ROOT / "services/gateway/page/client"
NODE_TESTS = sorted((ROOT / "tests/browser/client").glob("*.test.js"))
LINES_MAX = 300


@pytest.mark.parametrize("tests", NODE_TESTS, ids=lambda path: path.name)
def test_nodes_own_tests_pass(tests: Path) -> None:
    assert_all_pass(tests)


def test_python_still_makes_every_golden_file() -> None:
    made = files()
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(made)
    for name, content in made.items():
        assert (GOLDEN / f"{name}.json").read_text() == written(content), name


def test_golden_files_are_not_written_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    assert main() == 1


def modules() -> list[Path]:
    return sorted(CLIENT.glob("*.js"))


def test_the_client_imports_nothing_but_itself() -> None:
    assert len(modules()) > 5
    for path in modules():
        for found in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", path.read_text()):
            assert re.fullmatch(r"\./[a-z0-9_]+\.js", found), f"{path.name} imports {found}"
            assert (CLIENT / found).exists()


def test_only_the_shell_asks_for_time_or_randomness_or_waits() -> None:
    asks = re.compile(
        r"Date\.now|performance\.|Math\.random|getRandomValues|setTimeout|setInterval|new WebSocket"
    )
    for path in modules():
        if path.name != "connection.js":
            assert not asks.search(path.read_text()), path.name


def test_no_module_is_too_long_to_read() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) < LINES_MAX, path.name

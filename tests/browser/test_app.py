"""The page's screens: their pure parts under Node's test runner, and what no module of them may do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.codec import sha256
from shared.identity import Signer
from tests.browser.node_citizen import ROOT
from tests.browser.node_tests import assert_all_pass

pytestmark = pytest.mark.timeout(60)

PAGE = ROOT / "services/gateway/page"
APP = PAGE / "app"
NODE_TESTS = sorted((ROOT / "tests/browser/app").glob("*.test.js"))
PURE = (
    *("address", "asides", "copy", "desk", "ends", "link", "mirrors", "notices", "recovery"),
    *("says", "times", "withdrawal", "word_list"),
)
"""What decides; everything else is a shell or a screen."""
LINES_MAX = 500


@pytest.mark.parametrize("tests", NODE_TESTS, ids=lambda path: path.name)
def test_nodes_own_tests_pass(tests: Path) -> None:
    assert_all_pass(tests)


def test_the_keys_of_24_words_are_those_that_another_reader_derives() -> None:
    """HKDF-SHA-256 without salt, as docs/protocol.md says; the seed is 32 zero bytes."""

    def key(purpose: str) -> bytes:
        info = f"synchronia/1/words/{purpose}".encode()
        return Signer(HKDF(SHA256(), 32, salt=None, info=info).derive(bytes(32))).public_key

    frozen = re.findall(
        r'^  "([0-9a-f]{64})",$',
        (ROOT / "tests/browser/app/recovery.test.js").read_text(),
        re.MULTILINE,
    )
    assert frozen == [key("identity").hex(), key("device").hex(), sha256(key("next")).hex()]


def modules() -> list[Path]:
    return sorted(APP.rglob("*.js"))


def test_modules_import_only_the_page() -> None:
    assert len(modules()) > 10
    for path in modules():
        for found in re.findall(
            r"""^(?:import|export)\b[^"';]*?from\s*["']([^"']+)["']""",
            path.read_text(),
            re.MULTILINE,
        ):
            assert found.startswith("."), f"{path.name} imports {found}"
            assert (path.parent / found).resolve().is_relative_to(PAGE)
            assert (path.parent / found).exists(), f"{path.name} imports {found}"


@pytest.mark.parametrize("name", PURE)
def test_what_decides_asks_for_no_time_no_screen_and_no_network(name: str) -> None:
    text = (APP / f"{name}.js").read_text()
    asks = r"Date\.now|performance\.|Math\.random|getRandomValues|setTimeout|setInterval"
    screen = r"\bdocument\.|\bwindow\.|navigator\.|indexedDB|\bfetch\(|WebSocket|localStorage"
    assert not re.search(f"{asks}|{screen}", text)


def test_nothing_is_written_as_markup_and_nobody_is_asked_whether_they_are_sure() -> None:
    for path in modules():
        markup = r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b|document\.write"
        dialogs = r"\b(?:confirm|alert|prompt)\("
        assert not re.search(f"{markup}|{dialogs}", path.read_text()), path.name


def test_the_page_has_no_style_or_script_of_its_own_in_the_markup() -> None:
    text = (PAGE / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", text)
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_every_element_that_a_module_asks_for_is_there() -> None:
    ids = set(re.findall(r'\sid="([^"]+)"', (PAGE / "index.html").read_text()))
    for path in modules():
        for asked in re.findall(r'(?:byId|press)\("([^"]+)"', path.read_text()):
            assert asked in ids, f"{path.name} asks for #{asked}"


def test_no_module_is_too_long_to_read() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) < LINES_MAX, path.name

"""Somebody at the page in a real browser, and everything that must never happen there.

A `Visitor` is a browser context of its own: own keys, own storage. What the page wrote on the console,
asked of other origins or violated of its policy is a problem, and problems fail the test that has them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgpack
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    WebSocket,
)

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = """\
the browser tests need a Chromium of version 137 or later (WebCrypto Ed25519); none of {names} is in \
PATH and Playwright has none of its own. On Debian: apt-get install chromium. Elsewhere: \
python -m playwright install chromium"""
CITY_HOST = "city.test"
"""This machine under a name that no browser trusts: no https, so no WebCrypto."""
PHONE = (360, 640)
WIDE = (1280, 800)
ANSWER_MS_MAX = 15_000
"""How long the page may take for anything that a test waits for; wide, the machine may be busy."""
OWN_CLOSE = "WebSocket is closed before the connection is established"
"""Chromium's word on a page that has changed its mind; nothing is wrong."""
Scheme = Literal["light", "dark"]


class NoBrowserError(AssertionError):
    """Nothing to test in. Never a reason to skip."""


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, else Playwright's. Raises: NoBrowserError."""
    found = next((path for path in map(shutil.which, NAMES) if path is not None), None)
    found = found or playwright.chromium.executable_path
    if not Path(found).exists():
        raise NoBrowserError(MISSING.format(names=", ".join(NAMES)))
    args = ["--force-color-profile=srgb", f"--host-resolver-rules=MAP {CITY_HOST} 127.0.0.1"]
    return playwright.chromium.launch(executable_path=found, args=args)


class Visitor:
    """One person's browser. `page` is for looking and pressing; `frames` is what went over the wire."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        size: tuple[int, int] = WIDE,
        scheme: Scheme = "light",
        expects: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        """`url`: http://host:port. `expects`: patterns of console errors that the test provokes."""
        self.url = url
        self.problems: list[str] = []
        self.sockets = 0
        self.sent: list[list[Any]] = []
        """Messages of all sockets, decoded, in order."""
        self.received: list[list[Any]] = []
        self._expects = [re.compile(pattern) for pattern in (OWN_CLOSE, *expects)]
        self.context: BrowserContext = browser.new_context(
            base_url=url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            timezone_id="Europe/Lisbon",
            locale="en-GB",
            **options,
        )
        self.context.set_default_timeout(ANSWER_MS_MAX)
        self.context.on("request", self._asked)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self._problem(f"error: {error.error}"))
        self.page: Page = self.context.new_page()
        self.page.on("websocket", self._connected)
        self.page.on("dialog", self._dialog)

    def expect_problem(self, pattern: str) -> None:
        """What the test is about to provoke is none."""
        self._expects.append(re.compile(pattern))

    def open(self, path: str = "/") -> Page:
        self.page.goto(path)
        return self.page

    def said(self, name: str) -> list[list[Any]]:
        """Messages of this name that the page has sent so far."""
        return [message for message in self.sent if message[0] == name]

    def heard(self, name: str) -> list[list[Any]]:
        return [message for message in self.received if message[0] == name]

    def bodies(self) -> list[list[Any]]:
        """Every sample that has left the page: `[seq, t_ms, valence, arousal, …]`."""
        return [
            msgpack.unpackb(body, raw=False) for said in self.said("samples") for body in said[4]
        ]

    def close(self) -> None:
        self.context.close()

    # ── what must not happen ─────────────────────────────────────────────────────────────────────

    def _problem(self, what: str) -> None:
        if not any(pattern.search(what) for pattern in self._expects):
            self.problems.append(what)

    def _asked(self, request: Request) -> None:
        parts, own = urlsplit(request.url), urlsplit(self.url)
        if parts.scheme not in {"blob", "data"} and parts.netloc != own.netloc:
            self._problem(f"asked another origin: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        """Reports of the policy arrive here too."""
        if message.type in {"error", "warning", "assert"}:
            where = message.location["url"].removeprefix(self.url)
            self._problem(f"console {message.type}: {message.text} {where}")

    def _dialog(self, dialog: Any) -> None:
        self._problem(f"a {dialog.type} dialog: {dialog.message}")
        dialog.dismiss()

    # ── what goes over the wire ──────────────────────────────────────────────────────────────────

    def _connected(self, socket: WebSocket) -> None:
        if urlsplit(socket.url).netloc != urlsplit(self.url).netloc:
            self._problem(f"a socket to another origin: {socket.url}")
        self.sockets += 1
        socket.on("framesent", lambda payload: self.sent.extend(_messages(payload)))
        socket.on("framereceived", lambda payload: self.received.extend(_messages(payload)))


Visit = Callable[..., Visitor]
"""The fixture `visit`: a city's url and a visitor's options."""


def _messages(payload: str | bytes) -> list[list[Any]]:
    assert isinstance(payload, bytes), "the page speaks MessagePack"
    messages: list[list[Any]] = msgpack.unpackb(payload, raw=False)
    return messages

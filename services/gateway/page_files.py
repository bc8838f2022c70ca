"""The page's files, read and packed once at start, and how they are answered.

Only names that were found at start are served, so no path of a request ever reaches the disk. A
browser keeps what it has and asks whether it still holds (ETag): a new version of the page is seen at
the next visit, and costs one short answer a file otherwise.

Modules are written one idea a file; a browser gets them as one (`page_module`), since sixty answers
would be late on a phone. Each stays there for readers too.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from services.gateway.page_module import joined, tight

FOLDER = Path(__file__).with_name("page")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
MODULE = "/page.js"
"""All that the page begins with, in the place of the module that index.html names."""
_SCRIPT = re.compile(r'(?<=<script type="module" src=")/?([^"]+)(?=">)')
_RULES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",  # covers this origin's sockets too (CSP level 3)
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
POLICY = "; ".join(_RULES)
"""Nothing of anybody else, nothing inline, no text that becomes script."""
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), "
        "magnetometer=(), microphone=(), midi=(), payment=(), usb=()"
    ),
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a file's bytes, plain or packed, with a name of its own (RFC 9110, 8.8.3.3)."""

    payload: bytes = field(repr=False)
    etag: str


@dataclass(frozen=True, slots=True)
class PageFile:
    """`packed` is nil where packing saves nothing."""

    content_type: str
    plain: Form
    packed: Form | None


class PageFiles:
    """What is served at `/` and below, by path.

    Raises: ValueError when a file in the folder is of no known type, index.html is not there, or modules
    import each other in a circle.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        found = {
            "/" + path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        unknown = [name for name, path in found.items() if path.suffix not in TYPES]
        if unknown or "/index.html" not in found:
            raise ValueError(f"no page to serve: {unknown or 'index.html is not there'}")
        files = {name: path.read_text(encoding="utf-8") for name, path in found.items()}
        modules = {name: text for name, text in files.items() if name.endswith(".js")}
        for src in _SCRIPT.findall(files["/index.html"]):
            files[MODULE] = joined(modules, f"/{src}")
        files["/index.html"] = _SCRIPT.sub(MODULE, files["/index.html"])
        self._files = {name: _file(name, text) for name, text in files.items()}
        self._files["/"] = self._files.pop("/index.html")

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self._files)

    def answer(self, path: str, headers: Mapping[str, str]) -> web.Response:
        """To a GET or HEAD of one of `paths`."""
        file = self._files[path]
        takes_gzip = file.packed is not None and _takes_gzip(headers.get("Accept-Encoding", ""))
        form = file.packed if file.packed is not None and takes_gzip else file.plain
        ours = HEADERS | {"ETag": form.etag}
        if _holds(headers.get("If-None-Match", ""), form.etag):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=ours)
        ours["Content-Type"] = file.content_type
        if takes_gzip:
            ours["Content-Encoding"] = "gzip"
        return web.Response(body=form.payload, headers=ours)


def _file(name: str, text: str) -> PageFile:
    suffix = Path(name).suffix
    plain = (tight(text) if suffix == ".css" else text).encode()
    packed = gzip.compress(plain, mtime=0)
    return PageFile(
        TYPES[suffix], _named(plain), _named(packed) if len(packed) < len(plain) else None
    )


def _named(payload: bytes) -> Form:
    return Form(payload, f'"{hashlib.sha256(payload).hexdigest()[:32]}"')


def _takes_gzip(accepted: str) -> bool:
    """RFC 9110, 12.5.3, as far as gzip goes: named or `*`, and not with a weight of 0."""
    weights: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        weights[coding] = weight.strip("0.") != "" or weight == ""
    return weights.get("gzip", weights.get("*", False))


def _holds(asked: str, etag: str) -> bool:
    """Whether an If-None-Match names what we would send; compared weakly (RFC 9110, 13.1.2)."""
    named = [part.strip().removeprefix("W/") for part in asked.split(",")]
    return etag in named or named == ["*"]

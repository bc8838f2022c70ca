"""The page over HTTP: what is served and kept by a browser, and what a kept connection may do next."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest

from services.gateway.page_files import (
    FOLDER,
    PRELOADS,
    TYPES,
    PageFiles,
    begins_with,
    without_comments,
)
from tests.browser.node_citizen import NODE
from tests.component.test_gateway import make_city, on_uvloop, running_gateway, upgrade_head
from tests.support.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
RULES = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
}
FIRST_BYTES_MAX, ALL_BYTES_MAX = 85_000, 100_000
"""Packed; DECISIONS says why these."""


def served(name: str) -> bytes:
    """A file as it should arrive: index.html with a link for every module, code without comments."""
    plain = (FOLDER / name).read_bytes()
    if name.endswith((".css", ".js")):
        return without_comments(plain.decode()).encode()
    if name != "index.html":
        return plain
    links = [f'<link rel="modulepreload" href="{name}">' for name in begins_with(FOLDER)]
    return plain.replace(PRELOADS, "\n".join(links).encode())


@on_uvloop
async def test_every_file_is_served_in_its_type_and_under_the_rules(broker: Broker) -> None:
    async with (
        running_gateway(broker, is_known=False) as gateway,
        aiohttp.ClientSession(gateway.http, auto_decompress=False) as http,
    ):
        names = [p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*") if p.is_file()]
        assert "index.html" in names
        for name in names:
            path = "/" if name == "index.html" else f"/{name}"
            plain = served(name)
            for encoding, is_packed in (("gzip, br", True), ("identity", False)):
                async with http.get(path, headers={"Accept-Encoding": encoding}) as answer:
                    body = await answer.read()
                    told = answer.headers
                assert answer.status == 200, name
                assert told["Content-Type"] == TYPES[Path(name).suffix]
                is_smaller = is_packed and len(gzip.compress(plain)) < len(plain)
                assert told.get("Content-Encoding") == ("gzip" if is_smaller else None)
                assert (gzip.decompress(body) if is_smaller else body) == plain
                assert set(told["Content-Security-Policy"].split("; ")) == RULES
                assert told["X-Content-Type-Options"] == "nosniff"
                assert told["Referrer-Policy"] == "no-referrer"
                assert told["Cross-Origin-Opener-Policy"] == "same-origin"
                assert "microphone=()" in told["Permissions-Policy"]
                assert told["Cache-Control"] == "no-cache"
                assert told["Vary"] == "Accept-Encoding"
            async with http.head(path) as answer:
                assert (answer.status, await answer.read()) == (200, b"")
                assert answer.headers["Content-Length"] != "0"


@on_uvloop
async def test_a_browser_asks_only_whether_it_still_holds_the_page(broker: Broker) -> None:
    async with (
        running_gateway(broker, is_known=False) as gateway,
        aiohttp.ClientSession(gateway.http) as http,
    ):

        async def status(path: str, held: str, encoding: str = "gzip") -> int:
            asked = {"If-None-Match": held, "Accept-Encoding": encoding}
            async with http.get(path, headers=asked) as answer:
                assert (await answer.read() == b"") == (answer.status == 304)
                assert answer.headers["ETag"].strip('"').isalnum()
                return answer.status

        async with http.get("/", headers={"Accept-Encoding": "gzip"}) as answer:
            etag = answer.headers["ETag"]
        assert await status("/", etag) == 304
        assert await status("/", f'"other", W/{etag}') == 304
        assert await status("/", "*") == 304
        assert await status("/", '"other"') == 200
        assert await status("/", etag, "identity") == 200, "the plain form has a name of its own"
        assert await status("/", etag, "gzip;q=0") == 200


@on_uvloop
async def test_what_is_not_the_pages_is_not_there(broker: Broker) -> None:
    async with running_gateway(broker, is_known=False) as gateway:

        async def ask(line: str) -> tuple[bytes, bytes]:
            reader, writer = await asyncio.open_connection(*gateway.address)
            writer.write(f"{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            return answer.split(b" ", 2)[1], answer.rpartition(b"\r\n\r\n")[2]

        for path in (
            *("/index.html", "/service.py", "/../service.py", "/client/../../service.py"),
            *("/%2e%2e/service.py", "/client/%2e%2e%2f..%2fservice.py", "/client", "/client/"),
            *("//etc/passwd", "/..%5cservice.py", "/client/session.js/", "/client/session.js%00"),
        ):
            status, body = await ask(f"GET {path}")
            assert (status, json.loads(body)) == (b"404", {"refused": "not found"}), path
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, body = await ask(f"{method} /client/session.js")
            assert (status, json.loads(body)) == (b"405", {"refused": "method not allowed"})


@on_uvloop
async def test_a_kept_connection_goes_on_as_a_socket_or_a_stream(broker: Broker) -> None:
    """A reverse proxy uses its connections again, whatever comes next."""
    await make_city(broker)
    async with running_gateway(broker) as gateway:
        watch = b"GET /v1/watch/No HTTP/1.1\r\nHost: here\r\n\r\n"
        for head, status in ((upgrade_head(gateway.address), b"101"), (watch, b"404")):
            reader, writer = await asyncio.open_connection(*gateway.address)
            for _ in range(2):
                writer.write(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                assert await reader.readexactly(6) == b"alive\n"
            writer.write(head)
            assert (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1] == status
            writer.close()
            await writer.wait_closed()
        # amid a head its bytes are that head's, whatever they look like
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        await reader.readuntil(b"alive\n")
        (kept,) = gateway.service._http.connections
        kept.data_received(b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Long: ")
        kept.data_received(upgrade_head(gateway.address))
        assert (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1] == b"400", "Host twice"
        writer.close()
        await writer.wait_closed()


def test_a_folder_that_is_no_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"index\.html is not there"):
        PageFiles(tmp_path)
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "notes.docx").write_text("")
    with pytest.raises(ValueError, match=r"/notes\.docx"):
        PageFiles(tmp_path)


def test_the_page_asks_nobody_else_and_runs_nothing_inline() -> None:
    text = (FOLDER / "index.html").read_text()
    assert PRELOADS.decode() in text
    assert not re.search(r"(?i)\sstyle\s*=|\son[a-z]+\s*=|<style|javascript:", text)
    for script in re.findall(r"(?is)<script\b([^>]*)>(.*?)</script>", text):
        assert re.search(r'\bsrc="/?[a-z]', script[0])
        assert not script[1].strip()
    for path in FOLDER.rglob("*"):
        if path.suffix in {".css", ".js", ".html"}:
            links = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", _uncommented(path))
            assert not links, path


def _uncommented(path: Path) -> str:
    text = re.sub(r"(?s)/\*.*?\*/|<!--.*?-->", "", path.read_text())
    return re.sub(r"(?m)(^|\s)//.*$", "", text).replace("http://www.w3.org/2000/svg", "")


def test_the_page_begins_with_what_it_imports_and_no_more(tmp_path: Path) -> None:
    files = {
        "index.html": f'{PRELOADS.decode()}<script type="module" src="app/main.js"></script>',
        "app/main.js": 'import { a } from "../a.js";\nimport {\n  b,\n  c,\n} from "./b.js";\n'
        'export const later = () => import("./late.js");\n',
        "app/b.js": 'export { a } from "../a.js";\nimport "./c.js";\n',
        "app/c.js": '// import { no } from "./no.js"\n',
        "app/late.js": 'import { d } from "./d.js";\n',
        "app/d.js": "",
        "a.js": 'import { b } from "./app/b.js";\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert begins_with(tmp_path) == ["/app/main.js", "/a.js", "/app/b.js", "/app/c.js"]
    page = PageFiles(tmp_path).answer("/", {}).body
    assert isinstance(page, bytes)
    assert page.count(b'<link rel="modulepreload"') == 4
    missing = [name for name in begins_with(FOLDER) if not (FOLDER / name[1:]).is_file()]
    assert missing == []


def test_the_page_keeps_to_its_budget() -> None:
    """What a first visit loads, and what all of it would."""
    sizes = {
        path.relative_to(FOLDER).as_posix(): len(
            gzip.compress(served(path.relative_to(FOLDER).as_posix()), mtime=0)
        )
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    first = ["index.html", *(n for n in sizes if not n.endswith((".js", ".html")))]
    begins = sum(sizes[name.lstrip("/")] for name in (*first, *begins_with(FOLDER)))
    print(f"{begins} bytes packed at first, {sum(sizes.values())} in all {len(sizes)} files")
    assert begins <= FIRST_BYTES_MAX, sizes
    assert sum(sizes.values()) <= ALL_BYTES_MAX, sizes


def test_comments_stay_at_home_and_lines_where_they_are(tmp_path: Path) -> None:
    text = """\
/** For what. */
import { x } from "./x.js"; // stays: behind code
  // goes
const url = `ws://${x}`; /* stays */
/*
 * goes: "const y = 1;"
 */ const z = 2;
"""
    told = without_comments(text)
    assert told.splitlines() == [
        "",
        'import { x } from "./x.js"; // stays: behind code',
        "",
        "const url = `ws://${x}`; /* stays */",
        "",
        "",
        "const z = 2;",
    ]
    assert told.count("\n") == text.count("\n")
    for path in FOLDER.rglob("*.js"):
        bare_lines = without_comments(path.read_text()).split("\n")
        is_string = False
        for number, line in enumerate(path.read_text().split("\n")):
            assert not is_string or bare_lines[number] == line, f"{path}:{number + 1}"
            is_string ^= bare_lines[number].count("`") % 2 == 1
        bare = tmp_path / f"{path.stem}.mjs"
        bare.write_text(without_comments(path.read_text()))
        subprocess.run([NODE, "--check", bare], check=True, timeout=10)


@pytest.mark.timeout(60)
def test_an_installed_wheel_has_the_page(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("pyproject.toml", "README.md"):
        tree.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tree)
    for name in ("services", "shared", "load"):
        ignored = shutil.ignore_patterns("__pycache__", "results", "recordings")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    wheel = tree / told.stdout.splitlines()[-1]
    with zipfile.ZipFile(wheel) as packed:
        inside = set(packed.namelist())
    ours = {p.relative_to(ROOT).as_posix() for p in FOLDER.rglob("*") if p.is_file()}
    assert ours <= inside, sorted(ours - inside)

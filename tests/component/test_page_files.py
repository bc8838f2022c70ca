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

from services.gateway.page_files import FOLDER, MODULE, TYPES, PageFiles
from services.gateway.page_module import joined, tight
from tests.browser.node_citizen import NODE
from tests.support.broker import Broker
from tests.support.gateway_city import make_city, on_uvloop, running_gateway, upgrade_head

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
FIRST_BYTES_MAX = 72_000
"""DECISIONS says why not the 60 kB of the brief."""


def sources(folder: Path = FOLDER) -> dict[str, str]:
    return {f"/{p.relative_to(folder).as_posix()}": p.read_text() for p in folder.rglob("*.js")}


def pieces() -> dict[str, bytes]:
    """By path, what should arrive."""
    found = {
        f"/{path.relative_to(FOLDER).as_posix()}": path.read_text()
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    found["/style.css"] = tight(found["/style.css"])
    found["/"] = re.sub(r"/?app/main\.js", MODULE, found.pop("/index.html"))
    found[MODULE] = joined(sources(), "/app/main.js")
    return {path: text.encode() for path, text in found.items()}


@on_uvloop
async def test_every_file_is_served_in_its_type_and_under_the_rules(broker: Broker) -> None:
    async with (
        running_gateway(broker, is_known=False) as gateway,
        aiohttp.ClientSession(gateway.http, auto_decompress=False) as http,
    ):
        for path, plain in pieces().items():
            for encoding, is_packed in (("gzip, br", True), ("identity", False)):
                async with http.get(path, headers={"Accept-Encoding": encoding}) as answer:
                    body = await answer.read()
                    told = answer.headers
                assert answer.status == 200, path
                assert told["Content-Type"] == TYPES[Path(path).suffix or ".html"]
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


@on_uvloop
async def test_who_has_said_all_gets_an_answer_and_then_the_end(broker: Broker) -> None:
    async with running_gateway(broker, is_known=False) as gateway:
        livez = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
        for raw, status in (
            (livez, [b"200"]),
            (livez + livez[:9], [b"200"]),
            (livez[:9], []),
            (b"", []),
        ):
            reader, writer = await asyncio.open_connection(*gateway.address)
            writer.write(raw)
            writer.write_eof()
            answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
            assert [answer[:3] for answer in answers] == status
            writer.close()
            await writer.wait_closed()
        assert not gateway.service._http.connections


@on_uvloop
async def test_behind_an_unanswered_request_there_is_no_stream_and_no_socket(
    broker: Broker,
) -> None:
    await make_city(broker)
    async with running_gateway(broker) as gateway:
        livez = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
        watch = livez.replace(b"/livez", b"/v1/watch/open-stage")
        for head in (watch, upgrade_head(gateway.address)):
            reader, writer = await asyncio.open_connection(*gateway.address)
            writer.write(livez + livez + head + livez)
            first, second, third = (await reader.read()).split(b"HTTP/1.1 ")[1:]
            assert [answer[:3] for answer in (first, second, third)] == [b"200", b"200", b"421"]
            assert b"Connection: close" in third
            assert third.endswith(b'{"refused": "misdirected"}\n')
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


def test_the_page_keeps_to_its_budget() -> None:
    """Of a first visit: bytes packed, and how often something is asked for."""
    all_of_it = pieces()
    asked = ["/", "/style.css", "/icon.svg", MODULE]
    sizes = {path: len(gzip.compress(all_of_it[path], mtime=0)) for path in asked}
    print(f"{sum(sizes.values())} bytes packed: {sizes}")
    assert sum(sizes.values()) <= FIRST_BYTES_MAX, sizes
    links = re.findall(r'(?:src|href)="(?!#|\?)/?([^"]+)"', all_of_it["/"].decode())
    assert sorted(f"/{link}" for link in links) == sorted(asked[1:])


def node(module: Path) -> str:
    told = subprocess.run(
        [NODE, module], capture_output=True, text=True, timeout=20, check=True, cwd=module.parent
    )
    return told.stdout


def test_modules_joined_do_what_they_do_apart(tmp_path: Path) -> None:
    files = {
        "/app/main.mjs": """\
/** Comments go:
 * import { no } from "./no.mjs";
 */
import { a, count as counted } from "../a.mjs";
import {
  b,
  C,
} from "./b.mjs";

const said = `${a} // stays
   /* stays too */
  and its blanks`;
console.log(said, counted(), counted(), b(), new C().d);
import("./later.mjs").then(({ late }) => console.log(late));
""",
        "/app/b.mjs": """\
import { a as first, count } from "../a.mjs";
export { a as again } from "../a.mjs";
import { hidden } from "./c.mjs";
export function b() { return [first, count(), hidden()]; }
export class C { d = D; } /* here */
const D = 4;
""",
        "/app/c.mjs": """\
  // nothing of its own
import { again } from "./d.mjs";
const inner = () => again;
export { inner as hidden };
""",
        "/app/d.mjs": 'export { a as again, count } from "../a.mjs";\n',
        "/app/later.mjs": "export const late = 5;\n",
        "/a.mjs": "export const a = 1;\nlet n = 0;\nexport async function wait() {}\n"
        "export function count() { n += 1; return n; }\n",
    }
    for name, text in files.items():
        (tmp_path / name[1:]).parent.mkdir(exist_ok=True)
        (tmp_path / name[1:]).write_text(text)
    told = joined(files, "/app/main.mjs")
    assert "Comments" not in told
    assert 'import("/app/later.mjs")' in told
    (tmp_path / "joined.mjs").write_text(told.replace('import("/', 'import("./'))
    assert node(tmp_path / "joined.mjs") == node(tmp_path / "app/main.mjs") != ""


def test_a_circle_of_imports_is_refused() -> None:
    files = {
        "/a.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
        "/b.js": 'import { a } from "./a.js";\nexport const b = 1;\n',
    }
    with pytest.raises(ValueError, match=r"/a\.js → /b\.js → /a\.js"):
        joined(files, "/a.js")


def test_the_page_has_only_forms_that_can_be_joined(tmp_path: Path) -> None:
    told = joined(sources(), "/app/main.js")
    (tmp_path / "page.mjs").write_text(told)
    subprocess.run([NODE, "--check", tmp_path / "page.mjs"], check=True, timeout=10)
    assert not re.search(r"^\s*(import\b(?!\()|export\b)", told, re.MULTILINE)
    all_of_it = "\n".join(sources().values())
    assert not re.search(r"^export (let|default)|^await |\bimport\.meta", all_of_it, re.MULTILINE)
    named = {
        (FOLDER / path[1:]).parent.joinpath(other).resolve()
        for path, text in sources().items()
        for other in re.findall(r'(?:from |import\()"([^"]+)"', tight(text))
    }
    assert [name for name in named if not name.is_file()] == []


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

"""`synchronia doctor`: what is wrong with this set-up, and what to do about it."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import importlib.util
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import rich.console
import typer

from shared.cli.running import RunningCity, read_running
from shared.runtime.clock import wall_ms

PYTHON: Final = (3, 11)
FILES_MIN: Final = 4096
"""Each connection is an open file, and a small city has some hundred more."""
DISK_BYTES_MIN: Final = 256 * 1024 * 1024
EARLIEST_MS: Final = 1_735_689_600_000
"""2025-01-01: no installation of this version is older."""
ANSWER_S: Final = 2.0
_TIME_ERROR: Final = 5
"""adjtimex(2): the kernel's clock is not synchronised."""


class Finding(msgspec.Struct, frozen=True):
    """`do` says what would help; empty when nothing needs to be done."""

    check: str
    verdict: Literal["ok", "warning", "wrong"]
    found: str
    do: str = ""


def doctor(
    *,
    state: Annotated[Path, typer.Option(help="The state directory to look at.")] = Path(
        ".synchronia"
    ),
    port: Annotated[int, typer.Option(help="The port the gateway is meant for.")] = 8080,
    nats_server: Annotated[
        Path | None, typer.Option(help="Another nats-server than the installed one.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a finding, one a line.")
    ] = False,
) -> None:
    """What is wrong with my set-up, and what to do? Status 1 if something is.

    Example: synchronia doctor --state .synchronia --json
    """
    findings = list(examine(state, port, nats_server))
    if as_json:
        for finding in findings:
            print(msgspec.json.encode(finding).decode())
    else:
        console = rich.console.Console(highlight=False, markup=False)
        for finding in findings:
            style = {"ok": "green", "warning": "yellow", "wrong": "red"}[finding.verdict]
            console.print(f"{finding.verdict:>8}", style=style, end="  ")
            console.print(f"{finding.check}: {finding.found}", soft_wrap=True)
            if finding.do:
                console.print(f"{'':>8}  {finding.do}", soft_wrap=True)
    raise typer.Exit(int(any(finding.verdict == "wrong" for finding in findings)))


def examine(state: Path, port: int, nats_server: Path | None) -> Iterator[Finding]:
    """Every check in turn; none of them changes anything."""
    city = read_running(state)
    if city is not None and not _is_alive(city.pid):
        city = None
    yield check_python()
    yield check_libraries()
    yield check_compiled()
    yield check_binary(nats_server)
    yield check_port(port, city)
    yield check_state(state)
    yield check_disk(state)
    yield check_clock()
    yield check_files()
    if city is None:
        yield Finding("city", "ok", f"none runs on {state}", "start one: synchronia up")
        return
    yield check_broker(city)
    for name, service in sorted(city.services.items()):
        if service.health_port is not None:
            yield check_service(name, service.health_port)


def check_python() -> Finding:
    found = sys.version.split()[0]
    if sys.version_info < PYTHON:
        return Finding("python", "wrong", found, "install Python 3.11 or later, then: make up")
    return Finding("python", "ok", found)


def check_libraries() -> Finding:
    missing = []
    for line in metadata.requires("synchronia") or ():
        name, _, marker = line.partition(";")
        if "extra" in marker:
            continue
        name = name.split("[")[0].strip(" <>=!~0123456789.,")
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("libraries", "wrong", f"missing: {', '.join(missing)}", "run: make setup")
    return Finding("libraries", "ok", "all installed")


def check_compiled() -> Finding:
    if importlib.util.find_spec("services.gateway._send_each") is None:
        return Finding(
            "writes",
            "warning",
            "in Python: a gateway takes some tenth more of a core",
            "install a C compiler and Python's headers (Debian: gcc python3-dev), then: make setup",
        )
    return Finding("writes", "ok", "compiled")


def check_binary(given: Path | None) -> Finding:
    beside = Path(sys.executable).parent / "nats-server"
    found = given or (beside if beside.exists() else None) or shutil.which("nats-server")
    if found is None:
        return Finding("nats-server", "wrong", "not found", "run: make setup (or --nats-server)")
    try:
        version = subprocess.run(  # noqa: S603  (the operator's own choice of binary)
            [str(found), "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("nats-server", "wrong", f"{found} does not run: {error}", "run: make setup")
    return Finding("nats-server", "ok", version.stdout.strip())


def check_port(port: int, city: RunningCity | None) -> Finding:
    if city is not None and city.url == f"http://127.0.0.1:{port}":
        return Finding("port", "ok", f"{port} is the running city's")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            what = error.strerror if isinstance(error, OSError) else "is no port"
            return Finding(
                "port", "wrong", f"{port}: {what}", "end what holds it, or: synchronia up --port N"
            )
    return Finding("port", "ok", f"{port} is free")


def check_state(state: Path) -> Finding:
    if not state.exists():
        return Finding("state", "ok", f"{state} is not there yet; `synchronia up` makes it")
    if not state.is_dir():
        return Finding("state", "wrong", f"{state} is no directory", "give another --state")
    if state.stat().st_uid != os.getuid() or not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        return Finding("state", "wrong", f"{state} is not yours", "give another --state")
    if stat.S_IMODE(state.stat().st_mode) & 0o077:
        return Finding("state", "wrong", f"others may enter {state}", f"run: chmod 700 {state}")
    for key in sorted((state / "keys").glob("*.nk")):
        if stat.S_IMODE(key.stat().st_mode) & 0o077:
            return Finding("state", "wrong", f"others may read {key}", f"run: chmod 600 {key}")
    return Finding("state", "ok", f"{state} is yours alone")


def check_disk(state: Path) -> Finding:
    place = next(
        folder for folder in (state.absolute(), *state.absolute().parents) if folder.exists()
    )
    free = shutil.disk_usage(place).free
    found = f"{free // 1_000_000} MB free at {place}"
    if free < DISK_BYTES_MIN:
        return Finding("disk", "warning", found, "make room: what cannot be stored is refused")
    return Finding("disk", "ok", found)


def check_clock() -> Finding:
    if wall_ms() < EARLIEST_MS:
        return Finding(
            "clock", "wrong", "stands before 2025", "set it: samples off by 30 s are refused"
        )
    if _clock_status() == _TIME_ERROR:
        return Finding(
            "clock",
            "warning",
            "nothing keeps it in step",
            "people elsewhere need clocks within 30 s of it: run an NTP client",
        )
    return Finding("clock", "ok", "plausible")


def check_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_MIN:
        return Finding(
            "open files", "warning", f"at most {soft}", f"for many viewers: ulimit -n {FILES_MIN}"
        )
    return Finding("open files", "ok", f"at most {soft}")


def check_broker(city: RunningCity) -> Finding:
    """A broker says INFO to whoever connects, before any key."""
    host, _, port = city.nats.rpartition("//")[2].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_S) as connection:
            greeting = connection.recv(4)
    except (OSError, ValueError) as error:
        return Finding("broker", "wrong", f"{city.nats}: {error}", "see logs/nats-server.log")
    if greeting != b"INFO":
        return Finding("broker", "wrong", f"{city.nats} is no nats-server", "check --nats")
    return Finding("broker", "ok", f"{city.nats} answers")


def check_service(name: str, port: int) -> Finding:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            lines = answer.read().decode(errors="replace").splitlines()
        except (OSError, http.client.HTTPException) as error:
            return Finding(name, "wrong", f"does not answer: {error}", f"see logs/{name}.log")
    if answer.status == http.client.OK:
        return Finding(name, "ok", "ready")
    missing = ", ".join(line.partition(":")[0] for line in lines if line.endswith(": no"))
    return Finding(name, "wrong", f"not ready: {missing or answer.status}", f"see logs/{name}.log")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _clock_status() -> int | None:
    """adjtimex(2) with nothing to adjust; nil where there is none."""
    if sys.platform != "linux":
        return None
    timex = ctypes.create_string_buffer(256)  # struct timex, 208 bytes on 64-bit Linux; modes = 0
    status: int = ctypes.CDLL(None).adjtimex(timex)
    return status

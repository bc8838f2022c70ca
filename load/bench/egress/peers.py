"""The servers beside which the city is measured: each gets the same samples on the same schedule.

Its input is a subject on a nats-server of its own, as the city's is; uWebSockets and `websockets` run in
a process of their own (`peer_uwebsockets`, `peer_websockets`), nats-server serves its WebSocket itself,
and the floor has no input at all.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shared.bus.server import find_binary

STARTED_S_MAX = 20.0


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


@contextlib.contextmanager
def process(command: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """Ended with the block, by SIGTERM and then for good."""
    started = subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload]
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def broker() -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A nats-server of the peers' own: (process, port, port of its WebSocket)."""
    port, websocket_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="synchronia-peers-") as folder:
        config = Path(folder) / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{port}"\n'
            f'websocket {{ listen: "127.0.0.1:{websocket_port}", no_tls: true }}\n',
            encoding="utf-8",
        )
        with process([str(find_binary()), "-c", str(config)], stderr=subprocess.DEVNULL) as started:
            wait_for_port(port)
            wait_for_port(websocket_port)
            yield started, port, websocket_port


def wait_for_port(port: int) -> None:
    """Raises: TimeoutError."""
    deadline = time.monotonic() + STARTED_S_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)  # a tool's own process: nothing else waits for it
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def library(name: str, nats_port: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`peer_<name>` listening on a port of its own."""
    port = free_port()
    module = f"load.bench.egress.peer_{name}"
    with process([sys.executable, "-m", module, str(port), str(nats_port)]) as started:
        wait_for_port(port)
        yield started, port


def compiled(source: Path, folder: Path) -> Path:
    """The program of a C file beside this one. Raises: SystemExit without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("the egress bench reads with a C program: install gcc or clang")
    program = folder / source.stem
    subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return program

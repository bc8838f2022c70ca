"""The state directory: one city's keys, broker files, logs; one supervisor at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import IO, Final

VERSION: Final = 1
"""The layout of the directory; a newer one is refused, an older one would be carried over here."""


class CannotStartError(Exception):
    """Why the city cannot start: one sentence that says what to do."""


class State:
    """`root` (0700): `version`, `lock`, `nats.conf`, `keys/`, `store/`, `logs/`, `citizens/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = root / "keys"
        self.store = root / "store"
        self.logs = root / "logs"
        self.citizens = root / "citizens"
        self._lock: IO[str] | None = None

    def take(self) -> None:
        """Make or open the directory and hold its lock until `release`.

        Raises: CannotStartError when it belongs to a newer version, to another supervisor, or to
        something else altogether.
        """
        try:
            self._check_it_is_ours()
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            self._lock = (self.root / "lock").open("a")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise CannotStartError(
                    f"another `synchronia up` runs on {self.root}; end it, or give another --state"
                ) from error
            for folder in (self.keys, self.store, self.logs, self.citizens):
                folder.mkdir(mode=0o700, exist_ok=True)
            (self.root / "version").write_text(f"{VERSION}\n")
        except OSError as error:
            raise CannotStartError(
                f"cannot use {self.root} as state directory: {error.strerror}; give another --state"
            ) from error

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check_it_is_ours(self) -> None:
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise CannotStartError(f"{self.root} is not a directory; give another --state")
        version_file = self.root / "version"
        if not version_file.exists():
            # A first start that was killed half-way leaves the lock and nothing else.
            if any(entry.name != "lock" for entry in self.root.iterdir()):
                raise CannotStartError(
                    f"{self.root} holds files that are not Synchronia's; give another --state"
                )
            return
        text = version_file.read_text(errors="replace").strip()
        if not text.isdecimal():
            raise CannotStartError(f"{version_file} is damaged; give another --state")
        if int(text) > VERSION:
            raise CannotStartError(
                f"{self.root} was written by a newer Synchronia (layout {text}, this one knows "
                f"{VERSION}); use the newer one, or give another --state"
            )


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(port: int) -> None:
    """Raises: CannotStartError unless the city could listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
            raise CannotStartError(f"port {port} {why}; choose another with --port") from error

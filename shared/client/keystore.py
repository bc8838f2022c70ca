"""A person's key files: one JSON file a person, mode 0600, in a directory of mode 0700.

The directory is `--keys DIR`, else `$XDG_CONFIG_HOME/synchronia/keys`, else `~/.config/synchronia/keys`.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import msgspec

from shared.client.keyring import Keyring
from shared.client.session import PendingRelease
from shared.codec import Refused
from shared.identifiers import WallMs
from shared.runtime.clock import wall_ms

DEFAULT_NAME = "citizen"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class KeysUnusable(Exception):  # noqa: N818  (an outcome that a person can mend; the sentence says how)
    """The key files cannot be used; the sentence says what to do."""


class _StoredRelease(msgspec.Struct):
    sanctuary: str
    strand: str
    seed: str
    due_ms: int


def default_directory() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "synchronia" / "keys"


class Keystore:
    """The files of one directory."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = default_directory() if directory is None else directory

    def path(self, name: str) -> Path:
        """Raises: KeysUnusable if `name` is no plain file name."""
        if not _NAME.fullmatch(name):
            raise KeysUnusable(f"{name!r} is no name for keys: letters, digits, '.', '-' and '_'")
        return self.directory / f"{name}.json"

    def names(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        return sorted(each.stem for each in self.directory.glob("*.json"))

    def load(self, name: str = DEFAULT_NAME) -> Keyring:
        """Raises: KeysUnusable if there are none, or if others may read them."""
        path = self.path(name)
        try:
            mode = path.stat().st_mode & 0o777
            content = path.read_bytes()
        except FileNotFoundError:
            raise KeysUnusable(
                f"no keys at {path}; make some with: synchronia keys new --name {name}"
            ) from None
        except OSError as error:
            raise KeysUnusable(f"cannot read {path}: {error.strerror}") from None
        if mode & 0o077:
            raise KeysUnusable(f"others may read {path}; close it with: chmod 600 {path}")
        try:
            return Keyring.load(content)
        except Refused:
            raise KeysUnusable(f"{path} is not a key file of this version") from None

    def load_or_new(self, name: str = DEFAULT_NAME) -> tuple[Keyring, bool]:
        """The keys of that name, made now if there are none; whether they were made."""
        if self.path(name).exists():
            return self.load(name), False
        keyring = Keyring.new(os.urandom, wall_ms())
        self.save(keyring, name)
        return keyring, True

    def save(self, keyring: Keyring, name: str = DEFAULT_NAME) -> Path:
        path = self.path(name)
        self._write(path, keyring.dump())
        return path

    def save_releases(self, releases: list[PendingRelease], name: str = DEFAULT_NAME) -> None:
        """Strand keys still to be published, for the next connection."""
        path = self.path(name).with_suffix(".releases")
        if not releases:
            path.unlink(missing_ok=True)
            return
        rows = [
            _StoredRelease(each.sanctuary.hex(), each.strand.hex(), each.seed.hex(), each.due_ms)
            for each in releases
        ]
        self._write(path, msgspec.json.encode(rows))

    def load_releases(self, name: str = DEFAULT_NAME) -> list[PendingRelease]:
        try:
            content = self.path(name).with_suffix(".releases").read_bytes()
            rows = msgspec.json.decode(content, type=list[_StoredRelease])
            return [
                PendingRelease(
                    bytes.fromhex(each.sanctuary),
                    bytes.fromhex(each.strand),
                    bytes.fromhex(each.seed),
                    WallMs(each.due_ms),
                )
                for each in rows
            ]
        except (OSError, msgspec.DecodeError, ValueError):
            return []  # best effort, as the publication itself

    def save_followed(
        self, followed: dict[bytes, tuple[bytes, ...]], name: str = DEFAULT_NAME
    ) -> None:
        """Whom this person follows, by city."""
        rows = {city.hex(): [each.hex() for each in ids] for city, ids in followed.items() if ids}
        self._write(self.path(name).with_suffix(".following"), msgspec.json.encode(rows))

    def load_followed(self, name: str = DEFAULT_NAME) -> dict[bytes, tuple[bytes, ...]]:
        """Raises: KeysUnusable if the file is not one of ours: an empty list would overwrite it."""
        path = self.path(name).with_suffix(".following")
        try:
            rows = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
            return {
                bytes.fromhex(city): tuple(bytes.fromhex(each) for each in ids)
                for city, ids in rows.items()
            }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise KeysUnusable(f"cannot read {path}: {error.strerror}") from None
        except (msgspec.DecodeError, ValueError):
            raise KeysUnusable(f"{path} is not a list of whom one follows; move it away") from None

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all, and never readable by others on the way."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self.directory, prefix=".")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError as error:
            raise KeysUnusable(f"cannot write {path}: {error.strerror}") from None

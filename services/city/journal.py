"""What the children say: kept as JSON lines in bounded files, warnings shortened to the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

JOURNAL_BYTES_MAX: Final = 4 * 1024 * 1024
"""A journal this long becomes `<name>.log.1`, and its predecessor goes: at most twice this a child."""
LINE_BYTES_MAX: Final = 16 * 1024
SHORT_CHARACTERS_MAX: Final = 160
LOUD: Final = frozenset({"warning", "error", "critical"})
_STANDARD: Final = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "at",
        "logger",
        "service",
        "instance",
        "exception",
        "where",
        "plain",
    }
)


class Journal:
    """One child's log file, and the last thing it said."""

    def __init__(self, path: Path, name: str, *, show: Callable[[str], None]) -> None:
        self.path = path
        self.last_words = ""
        self.last_line = ""
        """The last that was said plainly and not as a log entry, uncut."""
        self._name = name
        self._show = show
        self._rest = b""
        self._file = path.open("ab")
        path.chmod(0o600)
        self._bytes = path.stat().st_size

    def feed(self, chunk: bytes) -> None:
        """Bytes as they came out of the pipe: whole lines are kept, a rest waits for its end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line.strip():
                self._keep(line[:LINE_BYTES_MAX])
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _keep(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            # A traceback, or nats-server's own form: every line of the file stays JSON.
            text = line.decode(errors="replace").rstrip()
            entry = {"event": text.strip(), "plain": True}
            line = json.dumps({"plain": text}).encode()
            self.last_line = text.strip()
        self.last_words = words_of(entry)
        if self._bytes + len(line) + 1 > JOURNAL_BYTES_MAX:
            self._turn_over()
        self._file.write(line + b"\n")
        self._bytes += len(line) + 1
        if entry.get("level") in LOUD:
            self._show(shorten(self._name, entry))

    def _turn_over(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_suffix(".log.1"))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "ab")
        self._bytes = 0


def shorten(name: str, entry: dict[str, object]) -> str:
    """One line for a person; the whole entry is in the file."""
    return _cut(f"{name}: {entry.get('level')}: {words_of(entry)}")


def words_of(entry: dict[str, object]) -> str:
    """What happened and its fields, without what every line carries."""
    fields = "".join(f" {key}={entry[key]}" for key in entry if key not in _STANDARD)
    return _cut(f"{entry.get('event', '')}{fields}")


def _cut(text: str) -> str:
    text = text.replace("\n", " ")
    return text if len(text) <= SHORT_CHARACTERS_MAX else text[: SHORT_CHARACTERS_MAX - 1] + "…"

"""What `synchronia up` writes about itself in its state directory, for `tap`, `doctor` and tests."""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE = "city.json"


class RunningService(msgspec.Struct, frozen=True):
    pid: int | None
    """Nil while its successor has not started yet."""
    health_port: int | None
    """Serves /livez, /readyz and /metrics on loopback."""


class RunningCity(msgspec.Struct, frozen=True):
    """Rewritten whenever a process was started or ended; gone when the city is."""

    pid: int
    url: str | None
    """Of the gateway; nil when it runs elsewhere."""
    nats: str
    keys: str
    services: dict[str, RunningService]

    def write(self, state: Path) -> None:
        """Whole or not at all: a reader may come at any moment."""
        new = state / f"{FILE}.new"
        new.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        new.replace(state / FILE)


def read_running(state: Path) -> RunningCity | None:
    """The city that runs on this state directory, as it last said; nil if none does."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=RunningCity)
    except (OSError, msgspec.DecodeError):
        return None

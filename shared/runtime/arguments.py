"""What every process is told from outside: its name, its place among replicas, where the bus is."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.identifiers import SLOTS
from shared.runtime.heartbeat import HEARTBEAT_VARIABLE
from shared.runtime.settings import SettingsRefused

_INSTANCE = re.compile(r"[a-z][a-z0-9]{0,31}-\d{1,3}")

_EPILOG = """examples:
  python -m services.{name} --nats nats://127.0.0.1:4222 --keys .synchronia/keys
  python -m services.{name} --instance {name}-1 --ordinal 1 --replicas 2 --metrics-port 9101
  SYNCHRONIA_NATS=nats://nats:4222 SYNCHRONIA_KEYS=/keys python -m services.{name}

Each option has a twin in the environment (SYNCHRONIA_NATS for --nats, …; the option wins). The
service's own settings are SYNCHRONIA_{upper}_<FIELD> or the table [{name}] of --config.
"""


@dataclass(frozen=True)
class ProcessSettings:
    """Common to all services."""

    instance: str
    ordinal: int
    replicas: int
    nats_url: str
    keys_dir: Path | None
    """Holds `<instance>.nk`, or is that file; None only for a broker without keys."""
    metrics_host: str
    metrics_port: int | None
    """None: no endpoint; 0: a free port, which the log tells."""
    state_dir: Path
    config: Path | None
    heartbeat_fd: int | None

    @property
    def seed(self) -> Path | None:
        """The file of this instance's own key."""
        if self.keys_dir is None or self.keys_dir.is_file():
            return self.keys_dir
        return self.keys_dir / f"{self.instance}.nk"

    def __post_init__(self) -> None:
        if not _INSTANCE.fullmatch(self.instance):
            raise ValueError(f"instance {self.instance!r} is not <service>-<ordinal>")
        if not 1 <= self.replicas <= SLOTS:
            raise ValueError(f"replicas {self.replicas} is not 1 … {SLOTS}")
        if not 0 <= self.ordinal < self.replicas:
            raise ValueError(f"ordinal {self.ordinal} is not below replicas {self.replicas}")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            raise ValueError(f"metrics port {self.metrics_port} is not 0 … 65535")


def read_arguments(
    name: str, arguments: Sequence[str] | None, environment: Mapping[str, str]
) -> ProcessSettings:
    """Options over environment over defaults. Raises: SettingsRefused; SystemExit for `--help`."""

    def twin(option: str) -> str | None:
        return environment.get("SYNCHRONIA_" + option.upper().replace("-", "_")) or None

    parser = argparse.ArgumentParser(
        prog=f"synchronia {name}",
        description=f"One {name} process of the city.",
        epilog=_EPILOG.format(name=name, upper=name.upper()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option, default, text in (
        ("instance", None, f"this instance's name and bus identity (default {name}-<ordinal>)"),
        ("ordinal", None, "its place among the replicas (default: the number in its name, or 0)"),
        ("replicas", "1", "how many there are (default 1)"),
        ("nats", "nats://127.0.0.1:4222", "the broker's address (default nats://127.0.0.1:4222)"),
        ("keys", None, "this instance's key, or a directory with it as <instance>.nk"),
        ("metrics-host", "127.0.0.1", "where /livez, /readyz and /metrics listen"),
        ("metrics-port", None, "their port; 0 takes a free one (default: none)"),
        ("state", ".synchronia", "directory for what outlives the process"),
        ("config", None, "TOML file with a table for each service"),
    ):
        parser.add_argument(f"--{option}", default=twin(option) or default, help=text)
    given = parser.parse_args(arguments)
    if given.ordinal is None and given.instance is not None:
        given.ordinal = given.instance.rpartition("-")[2]
    ordinal = _whole("ordinal", given.ordinal or "0")
    fd = environment.get(HEARTBEAT_VARIABLE)
    try:
        return ProcessSettings(
            instance=given.instance or f"{name}-{ordinal}",
            ordinal=ordinal,
            replicas=_whole("replicas", given.replicas),
            nats_url=given.nats,
            keys_dir=None if given.keys is None else Path(given.keys),
            metrics_host=given.metrics_host,
            metrics_port=None
            if given.metrics_port is None
            else _whole("metrics-port", given.metrics_port),
            state_dir=Path(given.state),
            config=None if given.config is None else Path(given.config),
            heartbeat_fd=None if fd is None else _whole(HEARTBEAT_VARIABLE, fd),
        )
    except ValueError as error:
        raise SettingsRefused(str(error)) from None


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsRefused(f"{option}: {text!r} is not a whole number") from None

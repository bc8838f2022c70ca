"""What a city is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared.subjects import GATEWAY, SERVICES

CITIZENS = "citizens"
SEEDS = Path(__file__).resolve().parents[2] / "seeds"


@dataclass(frozen=True)
class Settings:
    """The options of `synchronia up`. Raises: ValueError naming the option and what it takes."""

    port: int = 8080
    """Of the gateway, on loopback; 0: any free one."""
    state: Path = Path(".synchronia")
    empty: bool = False
    """No seeds: a charter, no rooms, no scripted citizens."""
    services: tuple[str, ...] = (*SERVICES, CITIZENS)
    """Which to run here; the scripted citizens are one of them."""
    nats: str | None = None
    """A broker that runs elsewhere; nil: an embedded one."""
    keys: Path | None = None
    """The bus keys for `nats`, from `synchronia keys bus`."""
    nats_server: Path | None = None
    """The embedded broker's binary; nil: the one that was installed with us."""
    drain_s: float = field(default=5.0)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"--port takes 0 to 65535, not {self.port}")
        for name in self.services:
            if name not in {*SERVICES, CITIZENS}:
                known = ", ".join((*SERVICES, CITIZENS))
                raise ValueError(f"--services knows {known}; not {name!r}")
        if not self.services or len(set(self.services)) != len(self.services):
            raise ValueError("--services takes each service once, and at least one")
        if (self.nats is None) != (self.keys is None):
            raise ValueError("--nats and --keys go together; make keys with: synchronia keys bus")
        if self.nats is not None and self.nats_server is not None:
            raise ValueError("--nats-server is the embedded broker's; it does not go with --nats")

    @property
    def whole(self) -> bool:
        """Whether a sample could go all the way."""
        return set(self.services) >= set(SERVICES)

    @property
    def with_citizens(self) -> bool:
        """They need rooms to speak in, and a gateway to speak to."""
        return CITIZENS in self.services and self.with_gateway and not self.empty

    @property
    def instances(self) -> tuple[str, ...]:
        return tuple(f"{name}-0" for name in self.services if name in SERVICES)

    @property
    def with_gateway(self) -> bool:
        return GATEWAY in self.services

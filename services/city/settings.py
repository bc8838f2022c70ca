"""What a city is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared.identifiers import SLOTS
from shared.subjects import FANOUT, GATEWAY, SERVICES

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
    workers: int = 1
    """Gateways, on one port."""
    fanouts: int = 1
    """Each owns the slots with `slot % fanouts == ordinal`."""
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
        for option, count in (("--workers", self.workers), ("--fanouts", self.fanouts)):
            if not 1 <= count <= SLOTS:
                raise ValueError(f"{option} takes 1 to {SLOTS}, not {count}")
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

    def replicas(self, service: str) -> int:
        return {GATEWAY: self.workers, FANOUT: self.fanouts}.get(service, 1)

    def instances_of(self, service: str) -> tuple[str, ...]:
        return tuple(f"{service}-{ordinal}" for ordinal in range(self.replicas(service)))

    @property
    def instances(self) -> tuple[str, ...]:
        """Those that run here, in the order of their start."""
        here = (name for name in self.services if name in SERVICES)
        return tuple(instance for name in here for instance in self.instances_of(name))

    @property
    def all_instances(self) -> tuple[str, ...]:
        """The whole city's, of which some may run elsewhere."""
        return tuple(instance for name in SERVICES for instance in self.instances_of(name))

    @property
    def with_gateway(self) -> bool:
        return GATEWAY in self.services

"""The gateway's settings; read once, in `__main__`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Units are in the names; defaults suit one city on one machine."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free one."""
    shares_port: bool = False
    """Other gateways of this machine listen on the same port, and the kernel deals the connections out
    (SO_REUSEPORT)."""
    origins_allowed: tuple[str, ...] = ()
    """Origins (`https://example.org`) that may open sockets beside the own host's."""
    public_origin: str = ""
    """What `hello` states to clients that send no Origin; empty: `http://` and their Host."""
    connections_max: int = 20_000
    connections_per_address_max: int = 4096
    """Behind a proxy all connections come from one address."""
    posters_max: int = 4096
    """Sessions of devices that post, each with a seat for a minute."""
    head_bytes_max: int = 8192
    head_s_max: int = 5
    """A request's head must have arrived by then."""
    handshake_s: int = 5
    """A token must have come by then."""
    watch_s: int = 2
    """An event stream of something public has begun by then; else nothing public is there."""
    ping_after_s: int = 20
    """Silence after which a client is pinged, and after as much again closed; an
    event stream gets a comment as often."""
    units_per_s: int = 400
    units_burst: int = 1200
    """A frame costs 1 unit, 1 more for each kilobyte and each message; twice the burst closes."""
    enrolments_per_address_burst: int = 2000
    """New citizens from one address (IPv6: one network of 64 bits), repeats included: as many as a
    large hall behind one connection. The registry allows the whole city 5000, then 50 a second."""
    enrolments_per_address_per_min: int = 60
    """The same, sustained."""
    malformed_max: int = 16
    """Unreadable messages that a session is forgiven."""
    backlog_bytes_max: int = 262_144
    """What may wait for one viewer before it is closed as too slow."""
    unsent_bytes_max: int = 16_384
    """What the kernel may hold unsent for one viewer (TCP_NOTSENT_LOWAT)."""
    writes_per_slice: int = 100
    """Socket writes (5-8 µs each) between two returns to the loop."""
    samples_per_s: int = 128
    samples_burst: int = 256
    skew_ms: int = 30_000
    """The last three are ingest's, told in `hello`."""
    drain_within_s: int = 1
    """Within which clients are asked to come back elsewhere."""

    def __post_init__(self) -> None:
        bounds = {
            "port": (0, 65535),
            "connections_max": (1, 1_000_000),
            "connections_per_address_max": (1, 1_000_000),
            "posters_max": (1, 1_000_000),
            "head_bytes_max": (512, 65536),
            "head_s_max": (1, 60),
            "handshake_s": (1, 60),
            "watch_s": (1, 60),
            "ping_after_s": (1, 3600),
            "units_per_s": (1, 1_000_000),
            "units_burst": (200, 10_000_000),
            "enrolments_per_address_burst": (1, 1_000_000),
            "enrolments_per_address_per_min": (1, 1_000_000),
            "malformed_max": (0, 1_000_000),
            "backlog_bytes_max": (65536, 2**30),
            "unsent_bytes_max": (4096, 2**30),
            "writes_per_slice": (1, 1_000_000),
            "drain_within_s": (0, 60),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be {least}…{most}, not {value}")
        if self.shares_port and not self.port:
            raise ValueError("shares_port needs a port: any free one is nobody else's")

"""What the registry is told from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).resolve().parents[2] / "seeds"


@dataclass(frozen=True)
class RegistrySettings:
    charter_path: Path = SEEDS / "charter.toml"
    """Read only when the city has no charter yet."""
    records_per_s: float = 2.0
    """Consent records of one citizen that do not narrow, sustained; narrowing is never limited."""
    records_burst: int = 64
    enrolments_per_s: float = 50.0
    """Of the whole city, sustained."""
    enrolments_burst: int = 5000
    append_s_max: float = 30.0
    """How long a record may wait for the stream before the process gives up and starts afresh."""

    def __post_init__(self) -> None:
        for name in ("records_per_s", "enrolments_per_s"):
            if not 0.01 <= getattr(self, name) <= 100_000:
                raise ValueError(f"{name} takes 0.01 to 100000")
        for name in ("records_burst", "enrolments_burst"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} takes 1 to 1000000")
        if not 1 <= self.append_s_max <= 600:
            raise ValueError("append_s_max takes 1 to 600")

"""What sanctuary is told from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).resolve().parents[2] / "seeds"


@dataclass(frozen=True)
class SanctuarySettings:
    sanctuaries_path: Path | None = SEEDS / "sanctuaries.toml"
    """The first rooms; nil (an empty value in the environment): none."""
    voices: tuple[str, ...] = ()
    """`<slug>=<did:key or citizen id>`: who may speak in a seeded room, besides those in the file."""
    seats_per_slot_max: int = 20_000

    def __post_init__(self) -> None:
        if not 1 <= self.seats_per_slot_max <= 100_000:
            raise ValueError("seats_per_slot_max takes 1 to 100000")

"""Settings of ingest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """Limits of admission. `hello` states the first three to clients: keep the gateway's alike."""

    samples_per_s: int = 128
    samples_burst: int = 256
    """One citizen's samples over all its strands of this process."""
    skew_ms: int = 30_000
    """How far a stamp may lie from this process's wall clock, either way."""
    strands_max: int = 4
    """Open strands of one citizen in one sanctuary."""
    openings_per_s: int = 1
    openings_burst: int = 16
    """Openings of one citizen, so that ended strands cannot fill the memory of them."""
    unsealed_samples_max: int = 1024
    """Bodies kept of one strand until their seal; the rate and the two seconds allow some 640."""
    seal_wanted_after_ms: int = 500
    """After a window is due: `seal?`, and again each time this much passes."""
    unsealed_after_ms: int = 2000
    """After a window is due: the strand ends as `unsealed`."""
    absence_ms: int = 10_000
    """How long a strand outlives the last session of its device."""
    remembered_s: int = 300
    remembered_max: int = 65_536
    """Ended strands, for `release` and so that no opening is taken twice."""
    refusals_max: int = 100
    refusals_within_s: int = 10
    """More refused messages than this within that time suspend a device …"""
    suspension_s: int = 10
    suspension_s_max: int = 60
    """… for this long, doubling up to that if it comes again within the longest."""
    beat_ms: int = 500
    """An empty batch on each lane, so that a lost tail shows."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.samples_per_s > 10_000:
            raise ValueError("samples_per_s must be at most 10000")
        if self.suspension_s_max > 60:
            raise ValueError("suspension_s_max must be at most 60: technical suspensions are short")
        if self.suspension_s > self.suspension_s_max:
            raise ValueError("suspension_s must be at most suspension_s_max")
        if self.remembered_s * 1000 <= 2 * self.skew_ms:
            raise ValueError("remembered_s must exceed twice skew_ms: else openings come again")

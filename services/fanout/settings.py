"""Settings of fanout."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FanoutSettings:
    """How batches are formed. What concerns consent is not a setting: `core` states it as constants."""

    rest_ratio: float = 0.5
    """After a flush the next one waits for this part of what the last turn cost: load makes batches
    bigger, not queues longer. 0: flush every turn."""
    rest_ms_max: float = 5.0
    """Never longer than this; the design's bound over the whole way is 20 ms."""

    def __post_init__(self) -> None:
        if not 0 <= self.rest_ratio <= 4:
            raise ValueError("rest_ratio takes 0 to 4")
        if not 0 <= self.rest_ms_max <= 20:
            raise ValueError("rest_ms_max takes 0 to 20")

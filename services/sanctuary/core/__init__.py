"""What sanctuary decides. Pure.

sanctuary = Sanctuary("sanctuary-0", slots=epochs, seeds=…, limits=Limits())
sanctuary.start(now_ns, now_ms)               then the shape of every core
"""

from services.sanctuary.core.sanctuary import Effect, Limits, Sanctuary
from services.sanctuary.core.seeds import RoomSeed, SeedsUnusable, read_seeds, with_voices

__all__ = [
    "Effect",
    "Limits",
    "RoomSeed",
    "Sanctuary",
    "SeedsUnusable",
    "read_seeds",
    "with_voices",
]

"""What fanout decides. Pure: time, epochs and randomness come in, effects and batches go out.

The one-way street of its modules: consents ← routing ← rooms, views ← followers ← presences ← city ←
snapshots, signatures, fleet, authority, ticks ← router.
"""

from services.fanout.core.router import Router, Superseded

__all__ = ["Router", "Superseded"]

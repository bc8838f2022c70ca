"""What fanout decides. Pure: time, epochs and randomness come in, effects and batches go out."""

from services.fanout.core.router import Router

__all__ = ["Router"]

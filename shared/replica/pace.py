"""How often a replica asks."""

from __future__ import annotations

ASK_AGAIN_NS = 250_000_000
"""An ask that was not answered is repeated after this long."""

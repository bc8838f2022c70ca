"""Door to ingest's core: `from services.ingest.core import Core`.

The one-way street of its modules: admission ← strands ← lanes ← book ← voices ← windows ← uplink ← city.
"""

from services.ingest.core.city import Core, Superseded

__all__ = ["Core", "Superseded"]

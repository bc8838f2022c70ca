"""The bus: the only importer of nats. Narrow on purpose: publish, subscribe, ask, append, read.

Core subjects are at most once, in order for each publisher and subject, newest wins; streams are
durable before they are acknowledged. Who may do what is `shared.subjects`; the broker enforces it.
"""

import sys

# nats-py imports aiohttp, if it is there, for a WebSocket transport that we do not use; that takes
# 0.2 s of processor time (2026-11), and a service that was killed must deliver again within 2 s
_aiohttp_is_wanted = "aiohttp" in sys.modules
if not _aiohttp_is_wanted:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
import nats.aio.client  # noqa: E402, F401

if not _aiohttp_is_wanted:
    del sys.modules["aiohttp"]

from shared.bus.bus import Bus, Subscription  # noqa: E402
from shared.bus.errors import (  # noqa: E402
    BusError,
    BusLost,
    NoBroker,
    StreamRefused,
    WrongSequence,
)

__all__ = [
    "Bus",
    "BusError",
    "BusLost",
    "NoBroker",
    "StreamRefused",
    "Subscription",
    "WrongSequence",
]

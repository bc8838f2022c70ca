"""The bus: the only importer of nats. Narrow on purpose: publish, subscribe, ask, append, read.

Core subjects are at most once, in order for each publisher and subject, newest wins; streams are
durable before they are acknowledged. Who may do what is `shared.subjects`; the broker enforces it.
"""

from shared.bus.bus import Bus, Subscription
from shared.bus.errors import BusError, BusLost, NoBroker, StreamRefused, WrongSequence

__all__ = [
    "Bus",
    "BusError",
    "BusLost",
    "NoBroker",
    "StreamRefused",
    "Subscription",
    "WrongSequence",
]

"""What can go wrong on the bus, as one small tree.

BusError
├── NoBroker        no broker answered within the deadline of the first connection, or the key was refused
├── BusLost         the connection ended for good
└── StreamRefused   a stream did not store what was appended
    └── WrongSequence   because its subject was not where the writer thought
"""

from __future__ import annotations


class BusError(Exception):
    pass


class NoBroker(BusError):  # noqa: N818  (named by the condition)
    pass


class BusLost(BusError):  # noqa: N818
    pass


class StreamRefused(BusError):  # noqa: N818
    """`code` is JetStream's own (10071 wrong last sequence, 10077 exceeds the maximum, …)."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class WrongSequence(StreamRefused):
    """Somebody else wrote the subject meanwhile: read again, then decide again."""

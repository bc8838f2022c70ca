"""What the gateway decides: `Gateway` composes sessions, uplink, seats, courier, edge and egress."""

from services.gateway.core.effects import (
    Answer,
    Close,
    Cut,
    Effect,
    Ping,
    RefuseWatch,
    Respond,
    Write,
    WriteMany,
)
from services.gateway.core.form import Form
from services.gateway.core.gateway import Gateway
from services.gateway.core.pace import Pace

__all__ = [
    "Answer",
    "Close",
    "Cut",
    "Effect",
    "Form",
    "Gateway",
    "Pace",
    "Ping",
    "RefuseWatch",
    "Respond",
    "Write",
    "WriteMany",
]

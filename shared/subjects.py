"""Every subject of the bus, with its owners: who may publish, who may listen. Pure.

The permissions of every instance's nkey are generated from `TABLE` (`shared.bus.permissions`), in the
embedded server and in deployments alike: what is not a row here, the broker refuses.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from shared.contracts.records import Kind

GATEWAY, INGEST, FANOUT, SANCTUARY, REGISTRY = (
    "gateway",
    "ingest",
    "fanout",
    "sanctuary",
    "registry",
)
SERVICES = (REGISTRY, SANCTUARY, INGEST, FANOUT, GATEWAY)
"""In the order they are started."""


class Publish(NamedTuple):
    """A core's wish: publish `event` on `subject`. The shell encodes and sends it."""

    subject: str
    event: msgspec.Struct


class Ask(NamedTuple):
    """A core's wish: request `event` on `subject`; the answer is of type `answer`. An ask that is not
    answered is repeated by the core's own timer, never by the shell.
    """

    subject: str
    event: msgspec.Struct
    answer: type[msgspec.Struct]
    within_s: float = 1.0
    """An answer that comes later is not heard any more."""


class Reply(NamedTuple):
    """A core's answer to the ask that is being received."""

    event: msgspec.Struct


def up(slot: int) -> str:
    return f"up.{slot}"


def sig(kind: Kind, slot: int) -> str:
    return f"sig.{kind.value}.{slot}"


def edge(gateway: str) -> str:
    return f"edge.{gateway}"


def back(gateway: str) -> str:
    return f"back.{gateway}"


def ask(service: str, slot: int = 0) -> str:
    return f"ask.{service}.{slot}"


def posted(gateway: str) -> str:
    """Windows that were posted at another gateway of the city."""
    return f"ask.{GATEWAY}.{gateway}"


def member(slot: int) -> str:
    return f"member.{slot}"


def control(sender: str) -> str:
    return f"control.{sender}"


def interest(slot: int) -> str:
    return f"interest.{slot}"


def field(slot: int) -> str:
    return f"field.{slot}"


def record(slot: int) -> str:
    return f"record.{slot}"


class Row(NamedTuple):
    """One pattern: `{self}` is the instance's own name, `*` any one token."""

    publish: str
    publishers: tuple[str, ...]
    subscribe: str
    subscribers: tuple[str, ...]
    queue: str | None = None
    """Subscribers may listen only in this queue group (plain taps are refused)."""


TABLE: tuple[Row, ...] = (
    Row("up.*", (GATEWAY,), "up.*", (INGEST,), queue="ingest"),
    Row("sig.*.*", (INGEST,), "sig.*.*", (FANOUT,)),
    Row("edge.*", (FANOUT,), "edge.{self}", (GATEWAY,)),
    Row("back.*", (INGEST, SANCTUARY, REGISTRY, FANOUT), "back.{self}", (GATEWAY,)),
    Row("ask.sanctuary.*", (GATEWAY, INGEST, FANOUT), "ask.sanctuary.*", (SANCTUARY,)),
    Row("ask.registry.*", (GATEWAY, INGEST, FANOUT, SANCTUARY), "ask.registry.*", (REGISTRY,)),
    Row("ask.ingest.*", (GATEWAY, FANOUT), "ask.ingest.*", (INGEST,)),
    Row("ask.fanout.*", (GATEWAY,), "ask.fanout.*", (FANOUT,)),
    Row("ask.gateway.*", (GATEWAY,), "ask.gateway.{self}", (GATEWAY,)),
    Row("member.*", (SANCTUARY,), "member.*", (INGEST, FANOUT)),
    Row(
        "control.{self}",
        (GATEWAY, FANOUT, SANCTUARY, REGISTRY),
        "control.*",
        (GATEWAY, INGEST, FANOUT, SANCTUARY, REGISTRY),
    ),
    Row("interest.*", (GATEWAY,), "interest.*", (FANOUT,)),
    Row("field.*", (FANOUT,), "field.*", (SANCTUARY,)),
    Row("record.*", (FANOUT,), "record.*", ()),
)

STREAMS: dict[str, str] = {
    "identity": "identity.*",
    "consent": "consent.*",
    "charter": "charter.*",
}
"""JetStream streams and their subjects; the registry alone writes them, subject = stream.citizen id
in hex (or `charter.genesis`). Contents are encrypted under the citizen's key."""

EPOCHS: dict[str, str] = {service: f"epoch_{service}" for service in (INGEST, FANOUT, SANCTUARY)}
"""Key-value buckets of epochs, one key per slot; only that service's instances write its own."""

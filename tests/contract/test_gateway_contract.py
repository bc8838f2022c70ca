"""What the gateway publishes can be read by its listeners, and a longer array of a newer one too."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest

from shared.codec import Refused, decode, encode
from shared.contracts import (
    ChainAsk,
    ConsentForwarded,
    EnrolAsk,
    FanoutControl,
    GatewayBeat,
    GatewayControl,
    Interest,
    JoinAsk,
    JoinsWanted,
    LeaveAsk,
    Passed,
    PostAnswered,
    PostAsk,
    RegistryControl,
    SanctuaryAsk,
    SanctuaryControl,
    Signed,
    SnapshotAsk,
    StateAsk,
    Tombstones,
    UpBatch,
    UpEntry,
)
from shared.contracts.client import Refused as RefusedMessage
from shared.subjects import TABLE

G, ID, KEY = "gateway-0", b"i" * 16, b"k" * 32
RECORD = Signed(b"payload", bytes(64))
CONTROL: Any = GatewayControl | FanoutControl | SanctuaryControl | RegistryControl
ROWS: list[tuple[msgspec.Struct, Any]] = [
    (UpBatch(G, 7, 3, 0, (UpEntry(ID, KEY, msgspec.Raw(encode(["time?", 1]))),)), UpBatch),
    (GatewayBeat(G, 7, 2), CONTROL),
    (ConsentForwarded(G, 7, 3, ID, 1, RECORD, again=True), CONTROL),
    (Passed(G, 7, 4, "fanout-0", 9), CONTROL),
    (Tombstones(G, 7, 5, "fanout-0", (RECORD,)), CONTROL),
    (Interest(G, 7, ID, 2, 30), Interest),
    (JoinAsk(G, 7, ID, KEY, 1, ID, RECORD), SanctuaryAsk),
    (LeaveAsk(G, 7, ID, None, ID), SanctuaryAsk),
    (SnapshotAsk(G, 7, 3), SnapshotAsk),
    (EnrolAsk(G, ID, 1, RECORD), EnrolAsk | ChainAsk | StateAsk),
    (PostAsk(G, 1, b"body"), PostAsk),
    (PostAnswered(RefusedMessage(None, "too fast", "later", 5)), PostAnswered),
    (ChainAsk(G, ID, KEY, 1, ID), EnrolAsk | ChainAsk | StateAsk),
]


@pytest.mark.parametrize(("event", "kind"), ROWS, ids=lambda row: type(row).__name__)
def test_a_listener_reads_what_the_gateway_writes(event: msgspec.Struct, kind: Any) -> None:
    assert encode(decode(encode(event), kind)) == encode(event)


@pytest.mark.parametrize(("event", "kind"), ROWS, ids=lambda row: type(row).__name__)
def test_a_listener_passes_over_fields_of_a_newer_gateway(event: msgspec.Struct, kind: Any) -> None:
    longer = msgpack.packb([*msgpack.unpackb(encode(event)), "newer"])
    assert encode(decode(longer, kind)) == encode(event)


@pytest.mark.parametrize(("event", "kind"), ROWS, ids=lambda row: type(row).__name__)
def test_a_listener_refuses_a_field_too_few(event: msgspec.Struct, kind: Any) -> None:
    fields = msgpack.unpackb(encode(event))
    least = len([f for f in msgspec.structs.fields(type(event)) if f.required])
    with pytest.raises(Refused):
        decode(msgpack.packb(fields[:least]), kind)


def test_all_control_can_be_told_apart() -> None:
    wanted = JoinsWanted("sanctuary-0", 1, (3,))
    assert decode(encode(wanted), CONTROL) == wanted


def test_every_subject_that_the_gateway_uses_is_a_row_of_the_table() -> None:
    published = {row.publish for row in TABLE if "gateway" in row.publishers}
    heard = {row.subscribe for row in TABLE if "gateway" in row.subscribers}
    assert published >= {"up.*", "ask.sanctuary.*", "ask.registry.*", "ask.fanout.*", "interest.*"}
    assert published >= {"control.{self}", "ask.gateway.*"}
    assert heard == {"edge.{self}", "back.{self}", "control.*", "ask.gateway.{self}"}

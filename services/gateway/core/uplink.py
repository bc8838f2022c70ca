"""A client's frame taken apart, and what goes to ingest collected by slot. Pure.

A message that is passed on is passed on as it was received: the gateway checks its shape and reads
where it goes, and re-encodes nothing (but from JSON).
"""

from __future__ import annotations

from typing import NamedTuple, get_args

import msgspec

from services.gateway.core import json_twin
from shared import subjects
from shared.codec import Refused, decode, reason_of
from shared.contracts.client import (
    FRAME_MESSAGES_MAX,
    AskChain,
    ClientMessage,
    Enrol,
    Join,
    Leave,
    Open,
    Record,
    Release,
    Samples,
    SealWindow,
    Time,
    Token,
)
from shared.contracts.gateway import UpBatch, UpEntry
from shared.contracts.refusals import Refusal
from shared.identifiers import SessionId
from shared.subjects import Publish

BATCH_BYTES_MAX = 262_144
"""A quarter of what NATS takes in one message by default (1 MiB)."""

Message = (
    Token | Enrol | Join | Leave | Open | Samples | SealWindow | Release | Record | AskChain | Time
)


class Read(NamedTuple):
    message: Message
    raw: msgspec.Raw


class Unread(NamedTuple):
    """A message that could not be read; `ref` if it could be found all the same."""

    reason: Refusal
    ref: int | None


_frame_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_message_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(ClientMessage)
_TAGS = {
    kind.__struct_config__.tag: kind.__struct_fields__[:1] == ("ref",)
    for kind in get_args(ClientMessage)
}
"""Name → whether its first field is `ref`."""


def read_frame(payload: bytes, *, is_json: bool) -> list[Read | Unread]:
    """A frame's messages in order.

    Raises: Refused(MALFORMED) if the frame is no array, Refused(OVERSIZE) if it has too many.
    """
    if is_json:
        objects = json_twin.objects_in(payload)
        if len(objects) > FRAME_MESSAGES_MAX:
            raise Refused(Refusal.OVERSIZE)
        return [_read_object(fields) for fields in objects]
    try:
        raws = _frame_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Refusal.MALFORMED) from None
    if len(raws) > FRAME_MESSAGES_MAX:
        raise Refused(Refusal.OVERSIZE)
    return [_read_raw(raw) for raw in raws]


def _read_raw(raw: msgspec.Raw) -> Read | Unread:
    try:
        return Read(_message_decoder.decode(raw), raw)
    except msgspec.ValidationError as error:
        reason = reason_of(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Unread(Refusal.MALFORMED, None)
    try:
        parts = decode(raw, list[msgspec.Raw])
        tag = decode(parts[0], str) if parts else None
        if tag is None:
            return Unread(Refusal.MALFORMED, None)
        if tag not in _TAGS:
            return Unread(Refusal.UNKNOWN_KIND, None)
        has_ref = _TAGS[tag] and len(parts) > 1
        ref = decode(parts[1], int) if has_ref else None
    except Refused:
        return Unread(Refusal.MALFORMED if reason is Refusal.MALFORMED else reason, None)
    return Unread(reason, ref if ref is not None and 0 <= ref < 2**32 else None)


def _read_object(fields: object) -> Read | Unread:
    try:
        message = json_twin.message_of(fields)
    except Refused as refused:
        return Unread(refused.reason, json_twin.ref_of(fields))
    return Read(_message_decoder.decode(message), msgspec.Raw(message))


class Uplink:
    """Entries on their way to ingest, by slot, in order of arrival."""

    def __init__(self) -> None:
        self._entries: dict[int, list[UpEntry]] = {}
        self._numbers: dict[int, int] = {}

    def add(self, slot: int, session: SessionId, device: bytes, raw: msgspec.Raw) -> None:
        self._entries.setdefault(slot, []).append(UpEntry(session, device, raw))

    def begin_incarnation(self) -> None:
        self._numbers.clear()

    @property
    def is_empty(self) -> bool:
        return not self._entries

    def flush(self, gateway: str, incarnation: int) -> list[Publish]:
        """All that was collected, as batches of at most `BATCH_BYTES_MAX`."""
        publishes = []
        for slot, entries in self._entries.items():
            first = byte_count = 0
            for index, entry in enumerate(entries):
                size = len(memoryview(entry.message)) + 64
                if byte_count + size > BATCH_BYTES_MAX and index > first:
                    publishes.append(self._batch(gateway, incarnation, slot, entries[first:index]))
                    first, byte_count = index, 0
                byte_count += size
            publishes.append(self._batch(gateway, incarnation, slot, entries[first:]))
        self._entries.clear()
        return publishes

    def _batch(self, gateway: str, incarnation: int, slot: int, entries: list[UpEntry]) -> Publish:
        number = self._numbers.get(slot, 0)
        self._numbers[slot] = number + 1
        batch = UpBatch(gateway, incarnation, slot, number, tuple(entries))
        return Publish(subjects.up(slot), batch)

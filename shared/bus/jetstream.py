"""Streams and epochs in a few requests: append, read from the beginning, take the next revision.

Services hold no right to make streams, buckets or consumers: a service that may create consumers can
have JetStream write anywhere. Reading is `DIRECT.GET` in batches (ADR-31), which needs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

import msgspec

from shared.bus.errors import StreamRefused, WrongSequence

if TYPE_CHECKING:
    from shared.bus.bus import Bus

APPEND_S_MAX = 5.0
READ_S_MAX = 5.0
READ_BATCH = 512
_WRONG_SEQUENCE = (10071, 10164)
_NO_STREAM, _NOT_FOUND, _END_OF_BATCH = 503, 404, 204
READ_ATTEMPTS_MAX = 3


class _Fault(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Acknowledgement(msgspec.Struct):
    seq: int = 0
    error: _Fault | None = None


_acknowledgement = msgspec.json.Decoder(_Acknowledgement)


async def append(bus: Bus, subject: str, payload: bytes, expected: int | None) -> int:
    headers = b""
    if expected is not None:
        headers = f"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {expected}\r\n\r\n".encode()
    answer, status = await bus.request_bytes(
        subject, payload, headers=headers, timeout_s=APPEND_S_MAX
    )
    if status is not None:
        raise StreamRefused(_NO_STREAM, "no stream takes this subject")
    acknowledgement = _acknowledgement.decode(answer)
    fault = acknowledgement.error
    if fault is not None:
        kind = WrongSequence if fault.err_code in _WRONG_SEQUENCE else StreamRefused
        raise kind(fault.err_code, fault.description)
    return acknowledgement.seq


async def take_epochs(bus: Bus, bucket: str, slots: Iterable[int]) -> dict[int, int]:
    wanted = tuple(slots)
    revisions = await asyncio.gather(
        *(append(bus, f"$KV.{bucket}.{slot}", bus.instance.encode(), None) for slot in wanted)
    )
    return dict(zip(wanted, revisions, strict=True))


async def read_stream(bus: Bus, stream: str) -> AsyncIterator[tuple[int, str, bytes]]:
    """A connection that breaks in the middle is noticed (each message says how many are behind it)
    and read again from the last good number on.

    Raises: StreamRefused if the stream answers with an error; TimeoutError.
    """
    last = 0
    silent = 0
    while True:
        messages, is_end = await _read_batch(bus, stream, last + 1)
        for message in messages:
            yield message
        if is_end:
            return
        if messages:
            last = messages[-1][0]
            silent = 0
        elif (silent := silent + 1) == READ_ATTEMPTS_MAX:
            raise TimeoutError(f"stream {stream} did not answer")


async def _read_batch(
    bus: Bus, stream: str, first: int
) -> tuple[list[tuple[int, str, bytes]], bool]:
    """Up to READ_BATCH messages from number `first` on, and whether the stream ends behind them."""
    messages: list[tuple[int, str, bytes]] = []
    # (is the stream at its end, does another batch follow at once) once the batch is over
    over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    behind = -1

    def received(payload: bytes, raw: bytes | None) -> bool:
        nonlocal behind
        status, headers = read_headers(raw)
        if over.done():
            return True
        if status == _NOT_FOUND:
            over.set_result(True)
        elif status == _END_OF_BATCH:
            over.set_result(behind == 0)
        elif status:
            over.set_exception(StreamRefused(status, f"stream {stream} cannot be read"))
        else:
            pending = int(headers["nats-num-pending"])
            if behind not in (-1, pending + 1):
                over.set_result(False)  # a hole: the connection broke meanwhile
                return True
            behind = pending
            messages.append((int(headers["nats-sequence"]), headers["nats-subject"], payload))
            return False
        return True

    request = msgspec.json.encode({"seq": first, "batch": READ_BATCH})
    with bus.inbox(received) as reply:
        bus.send(f"$JS.API.DIRECT.GET.{stream}", reply, request)
        try:
            async with asyncio.timeout(READ_S_MAX):
                return messages, await over
        except TimeoutError:
            return messages, False


def read_headers(raw: bytes | None) -> tuple[int, dict[str, str]]:
    """The status of a broker's own answer (0 for a message) and the headers, names in lower case."""
    if raw is None:
        return 0, {}
    first, *lines = raw.decode("utf-8", "replace").split("\r\n")
    status = first.removeprefix("NATS/1.0").strip()[:3]
    headers = {}
    for line in lines:
        name, found, value = line.partition(":")
        if found:
            headers[name.strip().lower()] = value.strip()
    return int(status) if status.isdigit() else 0, headers

"""Bytes on a bare TCP connection, and what comes back for them."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

ANSWER_BYTES_MAX = 10**6
ANSWER_S_MAX = 30.0


async def answer_to(url: str, raw: bytes) -> tuple[str, bytes]:
    """What a bare connection gets for these bytes: the status code, and all that came."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(raw)
    async with asyncio.timeout(ANSWER_S_MAX):
        answer = await reader.read(ANSWER_BYTES_MAX)
    writer.close()
    await writer.wait_closed()
    return answer.split(b" ", 2)[1].decode() if b" " in answer else "closed", answer


def echoes_nothing(answer: bytes) -> None:
    for word in (b"Traceback", b"Error", b"Exception", b"services/"):
        assert word not in answer

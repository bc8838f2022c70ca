"""Whether the city is ready: every service says so, and a sample has been through the whole of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

ANSWER_S_MAX: Final = 1.0


async def is_ready(port: int) -> bool:
    """Whether /readyz on a loopback port answers 200."""
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]


async def sample_comes_back(url: str, keys: Path) -> str:
    """Speak one sample in the commons and hear it. Returns what went wrong, or nothing."""
    return f"no sample has come back from {url}"

"""Whether the city is ready: every service says so, and a sample has been through the whole of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from shared.client.keystore import Keystore, KeysUnusable
from shared.client.visit import ErrandFailed, round_trip
from shared.identifiers import sanctuary_of_slug

ANSWER_S_MAX: Final = 1.0
TRIAL_S_MAX: Final = 5.0
"""A trial that takes longer has met a service that was not there yet: the next one may succeed."""
COMMONS: Final = "emotive-commons"
PROBE_NAME: Final = "probe"


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
    """Speak one sample in the commons and hear it, as a citizen of the city's own.

    Returns what went wrong in words, or nothing.
    """
    try:
        keyring, _ = Keystore(keys).load_or_new(PROBE_NAME)
        await round_trip(
            keyring, url, sanctuary_of_slug(COMMONS), random_bytes=os.urandom, within_s=TRIAL_S_MAX
        )
    except (ErrandFailed, KeysUnusable, TimeoutError) as error:
        return f"no sample has come back: {error or 'no answer'}"
    return ""

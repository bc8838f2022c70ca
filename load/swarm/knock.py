"""Whether a city and a room are there, before a crowd waits a minute for them."""

from __future__ import annotations

import os

from shared.client.keyring import Keyring
from shared.client.visit import Visit
from shared.identifiers import SanctuaryId
from shared.runtime.clock import wall_ms


async def knock(url: str, sanctuary: SanctuaryId, called: str) -> None:
    """Raises: ErrandFailed, UrlRefused."""
    stranger = Keyring.new(os.urandom, wall_ms())
    async with Visit(stranger, url, random_bytes=os.urandom) as visit:
        await visit.until("the city answers", lambda: visit.session.is_ready)
        await visit.check_room(sanctuary, called)

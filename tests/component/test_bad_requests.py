"""Bad requests on a bare connection: each gets its status and name, and nobody else feels it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.component.bad_input.http import HTTP, WATCH
from tests.support.bystanders import Bystanders, rows

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
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


@pytest.mark.parametrize("row", **rows(HTTP))
async def test_a_bad_request_gets_its_status(url: str, bystanders: Bystanders, row: Any) -> None:
    _, raw, status = row
    code, answer = await answer_to(url, raw)
    assert code == status, answer[:400]
    echoes_nothing(answer)
    await bystanders.check()


@pytest.mark.parametrize("row", **rows(WATCH))
async def test_a_bad_request_for_events_is_refused_by_name(
    url: str, bystanders: Bystanders, row: Any
) -> None:
    _, raw, status, name = row
    code, answer = await answer_to(url, raw)
    assert code == status, answer[:400]
    body = answer.partition(b"\r\n\r\n")[2]
    assert (json.loads(body)["refused"] if body else "") == name
    echoes_nothing(answer)
    await bystanders.check()

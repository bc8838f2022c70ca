"""Bad requests on a bare connection: each gets its status and name, and nobody else feels it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.component.bad_input.http import HTTP, WATCH
from tests.support.bare_http import answer_to, echoes_nothing
from tests.support.bystanders import Bystanders, rows

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


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

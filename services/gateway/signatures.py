"""`/v1/signatures`: a device without a socket asks what to sign, and posts whole windows. Plain HTTP.

What is posted proves itself, so no page can make a browser speak for somebody; all the same a page of
another host is refused, as everywhere. Answers are JSON, bytes in base64url; a refusal is one of the
catalogue, with its sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web

from services.gateway.core import Answer
from services.gateway.core.json_twin import plain
from services.gateway.head import HeadRefused, read_origin, sanctuary_named
from services.gateway.settings import GatewaySettings
from shared.contracts.client import Refused
from shared.contracts.refusals import Refusal
from shared.contracts.window import POST_BYTES_MAX
from shared.identifiers import SanctuaryId

SIGNATURES_PATH = "/v1/signatures"
BODY_S_MAX = 5.0
"""Within which a posted body must have come."""

STATUS: dict[Refusal, HTTPStatus] = {
    Refusal.OVERSIZE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Refusal.TOO_FAST: HTTPStatus.TOO_MANY_REQUESTS,
    Refusal.SUSPENDED: HTTPStatus.TOO_MANY_REQUESTS,
    Refusal.TOO_MANY_STRANDS: HTTPStatus.TOO_MANY_REQUESTS,
    Refusal.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    Refusal.FULL: HTTPStatus.SERVICE_UNAVAILABLE,
    Refusal.NO_SUCH_ROOM: HTTPStatus.NOT_FOUND,
    Refusal.BAD_SIGNATURE: HTTPStatus.FORBIDDEN,
    Refusal.UNKNOWN_CITIZEN: HTTPStatus.FORBIDDEN,
    Refusal.UNKNOWN_DEVICE: HTTPStatus.FORBIDDEN,
    Refusal.NOT_INVITED: HTTPStatus.FORBIDDEN,
    Refusal.NOT_A_MEMBER: HTTPStatus.FORBIDDEN,
    Refusal.WRONG_SESSION: HTTPStatus.CONFLICT,
    Refusal.WRONG_CHALLENGE: HTTPStatus.CONFLICT,
    Refusal.WRONG_POLICY: HTTPStatus.CONFLICT,
    Refusal.UNKNOWN_STRAND: HTTPStatus.CONFLICT,
}
"""What is not here is wrong with the request itself: 400. 409: ask anew what to sign."""
RETRY_AFTER_S: dict[Refusal, int] = {
    Refusal.TOO_FAST: 1,
    Refusal.NOT_READY: 1,
    Refusal.TOO_MANY_STRANDS: 10,
    Refusal.FULL: 30,
    Refusal.SUSPENDED: 60,
}


class Signatures:
    """Both requests. `to_speak` and `post` are answered within seconds."""

    def __init__(
        self,
        to_speak: Callable[[SanctuaryId], Awaitable[Answer]],
        post: Callable[[bytes], Awaitable[Answer]],
        settings: GatewaySettings,
    ) -> None:
        self._to_speak = to_speak
        self._post = post
        self._origins = frozenset(origin.lower() for origin in settings.origins_allowed)
        self._public_origin = settings.public_origin

    @staticmethod
    def is_ours(path: str) -> bool:
        return path == SIGNATURES_PATH or path.startswith(f"{SIGNATURES_PATH}/")

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Raises: HeadRefused for what is wrong with the request's head."""
        is_post = request.path == SIGNATURES_PATH
        if request.method != ("POST" if is_post else "GET"):
            allowed = "POST" if is_post else "GET"
            raise HeadRefused(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", Allow=allowed)
        if request.query_string:
            raise HeadRefused(HTTPStatus.BAD_REQUEST, "query")
        headers = {name.lower(): value for name, value in request.headers.items()}
        origin, is_foreign = read_origin(headers, self._origins, self._public_origin)
        cors = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if is_foreign else {}
        if is_post:
            return told(await self._post(await _body_of(request)), cors)
        name = request.path.removeprefix(f"{SIGNATURES_PATH}/")
        return told(await self._to_speak(sanctuary_named(name)), cors)


async def _body_of(request: web.BaseRequest) -> bytes:
    """Raises: HeadRefused(408 | 413)."""
    body = bytearray()
    if (request.content_length or 0) > POST_BYTES_MAX:
        raise HeadRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Refusal.OVERSIZE.value)
    try:
        async with asyncio.timeout(BODY_S_MAX):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # else curl waits
            async for part in request.content.iter_any():
                body += part
                if len(body) > POST_BYTES_MAX:
                    raise HeadRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Refusal.OVERSIZE.value)
    except TimeoutError:
        raise HeadRefused(HTTPStatus.REQUEST_TIMEOUT, "body too slow") from None
    return bytes(body)


def told(answer: Answer, headers: dict[str, str]) -> web.Response:
    """An answer of the core as a response."""
    fields = plain(answer)
    status = HTTPStatus.OK
    if isinstance(answer, Refused):
        reason = _known(answer.reason)
        status = STATUS.get(reason, HTTPStatus.BAD_REQUEST)
        fields = {"refused": answer.reason, "meaning": answer.meaning, "now_ms": answer.now_ms}
        if reason in RETRY_AFTER_S:
            headers = headers | {"Retry-After": str(RETRY_AFTER_S[reason])}
    else:
        fields.pop("ref", None)
    return web.Response(
        status=status,
        body=msgspec.json.encode(fields) + b"\n",
        content_type="application/json",
        headers=headers | {"Cache-Control": "no-store"},
    )


def _known(reason: str) -> Refusal:
    """A newer service may have names that are none of ours."""
    return Refusal(reason) if reason in _REFUSALS else Refusal.MALFORMED


_REFUSALS = frozenset(Refusal)

"""What the gateway's core asks of its shell beside `Publish` and `Ask`: writes, closes, pings. Pure."""

from __future__ import annotations

from typing import NamedTuple

from shared.contracts.refusals import CloseCode
from shared.identifiers import SessionId
from shared.subjects import Ask, Publish


class Write(NamedTuple):
    """One frame's payload for one session; `text` for the JSON subprotocol."""

    session: SessionId
    payload: bytes
    text: bool


class WriteMany(NamedTuple):
    """One frame's payload for many sessions: the very same bytes to each of them."""

    sessions: list[SessionId]
    payload: bytes
    text: bool


class Close(NamedTuple):
    """Close a session with a code of the catalogue; the core has forgotten it already."""

    session: SessionId
    code: CloseCode


class Ping(NamedTuple):
    session: SessionId


Effect = Write | WriteMany | Close | Ping | Publish | Ask

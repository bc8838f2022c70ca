"""What the gateway's core asks of its shell beside `Publish` and `Ask`: writes, closes,
refusals, pings. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from services.gateway.core.form import Form
from shared.contracts.client import Refused
from shared.contracts.refusals import CloseCode
from shared.contracts.window import ToSpeak, WindowTaken
from shared.identifiers import SessionId
from shared.subjects import Ask, Publish


class Write(NamedTuple):
    """One frame's payload for one session."""

    session: SessionId
    payload: bytes
    form: Form


class WriteMany(NamedTuple):
    """One frame's payload for many sessions: the very same bytes to each of them."""

    sessions: list[SessionId]
    payload: bytes
    form: Form


class Close(NamedTuple):
    """Close a session with a code of the catalogue; the core has forgotten it already."""

    session: SessionId
    code: CloseCode


class Cut(NamedTuple):
    """End a session's connection at once, with what its transport still holds: no close can go ahead
    of it. The core has forgotten the session already.
    """

    session: SessionId


class RefuseWatch(NamedTuple):
    """Answer a watcher whose event stream has not begun; the core has forgotten it already."""

    session: SessionId
    status: int
    name: str


class Ping(NamedTuple):
    session: SessionId


Answer = ToSpeak | WindowTaken | Refused
"""To a device without a socket."""


class Respond(NamedTuple):
    """The answer to the request to which the shell gave this number."""

    number: int
    answer: Answer


Effect = Write | WriteMany | Close | Cut | RefuseWatch | Ping | Respond | Publish | Ask

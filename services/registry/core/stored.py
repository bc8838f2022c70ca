"""A consent record as it is stored: as signed, with the moment at which the registry accepted it.

Whether a record widens depends on what had ended by then, and only the identity key may widen; so a
start judges each record again as of its moment. The moment need not be believed: what widens nothing
from one moment on widens nothing from any later one on, so an early moment is the strictest, and a
moment after the start is refused. The record's own stamp is the citizen's, and may be anything.
"""

from __future__ import annotations

import msgspec

from shared.codec import Refused, decode, encode
from shared.contracts import Refusal, Signed
from shared.identifiers import U53, WallMs

AHEAD_MS_MAX = 300_000
"""How much later than a start a moment may be: wall clocks are set back a little now and then."""


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag="accepted/1"):
    record: Signed
    at_ms: U53
    """The registry's wall clock."""


def stored_form(record: Signed, now_ms: WallMs) -> bytes:
    return encode(Accepted(record, now_ms))


def read_stored(payload: bytes, now_ms: WallMs) -> tuple[Signed, WallMs]:
    """The record, and the moment at which it is to be judged.

    Records of before this form hold no moment and are judged as of now: what was accepted then must
    widen nothing today, which is what matters. Raises: Refused(MALFORMED | SKEW, …); SKEW: it was
    accepted after now.
    """
    try:
        stored = decode(payload, Accepted)
    except Refused:
        return decode(payload, Signed), now_ms
    if stored.at_ms > now_ms + AHEAD_MS_MAX:
        raise Refused(Refusal.SKEW)
    return stored.record, WallMs(min(stored.at_ms, now_ms))

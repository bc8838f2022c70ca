"""Bad lists of whom a session follows, and bad approvals of followers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.component.bad_input.frames import HERE, SIGNATURE
from tests.component.bad_input.records import HOUR_MS, YEAR_MS, changed
from tests.support.wire import Person, Wire, now_ms

SOMEBODY = bytes(range(16))


def follow(person: Person, wire: Wire) -> list[Any]:
    """A good one, of somebody who need not exist."""
    device = bytes(person.device.verify_key)
    gateway = wire.hello[6]
    seat = [HERE, wire.session, gateway, person.citizen, device]
    return ["follow/1", *seat, now_ms(), 0, [SOMEBODY]]


def approval(person: Person) -> list[Any]:
    return person.consent("approval/1", SOMEBODY, True, None)


def _with(at: int, value: object) -> Callable[[Person, Wire], object]:
    return lambda p, w: changed(follow(p, w), at, value)


# (name, payload of the follow, refusal)
FOLLOWS: tuple[tuple[str, Callable[[Person, Wire], object], str], ...] = (
    ("not MessagePack", lambda p, w: b"\xc1", "malformed"),
    ("a join for a follow", lambda p, w: p.join(w, HERE), "malformed"),
    ("a field too few", lambda p, w: follow(p, w)[:-1], "malformed"),
    ("a field too many", lambda p, w: [*follow(p, w), 1], "not canonical"),
    ("another sanctuary inside", _with(1, bytes(16)), "wrong session"),
    ("another session", _with(2, bytes(16)), "wrong session"),
    ("another gateway", _with(3, "gateway-9"), "wrong session"),
    ("a gateway without a name", _with(3, ""), "out of range"),
    ("another citizen", _with(4, SOMEBODY), "wrong session"),
    ("another device", _with(5, bytes(range(32))), "unknown device"),
    ("an hour ago", lambda p, w: changed(follow(p, w), 6, now_ms() - HOUR_MS), "skew"),
    ("in an hour", lambda p, w: changed(follow(p, w), 6, now_ms() + HOUR_MS), "skew"),
    ("a stamp in words", _with(6, "now"), "malformed"),
    ("a number below zero", _with(7, -1), "out of range"),
    ("a number above 32 bits", _with(7, 2**32), "out of range"),
    ("a number that is nil", _with(7, None), "malformed"),
    ("one person without a list", _with(8, SOMEBODY), "malformed"),
    ("a list that is nil", _with(8, None), "malformed"),
    ("a list in a map", _with(8, {0: SOMEBODY}), "malformed"),
    ("half a person", _with(8, [bytes(8)]), "out of range"),
    ("a person by name", _with(8, ["Ada"]), "malformed"),
    ("65 people", _with(8, [bytes([n]) * 16 for n in range(65)]), "out of range"),
)

# (name, the message, refusal); from somebody who has a seat here, and nowhere else
FOLLOW_MESSAGES: tuple[tuple[str, list[object], str], ...] = (
    ("a follow without its record", ["follow", 1, HERE], "malformed"),
    ("a follow whose record is nil", ["follow", 1, HERE, None], "malformed"),
    ("a follow with half a signature", ["follow", 1, HERE, [b"x", bytes(32)]], "out of range"),
    ("a follow in half a sanctuary", ["follow", 1, HERE[:8], [b"x", SIGNATURE]], "out of range"),
    ("a follow where one has no seat", ["follow", 1, bytes(16), [b"x", SIGNATURE]], "not a member"),
)

# (name, payload of the approval, signed by: identity, device or stranger, refusal)
APPROVALS: tuple[tuple[str, Callable[[Person], object], str, str], ...] = (
    ("half a follower", lambda p: changed(approval(p), 5, bytes(8)), "identity", "out of range"),
    ("no follower", lambda p: changed(approval(p), 5, None), "identity", "malformed"),
    ("a follower by name", lambda p: changed(approval(p), 5, "Ada"), "identity", "malformed"),
    ("approved with a number", lambda p: changed(approval(p), 6, 1), "identity", "malformed"),
    ("approved in words", lambda p: changed(approval(p), 6, "yes"), "identity", "malformed"),
    ("neither approved nor not", lambda p: changed(approval(p), 6, None), "identity", "malformed"),
    ("until before 1970", lambda p: changed(approval(p), 7, -1), "identity", "out of range"),
    ("without until", lambda p: approval(p)[:-1], "identity", "malformed"),
    ("a field too many", lambda p: [*approval(p), 1], "identity", "not canonical"),
    ("an approval by the device", approval, "device", "needs the identity key"),
    ("an approval by a stranger", approval, "stranger", "bad signature"),
    ("an approval out of order", lambda p: changed(approval(p), 2, 7), "identity", "broken chain"),
    ("a year ahead", lambda p: changed(approval(p), 4, now_ms() + YEAR_MS), "identity", "skew"),
)

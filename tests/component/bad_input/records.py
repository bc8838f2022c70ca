"""Bad signed records: inceptions, joins, openings, consent records; and what is wrong with any kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import nacl.signing

from tests.component.bad_input.frames import HERE
from tests.component.bad_input.tokens import SMALL_ORDER, malleated
from tests.support.wire import Person, Place, Wire, now_ms, pack

HOUR_MS = 3_600_000
YEAR_MS = 31_536_000_000


def changed(payload: list[Any], at: int, value: object) -> list[Any]:
    return [*payload[:at], value, *payload[at + 1 :]]


# (name, payload of the inception, refusal)
INCEPTIONS: tuple[tuple[str, Callable[[Person], object], str], ...] = (
    ("not MessagePack", lambda p: b"\xc1", "malformed"),
    ("a field too many", lambda p: [*p.inception(), 1], "not canonical"),
    (
        "the long form of a number",
        lambda p: pack(p.inception())[:-1] + b"\xcc\x01",
        "not canonical",
    ),
    ("another record's name", lambda p: changed(p.inception(), 0, "join/1"), "malformed"),
    ("somebody else's key", lambda p: changed(p.inception(), 1, bytes(range(32))), "bad signature"),
    (
        "an identity key of small order",
        lambda p: changed(p.inception(), 1, SMALL_ORDER),
        "out of range",
    ),
    ("half a hash of the next key", lambda p: changed(p.inception(), 2, bytes(16)), "out of range"),
    ("no next key", lambda p: changed(p.inception(), 2, None), "malformed"),
    ("no devices", lambda p: changed(p.inception(), 3, []), "out of range"),
    (
        "one device, without a list",
        lambda p: changed(p.inception(), 3, p.inception()[3][0]),
        "malformed",
    ),
    (
        "17 devices",
        lambda p: changed(p.inception(), 3, [bytes([i]) * 32 for i in range(17)]),
        "out of range",
    ),
    ("a device twice", lambda p: changed(p.inception(), 3, p.inception()[3] * 2), "out of range"),
    ("a device of small order", lambda p: changed(p.inception(), 3, [SMALL_ORDER]), "out of range"),
    ("a device in text", lambda p: changed(p.inception(), 3, ["x" * 32]), "malformed"),
    ("made before 1970", lambda p: changed(p.inception(), 4, -1), "out of range"),
    ("made in an hour", lambda p: changed(p.inception(), 4, now_ms() + HOUR_MS), "skew"),
    ("made in words", lambda p: changed(p.inception(), 4, "today"), "malformed"),
)

# (name, payload of the join, refusal)
JOINS: tuple[tuple[str, Callable[[Person, Wire], object], str], ...] = (
    ("not MessagePack", lambda p, w: b"\xc1", "malformed"),
    ("another sanctuary inside", lambda p, w: p.join(w, bytes(16)), "wrong session"),
    ("another session", lambda p, w: changed(p.join(w, HERE), 2, bytes(16)), "wrong session"),
    ("another gateway", lambda p, w: changed(p.join(w, HERE), 3, "gateway-9"), "wrong session"),
    ("a gateway without a name", lambda p, w: changed(p.join(w, HERE), 3, ""), "out of range"),
    ("a gateway of 65 signs", lambda p, w: changed(p.join(w, HERE), 3, "g" * 65), "out of range"),
    ("a gateway in bytes", lambda p, w: changed(p.join(w, HERE), 3, b"gateway-0"), "malformed"),
    ("nobody's citizen id", lambda p, w: changed(p.join(w, HERE), 4, bytes(16)), "unknown citizen"),
    (
        "another device",
        lambda p, w: changed(p.join(w, HERE), 5, bytes(range(32))),
        "unknown device",
    ),
    (
        "the identity key as device",
        lambda p, w: changed(p.join(w, HERE), 5, bytes(p.identity.verify_key)),
        "unknown device",
    ),
    ("an hour ago", lambda p, w: changed(p.join(w, HERE), 6, now_ms() - HOUR_MS), "skew"),
    ("in an hour", lambda p, w: changed(p.join(w, HERE), 6, now_ms() + HOUR_MS), "skew"),
    ("a stamp that is nil", lambda p, w: changed(p.join(w, HERE), 6, None), "malformed"),
    ("a field too many", lambda p, w: [*p.join(w, HERE), 0], "not canonical"),
)

# (name, changes of the opening, refusal); made by `Person.opening`
OPENINGS: tuple[tuple[str, Callable[[Person, Place], dict[str, Any]], str], ...] = (
    ("another sanctuary inside", lambda p, w: {"sanctuary": bytes(16)}, "wrong sanctuary"),
    ("another citizen", lambda p, w: {"citizen": bytes(16)}, "wrong session"),
    ("another policy", lambda p, w: {"policy_hash": bytes(32)}, "wrong policy"),
    ("half a policy's hash", lambda p, w: {"policy_hash": bytes(16)}, "out of range"),
    ("an old challenge", lambda p, w: {"challenge": bytes(16)}, "wrong challenge"),
    ("no challenge", lambda p, w: {"challenge": None}, "malformed"),
    ("a strand key of small order", lambda p, w: {"strand_key": SMALL_ORDER}, "out of range"),
    (
        "its own device as strand key",
        lambda p, w: {"strand_key": bytes(p.device.verify_key)},
        "out of range",
    ),
    (
        "its identity key as strand key",
        lambda p, w: {"strand_key": bytes(p.identity.verify_key)},
        "out of range",
    ),
    ("a strand key of 31 bytes", lambda p, w: {"strand_key": bytes(31)}, "out of range"),
    ("another device", lambda p, w: {"device": bytes(range(32))}, "unknown device"),
    ("a minute ago", lambda p, w: {"t_ms": now_ms() - 60_000}, "skew"),
    ("in a minute", lambda p, w: {"t_ms": now_ms() + 60_000}, "skew"),
    ("a name of 41 signs", lambda p, w: {"name": "x" * 41}, "out of range"),
    ("a name in bytes", lambda p, w: {"name": b"Ada"}, "malformed"),
    ("a name that is a number", lambda p, w: {"name": 7}, "malformed"),
    ("an epoch below zero", lambda p, w: {"consent_epoch": -1}, "out of range"),
    ("an epoch that is nil", lambda p, w: {"consent_epoch": None}, "malformed"),
)


def _grant(person: Person) -> list[Any]:
    return person.consent("grant/1", HERE, 0, 3, 0, None)


def _exception(person: Person) -> list[Any]:
    return person.consent("exception/1", HERE, bytes(16), 0, None)


def _withdrawal(person: Person) -> list[Any]:
    return person.consent("withdrawal/1", HERE, None, None)


# (name, payload of the consent record, signed by: identity, device or stranger, refusal)
CONSENTS: tuple[tuple[str, Callable[[Person], object], str, str], ...] = (
    ("not MessagePack", lambda p: b"\xc1", "identity", "malformed"),
    (
        "no such record",
        lambda p: ["gift/1", p.citizen, 1, bytes(32), now_ms()],
        "identity",
        "malformed",
    ),
    (
        "nobody's citizen id",
        lambda p: changed(_grant(p), 1, bytes(16)),
        "identity",
        "unknown citizen",
    ),
    ("counter 0", lambda p: changed(_grant(p), 2, 0), "identity", "stale"),
    ("counter 5", lambda p: changed(_grant(p), 2, 5), "identity", "broken chain"),
    ("a counter above 53 bits", lambda p: changed(_grant(p), 2, 2**53), "identity", "out of range"),
    (
        "a false previous",
        lambda p: changed(_grant(p), 3, bytes(range(32))),
        "identity",
        "broken chain",
    ),
    ("half a previous", lambda p: changed(_grant(p), 3, bytes(16)), "identity", "out of range"),
    (
        "a sanctuary by its slug",
        lambda p: changed(_grant(p), 5, "emotive-commons"),
        "identity",
        "malformed",
    ),
    ("half a sanctuary", lambda p: changed(_grant(p), 5, HERE[:8]), "identity", "out of range"),
    ("audience 4", lambda p: changed(_grant(p), 6, 4), "identity", "out of range"),
    (
        "an audience by its name",
        lambda p: changed(_grant(p), 6, "members"),
        "identity",
        "malformed",
    ),
    ("no audience", lambda p: changed(_grant(p), 6, None), "identity", "malformed"),
    ("tier 4", lambda p: changed(_grant(p), 7, 4), "identity", "out of range"),
    ("tier −1", lambda p: changed(_grant(p), 7, -1), "identity", "out of range"),
    ("a tier that is true", lambda p: changed(_grant(p), 7, True), "identity", "malformed"),
    ("purpose 2", lambda p: changed(_grant(p), 8, 2), "identity", "out of range"),
    ("until before 1970", lambda p: changed(_grant(p), 9, -1), "identity", "out of range"),
    ("until as a float", lambda p: changed(_grant(p), 9, 1e12), "identity", "malformed"),
    ("a field too many", lambda p: [*_grant(p), 1], "identity", "not canonical"),
    ("a grant by the device", _grant, "device", "needs the identity key"),
    ("a stranger's signature", _grant, "stranger", "bad signature"),
    ("a year ahead", lambda p: changed(_grant(p), 4, now_ms() + YEAR_MS), "identity", "skew"),
    ("a year ago", lambda p: changed(_grant(p), 4, now_ms() - YEAR_MS), "identity", "skew"),
    ("an exception of tier 4", lambda p: changed(_exception(p), 7, 4), "identity", "out of range"),
    ("an exception for nobody", lambda p: changed(_exception(p), 6, None), "identity", "malformed"),
    (
        "an exception for half of somebody",
        lambda p: changed(_exception(p), 6, bytes(8)),
        "identity",
        "out of range",
    ),
    ("an exception by a stranger", _exception, "stranger", "bad signature"),
    (
        "an exception with a grant's fields",
        lambda p: ["exception/1", *_grant(p)[1:]],
        "identity",
        "malformed",
    ),
    (
        "a withdrawal from audience 4",
        lambda p: changed(_withdrawal(p), 6, 4),
        "identity",
        "out of range",
    ),
    (
        "a withdrawal from purpose 2",
        lambda p: changed(_withdrawal(p), 7, 2),
        "identity",
        "out of range",
    ),
    ("a withdrawal by a stranger", _withdrawal, "stranger", "bad signature"),
    ("a withdrawal out of order", lambda p: changed(_withdrawal(p), 2, 0), "device", "stale"),
)


def signer_of(person: Person, who: str) -> nacl.signing.SigningKey:
    stranger = nacl.signing.SigningKey(hashlib.sha256(b"stranger").digest())
    return {"identity": person.identity, "device": person.device, "stranger": stranger}[who]


# What is wrong with a record of any kind: (name, payload → its bytes, refusal). Each kind is read by
# a service of its own, so each must refuse each.
SHAPES: tuple[tuple[str, Callable[[list[Any]], bytes], str], ...] = (
    ("a map of the same fields", lambda f: pack(dict(enumerate(f))), "malformed"),
    ("a byte behind it", lambda f: pack(f) + b"\xc0", "malformed"),
    ("cut short", lambda f: pack(f)[:-1], "malformed"),
    ("its name in bytes", lambda f: pack([f[0].encode(), *f[1:]]), "malformed"),
    ("a version to come", lambda f: pack([f[0].replace("/1", "/2"), *f[1:]]), "malformed"),
    ("nothing but its name", lambda f: pack(f[:1]), "malformed"),
    (
        "a longer header than need be",
        lambda f: b"\xdc\x00" + bytes([len(f)]) + pack(f)[1:],
        "not canonical",
    ),
    (
        "a longer name's header than need be",
        lambda f: pack(f)[:1] + b"\xd9" + bytes([len(f[0])]) + pack(f)[2:],
        "not canonical",
    ),
    ("its payload packed twice", lambda f: pack(pack(f)), "malformed"),
)

_DOMAIN = b"synchronia/1/"
KINDS = ("inception", "join", "opening", "seal", "consent", "follow")


def _next_kind(kind: str) -> bytes:
    return KINDS[(KINDS.index(kind) + 1) % len(KINDS)].encode()


# Signatures that do not verify: (name, (key, kind, city, payload) → signature)
Forger = Callable[[nacl.signing.SigningKey, str, bytes, bytes], bytes]
FORGERIES: tuple[tuple[str, Forger], ...] = (
    ("zeros", lambda k, kind, city, raw: bytes(64)),
    (
        "another kind's",
        lambda k, kind, city, raw: (
            k.sign(_DOMAIN + _next_kind(kind) + b"\n" + city + raw).signature
        ),
    ),
    (
        "another city's",
        lambda k, kind, city, raw: (
            k.sign(_DOMAIN + kind.encode() + b"\n" + bytes(32) + raw).signature
        ),
    ),
    (
        "a version's to come",
        lambda k, kind, city, raw: (
            k.sign(b"synchronia/2/" + kind.encode() + b"\n" + city + raw).signature
        ),
    ),
    ("of the payload alone", lambda k, kind, city, raw: k.sign(raw).signature),
    (
        "of the payload's hash",
        lambda k, kind, city, raw: (
            k.sign(_DOMAIN + kind.encode() + b"\n" + city + hashlib.sha256(raw).digest()).signature
        ),
    ),
    (
        "with S above the group's order",
        lambda k, kind, city, raw: malleated(
            k.sign(_DOMAIN + kind.encode() + b"\n" + city + raw).signature
        ),
    ),
    (
        "a stranger's",
        lambda k, kind, city, raw: (
            signer_of(Person("x"), "stranger")
            .sign(_DOMAIN + kind.encode() + b"\n" + city + raw)
            .signature
        ),
    ),
)

"""Bad input, row by row: what is sent, and the exact answer it must get.

Rows are (name, what makes the bad thing out of a good one, the refusal). They are data for
`test_bad_input.py`, which sends each to a running city while a bystander listens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import nacl.signing

from tests.support.wire import Person, Place, Speaking, Wire, base64url, did, now_ms, pack

Raw = bytes
SMALL_ORDER = bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000000")
FAR = 10**6
HERE = hashlib.sha256(b"synchronia/sanctuary/emotive-commons").digest()[:16]

# Whole frames on a session that has been welcomed. The session stays.
FRAMES: tuple[tuple[str, Raw, str], ...] = (
    ("no bytes", b"", "malformed"),
    ("not MessagePack", b"\xc1", "malformed"),
    ("a map", pack({"a": 1}), "malformed"),
    ("a number", pack(7), "malformed"),
    ("nil", pack(None), "malformed"),
    ("text", pack("token"), "malformed"),
    ("an array cut short", b"\x92\x91\xa5time?", "malformed"),
    ("bytes behind the frame", pack([["time?", 1]]) + b"\x00", "malformed"),
    ("a length that lies", b"\xdd\xff\xff\xff\xff", "malformed"),
    ("nested a thousand deep", b"\x91" * 1000 + b"\xc0", "malformed"),
    ("a message that is no array", pack([5]), "malformed"),
    ("a message without a name", pack([[]]), "malformed"),
    ("a name that is a number", pack([[1, 2]]), "malformed"),
    ("a name that is not UTF-8", b"\x91\x92\xa2\xff\xfe\x01", "malformed"),
    ("a name that nobody knows", pack([["dance", 1]]), "unknown kind"),
    ("a server's message", pack([["hello", 1]]), "unknown kind"),
    ("a field too few", pack([["leave", 1]]), "malformed"),
    ("a ref below zero", pack([["leave", -1, bytes(16)]]), "out of range"),
    ("a ref above 32 bits", pack([["leave", 2**32, bytes(16)]]), "out of range"),
    ("a ref that is text", pack([["leave", "1", bytes(16)]]), "malformed"),
    ("a sanctuary of 15 bytes", pack([["leave", 1, bytes(15)]]), "out of range"),
    ("a sanctuary that is text", pack([["leave", 1, "a" * 16]]), "malformed"),
    ("a time below zero", pack([["time?", -1]]), "out of range"),
    ("a time that is a float", pack([["time?", 1.5]]), "malformed"),
    ("samples without bodies", pack([["samples", HERE, bytes(32), 0, []]]), "out of range"),
    ("33 bodies", pack([["samples", HERE, bytes(32), 0, [b"\x90"] * 33]]), "out of range"),
    ("a body that is text", pack([["samples", HERE, bytes(32), 0, ["x"]]]), "malformed"),
    ("a body of no bytes", pack([["samples", HERE, bytes(32), 0, [b""]]]), "out of range"),
    ("an epoch below zero", pack([["samples", HERE, bytes(32), -1, [b"\x90"]]]), "out of range"),
    ("a record without signature", pack([["record", 1, [b"x"]]]), "malformed"),
    ("a signature of 63 bytes", pack([["record", 1, [b"x", bytes(63)]]]), "out of range"),
    ("a payload of 5000 bytes", pack([["record", 1, [bytes(5000), bytes(64)]]]), "out of range"),
    ("an empty payload", pack([["record", 1, [b"", bytes(64)]]]), "out of range"),
    ("65 messages", pack([["time?", 1]] * 65), "oversize"),
    ("the extension type", b"\x91\x92\xa5time?\xc7\x01\x05\x00", "malformed"),
)

# What stands in the first frame instead of a token. The socket is closed.
FIRST_FRAMES: tuple[tuple[str, Callable[[Person, Wire], Raw], str], ...] = (
    ("not MessagePack", lambda p, w: b"\xc1", "MALFORMED"),
    ("a join before the token", lambda p, w: pack([["time?", 1]]), "BAD_TOKEN"),
    ("an empty batch, and then silence", lambda p, w: pack([]), "HANDSHAKE_TIMEOUT"),
    ("a token that is a number", lambda p, w: pack([["token", 5]]), "MALFORMED"),
    ("a token of 3000 signs", lambda p, w: pack([["token", "a" * 3000]]), "MALFORMED"),
)


def _none_algorithm(person: Person, wire: Wire) -> str:
    _, payload, _ = person.token(wire).split(".")
    return base64url(b'{"alg":"none"}') + "." + payload + "."


def _other_key(person: Person, wire: Wire) -> str:
    return Person("somebody else").token(wire, sub=did(bytes(person.device.verify_key)))


TOKENS: tuple[tuple[str, Callable[[Person, Wire], str]], ...] = (
    ("no token at all", lambda p, w: ""),
    ("two dots and nothing", lambda p, w: ".."),
    ("not base64", lambda p, w: "*.*.*"),
    ("the algorithm none", _none_algorithm),
    ("the algorithm HS256", lambda p, w: p.token(w, header={"alg": "HS256"})),
    ("signed by another key", _other_key),
    ("another socket's nonce", lambda p, w: p.token(w, nonce=bytes(16).hex())),
    ("no nonce", lambda p, w: p.token(w, nonce=None)),
    ("another origin", lambda p, w: p.token(w, aud=["https://else.where", w.city.hex()])),
    ("another city", lambda p, w: p.token(w, aud=[w.hello[4], bytes(32).hex()])),
    ("one audience only", lambda p, w: p.token(w, aud=w.hello[4])),
    ("expired an hour ago", lambda p, w: p.token(w, exp=now_ms() // 1000 - 3600)),
    ("good for a day", lambda p, w: p.token(w, exp=now_ms() // 1000 + 86400)),
    ("exp that is text", lambda p, w: p.token(w, exp="soon")),
    ("a subject that is no did:key", lambda p, w: p.token(w, sub="did:web:example.org")),
    ("a subject of small order", lambda p, w: p.token(w, sub=did(SMALL_ORDER))),
    ("a citizen of 15 bytes", lambda p, w: p.token(w, cit=bytes(15).hex())),
    ("a citizen that is not hex", lambda p, w: p.token(w, cit="citizen")),
)


def _changed(payload: list[Any], at: int, value: object) -> list[Any]:
    return [*payload[:at], value, *payload[at + 1 :]]


# (name, payload of the inception, who signs, refusal)
INCEPTIONS: tuple[tuple[str, Callable[[Person], object], str], ...] = (
    ("not MessagePack", lambda p: b"\xc1", "malformed"),
    ("a field too many", lambda p: [*p.inception(), 1], "not canonical"),
    (
        "the long form of a number",
        lambda p: pack(p.inception())[:-1] + b"\xcc\x01",
        "not canonical",
    ),
    ("another record's name", lambda p: _changed(p.inception(), 0, "join/1"), "malformed"),
    (
        "somebody else's key",
        lambda p: _changed(p.inception(), 1, bytes(range(32))),
        "bad signature",
    ),
    ("no devices", lambda p: _changed(p.inception(), 3, []), "out of range"),
    (
        "17 devices",
        lambda p: _changed(p.inception(), 3, [bytes([i]) * 32 for i in range(17)]),
        "out of range",
    ),
    ("a device twice", lambda p: _changed(p.inception(), 3, p.inception()[3] * 2), "out of range"),
    (
        "a device of small order",
        lambda p: _changed(p.inception(), 3, [SMALL_ORDER]),
        "out of range",
    ),
)

# (name, payload of the join, refusal)
JOINS: tuple[tuple[str, Callable[[Person, Wire], object], str], ...] = (
    ("not MessagePack", lambda p, w: b"\xc1", "malformed"),
    ("another sanctuary inside", lambda p, w: p.join(w, bytes(16)), "wrong session"),
    ("another session", lambda p, w: _changed(p.join(w, HERE), 2, bytes(16)), "wrong session"),
    ("another gateway", lambda p, w: _changed(p.join(w, HERE), 3, "gateway-9"), "wrong session"),
    (
        "nobody's citizen id",
        lambda p, w: _changed(p.join(w, HERE), 4, bytes(16)),
        "unknown citizen",
    ),
    (
        "another device",
        lambda p, w: _changed(p.join(w, HERE), 5, bytes(range(32))),
        "unknown device",
    ),
    ("an hour ago", lambda p, w: _changed(p.join(w, HERE), 6, now_ms() - 3_600_000), "skew"),
    ("a field too many", lambda p, w: [*p.join(w, HERE), 0], "not canonical"),
)

# (name, changes of the opening, refusal); made by `Person.opening`
OPENINGS: tuple[tuple[str, Callable[[Person, Place], dict[str, Any]], str], ...] = (
    ("another sanctuary inside", lambda p, w: {"sanctuary": bytes(16)}, "wrong sanctuary"),
    ("another citizen", lambda p, w: {"citizen": bytes(16)}, "wrong session"),
    ("another policy", lambda p, w: {"policy_hash": bytes(32)}, "wrong policy"),
    ("an old challenge", lambda p, w: {"challenge": bytes(16)}, "wrong challenge"),
    ("a strand key of small order", lambda p, w: {"strand_key": SMALL_ORDER}, "out of range"),
    (
        "its own device as strand key",
        lambda p, w: {"strand_key": bytes(p.device.verify_key)},
        "out of range",
    ),
    ("another device", lambda p, w: {"device": bytes(range(32))}, "unknown device"),
    ("a minute ago", lambda p, w: {"t_ms": now_ms() - 60_000}, "skew"),
    ("a name of 41 signs", lambda p, w: {"name": "x" * 41}, "out of range"),
    ("a strand key of 31 bytes", lambda p, w: {"strand_key": bytes(31)}, "out of range"),
)

# (name, the body, refusal); the number is the strand's next unless said
BODIES: tuple[tuple[str, Callable[[Speaking], bytes], str], ...] = (
    ("not MessagePack", lambda s: b"\xc1", "malformed"),
    ("a map", lambda s: pack({"seq": 0}), "malformed"),
    ("a field too few", lambda s: pack([s.seq, now_ms(), 1, 1, None, 1, 2, [], None]), "malformed"),
    ("a valence that is a float", lambda s: s.body(valence=0.5), "malformed"),
    ("a note that is a number", lambda s: s.body(note=5), "malformed"),
    ("valence 1001", lambda s: s.body(valence=1001), "out of range"),
    ("arousal −1001", lambda s: s.body(arousal=-1001), "out of range"),
    ("dominance 1001", lambda s: s.body(dominance=1001), "out of range"),
    ("confidence −1", lambda s: s.body(confidence=-1), "out of range"),
    ("provenance 3", lambda s: s.body(provenance=3), "out of range"),
    ("label 17", lambda s: s.body(labels=[17]), "out of range"),
    ("five labels", lambda s: s.body(labels=[1, 2, 3, 4, 5]), "out of range"),
    ("a note of 141 signs", lambda s: s.body(note="x" * 141), "out of range"),
    ("a salt of 7 bytes", lambda s: s.body(salt=bytes(7)), "out of range"),
    ("labels descending", lambda s: s.body(labels=[2, 1]), "not canonical"),
    ("a label twice", lambda s: s.body(labels=[1, 1]), "not canonical"),
    ("a note not in NFC", lambda s: s.body(note="e\u0301"), "not canonical"),
    ("the long form of the number", lambda s: b"\x9a\xcc" + s.body()[1:], "not canonical"),
    ("a minute ago", lambda s: s.body(t_ms=now_ms() - 60_000), "skew"),
    ("a minute ahead", lambda s: s.body(t_ms=now_ms() + 60_000), "skew"),
    ("701 bytes", lambda s: pack([s.seq, *[bytes(690)] * 1, *[0] * 8]), "oversize"),
)

# (name, changes of the seal, refusal)
SEALS: tuple[tuple[str, Callable[[Speaking], dict[str, Any]], str], ...] = (
    ("another strand inside", lambda s: {"strand": bytes(32)}, "bad seal"),
    ("window 7", lambda s: {"window": 7}, "bad seal"),
    ("first number 1", lambda s: {"first_seq": 1}, "bad seal"),
    ("a false hash", lambda s: {"hashes": [bytes(16)]}, "bad seal"),
    ("no hashes", lambda s: {"hashes": []}, "bad seal"),
    ("a false previous", lambda s: {"previous": bytes(range(32))}, "bad seal"),
    ("a total in a window that goes on", lambda s: {"total": 1}, "bad seal"),
    ("closing without total", lambda s: {"flags": 1}, "bad seal"),
    ("closing with a false total", lambda s: {"flags": 1, "total": 9}, "bad seal"),
    ("an hour ahead", lambda s: {"t_end_ms": now_ms() + 3_600_000}, "bad seal"),
    ("flags 2", lambda s: {"flags": 2}, "out of range"),
    ("33 hashes", lambda s: {"hashes": [bytes(16)] * 33}, "out of range"),
)

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
        lambda p: _changed(_grant(p), 1, bytes(16)),
        "identity",
        "unknown citizen",
    ),
    ("counter 0", lambda p: _changed(_grant(p), 2, 0), "identity", "stale"),
    ("counter 5", lambda p: _changed(_grant(p), 2, 5), "identity", "broken chain"),
    (
        "a false previous",
        lambda p: _changed(_grant(p), 3, bytes(range(32))),
        "identity",
        "broken chain",
    ),
    ("tier 4", lambda p: _changed(_grant(p), 7, 4), "identity", "out of range"),
    ("audience 4", lambda p: _changed(_grant(p), 6, 4), "identity", "out of range"),
    ("purpose 2", lambda p: _changed(_grant(p), 8, 2), "identity", "out of range"),
    ("a field too many", lambda p: [*_grant(p), 1], "identity", "not canonical"),
    ("a grant by the device", lambda p: _grant(p), "device", "needs the identity key"),
    ("a stranger's signature", lambda p: _grant(p), "stranger", "bad signature"),
    (
        "a year ahead",
        lambda p: _changed(_grant(p), 4, now_ms() + 31_536_000_000),
        "identity",
        "skew",
    ),
)


def _grant(person: Person) -> list[Any]:
    return person.consent("grant/1", HERE, 0, 3, 0, None)


def signer_of(person: Person, who: str) -> nacl.signing.SigningKey:
    stranger = nacl.signing.SigningKey(hashlib.sha256(b"stranger").digest())
    return {"identity": person.identity, "device": person.device, "stranger": stranger}[who]


def _get(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", *lines, "", "")).encode()


def _upgrade(path: str = "/v1/live", **changes: str | None) -> bytes:
    """A WebSocket hand-shake; a header that is None is left out, `_` stands for `-`."""
    headers: dict[str, str | None] = {
        "Host": "here",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Protocol": "synchronia.v1",
    }
    headers |= changes
    lines = (f"{k.replace('_', '-')}: {v}" for k, v in headers.items() if v is not None)
    return _get(path, *lines)


# (name, bytes on a bare TCP connection, the status of the answer)
HTTP: tuple[tuple[str, bytes, str], ...] = (
    ("no such path", _get("/nowhere", "Host: here", "Connection: close"), "404"),
    (
        "a method that is not allowed",
        b"POST /livez HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "405",
    ),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"),
    ("a request line of one word", b"HELLO\r\n\r\n", "400"),
    ("a header of 20 kB", _get("/", "Host: here", "X: " + "a" * 20_000), "431"),
    ("a header without a colon", _get("/livez", "Host here", "Connection: close"), "400"),
    ("live without upgrade", _get("/v1/live", "Host: here", "Connection: close"), "426"),
    ("no such subprotocol", _upgrade(Sec_WebSocket_Protocol="chat"), "400"),
    ("no WebSocket key", _upgrade(Sec_WebSocket_Key=None), "400"),
    ("WebSocket version 8", _upgrade(Sec_WebSocket_Version="8"), "426"),
    ("another site's origin", _upgrade(Origin="https://else.where"), "403"),
    ("a sanctuary that is not hex", _upgrade("/v1/live?watch=commons"), "400"),
)


def _frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """A client's WebSocket frame with a mask of zeros (RFC 6455, section 5.2)."""
    assert len(payload) < 126
    head = bytes((first, (0x80 if masked else 0) | len(payload)))
    return head + (bytes(4) if masked else b"") + payload


# (name, raw bytes behind the upgrade, the close code's name or number)
WEBSOCKET: tuple[tuple[str, bytes, int], ...] = (
    ("an unmasked frame", _frame(0x82, pack([]), masked=False), 4000),
    ("a text frame", _frame(0x81, b"[]"), 4000),
    ("a reserved opcode", _frame(0x83, b""), 4000),
    ("a reserved bit", _frame(0xC2, b"\x90"), 4000),
    ("a length of 2⁶⁴ − 1", b"\x82\xff" + b"\xff" * 8 + bytes(4), 4000),
    (
        "a frame of 70 000 bytes",
        b"\x82\xff" + (70_000).to_bytes(8, "big") + bytes(4) + bytes(70_000),
        4004,
    ),
    ("a continuation of nothing", _frame(0x80, b"\x90"), 4000),
    ("a ping of 126 bytes", b"\x89\xfe\x00\x7e" + bytes(4) + bytes(126), 4000),
)

"""Writes what the JavaScript client must make, byte for byte: `python -m tests.browser.golden_write`.

Keys, times, salts and the city are fixed, and Ed25519 is deterministic, so every row is repeatable.
Bytes are hexadecimal. The files hold the inputs beside what they make, so that a reader in another
language needs nothing else. In CI it refuses to run.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import nacl.bindings

from shared.codec import ZERO_HASH, body_hash, encode, sha256, strand_id
from shared.contracts import client
from shared.contracts.records import (
    SEAL_CLOSING,
    Approval,
    Audience,
    ConsentException,
    FollowRequest,
    Grant,
    Inception,
    JoinRequest,
    Opening,
    Purpose,
    RecordKind,
    Seal,
    Signed,
    Tier,
    Withdrawal,
)
from shared.contracts.refusals import CLOSES, MEANING
from shared.contracts.sample import VOCABULARY, Provenance, Sample
from shared.identifiers import WallMs
from shared.identity import Signer
from shared.identity.did import did_of
from shared.identity.signing import is_small_order, signed_bytes, verify
from shared.identity.token import make_token

GOLDEN = Path(__file__).parent / "golden"
NOW_MS = 1_700_000_000_000
CITY = sha256(b"a city")
SANCTUARY = sha256(b"synchronia/sanctuary/emotive-commons")[:16]
CITIZEN, PERSON = sha256(b"a citizen")[:16], sha256(b"a person")[:16]
SESSION, CHALLENGE = sha256(b"a session")[:16], sha256(b"a challenge")[:16]
POLICY_HASH = sha256(b"a policy")
GATEWAY, ORIGIN = "gateway-0", "http://127.0.0.1:8080"
IDENTITY, NEXT, DEVICE, STRAND = (
    Signer(sha256(role.encode())) for role in ("identity", "next", "device", "strand")
)

Row = dict[str, Any]
_P, _L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493


def plain(value: object) -> Any:
    """A value for JSON: bytes as hexadecimal, enums as their numbers."""
    match value:
        case bytes():
            return value.hex()
        case tuple() | list():
            return [plain(each) for each in value]
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case _:
            return value


def fields_of(content: msgspec.Struct) -> Row:
    return {name: plain(getattr(content, name)) for name in content.__struct_fields__}


def salt_of(number: int) -> bytes:
    return sha256(b"salt" + bytes([number]))[:8]


def samples() -> list[Row]:
    """Bodies at the edges of every field, and of every length that MessagePack tells apart."""
    plainest = Sample(0, NOW_MS, 0, 0, None, 1000, Provenance.DECLARED, (), None, bytes(8))
    change = msgspec.structs.replace
    made = {
        "the example of docs/protocol.md": Sample(
            0, NOW_MS, 100, 25, None, 1000, Provenance.SCRIPTED, (1,), None, bytes(range(1, 9))
        ),
        "the least": change(plainest, t_ms=0, confidence=0),
        "the most": Sample(
            2**32 - 1, 2**53 - 1, 1000, 1000, 1000, 1000, Provenance.SCRIPTED,
            (13, 14, 15, 16), "\U0001f642" * 140, b"\xff" * 8,
        ),
        "the most below nought": change(plainest, valence=-1000, arousal=-1000, dominance=-1000),
        "an empty note": change(plainest, note=""),
        "a note that a byte order mark begins": change(plainest, note="﻿mark"),
        "a note in NFC": change(plainest, note="é, ÅÅ and 각"),
        "a note with a zero": change(plainest, note="a\0b"),
    }  # fmt: skip
    for value in (1, 31, 32, 127, 128, 255, 256, 999):
        made[f"valence {value}"] = change(plainest, valence=value, arousal=-value)
    for value in (-1, -32, -33, -127, -128, -129, -256):
        made[f"valence {value}"] = change(plainest, valence=value)
    for value in (127, 128, 255, 256, 65535, 65536, 2**31, 2**32 - 2):
        made[f"number {value}"] = change(plainest, seq=value)
    for value in (2**32 - 1, 2**32, 2**53 - 2):
        made[f"time {value}"] = change(plainest, t_ms=value)
    for length in (31, 32, 140):
        made[f"a note of {length}"] = change(plainest, note="n" * length)
    made["a note of 256 bytes"] = change(plainest, note="ü" * 128)
    for labels in ((0,), (0, 16), (2, 3, 5), (0, 1, 2, 3)):
        made[f"labels {labels}"] = change(plainest, labels=labels)
    return [
        {"what": what} | fields_of(sample) | {"body": encode(sample).hex(),
                                              "hash": body_hash(encode(sample)).hex()}
        for what, sample in made.items()
    ]  # fmt: skip


def refused_bodies() -> list[Row]:
    """Bodies that are not the one form of their content."""
    good = encode(Sample(5, NOW_MS, 7, 0, None, 1000, Provenance.DECLARED, (), None, bytes(8)))
    assert good[:2] == b"\x9a\x05"
    fields: list[Any] = [5, NOW_MS, 7, 0, None, 1000, 0, [], None, bytes(8)]

    def body(at: int, value: object) -> bytes:
        return encode([*fields[:at], value, *fields[at + 1 :]])

    made = {
        "a longer form of a number": b"\x9a\xcc\x05" + good[2:],
        "a longer form of the array": b"\xdc\x00\x0a" + good[1:],
        "a byte behind it": good + b"\xc0",
        "cut short": good[:-1],
        "a float": body(2, 0.5),
        "a map": body(7, {}),
        "valence above one": body(2, 1001),
        "valence below minus one": body(2, -1001),
        "confidence below nought": body(5, -1),
        "a provenance of the future": body(6, 3),
        "labels that descend": body(7, [2, 1]),
        "a label twice": body(7, [1, 1]),
        "a label outside the vocabulary": body(7, [len(VOCABULARY)]),
        "five labels": body(7, [0, 1, 2, 3, 4]),
        "a note that is not NFC": body(8, "e\N{COMBINING ACUTE ACCENT}"),
        "a note too long": body(8, "n" * 141),
        "a note in bytes": body(8, b"note"),
        "a short salt": body(9, bytes(7)),
        "nine fields": encode(fields[:9]),
        "eleven fields": encode([*fields, None]),
        "a number beyond 2**32": body(0, 2**32),
        "a time beyond 2**53": body(1, 2**53),
    }
    return [{"what": what, "body": raw.hex()} for what, raw in made.items()]


def record(what: str, kind: RecordKind, signer: Signer, content: msgspec.Struct) -> Row:
    payload = encode(content)
    return {
        "what": what,
        "kind": kind.value,
        "fields": fields_of(content),
        "seed": signer.seed.hex(),
        "payload": payload.hex(),
        "signed": signed_bytes(kind, CITY, payload).hex(),
        "signature": signer.sign_record(kind, CITY, payload).signature.hex(),
        "hash": sha256(payload).hex(),
    }


def opening(name: str | None = None) -> Opening:
    return Opening(
        SANCTUARY, CITIZEN, POLICY_HASH, STRAND.public_key, DEVICE.public_key, 3, CHALLENGE,
        NOW_MS, name,
    )  # fmt: skip


def follow(number: int, followed: tuple[bytes, ...]) -> FollowRequest:
    return FollowRequest(
        SANCTUARY, SESSION, GATEWAY, CITIZEN, DEVICE.public_key, NOW_MS, number, followed
    )


def records() -> list[Row]:
    next_hash = sha256(NEXT.public_key)
    sixteen = tuple(Signer(sha256(bytes([n]))).public_key for n in range(16))
    inception = Inception(IDENTITY.public_key, next_hash, (DEVICE.public_key,), NOW_MS)
    join = JoinRequest(SANCTUARY, SESSION, GATEWAY, CITIZEN, DEVICE.public_key, NOW_MS)
    link = (CITIZEN, 1, ZERO_HASH, NOW_MS)
    later = (CITIZEN, 2**53 - 1, sha256(b"the record before"), NOW_MS)
    until = NOW_MS + 3_600_000
    rows = [
        record("inception", RecordKind.INCEPTION, IDENTITY, inception),
        record(
            "inception of sixteen devices", RecordKind.INCEPTION, IDENTITY,
            Inception(IDENTITY.public_key, next_hash, sixteen, 0),
        ),
        record("join", RecordKind.JOIN, DEVICE, join),
        record("follow", RecordKind.FOLLOW, DEVICE, follow(1, (PERSON, CITIZEN))),
        record("follow of nobody", RecordKind.FOLLOW, DEVICE, follow(2**32 - 1, ())),
        record("opening", RecordKind.OPENING, DEVICE, opening()),
        record("opening with a name", RecordKind.OPENING, DEVICE, opening("Zoë 🙂")),
    ]  # fmt: skip
    consents: dict[str, msgspec.Struct] = {
        "grant": Grant(*link, SANCTUARY, Audience.MEMBERS, Tier.FULL, Purpose.LIVE, None),
        "grant for any, until": Grant(
            *later, None, Audience.PUBLIC, Tier.COARSE, Purpose.RECORD, until
        ),
        "exception": ConsentException(*link, SANCTUARY, PERSON, Tier.WITHHELD, None),
        "exception lifted": ConsentException(*later, None, PERSON, Tier.FULL, until),
        "approval": Approval(*link, PERSON, True, None),
        "approval until": Approval(*later, PERSON, True, until),
        "approval revoked": Approval(*later, PERSON, False, None),
        "withdrawal of everything": Withdrawal(*link, None, None, None),
        "withdrawal of one": Withdrawal(*later, SANCTUARY, Audience.FOLLOWERS, Purpose.LIVE),
    }
    return rows + [
        record(what, RecordKind.CONSENT, IDENTITY, content) for what, content in consents.items()
    ]


def strand() -> Row:
    """A strand of three windows: 32 samples, two, and a closing seal without any."""
    payload = encode(opening())
    name = strand_id(payload)
    bodies = [
        encode(
            Sample(
                n, NOW_MS + 10 * n, n, -n, None, 1000, Provenance.DECLARED, (), None, salt_of(n)
            )
        )
        for n in range(34)
    ]  # fmt: skip
    seals, previous = [], ZERO_HASH
    for window, (first, last) in enumerate(((0, 32), (32, 34), (34, 34))):
        closing = window == 2
        seal = Seal(
            name, window, first, NOW_MS + 1000 * (window + 1), SEAL_CLOSING if closing else 0,
            tuple(body_hash(body) for body in bodies[first:last]), previous,
            len(bodies) if closing else None,
        )  # fmt: skip
        row = record(f"window {window}", RecordKind.SEAL, STRAND, seal)
        seals.append(row | {"samples": last - first})
        previous = bytes.fromhex(row["hash"])
    return {
        "opening": record("opening", RecordKind.OPENING, DEVICE, opening()),
        "strand": name.hex(),
        "salts": [salt_of(n).hex() for n in range(34)],
        "bodies": [body.hex() for body in bodies],
        "seals": seals,
    }


def keys() -> list[Row]:
    return [
        {
            "seed": signer.seed.hex(),
            "key": signer.public_key.hex(),
            "did": did_of(signer.public_key),
        }
        for signer in (IDENTITY, NEXT, DEVICE, STRAND)
    ]


def tokens() -> list[Row]:
    return [
        {
            "origin": ORIGIN,
            "nonce": SESSION.hex(),
            "citizen": plain(citizen),
            "now_ms": NOW_MS + 999,
            "seed": DEVICE.seed.hex(),
            "token": make_token(
                DEVICE, origin=ORIGIN, city=CITY, nonce=SESSION, citizen=citizen,
                now_ms=WallMs(NOW_MS + 999),
            ),
        }
        for citizen in (None, CITIZEN)
    ]  # fmt: skip


def points() -> list[bytes]:
    """Keys of small order, and two that only spell another key a second time."""
    order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
    other_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
    found = [y.to_bytes(32, "little") for y in (0, 1, _P - 1, _P, _P + 1)]
    found += [bytes.fromhex(order_8), bytes.fromhex(other_8)]
    found += [raw[:31] + bytes([raw[31] | 0x80]) for raw in found]
    return found + [y.to_bytes(32, "little") for y in (_P + 3, 2**255 - 1)]


def signatures() -> list[Row]:
    """(key, message, signature) and whether the verifier of record takes it."""
    message = b"what was said"
    good = DEVICE.sign(message)
    beyond = (int.from_bytes(good[32:], "little") + _L).to_bytes(32, "little")
    rows = {
        "good": (DEVICE.public_key, message, good),
        "another message": (DEVICE.public_key, message + b"!", good),
        "another key": (IDENTITY.public_key, message, good),
        "a scalar beyond the order": (DEVICE.public_key, message, good[:32] + beyond),
        "cut short": (DEVICE.public_key, message, good[:63]),
    }
    # R the neutral point and S = k·a fit the equation, and say nothing of who signed
    scalar = hashlib.sha512(DEVICE.seed).digest()[:32]
    clamped = bytes([scalar[0] & 248]) + scalar[1:31] + bytes([(scalar[31] & 127) | 64])
    neutral = b"\x01" + bytes(31)
    challenge = nacl.bindings.crypto_core_ed25519_scalar_reduce(
        hashlib.sha512(neutral + DEVICE.public_key + message).digest()
    )
    answer = nacl.bindings.crypto_core_ed25519_scalar_mul(challenge, clamped)
    rows["R of small order"] = (DEVICE.public_key, message, neutral + answer)
    for point in points():
        for what, part in (("zero", bytes(64)), ("neutral", neutral + bytes(32))):
            rows[f"{what} under {point.hex()}"] = (point, message, part)
    return [
        {"what": what, "key": key.hex(), "message": said.hex(), "signature": signature.hex(),
         "good": verify(key, said, signature)}
        for what, (key, said, signature) in rows.items()
    ]  # fmt: skip


def frames() -> list[Row]:
    """A frame of each message that a client sends."""
    signed = IDENTITY.sign_record(RecordKind.CONSENT, CITY, b"\x90")
    name, body = strand_id(encode(opening())), b"\x9a\x00"
    messages: list[client.ClientMessage] = [
        client.Token("a.b.c"),
        client.Enrol(1, signed),
        client.Join(300, SANCTUARY, signed, (client.Held(name, 70000),)),
        client.Leave(2**32 - 1, SANCTUARY),
        client.Follow(7, SANCTUARY, signed),
        client.Open(4, SANCTUARY, signed),
        client.Samples(SANCTUARY, name, 3, (body, body * 200)),
        client.SealWindow(SANCTUARY, name, signed),
        client.Release(SANCTUARY, name, STRAND.seed),
        client.Record(5, signed),
        client.AskChain(6, CITIZEN),
        client.Time(NOW_MS),
    ]
    rows = [
        {
            "message": plain(msgspec.msgpack.decode(encode(message))),
            "fields": {"type": str(message.__struct_config__.tag)} | plain_fields(message),
            "frame": encode([message]).hex(),
        }
        for message in messages
    ]
    return [*rows, {"message": None, "frame": encode(messages).hex()}]


def plain_fields(message: msgspec.Struct) -> Row:
    """Fields by name; what lies deeper stays an array, as in the frame."""
    values = msgspec.msgpack.decode(encode(message))[1:]
    return {name: plain(v) for name, v in zip(message.__struct_fields__, values, strict=True)}


def server_messages() -> list[Row]:
    """A frame of each message that a server sends, and its fields by name."""
    signed = Signed(b"\x90", bytes(64))
    name = strand_id(encode(opening()))
    limits = client.Limits(65536, 64, 128, 256, 30000, 5)
    messages: list[client.ServerMessage] = [
        client.Hello(1, SESSION, NOW_MS, ORIGIN, CITY, GATEWAY, limits),
        client.Welcome(SESSION, None, NOW_MS),
        client.Nonce(SESSION, 30),
        client.Enrolled(1, CITIZEN),
        client.Joined(2, SANCTUARY, b"\x90", POLICY_HASH),
        client.Left(3, SANCTUARY),
        client.Following(7, SANCTUARY, 64),
        client.Challenge(SANCTUARY, CHALLENGE, True, NOW_MS),
        client.Opened(4, name, 7, 1),
        client.Sealed(name, 1, (1, 2, 300)),
        client.SealWanted(name, 2),
        client.RefusedSamples(name, 1, 2, "skew", NOW_MS),
        client.Refused(None, "malformed", "not MessagePack", NOW_MS),
        client.Acted(CITIZEN, 2),
        client.Recorded(5, CITIZEN, 2, POLICY_HASH),
        client.Chain(6, CITIZEN, 1, POLICY_HASH, (signed,)),
        client.TimeIs(NOW_MS, NOW_MS + 1),
        client.Move(30),
        client.Snapshot(SANCTUARY, 2, False),
        client.StrandShown(SANCTUARY, name, CITIZEN, signed, 7, b"\x9a", signed, None),
        client.SampleShown(name, b"\x9a"),
        client.SealShown(name, signed),
        client.Skipped(name, 1, 2, "lost"),
        client.StrandEnded(name, "closed", 7, None),
        client.Released(name, STRAND.seed),
        client.Coarse(SANCTUARY, NOW_MS // 1000, bytes(8), 24),
        client.Struck(SANCTUARY, CITIZEN, None),
        client.Gap(SANCTUARY),
        client.Closeness(SANCTUARY, False),
        client.Rung("newest"),
        client.PolicyChanged(SANCTUARY, b"\x90", POLICY_HASH),
    ]
    return [
        {
            "fields": {"type": str(message.__struct_config__.tag)} | plain_fields(message),
            "frame": encode([message]).hex(),
        }
        for message in messages
    ]


def catalogue() -> Row:
    """Names that both languages must share."""
    return {
        "vocabulary": list(VOCABULARY),
        "refusals": {str(reason): meaning for reason, meaning in MEANING.items()},
        "closes": {
            str(int(code)): {"meaning": close.meaning, "come_back": close.come_back}
            for code, close in CLOSES.items()
        },
    }


def files() -> dict[str, Any]:
    """Every golden file's content, by its name."""
    return {
        "samples": samples(),
        "refused_bodies": refused_bodies(),
        "records": {"city": CITY.hex(), "records": records()},
        "strand": {"city": CITY.hex()} | strand(),
        "keys": keys(),
        "small_order": [
            {"key": key.hex(), "small_order": is_small_order(key)}
            for key in [*points(), IDENTITY.public_key]
        ],
        "signatures": signatures(),
        "tokens": {"city": CITY.hex(), "tokens": tokens()},
        "client_frames": frames(),
        "server_frames": server_messages(),
        "catalogue": catalogue(),
    }


def written(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def main() -> int:
    if os.environ.get("CI"):
        print("golden bytes are not written in CI: run this at home, and read the difference")
        return 1
    GOLDEN.mkdir(exist_ok=True)
    for name, content in files().items():
        (GOLDEN / f"{name}.json").write_text(written(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())

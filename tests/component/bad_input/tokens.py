"""Bad tokens, each of which ends the socket with `bad token`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import nacl.signing

from tests.support.wire import Person, Wire, base64url, did, now_ms

SMALL_ORDER = bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000000")
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's base point: RFC 8032, section 5.1."""


def malleated(signature: bytes) -> bytes:
    """The same signature with another S: who does not check S < L takes it (RFC 8032, 5.1.7)."""
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return signature[:32] + s.to_bytes(32, "little")


def _signed(person: Person, header: bytes, claims: bytes) -> str:
    """A token of any two parts, signed as a good one is."""
    head = base64url(header) + "." + base64url(claims)
    return head + "." + base64url(person.device.sign(head.encode()).signature)


def _parts(person: Person, wire: Wire) -> tuple[bytes, bytes]:
    """A good token's header and claims as bytes."""
    claims = {
        "sub": did(bytes(person.device.verify_key)),
        "aud": [wire.hello[4], wire.city.hex()],
        "nonce": wire.session.hex(),
        "exp": now_ms() // 1000 + 300,
    }
    return b'{"alg":"EdDSA"}', json.dumps(claims).encode()


def _headed(header: bytes) -> Callable[[Person, Wire], str]:
    return lambda p, w: _signed(p, header, _parts(p, w)[1])


def _claiming(**changes: Any) -> Callable[[Person, Wire], str]:
    return lambda p, w: p.token(w, **changes)


def _none_algorithm(person: Person, wire: Wire) -> str:
    _, payload, _ = person.token(wire).split(".")
    return base64url(b'{"alg":"none"}') + "." + payload + "."


def _other_key(person: Person, wire: Wire) -> str:
    return Person("somebody else").token(wire, sub=did(bytes(person.device.verify_key)))


def _key_in_the_header(person: Person, wire: Wire) -> str:
    """Signed by a key that the header brings along (RFC 7515, section 4.1.3)."""
    stranger = nacl.signing.SigningKey.generate()
    key = {"kty": "OKP", "crv": "Ed25519", "x": base64url(bytes(stranger.verify_key))}
    header = json.dumps({"alg": "EdDSA", "jwk": key}).encode()
    head = base64url(header) + "." + base64url(_parts(person, wire)[1])
    return head + "." + base64url(stranger.sign(head.encode()).signature)


def _resigned(change: Callable[[bytes], bytes]) -> Callable[[Person, Wire], str]:
    """A good token with its signature changed."""

    def token(person: Person, wire: Wire) -> str:
        head = ".".join(base64url(part) for part in _parts(person, wire))
        return head + "." + base64url(change(person.device.sign(head.encode()).signature))

    return token


def _spelled(change: Callable[[str], str]) -> Callable[[Person, Wire], str]:
    return lambda p, w: change(p.token(w))


def _changed_after_signing(person: Person, wire: Wire) -> str:
    head, _, signature = person.token(wire).split(".")
    claims = json.loads(_parts(person, wire)[1]) | {"cit": "00" * 16}
    return head + "." + base64url(json.dumps(claims).encode()) + "." + signature


def _x25519(person: Person) -> str:
    """The same 32 bytes under the multicodec of a key that cannot sign."""
    return did(bytes(person.device.verify_key), codec=b"\xec\x01")


TOKENS: tuple[tuple[str, Callable[[Person, Wire], str]], ...] = (
    # the form
    ("no token at all", lambda p, w: ""),
    ("two dots and nothing", lambda p, w: ".."),
    ("not base64", lambda p, w: "*.*.*"),
    ("two parts", _spelled(lambda t: t.rpartition(".")[0])),
    ("five parts, as if it were encrypted", _spelled(lambda t: t + ".e30.e30")),
    ("white space behind it", _spelled(lambda t: t + "\n")),
    ("padding", _spelled(lambda t: t + "==")),
    ("not a letter of ASCII", _spelled(lambda t: t + "é")),
    # the header
    ("the algorithm none", _none_algorithm),
    ("the algorithm HS256", _claiming(header={"alg": "HS256"})),
    ("the algorithm ES256", _claiming(header={"alg": "ES256"})),
    ("the algorithm in small letters", _claiming(header={"alg": "eddsa"})),
    ("a list of algorithms", _claiming(header={"alg": ["EdDSA"]})),
    ("no algorithm", _headed(b'{"typ":"JWT"}')),
    ("a header that is no JSON", _headed(b"EdDSA")),
    ("a header that is a list", _headed(b'["EdDSA"]')),
    ("an extension that must be understood", _headed(b'{"alg":"EdDSA","crit":["x"],"x":1}')),
    ("a payload that is not encoded", _headed(b'{"alg":"EdDSA","b64":false,"crit":["b64"]}')),
    ("its key in the header", _key_in_the_header),
    # the signature
    ("signed by another key", _other_key),
    ("changed after signing", _changed_after_signing),
    ("no signature", _resigned(lambda s: b"")),
    ("a signature of 63 bytes", _resigned(lambda s: s[:-1])),
    ("a signature of zeros", _resigned(lambda s: bytes(64))),
    ("a signature with S above the group's order", _resigned(malleated)),
    # the claims
    ("claims that are no JSON", lambda p, w: _signed(p, _parts(p, w)[0], b"sub=me")),
    ("claims in a list", lambda p, w: _signed(p, _parts(p, w)[0], b"[" + _parts(p, w)[1] + b"]")),
    ("claims cut short", lambda p, w: _signed(p, _parts(p, w)[0], _parts(p, w)[1][:-1])),
    ("another socket's nonce", _claiming(nonce=bytes(16).hex())),
    ("no nonce", _claiming(nonce=None)),
    ("the nonce in capitals", lambda p, w: p.token(w, nonce=w.session.hex().upper() + "A"[:0])),
    ("the nonce in base64", lambda p, w: p.token(w, nonce=base64url(w.session))),
    ("the nonce as a number", lambda p, w: p.token(w, nonce=int.from_bytes(w.session, "big"))),
    ("another origin", lambda p, w: p.token(w, aud=["https://else.where", w.city.hex()])),
    ("the origin with a slash", lambda p, w: p.token(w, aud=[w.hello[4] + "/", w.city.hex()])),
    ("another city", lambda p, w: p.token(w, aud=[w.hello[4], bytes(32).hex()])),
    ("one audience only", lambda p, w: p.token(w, aud=w.hello[4])),
    ("the audiences crosswise", lambda p, w: p.token(w, aud=[w.city.hex(), w.hello[4]])),
    ("a third audience", lambda p, w: p.token(w, aud=[w.hello[4], w.city.hex(), "anybody"])),
    ("no audience", _claiming(aud=None)),
    ("expired an hour ago", lambda p, w: p.token(w, exp=now_ms() // 1000 - 3600)),
    ("good for a day", lambda p, w: p.token(w, exp=now_ms() // 1000 + 86400)),
    ("good in milliseconds", lambda p, w: p.token(w, exp=now_ms() + 300_000)),
    ("exp that is text", _claiming(exp="soon")),
    ("exp in text", lambda p, w: p.token(w, exp=str(now_ms() // 1000 + 300))),
    ("exp above 64 bits", _claiming(exp=2**70)),
    ("no exp", _claiming(exp=None)),
    ("a subject that is no did:key", _claiming(sub="did:web:example.org")),
    ("a subject of small order", _claiming(sub=did(SMALL_ORDER))),
    ("a subject that cannot sign", lambda p, w: p.token(w, sub=_x25519(p))),
    ("a subject of 31 bytes", lambda p, w: p.token(w, sub=did(bytes(p.device.verify_key)[:31]))),
    (
        "a subject with a fragment",
        lambda p, w: p.token(w, sub=did(bytes(p.device.verify_key)) + "#key"),
    ),
    (
        "a subject in another base",
        lambda p, w: p.token(w, sub="did:key:f" + (b"\xed\x01" + bytes(p.device.verify_key)).hex()),
    ),
    (
        "a subject with a sign that base58 leaves out",
        lambda p, w: p.token(w, sub=did(bytes(p.device.verify_key))[:-1] + "0"),
    ),
    ("no subject", _claiming(sub=None)),
    ("a citizen of 15 bytes", _claiming(cit=bytes(15).hex())),
    ("a citizen that is not hex", _claiming(cit="citizen")),
    ("a citizen in capitals", _claiming(cit="AB" * 16)),
    ("a citizen with spaces", _claiming(cit=" ".join(["ab"] * 16))),
    ("a citizen that is a number", _claiming(cit=5)),
)

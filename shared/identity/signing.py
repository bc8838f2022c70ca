r"""Ed25519 (RFC 8032) over ``synchronia/1/<kind>\n`` ‖ city id ‖ payload. Pure.

PyNaCl (libsodium) is the verifier of record: it refuses small-order keys and non-canonical S
(60 µs a verification, measured 2026-11 on one shared core).
"""

from __future__ import annotations

import nacl.bindings
import nacl.exceptions

from shared.contracts.records import RecordKind, Signed

_SMALL_ORDER = frozenset(
    bytes.fromhex(key)
    for key in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""Encodings of the points of small order, sign bit cleared (libsodium, ge25519_has_small_order)."""


def is_small_order(public_key: bytes) -> bool:
    """Whether a 32-byte key is one of the points under which any signature may verify."""
    return public_key[:31] + bytes((public_key[31] & 0x7F,)) in _SMALL_ORDER


def signed_bytes(kind: RecordKind, city: bytes, payload: bytes) -> bytes:
    """What a signature covers."""
    assert len(city) == 32
    return b"synchronia/1/" + kind.value.encode() + b"\n" + city + payload


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` verifies under `public_key` (32 bytes)."""
    if len(public_key) != 32 or len(signature) != 64 or is_small_order(public_key):
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def verify_record(public_key: bytes, kind: RecordKind, city: bytes, record: Signed) -> bool:
    """Whether a signed record verifies in this city and domain."""
    return verify(public_key, signed_bytes(kind, city, record.payload), record.signature)


class Signer:
    """A private Ed25519 key, from its 32-byte seed. Randomness comes from the caller."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        assert len(seed) == 32
        self.seed = seed
        self.public_key, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature."""
        return nacl.bindings.crypto_sign(message, self._secret)[:64]

    def sign_record(self, kind: RecordKind, city: bytes, payload: bytes) -> Signed:
        return Signed(payload, self.sign(signed_bytes(kind, city, payload)))

    def __repr__(self) -> str:
        return "Signer(…)"

"""`did:key` for Ed25519 (W3C CCG did:key v0.9): base58btc of the multicodec prefix 0xed01 and the key."""

from __future__ import annotations

from shared.codec import Refused
from shared.contracts.refusals import Refusal
from shared.identity.signing import is_small_order

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_INDEX = {sign: value for value, sign in enumerate(_ALPHABET)}
_PREFIX = b"\xed\x01"
_DID_SIGNS_MAX = 64


def did_of(public_key: bytes) -> str:
    """`did:key:z6Mk…` of a 32-byte Ed25519 key."""
    assert len(public_key) == 32
    number = int.from_bytes(_PREFIX + public_key, "big")
    signs = []
    while number:
        number, rest = divmod(number, 58)
        signs.append(_ALPHABET[rest])
    return "did:key:z" + "".join(reversed(signs))


def key_of(did: str) -> bytes:
    """The 32-byte key of a `did:key`. Raises: Refused(MALFORMED) unless it is one canonical Ed25519 key
    that is not of small order.
    """
    if not did.startswith("did:key:z") or len(did) > _DID_SIGNS_MAX:
        raise Refused(Refusal.MALFORMED)
    number = 0
    for sign in did[9:]:
        if sign not in _INDEX:
            raise Refused(Refusal.MALFORMED)
        number = number * 58 + _INDEX[sign]
    raw = number.to_bytes(64, "big").lstrip(b"\0")
    key = raw[2:]
    if raw[:2] != _PREFIX or len(key) != 32 or is_small_order(key) or did_of(key) != did:
        raise Refused(Refusal.MALFORMED)
    return key

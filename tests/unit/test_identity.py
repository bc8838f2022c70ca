"""Keys, names, signatures and tokens, against published vectors and an independent implementation."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import Refused
from shared.contracts import RecordKind, Refusal
from shared.identifiers import WallMs
from shared.identity import (
    Signer,
    did_of,
    key_of,
    signed_bytes,
    verify,
    verify_record,
)
from shared.identity.signing import is_small_order
from shared.identity.token import Claims, TokenRefused, make_token, read_token

CITY = b"\x07" * 32
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493

# ── signatures ───────────────────────────────────────────────────────────────────────────────────

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
]
"""RFC 8032, section 7.1, tests 1 and 2: seed, public key, message, signature."""


@pytest.mark.parametrize(("seed", "key", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(
    seed: str, key: str, message: str, signature: str
) -> None:
    signer = Signer(bytes.fromhex(seed))
    assert signer.public_key.hex() == key
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    assert verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


@settings(max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_an_independent_implementation_signs_and_verifies_the_same(
    seed: bytes, message: bytes
) -> None:
    signer = Signer(seed)
    other = Ed25519PrivateKey.from_private_bytes(seed)
    assert other.sign(message) == signer.sign(message)
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signer.sign(message), message)


@settings(max_examples=50)
@given(st.binary(max_size=50), st.integers(0, 95), st.integers(1, 255))
def test_a_changed_bit_anywhere_is_noticed(message: bytes, at: int, change: int) -> None:
    signer = Signer(b"\x05" * 32)
    signature = signer.sign(message)
    key = signer.public_key
    if at < 32:
        key = flipped(key, at, change)
    else:
        signature = flipped(signature, at - 32, change)
    assert not verify(key, message, signature)
    assert not verify(signer.public_key, message + b"x", signer.sign(message))


def flipped(value: bytes, at: int, change: int) -> bytes:
    return value[:at] + bytes([value[at] ^ change]) + value[at + 1 :]


def test_a_signature_with_a_scalar_beyond_the_order_is_refused() -> None:
    """Else everybody could make a second signature of a record (RFC 8032, section 5.1.7)."""
    signer = Signer(b"\x05" * 32)
    signature = signer.sign(b"m")
    scalar = int.from_bytes(signature[32:], "little") + L
    assert not verify(signer.public_key, b"m", signature[:32] + scalar.to_bytes(32, "little"))


SMALL_ORDER_Y = (0, 1, P - 1)
"""And the two of order 8, below; each also with its sign bit, and as y + p where that fits."""
ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)


def small_order_keys() -> list[bytes]:
    encodings = [y.to_bytes(32, "little") for y in (*SMALL_ORDER_Y, P, P + 1)]
    encodings += [bytes.fromhex(key) for key in ORDER_8]
    return encodings + [flipped(key, 31, 0x80) for key in encodings]


@pytest.mark.parametrize("key", small_order_keys(), ids=lambda key: key.hex()[:8])
def test_a_key_of_small_order_verifies_nothing(key: bytes) -> None:
    """Under such a key some signature verifies for many messages."""
    assert is_small_order(key)
    signature = b"\x01" + bytes(63)
    assert not verify(key, b"anything", signature)


def test_another_implementation_does_take_a_small_order_key() -> None:
    """Which is why the parser of a DID refuses it: the verifiers would not agree."""
    neutral = b"\x01" + bytes(31)
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")
    assert not verify(neutral, b"anything", neutral + bytes(32))


@pytest.mark.parametrize("y", [P + 3, P + 18])
def test_a_key_that_is_not_in_its_one_form_is_refused(y: int) -> None:
    assert not verify(y.to_bytes(32, "little"), b"m", bytes(64))


@pytest.mark.parametrize(("key", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_wrong_lengths_are_refused_and_raise_nothing(key: int, signature: int) -> None:
    assert not verify(bytes(key), b"m", bytes(signature))


def test_a_signature_is_good_in_one_domain_and_one_city_only() -> None:
    signer = Signer(b"\x05" * 32)
    record = signer.sign_record(RecordKind.SEAL, CITY, b"payload")
    assert signed_bytes(RecordKind.SEAL, CITY, b"payload") == (
        b"synchronia/1/seal\n" + CITY + b"payload"
    )
    for kind in RecordKind:
        for city in (CITY, bytes(32)):
            good = kind is RecordKind.SEAL and city == CITY
            assert verify_record(signer.public_key, kind, city, record) is good


# ── did:key ──────────────────────────────────────────────────────────────────────────────────────

DIDS = {
    # W3C CCG did:key test vectors, Ed25519
    "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp": (
        "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    ),
    "did:key:z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG": (
        "4cb5abf6ad79fbf5abbccafcc269d85cd2651ed4b885b5869f241aedf0a5ba29"
    ),
}


@pytest.mark.parametrize(("did", "key"), DIDS.items())
def test_names_are_those_of_the_published_vectors(did: str, key: str) -> None:
    assert did_of(bytes.fromhex(key)) == did
    assert key_of(did).hex() == key


@given(st.binary(min_size=32, max_size=32))
def test_a_key_and_its_name_say_the_same(key: bytes) -> None:
    if not is_small_order(key):
        assert key_of(did_of(key)) == key


GOOD_DID = did_of(Signer(b"\x05" * 32).public_key)
BAD_DIDS = {
    "nothing": "",
    "another method": "did:web:example.org",
    "another base": GOOD_DID.replace("did:key:z", "did:key:u"),
    "a sign that base58 has not": GOOD_DID[:-1] + "0",
    "a sign more": GOOD_DID + "1",
    "a leading one": "did:key:z1" + GOOD_DID[9:],
    "a sign less": GOOD_DID[:-1],
    "far too long": GOOD_DID * 10,
    "no key": "did:key:z",
    "upper case": GOOD_DID.replace("did:key", "DID:KEY"),
    "a fragment": GOOD_DID + "#" + GOOD_DID[8:],
    "an X25519 key": "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",
    "a key of small order": did_of(b"\x01" + bytes(31)),
}


@pytest.mark.parametrize("did", BAD_DIDS.values(), ids=BAD_DIDS)
def test_anything_but_one_good_name_is_refused(did: str) -> None:
    with pytest.raises(Refused) as refused:
        key_of(did)
    assert refused.value.reason is Refusal.MALFORMED


@given(st.text(max_size=70))
def test_any_text_is_read_or_refused(text: str) -> None:
    for did in (text, "did:key:z" + text):
        with suppress(Refused):
            assert did_of(key_of(did)) == did


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────

DEVICE = Signer(b"\x06" * 32)
ORIGIN = "http://127.0.0.1:8080"
NONCE = b"n" * 16
CITIZEN = b"c" * 16
NOW = WallMs(1_700_000_000_000)
Change = Callable[[dict[str, Any]], object]


def token(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "origin": ORIGIN,
        "city": CITY,
        "nonce": NONCE,
        "citizen": CITIZEN,
        "now_ms": NOW,
    }
    return make_token(DEVICE, **(arguments | changes))


def read(made: str, **changes: Any) -> Claims:
    arguments: dict[str, Any] = {"origin": ORIGIN, "city": CITY, "nonce": NONCE, "now_ms": NOW}
    return read_token(made, **(arguments | changes))


def signed_claims(change: Change, signer: Signer = DEVICE, **headers: Any) -> str:
    claims = json.loads(base64.urlsafe_b64decode(token().split(".")[1] + "=="))
    change(claims)
    key = Ed25519PrivateKey.from_private_bytes(signer.seed)
    return jwt.encode(claims, key, algorithm="EdDSA", headers=headers or None)


def test_a_good_token_says_who_holds_it_and_until_when() -> None:
    assert read(token()) == Claims(DEVICE.public_key, CITIZEN, WallMs(NOW + 300_000))
    assert read(token(citizen=None)).citizen is None


@pytest.mark.parametrize(
    "changes",
    [{"origin": "http://evil"}, {"city": bytes(32)}, {"nonce": b"m" * 16}],
    ids=["another origin", "another city", "another socket's nonce"],
)
def test_a_token_is_good_for_one_socket_of_one_origin_of_one_city(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        read(token(), **changes)
    with pytest.raises(TokenRefused):
        read(token(**changes))


@pytest.mark.parametrize(
    ("later_ms", "is_good"),
    [(0, True), (329_999, True), (330_000, False), (-30_000, True), (-30_001, False)],
)
def test_a_token_lives_five_minutes_with_thirty_seconds_for_a_wrong_clock(
    later_ms: int,
    is_good: bool,  # noqa: FBT001  (a row of the table)
) -> None:
    now_ms = WallMs(NOW + later_ms)
    if is_good:
        read(token(), now_ms=now_ms)
    else:
        with pytest.raises(TokenRefused):
            read(token(), now_ms=now_ms)


BAD_CLAIMS: dict[str, Change] = {
    "no subject": lambda claims: claims.pop("sub"),
    "a subject that is no name": lambda claims: claims.update(sub="did:key:zzz"),
    "somebody else's name": lambda claims: claims.update(
        sub=did_of(Signer(b"\x09" * 32).public_key)
    ),
    "no audience": lambda claims: claims.pop("aud"),
    "an audience of one": lambda claims: claims.update(aud=[ORIGIN]),
    "an audience that is a text": lambda claims: claims.update(aud=ORIGIN),
    "an audience too many": lambda claims: claims["aud"].append("x"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "a nonce in capitals": lambda claims: claims.update(nonce="6E" * 16),
    "no end": lambda claims: claims.pop("exp"),
    "an end too far": lambda claims: claims.update(exp=claims["exp"] + 31),
    "an end that is a text": lambda claims: claims.update(exp=str(claims["exp"])),
    "an end without end": lambda claims: claims.update(exp=10**400),
    "a citizen too short": lambda claims: claims.update(cit="cc"),
    "a citizen that is no hex": lambda claims: claims.update(cit="x" * 32),
    "a citizen in capitals": lambda claims: claims.update(cit="AB" * 16),
    "a citizen with spaces": lambda claims: claims.update(cit="63 " * 16),
    "a citizen that is a number": lambda claims: claims.update(cit=5),
}


@pytest.mark.parametrize("change", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_wrong_claims_are_refused_under_a_good_signature(change: Change) -> None:
    with pytest.raises(TokenRefused) as refused:
        read(signed_claims(change))
    assert refused.value.reason is Refusal.BAD_TOKEN


def test_a_token_under_another_key_is_refused() -> None:
    with pytest.raises(TokenRefused):
        read(signed_claims(lambda claims: None, signer=Signer(b"\x09" * 32)))


def test_the_header_decides_nothing() -> None:
    """No key comes from it, and no algorithm but one is taken."""
    read(signed_claims(lambda claims: None, kid="x", jku="http://evil", jwk={"kty": "OKP"}))
    head, claims, signature = token().split(".")
    for algorithm in ("none", "HS256", "ES256", "eddsa"):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
        for tail in (signature, ""):
            with pytest.raises(TokenRefused):
                read(f"{header.decode().rstrip('=')}.{claims}.{tail}")
    confused = jwt.encode({"sub": did_of(DEVICE.public_key)}, "x" * 32, algorithm="HS256")
    with pytest.raises(TokenRefused):
        read(confused)
    assert head


@pytest.mark.parametrize(
    "made",
    ["", ".", "..", "a.b.c", token()[:-2], token() + "A", "x" * 2049, token() + "." + token(), "é.é.é",
     token() + "==", token() + "\n", " " + token()],
)  # fmt: skip
def test_what_is_no_token_is_refused(made: str) -> None:
    with pytest.raises(TokenRefused):
        read(made)


@settings(max_examples=100)
@given(st.text(max_size=200), st.integers(0, 300))
def test_any_text_as_a_token_is_refused(text: str, at: int) -> None:
    for made in (text, token()[:at] + text):
        if made != token():
            with pytest.raises(TokenRefused):
                read(made)

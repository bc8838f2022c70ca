"""Session tokens: an EdDSA JWT (RFC 7519, RFC 8037) by the citizen's device key, bound to one nonce.

The algorithm is pinned and every header field but `alg` is ignored: no `kid`, `jku` or `jwk` is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.codec import Refused
from shared.contracts.client import TOKEN_BYTES_MAX
from shared.contracts.refusals import Refusal
from shared.identifiers import WallMs
from shared.identity.did import did_of, key_of
from shared.identity.signing import Signer

TOKEN_LIFE_S_MAX = 300
_LEEWAY_MS = 30_000
"""A citizen's clock may differ by 30 s, as for samples."""
_SPELLING = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""Three parts without padding (RFC 7515, section 2); PyJWT alone would take padding too."""


class TokenRefused(Refused):
    """A token was not taken; `reason` is BAD_TOKEN."""

    def __init__(self) -> None:
        super().__init__(Refusal.BAD_TOKEN)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, verified."""

    device: bytes
    citizen: bytes | None
    expires_ms: WallMs


class _Payload(msgspec.Struct):
    sub: str
    aud: list[str]
    nonce: str
    exp: int
    cit: str | None = None


def make_token(
    signer: Signer, *, origin: str, city: bytes, nonce: bytes, citizen: bytes | None, now_ms: WallMs
) -> str:
    """A token for one socket, good for five minutes."""
    claims: dict[str, object] = {
        "sub": did_of(signer.public_key),
        "aud": [origin, city.hex()],
        "nonce": nonce.hex(),
        "exp": now_ms // 1000 + TOKEN_LIFE_S_MAX,
    }
    if citizen is not None:
        claims["cit"] = citizen.hex()
    return jwt.encode(claims, Ed25519PrivateKey.from_private_bytes(signer.seed), algorithm="EdDSA")


def read_token(token: str, *, origin: str, city: bytes, nonce: bytes, now_ms: WallMs) -> Claims:
    """Verify a token against this socket's origin, city and nonce.

    Raises: TokenRefused for anything else than a good one.
    """
    if len(token) > TOKEN_BYTES_MAX or not _SPELLING.fullmatch(token):
        raise TokenRefused
    try:
        unverified = jwt.decode_complete(token, options={"verify_signature": False})["payload"]
        payload = msgspec.convert(unverified, _Payload)
        device = key_of(payload.sub)
        jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(device),
            algorithms=["EdDSA"],
            # time is an argument here, so PyJWT must not ask the clock; audience is compared below
            options={
                "verify_exp": False,
                "verify_aud": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        citizen = None if payload.cit is None else bytes.fromhex(payload.cit)
    except (jwt.PyJWTError, msgspec.ValidationError, Refused, ValueError, RecursionError):
        raise TokenRefused from None
    expires_ms = payload.exp * 1000
    good = (
        payload.aud == [origin, city.hex()]
        and payload.nonce == nonce.hex()
        and now_ms - _LEEWAY_MS < expires_ms <= now_ms + TOKEN_LIFE_S_MAX * 1000 + _LEEWAY_MS
        # one spelling, as documented: `fromhex` takes capitals and spaces too
        and (citizen is None or (len(citizen) == 16 and citizen.hex() == payload.cit))
    )
    if not good:
        raise TokenRefused
    return Claims(device, citizen, WallMs(expires_ms))

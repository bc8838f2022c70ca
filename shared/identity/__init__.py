"""Keys, names and signatures of people: Ed25519 with domain separation, `did:key`, session tokens."""

from shared.identity.did import did_of, key_of
from shared.identity.signing import Signer, signed_bytes, verify, verify_record
from shared.identity.token import Claims, TokenRefused, make_token, read_token

__all__ = [
    "Claims",
    "Signer",
    "TokenRefused",
    "did_of",
    "key_of",
    "make_token",
    "read_token",
    "signed_bytes",
    "verify",
    "verify_record",
]

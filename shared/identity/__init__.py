"""Keys, names and signatures of people: Ed25519 with domain separation, `did:key`.

Session tokens are in `shared.identity.token`, apart: their library takes 50 ms to import, and of the
services, which have to be back within two seconds of a kill, only the gateway reads them.
"""

from shared.identity.did import did_of, key_of
from shared.identity.signing import Signer, signed_bytes, verify, verify_record

__all__ = [
    "Signer",
    "did_of",
    "key_of",
    "signed_bytes",
    "verify",
    "verify_record",
]

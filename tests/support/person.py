"""A person for tests: keys, and signed records in one city, each as its client would make it."""

from __future__ import annotations

from shared.codec import ZERO_HASH, encode, sha256
from shared.contracts import (
    Approval,
    Audience,
    ConsentException,
    ConsentRecord,
    FollowRequest,
    Grant,
    Identity,
    Inception,
    JoinRequest,
    Purpose,
    RecordKind,
    Signed,
    Tier,
    Withdrawal,
)
from shared.identity import Signer


class Person:
    """Keys from a name. `citizen` is to be set once the registry gave it."""

    def __init__(self, name: str, city: bytes, *, citizen: bytes = bytes(16)) -> None:
        self.city = city
        self.citizen = citizen
        self.identity = Signer(sha256(f"{name}/identity".encode()))
        self.device = Signer(sha256(f"{name}/device".encode()))
        self.counter = 0
        self.head = ZERO_HASH

    def inception(self, *, created_ms: int = 1) -> Signed:
        content = Inception(
            self.identity.public_key,
            sha256(b"next" + self.identity.public_key),
            (self.device.public_key,),
            created_ms,
        )
        return self.identity.sign_record(RecordKind.INCEPTION, self.city, encode(content))

    def known_as(self, citizen: bytes) -> Identity:
        """What the registry would tell of this person."""
        return Identity(
            citizen,
            self.identity.public_key,
            sha256(b"next" + self.identity.public_key),
            (self.device.public_key,),
        )

    def grant(
        self,
        tier: Tier,
        now_ms: int,
        *,
        sanctuary: bytes | None = None,
        audience: Audience = Audience.MEMBERS,
        until_ms: int | None = None,
        key: Signer | None = None,
    ) -> Signed:
        """The chain's next record, a grant for `live`."""
        return self._next(
            Grant(
                self.citizen,
                self.counter + 1,
                self.head,
                now_ms,
                sanctuary,
                audience,
                tier,
                Purpose.LIVE,
                until_ms,
            ),
            key,
        )

    def withdrawal(
        self, now_ms: int, *, sanctuary: bytes | None = None, key: Signer | None = None
    ) -> Signed:
        """The chain's next record: the end of everything, by default signed by the device."""
        return self._next(
            Withdrawal(self.citizen, self.counter + 1, self.head, now_ms, sanctuary, None, None),
            key or self.device,
        )

    def exception(
        self, person: bytes, tier: Tier, now_ms: int, *, key: Signer | None = None
    ) -> Signed:
        return self._next(
            ConsentException(
                self.citizen, self.counter + 1, self.head, now_ms, None, person, tier, None
            ),
            key,
        )

    def approval(
        self,
        person: bytes,
        now_ms: int,
        *,
        is_approved: bool = True,
        until_ms: int | None = None,
        key: Signer | None = None,
    ) -> Signed:
        """Whether this person may follow: approved by the identity key, revoked by the device's."""
        record = Approval(
            self.citizen, self.counter + 1, self.head, now_ms, person, is_approved, until_ms
        )
        return self._next(record, key or (None if is_approved else self.device))

    def sign(self, record: ConsentRecord, key: Signer | None = None) -> Signed:
        """Any consent record, without touching the chain."""
        return (key or self.identity).sign_record(RecordKind.CONSENT, self.city, encode(record))

    def _next(self, record: ConsentRecord, key: Signer | None) -> Signed:
        signed = self.sign(record, key)
        self.counter, self.head = self.counter + 1, sha256(signed.payload)
        return signed

    def join(
        self,
        sanctuary: bytes,
        session: bytes,
        now_ms: int,
        *,
        gateway: str = "gateway-0",
        key: Signer | None = None,
    ) -> Signed:
        request = JoinRequest(
            sanctuary, session, gateway, self.citizen, self.device.public_key, now_ms
        )
        return (key or self.device).sign_record(RecordKind.JOIN, self.city, encode(request))

    def follow(
        self,
        sanctuary: bytes,
        session: bytes,
        followed: tuple[bytes, ...],
        now_ms: int,
        *,
        number: int = 1,
        gateway: str = "gateway-0",
        key: Signer | None = None,
    ) -> Signed:
        """Whom the session follows from now on."""
        request = FollowRequest(
            sanctuary,
            session,
            gateway,
            self.citizen,
            self.device.public_key,
            now_ms,
            number,
            followed,
        )
        return (key or self.device).sign_record(RecordKind.FOLLOW, self.city, encode(request))

"""One client's session: its token and nonce, its deadlines, its rates. Pure.

The nonce belongs to the socket, so no store is needed: hello carries it, the token is signed over it,
and a renewal gets a new one. The gateway vouches for nothing but "this socket's token was signed by
this device".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from services.gateway.core.form import Form
from shared.codec import encode
from shared.contracts.client import AskChain, Nonce, Token, Welcome
from shared.contracts.refusals import CloseCode
from shared.identifiers import MonotonicNs, SanctuaryId, SessionId, WallMs
from shared.identity.token import TokenRefused, read_token

RENEW_AT = 0.8
"""The part of a token's life after which the next nonce is sent."""
TOKEN_LIFE_MS_MIN = 10_000
"""A token within the 30 s of leeway past its end still gets time to be renewed."""
SECOND_NS = 1_000_000_000
UNIT_BYTES = 1024
"""A frame costs one unit, one more for each kilobyte, and one for each message."""
TOKEN_UNITS = 50
"""A token costs as much as fifty messages: its verification takes some 200 µs."""
CHAIN_UNITS = 48
"""So does a `chain?`: its answer has up to 48 kB."""
UNITS_OF: dict[type[msgspec.Struct], int] = {Token: TOKEN_UNITS, AskChain: CHAIN_UNITS}
"""Messages that cost more than one unit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A session's bounds."""

    handshake_s: int
    ping_after_s: int
    units_per_s: int
    units_burst: int
    malformed_max: int


class Bucket:
    """A token bucket in units: refilled by time, may fall into debt by one burst."""

    __slots__ = ("_at_ns", "_burst", "_per_s", "level")

    def __init__(self, per_s: int, burst: int, now_ns: MonotonicNs) -> None:
        self._per_s = per_s
        self._burst = burst
        self._at_ns = now_ns
        self.level = float(burst)

    def take(self, units: int, now_ns: MonotonicNs) -> bool:
        """Charge the units, whatever the level. False: there was not enough."""
        refilled = self.level + (now_ns - self._at_ns) * self._per_s / SECOND_NS
        self.level = min(float(self._burst), refilled) - units
        self._at_ns = now_ns
        return self.level >= 0

    @property
    def is_far_below(self) -> bool:
        return self.level < -self._burst


class Session:
    """State of one socket. `watch`: the public stage of an anonymous viewer, which needs no token."""

    __slots__ = (
        "address",
        "bucket",
        "citizen",
        "device",
        "expires_ns",
        "form",
        "heard_ns",
        "id",
        "limits",
        "malformed",
        "nonce",
        "opened_ns",
        "origin",
        "pinged_ns",
        "renew_ns",
        "watch",
    )

    def __init__(
        self,
        id_: SessionId,
        *,
        address: str,
        origin: str,
        form: Form,
        watch: SanctuaryId | None,
        limits: Limits,
        now_ns: MonotonicNs,
    ) -> None:
        self.id = id_
        self.address = address
        self.origin = origin
        self.form = form
        self.watch = watch
        self.limits = limits
        self.opened_ns = now_ns
        self.heard_ns = now_ns
        self.pinged_ns: MonotonicNs | None = None
        self.nonce: bytes | None = id_
        self.device: bytes | None = None
        self.citizen: bytes | None = None
        self.expires_ns: int | None = None
        self.renew_ns: int | None = None
        self.bucket = Bucket(limits.units_per_s, limits.units_burst, now_ns)
        self.malformed = 0

    def heard(self, now_ns: MonotonicNs) -> None:
        self.heard_ns = now_ns
        self.pinged_ns = None

    def take_token(self, jwt: str, city: bytes, now_ns: MonotonicNs, now_ms: WallMs) -> bytes:
        """`welcome`. Raises: TokenRefused for anything but a good token of this socket's nonce by the
        same device, and the same citizen once one was named.
        """
        if self.nonce is None:
            raise TokenRefused
        claims = read_token(jwt, origin=self.origin, city=city, nonce=self.nonce, now_ms=now_ms)
        if self.device is not None and self.device != claims.device:
            raise TokenRefused
        if self.citizen is not None and self.citizen != claims.citizen:
            raise TokenRefused
        self.nonce = None
        self.device = claims.device
        self.citizen = claims.citizen
        life_ms = max(claims.expires_ms - now_ms, TOKEN_LIFE_MS_MIN)
        self.expires_ns = now_ns + life_ms * 1_000_000
        self.renew_ns = now_ns + int(life_ms * RENEW_AT) * 1_000_000
        return encode(Welcome(self.id, self.citizen, now_ms + life_ms))

    def check(
        self, now_ns: MonotonicNs, random_bytes: Callable[[int], bytes]
    ) -> tuple[CloseCode | None, bytes, bool]:
        """What has come due: (close with, message to send, send a ping)."""
        if self.watch is None and self.device is None:
            if now_ns - self.opened_ns >= self.limits.handshake_s * SECOND_NS:
                return CloseCode.HANDSHAKE_TIMEOUT, b"", False
            return None, b"", False
        if self.expires_ns is not None and now_ns >= self.expires_ns:
            return CloseCode.TOKEN_EXPIRED, b"", False
        idle_ns = self.limits.ping_after_s * SECOND_NS
        if self.pinged_ns is not None and now_ns - self.pinged_ns >= idle_ns:
            return CloseCode.IDLE, b"", False
        message = b""
        if self.renew_ns is not None and self.expires_ns is not None and now_ns >= self.renew_ns:
            self.renew_ns = None
            self.nonce = random_bytes(16)
            within_s = max(1, (self.expires_ns - now_ns) // SECOND_NS)
            message = encode(Nonce(self.nonce, within_s))
        is_idle = self.pinged_ns is None and now_ns - self.heard_ns >= idle_ns
        if is_idle:
            self.pinged_ns = now_ns
        return None, message, is_idle

    def next_check(self) -> int:
        """When `check` has something to say next, monotonic ns."""
        if self.watch is None and self.device is None:
            return self.opened_ns + self.limits.handshake_s * SECOND_NS
        idle_from = self.heard_ns if self.pinged_ns is None else self.pinged_ns
        at_ns = idle_from + self.limits.ping_after_s * SECOND_NS
        for other in (self.expires_ns, self.renew_ns):
            if other is not None:
                at_ns = min(at_ns, other)
        return at_ns

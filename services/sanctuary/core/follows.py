"""Whom sessions follow: signed lists, checked, and bounded by what a slot's state may weigh. Pure.

Sanctuary knows no consent. Whoever is named here is looked up nowhere, so that the answer is one and the
same for somebody who approved the follower, who did not, and who does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.codec import Refused, decode_canonical
from shared.contracts import (
    FollowRequest,
    Identity,
    MemberFollows,
    MemberJoined,
    RecordKind,
    Refusal,
    Signed,
)
from shared.identity import verify_record

BYTES_MAX = 1_000_000
"""Of all lists of one slot: they travel with the slot's seats wherever its state is asked for."""
_ROW_BYTES = 64
_FOLLOWED_BYTES = 18


def read_follow(
    record: Signed, member: MemberJoined, identity: Identity, *, city: bytes
) -> FollowRequest:
    """The request, if this member's device signed it for this very session. Raises: Refused."""
    request = decode_canonical(record.payload, FollowRequest)
    signed_for = (request.sanctuary, request.session, request.gateway, request.citizen)
    if signed_for != (member.sanctuary, member.session, member.gateway, member.citizen):
        raise Refused(Refusal.WRONG_SESSION)
    if request.device != member.device or request.device not in identity.devices:
        raise Refused(Refusal.UNKNOWN_DEVICE)
    if not verify_record(request.device, RecordKind.FOLLOW, city, record):
        raise Refused(Refusal.BAD_SIGNATURE)
    return request


class Follows:
    """The lists of one slot, by seat."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._requests: dict[tuple[bytes, bytes], FollowRequest] = {}
        """By (sanctuary, session)."""

    def take(self, request: FollowRequest) -> MemberFollows | None:
        """The list as it is from now on; nil: it is so already.

        Raises: Refused(STALE) when a later list, or another of this number, was taken; Refused(FULL).
        """
        seat = (request.sanctuary, request.session)
        before = self._requests.get(seat)
        if before is not None and request.number <= before.number:
            if (request.number, request.followed) != (before.number, before.followed):
                raise Refused(Refusal.STALE)
            return None
        bytes_after = self._bytes - _weight(before) + _weight(request)
        if bytes_after > max(self._bytes_max, self._bytes):
            raise Refused(Refusal.FULL)
        self._bytes = bytes_after
        self._requests[seat] = request
        return _row(request)

    def forget(self, sanctuary: bytes, session: bytes) -> None:
        """The session left its seat."""
        self._bytes -= _weight(self._requests.pop((sanctuary, session), None))

    def rows(self) -> Iterator[MemberFollows]:
        """Every list that names somebody."""
        return (_row(request) for request in self._requests.values() if request.followed)


def _row(request: FollowRequest) -> MemberFollows:
    return MemberFollows(request.sanctuary, request.session, tuple(dict.fromkeys(request.followed)))


def _weight(request: FollowRequest | None) -> int:
    return 0 if request is None else _ROW_BYTES + _FOLLOWED_BYTES * len(request.followed)

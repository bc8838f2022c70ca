"""One room: its policy as it stands, its seats, its citizens."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from services.sanctuary.core.seeds import RoomSeed
from shared.codec import encode, sha256
from shared.contracts import ListedRoom, MemberJoined, RoomOpened


class Room:
    """A citizen is a member while one of its sessions has a seat."""

    def __init__(self, seed: RoomSeed, by_key: Mapping[bytes, bytes]) -> None:
        self.seed = seed
        self.sanctuary = seed.sanctuary
        self.seats: dict[bytes, MemberJoined] = {}
        """By session."""
        self._sessions: dict[bytes, int] = {}
        """Citizen → how many of its sessions are here."""
        self.policy_bytes = b""
        self.policy_hash = b""
        self.settle_policy(by_key)

    def settle_policy(self, by_key: Mapping[bytes, bytes]) -> bool:
        """Fill the voices in with those who are enrolled by now; whether that changed the policy."""
        voices = None if self.seed.voices is None else self.seed.voices.citizens(by_key)
        policy_bytes = encode(msgspec.structs.replace(self.seed.policy, voices=voices))
        changed = policy_bytes != self.policy_bytes
        self.policy_bytes = policy_bytes
        self.policy_hash = sha256(policy_bytes)
        return changed

    def opened(self) -> RoomOpened:
        return RoomOpened(self.sanctuary, self.policy_bytes)

    def listed(self) -> ListedRoom:
        """As somebody who chooses among rooms is told of it."""
        policy = self.seed.policy
        return ListedRoom(
            policy.sanctuary,
            policy.name,
            policy.kind,
            policy.setting,
            policy.public,
            policy.purpose,
        )

    def admits(self, citizen: bytes, by_key: Mapping[bytes, bytes]) -> bool:
        """Whether the room stands for this citizen at all."""
        if not self.seed.is_private:
            return True
        invited = self.seed.invited
        return invited is not None and citizen in invited.citizens(by_key)

    def has_place_for(self, citizen: bytes) -> bool:
        """Capacity counts citizens, not sessions."""
        return citizen in self._sessions or len(self._sessions) < self.seed.policy.capacity

    def seat(self, member: MemberJoined) -> None:
        assert member.session not in self.seats
        self.seats[member.session] = member
        self._sessions[member.citizen] = self._sessions.get(member.citizen, 0) + 1

    def unseat(self, session: bytes) -> MemberJoined:
        member = self.seats.pop(session)
        self._sessions[member.citizen] -= 1
        if not self._sessions[member.citizen]:
            del self._sessions[member.citizen]
        return member

"""What a chain of consent records allows, written a second time and apart from `shared.consent`, so
that a mistake there cannot hide itself from the laws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from shared.contracts import (
    Approval,
    Audience,
    ConsentException,
    ConsentRecord,
    Grant,
    Policy,
    Purpose,
    Tier,
    Withdrawal,
)

Key = tuple[int, int, bytes | None]


@dataclass(frozen=True)
class Allowed:
    """Everything that stands after some records of one citizen."""

    scopes: dict[Key, tuple[int, int | None]]
    """(purpose, audience, sanctuary|any) → (tier, until)."""
    limits: dict[tuple[bytes, bytes | None], tuple[int, int | None]]
    approved: dict[bytes, int | None]
    """Who may follow → until when."""

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """When time alone changes what this allows."""
        rows = (*self.scopes.values(), *self.limits.values())
        ends = (*(until for _, until in rows), *self.approved.values())
        return tuple(until for until in ends if until is not None)

    def moments(self, from_ms: int, to_ms: int) -> list[int]:
        """Times at which everything is met that this allows between the two."""
        return [from_ms, to_ms, *(end for end in self.ends if from_ms < end < to_ms)]

    def after(self, record: ConsentRecord) -> Allowed:
        scopes, limits, approved = dict(self.scopes), dict(self.limits), dict(self.approved)
        if isinstance(record, Grant):
            key = (int(record.purpose), int(record.audience), record.sanctuary)
            scopes[key] = (int(record.tier), record.until_ms)
        elif isinstance(record, ConsentException):
            limits[record.person, record.sanctuary] = (int(record.tier), record.until_ms)
        elif isinstance(record, Approval):
            approved.pop(record.person, None)
            if record.is_approved:
                approved[record.person] = record.until_ms
        else:
            assert isinstance(record, Withdrawal)
            for purpose in Purpose:
                for audience in Audience:
                    if record.purpose not in {None, purpose}:
                        continue
                    if record.audience not in {None, audience}:
                        continue
                    if record.sanctuary is not None:
                        scopes[int(purpose), int(audience), record.sanctuary] = (0, None)
                        continue
                    for key in list(scopes):
                        if key[:2] == (int(purpose), int(audience)):
                            del scopes[key]
        return Allowed(scopes, limits, approved)

    def tier(
        self, policy: Policy, audience: Audience, person: bytes | None, now_ms: int, tier_max: Tier
    ) -> int:
        """How closely this person may see the citizen at that moment: in this audience, or, as a
        member, as a follower.
        """
        tier = self.tier_in(policy, audience, person, now_ms, tier_max)
        if audience is Audience.MEMBERS:
            follower = self.tier_in(policy, Audience.FOLLOWERS, person, now_ms, tier_max)
            tier = max(tier, follower)
        return tier

    def tier_in(
        self, policy: Policy, audience: Audience, person: bytes | None, now_ms: int, tier_max: Tier
    ) -> int:
        """In this one audience."""
        if audience is Audience.FOLLOWERS:
            until = self.approved.get(person or b"", 0)
            if until is not None and now_ms >= until:
                return 0
        tier = self._granted(policy.sanctuary, audience, now_ms)
        if policy.public and audience is Audience.MEMBERS:
            tier = max(tier, self._granted(policy.sanctuary, Audience.PUBLIC, now_ms))
        if audience is Audience.PUBLIC and not policy.public:
            tier = 0
        tier = min(tier, int(policy.tier_max), int(tier_max))
        if person is not None and self.limits:
            for place in (policy.sanctuary, None):
                limit = self.limits.get((person, place))
                if limit is not None and (limit[1] is None or now_ms < limit[1]):
                    tier = min(tier, limit[0])
        return tier

    def _granted(self, sanctuary: bytes, audience: Audience, now_ms: int) -> int:
        entry = self.scopes.get((int(Purpose.LIVE), int(audience), sanctuary))
        if entry is None:
            entry = self.scopes.get((int(Purpose.LIVE), int(audience), None))
        if entry is None or (entry[1] is not None and now_ms >= entry[1]):
            return 0
        return entry[0]


NOTHING = Allowed({}, {}, {})

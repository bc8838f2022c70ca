"""The decision for one citizen in one room: which form each audience gets, and which single people."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shared.consent import effective_tier
from shared.contracts.records import Audience, Kind, Purpose, Tier
from shared.identifiers import WallMs

if TYPE_CHECKING:
    from services.fanout.core.consents import Consent
    from services.fanout.core.rooms import Room


class Route(NamedTuple):
    """Forms are FULL, COARSE or WITHHELD: `aggregate` shows nobody anything on the edge."""

    members: Tier
    public: Tier
    field: bool
    """Whether the citizen counts in the room's field."""
    record: bool
    """Whether the record of a stage may hold the citizen; replays decide again how closely."""
    persons: dict[bytes, Tier]
    """Person → its form, for whom an exception gives less than `members`, seated here or not."""
    followers: Tier
    """What the grant to followers shows the approved ones."""
    approved: dict[bytes, Tier]
    """Person → its form as a follower, of those who may follow, seated here or not."""

    def form_for(self, person: bytes) -> Tier:
        """What one member is shown."""
        return self.persons.get(person, self.members)

    def most_for(self, person: bytes) -> Tier:
        """What it is shown if it follows: by one audience, that with the higher tier."""
        return max(self.form_for(person), self.approved.get(person, Tier.WITHHELD))

    @property
    def followers_apart(self) -> Tier:
        """The form of the followers' own audience: none while the members' is as high."""
        return self.followers if self.followers > self.members else Tier.WITHHELD

    def least(self, other: Route) -> Route:
        """What both allow."""
        members = min(self.members, other.members)
        persons = {
            person: form
            for person in {**self.persons, **other.persons}
            if (form := min(self.form_for(person), other.form_for(person))) < members
        }
        approved = {
            person: min(form, other.approved[person])
            for person, form in self.approved.items()
            if person in other.approved
        }
        return Route(
            members,
            min(self.public, other.public),
            self.field and other.field,
            self.record and other.record,
            persons,
            min(self.followers, other.followers),
            approved,
        )


NOWHERE = Route(
    Tier.WITHHELD,
    Tier.WITHHELD,
    field=False,
    record=False,
    persons={},
    followers=Tier.WITHHELD,
    approved={},
)


def form_of(tier: Tier) -> Tier:
    """What a tier shows on the edge."""
    return tier if tier >= Tier.COARSE else Tier.WITHHELD


def route_of(consent: Consent, room: Room, *, charter_tier_max: Tier, now_ms: WallMs) -> Route:
    """Decide. The least over every state that may be true of the citizen.

    On a public stage the field and the record follow the public's tier; a circle has no field. The
    record needs COARSE: below it nothing of a single person is shown to anyone.
    """
    policy = room.policy
    if policy is None:
        return NOWHERE

    def least(audience: Audience, purpose: Purpose = Purpose.LIVE) -> Tier:
        return min(
            effective_tier(
                state,
                policy=policy,
                charter_tier_max=charter_tier_max,
                audience=audience,
                now_ms=now_ms,
                purpose=purpose,
            )
            for state in consent.states
        )

    members = least(Audience.MEMBERS)
    public = least(Audience.PUBLIC) if policy.public else Tier.WITHHELD
    widest = Audience.PUBLIC if policy.public else Audience.MEMBERS
    field = policy.kind is not Kind.CIRCLE and (
        (public if policy.public else members) >= Tier.AGGREGATE
    )
    record = policy.kind is Kind.STAGE and least(widest, Purpose.RECORD) >= Tier.COARSE
    if not room.is_close:
        members = min(members, Tier.AGGREGATE)
    shown = form_of(members)
    persons = {}
    if shown is not Tier.WITHHELD:
        for person in consent.persons():
            limit = limit_of(
                consent, room, person=person, charter_tier_max=charter_tier_max, now_ms=now_ms
            )
            form = form_of(min(members, limit))
            if form < shown:
                persons[person] = form
    followers = form_of(least(Audience.FOLLOWERS))
    approved: dict[bytes, Tier] = {}
    if followers is not Tier.WITHHELD:
        approved = dict.fromkeys(consent.approved(now_ms), followers)
        for person in consent.persons():
            if person in approved:
                limit = limit_of(
                    consent,
                    room,
                    person=person,
                    charter_tier_max=charter_tier_max,
                    now_ms=now_ms,
                    audience=Audience.FOLLOWERS,
                )
                approved[person] = form_of(limit)
    return Route(shown, form_of(public), field, record, persons, followers, approved)


def limit_of(
    consent: Consent,
    room: Room,
    *,
    person: bytes,
    charter_tier_max: Tier,
    now_ms: WallMs,
    audience: Audience = Audience.MEMBERS,
) -> Tier:
    """The most that one person may see of the citizen here, in an audience."""
    assert room.policy is not None
    return min(
        effective_tier(
            state,
            policy=room.policy,
            charter_tier_max=charter_tier_max,
            audience=audience,
            now_ms=now_ms,
            person=person,
        )
        for state in consent.states
    )

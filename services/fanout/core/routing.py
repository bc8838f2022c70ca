"""The decision for one citizen in one room: which form each audience gets, and who is excepted."""

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
    limits: dict[bytes, Tier]
    """Session → its form, for members whom an exception gives less than `members`."""


NOWHERE = Route(Tier.WITHHELD, Tier.WITHHELD, field=False, record=False, limits={})


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
        return Route(Tier.WITHHELD, Tier.WITHHELD, field=False, record=False, limits={})

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
    limits = {}
    if shown is not Tier.WITHHELD:
        for person in consent.persons():
            sessions = room.citizens.get(person)
            if sessions:
                form = form_of(
                    min(
                        members,
                        limit_of(
                            consent,
                            room,
                            person=person,
                            charter_tier_max=charter_tier_max,
                            now_ms=now_ms,
                        ),
                    )
                )
                if form < shown:
                    limits.update(dict.fromkeys(sessions, form))
    return Route(shown, form_of(public), field, record, limits)


def limit_of(
    consent: Consent, room: Room, *, person: bytes, charter_tier_max: Tier, now_ms: WallMs
) -> Tier:
    """The most that one member may see of the citizen here."""
    assert room.policy is not None
    return min(
        effective_tier(
            state,
            policy=room.policy,
            charter_tier_max=charter_tier_max,
            audience=Audience.MEMBERS,
            now_ms=now_ms,
            person=person,
        )
        for state in consent.states
    )

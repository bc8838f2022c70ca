"""What the people of a seed want and do, drawn before the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from shared.client.core import Keyring
from shared.contracts import Audience, Tier
from tests.simulation import city
from tests.simulation.faults import CALM_NS
from tests.simulation.people import Member, Passer, Person
from tests.simulation.schedule import MS, S

if TYPE_CHECKING:
    from tests.simulation.world import World

AWAY_SHARE = 0.08
"""Of the speakers; so that two of five seeds have somebody away."""
LIFT_SHARE = 0.35
"""Of the speakers: two a seed except somebody who sits beside them, and lift it again."""
FOLLOWED_SHARE = 0.3
"""Of the speakers in the commons: two of three seeds have followers."""
AWAY_NS = (9_800 * MS, 11 * S)
"""Ingest keeps a strand for 10 s after its citizen's last session; all are back by 15.5 s."""


def populate(world: World, random: Random) -> list[Person]:
    """Everybody, with everything that they will do on the schedule."""
    commons, stage = world.policies
    people: list[Person] = []

    def own(name: str) -> Random:
        return Random(f"{world.seed}/{name}")

    def keys(name: str) -> Keyring:
        return replace(city.keys_of(name), citizens={})

    speakers: list[Member] = []
    for name in city.CITIZENS:
        rooms = random.choice(((commons,), (commons, stage), (commons, stage), (stage,)))
        member = Member(
            world,
            name,
            keys(name),
            own(name),
            rooms,
            skew_ms=world.faults.skew_ms.get(name, 0),
            verifies=False,
        )
        member.voice = tuple(room for room in rooms if random.random() < 0.8)
        member.pace_ms = random.choice((200, 300, 500, 900))
        for sanctuary in member.voice:
            member.session.join(sanctuary, speak=True, name=name)
        speakers.append(member)
    members: list[Member] = list(speakers)
    for count, name in enumerate(city.VIEWERS):
        rooms = random.choice(((commons,), (commons, stage), (stage,)))
        skew_ms = world.faults.skew_ms.get(name, 0)
        members.append(
            Member(world, name, keys(name), own(name), rooms, skew_ms=skew_ms, verifies=count < 2)
        )
    people += members
    for name in city.PASSERS_BY:
        people.append(Passer(world, name, own(name), (stage,), skew_ms=0))
    _plan(world, random, speakers, members, people)
    _plan_absences(world, Random(f"{world.seed}/absences"), speakers)
    _plan_lifts(world, Random(f"{world.seed}/lifts"), speakers, members)
    _plan_followers(world, Random(f"{world.seed}/followers"), speakers, members)
    return people


def _plan(
    world: World,
    random: Random,
    speakers: list[Member],
    members: list[Member],
    people: list[Person],
) -> None:
    commons, stage = world.policies

    def at(when_ns: int, what: Callable[[], None]) -> None:
        world.schedule.at(when_ns, what)

    def moment() -> int:
        return random.randint(1 * S, CALM_NS - 100 * MS)

    def some_grant(citizen: Member, when_ns: int) -> None:
        sanctuary = random.choice((*citizen.rooms, *citizen.rooms, None))
        audience = random.choice((Audience.MEMBERS, Audience.MEMBERS, Audience.PUBLIC))
        tier = random.choice((Tier.FULL, Tier.FULL, Tier.COARSE, Tier.AGGREGATE, Tier.WITHHELD))
        for_ms = random.randint(300, 6000) if random.random() < 0.25 else None
        at(when_ns, lambda: citizen.grant(sanctuary, tier, audience, for_ms))

    for citizen in speakers:
        for sanctuary in citizen.rooms:
            tier = random.choice((Tier.FULL, Tier.FULL, Tier.FULL, Tier.COARSE, None))
            if tier is None:
                continue
            audience = Audience.MEMBERS
            if sanctuary == stage and random.random() < 0.6:
                audience = Audience.PUBLIC
            when_ns = random.randint(300, 1200) * MS
            at(
                when_ns,
                partial(citizen.grant, sanctuary, tier, audience, None),
            )
        for _ in range(random.randint(0, 3)):
            some_grant(citizen, moment())
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            when_ns = moment()
            where = random.choice((*citizen.rooms, None))
            at(when_ns, partial(citizen.withdraw, where))
            if random.random() < 0.7:
                some_grant(citizen, min(when_ns + random.randint(5, 2500) * MS, CALM_NS))
        for _ in range(random.choice((0, 0, 1, 2))):
            whom = random.choice(members)
            where = random.choice((*citizen.rooms, None))
            tier = random.choice((Tier.WITHHELD, Tier.WITHHELD, Tier.COARSE, Tier.FULL))
            at(
                moment(),
                partial(citizen.make_exception, where, whom, tier),
            )
        if citizen.voice and random.random() < 0.3:
            when_ns, where = moment(), random.choice(citizen.voice)
            at(when_ns, partial(citizen.hush, where))
            at(
                min(when_ns + random.randint(100, 3000) * MS, CALM_NS),
                partial(citizen.raise_voice, where),
            )
    for member in members:
        if random.random() < 0.25:
            when_ns, room = moment(), random.choice((commons, stage))
            if room in member.rooms:
                at(when_ns, partial(member.leave, room))
                when_ns = min(when_ns + random.randint(20, 2500) * MS, CALM_NS)
            at(when_ns, partial(member.enter, room))
    for person in people:
        if random.random() < 0.25:
            at(moment(), person.hang_up)


def _plan_absences(world: World, random: Random, speakers: list[Member]) -> None:
    """Whoever is away for longer than ingest waits finds the strand ended: as `left` if all was
    sealed (who was quiet for a while), as `unsealed` if not.
    """
    for citizen in speakers:
        if random.random() < AWAY_SHARE:
            when_ns = random.randint(1500, 3000) * MS
            quiet_ns = random.choice((0, 1500 * MS))
            for_ns = quiet_ns + random.randint(*AWAY_NS)
            world.schedule.at(when_ns, partial(citizen.go_away, quiet_ns=quiet_ns, for_ns=for_ns))


def _plan_lifts(
    world: World, random: Random, speakers: list[Member], members: list[Member]
) -> None:
    """Exceptions that end: by a record, in steps, by time; and who is meant may come back meanwhile."""
    for citizen in speakers:
        beside = [
            member
            for member in members
            if member is not citizen and set(member.rooms) & set(citizen.voice)
        ]
        if not beside or random.random() >= LIFT_SHARE:
            continue
        whom = random.choice(beside)
        where = random.choice((random.choice(citizen.voice), None))
        at_ns = random.randint(1_500, 6_000) * MS
        for_ms = random.randint(300, 3_000) if random.random() < 0.25 else None
        tiers = random.choice(
            (
                (Tier.WITHHELD,),
                (Tier.AGGREGATE,),
                (Tier.COARSE,),
                (Tier.WITHHELD, Tier.COARSE),
                (Tier.COARSE, Tier.WITHHELD),
            )
        )
        for tier in tiers:
            world.schedule.at(at_ns, partial(citizen.make_exception, where, whom, tier, for_ms))
            at_ns += random.randint(300, 2_500) * MS
        world.schedule.at(at_ns, partial(citizen.make_exception, where, whom, Tier.FULL))
        if random.random() < 0.4:
            world.schedule.at(at_ns + random.randint(-500, 500) * MS, whom.hang_up)


def _plan_followers(
    world: World, random: Random, speakers: list[Member], members: list[Member]
) -> None:
    """Grant, approval and wish in any order; some wish in vain; some are let go again, or let go."""
    commons, _ = world.policies

    def moment() -> int:
        return random.randint(1_500, 8_000) * MS

    for citizen in speakers:
        beside = [each for each in members if each is not citizen and commons in each.rooms]
        if commons not in citizen.voice or not beside or random.random() >= FOLLOWED_SHARE:
            continue
        where = random.choice((commons, None))
        tier = random.choice((Tier.FULL, Tier.FULL, Tier.COARSE))
        for_ms = random.randint(1_000, 6_000) if random.random() < 0.2 else None
        granted = partial(citizen.grant, where, tier, Audience.FOLLOWERS, for_ms)
        world.schedule.at(moment(), granted)
        for whom in random.sample(beside, min(len(beside), random.randint(1, 3))):
            world.schedule.at(moment(), partial(whom.follow, commons, citizen))
            if random.random() < 0.25:
                continue
            at_ns = moment()
            for_ms = random.randint(500, 6_000) if random.random() < 0.25 else None
            world.schedule.at(at_ns, partial(citizen.approve, whom, for_ms))
            if random.random() < 0.3:
                at_ns += random.randint(200, 3_000) * MS
                world.schedule.at(at_ns, partial(citizen.revoke, whom))
            if random.random() < 0.3:
                at_ns += random.randint(200, 1_000) * MS
                world.schedule.at(at_ns, partial(citizen.approve, whom, None))
            if random.random() < 0.3:
                world.schedule.at(moment(), partial(whom.follow, commons, citizen, ends=True))

"""What the processes of a run do by themselves: a crowd's entrance, a speaker's ears, a house's books."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pipe
from typing import Any, NamedTuple

import msgpack

from load.story.recordings import Cue
from load.story.schedule import Role
from load.swarm import light
from load.swarm.audience import (
    FRAMES_KEPT_BYTES_MAX,
    FRAMES_KEPT_MAX,
    House,
    Spectator,
)
from load.swarm.entering import ENTERING_MAX, enter_in_turn
from load.swarm.latency import STEP_NS
from load.swarm.light import LightReader
from load.swarm.plan import AudiencePlan, Begin, Entered, Finish, Plan, SpeakersPlan, TurnedAway
from load.swarm.speakers import BREATH_NS, Troupe
from shared.contracts.client import Gap, StrandEnded
from shared.contracts.records import Tier
from shared.identifiers import MonotonicNs
from shared.runtime.clock import monotonic_ns

NOW = MonotonicNs(0)


async def test_a_crowd_comes_in_some_at_a_time_and_each_is_told() -> None:
    inside = most = 0
    told: list[object] = []

    async def entrance() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for _ in range(3):
            await asyncio.sleep(0)  # noqa: TID251  (a turn of the loop, no wait)
        inside -= 1

    assert await enter_in_turn([entrance] * 3 * ENTERING_MAX, told.append)
    assert most == ENTERING_MAX
    assert told == [Entered()] * 3 * ENTERING_MAX


async def test_the_first_who_is_turned_away_ends_the_entrance() -> None:
    told: list[object] = []

    async def entrance(place: int) -> None:
        if place == 2:
            raise TurnedAway
        if place > 2:
            await asyncio.Event().wait()

    crowd = [partial(entrance, place) for place in range(2 * ENTERING_MAX)]
    assert not await enter_in_turn(crowd, told.append)
    assert told == [Entered()] * 2


def test_a_speaker_hears_what_is_said_to_it_and_decodes_for_all_once() -> None:
    strand, room = b"s" * 32, b"r" * 16
    frame = msgpack.packb(
        [
            ["sample", strand, b"body"],
            ["struck", room, b"c" * 16, None],
            ["gap", room],
            ["skipped", strand, 1, 2, "lost"],
            ["ended", strand, "unsealed", None, 3],
        ]
    )
    ears = LightReader()
    heard = ears(frame, NOW)
    assert heard == [Gap(room), StrandEnded(strand, "unsealed", None, 3)]
    assert ears(bytes(bytearray(frame)), NOW) is heard
    for number in range(light.FRAMES_KEPT_MAX):
        ears(msgpack.packb([["skipped", strand, number, number, "lost"]]), NOW)
    assert ears(frame, NOW) is not heard


ROOM, CITIZEN, STRAND = b"r" * 16, b"c" * 16, b"s" * 32


def house(*, books: int | None) -> House:
    """Two viewers of one room, and one of its speakers at `full`."""
    ours, _theirs = Pipe()
    found = House(AudiencePlan(Plan("http://127.0.0.1:1", ROOM, 0), 2, 0, books), ours)
    found.spectators = [
        Spectator(found, is_verifying=False, keeps_books=books is None or place < books)
        for place in range(2)
    ]
    found.grants.signed(CITIZEN, Tier.FULL, NOW)
    found._on_order(Begin(0))
    return found


def shown(strand: bytes = STRAND, citizen: bytes = CITIZEN) -> list[Any]:
    return ["strand", ROOM, strand, citizen, [b"\x90", bytes(64)], 0, None, None]


def sample(number: int, at_ms: int, strand: bytes = STRAND) -> list[Any]:
    return [
        "sample",
        strand,
        msgpack.packb([number, at_ms, 0, 0, None, 1000, 2, [], None, bytes(8)]),
    ]


def test_who_only_counts_counts_what_the_books_count_and_times_the_first() -> None:
    stranger = b"x" * 32
    found = house(books=1)
    for place, message in enumerate(
        (
            [shown(), shown(stranger, b"y" * 16)],
            [sample(0, 100), sample(0, 100, stranger), sample(1, 140)],
            [["gap", ROOM], ["rung", "newest"]],
        )
    ):
        for spectator in found.spectators:
            now_ns = MonotonicNs(200_000_000 + place)
            spectator._intake(msgpack.packb(message), now_ns)
    bookkeeper, counter = (each.accounts.report() for each in found.spectators)
    assert bookkeeper.delivered == counter.delivered == 2
    assert bookkeeper.gaps == counter.gaps == 1
    assert found.rungs == {"every": -2, "newest": 2}
    # the books time both samples, at 100 and 60 ms; who counts takes both for as late as the first
    late_ms = Counter(step * STEP_NS // 1_000_000 for step in found.counts.elements())
    assert late_ms == {100: 3, 60: 1}
    assert found.due == {0: 4}


def test_who_keeps_no_books_blames_nobody_for_what_it_was_not_shown() -> None:
    found = house(books=1)
    finish = Finish({STRAND: 5}, 0.0, {STRAND: ROOM})
    assert [each.not_shown(finish) for each in found.spectators] == [[STRAND], []]
    for spectator in found.spectators:
        spectator._intake(msgpack.packb([shown()]), NOW)
    assert [each.not_shown(finish) for each in found.spectators] == [[], []]


def test_who_missed_something_or_sees_a_room_from_afar_is_owed_no_sight() -> None:
    finish = Finish({STRAND: 5}, 0.0, {STRAND: ROOM})
    for message in (["gap", ROOM], ["closeness", ROOM, False]):
        found = house(books=None)
        found.spectators[0]._intake(msgpack.packb([message]), NOW)
        assert [each.not_shown(finish) for each in found.spectators] == [[], [STRAND]]
        owed = [] if message[0] == "closeness" else [STRAND]
        assert [each.owed(finish) for each in found.spectators] == [owed, [STRAND]]
    elsewhere = Finish({STRAND: 5}, 0.0, {STRAND: b"e" * 16})
    assert house(books=None).spectators[0].not_shown(elsewhere) == []


def test_frames_are_remembered_within_bounds_of_number_and_bytes() -> None:
    found = house(books=None)
    for number in range(2 * FRAMES_KEPT_MAX):
        found.meaning(msgpack.packb([["gap", number.to_bytes(16, "big")]]))
    assert len(found._meanings) == FRAMES_KEPT_MAX
    for number in range(12):
        body = msgpack.packb([number, 0, bytes(500_000)])
        found.meaning(msgpack.packb([["sample", STRAND, body]]))
    assert sum(map(len, found._meanings)) <= FRAMES_KEPT_BYTES_MAX
    assert found._meanings


class Backlog(NamedTuple):
    """Samples that were due long ago, each of which takes a while."""

    def cues(self) -> Iterator[Cue]:
        for _ in range(5):
            until_ns = monotonic_ns() + BREATH_NS
            while monotonic_ns() < until_ns:
                pass
            yield Cue(0, 0, 0, 0)


async def test_who_is_behind_time_lets_the_loop_read_and_write_in_between() -> None:
    common = Plan("http://127.0.0.1:1", ROOM, 0)
    ours, _theirs = Pipe()
    role = Role(0, "p", Tier.FULL)
    troupe = Troupe(SpeakersPlan(common, [role], Backlog(), []), ours)
    turns = 0
    is_over = False

    async def other() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)  # noqa: TID251  (a turn of the loop, no wait)

    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        await troupe._play(0)
        is_over = True
    assert turns >= 3

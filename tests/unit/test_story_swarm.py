"""What the processes of a run do by themselves: a crowd's entrance, a speaker's ears."""

from __future__ import annotations

import asyncio
from functools import partial

import msgpack

from load.swarm.entering import ENTERING_MAX, enter_in_turn
from load.swarm.light import FRAMES_KEPT_MAX, LightReader
from load.swarm.plan import Entered, TurnedAway
from shared.contracts.client import Gap, StrandEnded
from shared.identifiers import MonotonicNs

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
    for number in range(FRAMES_KEPT_MAX):
        ears(msgpack.packb([["skipped", strand, number, number, "lost"]]), NOW)
    assert ears(frame, NOW) is not heard

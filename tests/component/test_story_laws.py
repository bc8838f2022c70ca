"""The judge can fail: a city that breaks a law is caught, the law is named, and the status says so.

Between the city and the crowd stands a gateway that lies to each viewer in its own way.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from load.swarm.attackers import FORGED_SALT
from tests.support.city import RunningCity
from tests.support.lying_gateway import Message, Tamper, lying_gateway

ROOT = Path(__file__).resolve().parents[2]
STORY = """
name = "laws"
[[citizens]]
name = "steady"
count = 2
grant = "full"
per_s = 10
[[citizens]]
name = "cells"
count = 1
grant = "coarse"
per_s = 4
[[citizens]]
name = "leaving"
count = 3
grant = "full"
per_s = 10
[[viewers]]
name = "viewers"
count = {viewers}
verify = {viewers}
[[act]]
name = "talk"
seconds = 8
[[act.happening]]
do = "withdraw"
who = "leaving"
at_s = 1
over_s = 0.5
"""
OF_STRANDS = {"strand", "sample", "sealed window", "skipped", "ended", "released"}


def truth(message: Message) -> list[Message]:
    return [message]


def shifting_cells(message: Message) -> list[Message]:
    """Every cell is the opposite one, and is told twice."""
    if message[0] != "coarse" or message[4] is None:
        return [message]
    return [[*message[:4], 24 - message[4], *message[5:]]] * 2


def repeating(message: Message) -> list[Message]:
    return [message, message] if message[0] == "sample" else [message]


def swapping() -> Tamper:
    """Of each strand every second sample comes before the first."""
    held: dict[bytes, Message] = {}

    def tamper(message: Message) -> list[Message]:
        if message[0] != "sample":
            return [message]
        earlier = held.pop(message[1], None)
        if earlier is None:
            held[message[1]] = message
            return []
        return [message, earlier]

    return tamper


def dropping(message: Message) -> list[Message]:
    """Every third sample is gone, and nobody says so."""
    return [] if message[0] == "sample" and msgpack.unpackb(message[2])[0] % 3 == 0 else [message]


def hiding(message: Message) -> list[Message]:
    """Nobody is there."""
    return [] if message[0] in OF_STRANDS else [message]


def not_introducing(message: Message) -> list[Message]:
    return [] if message[0] == "strand" else [message]


def forging(message: Message) -> list[Message]:
    if message[0] != "sample":
        return [message]
    return [[*message[:2], message[2][:-8] + FORGED_SALT, *message[3:]]]


def going_on(*, is_struck: bool) -> Tamper:
    """Who withdrew is heard on; with or without having been struck before."""
    citizen_of: dict[bytes, bytes] = {}
    newest: dict[bytes, list[Any]] = {}
    withdrawn: set[bytes] = set()

    def tamper(message: Message) -> list[Message]:
        told = [message]
        match message[0]:
            case "strand" if message[3] in withdrawn:
                told = []
            case "strand":
                citizen_of[message[2]] = message[3]
            case "sample":
                newest[message[1]] = msgpack.unpackb(message[2])
            case "struck" if message[2] in citizen_of.values():
                withdrawn.add(message[2])
                told = [message] if is_struck else []
            case _:
                pass
        for strand, body in newest.items():
            if citizen_of.get(strand) in withdrawn:
                body[0] += 1
                told.append(["sample", strand, msgpack.packb(body)])
        return told

    return tamper


def not_acting(message: Message) -> list[Message]:
    return [] if message[0] == "acted" else [message]


LIES: list[tuple[Callable[[], Tamper], set[str]]] = [
    # the first viewer's cells are those that are judged
    (lambda: shifting_cells, {"above the granted tier", "two cells of one person in a tick"}),
    (lambda: repeating, {"delivered twice"}),
    (swapping, {"out of order within a strand"}),
    (lambda: dropping, {"unaccounted: in = out + refused + conflated + lost and shown"}),
    (lambda: hiding, {"granted in full, and never shown"}),
    (lambda: not_introducing, {"of a strand that was not introduced"}),
    (lambda: forging, {"forged samples seen", "windows that prove a forgery"}),
    (lambda: going_on(is_struck=True), {"delivered after struck"}),
    (lambda: going_on(is_struck=False), {"above the granted tier"}),
]


def play(folder: Path, url: str, viewers: int) -> tuple[int, dict[str, Any]]:
    story = folder / "laws.toml"
    story.write_text(STORY.format(viewers=viewers))
    command = [sys.executable, "-m", "shared.cli", "load", "play", str(story), "--json"]
    done = subprocess.run(
        [*command, "--url", url],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(150)
def test_every_law_that_is_broken_is_named_and_is_status_one(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    people = 6

    def lie(number: int) -> Tamper:
        """The tool knocks, then its viewers come, then its people: the last of them is never answered."""
        if 1 <= number <= len(LIES):
            return LIES[number - 1][0]()
        return not_acting if number == len(LIES) + people else truth

    with lying_gateway(shared_city.url) as gateway:
        gateway.tamper_of = lie
        status, found = play(tmp_path, gateway.url, len(LIES))
    assert status == 1
    assert not found["good"]
    broken = {name for name, value in found["laws"].items() if value}
    assert broken == {name for _, laws in LIES for name in laws} | {"withdrawals not acted upon"}


@pytest.mark.timeout(150)
def test_through_a_gateway_that_tells_the_truth_no_law_is_broken(
    shared_city: RunningCity, tmp_path: Path
) -> None:
    with lying_gateway(shared_city.url) as gateway:
        gateway.tamper_of = lambda _number: truth
        status, found = play(tmp_path, gateway.url, 3)
    assert {name for name, value in found["laws"].items() if value} == set()
    assert status == 0

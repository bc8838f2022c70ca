"""Two gateways on one port and two fanouts: one city to everybody who comes, whoever of them dies.

The kernel deals connections out, so a test that needs somebody at a certain gateway connects until it
is there: `hello` names the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.bus.permissions import make_keys
from shared.identifiers import slot_of
from shared.subjects import SERVICES
from tests.component.test_city import all_ready, refused
from tests.component.test_kill import scene_of
from tests.component.test_signatures import device_in
from tests.support.city import RunningCity, is_alive, running_city, wait_until
from tests.support.event_stream import asking, begin
from tests.support.wire import Person, Speaking, Wire, now_ms, sanctuary_id

pytestmark = pytest.mark.timeout(240)

WIDE = ("--workers", "2", "--fanouts", "2")
GATEWAYS, FANOUTS = ("gateway-0", "gateway-1"), ("fanout-0", "fanout-1")
COMMONS, STAGE = sanctuary_id("emotive-commons"), sanctuary_id("open-stage")
MEMBERS, FULL, LIVE = 0, 3, 0
WITHIN_S = 30.0
"""Wide: the machine may be busy with other tests."""


@asynccontextmanager
async def at(gateway: str, person: Person, city: RunningCity) -> AsyncIterator[Wire]:
    """The person's socket at that gateway; others that the kernel gave are let go."""
    while True:
        wire = await person.welcome(city.websocket_url)
        try:
            if wire.hello[6] == gateway:
                yield wire
                return
        finally:
            await wire.close()


async def heard_of(viewer: Wire, speaking: Speaking) -> None:
    """The viewer has the sample that is said now."""
    body = speaking.body()
    await speaking.say(body)
    while True:
        message = await viewer.wait_for("sample")
        if body in message:
            return


@pytest.fixture(scope="module")
def wide_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCity]:
    with running_city(tmp_path_factory.mktemp("wide") / "state", *WIDE) as city:
        city.wait_citizens()
        yield city


async def test_whoever_comes_to_either_gateway_sees_who_speaks_at_the_other(
    wide_city: RunningCity,
) -> None:
    ada, ben = Person(f"ada {now_ms()}"), Person(f"ben {now_ms()}")
    async with at("gateway-0", ada, wide_city) as here, at("gateway-1", ben, wide_city) as there:
        for person, wire in ((ada, here), (ben, there)):
            await person.record(wire, person.consent("grant/1", COMMONS, MEMBERS, FULL, LIVE, None))
        of_ada = await Speaking.open(ada, here, await ada.seat(here, COMMONS))
        of_ben = await Speaking.open(ben, there, await ben.seat(there, COMMONS))
        async with asyncio.timeout(WITHIN_S):
            await heard_of(there, of_ada)
            await heard_of(here, of_ben)
        for speaking in (of_ada, of_ben):
            await speaking.end()


async def test_what_is_public_is_told_at_both_gateways_whichever_fanout_owns_it(
    wide_city: RunningCity,
) -> None:
    """The stage belongs to one fanout, the commons of the other tests to the other."""
    assert [slot_of(room) % 2 for room in (STAGE, COMMONS)] == [0, 1]
    host, _, port = wide_city.url.removeprefix("http://").partition(":")
    at_gateways: set[str] = set()
    async with asyncio.timeout(WITHIN_S):
        while at_gateways != set(GATEWAYS):
            async with asking((host, int(port)), "/v1/watch/open-stage") as stream:
                at_gateways.add((await begin(stream))["gateway"])
                await stream.wait_for("sample")


async def test_a_window_may_be_posted_at_any_gateway(wide_city: RunningCity) -> None:
    def passed_on() -> list[float]:
        return [wide_city.metric(name, "gateway_posts_passed_on_total") for name in GATEWAYS]

    before = passed_on()
    async with device_in(wide_city) as device:
        while not all(now > then for now, then in zip(passed_on(), before, strict=True)):
            await device.ask("emotive-commons")
            device.open()
            for _ in range(4):  # each on a connection of its own, which the kernel deals out
                reply = await device.post(device.window(1))
                assert (reply.status, reply.fields["admitted"]) == (200, [device.seq - 1])
            again = device.window(1, closing=True)
            first, second = await device.post(again), await device.post(again)
            assert first.fields == second.fields, "the same window has the same answer anywhere"


@pytest.mark.parametrize("name", [*GATEWAYS, *FANOUTS])
async def test_acted_waits_for_every_gateway_and_every_fanout(
    wide_city: RunningCity, name: str
) -> None:
    """One of them stands still: a withdrawal is recorded, and not `acted` before that one goes on."""
    person = Person(f"{name} {now_ms()}")
    async with at("gateway-0" if name == "gateway-1" else "gateway-1", person, wide_city) as wire:
        await person.seat(wire, COMMONS)
        await person.record(wire, person.consent("grant/1", COMMONS, MEMBERS, FULL, LIVE, None))
        withdrawal = person.consent("withdrawal/1", None, None, None)
        pid = wide_city.kill(name, signal.SIGSTOP)
        try:
            await person.record(wire, withdrawal)
            stood_still = wide_city.pid(name) == pid
            wire.look_back()
            acted = [m for m in wire._waiting if m[0] == "acted"]
            assert not acted or not stood_still, "acted without " + name
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert (await wire.wait_for("acted"))[1:] == [person.citizen, person.counter]
    wait_until("everybody is ready", lambda: all_ready(wide_city), within_s=WITHIN_S)


async def test_after_kill_9_of_a_gateway_or_a_fanout_under_load_the_next_sample_comes(
    tmp_path: Path,
) -> None:
    with running_city(tmp_path / "state", *WIDE) as city:
        async with scene_of(city) as scene:
            for name in (*GATEWAYS, *FANOUTS):
                print(await scene.fault(name, signal.SIGKILL))
            report = await scene.close()
        print(report)
        assert (report.unaccounted, report.repeated, report.against) == (0, 0, {}), report
        assert report.delivered > 0
        pids = city.pids()
        assert {*GATEWAYS, *FANOUTS} < set(city.told.services)
        assert await asyncio.to_thread(city.end) == 0, city.story()
        assert not [pid for pid in pids if is_alive(pid)]
        assert not [line for line in city.lines if "killed" in line], city.story()


def test_doctor_and_tap_know_every_gateway_and_fanout(wide_city: RunningCity) -> None:
    def told(*words: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "shared.cli", *words, "--json"]
        command += ["--state", str(wide_city.state)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    wait_until("everybody is ready", lambda: all_ready(wide_city), within_s=WITHIN_S)
    findings = {
        row["check"]: row for row in told("doctor", "--port", wide_city.url.rpartition(":")[2])
    }
    for name in (*GATEWAYS, *FANOUTS, "port"):
        assert findings[name]["verdict"] == "ok", findings[name]
    subjects = {row["subject"] for row in told("tap", "--seconds", "3")}
    assert subjects >= {f"control.{name}" for name in (*GATEWAYS, *FANOUTS)}


def test_a_broker_without_keys_for_so_many_says_how_to_make_them(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_keys(keys, [f"{service}-0" for service in SERVICES])
    line = refused(
        tmp_path / "state",
        *("--port", "0", "--workers", "2", "--nats", "nats://127.0.0.1:1", "--keys", str(keys)),
    )
    assert "no key" in line
    assert "gateway-1.nk" in line
    assert line.endswith("--replicas 2")

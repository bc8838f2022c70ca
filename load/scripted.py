"""`python -m load.scripted`: the seeded city's scripted citizens, for as long as the city lives.

Each has keys, a strand, seals and grants of its own, as anybody has; its mood strays around a middle on
two slow rounds, and its samples say that they are scripted. It never ends by itself: a service that
restarts, a city that goes away, is waited for. SIGTERM or SIGINT ends it within a second.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import uvloop

from shared.client.connection import Connection, ConnectionEnded, UrlRefused, live_url
from shared.client.consent import folded
from shared.client.core import ChainKnown, Event, Mood, Session
from shared.client.keystore import Keystore, KeysUnusable
from shared.client.words import sanctuary_of
from shared.consent import granted_tier
from shared.contracts.records import Audience, Purpose, Tier
from shared.contracts.sample import Provenance
from shared.identifiers import MonotonicNs, slug_of
from shared.runtime.clock import monotonic_ns, pause, wall_ms

SENT_AWAY_S = 5.0
"""How long after "do not come back" a scripted citizen tries again all the same: the city it belongs
to may have been started anew."""
FAREWELL_S = 0.5
RATE_HZ_MAX = 100.0

Unit = Annotated[float, msgspec.Meta(ge=-1, le=1)]


class Script(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One row of the file; seeds/citizens.toml says what the fields mean."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    sanctuary: str
    members: str = "withheld"
    public: str = "withheld"
    per_s: Annotated[float, msgspec.Meta(gt=0, le=RATE_HZ_MAX)] = 2.0
    valence: Unit = 0.0
    arousal: Unit = 0.0
    swing: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    period_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0

    def __post_init__(self) -> None:
        for tier in (self.members, self.public):
            if tier.upper() not in Tier.__members__:
                raise ValueError(f"{tier!r} is no tier: withheld, aggregate, coarse or full")

    def mood(self, now_s: float) -> Mood:
        """Where the walk is at `now_s` (Unix): two rounds, whose ratio keeps the path from closing."""
        turn = 2 * math.pi * now_s / self.period_s
        valence = self.valence + self.swing * math.sin(turn)
        arousal = self.arousal + self.swing * math.sin(turn * (math.sqrt(5) - 1) / 2 + 1)
        v, a = (round(1000 * max(-1.0, min(1.0, axis))) for axis in (valence, arousal))
        return Mood(v, a, provenance=Provenance.SCRIPTED)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    citizen: list[Script] = []


class ScriptedCitizen:
    """One of them, with a connection that it never gives up."""

    def __init__(self, script: Script, store: Keystore, url: str) -> None:
        self.script = script
        self.sanctuary = sanctuary_of(script.sanctuary)
        self._store = store
        self._keys_name = slug_of(script.name)
        keyring, _ = store.load_or_new(self._keys_name)
        self._known = dict(keyring.citizens)
        self.session = Session(keyring, os.urandom)
        self.session.releases = store.load_releases(self._keys_name)
        self.session.join(self.sanctuary, speak=True, name=script.name)
        self._connection = Connection(self.session, url, on_events=self._on_events)

    def _on_events(self, events: list[Event], now_ns: MonotonicNs) -> None:
        for event in events:
            if isinstance(event, ChainKnown):
                self._grant(event, now_ns)
        keyring = self.session.keyring
        if keyring.citizens != self._known:
            self._known = dict(keyring.citizens)
            self._store.save(keyring, self._keys_name)

    def _grant(self, chain: ChainKnown, now_ns: MonotonicNs) -> None:
        """Sign what the script says and the record does not."""
        session = self.session
        if session.citizen is None or session.chain.in_flight:
            return
        state = folded(session.citizen, chain.records)
        for audience, name in (
            (Audience.MEMBERS, self.script.members),
            (Audience.PUBLIC, self.script.public),
        ):
            wanted = Tier[name.upper()]
            stands = granted_tier(
                state,
                sanctuary=self.sanctuary,
                audience=audience,
                purpose=Purpose.LIVE,
                now_ms=wall_ms(),
            )
            if wanted is not stands:
                session.grant(self.sanctuary, wanted, now_ns, wall_ms(), audience=audience)

    async def live(self) -> None:
        """Stay connected, whatever is said."""
        while not self._connection.is_stopped:
            try:
                await self._connection.run()
            except ConnectionEnded:
                await pause(SENT_AWAY_S)

    async def speak(self) -> None:
        """On a steady beat; a beat without an open strand is left out, not made up for."""
        beat_ns = int(1e9 / self.script.per_s)
        due_ns = monotonic_ns()
        while True:
            due_ns = MonotonicNs(max(due_ns + beat_ns, monotonic_ns()))
            await pause((due_ns - monotonic_ns()) / 1e9)
            now_ms = wall_ms()
            mood = self.script.mood(now_ms / 1000)
            if self.session.feel(self.sanctuary, mood, monotonic_ns(), now_ms) is not None:
                self._connection.flush()
            if self.session.releases:
                self.session.release_due(now_ms)
                self._connection.flush()

    def farewell(self) -> None:
        """The closing seal, and the socket."""
        self.session.leave(self.sanctuary, wall_ms())
        self._connection.stop()
        self._store.save_releases(self.session.releases, self._keys_name)


def read_scripts(file: Path) -> list[Script]:
    """Raises: OSError, msgspec.DecodeError (its sentence names the field)."""
    return msgspec.toml.decode(file.read_bytes(), type=_File).citizen


async def live(citizens: list[ScriptedCitizen]) -> None:
    """Everybody, until a signal."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with asyncio.TaskGroup() as group:
        connections = [group.create_task(each.live()) for each in citizens]
        voices = [group.create_task(each.speak()) for each in citizens]
        await ending.wait()
        for voice in voices:
            voice.cancel()
        for each in citizens:
            each.farewell()
        await asyncio.wait(connections, timeout=FAREWELL_S)
        for connection in connections:
            connection.cancel()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load.scripted", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--keys", type=Path, required=True, help="directory of their key files")
    parser.add_argument("--file", type=Path, required=True, help="like seeds/citizens.toml")
    options = parser.parse_args()
    try:
        live_url(options.url)
        store = Keystore(options.keys)
        scripts = read_scripts(options.file)
        citizens = [ScriptedCitizen(script, store, options.url) for script in scripts]
    except (OSError, msgspec.DecodeError, KeysUnusable, UrlRefused) as error:
        sys.stderr.write(f"scripted citizens: {error}\n")
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live(citizens))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The people of a seed: six who speak, five who look on, three who pass by the stage.

What they want and do is drawn before the run (`plans`); how they do it is the client's own core.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from shared.client.core import (
    Keyring,
    Mood,
    Session,
    Viewer,
    WindowJudged,
    WindowState,
    decode_frame,
    encode_frames,
)
from shared.contracts import Audience, Provenance, Tier
from shared.identifiers import MonotonicNs, WallMs
from tests.simulation import city
from tests.simulation.laws import COARSE_RETURNS_NS
from tests.simulation.oracle import Broken, Connection
from tests.simulation.schedule import MS, S
from tests.simulation.sockets import Socket

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE_NS = 2_500 * MS
"""A socket on which nothing was said for so long before `welcome` is given up."""
COARSE_LATE_S = 3
"""A cell this many seconds old is still the newest: ticks come each second."""


class Person:
    """One person on one device."""

    def __init__(
        self, world: World, name: str, random: Random, rooms: tuple[bytes, ...], *, skew_ms: int
    ) -> None:
        self.world = world
        self.name = name
        self.random = random
        self.rooms = rooms
        """Where this person wants to be, now."""
        self.skew_ms = skew_ms
        self.follows: dict[bytes, tuple[str, ...]] = {}
        """Sanctuary → whom this person follows there."""
        self.followed_ns = -COARSE_RETURNS_NS
        """When that last changed."""
        self.twin_of: Person | None = None
        self.socket: Socket | None = None
        self.is_silenced = False
        self._away_until_ns = 0
        self._gateways = ["gateway-0", "gateway-1"]
        random.shuffle(self._gateways)

    # ── clocks ───────────────────────────────────────────────────────────────────────────────────

    @property
    def now_ns(self) -> MonotonicNs:
        return MonotonicNs(self.world.schedule.now_ns)

    @property
    def now_ms(self) -> WallMs:
        return WallMs(self.world.wall_ms + self.skew_ms)

    @property
    def connection(self) -> Connection | None:
        return self.socket.connection if self.socket is not None and self.socket.is_open else None

    def trace(self, what: object) -> None:
        self.world.trace(self.name, what)

    # ── the socket ───────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        self.world.schedule.after(self.random.randint(60, 400) * MS, self.connect)

    @property
    def watches(self) -> bytes | None:
        return None

    def connect(self) -> None:
        if self.socket is not None and self.socket.is_open:
            return
        if self.is_away:
            self.world.schedule.at(self._away_until_ns, self.connect)
            return
        self._gateways.reverse()
        self.socket = self.world.connect(self, self._gateways[0], watches=self.watches)
        if self.socket is None:
            self.world.schedule.after(self.random.randint(100, 300) * MS, self.connect)
            return
        socket = self.socket
        self.world.schedule.after(PATIENCE_NS, lambda: self._give_up(socket))

    def _give_up(self, socket: Socket) -> None:
        if socket is self.socket and socket.is_open and not self.is_welcome():
            self.hang_up()

    def is_welcome(self) -> bool:
        connection = self.connection
        return connection is not None and bool(connection.screen.rooms)

    def hang_up(self) -> None:
        """Close the socket from this end; come back soon."""
        socket = self.socket
        if socket is not None and socket.is_open:
            socket.close(by_client=True)
            self.lost(socket, None)

    def lost(self, socket: Socket, code: int | None) -> None:
        if socket is not self.socket:
            return
        self.trace(f"loses its socket ({code})")
        self.socket = None
        self.disconnected()
        self.world.schedule.after(self.random.randint(50, 400) * MS, self.connect)

    @property
    def is_away(self) -> bool:
        return self.world.schedule.now_ns < self._away_until_ns

    def go_away(self, *, quiet_ns: int, for_ns: int) -> None:
        """Say nothing more, lose the socket after `quiet_ns`, come back after `for_ns` in all."""
        self.trace(f"goes away for {for_ns // MS} ms")
        self._away_until_ns = self.world.schedule.now_ns + for_ns
        self.world.schedule.after(quiet_ns, self._cut)

    def _cut(self) -> None:
        if self.socket is not None:
            self.socket.cut()

    def stop_reading(self, for_ns: int) -> None:
        if self.socket is not None and self.socket.is_open:
            self.trace(f"does not read for {for_ns // MS} ms")
            self.socket.block(for_ns)

    def disconnected(self) -> None:
        """The session's view of a lost socket."""

    def frame(self, socket: Socket, payload: bytes) -> None:
        """A frame arrived."""

    def unblocked(self, socket: Socket) -> None:
        """Only a server has to be told."""

    # ── the end of the run ───────────────────────────────────────────────────────────────────────

    def quiet(self) -> None:
        self.is_silenced = True

    def twin(self) -> Person:
        """Another viewer of equal rights, who comes after the calm."""
        raise NotImplementedError

    def pending(self) -> list[str]:
        connection = self.connection
        if connection is None:
            return [f"{self.name} has no socket"]
        missing: list[str] = []
        for sanctuary in self.rooms:
            missing += self._pending_views(connection, sanctuary)
        return missing

    def _pending_views(self, connection: Connection, sanctuary: bytes) -> list[str]:
        world, missing = self.world, []
        room = connection.screen.rooms.get(sanctuary)
        where = world.oracle.name(sanctuary)
        if room is None or not room.snapshots:
            return [f"{connection} has no snapshot of the {where}"]
        closed = world.closed_to_sight(sanctuary)
        if closed is not None and room.is_close == closed:
            missing.append(f"{connection} believes the {where} to be close: {room.is_close}")
        for speaker in world.citizens:
            strand = speaker.strand_in(sanctuary)
            citizen = speaker.citizen
            if citizen is None:
                continue
            is_public = connection.watches is not None
            audience = Audience.PUBLIC if is_public else Audience.MEMBERS
            tier = world.tier_now(connection, citizen, sanctuary, audience)
            followed = world.tier_now(connection, citizen, sanctuary, Audience.FOLLOWERS)
            if tier is None or followed is None:
                continue  # it changes about now
            if not room.is_close:
                tier = min(tier, 1)
            if speaker.name in self.follows.get(sanctuary, ()):
                tier = max(tier, followed)
            shown = [
                each
                for each in room.strands.values()
                if each.citizen == citizen and each.ended is None
            ]
            cells = [
                tick
                for pseudonym, (tick, cell) in room.cells.items()
                if cell is not None and world.oracle.pseudonyms[pseudonym][0] == citizen
            ]
            if tier < Tier.FULL and shown:
                missing.append(f"{connection} still sees {speaker.name} in full in the {where}")
            if tier < Tier.COARSE and cells:
                missing.append(f"{connection} still sees {speaker.name} coarse in the {where}")
            if strand is None:
                continue
            if tier == Tier.FULL:
                held = next((each for each in shown if each.strand == strand), None)
                truth = world.oracle.strands.get(strand)
                if held is None:
                    missing.append(f"{connection} does not see {speaker.name} in the {where}")
                elif truth is not None and held.expected < truth.settled:
                    missing.append(
                        f"{connection} holds {speaker.name} to {held.expected - 1}, "
                        f"admitted are {truth.expected - 1}"
                    )
            elif tier == Tier.COARSE and speaker.spoke_recently(sanctuary):
                newest = max(cells, default=0)
                narrowed = world.oracle.narrowed_ns.get(citizen, -COARSE_RETURNS_NS)
                late = newest < world.fanout_now_s(sanctuary) - COARSE_LATE_S
                is_dark = world.fell_lately(connection, sanctuary, citizen)
                quiet_ns = self.now_ns - max(narrowed, self.followed_ns)
                if late and not is_dark and quiet_ns > COARSE_RETURNS_NS:
                    missing.append(f"{connection} does not see {speaker.name} coarse")
        return missing


class Passer(Person):
    """An anonymous viewer of the public stage."""

    @property
    def watches(self) -> bytes | None:
        return self.rooms[0]

    def twin(self) -> Person:
        name = f"{self.name}-too"
        twin = Passer(self.world, name, self.random, self.rooms, skew_ms=self.skew_ms)
        twin.twin_of = self
        return twin


class Member(Person):
    """Somebody with keys: a session, seats, perhaps a voice."""

    def __init__(
        self,
        world: World,
        name: str,
        keyring: Keyring,
        random: Random,
        rooms: tuple[bytes, ...],
        *,
        skew_ms: int,
        verifies: bool,
    ) -> None:
        super().__init__(world, name, random, rooms, skew_ms=skew_ms)
        self.keyring = keyring
        self.verifies = verifies
        self.session = Session(
            keyring, random.randbytes, viewer=Viewer(city.city_id()) if verifies else None
        )
        self.voice: tuple[bytes, ...] = ()
        self._timer_ns: int | None = None
        self._spoke_ns: dict[bytes, int] = {}
        for sanctuary in rooms:
            self.session.join(sanctuary)

    @property
    def citizen(self) -> bytes | None:
        return self.keyring.citizens.get(city.city_id())

    def is_welcome(self) -> bool:
        return self.session.is_ready

    def strand_in(self, sanctuary: bytes) -> bytes | None:
        """The strand that this person now speaks in."""
        seat = self.session.seats.get(sanctuary)
        if seat is None or seat.writer is None or not seat.is_open or not seat.writer.next_seq:
            return None
        return seat.writer.strand

    def spoke_recently(self, sanctuary: bytes) -> bool:
        """Within the 10 s for which a cell is held, and not just now."""
        spoke = self._spoke_ns.get(sanctuary)
        return spoke is not None and 2 * S < self.now_ns - spoke < 8 * S

    # ── the session ──────────────────────────────────────────────────────────────────────────────

    def disconnected(self) -> None:
        self.session.disconnected()

    def frame(self, socket: Socket, payload: bytes) -> None:
        if socket is not self.socket:
            return
        messages = decode_frame(payload)
        for event in self.session.receive(messages, self.now_ns, self.now_ms):
            if isinstance(event, WindowJudged) and event.state is WindowState.FALSE:
                raise Broken(
                    "a good window is never judged false",
                    f"{self.name} judges window {event.window} of "
                    f"{self.world.oracle.name(event.strand)}",
                )
        self.talk()

    def talk(self) -> None:
        """Send what the session has to say, and set its timer."""
        out = self.session.take()
        socket = self.socket
        self.world.learn(self)
        if out and socket is not None and socket.is_open:
            if self.world.traces:
                for message in out:
                    self.world.says(self, message)
            for frame in encode_frames(out):
                socket.to_server(frame)
        deadline = self.session.next_deadline()
        if deadline is not None:
            at_ns = max(deadline, self.now_ns + 1 * MS)
            if self._timer_ns is None or at_ns < self._timer_ns:
                self._timer_ns = at_ns
                self.world.schedule.at(at_ns, lambda: self._tick(at_ns))

    def _tick(self, at_ns: int) -> None:
        if self._timer_ns != at_ns:
            return
        self._timer_ns = None
        if self.socket is not None and self.socket.is_open:
            self.session.tick(self.now_ns, self.now_ms)
            self.talk()

    # ── what they do ─────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        super().begin()
        for sanctuary in self.voice:
            self.world.schedule.after(
                self.random.randint(500, 1500) * MS, partial(self._speak, sanctuary)
            )

    def _speak(self, sanctuary: bytes) -> None:
        if self.is_silenced:
            return
        if self.is_away:
            self.world.schedule.at(self._away_until_ns, partial(self._speak, sanctuary))
            return
        moods = 1 if self.random.random() < 0.9 else self.random.randint(2, 8)
        for _ in range(moods):
            mood = Mood(
                valence=self.random.randint(-1000, 1000),
                arousal=self.random.randint(-1000, 1000),
                provenance=Provenance.SCRIPTED,
            )
            if self.session.feel(sanctuary, mood, self.now_ns, self.now_ms) is not None:
                self._spoke_ns.setdefault(sanctuary, self.now_ns)
        self.talk()
        gap_ms = self.pace_ms * self.random.choice((0.2, 0.6, 1.0, 1.4, 1.8))
        self.world.schedule.after(int(gap_ms) * MS, lambda: self._speak(sanctuary))

    pace_ms = 400

    def leave(self, sanctuary: bytes) -> None:
        if sanctuary in self.rooms and len(self.rooms) > 1:
            self.trace(f"leaves the {self.world.oracle.name(sanctuary)}")
            self.rooms = tuple(room for room in self.rooms if room != sanctuary)
            self.session.leave(sanctuary, self.now_ms)
            self.talk()

    def enter(self, sanctuary: bytes) -> None:
        if sanctuary not in self.rooms:
            self.trace(f"enters the {self.world.oracle.name(sanctuary)}")
            self.rooms = (*self.rooms, sanctuary)
            self.session.join(sanctuary, speak=sanctuary in self.voice)
            self.say_follows(sanctuary)
            self.session.tick(self.now_ns, self.now_ms)
            self.talk()

    def follow(self, sanctuary: bytes, whom: Member, *, ends: bool = False) -> None:
        """From now on, or no more; where this person is not, from the next entrance on."""
        if whom.citizen is None or self.is_silenced:
            return
        before = self.follows.get(sanctuary, ())
        after = tuple(name for name in before if name != whom.name)
        self.follows[sanctuary] = after if ends else (*after, whom.name)
        self.followed_ns = self.now_ns
        self.trace(f"follows {self.follows[sanctuary]}")
        self.say_follows(sanctuary)
        self.session.tick(self.now_ns, self.now_ms)
        self.talk()

    def say_follows(self, sanctuary: bytes) -> None:
        names = self.follows.get(sanctuary, ())
        known = [each.citizen for each in self.world.citizens if each.name in names]
        if sanctuary in self.session.seats:
            self.session.follow(sanctuary, [each for each in known if each is not None])

    def approve(self, whom: Member, for_ms: int | None) -> None:
        if whom.citizen is not None:
            until_ms = None if for_ms is None else WallMs(self.world.fanout_now_ms + for_ms)
            self.trace(f"lets {whom.name} follow until {until_ms}")
            self.session.approve(whom.citizen, self.now_ns, self.now_ms, until_ms=until_ms)
            self.talk()

    def revoke(self, whom: Member) -> None:
        if whom.citizen is not None:
            self.trace(f"lets {whom.name} follow no more")
            self.session.revoke(whom.citizen, self.now_ns, self.now_ms)
            self.talk()

    def hush(self, sanctuary: bytes) -> None:
        self.session.hush(sanctuary, self.now_ms)
        self._spoke_ns.pop(sanctuary, None)
        self.talk()

    def raise_voice(self, sanctuary: bytes) -> None:
        if sanctuary in self.rooms:
            self.session.join(sanctuary, speak=True)
            self.session.tick(self.now_ns, self.now_ms)
            self.talk()

    def grant(
        self, sanctuary: bytes | None, tier: Tier, audience: Audience, for_ms: int | None
    ) -> None:
        until_ms = None
        if for_ms is not None:
            # fanout's clock judges: some of these ends must lie within the run
            until_ms = WallMs(self.world.fanout_now_ms + for_ms)
        self.trace(f"grants {tier.name} to {audience.name} until {until_ms}")
        self.session.grant(
            sanctuary, tier, self.now_ns, self.now_ms, audience=audience, until_ms=until_ms
        )
        self.talk()

    def withdraw(self, sanctuary: bytes | None) -> None:
        self.trace(f"withdraws {self.world.oracle.name(sanctuary) if sanctuary else 'everything'}")
        self.session.withdraw(sanctuary, self.now_ns, self.now_ms)
        self.talk()

    def make_exception(
        self, sanctuary: bytes | None, whom: Member, tier: Tier, for_ms: int | None = None
    ) -> None:
        person = whom.citizen
        if person is None or whom is self:
            return
        until_ms = None if for_ms is None else WallMs(self.world.fanout_now_ms + for_ms)
        self.trace(f"excepts {whom.name}: {tier.name} until {until_ms}")
        self.session.except_person(
            sanctuary, person, tier, self.now_ns, self.now_ms, until_ms=until_ms
        )
        self.talk()

    # ── the end of the run ───────────────────────────────────────────────────────────────────────

    def twin(self) -> Person:
        twin = Member(
            self.world,
            f"{self.name}-too",
            self.keyring,
            self.random,
            self.rooms,
            skew_ms=self.skew_ms,
            verifies=False,
        )
        twin.follows = self.follows
        for sanctuary in self.rooms:
            twin.say_follows(sanctuary)
        twin.twin_of = self
        return twin

    def pending(self) -> list[str]:
        missing: list[str] = []
        if not self.session.is_ready:
            missing.append(f"{self.name} has no session")
        connection = self.connection
        for sanctuary in self.rooms:
            where = self.world.oracle.name(sanctuary)
            if connection is not None and sanctuary not in connection.seats:
                missing.append(f"{self.name} has no seat in the {where}")
        for sanctuary in self.voice:
            seat = self.session.seats.get(sanctuary)
            if seat is not None and seat.speak and not seat.is_open:
                missing.append(f"{self.name} has no strand in {self.world.oracle.name(sanctuary)}")
        missing += [
            f"{self.name}'s record {each.counter} is in flight (acted {each.is_acted}, "
            f"recorded {each.is_recorded})"
            for each in self.session.chain.in_flight.values()
        ]
        if not missing:
            missing = super().pending()
        return missing

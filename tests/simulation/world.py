"""The whole city in one process on virtual time: a seed in, a verdict out.

The seed first draws the faults, then the people and everything they do. Twelve seconds of trouble,
then calm; by the deadline everyone must have converged, and fresh viewers must see what the old ones
hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any

import msgspec

from shared.client.core import decode_frame
from shared.contracts import Audience, Kind, ServerMessage, SigBatch, StatePage, Tier
from shared.identifiers import slot_of
from shared.subjects import Ask
from tests.simulation import city
from tests.simulation.bindings import GatewayNode, make_nodes
from tests.simulation.faults import CALM_NS, draw_faults
from tests.simulation.laws import (
    LATE_MS,
    AdmittedOnce,
    BeyondTheLimit,
    Converges,
    InEqualsOut,
    Law,
    LiveGrant,
    NothingAfterStruck,
    OrderWithinStrand,
    ReceivedOnce,
    SnapshotPlusEvents,
    StaysUnsaid,
)
from tests.simulation.node import Node
from tests.simulation.oracle import Broken, Connection, Oracle
from tests.simulation.people import Member, Person
from tests.simulation.plans import populate
from tests.simulation.post import Post
from tests.simulation.schedule import MS, S, Schedule
from tests.simulation.sockets import Socket

POLICY_SHARE = 0.15
"""Of the seeds: a room's policy changes, and its strands end as `interrupted`."""
CONVERGED_BY_NS = 17 * S
"""Five seconds of calm: silence is noticed after 3 s, a strand without seal ends after 2.5 s. Then
fresh viewers come, and a seed ends before 20 s."""


class World:
    """One seed's city. `run` raises `Broken`."""

    def __init__(self, seed: int, *, say: Callable[[str], None] | None = None) -> None:
        city.remember_signatures()
        self.seed = seed
        self.step = 0
        self._say = say
        self.random = Random(f"{seed}/world")
        self.bytes_random = Random(f"{seed}/bytes")
        fanouts = 2 if Random(f"{seed}/fanouts").random() < 0.25 else 1
        names = ["registry-0", "sanctuary-0", "ingest-0", "gateway-0", "gateway-1"]
        names += [f"fanout-{ordinal}" for ordinal in range(fanouts)]
        people = [*city.CITIZENS, *city.VIEWERS, *city.PASSERS_BY]
        self.faults = draw_faults(Random(f"{seed}/faults"), names, people)
        self.schedule = Schedule()
        self.post = Post(self.schedule, self.faults, Random(f"{seed}/post"))
        plan = Random(f"{seed}/plan")
        self.policies = {
            policy.sanctuary: policy
            for policy in (
                city.commons_policy(close_limit=plan.choice((50, 50, 50, 4))),
                city.stage_policy(plan.choice((Tier.FULL, Tier.FULL, Tier.FULL, Tier.COARSE))),
            )
        }
        self.fanouts = fanouts
        self._fanout_of = {
            sanctuary: f"fanout-{slot_of(sanctuary) % fanouts}" for sanctuary in self.policies
        }
        self._epochs: dict[tuple[str, int], int] = {}
        self.oracle = Oracle(self.policies, city.charter()[0])
        for sanctuary, policy in self.policies.items():
            self.oracle.names[sanctuary] = policy.name.lower()
        self.in_equals_out = InEqualsOut(self.oracle)
        self.snapshot_law = SnapshotPlusEvents(self.oracle)
        self.laws: tuple[Law, ...] = (
            LiveGrant(self.oracle, self.fanout_times_ms),
            StaysUnsaid(self.oracle, lambda sanctuary: self.fanout_times_ms(sanctuary)[0]),
            BeyondTheLimit(self.oracle),
            NothingAfterStruck(self.oracle),
            AdmittedOnce(self.oracle),
            OrderWithinStrand(self.oracle),
            ReceivedOnce(self.oracle),
            self.in_equals_out,
            self.snapshot_law,
        )
        self._hearing = tuple(law for law in self.laws if type(law).published is not Law.published)
        self._watching = tuple(law for law in self.laws if type(law).writes is not Law.writes)
        self.connections: list[Connection] = []
        self.sockets: list[Socket] = []
        self.nodes: dict[str, Node] = {node.name: node for node in make_nodes(self)}
        self.people: list[Person] = populate(self, plan)
        self._decoded: dict[bytes, list[ServerMessage]] = {}
        self.delivered = 0

    # ── clocks and randomness ────────────────────────────────────────────────────────────────────

    @property
    def wall_ms(self) -> int:
        return city.BEGAN_MS + self.schedule.now_ns // MS

    def fanout_times_ms(self, sanctuary: bytes) -> tuple[int, ...]:
        """Now, and the earliest time at which what is written now may have been judged."""
        now_ms = self.nodes[self._fanout_of[sanctuary]].now_ms
        return (now_ms, now_ms - LATE_MS)

    def fanout_of(self, sanctuary: bytes) -> str:
        return self._fanout_of[sanctuary]

    def take_epoch(self, service: str, slot: int) -> int:
        """The next revision of a slot's key in the service's bucket."""
        epoch = self._epochs[service, slot] = self._epochs.get((service, slot), 0) + 1
        return epoch

    @property
    def fanout_now_ms(self) -> int:
        return self.nodes["fanout-0"].now_ms

    def fanout_now_s(self, sanctuary: bytes) -> int:
        return self.nodes[self.fanout_of(sanctuary)].now_ms // 1000

    @property
    def citizens(self) -> list[Member]:
        return [person for person in self.people if person.name in city.CITIZENS]  # type: ignore[misc]

    # ── what is so, for `pending` ────────────────────────────────────────────────────────────────

    def tier_now(
        self, connection: Connection, citizen: bytes, sanctuary: bytes, audience: Audience
    ) -> int | None:
        """The tier that this audience must be shown; None while an expiry changes it about now."""
        state = self.oracle.chain(citizen).states[-1]
        now_ms = self.nodes[self.fanout_of(sanctuary)].now_ms
        tiers = {
            state.tier_in(
                self.policies[sanctuary], audience, connection.citizen, at_ms, self.oracle.tier_max
            )
            for at_ms in (now_ms, now_ms - LATE_MS)
        }
        return tiers.pop() if len(tiers) == 1 else None

    def fell_lately(self, connection: Connection, sanctuary: bytes, citizen: bytes) -> bool:
        """Whether an expiry or a room that closed took something away in the last 12 s."""
        if self.policies[sanctuary].close_limit < len(city.CITIZENS):
            return True
        if len(self.oracle.rules[sanctuary]) > 1:
            return True
        state = self.oracle.chain(citizen).states[-1]
        now_ms = self.nodes[self.fanout_of(sanctuary)].now_ms
        audience = Audience.PUBLIC if connection.watches is not None else Audience.MEMBERS
        tiers = [
            state.tier(
                self.policies[sanctuary],
                audience,
                connection.citizen,
                now_ms - ago_s * 1000,
                self.oracle.tier_max,
            )
            for ago_s in range(13)
        ]
        return max(tiers) > tiers[0]

    def closed_to_sight(self, sanctuary: bytes) -> bool | None:
        """Whether a commons has outgrown seeing everybody; None between the two limits."""
        policy = self.policies[sanctuary]
        if policy.kind is not Kind.COMMONS:
            return False
        speaking = {
            truth.citizen
            for truth in self.oracle.strands.values()
            if truth.sanctuary == sanctuary and truth.ended is None
        }
        if len(speaking) > policy.close_limit:
            return True
        return False if len(speaking) <= policy.close_back else None

    def learn(self, member: Member) -> None:
        """Consent records are known to the oracle from the moment they are signed."""
        for each in member.session.chain.in_flight.values():
            if each.signed is not None:
                self.oracle.signs(each.signed)

    def trace(self, who: str, what: object) -> None:
        if self._say is not None:
            self._say(f"{self.schedule.now_ns / S:9.4f} {who:12} {what}")

    @property
    def traces(self) -> bool:
        return self._say is not None

    # ── what nodes do ────────────────────────────────────────────────────────────────────────────

    def says(self, person: Person, message: msgspec.Struct) -> None:
        self.trace(person.name, f"→ {brief(message)}")

    def publish(self, node: Node, subject: str, event: msgspec.Struct) -> None:
        self.step += 1
        self.oracle.now_ns = self.schedule.now_ns
        if self._say is not None:
            self.trace(node.name, f"→ {subject} {brief(event)}")
        for law in self._hearing:
            law.published(node.name, subject, event)
        if isinstance(event, SigBatch):
            self.oracle.sig(event)
        else:
            self.oracle.published(subject, event)
        self.post.publish(node, subject, event)

    def ask(self, node: Node, ask: Ask) -> None:
        self.step += 1
        if self._say is not None:
            self.trace(node.name, f"? {ask.subject} {brief(ask.event)}")
        self.post.ask(node, ask)

    def replies(self, node: Node, event: msgspec.Struct) -> None:
        self.step += 1
        if self._say is not None:
            self.trace(node.name, f"! {brief(event)}")
        if isinstance(event, StatePage):
            for state in event.states:
                self.oracle.stated(state)

    def writes(self, node: Node, socket: Socket, frame: bytes) -> None:
        """A gateway hands a frame to the kernel: the moment at which the laws judge a delivery."""
        self.step += 1
        connection = socket.connection
        if not socket.is_open:
            return
        messages = self._decoded.get(frame)
        if messages is None:
            if len(self._decoded) > 2000:
                self._decoded.clear()
            messages = self._decoded[frame] = decode_frame(frame)
        for message in messages:
            if self._say is not None:
                self.trace(node.name, f"⇒ {connection} {brief(message)}")
            self.delivered += 1
            for law in self._watching:
                law.writes(connection, message)
            connection.screen.show(message)
            self.oracle.wrote(connection, message)
        socket.to_client(frame)

    # ── what people do ───────────────────────────────────────────────────────────────────────────

    def connect(self, person: Person, gateway: str, *, watches: bytes | None) -> Socket | None:
        node = self.nodes[gateway]
        assert isinstance(node, GatewayNode)
        if not node.is_up:
            return None
        connection = Connection(len(self.connections), person.name, gateway, watches=watches)
        self.connections.append(connection)
        socket = Socket(
            self.schedule, self.random, client=person, server=node, connection=connection
        )
        self.sockets.append(socket)
        node.accept(socket)
        return socket

    # ── the run ──────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Play the seed. Raises: Broken."""
        self._plan_faults()
        for node in self.nodes.values():
            self.schedule.at(self.random.randint(0, 50 * MS), node.start)
        for person in self.people:
            person.begin()
        self.schedule.run(CALM_NS)
        self.post.be_calm()
        self.trace("world", "calm")
        at_ns = CALM_NS
        missing = ["nothing was looked at"]
        while at_ns < CONVERGED_BY_NS and missing:
            at_ns += 250 * MS
            self.schedule.run(at_ns)
            missing = self.pending()
            for truth in self.oracle.strands.values():
                truth.settled = truth.expected
        if missing:
            raise Broken(Converges.name, "; ".join(missing))
        self.trace("world", "converged")
        self.oracle.settles_policies()
        for person in self.people:
            person.quiet()
        self.schedule.run(at_ns + 1_200 * MS)
        fresh = [person.twin() for person in self.people]
        for person in fresh:
            person.begin()
        self.schedule.run(at_ns + 2_600 * MS)
        self._compare(fresh)
        self.in_equals_out.at_the_end()

    def _plan_faults(self) -> None:
        schedule = self.schedule
        for outage in self.faults.crashes:
            node = self.nodes[outage.instance]
            schedule.at(outage.at_ns, node.crash)
            schedule.at(outage.at_ns + outage.for_ns, node.start_unless_up)
        for outage in self.faults.stalls:
            node = self.nodes[outage.instance]
            schedule.at(outage.at_ns, partial(node.stall, outage.for_ns))
        for at_ns in self.faults.cuts:
            schedule.at(at_ns, self._cut_one)
        random = Random(f"{self.seed}/policy")
        if random.random() < POLICY_SHARE:
            at_ns = random.randint(3, 9) * S
            schedule.at(at_ns, partial(self._change_policy, random))
        for outage in self.faults.slow:
            person = next(each for each in self.people if each.name == outage.instance)
            schedule.at(outage.at_ns, partial(person.stop_reading, outage.for_ns))

    def _change_policy(self, random: Random) -> None:
        """The operator edits a room's seed and starts sanctuary again: what a tier or the number of
        those who are seen may be, becomes another.
        """
        before = random.choice(tuple(self.policies.values()))
        if before.kind is Kind.COMMONS:
            close_limit = 4 if before.close_limit > len(city.CITIZENS) else 50
            policy = city.commons_policy(close_limit)
        else:
            tier_max = Tier.COARSE if before.tier_max is Tier.FULL else Tier.FULL
            policy = city.stage_policy(tier_max)
        self.trace("world", f"changes the {policy.name.lower()}'s policy")
        self.oracle.now_ns = self.schedule.now_ns
        self.policies[policy.sanctuary] = policy
        self.oracle.changes_policy(policy)
        keeper = self.nodes["sanctuary-0"]
        keeper.crash()
        self.schedule.after(random.randint(20, 800) * MS, keeper.start_unless_up)

    def _cut_one(self) -> None:
        alive = [socket for socket in self.sockets if socket.is_open]
        if alive:
            socket = self.random.choice(alive)
            self.trace("world", f"cuts {socket.connection}")
            socket.cut()

    # ── convergence ──────────────────────────────────────────────────────────────────────────────

    def pending(self) -> list[str]:
        """In words, what is missing for the city to have converged; empty when it has."""
        missing: list[str] = []
        for person in self.people:
            missing += person.pending()
        return missing

    def _compare(self, fresh: Iterable[Person]) -> None:
        for twin in fresh:
            old = twin.twin_of
            assert old is not None
            for sanctuary in old.rooms:
                one, other = old.connection, twin.connection
                if one is None or other is None:
                    raise Broken(Converges.name, f"{twin.name} or {old.name} has no connection")
                self.snapshot_law.compare(
                    one,
                    other,
                    sanctuary,
                    is_in_the_dark=partial(self.fell_lately, one, sanctuary),
                )


def brief(event: Any) -> str:
    """One line for a trace: names and numbers, bytes cut short."""
    if isinstance(event, msgspec.Struct):
        inner = ", ".join(
            f"{name}={brief(getattr(event, name))}" for name in event.__struct_fields__
        )
        return f"{type(event).__name__}({inner})"
    if isinstance(event, bytes | msgspec.Raw):
        raw = bytes(event)
        return raw.hex()[:10] + (f"…{len(raw)}" if len(raw) > 5 else "")
    if isinstance(event, tuple | list):
        return "[" + ", ".join(brief(each) for each in event) + "]"
    return str(event)

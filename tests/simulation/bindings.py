"""Each service's core as its shell drives it: how it is made, what it hears, its effects of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from services.fanout.core import Router
from services.gateway.core import Close, Cut, Form, Gateway, Ping, Write, WriteMany
from services.gateway.settings import GatewaySettings
from services.ingest.core import Core as Ingest
from services.ingest.core import Superseded
from services.ingest.settings import IngestSettings
from services.registry.core import Append, Limits, Registry
from services.sanctuary.core import Limits as SanctuaryLimits
from services.sanctuary.core import RoomSeed, Sanctuary
from shared import subjects
from shared.identifiers import SanctuaryId, SessionId
from tests.simulation import city
from tests.simulation.node import Input, Node
from tests.simulation.schedule import MS
from tests.simulation.sockets import Socket

if TYPE_CHECKING:
    from tests.simulation.world import World

ORIGIN = "http://sim"


class RegistryNode(Node):
    """The registry, with its disk: what is durable outlives it."""

    def __init__(self, world: World, service: str, ordinal: int) -> None:
        super().__init__(world, service, ordinal)
        self.stored: list[Append] = []
        """In the order in which it became durable."""
        self._durable_ns: dict[str, int] = {}
        self._acknowledged_ns: dict[str, int] = {}

    def make(self) -> Any:
        registry = Registry(
            self.name,
            charter=city.charter()[1],
            epoch=self.life,
            random_bytes=self.world.bytes_random.randbytes,
            limits=Limits(),
        )
        for stream in ("identity", "consent"):
            for each in self.stored:
                if each.stream == stream:
                    citizen = bytes.fromhex(each.subject.rpartition(".")[2])
                    registry.load(stream, citizen, each.payload, self.now_ms)
        return registry

    def patterns(self) -> tuple[str, ...]:
        return ("ask.registry.*", "control.*")

    def carry_out(self, effect: Any, answer: Callable[[Any], None] | None) -> None:
        if not isinstance(effect, Append):
            super().carry_out(effect, answer)
            return
        life, world = self.life, self.world
        now_ns = world.schedule.now_ns
        most_ns = world.faults.append_delay_ns_max
        durable_ns = now_ns + world.random.randint(100_000, most_ns)
        # appends to one citizen keep their order
        durable_ns = max(durable_ns, self._durable_ns.get(effect.subject, 0) + 1)
        self._durable_ns[effect.subject] = durable_ns

        def durable() -> None:
            if self.life != life:
                return  # its connection died with it before the disk had this
            held = sum(1 for each in self.stored if each.subject == effect.subject)
            first = 0 if effect.stream == "identity" else 1
            assert effect.number == held + first, "the stream refuses a wrong sequence"
            self.stored.append(effect)
            world.oracle.durable[effect.subject] = held + 1
            world.trace(self.name, f"disk holds {effect.subject} {effect.number}")

        def acknowledge() -> None:
            if self.life == life:
                self.give(partial(self.core.appended, effect.token))

        world.schedule.at(durable_ns, durable)
        acknowledged_ns = durable_ns + world.random.randint(100_000, 2 * MS)
        acknowledged_ns = max(acknowledged_ns, self._acknowledged_ns.get(effect.subject, 0) + 1)
        self._acknowledged_ns[effect.subject] = acknowledged_ns
        world.schedule.at(acknowledged_ns, acknowledge)


class IngestNode(Node):
    flushes = True

    def make(self) -> Any:
        return Ingest(
            self.name,
            IngestSettings(),
            epochs=self.take_epochs(),
            challenge=self.world.bytes_random.randbytes(16),
        )

    def patterns(self) -> tuple[str, ...]:
        slots = self.slots()
        return (
            *(subjects.up(slot) for slot in slots),
            *(subjects.member(slot) for slot in slots),
            *(subjects.ask(subjects.INGEST, slot) for slot in slots),
            "control.registry-0",
        )

    def attempt(self, take: Input, now_ns: Any, now_ms: Any) -> Iterable[Any]:
        try:
            return super().attempt(take, now_ns, now_ms)
        except Superseded:
            self.world.trace(self.name, "is superseded")
            self.crash()
            self.world.schedule.after(50 * MS, self.start_unless_up)
            return ()


class FanoutNode(Node):
    flushes = True

    def make(self) -> Any:
        return Router(
            instance=self.name,
            ordinal=self.ordinal,
            replicas=self.world.fanouts,
            epochs=self.take_epochs(),
            random_bytes=self.world.bytes_random.randbytes,
        )

    def patterns(self) -> tuple[str, ...]:
        slots = self.slots()
        return (
            *(f"sig.*.{slot}" for slot in slots),
            *(subjects.member(slot) for slot in slots),
            *(subjects.interest(slot) for slot in slots),
            *(subjects.ask(subjects.FANOUT, slot) for slot in slots),
            "control.*",
        )

    def slots(self) -> tuple[int, ...]:
        return tuple(slot for slot in super().slots() if slot % self.world.fanouts == self.ordinal)


class GatewayNode(Node):
    flushes = True

    def __init__(self, world: World, service: str, ordinal: int) -> None:
        super().__init__(world, service, ordinal)
        self._sockets: dict[SessionId, Socket] = {}
        self._sessions: dict[Socket, SessionId] = {}
        self._writes_max = world.random.choice((2, 5, 200))
        """Writes in a slice of a sweep; between two slices anything may arrive."""

    def make(self) -> Any:
        return Gateway(
            GatewaySettings(),
            gateway=self.name,
            random_bytes=self.world.bytes_random.randbytes,
        )

    def patterns(self) -> tuple[str, ...]:
        return (subjects.edge(self.name), subjects.back(self.name), "control.*")

    def crash(self) -> None:
        was_up = self.is_up
        super().crash()
        if was_up:
            sockets = list(self._sessions)
            self._sockets.clear()
            self._sessions.clear()
            for socket in sockets:
                socket.cut()

    # ── its door ─────────────────────────────────────────────────────────────────────────────────

    def accept(self, socket: Socket) -> None:
        life = self.life

        def take(now_ns: Any, now_ms: Any) -> Iterable[Any]:
            core: Gateway = self.core
            if not socket.is_open:
                return []
            if core.city is None:
                socket.close(by_client=False)
                return []
            watches = socket.connection.watches
            session, effects = core.connected(
                now_ns,
                now_ms,
                address="127.0.0.1",
                origin=ORIGIN,
                form=Form.MESSAGEPACK,
                watch=None if watches is None else SanctuaryId(watches),
            )
            self._sockets[session] = socket
            self._sessions[socket] = session
            socket.connection.session = session
            return effects

        assert self.life == life
        self.give(take)

    def frame(self, socket: Socket, payload: bytes) -> None:
        def take(now_ns: Any, now_ms: Any) -> Iterable[Any]:
            core: Gateway = self.core
            session = self._sessions.get(socket)
            return [] if session is None else core.frame(session, payload, now_ns, now_ms)

        self.give(take)

    def lost(self, socket: Socket, code: int | None) -> None:
        def take(now_ns: Any, now_ms: Any) -> Iterable[Any]:
            core: Gateway = self.core
            session = self._sessions.pop(socket, None)
            if session is None:
                return []
            del self._sockets[session]
            return core.closed(session, now_ns)

        self.give(take)

    # ── its writes ───────────────────────────────────────────────────────────────────────────────

    def flush(self, now_ns: Any, now_ms: Any) -> None:
        super().flush(now_ns, now_ms)
        if not self.core.wants_sweep:
            return
        for effect in self.core.sweep(self._writes_max):
            self.carry_out(effect, None)
        if self.core.wants_sweep:
            self.want_turn_soon()

    def carry_out(self, effect: Any, answer: Callable[[Any], None] | None) -> None:
        match effect:
            case Write():
                self._write(effect.session, effect.payload)
            case WriteMany():
                for session in effect.sessions:
                    self._write(session, effect.payload)
            case Close():
                socket = self._sockets.pop(effect.session, None)
                if socket is not None:
                    del self._sessions[socket]
                    self.world.trace(self.name, f"closes {socket.connection} ({effect.code.name})")
                    socket.close(by_client=False, code=effect.code)
            case Cut():
                socket = self._sockets.pop(effect.session, None)
                if socket is not None:
                    del self._sessions[socket]
                    self.world.trace(self.name, f"cuts {socket.connection}")
                    socket.cut()
            case Ping():
                pass
            case _:
                super().carry_out(effect, answer)

    def _write(self, session: SessionId, payload: bytes) -> None:
        socket = self._sockets.get(session)
        if socket is None:
            return
        if socket.is_full:
            self.core.took_nothing(session)
            return
        self.world.writes(self, socket, payload)
        if socket.is_blocked:
            self.core.paused(session)

    def unblocked(self, socket: Socket) -> None:
        def take(now_ns: Any, now_ms: Any) -> Iterable[Any]:
            core: Gateway = self.core
            session = self._sessions.get(socket)
            if session is not None:
                core.resumed(session)
            return []

        self.give(take)


class SanctuaryNode(Node):
    def make(self) -> Any:
        return Sanctuary(
            self.name,
            slots=self.take_epochs(),
            seeds=tuple(RoomSeed(policy) for policy in self.world.policies.values()),
            limits=SanctuaryLimits(),
        )

    def patterns(self) -> tuple[str, ...]:
        slots = self.slots()
        return (*(subjects.ask(subjects.SANCTUARY, slot) for slot in slots), "control.*")


def make_nodes(world: World) -> list[Node]:
    """The city's instances, in the order in which `synchronia up` starts them."""
    return [
        RegistryNode(world, subjects.REGISTRY, 0),
        SanctuaryNode(world, subjects.SANCTUARY, 0),
        IngestNode(world, subjects.INGEST, 0),
        *(FanoutNode(world, subjects.FANOUT, ordinal) for ordinal in range(world.fanouts)),
        GatewayNode(world, subjects.GATEWAY, 0),
        GatewayNode(world, subjects.GATEWAY, 1),
    ]

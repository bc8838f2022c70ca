"""The laws, one class each. Every one watches every publication and every written message.

A law raises `Broken` with its name and a sentence; the world adds the seed, the step and the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from shared import codec
from shared.contracts import (
    Admitted,
    Answers,
    Coarse,
    MemberBatch,
    MemberFollows,
    NumbersSkipped,
    Released,
    SampleShown,
    Seal,
    Sealed,
    SealShown,
    ServerMessage,
    SigBatch,
    Skipped,
    StrandEnded,
    StrandShown,
    Tier,
    WindowSealed,
)
from tests.simulation.oracle import Broken, Connection, Oracle
from tests.simulation.screen import StrandSeen, seq_of

COARSE_RETURNS_NS = 12_000_000_000
"""Coarse begins again 10 s after a narrowing, on the room's tick."""
LATE_MS = 1_500
"""An expiry acts by fanout's own timer: what was on its way to a socket for longer than 1 s, and
0.5 s of bus, is late."""
TRANSIT_MS = 400
"""From a publication to its receiver the bus takes at most 150 ms, and as long again if it repeats."""
OfStrand = SampleShown | SealShown | Skipped | StrandEnded
"""What a connection may get of a strand only while it is shown."""


class Law:
    """Watches; raises `Broken` when it does not hold."""

    name: ClassVar[str]

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    def published(self, sender: str, subject: str, event: object) -> None:
        """Something was published, before anybody has it."""

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        """A gateway writes a message to a socket; the screen does not show it yet."""

    def broken(self, what: str) -> Broken:
        return Broken(self.name, what)


class LiveGrant(Law):
    name = "no signature reaches anyone without a live grant"

    def __init__(self, oracle: Oracle, times_ms: Callable[[bytes], tuple[int, ...]]) -> None:
        super().__init__(oracle)
        self._times_ms = times_ms
        """Sanctuary → the wall times at which its fanout may have judged what is written now."""

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        match message:
            case StrandShown():
                self._judge(connection, message.citizen, message.sanctuary, Tier.FULL, message)
            case SampleShown() | SealShown() | Skipped() | StrandEnded() | Released():
                truth = self.oracle.strands.get(message.strand)
                if truth is None:
                    raise self.broken(f"{connection} is shown a strand that ingest never published")
                self._judge(connection, truth.citizen, truth.sanctuary, Tier.FULL, message)
            case Coarse():
                whose = self.oracle.pseudonyms.get(message.pseudonym)
                if whose is None or whose[1] != message.sanctuary:
                    raise self.broken(f"{connection} is shown a pseudonym of no segment table")
                self._judge(connection, *whose, Tier.COARSE, message)
            case _:
                pass

    def _judge(
        self,
        connection: Connection,
        citizen: bytes,
        sanctuary: bytes,
        tier: Tier,
        message: ServerMessage,
    ) -> None:
        lawful = self.oracle.tier_lawful(connection, citizen, sanctuary, self._times_ms(sanctuary))
        if lawful < tier:
            chain = self.oracle.chain(citizen)
            raise self.broken(
                f"{type(message).__name__} of {self.oracle.name(citizen)} in "
                f"{self.oracle.name(sanctuary)} to {connection}: {tier.name}, lawful is "
                f"{Tier(lawful).name} (recorded {chain.recorded}, acted {chain.acted}, seated "
                f"{(connection.session, sanctuary) in self.oracle.seats})"
            )


class StaysUnsaid(Law):
    name = "what was said out of somebody's sight stays out of it"

    def __init__(self, oracle: Oracle, fanout_now_ms: Callable[[bytes], int]) -> None:
        super().__init__(oracle)
        self._fanout_now_ms = fanout_now_ms

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        """Fresh bytes are for `LiveGrant`; what is older must have been meant for them in its time."""
        if not isinstance(message, SampleShown | StrandShown) or message.body is None:
            return
        said = self.oracle.said.get(message.body)
        if said is None:
            raise self.broken(f"{connection} is shown a sample that ingest never published")
        said_ns, citizen, sanctuary = said
        if self.oracle.now_ns - said_ns <= TRANSIT_MS * 1_000_000:
            return
        meant = self.oracle.tier_meant(
            connection,
            message.body,
            late_ms=TRANSIT_MS,
            fanout_now_ms=self._fanout_now_ms(sanctuary),
        )
        if meant < Tier.FULL:
            raise self.broken(
                f"{type(message).__name__} to {connection} with a sample of "
                f"{self.oracle.name(citizen)} from {said_ns / 1e9:.4f} s, when "
                f"{Tier(meant).name} was the most"
            )


class BeyondTheLimit(Law):
    name = "beyond the limit one sees whom one follows, and nobody else"

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(oracle)
        self._followed: dict[tuple[bytes, bytes], set[bytes]] = {}
        """(session, sanctuary) → everybody whom it ever said it follows: the end of a wish takes
        as long as a leave."""

    def published(self, sender: str, subject: str, event: object) -> None:
        if isinstance(event, MemberBatch):
            for each in event.events:
                if isinstance(each, MemberFollows):
                    seat = (each.session, each.sanctuary)
                    self._followed.setdefault(seat, set()).update(each.followed)

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        whose: tuple[bytes, bytes] | None = None
        match message:
            case StrandShown():
                whose = (message.citizen, message.sanctuary)
            case SampleShown():
                truth = self.oracle.strands.get(message.strand)
                whose = None if truth is None else (truth.citizen, truth.sanctuary)
            case Coarse() if message.cell is not None:
                whose = self.oracle.pseudonyms.get(message.pseudonym)
            case _:
                pass
        if whose is None or connection.citizen is None:
            return
        citizen, sanctuary = whose
        room = connection.screen.rooms.get(sanctuary)
        followed = self._followed.get((connection.session, sanctuary), ())
        if room is not None and not room.is_close and citizen not in followed:
            raise self.broken(
                f"{connection} is shown {self.oracle.name(citizen)} ({type(message).__name__}), "
                "whom it does not follow"
            )


class NothingAfterStruck(Law):
    name = "nothing after struck"

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        screen = connection.screen
        if not screen.struck:
            return
        match message:
            case SampleShown() | SealShown() | Skipped() | StrandEnded():
                if message.strand in screen.strands:
                    return
                truth = self.oracle.strands.get(message.strand)
                if truth is not None and (truth.sanctuary, truth.citizen) in screen.struck:
                    raise self.broken(
                        f"{type(message).__name__} of {self.oracle.name(truth.citizen)} to "
                        f"{connection} behind struck"
                    )
            case Coarse():
                if (message.sanctuary, message.pseudonym) in screen.struck:
                    raise self.broken(f"a struck or absent pseudonym came back to {connection}")
            case _:
                pass


class OrderWithinStrand(Law):
    name = "order within a strand"

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(oracle)
        self._seals: dict[tuple[int, bytes], int] = {}

    def published(self, sender: str, subject: str, event: object) -> None:
        if not isinstance(event, SigBatch):
            return
        next_seqs: dict[bytes, int] = {}
        for entry in event.entries:
            if not isinstance(entry, Admitted):
                continue
            strand = event.strands[entry.row].strand
            truth = self.oracle.strands.get(strand)
            expected = next_seqs.get(strand, truth.expected if truth is not None else 0)
            known = truth is not None and entry.seq in truth.admitted
            if entry.seq < expected and not known and next_seqs.get(strand) is None:
                raise self.broken(f"{sender} admits {entry.seq} behind {expected - 1}")
            next_seqs[strand] = entry.seq + 1

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        match message:
            case SampleShown() | Skipped():
                seen = connection.screen.strands.get(message.strand)
                if seen is None:
                    return
                first = message.first if isinstance(message, Skipped) else seq_of(message.body)
                if seen.ended is not None:
                    raise self.broken(f"{connection} gets {first} behind the end of its strand")
                delivered = connection.screen.delivered.get(message.strand, ())
                if first < seen.expected and first not in delivered:
                    raise self.broken(
                        f"{connection} gets {type(message).__name__} {first} of "
                        f"{self.oracle.name(seen.citizen)} behind {seen.expected - 1}"
                    )
            case SealShown():
                window = codec.decode(message.record.payload, Seal).window
                key = (connection.number, message.strand)
                if window < self._seals.get(key, 0):
                    raise self.broken(f"{connection} gets the seal of window {window} late")
                self._seals[key] = window
            case _:
                pass


class AdmittedOnce(Law):
    name = "no sample admitted twice"

    def published(self, sender: str, subject: str, event: object) -> None:
        if not isinstance(event, SigBatch):
            return
        here: set[tuple[bytes, int]] = set()
        for entry in event.entries:
            if not isinstance(entry, Admitted):
                continue
            strand = event.strands[entry.row].strand
            truth = self.oracle.strands.get(strand)
            if (strand, entry.seq) in here or (truth is not None and entry.seq in truth.admitted):
                raise self.broken(f"{sender} admits {entry.seq} of {strand.hex()[:8]} again")
            here.add((strand, entry.seq))


class ReceivedOnce(Law):
    name = "nobody receives a citizen twice"

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        screen = connection.screen
        match message:
            case SampleShown():
                seq = seq_of(message.body)
                if seq in screen.delivered.get(message.strand, ()):
                    raise self.broken(f"{connection} gets number {seq} again")
                seen = screen.strands.get(message.strand)
                if seen is not None:
                    self._full_and_coarse(connection, seen)
            case Coarse():
                if message.cell is None:
                    return
                whose = self.oracle.pseudonyms.get(message.pseudonym)
                room = screen.room(message.sanctuary)
                if whose is None:
                    return
                for strand in room.strands.values():
                    if strand.citizen == whose[0] and strand.ended is None:
                        raise self.broken(
                            f"{connection} gets {self.oracle.name(whose[0])} coarse while it sees "
                            "the strand in full"
                        )
                last = room.cells.get(message.pseudonym)
                if last is not None and last[0] >= message.tick:
                    raise self.broken(f"{connection} gets two cells of one tick")
                for pseudonym, (_, cell) in room.cells.items():
                    other = self.oracle.pseudonyms[pseudonym]
                    if pseudonym != message.pseudonym and cell is not None and other == whose:
                        raise self.broken(
                            f"{connection} gets {self.oracle.name(whose[0])} under two pseudonyms"
                        )
            case _:
                pass

    def _full_and_coarse(self, connection: Connection, seen: StrandSeen) -> None:
        for pseudonym, (_, cell) in connection.screen.room(seen.sanctuary).cells.items():
            if cell is not None and self.oracle.pseudonyms[pseudonym][0] == seen.citizen:
                raise self.broken(
                    f"{connection} gets {self.oracle.name(seen.citizen)} in full while a pseudonym "
                    "of theirs is shown"
                )


class InEqualsOut(Law):
    name = "what went in equals what came out plus what was counted"

    def published(self, sender: str, subject: str, event: object) -> None:
        if isinstance(event, SigBatch):
            self._sig(sender, event)
        elif isinstance(event, Answers):
            for answer in event.entries:
                raw = bytes(answer.message)
                if raw[1:8] == b"\xa6sealed":
                    self._sealed(codec.decode(raw, Sealed))

    def _sig(self, sender: str, event: SigBatch) -> None:
        expected: dict[bytes, int] = {}
        for entry in event.entries:
            strand = event.strands[entry.row].strand
            truth = self.oracle.strands.get(strand)
            at = expected.get(strand, truth.expected if truth is not None else 0)
            match entry:
                case Admitted():
                    if entry.seq > at:
                        raise self.broken(
                            f"{sender} admits {entry.seq}; {at} to {entry.seq - 1} went unannounced"
                        )
                    expected[strand] = entry.seq + 1
                case NumbersSkipped():
                    if entry.first > at:
                        raise self.broken(
                            f"{sender} skips {entry.first}; {at} to {entry.first - 1} went "
                            "unannounced"
                        )
                    expected[strand] = entry.last + 1
                case WindowSealed():
                    seal = codec.decode(entry.record.payload, Seal)
                    end = seal.first_seq + len(seal.hashes)
                    if end > at:
                        raise self.broken(
                            f"{sender} takes the seal of window {seal.window} to {end - 1}; "
                            f"accounted are the numbers below {at}"
                        )
                    self._windows[strand, seal.window] = (seal.first_seq, end)
                case _:
                    pass

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(oracle)
        self._windows: dict[tuple[bytes, int], tuple[int, int]] = {}
        self.sealed: dict[tuple[bytes, int], tuple[int, ...]] = {}

    def _sealed(self, sealed: Sealed) -> None:
        self.sealed[sealed.strand, sealed.window] = sealed.admitted

    def at_the_end(self) -> None:
        """What the senders were told was admitted is what was admitted."""
        for (strand, window), admitted in self.sealed.items():
            span = self._windows.get((strand, window))
            truth = self.oracle.strands.get(strand)
            if span is None or truth is None:
                raise self.broken(f"window {window} is acknowledged; its seal was never published")
            true = tuple(seq for seq in range(*span) if seq in truth.admitted)
            if admitted != true:
                raise self.broken(
                    f"{self.oracle.name(truth.citizen)} was told that {admitted} of window "
                    f"{window} were admitted; {true} were"
                )

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        match message:
            case SampleShown() | Skipped():
                seen = connection.screen.strands.get(message.strand)
                if seen is None:
                    return
                first = message.first if isinstance(message, Skipped) else seq_of(message.body)
                if first > seen.expected:
                    raise self.broken(self._missing(connection, seen, first))
            case SealShown():
                seen = connection.screen.strands.get(message.strand)
                if seen is None:
                    return
                seal = codec.decode(message.record.payload, Seal)
                if seal.first_seq + len(seal.hashes) > seen.expected:
                    raise self.broken(
                        self._missing(connection, seen, seal.first_seq + len(seal.hashes))
                    )
            case StrandEnded():
                seen = connection.screen.strands.get(message.strand)
                if seen is not None and message.total not in (None, seen.expected):
                    raise self.broken(
                        f"{connection}: {self.oracle.name(seen.citizen)}'s strand ended with "
                        f"{message.total} numbers; accounted are {seen.expected}"
                    )
            case _:
                pass

    def _missing(self, connection: Connection, seen: StrandSeen, to: int) -> str:
        return (
            f"{connection} misses {seen.expected} to {to - 1} of {self.oracle.name(seen.citizen)}, "
            "unannounced"
        )


class SnapshotPlusEvents(Law):
    name = "snapshot + events == state"

    def writes(self, connection: Connection, message: ServerMessage) -> None:
        """A viewer can only follow what it was shown the beginning of."""
        match message:
            case SampleShown() | SealShown() | Skipped() | StrandEnded():
                if message.strand not in connection.screen.strands:
                    raise self.broken(
                        f"{connection} gets {type(message).__name__} of a strand that it was "
                        "never shown"
                    )
            case _:
                pass

    def compare(
        self,
        old: Connection,
        fresh: Connection,
        sanctuary: bytes,
        *,
        is_in_the_dark: Callable[[bytes], bool],
    ) -> None:
        """Two connections of one person, one since long ago, one just entered."""
        held, shown = self.state_of(old, sanctuary), self.state_of(fresh, sanctuary)
        for citizen in [key for key in {**held, **shown} if len(key) == 16]:
            # a narrowing keeps those who saw it in the dark for 10 s, and nobody else
            narrowed_ns = self.oracle.narrowed_ns.get(citizen, 0)
            if self.oracle.now_ns - narrowed_ns < COARSE_RETURNS_NS or is_in_the_dark(citizen):
                held.pop(citizen, None)
                shown.pop(citizen, None)
        if held != shown:
            differing = sorted(key for key in {**held, **shown} if held.get(key) != shown.get(key))
            sentences = "; ".join(
                f"{self.oracle.name(key)}: {_brief(held.get(key))} against {_brief(shown.get(key))}"
                for key in differing
            )
            raise self.broken(f"{old} and the fresh {fresh} differ: {sentences}")

    def state_of(self, connection: Connection, sanctuary: bytes) -> dict[bytes, tuple[object, ...]]:
        """Strand → what is held of it; citizen → the cell. (Pseudonyms differ between audiences.)"""
        room = connection.screen.room(sanctuary)
        state: dict[bytes, tuple[object, ...]] = {
            strand: seen.held() for strand, seen in room.strands.items() if seen.ended is None
        }
        for pseudonym, (_, cell) in room.cells.items():
            if cell is not None:
                state[self.oracle.pseudonyms[pseudonym][0]] = (cell,)
        return state


def _brief(held: tuple[object, ...] | None) -> str:
    if held is None:
        return "nothing"
    return "/".join(
        each.hex()[:12] + f"…{len(each)}" if isinstance(each, bytes) else str(each) for each in held
    )


class Converges(Law):
    name = "after the faults stop, everyone converges"

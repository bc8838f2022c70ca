"""Laws of ingest, for anything that citizens and the way to it may do."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.core import city as ingest_city
from services.ingest.core.admission import Rate, refusal_of
from services.ingest.core.admission import Speaker as Rates
from services.ingest.core.city import weigh
from shared import subjects
from shared.codec import ZERO_HASH, body_hash, decode, encode, seal_of, sha256
from shared.contracts import (
    Admitted,
    NumbersSkipped,
    Opened,
    OpeningsAsk,
    OpenStrand,
    RecordKind,
    Refusal,
    Refused,
    Sample,
    Samples,
    Sealed,
    SealWindow,
    SigBatch,
    Signed,
    StrandClosed,
    StrandOpened,
    WindowSealed,
)
from shared.identity import Signer, verify_record
from shared.parts import divide
from tests.support.ingest_city import CITY, ROOM, SLOT, IngestCity, Speaker, body

MS = 1_000_000


class Model:
    """What a fanout makes of batches, beginning with an answer to its question."""

    def __init__(self, city: IngestCity) -> None:
        answer = city.ask_openings()
        self.numbers = answer.numbers
        self.strands = {strand.strand: strand for strand in answer.strands}
        self.first = len(city.batches)

    def follow(self, batches: list[SigBatch]) -> dict[bytes, OpenStrand]:
        number = self.numbers["commons"]
        open_strands = dict(self.strands)
        for batch in batches[self.first :]:
            number += 1
            assert batch.number == number
            for entry in batch.entries:
                row = batch.strands[entry.row]
                strand = open_strands.get(row.strand)
                if isinstance(entry, StrandOpened):
                    assert strand is None
                    strand = OpenStrand(
                        row.strand,
                        row.citizen,
                        row.sanctuary,
                        row.epoch,
                        entry.opening,
                        next_seq=0,
                        body=None,
                        seal=None,
                    )
                assert strand is not None
                next_seq, newest, seal = strand.next_seq, strand.body, strand.seal
                match entry:
                    case Admitted():
                        assert entry.seq == next_seq
                        next_seq, newest = entry.seq + 1, entry.body
                    case NumbersSkipped():
                        assert entry.first == next_seq
                        next_seq = entry.last + 1
                    case WindowSealed():
                        seal = entry.record
                    case StrandClosed():
                        del open_strands[row.strand]
                        continue
                    case _:
                        pass
                open_strands[row.strand] = OpenStrand(
                    row.strand,
                    row.citizen,
                    row.sanctuary,
                    row.epoch,
                    strand.opening,
                    next_seq,
                    newest,
                    seal,
                )
        return open_strands


def check_strand(city: IngestCity, strand: bytes, key: bytes) -> None:
    """Every law about one strand, from what was published alone."""
    expected = 0
    admitted: dict[int, bytes] = {}
    window, first, previous = 0, 0, ZERO_HASH
    closed: StrandClosed | None = None
    for entry in city.entries(strand):
        assert closed is None, "nothing comes after the end"
        match entry:
            case Admitted():
                assert entry.seq == expected, "each number once, in order"
                assert decode(entry.body, Sample).seq == entry.seq
                admitted[entry.seq] = entry.body
                expected += 1
            case NumbersSkipped():
                assert entry.first == expected
                assert entry.last >= entry.first
                assert Refusal(entry.reason)
                expected = entry.last + 1
            case WindowSealed():
                seal = seal_of(entry.record.payload)
                assert verify_record(key, RecordKind.SEAL, CITY, entry.record)
                assert (seal.window, entry.window) == (window, window), "windows without holes"
                assert seal.first_seq == first
                assert seal.previous == previous, "each seal names the one before"
                first += len(seal.hashes)
                assert first <= expected, "what a seal covers was announced"
                for seq in range(seal.first_seq, first):
                    if seq in admitted:
                        assert body_hash(admitted[seq]) == seal.hashes[seq - seal.first_seq]
                window, previous = window + 1, sha256(entry.record.payload)
            case StrandClosed():
                closed = entry
                if entry.reason == "closed":
                    assert entry.total == expected == first
            case _:
                pass
    if closed is not None and closed.unsealed_from is not None:
        assert any(seq >= closed.unsealed_from for seq in admitted)


FATES = st.sampled_from(["good"] * 6 + ["lost", "skew", "twice", "broken", "unreadable", "jump"])
SEALS = st.sampled_from(["good"] * 6 + ["lost", "wrong hash", "wrong window", "twice"])
STEPS = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 2), FATES, st.integers(1, 40)),
    st.tuples(st.just("seal"), st.integers(0, 2), SEALS, st.integers(0, 32)),
    st.tuples(st.just("close"), st.integers(0, 2), st.just(""), st.just(0)),
    st.tuples(st.just("open"), st.integers(0, 2), st.just(""), st.just(0)),
    st.tuples(st.just("leave"), st.integers(0, 2), st.just(""), st.just(0)),
    st.tuples(st.just("enter"), st.integers(0, 2), st.just(""), st.just(0)),
    st.tuples(
        st.just("wait"), st.just(0), st.just(""), st.sampled_from([1, 100, 400, 900, 2100, 9000])
    ),
    st.tuples(st.just("ask"), st.just(0), st.just(""), st.just(0)),
)


class Run:
    """A city, three citizens and everything that came of their steps."""

    def __init__(self) -> None:
        self.speakers = [Speaker(number) for number in (1, 2, 3)]
        self.city = IngestCity(speakers=self.speakers)
        self.keys: dict[bytes, bytes] = {}
        self.key_number = 10
        self.sealed: dict[bytes, dict[int, tuple[int, ...]]] = {}
        self.model = Model(self.city)
        for speaker in self.speakers:
            self.open(speaker)

    def step(self, what: str, who: int, how: str, count: int) -> None:
        city, speaker = self.city, self.speakers[who]
        match what:
            case "say":
                self.say(speaker, how, count)
            case "seal":
                self.seal(speaker, how, min(count, len(speaker.bodies) - speaker.sealed))
            case "close":
                rest = len(speaker.bodies) - speaker.sealed
                if rest <= 32 and speaker.strand:
                    record = speaker.seal(city, rest, flags=1, total=len(speaker.bodies))
                    self.send(speaker, record, is_closing=True)
            case "open":
                self.open(speaker)
            case "leave":
                city.leave(speaker)
            case "enter":
                city.enter(speaker)
            case "wait":
                city.wait(count * MS)
            case "ask":
                self.check_model()
                self.model = Model(city)
        city.told.clear()

    def open(self, speaker: Speaker) -> None:
        self.key_number += 1
        speaker.strand_key = Signer(self.key_number.to_bytes(32, "big"))
        before = speaker.strand
        answer = self.city.open(speaker)
        if isinstance(answer, Opened):
            self.keys[answer.strand] = speaker.strand_key.public_key
            speaker.window, speaker.sealed, speaker.previous = 0, 0, ZERO_HASH
            speaker.bodies = []
        else:
            assert isinstance(answer, Refused)
            speaker.strand = before

    def say(self, speaker: Speaker, how: str, count: int) -> None:
        city, first = self.city, len(speaker.bodies)
        t_ms = city.now_ms - (40_000 if how == "skew" else 0)
        bodies = [body(first + i, t_ms) for i in range(min(count, 32))]
        if how == "broken":
            bodies[0] = body(first, t_ms, labels=(3, 1))
        if how == "jump":
            bodies = [body(first + count, t_ms)]
        if how != "jump":
            speaker.bodies += bodies
        if how == "unreadable":
            bodies[-1] = b"\xc0"
        if how != "lost" and speaker.strand:
            city.up(speaker, *[Samples(ROOM, speaker.strand, 0, tuple(bodies))] * (how == "twice"))
            city.up(speaker, Samples(ROOM, speaker.strand, 0, tuple(bodies)))
        if how == "jump":
            # the citizen's own count goes on behind the jump, as its seal will tell
            speaker.bodies += [body(first + i, t_ms) for i in range(count)] + bodies

    def seal(self, speaker: Speaker, how: str, count: int) -> None:
        if not speaker.strand or how == "lost":
            return
        city = self.city
        if how == "wrong window":
            record = speaker.seal(city, count, window=speaker.window + 1)
        elif how == "wrong hash":
            record = speaker.seal(city, count, hashes=(bytes(16),) * max(count, 1))
        else:
            record = speaker.seal(city, count)
        self.send(speaker, record)
        if how == "twice":
            city.up(speaker, SealWindow(ROOM, speaker.strand, record))

    def send(self, speaker: Speaker, record: Signed, *, is_closing: bool = False) -> None:
        city = self.city
        city.up(speaker, SealWindow(ROOM, speaker.strand, record))
        answers = [m for m in city.answers(speaker) if isinstance(m, Sealed)]
        for answer in answers:
            windows = self.sealed.setdefault(answer.strand, {})
            assert windows.setdefault(answer.window, answer.admitted) == answer.admitted
        if answers:
            speaker.took(record)
            if is_closing:
                speaker.strand = b""

    def check_model(self) -> None:
        followed = self.model.follow(self.city.batches)
        now = {strand.strand: strand for strand in self.city.ask_openings().strands}
        assert {s: _held(v) for s, v in followed.items()} == {s: _held(v) for s, v in now.items()}

    def check(self) -> None:
        self.check_model()
        for strand, key in self.keys.items():
            check_strand(self.city, strand, key)
            numbers = self.city.numbers(strand)
            for window in self.sealed.get(strand, {}).values():
                assert all(numbers[seq] == "admitted" for seq in window)
        counts = self.city.core.counts
        everything = [n for strand in self.keys for n in self.city.numbers(strand).values()]
        assert counts.admitted == everything.count("admitted")
        assert counts.lost == everything.count(Refusal.LOST)


def _held(strand: OpenStrand) -> tuple[object, ...]:
    return (strand.citizen, strand.opening, strand.next_seq, strand.body, strand.seal)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_every_number_is_announced_once_in_order_and_seals_chain(
    steps: list[tuple[str, int, str, int]],
) -> None:
    run = Run()
    for step in steps:
        run.step(*step)
    run.check()
    # the citizens fall silent: whatever was delivered and not sealed ends as such
    run.city.wait(60_000 * MS)
    run.check()
    for strand in run.city.core.book.strands.values():
        assert not strand.pending_seqs


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 300)), min_size=1, max_size=60),
    st.sampled_from([(128, 256), (10, 1), (7, 20)]),
)
def test_no_interval_admits_more_than_its_rate_and_burst(
    arrivals: list[tuple[int, int]], limits: tuple[int, int]
) -> None:
    per_s, burst = limits
    rate, speaker, now_ns = Rate(per_s, burst), Rates(), 10**12
    sample = decode(body(0, 0), Sample)
    taken: list[int] = []
    for wait_ms, count in arrivals:
        now_ns += wait_ms * MS
        for _ in range(count):
            refusal = refusal_of(
                sample,
                speaker,
                rate,
                is_derived_refused=False,
                skew_ms=1000,
                now_ns=now_ns,
                now_ms=0,
            )
            if refusal is None:
                taken.append(now_ns)
            else:
                assert refusal is Refusal.TOO_FAST
    for i, start in enumerate(taken):
        for j in range(i, len(taken)):
            allowed = burst + (taken[j] - start) * per_s // 10**9
            assert j - i + 1 <= allowed
        if i > 40:
            break


def test_openings_beyond_one_message_come_in_parts_of_one_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speakers = [Speaker(number) for number in range(1, 9)]
    city = IngestCity(speakers=speakers)
    for speaker in speakers:
        city.open(speaker)
        city.say(speaker, 3)
    whole = city.ask_openings()
    monkeypatch.setattr(ingest_city, "divide", partial(divide, bytes_max=2000))
    parts = city.receive(subjects.ask("ingest", SLOT), OpeningsAsk(SLOT))
    assert len(parts) > 1
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert {part.epoch for part in parts} == {whole.epoch}
    assert all(part.numbers == parts[0].numbers for part in parts)
    assert tuple(row for part in parts for row in part.strands) == whole.strands
    for row in whole.strands:
        assert len(encode(row)) <= weigh(row)

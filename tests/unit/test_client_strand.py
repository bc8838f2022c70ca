"""Law: whatever subset of a strand a viewer holds can be checked, and nothing false passes."""

from __future__ import annotations

import hashlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.client.core import Mood, StrandWriter, Viewer, WindowJudged, WindowState
from shared.codec import ZERO_HASH, decode_sample, encode, seal_of, sha256
from shared.contracts.client import SampleShown, SealShown, StrandEnded, StrandShown
from shared.contracts.records import SEAL_CLOSING, Opening, RecordKind, Seal, Signed
from shared.contracts.sample import WINDOW_MS_MAX, WINDOW_SAMPLES_MAX
from shared.identifiers import MonotonicNs, WallMs
from shared.identity import Signer

CITY = hashlib.sha256(b"city").digest()
DEVICE = Signer(hashlib.sha256(b"device").digest())
BEGAN_MS = 1_700_000_000_000


def writer_of(seed: bytes = b"strand") -> StrandWriter:
    signer = Signer(hashlib.sha256(seed).digest())
    opening = Opening(
        sanctuary=bytes(16),
        citizen=b"c" * 16,
        policy_hash=bytes(32),
        strand_key=signer.public_key,
        device=DEVICE.public_key,
        consent_epoch=0,
        challenge=bytes(16),
        t_ms=BEGAN_MS,
    )
    signed = DEVICE.sign_record(RecordKind.OPENING, CITY, encode(opening))
    return StrandWriter(opening, signed, signer, CITY)


def shown(writer: StrandWriter) -> StrandShown:
    return StrandShown(bytes(16), writer.strand, b"c" * 16, writer.signed, 0, None, None)


def spoken(writer: StrandWriter, gaps_ms: list[int]) -> tuple[list[bytes], list[Signed]]:
    """Bodies and seals of a strand whose samples come after these gaps, closed at the end."""
    bodies: list[bytes] = []
    seals: list[Signed] = []
    now_ms = BEGAN_MS
    for number, gap_ms in enumerate(gaps_ms):
        now_ms += gap_ms
        now_ns = MonotonicNs((now_ms - BEGAN_MS) * 1_000_000)
        cuts = [writer.cut_due(now_ns, WallMs(now_ms)), writer.cut_before(WallMs(now_ms))]
        seals += [cut[1] for cut in cuts if cut is not None]
        mood = Mood(number % 1000, -(number % 1000), note="n" * (number % 5) or None)
        salt = hashlib.sha256(bytes([number % 256])).digest()[:8]
        bodies.append(writer.write(mood, WallMs(now_ms), salt, now_ns))
        cut = writer.cut_full(WallMs(now_ms))
        if cut is not None:
            seals.append(cut[1])
    seals.append(writer.close(WallMs(now_ms))[1])
    return bodies, seals


def viewer_of(writer: StrandWriter) -> Viewer:
    viewer = Viewer(CITY)
    viewer.apply(shown(writer))
    return viewer


def judged(viewer: Viewer, strand: bytes, seal: Signed) -> WindowJudged:
    result = viewer.apply(SealShown(strand, seal))
    assert result is not None
    return result


gaps = st.lists(st.integers(0, 1500), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(gaps)
def test_windows_cover_every_number_once_and_are_short(gaps_ms: list[int]) -> None:
    writer = writer_of()
    bodies, records = spoken(writer, gaps_ms)
    seals = [seal_of(record.payload) for record in records]
    numbers = [
        n for seal in seals for n in range(seal.first_seq, seal.first_seq + len(seal.hashes))
    ]
    assert numbers == list(range(len(bodies)))
    assert [seal.window for seal in seals] == list(range(len(seals)))
    assert [seal.flags for seal in seals] == [0] * (len(seals) - 1) + [SEAL_CLOSING]
    assert seals[-1].total == len(bodies)
    previous = ZERO_HASH
    for seal, record in zip(seals, records, strict=True):
        assert seal.previous == previous
        previous = sha256(record.payload)
        times = [decode_sample(bodies[seal.first_seq + i]).t_ms for i in range(len(seal.hashes))]
        assert len(times) <= WINDOW_SAMPLES_MAX
        assert not times or (times[-1] - times[0] < WINDOW_MS_MAX and seal.t_end_ms >= times[-1])


@settings(max_examples=60, deadline=None)
@given(gaps, st.randoms(use_true_random=False))
def test_any_subset_a_viewer_holds_can_be_checked(gaps_ms: list[int], dice: object) -> None:
    writer = writer_of()
    bodies, seals = spoken(writer, gaps_ms)
    held = {n for n in range(len(bodies)) if dice.random() < 0.7}  # type: ignore[attr-defined]
    viewer = viewer_of(writer)
    for number in sorted(held):
        viewer.apply(SampleShown(writer.strand, bodies[number]))
    for record in seals:
        seal = seal_of(record.payload)
        window = set(range(seal.first_seq, seal.first_seq + len(seal.hashes)))
        expected = WindowState.VERIFIED if window <= held else WindowState.INCOMPLETE
        assert judged(viewer, writer.strand, record).state is expected
    view = viewer.strand(writer.strand)
    assert view is not None
    assert not view.pending


@settings(max_examples=40, deadline=None)
@given(gaps, st.data())
def test_a_changed_body_makes_its_window_false(gaps_ms: list[int], data: st.DataObject) -> None:
    writer = writer_of()
    bodies, seals = spoken(writer, gaps_ms)
    victim = data.draw(st.integers(0, len(bodies) - 1))
    sample = decode_sample(bodies[victim])
    forged = encode(msgspec.structs.replace(sample, valence=-sample.valence - 1))
    viewer = viewer_of(writer)
    for number, body in enumerate(bodies):
        viewer.apply(SampleShown(writer.strand, forged if number == victim else body))
    for record in seals:
        seal = seal_of(record.payload)
        holds_victim = seal.first_seq <= victim < seal.first_seq + len(seal.hashes)
        expected = WindowState.FALSE if holds_victim else WindowState.VERIFIED
        assert judged(viewer, writer.strand, record).state is expected


def test_a_seal_by_another_key_or_of_another_city_is_false() -> None:
    writer = writer_of()
    bodies, seals = spoken(writer, [0, 10])
    other = Signer(bytes(31) + b"\x01")
    for record in (
        other.sign_record(RecordKind.SEAL, CITY, seals[0].payload),
        writer.signer.sign_record(RecordKind.SEAL, bytes(32), seals[0].payload),
        writer.signer.sign_record(RecordKind.JOIN, CITY, seals[0].payload),
    ):
        viewer = viewer_of(writer)
        for body in bodies:
            viewer.apply(SampleShown(writer.strand, body))
        assert judged(viewer, writer.strand, record).state is WindowState.FALSE


def test_a_seal_that_does_not_follow_its_predecessor_is_false() -> None:
    writer = writer_of()
    _, seals = spoken(writer, [0, 1500])
    second = seal_of(seals[1].payload)
    rewritten = encode(msgspec.structs.replace(second, previous=b"\x01" * 32))
    record = writer.signer.sign_record(RecordKind.SEAL, CITY, rewritten)
    viewer = viewer_of(writer)
    judged(viewer, writer.strand, seals[0])
    assert judged(viewer, writer.strand, record).state is WindowState.FALSE


def test_two_good_seals_for_one_window_prove_equivocation() -> None:
    writer = writer_of()
    _, seals = spoken(writer, [0])
    seal = seal_of(seals[0].payload)
    other = encode(msgspec.structs.replace(seal, t_end_ms=seal.t_end_ms + 1))
    viewer = viewer_of(writer)
    judged(viewer, writer.strand, seals[0])
    assert viewer.apply(SealShown(writer.strand, seals[0])) is None
    second = writer.signer.sign_record(RecordKind.SEAL, CITY, other)
    assert judged(viewer, writer.strand, second).state is WindowState.FALSE
    view = viewer.strand(writer.strand)
    assert view is not None
    assert view.is_equivocal


def test_an_opening_that_is_not_its_strands_or_citizens_verifies_nothing() -> None:
    writer = writer_of()
    bodies, seals = spoken(writer, [0])
    good = shown(writer)
    forged = Signed(good.opening.payload, bytes(64))
    for bad in (
        msgspec.structs.replace(good, opening=forged),
        msgspec.structs.replace(good, citizen=b"x" * 16),
        msgspec.structs.replace(good, opening=writer_of(b"other").signed),
    ):
        viewer = Viewer(CITY)
        viewer.apply(bad)
        viewer.apply(SampleShown(writer.strand, bodies[0]))
        assert judged(viewer, writer.strand, seals[0]).state is WindowState.FALSE


def test_what_was_delivered_behind_the_last_seal_is_unsealed() -> None:
    writer = writer_of()
    bodies, seals = spoken(writer, [0, 10, 1500, 10])
    viewer = viewer_of(writer)
    for body in bodies:
        viewer.apply(SampleShown(writer.strand, body))
    judged(viewer, writer.strand, seals[0])
    last = viewer.apply(StrandEnded(writer.strand, "unsealed", None, 2))
    assert last == WindowJudged(writer.strand, None, WindowState.UNSEALED, 2, 3)


def test_a_lost_answer_is_settled_by_the_next_windows() -> None:
    writer = writer_of()
    spoken(writer, [0, 1500, 1500])
    assert sorted(writer.seals) == [0, 1, 2]
    assert not writer.finished
    assert writer.taken(2, (2,))
    assert writer.finished
    assert not writer.taken(1, (1,))
    assert (writer.tally.sent, writer.tally.admitted, writer.tally.unanswered) == (3, 1, 2)


def test_the_newest_seal_is_repeated_until_it_is_answered() -> None:
    writer = writer_of()
    _, seals = spoken(writer, [0, 1500])
    at = MonotonicNs(10**12)
    assert writer.repeat_due(at) is None
    assert writer.repeat_due(MonotonicNs(at + 999_999_999)) is None
    assert writer.repeat_due(MonotonicNs(at + 10**9)) == (1, seals[1])
    writer.taken(1, ())
    assert writer.repeat_due(MonotonicNs(at + 10 * 10**9)) is None


def test_a_seal_payload_is_canonical() -> None:
    writer = writer_of()
    _, seals = spoken(writer, [0] * WINDOW_SAMPLES_MAX)
    for record in seals:
        assert encode(msgspec.msgpack.decode(record.payload, type=Seal)) == record.payload


def test_a_sample_a_second_after_the_first_belongs_to_the_next_window() -> None:
    for gap_ms, is_cut in ((WINDOW_MS_MAX - 1, False), (WINDOW_MS_MAX, True)):
        writer = writer_of()
        writer.write(Mood(0, 0), WallMs(BEGAN_MS), bytes(8), MonotonicNs(0))
        assert (writer.cut_before(WallMs(BEGAN_MS + gap_ms)) is not None) is is_cut

"""The board of `synchronia watch`: who is seen, how closely, how it arrives."""

from __future__ import annotations

from shared.client.board import SPAN_NS, Board, cell_middle
from shared.client.events import ViewerMessage
from shared.client.viewer import Viewer, WindowJudged, WindowState
from shared.codec import encode
from shared.contracts.client import (
    Coarse,
    Gap,
    SampleShown,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)
from shared.contracts.records import Signed
from shared.contracts.sample import Provenance, Sample
from shared.identifiers import MonotonicNs, SanctuaryId, WallMs

ROOM = SanctuaryId(b"r" * 16)
CITIZEN, STRAND = b"c" * 16, b"s" * 32
BEGAN_MS = WallMs(1_700_000_000_000)
S = 1_000_000_000


def body(seq: int, *, at_ms: int, valence: int = 500, arousal: int = -500) -> bytes:
    sample = Sample(
        seq, at_ms, valence, arousal, None, 1000, Provenance.SCRIPTED, (), None, bytes(8)
    )
    return encode(sample)


class Looking:
    """A board fed as the session feeds it: the viewer first, then the events."""

    def __init__(self) -> None:
        self.viewer = Viewer()
        self.board = Board(self.viewer, ROOM)
        self.ns = MonotonicNs(S)

    def hear(self, *messages: ViewerMessage, delay_ms: float = 0, after_ns: int = 0) -> None:
        self.ns = MonotonicNs(self.ns + after_ns)
        for message in messages:
            self.viewer.apply(message)
            self.board.take([message], self.ns, BEGAN_MS + delay_ms)

    def begin(self) -> None:
        opening = Signed(b"opening", bytes(64))
        shown = StrandShown(ROOM, STRAND, CITIZEN, opening, 0, None, None)
        self.hear(Snapshot(ROOM, 1, False), shown)


def test_the_middle_of_a_cell_is_a_plain_number() -> None:
    assert [cell_middle(place) for place in range(5)] == [-0.8, -0.4, 0.0, 0.4, 0.8]


def test_nothing_arrives_before_it_was_said() -> None:
    looking = Looking()
    looking.begin()
    looking.hear(SampleShown(STRAND, body(0, at_ms=BEGAN_MS + 4)))
    assert looking.board.picture(looking.ns).delay_ms_max == 0


def test_rates_and_delays_are_of_the_last_seconds_alone() -> None:
    looking = Looking()
    looking.begin()
    assert looking.board.picture(looking.ns).full == [], "nothing was said yet"
    for seq, delay_ms in enumerate((5, 7, 90)):
        looking.hear(SampleShown(STRAND, body(seq, at_ms=BEGAN_MS)), delay_ms=delay_ms, after_ns=S)
    picture = looking.board.picture(looking.ns)
    [seen] = picture.full
    assert (seen.valence, seen.arousal) == (0.5, -0.5)
    assert seen.per_s == picture.per_s == 3 / 5
    assert (picture.delay_ms_p50, picture.delay_ms_max) == (7, 90)
    later = looking.board.picture(MonotonicNs(looking.ns + SPAN_NS + 1))
    assert (later.per_s, later.delay_ms_p50) == (0, None)
    assert len(later.full) == 1, "still seen, only silent"


def test_who_is_struck_or_has_ended_is_gone() -> None:
    looking = Looking()
    looking.begin()
    looking.hear(SampleShown(STRAND, body(0, at_ms=BEGAN_MS)))
    looking.hear(Coarse(ROOM, 2**20, b"p" * 8, 24))
    assert [(b.valence, b.arousal) for b in looking.board.picture(looking.ns).coarse] == [
        (0.8, 0.8)
    ]
    looking.hear(Struck(ROOM, CITIZEN, None), Struck(ROOM, None, b"p" * 8))
    picture = looking.board.picture(looking.ns)
    assert (picture.full, picture.coarse) == ([], [])
    looking.begin()
    looking.hear(SampleShown(STRAND, body(0, at_ms=BEGAN_MS)))
    looking.hear(StrandEnded(STRAND, "closed", 1, None))
    assert looking.board.picture(looking.ns).full == []


def test_gaps_skipped_numbers_and_doubtful_windows_are_told() -> None:
    looking = Looking()
    looking.begin()
    looking.hear(SampleShown(STRAND, body(0, at_ms=BEGAN_MS)))
    looking.hear(Gap(ROOM), Skipped(STRAND, 1, 3, "lost"))
    judged = WindowJudged(STRAND, 0, WindowState.FALSE, 0, 0)
    looking.board.take([judged], looking.ns, BEGAN_MS)
    picture = looking.board.picture(looking.ns, is_connected=False)
    [seen] = picture.full
    assert (picture.gaps, seen.skipped, seen.doubtful) == (1, 3, 1)
    assert picture.object(ROOM, BEGAN_MS)["connected"] is False
    assert "not connected" in picture.line()

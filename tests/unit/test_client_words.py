"""Lines that people type, and lines that they are shown."""

from __future__ import annotations

import pytest

from shared.client.strand import Mood
from shared.client.words import LineRefused, cell_line, line_of, mood_of, sanctuary_of
from shared.codec import decode_sample
from shared.contracts.sample import VOCABULARY
from shared.identifiers import WallMs, sanctuary_of_slug, slug_of


def index(word: str) -> int:
    return VOCABULARY.index(word)


@pytest.mark.parametrize(
    ("line", "mood"),
    [
        ("0.4 -0.2", Mood(400, -200)),
        (".5 -1", Mood(500, -1000)),
        ("0.1 0.2 0.3", Mood(100, 200, dominance=300)),
        ("0.4 -0.2 a calm day", Mood(400, -200, note="a calm day")),
        ("0.4 -0.2 happy relaxed", Mood(400, -200, labels=(index("happy"), index("relaxed")))),
        ("happy", Mood(900, 300, labels=(index("happy"),))),
        ("Happy happy", Mood(900, 300, labels=(index("happy"),))),
        ("0 0 sad, it rains", Mood(0, 0, labels=(index("sad"),), note="sad, it rains")),
        ("0 0 e\u0301t\u00e9", Mood(0, 0, note="\u00e9t\u00e9")),
    ],
)
def test_a_line_is_a_mood(line: str, mood: Mood) -> None:
    assert mood_of(line) == mood


@pytest.mark.parametrize(
    "line", ["", "0.4", "1.1 0", "0 -2", "hello", "nan nan", "0 0 " + "x" * 141, "0 0 \udc80"]
)
def test_a_line_that_is_no_mood_is_refused_with_a_hint(line: str) -> None:
    with pytest.raises(LineRefused, match=r".{10,}"):
        mood_of(line)


def test_every_accepted_mood_has_a_canonical_body() -> None:
    for line in ("happy sad worried angry bored", "1 1 1 " + "ü" * 140, "-1 -1 x"):
        body = mood_of(line).body(0, WallMs(1), b"saltsalt")
        decode_sample(body)


def test_a_sanctuary_by_name_slug_or_id() -> None:
    commons = sanctuary_of_slug("emotive-commons")
    assert commons.hex() == "1d90ef631465605f2290fb7fb868ab7e"
    for text in ("Emotive Commons", "emotive-commons", " EMOTIVE  commons ", commons.hex()):
        assert sanctuary_of(text) == commons
    assert slug_of(slug_of("Open  Stage!")) == "open-stage"


def test_what_others_say_cannot_steer_the_terminal() -> None:
    mood = Mood(0, 0, note="\x1b[2J\u202eevil\n")
    line = line_of(decode_sample(mood.body(0, WallMs(1), b"saltsalt")))
    assert line.isprintable()
    assert "evil" in line


def test_a_coarse_cell_is_told_by_its_middle() -> None:
    assert cell_line(0) == "about -0.8 -0.8"
    assert cell_line(24) == "about +0.8 +0.8"
    assert cell_line(3) == "about +0.4 -0.8"
    assert cell_line(None) == "absent"

"""Recordings are read strictly, and played as they were recorded."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.story import synthetic
from load.story.recordings import (
    Moment,
    RecordingRefused,
    cues,
    natural,
    play_ms,
    rate_hz,
    read_directory,
    read_file,
    thousandths,
)

HEADER = "clip,t,valence,arousal\n"
SHIPPED = Path(synthetic.__file__).parents[1] / "recordings"


def write(directory: Path, text: str, name: str = "p.csv") -> Path:
    file = directory / name
    file.write_text(text)
    return file


def test_values_are_mapped_from_one_to_nine(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + "V1,0.15,5.000,9\nV1,1.0,1,3\n")
    recording = read_file(file)
    assert recording.person == "p"
    assert recording.clips == {"V1": (Moment(150, 0, 1000), Moment(1000, -1000, -500))}


@given(st.floats(1, 9))
def test_every_value_of_the_scale_fits(value: float) -> None:
    assert -1000 <= thousandths(value) <= 1000


def test_columns_may_stand_in_any_order_and_others_are_named(tmp_path: Path) -> None:
    text = "\ufeffHeart, Arousal ,t,valence,clip\n70,6,0,5,A\n\n71,7,1,5,A\n"
    recording = read_file(write(tmp_path, text))
    assert recording.ignored_columns == ("heart",)
    assert recording.clips["A"] == (Moment(0, 0, 250), Moment(1000, 0, 500))


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", ":1:", "header"),
        ("t,valence,arousal\n", ":1:", "header"),
        ("clip,clip,t,valence,arousal\n", ":1:", "header"),
        (HEADER, "", "nothing below"),
        (HEADER + "V1,0,5\n", ":2:", "3 fields"),
        (HEADER + "V1,0,5,5\nV1,x,5,5\n", ":3:", "t is no number"),
        (HEADER + "V1,0,9.5,5\n", ":2:", "valence is 9.5"),
        (HEADER + "V1,0,5,0.9\n", ":2:", "arousal is 0.9"),
        (HEADER + "V1,-1,5,5\n", ":2:", "t is -1"),
        (HEADER + "V1,0,nan,5\n", ":2:", "valence is nan"),
        (HEADER + "V1,0,inf,5\n", ":2:", "valence is inf"),
        (HEADER + ",0,5,5\n", ":2:", "no name"),
        (HEADER + "V1,2,5,5\nV1,1,5,5\n", ":3:", "goes back"),
        (HEADER + '"V1,2,5,5\n', ":2:", ""),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, text: str, where: str, what: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(RecordingRefused) as refused:
        read_file(file)
    assert str(refused.value).startswith(f"{file}{where}")
    assert what in str(refused.value)


def test_what_is_no_text_and_what_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordingRefused, match="UTF-8"):
        read_directory(tmp_path)
    for directory in (tmp_path / "none", write(tmp_path, "", "file.txt")):
        with pytest.raises(RecordingRefused, match="no such directory"):
            read_directory(directory)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingRefused, match=r"no \*\.csv"):
        read_directory(tmp_path / "empty")


def test_clips_play_in_their_natural_order_and_everyone_begins_each_together(
    tmp_path: Path,
) -> None:
    write(tmp_path, HEADER + "V10,0.5,5,5\nV2,0.1,5,5\nV2,3.2,5,5\n", "a.csv")
    write(tmp_path, HEADER + "V2,0.3,9,9\nV10,0.2,9,9\n", "b.csv")
    recordings = read_directory(tmp_path)
    assert play_ms(recordings) == {"V2": 4000, "V10": 1000}
    played = [(cue.at_ms, cue.person) for cue in cues(recordings, is_looped=False)]
    assert played == [(100, 0), (300, 1), (3200, 0), (4200, 1), (4500, 0)]
    looped = [cue.at_ms for cue in islice(cues(recordings, is_looped=True), 7)]
    assert looped[5:] == [5100, 5300]
    assert natural("V2") < natural("V10")


def test_the_rate_is_the_fastest_persons_median(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "".join(f"V1,{n / 10},5,5\n" for n in range(20)))
    assert rate_hz(read_directory(tmp_path)) == pytest.approx(10)


def test_the_shipped_recording_is_what_its_formula_says(tmp_path: Path) -> None:
    synthetic.write(tmp_path)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_text() for file in SHIPPED.glob("*.csv")}
    recordings = read_directory(SHIPPED)
    assert len(recordings) == synthetic.PEOPLE
    assert rate_hz(recordings) == pytest.approx(1 / synthetic.STEP_S, rel=0.01)

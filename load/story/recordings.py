"""Recordings of people: CSV files, one a person, read whole and strictly.

The first line names the columns; `clip`, `t`, `valence` and `arousal` must be there, in any order,
others are ignored. `t` is in seconds from the clip's start, ascending within a clip; valence and
arousal lie in 1…9 with 5 neutral (CEAP-360VR's scale), and become (x − 5) / 4. Clips are played in
their natural order (V1, V2, …, V10). A person's name is the file's name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

COLUMNS = ("clip", "t", "valence", "arousal")
SCALE_LOW, SCALE_HIGH, SCALE_MIDDLE, SCALE_HALF = 1.0, 9.0, 5.0, 4.0
CLIP_S_MAX = 24 * 3600.0
PEOPLE_MAX = 1000


class RecordingRefused(Exception):  # noqa: N818  (an outcome; the sentence names file and line)
    """A recording cannot be played; the sentence names file, line and what is wrong."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What somebody said at `t_ms` of the clip; valence and arousal in thousandths."""

    t_ms: int
    valence: int
    arousal: int


@dataclass(frozen=True, slots=True)
class Recording:
    person: str
    clips: dict[str, tuple[Moment, ...]]
    ignored_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cue:
    """One sample of the whole play: when (from its beginning, unhurried), whose, what."""

    at_ms: int
    person: int
    valence: int
    arousal: int


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts V2 before V10."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(p), "") if p.isdigit() else (-1, p) for p in parts)


def read_directory(directory: Path) -> list[Recording]:
    """Every `*.csv` of a directory, by name. Raises: RecordingRefused."""
    if not directory.is_dir():
        raise RecordingRefused(f"{directory}: no such directory")
    files = sorted(directory.glob("*.csv"), key=lambda file: natural(file.name))
    if not files:
        raise RecordingRefused(f"{directory}: no *.csv in it; one file a person is wanted")
    if len(files) > PEOPLE_MAX:
        raise RecordingRefused(f"{directory}: {len(files)} files, at most {PEOPLE_MAX} are played")
    return [read_file(file) for file in files]


def read_file(file: Path) -> Recording:
    """One person's recording. Raises: RecordingRefused."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecordingRefused(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordingRefused(f"{file}: not UTF-8 text") from None
    rows = csv.reader(text.splitlines(), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        places = [_place(file, header, name) for name in COLUMNS]
        clips: dict[str, list[Moment]] = {}
        for row in rows:
            if row:
                clip, moment = _moment(file, rows.line_num, row, places, len(header))
                _follow(file, rows.line_num, clips.setdefault(clip, []), moment)
    except csv.Error as error:
        raise RecordingRefused(f"{file}:{rows.line_num}: {error}") from None
    if not clips:
        raise RecordingRefused(f"{file}: a header and nothing below it")
    ignored = tuple(name for name in header if name not in COLUMNS)
    ordered = {clip: tuple(clips[clip]) for clip in sorted(clips, key=natural)}
    return Recording(file.stem, ordered, ignored)


def _place(file: Path, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        wanted = ",".join(COLUMNS)
        found = ",".join(header)[:80] or "nothing"
        raise RecordingRefused(f"{file}:1: the header must name {wanted} once each; it is {found}")
    return header.index(name)


def _moment(
    file: Path, line: int, row: list[str], places: list[int], width: int
) -> tuple[str, Moment]:
    if len(row) != width:
        raise RecordingRefused(f"{file}:{line}: {len(row)} fields where the header has {width}")
    clip, *fields = (row[place].strip() for place in places)
    if not clip:
        raise RecordingRefused(f"{file}:{line}: the clip has no name")
    numbers = []
    for name, value in zip(COLUMNS[1:], fields, strict=True):
        low, high = (0.0, CLIP_S_MAX) if name == "t" else (SCALE_LOW, SCALE_HIGH)
        try:
            number = float(value)
        except ValueError:
            raise RecordingRefused(f"{file}:{line}: {name} is no number: {value[:40]!r}") from None
        if not low <= number <= high:
            raise RecordingRefused(f"{file}:{line}: {name} is {value}, outside {low:g} to {high:g}")
        numbers.append(number)
    t_s, valence, arousal = numbers
    return clip, Moment(round(t_s * 1000), thousandths(valence), thousandths(arousal))


def _follow(file: Path, line: int, moments: list[Moment], moment: Moment) -> None:
    if moments and moment.t_ms < moments[-1].t_ms:
        raise RecordingRefused(f"{file}:{line}: t goes back within its clip")
    moments.append(moment)


def thousandths(value: float) -> int:
    """1…9 → −1000…1000: (x − 5) / 4."""
    return round((value - SCALE_MIDDLE) / SCALE_HALF * 1000)


def play_ms(recordings: list[Recording]) -> dict[str, int]:
    """Each clip's length over all people, in whole seconds, in playing order: everyone begins each
    clip together, as they were recorded.
    """
    ends: dict[str, int] = {}
    for recording in recordings:
        for clip, moments in recording.clips.items():
            ends[clip] = max(ends.get(clip, 0), moments[-1].t_ms)
    return {clip: (ends[clip] // 1000 + 1) * 1000 for clip in sorted(ends, key=natural)}


def cues(recordings: list[Recording], *, is_looped: bool) -> Iterator[Cue]:
    """Everybody's samples in the order of their times; without end if `is_looped`."""
    lengths = play_ms(recordings)
    began_ms = 0
    while True:
        for clip, length_ms in lengths.items():
            batch = [
                Cue(began_ms + moment.t_ms, person, moment.valence, moment.arousal)
                for person, recording in enumerate(recordings)
                for moment in recording.clips.get(clip, ())
            ]
            batch.sort(key=lambda cue: (cue.at_ms, cue.person))
            yield from batch
            began_ms += length_ms
        if not is_looped:
            return


def rate_hz(recordings: list[Recording]) -> float:
    """The highest median rate of any person, before `--speed`."""
    rates = []
    for recording in recordings:
        gaps = sorted(
            later.t_ms - earlier.t_ms
            for moments in recording.clips.values()
            for earlier, later in pairwise(moments)
        )
        if gaps:
            rates.append(1000 / max(1, gaps[len(gaps) // 2]))
    return max(rates, default=0.0)

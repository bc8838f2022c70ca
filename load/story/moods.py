"""How a scripted citizen feels at a moment: a pure function of seed, person and time.

Nothing is stepped or stored, so any process can tell anybody's mood at any moment, and a run can be
had again from its seed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from hashlib import blake2b

from load.story.language import Citizens, Clock
from load.story.recordings import Moment, Recording, play_ms

PEAK_HOUR = 16.0
"""Positive affect rises to the afternoon and falls to the night: Clark, Watson and Leeka, "Diurnal
variation in the positive affects" (1989)."""
CATCHING_S = 2.0
"""How long a neighbour's mood takes to be caught."""
_COARSE_SHARE, _FINE_SHARE, _FINER = 0.75, 0.25, 4.0
"""A walk is a slow wave and a fainter one, four times as quick."""

Feeling = tuple[float, float]
"""Valence and arousal, −1…1."""


@lru_cache(maxsize=32_768)
def _lattice(seed: int, person: int, wave: int, step: int) -> Feeling:
    """Two even draws from −1…1, the same for the same arguments wherever they are asked."""
    text = f"{seed}/{person}/{wave}/{step}".encode()
    digest = blake2b(text, digest_size=8).digest()
    first, second = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
    return first / 2**31 - 1, second / 2**31 - 1


def wander(seed: int, person: int, wave: int, turns: float) -> Feeling:
    """A smooth way through the draws at whole `turns` (value noise, smoothstep between)."""
    step = math.floor(turns)
    part = turns - step
    weight = part * part * (3 - 2 * part)
    before, after = _lattice(seed, person, wave, step), _lattice(seed, person, wave, step + 1)
    return (
        before[0] + (after[0] - before[0]) * weight,
        before[1] + (after[1] - before[1]) * weight,
    )


class GroupMoods:
    """One group's moods. Its people are numbered through the story, `first` is its first one's."""

    def __init__(
        self,
        group: Citizens,
        *,
        first: int,
        seed: int,
        clock: Clock,
        recordings: list[Recording] | None = None,
    ) -> None:
        self.group = group
        self._first = first
        self._seed = seed
        self._clock = clock
        self._played = [_joined(recording, recordings) for recording in recordings or []]

    def at(self, person: int, at_s: float) -> tuple[int, int]:
        """Valence and arousal in thousandths, `at_s` seconds into the play."""
        group = self.group
        own = self._own(person, at_s)
        if group.contagion:
            around = self._neighbours(person)
            then = [self._own(each, max(0.0, at_s - CATCHING_S)) for each in around]
            caught = group.contagion if then else 0.0
            own = (
                (1 - caught) * own[0] + caught * sum(each[0] for each in then) / max(1, len(then)),
                (1 - caught) * own[1] + caught * sum(each[1] for each in then) / max(1, len(then)),
            )
        valence, arousal = own
        if group.circadian:
            turn = (self._clock.hour(at_s) - PEAK_HOUR) / 24
            lift = group.circadian * math.cos(2 * math.pi * turn)
            valence, arousal = valence + lift / 2, arousal + lift
        return _thousandths(valence), _thousandths(arousal)

    def _neighbours(self, person: int) -> list[int]:
        group = self.group
        place = person - self._first
        begin = place - place % group.neighbours
        end = min(group.count, begin + group.neighbours)
        return [self._first + each for each in range(begin, end) if each != place]

    def _own(self, person: int, at_s: float) -> Feeling:
        group = self.group
        if group.mood == "still":
            return group.valence, group.arousal
        if group.mood == "recorded":
            played = self._played[(person - self._first) % len(self._played)]
            return played.at(at_s)
        turns = at_s / group.period_s
        slow = wander(self._seed, person, 0, turns)
        quick = wander(self._seed, person, 1, turns * _FINER)
        valence, arousal = (
            _COARSE_SHARE * one + _FINE_SHARE * other
            for one, other in zip(slow, quick, strict=True)
        )
        return group.valence + group.swing * valence, group.arousal + group.swing * arousal


class _Played:
    """A recording as one clip, without end: the last thing said holds until the next."""

    def __init__(self, moments: list[Moment], length_ms: int) -> None:
        self._moments = moments
        self._times = [moment.t_ms for moment in moments]
        self._length_ms = length_ms

    def at(self, at_s: float) -> Feeling:
        moment = self._moments[bisect_right(self._times, at_s * 1000 % self._length_ms) - 1]
        return moment.valence / 1000, moment.arousal / 1000


def _joined(recording: Recording, all_of: list[Recording] | None) -> _Played:
    moments: list[Moment] = []
    began_ms = 0
    for clip, length_ms in play_ms(all_of or [recording]).items():
        moments += [
            Moment(began_ms + moment.t_ms, moment.valence, moment.arousal)
            for moment in recording.clips.get(clip, ())
        ]
        began_ms += length_ms
    return _Played(moments, began_ms)


def _thousandths(axis: float) -> int:
    return round(1000 * max(-1.0, min(1.0, axis)))

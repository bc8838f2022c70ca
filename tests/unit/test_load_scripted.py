"""The seeded city's scripted citizens: their file, and the walk of their moods."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.scripted import Script, read_scripts
from shared.contracts.sample import Provenance

SEEDS = Path(__file__).resolve().parents[2] / "seeds" / "citizens.toml"


def test_the_seeds_can_be_read_and_one_is_the_stages_voice() -> None:
    scripts = read_scripts(SEEDS)
    assert len({script.name for script in scripts}) == len(scripts)
    assert any(s.sanctuary == "open-stage" and s.public == "full" for s in scripts)
    assert any(s.sanctuary == "emotive-commons" and s.members == "full" for s in scripts)


@given(
    st.floats(0, 4e9),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(0.001, 86_400),
)
def test_a_mood_stays_on_the_plane_and_says_that_it_is_scripted(
    now_s: float, valence: float, arousal: float, swing: float, period_s: float
) -> None:
    script = Script("A", "x", valence=valence, arousal=arousal, swing=swing, period_s=period_s)
    mood = script.mood(now_s)
    assert mood == script.mood(now_s)
    assert mood.provenance is Provenance.SCRIPTED
    slack = 1000 * swing + 1
    assert abs(mood.valence - 1000 * valence) <= slack
    assert abs(mood.arousal - 1000 * arousal) <= slack


@pytest.mark.parametrize(
    "row",
    [
        'name = ""\nsanctuary = "x"',
        'name = "A"',
        'name = "A"\nsanctuary = "x"\nmembers = "everything"',
        'name = "A"\nsanctuary = "x"\nper_s = 0',
        'name = "A"\nsanctuary = "x"\nvalence = 2.0',
        'name = "A"\nsanctuary = "x"\nunknown = 1',
    ],
)
def test_a_bad_row_is_refused(tmp_path: Path, row: str) -> None:
    file = tmp_path / "citizens.toml"
    file.write_text("[[citizen]]\n" + row)
    with pytest.raises(msgspec.DecodeError):
        read_scripts(file)

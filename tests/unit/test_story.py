"""Stories: what their files say, what is wrong with one, and the schedule that follows from them."""

from __future__ import annotations

import math
import operator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.play.run import plan_rows, scaled
from load.story.language import Citizens, Clock, StoryRefused, find_story, read_story, shipped
from load.story.moods import GroupMoods, wander
from load.story.recordings import Moment, Recording
from load.story.schedule import Pace, Schedule, steps
from shared.contracts.records import Tier

LEAST = """name = "a"
[[viewers]]
name = "v"
count = 2
[[citizens]]
name = "c"
count = 4
[[citizens]]
name = "d"
count = 2
[[act]]
name = "x"
seconds = 10
"""


def schedule(more: str = "", *, seed: int = 1, rounds: int = 1) -> Schedule:
    text = LEAST.replace('name = "a"\n', f'name = "a"\nseed = {seed}\n', 1)
    return Schedule(read_story(text + more, "f.toml"), {}, rounds=rounds)


def everyone(plan: Schedule) -> frozenset[int]:
    return frozenset(role.number for role in plan.roles())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[act]\n", "f.toml:1: no TOML"),
        ("name = 3", "f.toml:1: name: Expected `str`, got `int`"),
        (LEAST + "pase = 2", "f.toml:14: act[0]: unknown key 'pase'; it takes name, seconds, pace"),
        (LEAST + "pace = -2", "f.toml:14: act[0].pace: Expected `float` > 0.0"),
        (
            LEAST + "[[act.happening]]\ndo = 'enter'\nwhom = 'c'\nwho = 'c'",
            "f.toml:16: act[0].happening[0]: unknown key 'whom'; it takes do, who, share, at_s, over_s",
        ),
        (
            LEAST + "[[act.happening]]\n\ndo = 'jump'",
            "f.toml:16: act[0].happening[0].do: Invalid value 'jump'; it takes enter, leave, withdraw",
        ),
        (
            LEAST + "[[act.happening]]\ndo = 'attack'\nkind = 'rumour'",
            "kind: Invalid enum value 'rumour'; it takes flood, replay, forged-seal, sybil",
        ),
        (
            LEAST + "[[act.happening]]\ndo = 'leave'\nwho = 'e'",
            "f.toml:16: act[0].happening[0].who: no such group; here it may be c, d",
        ),
        (
            LEAST + "[[act.happening]]\ndo = 'leave'\nwho = 'c'\nat_s = 11",
            "f.toml:17: act[0].happening[0].at_s: the act ends at 10 s",
        ),
        (
            LEAST + "[[act.happening]]\ndo = 'broadcast'\nwho = 'c'",
            "a broadcast is by a group of citizens with a `stage`",
        ),
        (
            LEAST + "[[act]]\nname = 'y'\nseconds = 2\n[[act.happening]]\ndo = 'leave'\nwho = 'e'",
            "f.toml:19: act[1].happening[0].who: no such group",
        ),
        (LEAST + "pace = 60", "citizens[0].per_s: 120 a second at the fastest act; at most 100"),
        (
            LEAST + "[clock]\nbegins = '25:00'",
            "f.toml:14: clock: begins is a time of day like 18:30, not 25:00",
        ),
        (LEAST + "[[viewers]]\nname = 'c'\ncount = 1", "two groups are called 'c'"),
        ("name = 'a'\n[[act]]\nname = 'x'\nseconds = 1", "nobody is in it"),
        (
            LEAST.replace("count = 4", "count = 4\nmood = 'recorded'"),
            "f.toml:5: citizens[0]: mood = 'recorded' and a directory",
        ),
        (
            LEAST + "[[viewers]]\nname = 'v'\ncount = 9\nverify = 3\nbooks = 2",
            "viewers[1]: who verifies keeps books too",
        ),
    ],
)
def test_a_mistake_names_its_line_and_key_and_what_is_taken(text: str, told: str) -> None:
    with pytest.raises(StoryRefused) as refused:
        read_story(text, "f.toml")
    assert told in str(refused.value)


def test_the_stories_that_come_with_us_can_be_played() -> None:
    names = {story.name for story in shipped()}
    assert "quick" in names
    for story in shipped():
        assert find_story(story.name)[0] == story
        assert story.about
    with pytest.raises(StoryRefused, match=r"no-such: .* come with us: .*quick"):
        find_story("no-such")


def test_a_users_own_file_is_found_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(LEAST)
    assert find_story(str(file))[1] == file


def test_one_seed_is_one_run_and_another_seed_another() -> None:
    happening = "[[act.happening]]\ndo='withdraw'\nwho='c'\nshare=0.5\nover_s=4\n"
    one, again = schedule(happening, seed=5), schedule(happening, seed=5)
    assert list(one.cues(everyone(one))) == list(again.cues(everyone(again)))
    assert (one.changes(), one.roles()) == (again.changes(), again.roles())
    others = [schedule(happening, seed=seed) for seed in range(6, 12)]
    assert all(list(one.cues(everyone(one))) != list(each.cues(everyone(one))) for each in others)
    assert any(one.changes() != each.changes() for each in others)


def test_a_plan_has_one_fingerprint_and_every_change_gives_another() -> None:
    quick, file = find_story("quick")
    prints = {
        told: dict(plan_rows(story, file))["fingerprint"]
        for told, story in (
            ("itself", quick),
            ("again", find_story("quick")[0]),
            ("another seed", msgspec.structs.replace(quick, seed=quick.seed + 1)),
            ("an act less", msgspec.structs.replace(quick, act=quick.act[:-1])),
            ("fewer people", scaled(quick, 0.5)),
        )
    }
    assert prints["itself"] == prints["again"]
    assert len(set(prints.values())) == 4


@pytest.mark.parametrize("part", ["roles", "cues", "changes", "viewers_changes", "assaults"])
def test_the_fingerprint_is_of_everything_that_is_planned(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Schedule(find_story("quick")[0], {})
    whole = schedule.fingerprint()
    monkeypatch.setattr(Schedule, part, lambda *_: [])
    assert schedule.fingerprint() != whole


def test_a_plan_is_told_act_by_act() -> None:
    rows = dict(plan_rows(*find_story("quick")))
    assert rows["people"] == "8 neighbours, 3 late"
    acts = [row for name, row in rows.items() if name.startswith("act: ")]
    assert [row.split(",")[0] for row in acts] == [
        "from 0 s for 2 s",
        "from 2 s for 3.5 s",
        "from 5.5 s for 2.5 s",
    ]
    assert acts[1].endswith("; withdraw, attack, attack, attack, attack")


def test_processes_share_the_people_out_and_the_play_stays_the_same() -> None:
    plan = schedule("pace_to = 3\n")
    whole = list(plan.cues(everyone(plan)))
    parts = [cue for half in ({0, 3}, {1, 2, 4, 5}) for cue in plan.cues(frozenset(half))]
    key = operator.attrgetter("at_ms", "person")
    assert sorted(parts, key=key) == sorted(whole, key=key)
    assert all(one.at_ms <= other.at_ms for one, other in pairwise(whole))


def test_a_ramp_sends_as_many_as_its_mean_pace() -> None:
    plan = schedule("pace = 1\npace_to = 4\n")
    cues = list(plan.cues(frozenset({0})))
    assert abs(len(cues) - 2 * 10 * 2.5) <= 1
    early = sum(cue.at_ms < 5000 for cue in cues)
    assert early < len(cues) - early - 10


@given(
    st.lists(
        st.tuples(st.floats(0.1, 100), st.floats(0.1, 50), st.floats(0.1, 50)),
        min_size=1,
        max_size=5,
    )
)
def test_the_clock_of_units_never_goes_back_and_ends_with_the_play(
    pieces: list[tuple[float, float, float]],
) -> None:
    pace = Pace(pieces)
    moments = [pace.time_at(pace.units * part / 50) for part in range(50)]
    times = [at for at in moments if at is not None]
    assert len(times) == 50
    assert all(one <= other + 1e-6 for one, other in pairwise(times))
    assert times[-1] <= pace.seconds
    assert pace.time_at(pace.units * 1.001 + 1) is None


def test_steps_grow_until_the_most() -> None:
    assert [piece[1] for piece in steps(2, 2, 8).pieces] == [1, 2, 4, 8]


def test_a_group_that_is_let_in_was_not_there_before() -> None:
    plan = schedule("[[act.happening]]\ndo='enter'\nwho='d'\nat_s=2\nover_s=4\n")
    assert [role.is_here for role in plan.roles()] == [True] * 4 + [False] * 2
    assert sorted((each.who, each.do) for each in plan.changes()) == [(4, "enter"), (5, "enter")]
    assert [each.at_ms for each in plan.changes()] == [2000, 4000]


def test_everyone_is_every_group_and_a_share_is_some_of_each() -> None:
    plan = schedule("[[act.happening]]\ndo='reconnect'\nshare=0.5\n")
    assert len(plan.changes()) == 3
    assert len(plan.viewers_changes("v")) == 1
    chosen = schedule("[[act.happening]]\ndo='grant'\nwho='c'\ntier='coarse'\n").changes()
    assert {(each.who, each.tier) for each in chosen} == {(who, Tier.COARSE) for who in range(4)}


def test_a_soak_plays_the_acts_again() -> None:
    plan = schedule("[[act.happening]]\ndo='leave'\nwho='d'\nat_s=9\n", rounds=3)
    assert plan.length_ms == 30_000
    assert [each.at_ms for each in plan.changes()] == [9000, 9000, 19_000, 19_000, 29_000, 29_000]
    assert plan.act_at(25_000) == "x"


def moods(clock: Clock | None = None, **group: object) -> GroupMoods:
    cast = Citizens(name="c", count=8, **group)  # type: ignore[arg-type]
    return GroupMoods(cast, first=0, seed=3, clock=clock or Clock())


@given(st.floats(0, 100_000), st.integers(0, 1000))
def test_a_walk_is_smooth_and_bounded(turns: float, person: int) -> None:
    here, there = wander(1, person, 0, turns), wander(1, person, 0, turns + 0.01)
    for one, other in zip(here, there, strict=True):
        assert -1 <= one <= 1
        assert abs(one - other) < 0.05


def test_contagion_draws_neighbours_together_and_leaves_others_alone() -> None:
    def spread(contagion: float) -> float:
        group = moods(contagion=contagion, swing=1.0)
        total = 0.0
        for second in range(3, 60):
            felt = [group.at(person, second)[0] for person in range(4)]
            middle = sum(felt) / 4
            total += math.sqrt(sum((each - middle) ** 2 for each in felt) / 4)
        return total

    assert spread(0.6) < 0.75 * spread(0.0)
    alone, together = moods(contagion=0.0), moods(contagion=0.9, neighbours=2)
    assert alone.at(0, 30) != together.at(0, 30)


def test_the_hour_lifts_and_lowers() -> None:
    clock = Clock(begins="16:00", minutes_per_s=60)
    group = moods(clock, mood="still", circadian=0.5)
    assert group.at(0, 0) == (250, 500)
    assert group.at(0, 12) == (-250, -500)
    assert Clock(begins="23:30", minutes_per_s=1).hour(60) == 0.5


def test_recorded_people_feel_as_recorded_again_and_again() -> None:
    recording = Recording("p", {"V1": (Moment(0, 100, 200), Moment(500, -300, 400))})
    cast = Citizens(name="c", count=1, mood="recorded", recordings="x")
    group = GroupMoods(cast, first=0, seed=1, clock=Clock(), recordings=[recording])
    assert [group.at(0, at_s) for at_s in (0, 0.4, 0.6, 1.1)] == [
        (100, 200),
        (100, 200),
        (-300, 400),
        (100, 200),
    ]

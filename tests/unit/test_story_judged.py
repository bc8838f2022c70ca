"""What a story's run is judged by: second by second, thresholds, laws, the knee, the services' use."""

from __future__ import annotations

import json
import os
import urllib.request
import xml.etree.ElementTree as ET
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from load.judge.knee import Knee
from load.judge.outcome import Outcome
from load.judge.timeline import Timeline
from load.judge.verdict import judge
from load.play.run import Play, PlayWish, voices_setting
from load.report.exposed import Exposed
from load.report.live import drawn, sparkline
from load.report.page import report_html
from load.report.plots import Line, bars, chart, decades, thinned, ticks
from load.report.told import outcome_json, outcome_rows
from load.story.language import Act, Citizens, Story, Thresholds, Viewers, Withdraw, find_story
from load.swarm.latency import Latencies
from load.swarm.meter import Reading, readings, slope, usage
from load.swarm.plan import (
    AttackReport,
    AudienceReport,
    PersonReport,
    Plan,
    Progress,
    Silenced,
    SpeakersReport,
    Standing,
)
from services.city.seeding import environment
from services.city.settings import Settings
from shared.client.core import Accounts, AccountsReport, GrantsSigned
from shared.contracts.client import Skipped, StrandShown
from shared.contracts.records import Signed, Tier
from shared.identifiers import MonotonicNs

MS = 100
"""Steps of a latency histogram in a millisecond."""
S = 1_000_000_000


def story(**thresholds: float) -> Story:
    return Story(
        name="a <story>",
        act=[Act(name="one & only", seconds=10)],
        citizens=[Citizens(name="c", count=1)],
        viewers=[Viewers(name="v", count=2), Viewers(name="slow", count=1, bytes_per_s=100)],
        thresholds=Thresholds(**thresholds),
    )


def audience(group: str = "v", *, is_slow: bool = False, **found: Any) -> AudienceReport:
    accounts = AccountsReport(**found)
    latencies = Counter({10 * MS: 98, 200 * MS: 2})
    return AudienceReport(accounts, latencies, {}, [], 0, 1, 1, 0, group, is_slow, 2)


def outcome(
    *audiences: AudienceReport,
    attacks: tuple[AttackReport, ...] = (),
    knee: Knee | None = None,
    thresholds: dict[str, float] | None = None,
) -> Outcome:
    people = [PersonReport("p", b"c" * 16, Tier.FULL, sent=100, admitted=97, refused={"skew": 3})]
    silenced = Silenced(b"c" * 16, Tier.FULL, 5 * S, 6 * S, 6 * S, 5 * S + 90_000_000)
    speakers = SpeakersReport(people, {}, {}, [silenced], 0.5, 10.0)
    verdict = judge(speakers, list(audiences), viewers=3, ended_early=False)
    timeline = Timeline()
    for half in range(1, 21):
        at_ms = half * 500
        due = (at_ms - 1) // 1000
        timeline.add(Progress(5, at_ms, due=Counter({due: 5})), is_sending=True)
        fresh = Counter({10 * MS: 9, 50 * MS: 1})
        timeline.add(
            Progress(10, at_ms, fresh, Counter({due: 10}), Counter({1: 3, 4: 2}), 700),
            is_sending=False,
        )
    held = [Reading(at_ms, "fanout-0", 7, at_ms / 2000, 50_000_000) for at_ms in (0, 1000, 2000)]
    return Outcome(
        story=story(**(thresholds or {})),
        verdict=verdict,
        attacks=list(attacks),
        audiences=list(audiences),
        timeline=timeline,
        readings=held,
        knee=knee,
        acts=[(0, "one & only")],
    )


def broken(found: Outcome) -> list[str]:
    return [each.name for each in found.judged() if not each.is_kept]


def test_every_law_is_judged_without_being_asked_for() -> None:
    assert broken(outcome(audience(delivered=9, skipped={"lost": 3}, lost_in_gaps=4))) == []
    for found, word in (
        ({"unaccounted": 1}, "unaccounted"),
        ({"against": {"after struck": 1}}, "struck"),
        ({"disordered": 1}, "order"),
        ({"repeated": 1}, "twice"),
    ):
        (name,) = broken(outcome(audience(**found)))
        assert word in name
    seen = audience()._replace(forged=1)
    assert "forged samples seen" in broken(outcome(seen))
    assert "windows" in broken(outcome(audience()._replace(windows={"false": 1})))[0]


def test_an_attack_may_not_get_in_and_a_flood_not_above_its_rate() -> None:
    for kind in ("replay", "forged-seal", "sybil"):
        assert broken(outcome(audience(), attacks=(AttackReport(kind, tried=9),))) == []
        found = outcome(audience(), attacks=(AttackReport(kind, tried=9, admitted=1),))
        assert broken(found) == ["forgeries and replays admitted"]
    flood = AttackReport("flood", tried=900, admitted=500, admitted_max=500)
    assert broken(outcome(audience(), attacks=(flood,))) == []
    flood = AttackReport("flood", tried=900, admitted=501, admitted_max=500)
    assert broken(outcome(audience(), attacks=(flood,))) == ["of a flood, admitted above the rate"]


@pytest.mark.parametrize(
    ("name", "above", "below"),
    [
        ("p50_ms", 9.0, 11.0),
        ("p99_ms", 199.0, 201.0),
        ("p999_ms", 199.0, 201.0),
        ("lost_share", 0.19, 0.21),
        ("conflated_share", 0.09, 0.11),
        ("refused_share", 0.029, 0.031),
        ("silence_p99_ms", 89.0, 91.0),
    ],
)
def test_a_threshold_is_broken_from_above_only(name: str, above: float, below: float) -> None:
    fast = audience(delivered=70, skipped={"lost": 12, "conflated": 10}, lost_in_gaps=8)
    # what slow viewers miss, and how late they are, is theirs
    slow = audience("slow", is_slow=True, delivered=1, skipped={"conflated": 999})
    assert broken(outcome(fast, slow, thresholds={name: above})) == [name]
    assert broken(outcome(fast, slow, thresholds={name: below})) == []


def test_what_could_not_be_measured_is_not_kept() -> None:
    nothing = AudienceReport(AccountsReport(), Counter(), {}, [], 0, 1, 1, 0, "v", False, 2)
    found = outcome(nothing, thresholds={"p99_ms": 5000.0})
    assert broken(found) == ["p99_ms"]
    assert not found.is_good
    found.verdict.ended_early = True  # before anything could be
    assert broken(found) == []
    found.verdict.ended_early = False
    assert ("BROKEN: p99_ms", "nothing was measured (at most 5000)") in outcome_rows(found)
    assert json.loads(msgspec.json.encode(outcome_json(found)))["thresholds"]["p99_ms"] == {
        "value": None,
        "most": 5000,
        "kept": False,
    }


def test_silence_without_a_withdrawal_is_not_kept_unless_the_story_was_ended_early() -> None:
    found = outcome(audience(), thresholds={"silence_p99_ms": 250.0})
    found.verdict.withdrawals = []
    assert broken(found) == []
    act = Act(name="a", seconds=5, happening=[Withdraw(who="c")])
    found.story = msgspec.structs.replace(found.story, act=[act])
    assert broken(found) == ["silence_p99_ms"]
    found.verdict.ended_early = True
    assert broken(found) == []


def test_a_city_that_took_nothing_for_a_while_is_not_a_good_one() -> None:
    found = outcome(audience())
    person = found.verdict.people[0]
    person.not_sent = 25
    assert broken(found) == []
    person.not_sent = 26  # of 126 that fell due
    assert broken(found) == ["unsent_share"]
    person.turned_away = "not invited"
    assert broken(found) == []


def test_a_tool_that_is_always_busy_says_that_it_measures_itself() -> None:
    for cpu_s, is_told in ((0.5, False), (0.9, True)):
        found = outcome(audience())
        found.own_readings = [
            Reading(second * 1000, "viewers v 1", 9, second * cpu_s, 1) for second in range(3)
        ]
        assert ("CAUTION" in dict(outcome_rows(found))) is is_told
        assert outcome_json(found)["tool"]["viewers v 1"]["cpu"] == cpu_s


def test_a_tool_that_fell_behind_says_so_everywhere() -> None:
    found = outcome(audience())
    assert outcome_json(found)["cautions"] == []
    found.verdict.late_ms_max = 6540.9
    told = "the tool fell 6.5 s behind its schedule"
    assert told in dict(outcome_rows(found))["CAUTION"]
    assert told in outcome_json(found)["cautions"][0]
    assert told in report_html(found)


def test_samples_without_any_answer_are_not_simply_forgotten() -> None:
    found = outcome(audience())
    found.verdict.people[0].unanswered = 20
    assert broken(found) == []
    found.verdict.people[0].unanswered = 21  # of 100 sent
    assert broken(found) == ["unanswered_share"]


def test_the_ladder_is_told_second_by_second() -> None:
    timeline = Timeline()
    for at_ms, rungs in (
        (500, {"every": -2, "newest": 2}),
        (1500, {"newest": -1, "field": 1}),
        (2500, {"field": -1, "every": 1, "closed": 1}),
    ):
        told = Progress(0, at_ms, rungs=Counter(rungs))
        timeline.add(told, is_sending=False, is_slow=True)
    stood = [dict(timeline.seconds[second].rungs) for second in range(3)]
    assert [each.get("newest", 0) for each in stood] == [2, 1, 1]
    assert [each.get("field", 0) for each in stood] == [0, 1, 0]
    assert [each.get("closed", 0) for each in stood] == [0, 0, 1]


def test_memory_that_grows_is_told_and_can_break() -> None:
    found = outcome(audience(), thresholds={"memory_mb_per_min": 5})
    assert broken(found) == []
    found.readings = [Reading(s * 1000, "x", 7, 0.0, (50 + s) * 1_000_000) for s in range(20)]
    assert usage(found.readings)["x"]["memory_mb_per_min"] == pytest.approx(60)
    assert broken(found) == ["memory_mb_per_min"]


def test_all_forms_tell_the_same() -> None:
    found = outcome(audience(delivered=9), attacks=(AttackReport("flood", 9, 3, 5, {"x": 6}),))
    told = json.loads(msgspec.json.encode(outcome_json(found)))
    assert told["good"]
    assert told["groups"]["v"]["delivered"] == 9
    assert told["attacks"][0]["refused"] == {"x": 6}
    assert [each["sent"] for each in told["seconds"]] == [10] * 10
    assert told["samples_a_frame"] == {"1": 60, "4": 40}
    assert told["services"]["fanout-0"]["cpu"] == 0.5
    lines = dict(outcome_rows(found))
    assert lines["attack: flood"] == "9 tried, 3 admitted; 6 x"
    assert lines["service: fanout-0"].startswith("50 % of a core, 50 MB")


def test_the_report_is_one_whole_file_that_asks_nobody_for_anything() -> None:
    found = outcome(audience(delivered=9), thresholds={"p50_ms": 1.0})
    page = report_html(found, made_at="today", command="load play <x>")
    assert "Broken: p50_ms" in page
    assert "a &lt;story&gt;" in page
    assert "load play &lt;x&gt;" in page
    assert "one &amp; only" in page
    for word in ("http", "src=", "@import", "url(", "<script"):
        assert word not in page
    drawings = page.split("<svg")[1:]
    assert page.count("<figure>") == 6
    assert "Every viewer stayed where it began" in page
    found.timeline.seconds[3].rungs["newest"] = 2
    assert "Every viewer stayed" not in report_html(found)
    for each in drawings:
        ET.fromstring("<svg" + each.split("</svg>")[0] + "</svg>")


def test_a_chart_stays_within_its_frame_and_says_its_peaks() -> None:
    at = [float(second) for second in range(10_000)]
    high = [1.0] * 10_000
    high[777] = 99.0
    assert max(thinned(Line("x", at, high)).y) == 99.0
    assert len(thinned(Line("x", at, high)).x) <= 1500
    for drawing in (
        chart([Line("x", at, high)], [(5.0, "act")]),
        chart([Line("x", at, high)], [], is_logarithmic=True),
        chart([Line("x", [3.0], [0.0])], []),
        bars([(str(size), float(size)) for size in range(200)]),
    ):
        numbers = [
            float(n)
            for n in drawing.split('d="M')[-1].split('"')[0].split()
            if n[0] in "0123456789" and "L" not in n
        ]
        assert all(0 <= number <= 760 for number in numbers)
        ET.fromstring(drawing.split("<div")[0])
    assert chart([], []) == "<p>nothing was measured</p>"
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert decades(1, 1000)[0] == 1


def beats(knee_at: int, *, steps: int = 5, step_s: int = 4) -> Timeline:
    """Steps that double what is sent; from step `knee_at` on it comes late."""
    timeline = Timeline()
    for second in range(steps * step_s + 2):
        step = second // step_s
        late_ms = 10 if step < knee_at else 900
        sent = 100 * 2**step
        timeline.add(
            Progress(sent, second * 1000 + 1, due=Counter({second: sent})), is_sending=True
        )
        late = Counter({late_ms * MS: 3 * sent})
        told = Progress(3 * sent, second * 1000 + 1, late, Counter({second: 3 * sent}))
        timeline.add(told, is_sending=False)
    return timeline


def test_the_knee_is_the_last_step_that_was_carried() -> None:
    knee = Knee(4, [1, 2, 4, 8, 16])
    assert knee.judge(beats(3))
    assert knee.best is not None
    assert (knee.best.pace, knee.best.sent_per_s) == (4, 400)
    assert [each.is_good for each in knee.steps] == [True, True, True, False, False]
    assert "pace 8 breaks: p99 900 ms, above 250" in knee.sentence()
    at_once = Knee(4, [1, 2], Thresholds(p99_ms=5))
    assert at_once.judge(beats(9))
    assert at_once.best is None
    assert "below the first step" in at_once.sentence()
    generous = Knee(4, [1, 2, 4, 8, 16], Thresholds(p99_ms=5000))
    assert generous.judge(beats(3))
    never = Knee(4, [1, 2, 4, 8, 16])
    assert not never.judge(beats(9))
    assert "not reached" in never.sentence()


def test_a_step_that_delivers_less_is_broken_though_it_is_quick() -> None:
    timeline = beats(9)
    for second in range(8, 16):
        timeline.seconds[second].delivered //= 2
    knee = Knee(4, [1, 2, 4, 8, 16])
    assert knee.judge(timeline)
    assert "50 % of what was sent" in knee.steps[-1].why_broken
    assert len(knee.steps) == 4


def test_a_step_that_breaks_alone_is_no_knee() -> None:
    timeline = beats(9)
    for second in range(8, 12):
        timeline.seconds[second].latencies = Counter({900 * MS: 10})
    knee = Knee(4, [1, 2, 4, 8, 16])
    assert not knee.judge(timeline)
    assert [each.is_good for each in knee.steps] == [True, True, False, True, True]
    assert "not reached; still good" in knee.sentence()


def test_a_step_is_not_judged_before_it_is_over() -> None:
    knee = Knee(4, [1, 2, 4])
    timeline = beats(0, steps=1)
    timeline.at_ms = 4900
    assert not knee.judge(timeline)
    assert knee.steps == []


def test_a_search_for_the_knee_fails_by_laws_alone() -> None:
    searched = Knee(4, [1, 2])
    assert outcome(audience(), knee=searched, thresholds={"p50_ms": 1.0}).is_good
    assert not outcome(audience(), thresholds={"p50_ms": 1.0}).is_good
    assert not outcome(audience(unaccounted=1), knee=searched).is_good


def test_the_timeline_is_merged_and_slow_readers_are_not_late() -> None:
    timeline = Timeline()
    for told, is_slow in (
        (Progress(3, 900, Counter({MS: 3}), Counter({0: 3})), False),
        (Progress(4, 1100, Counter({2 * MS: 4}), Counter({0: 4})), False),
        (Progress(9, 1200, Counter({900 * MS: 9}), Counter({1: 9})), True),
    ):
        timeline.add(told, is_sending=False, is_slow=is_slow)
    assert [(at, each.delivered) for at, each in timeline.seconds.items()] == [(0, 7), (1, 9)]
    assert timeline.percentiles(0, 1).max < 3
    assert timeline.between(0, 1).delivered == timeline.delivered == 16


def test_on_a_logarithms_way_a_second_without_a_value_breaks_the_line() -> None:
    line = Line("p99", [0.0, 1, 2, 3, 4], [3.0, 4, 0, 5, 0])
    whole = chart([line], [])
    broken_ = chart([line], [], is_logarithmic=True)
    frames = [drawing.split("</svg>")[0].count("<path") for drawing in (whole, broken_)]
    assert frames == [1, 2]


def test_lines_differ_without_colours_and_acts_keep_their_numbers() -> None:
    lines = [Line(str(place), [0.0, 100], [1.0, 2]) for place in range(4)]
    drawing = chart(lines, [(0, "one"), (50, "two"), (52, "a long name"), (54, "four")])
    legend = drawing.split('class="legend"')[1]
    assert len({each.split('"')[0] for each in legend.split('stroke-dasharray="')[1:]}) == 3
    for told in (">1 one<", ">2<", ">3<", ">4 four<"):
        assert told in drawing


def test_who_reads_slowly_by_intent_is_in_no_latency_of_the_run() -> None:
    slow = audience("slow", is_slow=True)._replace(latencies=Counter({9000 * MS: 900}))
    found = outcome(audience(), slow)
    assert found.verdict.latency == outcome(audience()).verdict.latency
    assert found.verdict.latency.max < 1000


def test_histograms_of_processes_merge_to_that_of_all() -> None:
    one, other = Counter({MS: 50, 40 * MS: 1}), Counter({3 * MS: 48, 80 * MS: 1})
    merged = Latencies(one + other).percentiles()
    assert (merged.samples, merged.p50, round(merged.max)) == (100, 1.0, 80)


def test_the_kernels_numbers_are_read_as_it_writes_them() -> None:
    files = {
        "/proc/7/stat": "7 (a (b) c) S " + " ".join(["0"] * 10) + " 150 50 0 0",
        "/proc/7/statm": "900 300 1 1 0 1 0",
    }

    def read(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    (found,) = readings({"x": 7, "gone": 8}, 5, read)
    assert (found.service, found.at_ms) == ("x", 5)
    assert found.cpu_s == pytest.approx(2.0, rel=0.5)
    assert found.memory_bytes == 300 * 4096
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2
    assert slope([(0, 1)]) == 0


def test_a_process_that_was_restarted_does_not_count_as_negative_work() -> None:
    of = [Reading(0, "x", 7, 50.0, 1), Reading(1000, "x", 9, 0.1, 1), Reading(2000, "x", 9, 0.6, 1)]
    assert usage(of)["x"]["cpu"] == 0.25
    assert usage(of)["x"]["restarts"] == 1


def test_a_sparkline_has_a_block_a_value() -> None:
    assert sparkline([0, 4, 8]) == " ▄█"
    assert sparkline([0, 0]) == "  "


def play(tmp_path: Path, **wish: Any) -> Play:
    told, file = find_story("quick")
    return Play(PlayWish(told, file, "http://127.0.0.1:1", tmp_path, **wish), say=print)


def test_the_live_view_tells_where_the_story_is_and_what_flows(tmp_path: Path) -> None:
    playing = play(tmp_path)
    console = Console(width=100, record=True, file=StringIO())
    console.print(drawn(playing.scene, "11 people enter"))
    assert "11 people enter" in console.export_text()
    playing.timeline = outcome(audience()).timeline
    playing.timeline.at_ms = 4100
    playing.meter.readings = [Reading(at, "fanout-0", 7, at / 4000, 5_000_000) for at in (0, 1000)]
    console.print(drawn(playing.scene, ""))
    shown = console.export_text()
    playing.timeline.at_ms = 12_000  # the books are being closed
    console.print(drawn(playing.scene, ""))
    closing = console.export_text()
    assert "sockets are cut" in closing
    assert "18:08" in closing
    for word in ("a withdrawal, and attacks", "18:04", "delivered/s", "p99 ms", "25 %", "fanout-0"):
        assert word in shown


def test_people_and_viewers_are_shared_out_and_each_is_somewhere_once(tmp_path: Path) -> None:
    playing = play(tmp_path, scale=100.0)
    common = Plan("x", b"s" * 16, 0)
    speakers = playing._speakers(common)
    numbers = [role.number for plan in speakers for role in plan.roles]
    assert numbers == list(range(1100))
    assert len(speakers) == (os.cpu_count() or 1)
    for plan in speakers:
        own = {role.number for role in plan.roles}
        assert {change.who for change in plan.changes} <= own
        assert next(plan.score.cues()).person in own
    friends = playing.story.viewers[0]
    audiences = list(playing._audiences(common, friends))
    assert sum(each.viewers for each in audiences) == friends.count == 600
    assert sum(each.verifying for each in audiences) == friends.verify
    assert sum(each.books or 0 for each in audiences) == friends.count
    some = msgspec.structs.replace(friends, books=310)
    assert sum(each.books or 0 for each in playing._audiences(common, some)) == 310
    changes = [change for each in audiences for change in each.changes]
    assert len(changes) == 300
    assert all(0 <= change.who < each.viewers for each in audiences for change in each.changes)


def test_steps_to_the_knee_have_no_events_and_stay_below_a_citizens_rate(tmp_path: Path) -> None:
    playing = play(tmp_path, is_until_breaking=True, step_s=3)
    assert playing.knee is not None
    assert playing.schedule.assaults() == []
    assert all(role.is_here for role in playing.schedule.roles())
    assert playing.knee.paces[0] == 1
    assert 60 < 4 * playing.knee.paces[-1] <= 100
    assert playing.schedule.act_at(3100) == "pace × 1.30"


def scraped(timeline: Timeline, standings: list[Standing]) -> dict[str, float]:
    exposed = Exposed(0)
    try:
        exposed.show(timeline, standings, viewers=4)
        with urllib.request.urlopen(f"http://127.0.0.1:{exposed.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
    finally:
        exposed.close()
    rows = (line.rsplit(" ", 1) for line in lines if line.startswith("synchronia_load_"))
    return {name.removeprefix("synchronia_load_"): float(value) for name, value in rows}


def test_prometheus_reads_a_run_while_it_lasts() -> None:
    timeline = Timeline()
    timeline.add(Progress(100, 10_000, due=Counter({9: 100})), is_sending=True)
    on_rungs = Counter({"every": -1, "field": 1, "closed": 2})
    at = Counter({MS - 1: 3, MS: 2, 20_000 * MS: 1})
    timeline.add(Progress(6, 9_000, at, rungs=on_rungs), is_sending=False)
    timeline.add(Progress(1, 9_000, Counter({MS: 1})), is_sending=False, is_slow=True)
    books = AccountsReport(
        skipped={"conflated": 5, "lost": 6, "too fast": 8}, lost_in_gaps=7, repeated=1
    )
    books.against = {"after struck": 2}
    standings = [
        Standing(1, 0.25, Counter({("people", "speaking"): 3}), Counter({"skew": 2}), 1),
        Standing(2, 0.5, Counter({("people", "speaking"): 1}), Counter({"skew": 3}), 1),
        Standing(3, connections=Counter({("viewers", "watching"): 4}), accounts=books, forged=1),
    ]
    told = scraped(timeline, standings)
    counted = {
        "sent_total": 100,
        "delivered_total": 7,
        "unsent_total": 2,
        "conflated_total": 5,
        'refused_total{reason="skew"}': 5,
        'lost_total{where="on the way"}': 6,
        'lost_total{where="in a gap"}': 7,
        'told_refused_total{reason="too fast"}': 8,
        'broken_total{law="delivered after struck"}': 2,
        'broken_total{law="delivered twice"}': 1,
        'broken_total{law="forged samples seen"}': 1,
        'broken_total{law="out of order within a strand"}': 0,
        'connections{role="people",state="speaking"}': 4,
        'connections{role="viewers",state="watching"}': 4,
        'viewers{rung="every"}': 3,
        'viewers{rung="field"}': 1,
        "fallen_off_total": 2,
        "behind_seconds": 0.5,
        "position_seconds": 10,
        'latency_seconds_bucket{le="0.001"}': 3,
        'latency_seconds_bucket{le="0.0025"}': 5,
        'latency_seconds_bucket{le="10.0"}': 5,
        'latency_seconds_bucket{le="+Inf"}': 6,
        "latency_seconds_count": 6,
    }
    assert {name: told.get(name) for name in counted} == counted
    assert 20 < told["latency_seconds_sum"] < 20.01


def test_books_that_are_open_tell_what_was_skipped_and_stay_open() -> None:
    grants = GrantsSigned()
    grants.signed(b"c" * 16, Tier.FULL, MonotonicNs(0))
    accounts = Accounts(grants)
    for strand, citizen in ((b"s" * 32, b"c" * 16), (b"x" * 32, b"y" * 16)):
        opening = Signed(b"\x90", bytes(64))
        accounts.strand_shown(StrandShown(b"r" * 16, strand, citizen, opening, 0, None, None), 1)
        accounts.sample(strand, 0, 2)
        accounts.skipped(Skipped(strand, 1, 3, "conflated"))
        accounts.sample(strand, 9, 3)
    for _ in range(2):
        found = accounts.so_far()
        assert (found.delivered, found.skipped, found.unaccounted) == (2, {"conflated": 3}, 0)
    assert accounts.report().unaccounted == 5


def test_a_city_hands_on_the_voices_that_its_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCHRONIA_SANCTUARY_VOICES", "open-stage=did:key:z6MkOurs")
    told = environment(Settings(), port=1, citizens=tmp_path)["SYNCHRONIA_SANCTUARY_VOICES"]
    seeded, ours = told.split(",")
    assert seeded.startswith("open-stage=did:key:")
    assert ours == "open-stage=did:key:z6MkOurs"


def test_a_voice_keeps_its_keys_from_run_to_run(tmp_path: Path) -> None:
    told, file = find_story("evening")
    said: list[str] = []
    for _ in range(2):
        wish = PlayWish(told, file, "http://127.0.0.1:1", tmp_path, keys=tmp_path / "keys")
        roles = Play(wish, say=said.append)._roles()
        (voice,) = [role for role in roles if role.stage is not None]
        assert (voice.name, voice.keys is not None) == ("ana", True)
        assert voice.tier is Tier.FULL
    assert said[0] == said[1]
    assert said[0].startswith("ana is the voice open-stage=did:key:z6Mk")
    assert said[0] == f"ana is the voice {voices_setting(told, tmp_path / 'keys')}"

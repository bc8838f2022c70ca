"""What the replay tool calls a failure, and its numbers."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.judge.verdict import (
    Verdict,
    judge,
    judge_coarse,
    percentile,
    unexplained,
)
from load.report.told import verdict_json, verdict_rows
from load.story.schedule import tiers_of
from load.swarm.latency import STEP_NS, Latencies
from load.swarm.plan import (
    TWO_IN_A_TICK,
    AudienceReport,
    CoarseSeen,
    Felt,
    PersonReport,
    Silenced,
    SpeakersReport,
)
from load.swarm.speakers import cell_of
from shared.client.core import AccountsReport
from shared.contracts.records import Tier

S = 1_000_000_000


def person(tier: Tier = Tier.FULL, **fields: object) -> PersonReport:
    return PersonReport("p", b"c" * 16, tier, **fields)  # type: ignore[arg-type]


def verdict(accounts: AccountsReport, windows: dict[str, int] | None = None) -> Verdict:
    people = [person(sent=3, admitted=2, refused={"skew": 1})]
    withdrawal = Silenced(b"c" * 16, Tier.FULL, 5 * S, 5 * S + 9_000_000, 6 * S, 5 * S + 1_000_000)
    speakers = SpeakersReport(people, {}, {}, [withdrawal], 0.5, 10.0)
    latencies = Counter({100: 99, 900: 1})
    audience = AudienceReport(accounts, latencies, windows or {}, [], 0, 1, 1, 0)
    return judge(speakers, [audience], viewers=2, ended_early=False)


def test_only_what_is_unaccounted_or_against_a_grant_or_forged_is_a_failure() -> None:
    honest = AccountsReport(delivered=9, skipped={"lost": 3, "conflated": 2}, lost_in_gaps=4)
    assert verdict(honest, {"incomplete": 3}).is_good
    assert not verdict(AccountsReport(unaccounted=1)).is_good
    assert not verdict(AccountsReport(against={"after struck": 1})).is_good
    assert not verdict(AccountsReport(), {"false": 1}).is_good


@pytest.mark.parametrize(
    ("accounts", "windows", "named"),
    [
        ({"unaccounted": 1}, {}, "unaccounted: in = out + refused + conflated + lost and shown"),
        ({"against": {"after struck": 1}}, {}, "delivered after struck"),
        ({"against": {"above the grant": 1}}, {}, "above the granted tier"),
        ({"against": {"never shown": 1}}, {}, "of a strand that was not introduced"),
        ({"against": {TWO_IN_A_TICK: 1}}, {}, "two cells of one person in a tick"),
        ({"disordered": 1}, {}, "out of order within a strand"),
        ({"repeated": 1}, {}, "delivered twice"),
        ({}, {"false": 1}, "windows that prove a forgery"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_law_is_broken_by_its_own_breach_and_named(
    accounts: dict[str, object], windows: dict[str, int], named: str
) -> None:
    found = verdict(AccountsReport(**accounts), windows)  # type: ignore[arg-type]
    assert [each.name for each in found.laws() if not each.is_kept] == [named]
    assert not found.is_good


def test_a_withdrawal_that_nobody_acted_upon_breaks_a_law() -> None:
    found = verdict(AccountsReport())
    assert found.is_good
    found.withdrawals = [each._replace(acted_ns=0) for each in found.withdrawals]
    assert [each.name for each in found.laws() if not each.is_kept] == [
        "withdrawals not acted upon"
    ]


def test_whoever_is_never_shown_and_what_is_forged_breaks_a_law() -> None:
    nothing = AudienceReport(AccountsReport(), Counter(), {}, [], 0, 1, 1, 0)
    for seen, named in (
        (nothing._replace(never_shown=2), "granted in full, and never shown"),
        (nothing._replace(forged=2), "forged samples seen"),
        (nothing._replace(owed=2), "owed to viewers, and nothing came at all"),
    ):
        found = judge(
            SpeakersReport([person()], {}, {}, [], 0.0, 1.0), [seen], viewers=1, ended_early=False
        )
        assert [(each.name, each.value) for each in found.laws() if not each.is_kept] == [
            (named, 2)
        ]


@pytest.mark.parametrize(
    ("accounts", "ended_early", "is_good"),
    [
        (AccountsReport(), False, False),
        (AccountsReport(), True, True),
        (AccountsReport(delivered=1), False, True),
        (AccountsReport(skipped={"conflated": 1}), False, True),
        (AccountsReport(skipped={"lost": 1}), False, False),
    ],
    ids=("nothing", "ended early", "delivered", "conflated", "lost"),
)
def test_a_run_in_which_nothing_came_is_no_good_one(
    accounts: AccountsReport, *, ended_early: bool, is_good: bool
) -> None:
    seen = AudienceReport(accounts, Counter(), {}, [], 0, 1, 1, 0)
    speakers = SpeakersReport([person()], {}, {}, [], 0.0, 1.0)
    found = judge(speakers, [seen._replace(owed=9)], viewers=1, ended_early=ended_early)
    assert found.is_good is is_good


def test_the_numbers_are_told_in_both_forms() -> None:
    result = verdict(AccountsReport(delivered=9, skipped={"lost": 3, "conflated": 2}))
    told = verdict_json(result)
    assert (told["sent"], told["admitted"], told["refused"]) == (3, 2, {"skew": 1})
    assert (told["delivered"], told["conflated"], told["lost"]) == (9, 2, 3)
    assert told["latency_ms"]["p50"] == pytest.approx(1.0, rel=0.01)
    assert told["latency_ms"]["max"] == pytest.approx(9.0, rel=0.01)
    assert told["withdrawals"]["acted"]["p50_ms"] == 9.0
    assert told["withdrawals"]["last byte"]["p99_ms"] == 1.0
    lines = dict(verdict_rows(result))
    assert lines["refused: skew"] == "1"
    assert lines["unaccounted"] == "0"


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=200))
def test_percentiles_lie_within_the_step_and_three_digits(latencies_ns: list[int]) -> None:
    counted = Latencies()
    for each in latencies_ns:
        counted.counts[each // STEP_NS] += 1
    found = counted.percentiles()
    assert found.samples == len(latencies_ns)
    assert found.max == pytest.approx(max(latencies_ns) / 1e6, rel=2e-3, abs=STEP_NS / 1e6)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_one_of_the_values(values: list[float], share: float) -> None:
    values.sort()
    assert percentile(values, share) in values
    assert percentile(values, 1) == values[-1]


def felt(*cells: tuple[float, int, bool]) -> PersonReport:
    return person(Tier.COARSE, cells=[Felt(int(at * S), cell, sure) for at, cell, sure in cells])


def seen(at: float, *cells: int) -> CoarseSeen:
    return CoarseSeen(int(at * S), int(at), cells)


def test_a_coarse_cell_must_have_been_somebodys_newest() -> None:
    people = [felt((1, 7, True), (8, 9, True))]
    assert unexplained(seen(5, 7), people) == 0
    assert unexplained(seen(5, 9), people) == 1
    assert unexplained(seen(9, 9), people) == 0
    assert unexplained(seen(20, 7), people) == 1


def test_one_person_explains_one_cell_only() -> None:
    people = [felt((1, 7, True)), felt((1, 7, True), (4.5, 8, True))]
    assert unexplained(seen(5, 7, 8), people) == 0
    assert unexplained(seen(5, 8, 7), people) == 0
    assert unexplained(seen(5, 7, 7), people) == 0
    assert unexplained(seen(5, 8, 8), people) == 1
    assert unexplained(seen(5, 7, 7, 7), people) == 1


def test_what_may_not_have_been_admitted_does_not_hide_what_was_before() -> None:
    people = [felt((1, 7, True), (2, 8, False), (3, 9, False))]
    for cell, left in ((7, 0), (8, 0), (9, 0), (6, 1)):
        assert unexplained(seen(6, cell), people) == left


def test_people_at_other_tiers_explain_nothing() -> None:
    full = felt((1, 7, True))
    full.tier = Tier.FULL
    assert unexplained(seen(2, 7), [full]) == 1


def test_mixed_grants_are_drawn_by_seed() -> None:
    assert tiers_of("mixed", 16, 7) == tiers_of("mixed", 16, 7)
    assert tiers_of("mixed", 16, 7) != tiers_of("mixed", 16, 8)
    assert tiers_of("coarse", 2, 1) == [Tier.COARSE, Tier.COARSE]
    assert set(tiers_of("mixed", 1000, 1)) == set(Tier)


def test_cells_are_counted_from_minus_one_and_the_edge_belongs_to_the_last() -> None:
    assert cell_of(-1000, -1000) == 0
    assert cell_of(1000, 1000) == 24
    assert cell_of(1000, -1000) == 4
    assert cell_of(-200, 0) == 12
    assert cell_of(-201, 0) == 11


def test_where_samples_came_late_a_cell_may_be_that_much_older() -> None:
    one = felt((1, 7, True), (2, 8, True), (3, 9, True))
    speakers = SpeakersReport([one], {}, {}, [], 0.0, 10.0)
    for late_ms, unexplained_cells in ((20, 1), (2000, 0)):
        audience = AudienceReport(
            AccountsReport(), Counter({late_ms * 100: 1}), {}, [seen(6, 7)], 0, 1, 1, 0
        )
        verdict = judge(speakers, [audience], viewers=1, ended_early=False)
        judge_coarse(verdict, speakers, [audience])
        assert verdict.coarse_unexplained == unexplained_cells

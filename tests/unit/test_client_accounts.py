"""Law: delivered + skipped + unaccounted = sent, for each (number, viewer at full)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.client.core import Accounts, AccountsReport, GrantsSigned
from shared.contracts.client import Gap, Skipped, Snapshot, StrandEnded, StrandShown, Struck
from shared.contracts.records import Signed, Tier
from shared.identifiers import MonotonicNs

PLACE, CITIZEN, STRAND = b"s" * 16, b"c" * 16, b"t" * 32
SIGNED = Signed(b"\x90", bytes(64))
S = 1_000_000_000


def shown(next_seq: int = 0, citizen: bytes = CITIZEN, strand: bytes = STRAND) -> StrandShown:
    return StrandShown(PLACE, strand, citizen, SIGNED, next_seq, None, None)


def books(next_seq: int = 0) -> Accounts:
    accounts = Accounts()
    accounts.strand_shown(shown(next_seq), 0)
    return accounts


FATES = ("delivered", "refused", "lost", "vanished")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(FATES), max_size=60), st.integers(0, 9), st.randoms())
def test_every_number_is_accounted_for_exactly_once(
    fates: list[str], first: int, dice: object
) -> None:
    """Announcements may come before, between or after the samples around them, and repeat."""
    accounts = books(first)
    late: list[Skipped] = []
    for seq, fate in enumerate(fates, first):
        if fate == "delivered":
            accounts.sample(STRAND, seq, 0)
        elif fate != "vanished":
            notice = Skipped(STRAND, seq, seq, fate)
            (late.append if dice.random() < 0.5 else accounts.skipped)(notice)  # type: ignore[attr-defined]
    for notice in late:
        accounts.skipped(notice)
        accounts.skipped(notice)
    accounts.ended(StrandEnded(STRAND, "closed", first + len(fates), None))
    report = accounts.report()
    assert report.delivered == fates.count("delivered")
    assert report.skipped == {r: fates.count(r) for r in ("refused", "lost") if r in fates}
    assert report.unaccounted == fates.count("vanished")
    assert not report.against
    assert report.repeated == 0


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(8)))
def test_numbers_that_come_late_fill_their_holes(order: list[int]) -> None:
    accounts = books()
    for seq in order:
        accounts.sample(STRAND, seq, 0)
        accounts.sample(STRAND, seq, 0)
    report = accounts.report()
    assert (report.delivered, report.repeated, report.unaccounted) == (8, 8, 0)
    late = sum(any(other > seq for other in order[:place]) for place, seq in enumerate(order))
    assert report.disordered == late


def test_a_missing_tail_is_unaccounted_once_the_total_is_known() -> None:
    accounts = books()
    accounts.sample(STRAND, 0, 0)
    accounts.ended(StrandEnded(STRAND, "closed", 3, None))
    assert accounts.report().unaccounted == 2


def test_a_tail_before_struck_or_an_interruption_is_nobodys_debt() -> None:
    for end in (
        Struck(PLACE, CITIZEN, None),
        StrandEnded(STRAND, "interrupted", None, None),
    ):
        accounts = books()
        accounts.sample(STRAND, 0, 0)
        accounts.apply(end, None, 0)
        assert accounts.report().unaccounted == 0


def test_a_hole_before_struck_stays_a_hole() -> None:
    accounts = books()
    accounts.sample(STRAND, 5, 0)
    accounts.struck(Struck(PLACE, CITIZEN, None))
    assert accounts.report().unaccounted == 5


def test_a_gap_that_was_told_accounts_for_what_the_snapshot_passes_over() -> None:
    accounts = books()
    accounts.sample(STRAND, 0, 0)
    accounts.sample(STRAND, 2, 0)
    accounts.gap(Gap(PLACE))
    accounts.snapshot(Snapshot(PLACE, 1, recovered=False))
    accounts.strand_shown(shown(10), 0)
    accounts.sample(STRAND, 10, 0)
    report = accounts.report()
    assert (report.delivered, report.lost_in_gaps, report.unaccounted) == (3, 8, 0)


def test_a_snapshot_that_passes_over_numbers_in_silence_does_not_hide_them() -> None:
    accounts = books()
    accounts.sample(STRAND, 0, 0)
    accounts.snapshot(Snapshot(PLACE, 1, recovered=False))
    accounts.strand_shown(shown(10), 0)
    assert accounts.report().unaccounted == 9


def test_a_strand_that_a_snapshot_left_out_is_forgotten() -> None:
    accounts = books()
    accounts.snapshot(Snapshot(PLACE, 0, recovered=False))
    accounts.sample(STRAND, 0, 0)
    assert accounts.report().against == {"never shown": 1}


def test_a_viewers_own_absence_is_lost_and_not_unaccounted() -> None:
    accounts = books()
    accounts.sample(STRAND, 0, 0)
    accounts.disconnected()
    accounts.snapshot(Snapshot(PLACE, 1, recovered=False))
    accounts.strand_shown(shown(5), 0)
    report = accounts.report()
    assert (report.lost_in_gaps, report.unaccounted) == (4, 0)


def test_a_byte_after_struck_is_against_the_grant_until_it_is_shown_again() -> None:
    accounts = books()
    accounts.struck(Struck(PLACE, CITIZEN, None))
    accounts.sample(STRAND, 0, 0)
    accounts.strand_shown(shown(1), 0)
    accounts.sample(STRAND, 1, 0)
    report = accounts.report()
    assert report.against == {"after struck": 1}
    assert report.delivered == 1


def granted(tier: Tier) -> tuple[GrantsSigned, Accounts]:
    grants = GrantsSigned()
    grants.signed(CITIZEN, Tier.WITHHELD, MonotonicNs(0))
    grants.signed(CITIZEN, tier, MonotonicNs(1 * S))
    return grants, Accounts(grants)


def against(accounts: Accounts) -> int:
    return accounts.report().against.get("above the grant", 0)


def test_full_is_within_a_grant_of_full_and_above_any_other() -> None:
    for tier in Tier:
        _, accounts = granted(tier)
        accounts.strand_shown(shown(), 2 * S)
        accounts.sample(STRAND, 0, 2 * S)
        assert against(accounts) == (0 if tier is Tier.FULL else 2)


def test_after_acted_there_is_one_second_of_grace_and_no_more() -> None:
    for received_ns, expected in ((4 * S, 0), (4 * S + 1, 1)):
        grants, accounts = granted(Tier.FULL)
        accounts.strand_shown(shown(), 2 * S)
        grants.acted(CITIZEN, Tier.WITHHELD, MonotonicNs(3 * S))
        accounts.sample(STRAND, 0, received_ns)
        assert against(accounts) == expected


def test_a_grant_signed_again_allows_from_its_signing_on() -> None:
    grants, accounts = granted(Tier.FULL)
    grants.acted(CITIZEN, Tier.WITHHELD, MonotonicNs(3 * S))
    accounts.strand_shown(shown(), 10 * S)
    # the books hear of the new grant after its first byte: hindsight decides, by the times
    grants.signed(CITIZEN, Tier.FULL, MonotonicNs(9 * S))
    accounts.sample(STRAND, 0, 11 * S)
    assert against(accounts) == 0


def test_strangers_are_neither_counted_nor_judged() -> None:
    _, accounts = granted(Tier.FULL)
    accounts.strand_shown(shown(0, b"x" * 16, b"u" * 32), 2 * S)
    assert not accounts.sample(b"u" * 32, 7, 2 * S)
    assert accounts.open_strands == 0
    assert accounts.report() == AccountsReport()


def test_reports_add_up() -> None:
    one, two = AccountsReport(delivered=1, skipped={"lost": 2}), AccountsReport(unaccounted=3)
    two.skipped = {"lost": 1, "refused": 1}
    one.add(two)
    assert one == AccountsReport(delivered=1, skipped={"lost": 3, "refused": 1}, unaccounted=3)

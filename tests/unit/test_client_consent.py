"""What a client makes of its own consent chain, whole or not."""

from __future__ import annotations

import msgspec

from shared.client.consent import ConsentChain, folded, grant_draft, is_whole, withdrawal_draft
from shared.codec import ZERO_HASH, encode, sha256
from shared.contracts.client import Chain
from shared.contracts.records import ConsentRecord, Signed, Tier
from shared.identifiers import WallMs
from shared.identity import Signer

CITIZEN = bytes(range(16))
PLACE = b"p" * 16
NOW = WallMs(1_700_000_000_000)


def chain(*drafts: ConsentRecord) -> tuple[Signed, ...]:
    records: list[Signed] = []
    previous = ZERO_HASH
    for counter, draft in enumerate(drafts, start=1):
        fields = msgspec.structs.asdict(draft)
        fields |= {"citizen": CITIZEN, "counter": counter, "previous": previous}
        payload = encode(type(draft)(**fields))
        previous = sha256(payload)
        records.append(Signed(payload, bytes(64)))
    return tuple(records)


DRAFTS: tuple[ConsentRecord, ...] = (
    grant_draft(PLACE, Tier.FULL, now_ms=NOW),
    withdrawal_draft(None, now_ms=NOW),
    grant_draft(None, Tier.COARSE, now_ms=NOW),
    grant_draft(PLACE, Tier.AGGREGATE, now_ms=NOW),
)


def test_the_end_of_a_long_chain_is_read_and_known_to_be_an_end() -> None:
    records = chain(*DRAFTS)
    state = folded(CITIZEN, records[2:])
    assert state == folded(CITIZEN, records), "nothing stands from before the withdrawal"
    assert [(row.sanctuary, row.tier) for row in state.scopes] == [
        (None, Tier.COARSE),
        (PLACE, Tier.AGGREGATE),
    ]
    assert is_whole(4, records)
    assert not is_whole(4, records[2:])
    assert is_whole(0, ())


def test_a_record_that_does_not_follow_ends_the_reading() -> None:
    first, second, third, fourth = chain(*DRAFTS)
    assert folded(CITIZEN, (first, third, fourth)) == folded(CITIZEN, (first,))
    assert folded(CITIZEN, (second, fourth)) == folded(CITIZEN, (second,))


def page(records: tuple[Signed, ...], whole: tuple[Signed, ...]) -> Chain:
    return Chain(1, CITIZEN, len(whole), sha256(whole[-1].payload), records)


def test_pages_join_from_the_newest_to_the_first_and_the_head_is_known_at_once() -> None:
    keys = Signer(b"k" * 32)
    mine, records = ConsentChain(keys, keys), chain(*DRAFTS)
    mine.learned(page(records[3:], records))
    assert (mine.counter, mine.head, mine.before) == (4, sha256(records[3].payload), 4)
    mine.learned(page(records[1:3], records))
    mine.learned(page(records[1:3], records))  # the bus may repeat it
    assert mine.records == records[1:]
    assert [mine.before, mine.learned(page(records[:1], records)), mine.before] == [2, [], None]
    assert mine.records == records


def test_what_is_held_is_not_asked_for_again_when_another_device_went_on() -> None:
    keys = Signer(b"k" * 32)
    mine, records = ConsentChain(keys, keys), chain(*DRAFTS)
    mine.learned(page(records[:3], records[:3]))
    mine.broken()
    mine.learned(page(records[3:], records))
    assert (mine.records, mine.before, mine.counter) == (records, None, 4)


def test_a_page_of_another_chain_is_not_joined() -> None:
    keys = Signer(b"k" * 32)
    mine, records, others = ConsentChain(keys, keys), chain(*DRAFTS), chain(*DRAFTS[::-1])
    mine.learned(page(records[2:], records))
    mine.learned(page(others[:2], records))
    assert (mine.records, mine.before) == (records[2:], 3)


def test_an_answer_from_before_ones_own_last_record_changes_nothing() -> None:
    keys = Signer(b"k" * 32)
    mine, records = ConsentChain(keys, keys), chain(*DRAFTS)
    mine.learned(page(records, records))
    mine.learned(page(records[:3], records[:3]))
    assert (mine.counter, mine.records) == (4, records)

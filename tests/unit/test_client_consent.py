"""What a client makes of its own consent chain, whole or not."""

from __future__ import annotations

import msgspec

from shared.client.consent import folded, grant_draft, is_whole, withdrawal_draft
from shared.codec import ZERO_HASH, encode, sha256
from shared.contracts.records import ConsentRecord, Signed, Tier
from shared.identifiers import WallMs

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

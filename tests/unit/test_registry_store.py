"""Records at rest, and the charter: sealed to their place, made whole, refused when changed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.genesis import CharterUnusable, make_charter, read_charter
from services.registry.rebuild import next_epoch
from services.registry.store import (
    SealedInception,
    SealedRecord,
    Store,
    StoreDamaged,
    WrappingKeys,
    week_of,
    write_whole,
)
from shared.codec import ZERO_HASH, decode, encode, sha256
from shared.contracts import Charter, Institution, RecordKind, Signed, Tier
from shared.identifiers import WallMs
from shared.identity import Signer, did_of
from shared.runtime.runner import CannotServe

NOW = WallMs(1_795_000_000_000)
ADA, BEN = "01" * 16, "02" * 16
CLEAR = b"what ada signed"


def stores(directory: Path) -> tuple[Store, Store]:
    """A store that seals, and one of a later start that opens."""
    random = Random(1)
    return tuple(  # type: ignore[return-value]
        Store(WrappingKeys(directory, random.randbytes), random.randbytes) for _ in range(2)
    )


def test_what_was_sealed_opens_after_a_restart(tmp_path: Path) -> None:
    before, after = stores(tmp_path / "wrapping")
    identity = before.seal(f"identity.{ADA}", 0, CLEAR, NOW)
    records = [before.seal(f"consent.{ADA}", n, CLEAR + bytes([n]), NOW) for n in (1, 2)]
    opened = after.open(f"identity.{ADA}", identity)
    assert (opened.citizen.hex(), opened.number, opened.payload) == (ADA, 0, CLEAR)
    for number, record in enumerate(records, 1):
        found = after.open(f"consent.{ADA}", record)
        assert (found.number, found.payload) == (number, CLEAR + bytes([number]))
    # a store that opened can go on sealing
    again = after.seal(f"consent.{ADA}", 3, CLEAR, NOW)
    assert before.open(f"consent.{ADA}", again).number == 3


def test_nothing_that_was_signed_lies_in_the_clear(tmp_path: Path) -> None:
    store, _ = stores(tmp_path / "wrapping")
    for content in (
        store.seal(f"identity.{ADA}", 0, CLEAR, NOW),
        store.seal(f"consent.{ADA}", 1, CLEAR, NOW),
    ):
        assert CLEAR[:6] not in content


def test_each_citizen_has_a_key_of_its_own(tmp_path: Path) -> None:
    store, _ = stores(tmp_path / "wrapping")
    for citizen in (ADA, BEN):
        store.seal(f"identity.{citizen}", 0, CLEAR, NOW)
    keys = [store._data_keys[citizen] for citizen in (ADA, BEN)]
    assert keys[0] != keys[1]


def test_a_record_cannot_stand_in_another_place(tmp_path: Path) -> None:
    before, after = stores(tmp_path / "wrapping")
    identity = {c: before.seal(f"identity.{c}", 0, CLEAR, NOW) for c in (ADA, BEN)}
    first = before.seal(f"consent.{ADA}", 1, CLEAR, NOW)
    with pytest.raises(StoreDamaged):
        after.open(f"consent.{ADA}", first)  # its citizen is not known yet
    for citizen, content in identity.items():
        after.open(f"identity.{citizen}", content)
    renumbered = encode(SealedRecord(2, decode(first, SealedRecord).sealed))
    moved = decode(identity[ADA], SealedInception)
    for subject, content in (
        (f"consent.{BEN}", first),
        (f"consent.{ADA}", renumbered),
        (f"identity.{BEN}", identity[ADA]),
        (f"consent.{ADA}", encode(SealedRecord(0, moved.sealed))),
        (f"identity.{ADA}", first),
    ):
        with pytest.raises(StoreDamaged):
            after.open(subject, content)


@settings(deadline=None)
@given(st.data())
def test_a_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    before, after = stores(tmp_path_factory.getbasetemp() / "wrapping")
    identity = before.seal(f"identity.{ADA}", 0, CLEAR, NOW)
    record = before.seal(f"consent.{ADA}", 1, CLEAR, NOW)
    subject, content = data.draw(
        st.sampled_from([(f"identity.{ADA}", identity), (f"consent.{ADA}", record)])
    )
    at = data.draw(st.integers(0, len(content) - 1))
    changed = (
        content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    )
    after.open(f"identity.{ADA}", identity)
    with pytest.raises(StoreDamaged):
        after.open(subject, changed)


def test_wrapping_keys_are_weekly_private_and_kept(tmp_path: Path) -> None:
    directory = tmp_path / "wrapping"
    keys = WrappingKeys(directory, Random(1).randbytes)
    week, key = keys.now(NOW)
    path = directory / f"{week}.key"
    assert week == week_of(NOW) == "2026-W47"
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert path.read_bytes() == key
    assert WrappingKeys(directory, Random(2).randbytes).now(NOW) == (week, key)
    next_week, next_key = keys.now(WallMs(NOW + 7 * 86_400_000))
    assert (next_week, next_key != key) == ("2026-W48", True)
    assert sorted(path.name for path in directory.iterdir()) == ["2026-W47.key", "2026-W48.key"]


def test_a_week_is_an_iso_week_in_utc() -> None:
    sunday = WallMs(1_798_415_999_999)  # 2026-12-27 23:59:59.999 UTC
    assert week_of(sunday) == "2026-W52"
    assert week_of(WallMs(sunday + 1)) == "2026-W53"
    assert week_of(WallMs(sunday + 1 + 7 * 86_400_000)) == "2027-W01"


def test_a_missing_or_short_wrapping_key_is_said_by_its_file(tmp_path: Path) -> None:
    directory = tmp_path / "wrapping"
    before, after = stores(directory)
    identity = before.seal(f"identity.{ADA}", 0, CLEAR, NOW)
    path = directory / "2026-W47.key"
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreDamaged, match="2026-W47"):
        after.open(f"identity.{ADA}", identity)
    path.write_bytes(b"short")
    with pytest.raises(StoreDamaged, match="5 bytes"):
        after.open(f"identity.{ADA}", identity)
    outside = decode(identity, SealedInception)
    with pytest.raises(StoreDamaged):
        after.open(
            f"identity.{ADA}",
            encode(SealedInception("../elsewhere", outside.wrapped, outside.sealed)),
        )


def test_a_file_is_whole_even_after_a_write_that_was_interrupted(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"half")
    write_whole(tmp_path / "a.key", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]


def test_epochs_rise_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    path = tmp_path / "registry.epoch"
    first = next_epoch(path, NOW)
    assert first == NOW
    assert next_epoch(path, WallMs(NOW - 1000)) == first + 1
    assert next_epoch(path, WallMs(NOW + 1000)) == NOW + 1000
    path.write_text("x")
    with pytest.raises(CannotServe, match="damaged"):
        next_epoch(path, NOW)


# ── the charter ──────────────────────────────────────────────────────────────────────────────────

FOUNDER, OTHER = Signer(sha256(b"founder")), Signer(sha256(b"other"))
TOML = f"""
name = "A city"
tier_max = "coarse"
quorum = 2
press = ["{did_of(OTHER.public_key)}"]
[[institutions]]
name = "Founder"
[[institutions]]
name = "Other"
key = "{did_of(OTHER.public_key)}"
"""


def test_a_charter_is_signed_by_its_founder() -> None:
    signed = make_charter(TOML, FOUNDER, NOW)
    charter = read_charter(signed)
    assert charter == Charter(
        "A city",
        NOW,
        Tier.COARSE,
        2,
        (Institution("Founder", FOUNDER.public_key), Institution("Other", OTHER.public_key)),
        (OTHER.public_key,),
    )


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (('"coarse"', '"much"'), "tier_max"),
        (("quorum = 2", "quorum = 3"), "quorum"),
        (("quorum = 2", "quorum = 0"), "quorum"),
        (("quorum = 2", "quorum = 2\ncolour = 1"), "colour"),
        (('name = "A city"', 'name = ""'), "name"),
        ((f'key = "{did_of(OTHER.public_key)}"', ""), "'Other' has no key"),
        ((did_of(OTHER.public_key), "did:key:z1"), "not a did:key"),
        (('name = "Founder"', f'name = "F"\nkey = "{did_of(OTHER.public_key)}"'), "not its own"),
        (
            (f'key = "{did_of(OTHER.public_key)}"', f'key = "{did_of(FOUNDER.public_key)}"'),
            "a key twice",
        ),
        (("[[institutions]]", "[[institutions"), ""),
    ],
)
def test_a_bad_charter_is_refused_with_the_reason(change: tuple[str, str], wrong: str) -> None:
    assert change[0] in TOML
    with pytest.raises(CharterUnusable) as refused:
        make_charter(TOML.replace(*change), FOUNDER, NOW)
    assert wrong in str(refused.value)


def test_a_changed_charter_is_not_read() -> None:
    signed = make_charter(TOML, FOUNDER, NOW)
    charter = read_charter(signed)
    stranger = OTHER.sign_record(RecordKind.CHARTER, ZERO_HASH, signed.payload)
    for record in (
        Signed(signed.payload + b"\xc0", signed.signature),
        Signed(encode(charter.institutions), signed.signature),
        Signed(signed.payload.replace(b"A city", b"a city"), signed.signature),
        stranger,
    ):
        with pytest.raises(CharterUnusable):
            read_charter(record)


def test_the_seeded_charter_and_rooms_can_be_read() -> None:
    seeds = Path(__file__).parents[2] / "seeds"
    charter = read_charter(make_charter((seeds / "charter.toml").read_text(), FOUNDER, NOW))
    assert charter.tier_max is Tier.FULL

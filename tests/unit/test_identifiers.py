"""Slots against the published vectors of FNV-1a, and names of seeded rooms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identifiers import SLOTS, sanctuary_of_slug, slot_of, slots_of, slug_of

VECTORS = {
    # draft-eastlake-fnv, 64-bit FNV-1a
    b"": 0xCBF29CE484222325,
    b"a": 0xAF63DC4C8601EC8C,
    b"b": 0xAF63DF4C8601F1A5,
    b"fo": 0x08985907B541D342,
    b"foobar": 0x85944171F73967E8,
}


@pytest.mark.parametrize(("name", "value"), VECTORS.items())
def test_a_slot_is_fnv_1a_modulo_64(name: bytes, value: int) -> None:
    assert slot_of(name) == value % SLOTS


@given(st.binary(min_size=16, max_size=16))
def test_every_sanctuary_has_one_owner_whatever_the_number_of_replicas(sanctuary: bytes) -> None:
    slot = slot_of(sanctuary)
    for replicas in (1, 2, 3, 5, 64):
        owners = [o for o in range(replicas) if slot in slots_of(o, replicas)]
        assert owners == [slot % replicas]


def test_slots_spread_over_random_sanctuaries() -> None:
    counts = [0] * SLOTS
    for number in range(6400):
        counts[slot_of(number.to_bytes(16, "big"))] += 1
    assert min(counts) > 50
    assert max(counts) < 150


@pytest.mark.parametrize(("ordinal", "replicas"), [(1, 1), (-1, 2), (0, 65), (2, 2)])
def test_an_owner_outside_its_number_is_a_programmer_s_error(ordinal: int, replicas: int) -> None:
    with pytest.raises(AssertionError):
        slots_of(ordinal, replicas)


@given(st.text())
def test_a_slug_is_its_own_slug(name: str) -> None:
    assert slug_of(slug_of(name)) == slug_of(name)


def test_a_seeded_room_s_id_never_changes() -> None:
    assert slug_of("Emotive Commons") == "emotive-commons"
    assert sanctuary_of_slug("emotive-commons").hex() == "1d90ef631465605f2290fb7fb868ab7e"

"""The rooms that a gateway tells anybody: the newest word of every sanctuary that still speaks."""

from __future__ import annotations

from services.gateway.core.listing import SENDERS_MAX, STALE_NS, Listing
from shared.contracts import Kind, ListedRoom, RoomsListed, Setting
from shared.identifiers import MonotonicNs


def room(name: str) -> ListedRoom:
    return ListedRoom(name.encode().ljust(16), name, Kind.COMMONS, Setting.OPEN, public=False)


def names(listing: Listing, now_ns: int) -> list[str] | None:
    rooms = listing.rooms(MonotonicNs(now_ns))
    return None if rooms is None else [each.name for each in rooms]


def hear(listing: Listing, sender: str, *rooms: str, now_ns: int = 0) -> None:
    listed = RoomsListed(sender, 1, tuple(room(name) for name in rooms))
    listing.hear(listed, MonotonicNs(now_ns))


def test_rooms_of_all_sanctuaries_by_name_and_the_newest_word_counts() -> None:
    listing = Listing()
    assert names(listing, 0) is None
    hear(listing, "sanctuary-0", "b", "d")
    hear(listing, "sanctuary-1", "a")
    assert names(listing, 0) == ["a", "b", "d"]
    hear(listing, "sanctuary-0", "c")
    assert names(listing, 0) == ["a", "c"]


def test_a_sanctuary_that_fell_silent_is_not_told_of_any_more() -> None:
    listing = Listing()
    hear(listing, "sanctuary-0", "old")
    hear(listing, "sanctuary-1", "new", now_ns=STALE_NS)
    assert names(listing, STALE_NS) == ["new", "old"]
    assert names(listing, STALE_NS + 1) == ["new"]
    assert names(listing, 2 * STALE_NS + 1) is None, "not the same as no rooms"


def test_it_does_not_grow_without_bound() -> None:
    listing = Listing()
    for number in range(2 * SENDERS_MAX):
        hear(listing, f"sanctuary-{number}", f"room {number}")
    assert len(names(listing, 0) or ()) == SENDERS_MAX

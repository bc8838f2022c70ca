"""Law: snapshot + later events == what a viewer since the beginning holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.client.core import Viewer
from shared.codec import decode_sample
from shared.contracts.client import (
    Closeness,
    Coarse,
    SampleShown,
    SealShown,
    ServerMessage,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)
from tests.unit.test_client_strand import CITY, shown, spoken, writer_of

PLACE = bytes(16)


def story() -> list[ServerMessage]:
    """Two strands of one citizen, a pseudonym, a room that grows: some thirty messages."""
    first, second = writer_of(b"first"), writer_of(b"second")
    messages: list[ServerMessage] = [shown(first), shown(second)]
    for writer, gaps in ((first, [0, 10, 1500, 10]), (second, [0, 1200])):
        bodies, seals = spoken(writer, gaps)
        messages += [SampleShown(writer.strand, body) for body in bodies]
        messages += [SealShown(writer.strand, seal) for seal in seals]
    messages.insert(6, Skipped(second.strand, 0, 0, "lost"))
    messages.insert(9, Coarse(PLACE, 70_000, b"pseudony", 3))
    messages.insert(11, Coarse(PLACE, 70_001, b"pseudony", 4))
    messages.insert(12, Closeness(PLACE, close=False))
    messages.append(StrandEnded(first.strand, "closed", 4, None))
    messages.append(Coarse(PLACE, 70_002, b"pseudony", None))
    messages.append(Struck(PLACE, b"c" * 16, None))
    return messages


def snapshot_of(viewer: Viewer) -> list[ServerMessage]:
    """What a fanout that holds what this viewer holds would send."""
    room = viewer.room(PLACE)
    parts: list[ServerMessage] = [] if room.is_close else [Closeness(PLACE, close=False)]
    for strand, view in room.strands.items():
        if view.ended is None:
            row = (PLACE, strand, view.citizen, view.signed, view.next_seq)
            parts.append(StrandShown(*row, view.body, view.seal, view.unsealed_from))
    parts += [Coarse(PLACE, 70_000, name, cell) for name, cell in sorted(room.coarse.items())]
    return [Snapshot(PLACE, len(parts), recovered=False), *parts]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_snapshot_and_later_events_equal_the_state(data: st.DataObject) -> None:
    messages = story()
    moment = data.draw(st.integers(0, len(messages)))
    since_the_beginning, newcomer = Viewer(CITY), Viewer(CITY)
    since_the_beginning.room(PLACE)
    for message in messages[:moment]:
        since_the_beginning.apply(message)
    for message in snapshot_of(since_the_beginning):
        newcomer.apply(message)
    assert newcomer.state() == since_the_beginning.state()
    for message in messages[moment:]:
        since_the_beginning.apply(message)
        newcomer.apply(message)
        assert newcomer.state() == since_the_beginning.state()


def test_a_snapshot_forgets_what_it_does_not_hold() -> None:
    viewer = Viewer(CITY)
    for message in story()[:12]:
        viewer.apply(message)
    viewer.apply(Snapshot(PLACE, 0, recovered=False))
    assert viewer.state() == {PLACE.hex(): {"close": True, "coarse": {}, "strands": {}}}


def test_struck_blanks_the_citizen_and_a_later_byte_is_an_orphan() -> None:
    writer = writer_of()
    bodies, _ = spoken(writer, [0, 10])
    viewer = Viewer(CITY)
    for message in (shown(writer), SampleShown(writer.strand, bodies[0])):
        viewer.apply(message)
    viewer.apply(Struck(PLACE, b"c" * 16, None))
    assert viewer.strand(writer.strand) is None
    viewer.apply(SampleShown(writer.strand, bodies[1]))
    assert viewer.orphans == 1


def test_held_says_the_last_number_of_each_open_strand() -> None:
    writer = writer_of()
    bodies, _ = spoken(writer, [0, 10])
    viewer = Viewer(CITY)
    viewer.apply(shown(writer))
    assert viewer.held(PLACE) == ()
    for body in bodies:
        viewer.apply(SampleShown(writer.strand, body))
    (held,) = viewer.held(PLACE)
    assert (held.strand, held.last_seq) == (writer.strand, decode_sample(bodies[-1]).seq)


def test_absent_and_struck_take_a_pseudonym_off() -> None:
    for end in (Coarse(PLACE, 70_001, b"pseudony", None), Struck(PLACE, None, b"pseudony")):
        viewer = Viewer(CITY)
        viewer.apply(Coarse(PLACE, 70_000, b"pseudony", 3))
        assert viewer.room(PLACE).coarse == {b"pseudony": 3}
        viewer.apply(end)
        assert viewer.room(PLACE).coarse == {}

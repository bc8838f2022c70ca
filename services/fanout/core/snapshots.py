"""Snapshots: what a member since the beginning holds of a room, for one who enters now."""

from __future__ import annotations

from services.fanout.core.city import closeness
from services.fanout.core.lifts import Lift
from services.fanout.core.presences import Presence
from services.fanout.core.rooms import Room
from services.fanout.core.streams import Stream, deliveries
from services.fanout.core.views import View
from shared.contracts.fanout import Enter, EnterFollowers, EnterPublic, Segment, StrandNumber
from shared.contracts.records import Tier

SNAPSHOT_BYTES_MAX = 200_000
"""What an `Enter` carries; the rest follows at once as deliveries to the session alone."""

_ENTER_BYTES = 64


def enter(room: Room, session: bytes, stream: Stream, *, gap: bool) -> None:
    """One session enters its room. Everything that waits for the room must be settled before."""
    person = room.seats[session].citizen
    is_apart = any(
        presence.is_apart(session) or person in presence.lifts
        for presence in room.presences.values()
    )
    _write_enter(room, session, stream, _members(room, session if is_apart else None), gap=gap)
    _let_in(room, session, stream)


def enter_all(room: Room, stream: Stream, *, gap: bool) -> None:
    """Every session and every anonymous viewer whom a stream reaches enters; one snapshot for all."""
    key = (stream.gateway, stream.incarnation)
    sessions = room.seats_at.get(key, {})
    if sessions:
        shared = _members(room, None)
        apart: set[bytes] = set()
        for presence in room.presences.values():
            apart.update(presence.excepted)
            apart.update(presence.followers.sessions)
            for person in presence.lifts:
                apart.update(room.citizens.get(person, ()))
        for session in sessions:
            content = _members(room, session) if session in apart else shared
            _write_enter(room, session, stream, content, gap=gap)
            _let_in(room, session, stream)
    if key in room.watches:
        enter_public(room, stream, gap=gap)


def enter_public(room: Room, stream: Stream, *, gap: bool) -> None:
    """The anonymous viewers whom a stream reaches enter."""
    watch = room.watches[stream.gateway, stream.incarnation]
    segments, _ = _content([(p, p.public, None) for p in room.presences.values()])
    first, rest = _divide(segments)
    stream.add(EnterPublic(room.sanctuary, watch.generation, first, gap), _size(first))
    for delivery, size in deliveries(room.public.key, rest, {}) if rest else ():
        stream.add(delivery, size)


_Content = tuple[list[Segment], tuple[StrandNumber, ...]]
_Seen = tuple[Presence, View, Lift | None]


def _members(room: Room, session: bytes | None) -> _Content:
    views: list[_Seen]
    if session is None:
        views = [(presence, presence.members, None) for presence in room.presences.values()]
    else:
        person = room.seats[session].citizen
        views = [
            (presence, presence.view_of(session), presence.lifts.get(person))
            for presence in room.presences.values()
        ]
    segments, numbers = _content(views)
    if not room.is_close:
        segments.insert(0, closeness(room))
    return segments, numbers


def _content(views: list[_Seen]) -> _Content:
    """Strands in the order in which they were opened, then cells by pseudonym."""
    segments: list[Segment] = []
    numbers: list[StrandNumber] = []
    faces: list[tuple[bytes, Segment]] = []
    for presence, view, lift in views:
        if view.form is Tier.WITHHELD:
            continue
        if presence.is_held:
            presence.unshown = True
            continue
        face = view.face
        if view.form is Tier.FULL:
            segments += view.strands(lift)
            numbers += presence.numbers()
            view.shown |= bool(presence.strands)
        elif face is not None and face.message is not None and face.pseudonym is not None:
            faces.append((face.pseudonym, Segment(presence.citizen, face.message)))
    faces.sort(key=lambda item: item[0])
    segments += [segment for _, segment in faces]
    return segments, tuple(numbers)


def _write_enter(
    room: Room, session: bytes, stream: Stream, content: _Content, *, gap: bool
) -> None:
    segments, numbers = content
    first, rest = _divide(segments)
    stream.add(Enter(session, room.sanctuary, first, numbers, gap), _size(first))
    if rest:
        for delivery, size in deliveries(room.outlet_for(session).key, rest, {}):
            stream.add(delivery, size)


def _let_in(room: Room, session: bytes, stream: Stream) -> None:
    """Its snapshot holds what it is shown as a follower; what comes after reaches it as one."""
    for citizen in room.follows.get(session, ()):
        presence = room.presences.get(citizen)
        if presence is not None and session in presence.followers.sessions:
            stream.add(EnterFollowers(session, room.sanctuary, citizen), _ENTER_BYTES)


def _divide(segments: list[Segment]) -> tuple[tuple[Segment, ...], list[Segment]]:
    total = 0
    for index, segment in enumerate(segments):
        total += len(segment.message)
        if total > SNAPSHOT_BYTES_MAX:
            return tuple(segments[:index]), segments[index:]
    return tuple(segments), []


def _size(segments: tuple[Segment, ...]) -> int:
    return sum(len(segment.message) + 24 for segment in segments)

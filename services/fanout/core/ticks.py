"""The room's coarse tick: who is on show in a cell, told to each audience in one sorted delivery."""

from __future__ import annotations

from services.fanout.core.city import REMEMBER_NS, City
from services.fanout.core.coarse import TICK_MS, cell_of, phase_ms
from services.fanout.core.presences import Presence
from services.fanout.core.rooms import Outlet, Room, Slot
from shared.codec import Refused, decode
from shared.contracts.fanout import Segment
from shared.contracts.sample import Sample
from shared.identifiers import SLOTS, MonotonicNs, WallMs

_NS_PER_MS = 1_000_000
_Rows = dict[bytes, tuple[Outlet, list[tuple[bytes, Segment]]]]
"""Audience → its outlet, and (pseudonym, record)."""


def schedule(slot: Slot, now_ns: MonotonicNs, now_ms: WallMs) -> None:
    """The slot's next tick by the wall clock, so that ticks keep their place in the second."""
    wait_ms = (phase_ms(slot.number, SLOTS) - now_ms) % TICK_MS or TICK_MS
    slot.tick_at_ns = now_ns + wait_ms * _NS_PER_MS


def tick(city: City, slot: Slot, now_ns: MonotonicNs, now_ms: WallMs) -> None:
    """One tick of every room of a slot. Stamps never repeat, whatever the wall clock does."""
    stamp = max(now_ms // TICK_MS, slot.tick_stamp + 1)
    slot.tick_stamp = stamp
    for room in list(slot.rooms.values()):
        _forget_silent(city, room, now_ns)
        if not slot.live or slot.holding:
            continue
        rows: _Rows = {}
        for presence in room.presences.values():
            if not presence.suspended:
                _show(city, presence, stamp, rows, now_ns)
        for _, records in rows.values():
            records.sort(key=lambda record: record[0])
        # who follows several gets each by an audience of its own: their order tells nothing either
        for outlet, records in sorted(rows.values(), key=lambda row: row[1][0][0]):
            for _, segment in records:
                outlet.put(segment)


def _show(city: City, presence: Presence, stamp: int, rows: _Rows, now_ns: MonotonicNs) -> None:
    faces = [(view, view.face) for view in presence.views() if view.face is not None]
    if not faces:
        return
    newest_ns, body = presence.spoken()
    cell = None
    if body is not None:
        try:
            cell = cell_of(decode(body, Sample))
        except Refused:
            city.counts.malformed += 1
    told: dict[int, tuple[bytes, bytes] | None] = {}
    for view, face in faces:
        if id(face) not in told:  # sessions of one person share a face
            told[id(face)] = face.tick(
                presence.room.sanctuary, stamp, cell=cell, newest_ns=newest_ns, now_ns=now_ns
            )
        record = told[id(face)]
        if record is not None:
            pseudonym, message = record
            _, records = rows.setdefault(view.outlet.key, (view.outlet, []))
            records.append((pseudonym, Segment(presence.citizen, message)))


def _forget_silent(city: City, room: Room, now_ns: MonotonicNs) -> None:
    """Presences without a strand for long, and rooms that never came to stand."""
    for presence in list(room.presences.values()):
        if presence.lifts:
            presence.forget_lifts(now_ns)
        if (
            not presence.strands
            and now_ns - presence.ended_ns >= REMEMBER_NS
            and not any(view.face and view.face.message for view in presence.views())
        ):
            city.forget(presence)
    if room.policy is None and not room.presences and not room.seats:
        del room.slot.rooms[room.sanctuary]

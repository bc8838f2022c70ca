"""The first sanctuaries, from a TOML text: one `[[sanctuary]]` table each.

`slug` (or `id`, 32 hex digits) and `name`, `kind`, `setting`, `tier_max`, `capacity` are required;
`close_limit`, `close_back`, `public`, `purpose` as in `shared.contracts.Policy`. People are named by
`did:key` or by citizen id in 32 hex digits: `voices` (who may speak; absent: every member), `invited`
(who may enter; a circle without it lets nobody in).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from shared.codec import Refused
from shared.contracts import Kind, Policy, Setting, Tier
from shared.identifiers import SanctuaryId, sanctuary_of_slug, slug_of
from shared.identity import key_of

CIRCLE_CAPACITY_MAX = 12


class SeedsUnusable(Exception):  # noqa: N818  (the state of what was read)
    """What is wrong with the seeds, in one line."""


class People:
    """Some people, each by identity key (32 bytes) or citizen id (16 bytes), in the seed's order."""

    __slots__ = ("names",)

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = names

    def citizens(self, by_key: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
        """Those who are enrolled, by citizen id. `by_key`: identity key → citizen."""
        ids = (by_key.get(name) if len(name) == 32 else name for name in self.names)
        return tuple(dict.fromkeys(citizen for citizen in ids if citizen is not None))


@dataclass(frozen=True, slots=True)
class RoomSeed:
    """A room as it was seeded. `policy.voices` is filled in by whoever knows the citizens."""

    policy: Policy
    voices: People | None = None
    invited: People | None = None

    @property
    def sanctuary(self) -> bytes:
        return self.policy.sanctuary

    @property
    def is_private(self) -> bool:
        return self.policy.kind is Kind.CIRCLE or self.invited is not None


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: Kind
    setting: Setting
    tier_max: str
    capacity: int
    slug: str | None = None
    id: str | None = None
    close_limit: int = 50
    close_back: int = 45
    public: bool = False
    purpose: str = ""
    voices: list[str] | None = None
    invited: list[str] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    sanctuary: list[_Table] = []


def read_seeds(toml: str) -> tuple[RoomSeed, ...]:
    """The rooms of a seed file. Raises: SeedsUnusable."""
    try:
        tables = msgspec.convert(tomllib.loads(toml), _File).sanctuary
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SeedsUnusable(str(error)) from None
    rooms = tuple(_room(table) for table in tables)
    ids = [room.sanctuary for room in rooms]
    if len(dict.fromkeys(ids)) != len(ids):
        raise SeedsUnusable("two sanctuaries have the same id")
    return rooms


def with_voices(rooms: tuple[RoomSeed, ...], entries: tuple[str, ...]) -> tuple[RoomSeed, ...]:
    """The rooms, each with the voices that entries `<slug>=<did:key or citizen id>` add to it.

    Raises: SeedsUnusable.
    """
    by_id = {room.sanctuary: room for room in rooms}
    for entry in entries:
        slug, _, name = entry.partition("=")
        room = by_id.get(sanctuary_of_slug(slug))
        if room is None:
            raise SeedsUnusable(f"voice {entry!r}: no sanctuary has this slug")
        standing = () if room.voices is None else room.voices.names
        voices = People((*standing, _person(f"voice {entry!r}", name)))
        by_id[room.sanctuary] = replace(room, voices=voices)
    return tuple(by_id.values())


def _room(table: _Table) -> RoomSeed:
    where = f"sanctuary {table.name!r}"
    if table.tier_max.upper() not in Tier.__members__:
        known = ", ".join(tier.name.lower() for tier in Tier)
        raise SeedsUnusable(f"{where}: tier_max {table.tier_max!r} is none of {known}")
    if table.public and table.kind is not Kind.STAGE:
        raise SeedsUnusable(f"{where}: only a stage can be public")
    if table.kind is Kind.CIRCLE and table.capacity > CIRCLE_CAPACITY_MAX:
        raise SeedsUnusable(f"{where}: a circle holds at most {CIRCLE_CAPACITY_MAX}")
    if table.close_back > table.close_limit:
        raise SeedsUnusable(f"{where}: close_back is above close_limit")
    policy = Policy(
        sanctuary=_id(where, table),
        name=table.name,
        kind=table.kind,
        setting=table.setting,
        tier_max=Tier[table.tier_max.upper()],
        capacity=table.capacity,
        close_limit=table.close_limit,
        close_back=table.close_back,
        public=table.public,
        purpose=table.purpose,
    )
    try:
        # a struct checks its bounds when it is read, not when it is made
        msgspec.msgpack.decode(msgspec.msgpack.encode(policy), type=Policy)
    except msgspec.ValidationError as error:
        raise SeedsUnusable(f"{where}: {_with_field(str(error))}") from None
    return RoomSeed(policy, _people(where, table.voices), _people(where, table.invited))


def _with_field(sentence: str) -> str:
    """The place in the array that msgspec tells, `$[6]`, by the name of the field."""

    def name(place: re.Match[str]) -> str:
        return Policy.__struct_fields__[int(place[1]) - 1]  # behind the tag

    return re.sub(r"\$\[(\d+)\]", name, sentence)


def _id(where: str, table: _Table) -> SanctuaryId:
    if (table.slug is None) == (table.id is None):
        raise SeedsUnusable(f"{where}: give it a slug or an id")
    if table.slug is not None:
        if not table.slug or slug_of(table.slug) != table.slug:
            raise SeedsUnusable(f"{where}: {table.slug!r} is not a slug, such as `open-stage`")
        return sanctuary_of_slug(table.slug)
    return SanctuaryId(_hex(where, table.id or ""))


def _people(where: str, names: list[str] | None) -> People | None:
    return None if names is None else People(tuple(_person(where, name) for name in names))


def _person(where: str, name: str) -> bytes:
    """An identity key from a did:key, or a citizen id from its hex digits. Raises: SeedsUnusable."""
    if not name.startswith("did:"):
        return _hex(where, name)
    try:
        return key_of(name)
    except Refused:
        raise SeedsUnusable(f"{where}: {name!r} is not a did:key of an Ed25519 key") from None


def _hex(where: str, text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 16:
        raise SeedsUnusable(f"{where}: {text!r} is not 32 hex digits")
    return value

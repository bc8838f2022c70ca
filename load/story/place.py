"""Where in a TOML text a key stands, and which keys are taken there: for errors that help. Pure."""

from __future__ import annotations

import re
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-]+)\s*\]\]?")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-]+)\s*=")


def line_of(text: str, path: str) -> int:
    """The line of `.act[1].happening[0].at_s`, or of the nearest table around it; 1 if there is none."""
    best, line = 0, 1
    for number, place in _places(text):
        if len(place) > best and (path == place or path.startswith((f"{place}.", f"{place}["))):
            best, line = len(place), number
    return line


def _places(text: str) -> list[tuple[int, str]]:
    """(line, path) of every header and key, as msgspec spells paths."""
    found: list[tuple[int, str]] = []
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if (header := _HEADER.match(line)) is not None:
            *above, last = header[2].split(".")
            table = ""
            for name in above:
                table = f"{table}.{name}"
                if table in counts:
                    table = f"{table}[{counts[table]}]"
            table = f"{table}.{last}"
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{counts[table]}]"
            found.append((number, table))
        elif (key := _KEY.match(line)) is not None:
            found.append((number, f"{table}.{key[1]}"))
    return found


def takes(root: type[msgspec.Struct], path: str, raw: dict[str, Any]) -> list[str]:
    """The keys that the table at `path` takes, for a tagged one by the tag that it has; or, where a
    word stands, the words that it may be.
    """
    kinds: tuple[Any, ...] = (root,)
    value: Any = raw
    for name, index in re.findall(r"\.([A-Za-z0-9_\-]+)|\[(\d+)\]", path):
        structs = _fitting(kinds, value)
        if not name:
            kinds, value = _within(get_args(kinds[0])[0]), value[int(index)]
        elif name == structs[0].__struct_config__.tag_field:
            return [str(each.__struct_config__.tag) for each in structs]
        else:
            kinds = _within(get_type_hints(structs[0])[name])
            value = value.get(name) if isinstance(value, dict) else None
    words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    structs = _fitting(kinds, value)
    if words or not structs:
        return words
    tag = structs[0].__struct_config__.tag_field
    return ([tag] if tag else []) + [
        each.encode_name for each in msgspec.structs.fields(structs[0])
    ]


def _within(kind: Any) -> tuple[Any, ...]:
    """The members of a union; the kind itself if it is none."""
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _fitting(kinds: tuple[Any, ...], value: Any) -> list[Any]:
    """The structs among them; of tagged ones that whose tag the value has, or all if it has none."""
    structs = [each for each in kinds if hasattr(each, "__struct_config__")]
    tag = structs[0].__struct_config__.tag_field if structs else None
    told = value.get(tag) if tag and isinstance(value, dict) else None
    return [each for each in structs if each.__struct_config__.tag == told] or structs

"""The page's modules as the one that a browser loads. Pure: text in, text out.

Each module becomes a function that is called once, behind those that it imports, and whose result is
what it exports. Only the forms that the page is written in are understood, each at the beginning of a
line; anything else stays as it is, and a test that runs the page finds it:

    import { a, b as c } from "./x.js"        export const, let, function, async function, class
    export { a, b as c } from "./x.js"        export { a, b as c }
    await import("./y.js")                    which stays a module of its own
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import\s*\{([^}]*)\}\s*from\s*"([^"]+)";?', re.MULTILINE)
_PASSED_ON = re.compile(r'^export\s*\{([^}]*)\}\s*from\s*"([^"]+)";?', re.MULTILINE)
_NAMED = re.compile(r"^export\s*\{([^}]*)\};?", re.MULTILINE)
_DECLARED = re.compile(
    r"^export\s+(?=(?:const|let|class|(?:async\s+)?function\*?)\s+(\w+))", re.MULTILINE
)
_LATER = re.compile(r'\bimport\("([^"]+)"\)')


def joined(sources: Mapping[str, str], entry: str) -> str:
    """One module of `entry` and all that it imports; `sources` by path from the page's root.

    A module that is not among them is taken as an empty one.

    Raises: ValueError when modules import each other in a circle.
    """
    names: dict[str, str] = {}
    parts: list[str] = []

    def add(path: str, importers: tuple[str, ...]) -> None:
        if path in importers:
            raise ValueError(f"modules import each other: {' → '.join((*importers, path))}")
        if path in names:
            return
        text = sources.get(path, "")
        for found in (*_IMPORT.finditer(text), *_PASSED_ON.finditer(text)):
            add(_from(path, found[2]), (*importers, path))
        names[path] = f"m{len(names)}"
        parts.append(f"const {names[path]}=(()=>{{\n{_function(path, text, names)}}})();\n")

    add(entry, ())
    return "".join(parts)


def _function(path: str, text: str, names: Mapping[str, str]) -> str:
    """The inside of a module's function."""
    exports: list[str] = []
    for found in _PASSED_ON.finditer(text):
        exports += [f"{new}:{names[_from(path, found[2])]}.{old}" for old, new in _pairs(found[1])]
    text = _PASSED_ON.sub("", text)
    for found in _NAMED.finditer(text):
        exports += [f"{new}:{old}" for old, new in _pairs(found[1])]
    text = _NAMED.sub("", text)
    exports += _DECLARED.findall(text)
    text = _DECLARED.sub("", text)

    def bound(found: re.Match[str]) -> str:
        wanted = ",".join(f"{old}:{new}" for old, new in _pairs(found[1]))
        return f"const {{{wanted}}}={names[_from(path, found[2])]};"

    text = _IMPORT.sub(bound, text)
    text = _LATER.sub(lambda found: f'import("{_from(path, found[1])}")', text)
    return f"{tight(text)}return{{{','.join(exports)}}};\n"


def _pairs(clause: str) -> list[tuple[str, str]]:
    """`a, b as c` as (name there, name here)."""
    words = [part.split() for part in clause.split(",") if part.strip()]
    return [(each[0], each[-1]) for each in words]


def _from(path: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))


def tight(text: str) -> str:
    """Without comments that have lines of their own, indentation, and empty lines. A text in backticks
    may go over a line's end and keeps what stands in it.
    """
    lines: list[str] = []
    is_comment = is_text = False
    for line in text.split("\n"):
        if not is_text:
            begins = line.strip()
            is_comment = is_comment or begins.startswith("/*")
            if is_comment:
                is_comment = "*/" not in begins
                begins = begins.partition("*/")[2].strip()
            if not begins or begins.startswith("//"):
                continue
            line = begins  # noqa: PLW2901
        lines.append(line)
        is_text ^= line.count("`") % 2 == 1
    return "".join(f"{line}\n" for line in lines)

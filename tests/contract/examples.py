"""Two examples of every contract, made from its types alone: all of it, and the least of it.

What is made is the same in every run: values come from the field's path and its bounds.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Any

import msgspec
from msgspec import inspect

import shared.contracts
from shared.codec import encode


def contracts() -> dict[str, type[msgspec.Struct]]:
    """Every struct that `shared.contracts` exports, by name."""
    exported = {name: getattr(shared.contracts, name) for name in shared.contracts.__all__}
    return {
        name: kind
        for name, kind in sorted(exported.items())
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }


def example(kind: type[msgspec.Struct], *, full: bool) -> msgspec.Struct:
    """`full`: everything is there and as large as is readable; else nil, empty and least."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    made = _struct(info, kind.__name__, full=full)
    assert isinstance(made, msgspec.Struct)
    return made


def _struct(info: inspect.StructType, path: str, *, full: bool) -> Any:
    return info.cls(
        **{
            field.name: _value(field.type, f"{path}.{field.name}", full=full)
            for field in info.fields
            if full or field.required
        }
    )


def _value(info: inspect.Type, path: str, *, full: bool) -> Any:
    seed = hashlib.sha256(path.encode()).digest()
    match info:
        case inspect.IntType():
            least = info.ge if info.ge is not None else 0
            most = info.le if info.le is not None else (info.lt or 2**48) - 1
            return min(most, least + int.from_bytes(seed[:6], "big")) if full else least
        case inspect.BoolType():
            return full
        case inspect.BytesType():
            length = info.min_length or (8 if full else 0)
            return (seed * (length // len(seed) + 1))[:length]
        case inspect.StrType():
            return "Größe 8" if full else "x" * (info.min_length or 0)
        case inspect.NoneType():
            return None
        case inspect.EnumType():
            members: list[Enum] = list(info.cls)
            return members[-1 if full else 0]
        case inspect.StructType():
            return _struct(info, path, full=full)
        case inspect.VarTupleType():
            kinds = (
                info.item_type.types
                if isinstance(info.item_type, inspect.UnionType)
                else (info.item_type,)
            )
            count = len(kinds) if full else (info.min_length or 0)
            return tuple(
                _value(kinds[i % len(kinds)], f"{path}[{i}]", full=full) for i in range(count)
            )
        case inspect.DictType():
            key = _value(info.key_type, f"{path}.key", full=True)
            return {key: _value(info.value_type, path, full=True)} if full else {}
        case inspect.UnionType():
            kinds = tuple(k for k in info.types if not isinstance(k, inspect.NoneType))
            has_nil = len(kinds) < len(info.types)
            return None if has_nil and not full else _value(kinds[0], path, full=full)
        case inspect.RawType():
            return msgspec.Raw(encode(["time?", 5]))
        case _:
            raise AssertionError(f"{path}: no example of {info}")

"""Typed settings of a service, from the environment and a TOML file; unknown keys are refused.

A service has one frozen dataclass: units in names, defaults visible, bounds checked in
`__post_init__` as ValueError. The environment (`SYNCHRONIA_<SERVICE>_<FIELD>`) wins over the file,
which has a table for each service (`[gateway]`), so that one file serves a whole city.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

S = TypeVar("S")

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


class SettingsRefused(Exception):  # noqa: N818  (a refusal is an outcome, said in one line)
    """A setting is unknown, of a wrong type or out of its bounds. The text is one clear line."""


def read_settings(
    service: str,
    settings_type: type[S],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> S:
    """The settings of one service. Raises: SettingsRefused."""
    values = _from_file(service, settings_type, config) if config is not None else {}
    values |= _from_environment(service, settings_type, environment)
    missing = [
        field.name
        for field in dataclasses.fields(settings_type)  # type: ignore[arg-type]
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingsRefused(f"{service}: {', '.join(missing)} is missing, and has no default")
    try:
        return settings_type(**values)
    except ValueError as error:
        raise SettingsRefused(f"{service}: {error}") from None


def describe(settings: Any) -> dict[str, object]:
    """What may be printed at start: a field with `metadata={"secret": True}` shows no value."""
    return {
        field.name: "…" if field.metadata.get("secret") else _plain(getattr(settings, field.name))
        for field in dataclasses.fields(settings)
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _fields(settings_type: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(settings_type)
    return {field.name: hints[field.name] for field in dataclasses.fields(settings_type)}


def _from_environment(
    service: str, settings_type: type[Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    prefix = f"SYNCHRONIA_{service.upper()}_"
    fields = _fields(settings_type)
    values: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(prefix):
            continue
        name = variable.removeprefix(prefix).lower()
        if name not in fields:
            raise SettingsRefused(f"{variable}: no such setting; {service} knows {_known(fields)}")
        values[name] = _parse(variable, environment[variable], fields[name])
    return values


def _from_file(service: str, settings_type: type[Any], config: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsRefused(f"{config}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"{config}: {error}") from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsRefused(f"{config}: {name} stands outside a table such as [{service}]")
    table = tables.get(service, {})
    fields = _fields(settings_type)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in fields:
            raise SettingsRefused(
                f"{config}: [{service}] {name}: no such setting; known are {_known(fields)}"
            )
        values[name] = _convert(f"{config}: [{service}] {name}", value, fields[name])
    return values


def _known(fields: Mapping[str, Any]) -> str:
    return ", ".join(sorted(fields)) or "none"


def _kinds(kind: Any) -> tuple[Any, ...]:
    """The members of `A | None`, or the kind alone."""
    return get_args(kind) if get_origin(kind) in (types.UnionType, typing.Union) else (kind,)


def _parse(where: str, text: str, kind: Any) -> Any:
    """A text from the environment → a value of `kind`."""
    kinds = _kinds(kind)
    if type(None) in kinds and text == "":
        return None
    kind = next(member for member in kinds if member is not type(None))
    if get_origin(kind) is tuple:
        member = get_args(kind)[0]
        return tuple(
            _parse(where, part.strip(), member) for part in text.split(",") if part.strip()
        )
    try:
        if kind is bool:
            return (_FALSE + _TRUE).index(text.lower()) >= len(_FALSE)
        return kind(text)
    except ValueError:
        raise SettingsRefused(f"{where}: {text!r} is not {_name(kind)}") from None


def _convert(where: str, value: Any, kind: Any) -> Any:
    """A value from TOML → a value of `kind`; nothing is guessed but int → float and str → Path."""
    for member in _kinds(kind):
        if get_origin(member) is tuple and isinstance(value, list):
            return tuple(_convert(where, part, get_args(member)[0]) for part in value)
        if member is float and type(value) is int:
            return float(value)
        if member is Path and isinstance(value, str):
            return Path(value)
        if isinstance(member, type) and type(value) is member:
            return value
    raise SettingsRefused(f"{where}: {value!r} is not {_name(kind)}")


def _name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(kind, str(kind))

"""`synchronia citizen`, `keys`: a person's own commands. Errors are one line and a status."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from shared.client.connection import UrlRefused
from shared.client.errand import Errand
from shared.client.keyring import Keyring
from shared.client.keystore import DEFAULT_NAME, Keystore, KeysUnusable
from shared.client.terminal import Terminal
from shared.client.visit import ErrandFailed
from shared.client.words import LineRefused, mood_of, sanctuary_of
from shared.codec import Refused
from shared.contracts.records import Tier
from shared.runtime.clock import wall_ms

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_SANCTUARY = "Emotive Commons"

Url = Annotated[str, typer.Option(help="The city's address.")]
Room = Annotated[str, typer.Option("--sanctuary", help="A room: its name, slug, or id in hex.")]
AnyRoom = Annotated[
    str | None, typer.Option("--sanctuary", help="A room: name, slug or hex id; without: any.")
]
KeysDirectory = Annotated[
    Path | None,
    typer.Option("--keys", help="Where the keys are; default: the configuration directory."),
]
KeyName = Annotated[str, typer.Option("--name", help="Whose keys: the file's name in that place.")]
Followed = Annotated[
    list[str] | None,
    typer.Option(
        "--follow", help="A citizen's id: follow this one too, for this visit. May be repeated."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")]


def fail(sentence: str) -> typer.Exit:
    """One line on stderr; raise what it returns."""
    typer.echo(f"synchronia: {sentence}", err=True)
    return typer.Exit(1)


def run_errand(errand: Coroutine[Any, Any, None]) -> None:
    """An errand's whole life; its outcome as an exit status."""
    try:
        asyncio.run(errand)
    except (ErrandFailed, KeysUnusable, LineRefused, UrlRefused) as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def tier_of(text: str) -> Tier:
    try:
        return Tier[text.upper()]
    except KeyError:
        raise typer.BadParameter("one of: withheld, aggregate, coarse, full") from None


def citizen_of(text: str) -> bytes:
    try:
        person = bytes.fromhex(text)
    except ValueError:
        person = b""
    if len(person) != 16:
        raise typer.BadParameter("a citizen's id: 32 hex digits, as `synchronia citizen` shows it")
    return person


def followed_of(texts: list[str] | None) -> tuple[bytes, ...]:
    """Raises: typer.BadParameter."""
    return tuple(citizen_of(text) for text in texts or ())


def citizen(
    *,
    url: Url = DEFAULT_URL,
    sanctuary: Room = DEFAULT_SANCTUARY,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
    call: Annotated[
        str | None, typer.Option(help="What those who see you at full may call you.")
    ] = None,
    grant: Annotated[
        str | None,
        typer.Option(help="First let the room's members see you: full, coarse, aggregate."),
    ] = None,
    say: Annotated[
        str | None, typer.Option(help='Say one thing, like "0.4 -0.2 calm", and leave.')
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Listen only.")] = False,
    follow: Followed = None,
    as_json: AsJson = False,
    subprotocol: Annotated[
        str, typer.Option(help="On the wire: msgpack or json; they carry the same.")
    ] = "msgpack",
) -> None:
    """Speak and listen in a sanctuary from the terminal.

    Type two numbers between -1 and 1, valence and arousal, and any words; or words of the vocabulary
    alone: happy, relaxed, worried, and so on. /withdraw ends every grant at once, /quit leaves.

    Nobody sees you before you grant it: see --grant, and `synchronia consent --help`. Whom you follow
    (`synchronia follow`) you see also where a room is too full to show everybody, if they approve you.

    Example: synchronia citizen --sanctuary "Emotive Commons" --grant full

    Example: synchronia citizen --say "0.4 -0.2 a calm morning"
    """
    if subprotocol not in {"msgpack", "json"}:
        raise typer.BadParameter("msgpack or json", param_hint="--subprotocol")
    tier = None if grant is None else tier_of(grant)
    place = sanctuary_of(sanctuary)
    also = followed_of(follow)
    if say is not None:
        try:
            mood_of(say)
        except LineRefused as error:
            raise fail(str(error)) from None
    terminal = Terminal(
        Errand,
        Keystore(keys),
        name,
        url,
        place,
        is_json_output=as_json,
        is_json_wire=subprotocol == "json",
        followed=also,
    )
    if say is not None:
        run_errand(terminal.say_once(say, call=call, tier=tier))
    else:
        run_errand(terminal.converse(call=call, tier=tier, is_watching=watch))


# keys

keys_app = typer.Typer(
    help="A person's keys on this device; and the bus's.\n\nExample: synchronia keys new",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@keys_app.command("new")
def keys_new(*, keys: KeysDirectory = None, name: KeyName = DEFAULT_NAME) -> None:
    """Make new keys: an identity, its successor, and one for this device.

    Example: synchronia keys new --name ada
    """
    store = Keystore(keys)
    try:
        if store.path(name).exists():
            raise fail(f"{store.path(name)} exists; choose another --name, or move it away")
        keyring = Keyring.new(os.urandom, wall_ms())
        path = store.save(keyring, name)
    except KeysUnusable as error:
        raise fail(str(error)) from None
    typer.echo(f"{keyring.did}\nkept in {path}; keep a copy: synchronia keys export --name {name}")


@keys_app.command("show")
def keys_show(
    *, keys: KeysDirectory = None, name: KeyName = DEFAULT_NAME, as_json: AsJson = False
) -> None:
    """Show a person's public names; never a private key.

    Example: synchronia keys show --name ada
    """
    try:
        keyring = Keystore(keys).load(name)
    except KeysUnusable as error:
        raise fail(str(error)) from None
    shown = {
        "name": name,
        "did": keyring.did,
        "device": keyring.device.public_key.hex(),
        "citizens": {city.hex(): each.hex() for city, each in keyring.citizens.items()},
    }
    if as_json:
        typer.echo(msgspec.json.encode(shown))
        return
    typer.echo(f"{name}\n  identity  {keyring.did}\n  device    {shown['device']}")
    for city, each in keyring.citizens.items():
        typer.echo(f"  citizen   {each.hex()} in the city {city.hex()[:16]}…")


@keys_app.command("list")
def keys_list(*, keys: KeysDirectory = None, as_json: AsJson = False) -> None:
    """List whose keys are on this device.

    Example: synchronia keys list
    """
    store = Keystore(keys)
    names = store.names()
    if as_json:
        typer.echo(msgspec.json.encode(names))
    elif names:
        typer.echo("\n".join(names))
    else:
        typer.echo(f"none in {store.directory}; make some with: synchronia keys new", err=True)


@keys_app.command("export")
def keys_export(
    file: Annotated[Path, typer.Argument(help="Written with mode 0600; must not exist.")],
    *,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """Copy a person's keys, private ones included, into a file.

    Example: synchronia keys export ada-keys.json --name ada
    """
    try:
        content = Keystore(keys).load(name).dump()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
    except KeysUnusable as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"cannot write {file}: {error.strerror}") from None
    typer.echo(f"written to {file}: whoever has this file is you; keep it closed away")


@keys_app.command("import")
def keys_import(
    file: Annotated[Path, typer.Argument(help="What `keys export` wrote.")],
    *,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """Take a person's keys from a file.

    Example: synchronia keys import ada-keys.json --name ada
    """
    store = Keystore(keys)
    try:
        if store.path(name).exists():
            raise fail(f"{store.path(name)} exists; choose another --name, or move it away")
        keyring = Keyring.load(file.read_bytes())
        path = store.save(keyring, name)
    except KeysUnusable as error:
        raise fail(str(error)) from None
    except Refused:
        raise fail(f"{file} is not a key file of this version") from None
    except OSError as error:
        raise fail(f"cannot read {file}: {error.strerror}") from None
    typer.echo(f"{keyring.did}\nkept in {path}")

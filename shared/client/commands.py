"""`synchronia citizen`, `keys`, `consent`: a person's own commands. Errors are one line and a status."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import msgspec
import typer

from shared.client.connection import UrlRefused
from shared.client.keyring import Keyring
from shared.client.keystore import DEFAULT_NAME, Keystore, KeysUnusable
from shared.client.terminal import Terminal
from shared.client.visit import ErrandFailed, Visit
from shared.client.words import LineRefused, mood_of, sanctuary_of
from shared.codec import Refused
from shared.contracts.records import Audience, Tier
from shared.identifiers import SanctuaryId, WallMs, sanctuary_of_slug
from shared.runtime.clock import monotonic_ns, wall_ms

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
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")]
Until = Annotated[
    str | None,
    typer.Option(help="When it ends by itself: seconds from now (600s, 10m, 2h) or an ISO time."),
]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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


def audience_of(text: str) -> Audience:
    try:
        return Audience[text.upper()]
    except KeyError:
        raise typer.BadParameter("one of: members, public, followers, press") from None


def delivered_audience_of(text: str) -> Audience:
    """An audience that a city delivers to: a grant to another would promise what does not happen."""
    audience = audience_of(text)
    if audience not in (Audience.MEMBERS, Audience.PUBLIC):
        raise typer.BadParameter(f"{text} are not delivered to yet; one of: members, public")
    return audience


def until_of(text: str | None) -> WallMs | None:
    """`10m`, `600s`, `2026-01-01T12:00+01:00`. Raises: typer.BadParameter."""
    if text is None:
        return None
    if text[-1:] in _UNITS_S and text[:-1].isdigit():
        return WallMs(wall_ms() + int(text[:-1]) * _UNITS_S[text[-1]] * 1000)
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise typer.BadParameter("like 600s, 10m, 2h, or 2026-01-01T12:00+01:00") from None
    if moment.timestamp() * 1000 <= wall_ms():
        raise typer.BadParameter(f"{text} is over already")
    return WallMs(int(moment.timestamp() * 1000))


def citizen_of(text: str) -> bytes:
    try:
        person = bytes.fromhex(text)
    except ValueError:
        person = b""
    if len(person) != 16:
        raise typer.BadParameter("a citizen's id: 32 hex digits, as `synchronia citizen` shows it")
    return person


class Errand(Visit):
    """A visit with key files: what the city gave is kept when it ends.

    `makes_keys` False where a mistyped name must not become a new person, of whom it would truly be
    said that nobody sees them. Raises: KeysUnusable.
    """

    def __init__(
        self, store: Keystore, name: str, url: str, *, makes_keys: bool = True, **options: Any
    ) -> None:
        if makes_keys:
            keyring, self.is_new = store.load_or_new(name)
        else:
            keyring, self.is_new = store.load(name), False
        super().__init__(keyring, url, random_bytes=os.urandom, **options)
        self._store, self._name = store, name
        self.session.releases = store.load_releases(name)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        self._store.save(self.session.keyring, self._name)
        self._store.save_releases(self.session.releases, self._name)


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
    as_json: AsJson = False,
    subprotocol: Annotated[
        str, typer.Option(help="On the wire: msgpack or json; they carry the same.")
    ] = "msgpack",
) -> None:
    """Speak and listen in a sanctuary from the terminal.

    Type two numbers between -1 and 1, valence and arousal, and any words; or words of the vocabulary
    alone: happy, relaxed, worried, and so on. /withdraw ends every grant at once, /quit leaves.

    Nobody sees you before you grant it: see --grant, and `synchronia consent --help`.

    Example: synchronia citizen --sanctuary "Emotive Commons" --grant full

    Example: synchronia citizen --say "0.4 -0.2 a calm morning"
    """
    if subprotocol not in {"msgpack", "json"}:
        raise typer.BadParameter("msgpack or json", param_hint="--subprotocol")
    tier = None if grant is None else tier_of(grant)
    place = sanctuary_of(sanctuary)
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


# consent

consent_app = typer.Typer(
    help="What you allow, to whom, where; and the end of it.\n\n"
    "Example: synchronia consent grant full --sanctuary emotive-commons --until 2h",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@consent_app.command("grant")
def consent_grant(
    tier: Annotated[str, typer.Argument(help="full, coarse, aggregate or withheld.")],
    *,
    sanctuary: AnyRoom = None,
    audience: Annotated[str, typer.Option(help="members or public.")] = "members",
    until: Until = None,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """Let an audience see you up to a tier; a later grant replaces an earlier one.

    Example: synchronia consent grant coarse --sanctuary "Emotive Commons" --until 2h
    """
    chosen, heard, until_ms = tier_of(tier), delivered_audience_of(audience), until_of(until)
    place = None if sanctuary is None else sanctuary_of(sanctuary)

    async def errand() -> None:
        async with Errand(Keystore(keys), name, url, makes_keys=False) as visit:
            if place is not None:
                await visit.check_room(place, str(sanctuary))
            await visit.grant(place, chosen, audience=heard, until_ms=until_ms)
        where = "any sanctuary" if sanctuary is None else sanctuary
        typer.echo(f"recorded: {heard.name.lower()} of {where} see you at {chosen.name.lower()}")

    run_errand(errand())


@consent_app.command("except")
def consent_except(
    person: Annotated[str, typer.Argument(help="The citizen's id, 32 hex digits.")],
    tier: Annotated[str, typer.Argument(help="The most that person may see; full lifts it.")],
    *,
    sanctuary: AnyRoom = None,
    until: Until = None,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """Let one person see less than the others. Anonymous viewers of a public stage are not bound.

    Example: synchronia consent except 00112233445566778899aabbccddeeff withheld
    """
    who, chosen, until_ms = citizen_of(person), tier_of(tier), until_of(until)
    place = None if sanctuary is None else sanctuary_of(sanctuary)

    async def errand() -> None:
        async with Errand(Keystore(keys), name, url, makes_keys=False) as visit:
            if place is not None:
                await visit.check_room(place, str(sanctuary))
            ref = visit.session.except_person(
                place, who, chosen, monotonic_ns(), wall_ms(), until_ms=until_ms
            )
            await visit.settle(ref)
        typer.echo(f"recorded: that person sees you at most at {chosen.name.lower()}")

    run_errand(errand())


@consent_app.command("withdraw")
def consent_withdraw(
    *,
    sanctuary: AnyRoom = None,
    audience: Annotated[
        str | None, typer.Option(help="members or public; without: all of them.")
    ] = None,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """End grants, at once: everything, or only those of one sanctuary or audience.

    Example: synchronia consent withdraw
    """
    heard = None if audience is None else audience_of(audience)
    place = None if sanctuary is None else sanctuary_of(sanctuary)

    async def errand() -> None:
        async with Errand(Keystore(keys), name, url, makes_keys=False) as visit:
            await visit.until("the city knows you", lambda: visit.session.is_ready)
            began_ns = monotonic_ns()
            ref = visit.session.withdraw(place, began_ns, wall_ms(), audience=heard)
            await visit.settle(ref)
            took_ms = (monotonic_ns() - began_ns) / 1e6
            if place is not None:
                try:  # behind the withdrawal, which waits for nothing
                    await visit.check_room(place, str(sanctuary))
                except ErrandFailed as error:
                    raise ErrandFailed(
                        f"on record, but {error}; synchronia consent list shows what stands"
                    ) from None
        if place is None and heard is None:
            what = "no byte of you goes out any more"
        else:
            whom = "everybody" if heard is None else heard.name.lower()
            where = "any sanctuary" if sanctuary is None else sanctuary
            what = f"what you granted to {whom} of {where} has ended"
        typer.echo(f"withdrawn: {what}, and it is on record ({took_ms:.0f} ms)")

    run_errand(errand())


@consent_app.command("list")
def consent_list(
    *,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
    as_json: AsJson = False,
) -> None:
    """Show what you allow now, as the city has it on record.

    Example: synchronia consent list --json
    """

    async def errand() -> None:
        async with Errand(Keystore(keys), name, url, makes_keys=False) as visit:
            state = await visit.chain()
            is_complete = visit.is_chain_whole
        known = {sanctuary_of_slug(slug): slug for slug in ("emotive-commons", "open-stage")}
        now = wall_ms()

        def room(place: bytes | None) -> str | None:
            return None if place is None else known.get(SanctuaryId(place), place.hex())

        grants = [
            {
                "audience": row.audience.name.lower(),
                "purpose": row.purpose.name.lower(),
                "sanctuary": room(row.sanctuary),
                "tier": row.tier.name.lower(),
                "until_ms": row.until_ms,
            }
            for row in state.scopes
        ]
        exceptions = [
            {
                "person": row.person.hex(),
                "sanctuary": room(row.sanctuary),
                "tier": row.tier.name.lower(),
                "until_ms": row.until_ms,
            }
            for row in state.limits
        ]
        if as_json:
            shown = {
                "counter": state.counter,
                "grants": grants,
                "exceptions": exceptions,
                "complete": is_complete,
            }
            typer.echo(msgspec.json.encode(shown))
            return
        if not is_complete:
            typer.echo("only your newest records are shown; what older ones allow may still stand")
        elif not grants and not exceptions:
            typer.echo("nothing is granted: nobody sees you")
        for row in grants:
            typer.echo(
                f"{row['audience']} of {row['sanctuary'] or 'any sanctuary'}"
                f" ({row['purpose']}): {row['tier']}{_ending(row['until_ms'], now)}"
            )
        for row in exceptions:
            typer.echo(
                f"except {row['person']} in {row['sanctuary'] or 'any sanctuary'}:"
                f" at most {row['tier']}{_ending(row['until_ms'], now)}"
            )

    run_errand(errand())


def _ending(until_ms: object, now_ms: WallMs) -> str:
    if not isinstance(until_ms, int):
        return ""
    if until_ms <= now_ms:
        return ", has ended"
    return f", until {datetime.fromtimestamp(until_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"

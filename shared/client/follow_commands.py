"""`synchronia follow` and `unfollow`: whom a person follows in a city. The list is kept with the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
import typer

from shared.client.commands import (
    DEFAULT_URL,
    AsJson,
    KeyName,
    KeysDirectory,
    Url,
    citizen_of,
    run_errand,
)
from shared.client.errand import Errand
from shared.client.keystore import DEFAULT_NAME, Keystore
from shared.client.visit import ErrandFailed
from shared.contracts.records import FOLLOWED_MAX

Followed = tuple[bytes, ...]


def follow(
    person: Annotated[
        str | None, typer.Argument(help="A citizen's id, 32 hex digits; without: list them.")
    ] = None,
    *,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
    as_json: AsJson = False,
) -> None:
    """Follow a person from now on: in every sanctuary you join you see them as they let followers see.

    They have to approve you (synchronia consent approve, with your id) and to grant followers a tier;
    the city does not tell you whether they did. The list stays on this device, with your keys.

    Example: synchronia follow 00112233445566778899aabbccddeeff
    """
    who = None if person is None else citizen_of(person)

    def add(before: Followed) -> Followed:
        followed = tuple(dict.fromkeys((*before, *(() if who is None else (who,)))))
        if len(followed) > FOLLOWED_MAX:
            raise ErrandFailed(f"one follows at most {FOLLOWED_MAX}; unfollow somebody first")
        return followed

    _change(add, Keystore(keys), name, url, as_json=as_json)


def unfollow(
    person: Annotated[str, typer.Argument(help="The citizen's id, 32 hex digits.")],
    *,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
    as_json: AsJson = False,
) -> None:
    """Follow a person no more, from your next visit on.

    Example: synchronia unfollow 00112233445566778899aabbccddeeff
    """
    who = citizen_of(person)

    def take(before: Followed) -> Followed:
        return tuple(each for each in before if each != who)

    _change(take, Keystore(keys), name, url, as_json=as_json)


def _change(
    change: Callable[[Followed], Followed],
    store: Keystore,
    name: str,
    url: str,
    *,
    as_json: bool,
) -> None:
    async def errand() -> None:
        async with Errand(store, name, url) as visit:
            await visit.until("the city knows you", lambda: visit.session.is_ready)
            assert visit.session.hello is not None
            city, own = visit.session.hello.city, visit.session.citizen
        lists = store.load_followed(name)
        before = lists.get(city, ())
        followed = lists[city] = change(before)
        if followed != before:
            store.save_followed(lists, name)
        if as_json:
            typer.echo(msgspec.json.encode([each.hex() for each in followed]))
            return
        for each in followed:
            typer.echo(each.hex())
        if not followed:
            typer.echo("you follow nobody in this city", err=True)
        elif own is not None and len(followed) > len(before):
            typer.echo(f"to be let in, tell them your id: {own.hex()}", err=True)

    run_errand(errand())

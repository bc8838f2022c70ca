"""`synchronia consent`: what a person allows, to whom, where; who may follow; and the end of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import typer

from shared.client.commands import (
    DEFAULT_URL,
    AnyRoom,
    AsJson,
    KeyName,
    KeysDirectory,
    Url,
    citizen_of,
    run_errand,
    tier_of,
)
from shared.client.errand import Errand
from shared.client.keystore import DEFAULT_NAME, Keystore
from shared.client.visit import ErrandFailed
from shared.client.words import sanctuary_of
from shared.contracts.records import Audience
from shared.identifiers import SanctuaryId, WallMs, sanctuary_of_slug
from shared.runtime.clock import monotonic_ns, wall_ms

Until = Annotated[
    str | None,
    typer.Option(help="When it ends by itself: seconds from now (600s, 10m, 2h) or an ISO time."),
]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def audience_of(text: str) -> Audience:
    try:
        return Audience[text.upper()]
    except KeyError:
        raise typer.BadParameter("one of: members, public, followers, press") from None


def delivered_audience_of(text: str) -> Audience:
    """An audience that a city delivers to: a grant to another would promise what does not happen."""
    audience = audience_of(text)
    if audience is Audience.PRESS:
        raise typer.BadParameter(
            f"{text} is not delivered to yet; one of: members, public, followers"
        )
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
    audience: Annotated[str, typer.Option(help="members, public or followers.")] = "members",
    until: Until = None,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """Let an audience see you up to a tier; a later grant replaces an earlier one.

    Followers see you also where a room is too full to show everybody; who may follow is yours to say:
    synchronia consent approve.

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


@consent_app.command("approve")
def consent_approve(
    person: Annotated[str, typer.Argument(help="The citizen's id, 32 hex digits.")],
    *,
    until: Until = None,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """Let a person follow you, in every sanctuary: they see what you grant to followers, and no more.

    Example: synchronia consent approve 00112233445566778899aabbccddeeff --until 2h
    """
    who, until_ms = citizen_of(person), until_of(until)

    async def errand() -> None:
        async with Errand(Keystore(keys), name, url, makes_keys=False) as visit:
            ref = visit.session.approve(who, monotonic_ns(), wall_ms(), until_ms=until_ms)
            await visit.settle(ref)
            state = await visit.chain()
        typer.echo("recorded: that person may follow you")
        if not any(row.audience is Audience.FOLLOWERS for row in state.scopes):
            typer.echo(
                "followers see nothing yet: synchronia consent grant full --audience followers",
                err=True,
            )

    run_errand(errand())


@consent_app.command("revoke")
def consent_revoke(
    person: Annotated[str, typer.Argument(help="The citizen's id, 32 hex digits.")],
    *,
    url: Url = DEFAULT_URL,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
) -> None:
    """Let a person follow you no more, at once. As a member of a room they see what members see.

    Example: synchronia consent revoke 00112233445566778899aabbccddeeff
    """
    who = citizen_of(person)

    async def errand() -> None:
        async with Errand(Keystore(keys), name, url, makes_keys=False) as visit:
            await visit.until("the city knows you", lambda: visit.session.is_ready)
            began_ns = monotonic_ns()
            await visit.settle(visit.session.revoke(who, began_ns, wall_ms()))
            took_ms = (monotonic_ns() - began_ns) / 1e6
        typer.echo(
            f"revoked: that person follows you no more, and it is on record ({took_ms:.0f} ms)"
        )

    run_errand(errand())


@consent_app.command("withdraw")
def consent_withdraw(
    *,
    sanctuary: AnyRoom = None,
    audience: Annotated[
        str | None, typer.Option(help="members, public or followers; without: all of them.")
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
        followers = [
            {"person": row.person.hex(), "until_ms": row.until_ms} for row in state.approved
        ]
        if as_json:
            shown = {
                "counter": state.counter,
                "grants": grants,
                "exceptions": exceptions,
                "followers": followers,
                "complete": is_complete,
            }
            typer.echo(msgspec.json.encode(shown))
            return
        if not is_complete:
            typer.echo("only your newest records are shown; what older ones allow may still stand")
        elif not grants and not exceptions and not followers:
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
        for each in followers:
            typer.echo(f"{each['person']} may follow you{_ending(each['until_ms'], now)}")

    run_errand(errand())


def _ending(until_ms: object, now_ms: WallMs) -> str:
    if not isinstance(until_ms, int):
        return ""
    if until_ms <= now_ms:
        return ", has ended"
    return f", until {datetime.fromtimestamp(until_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"

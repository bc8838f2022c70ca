"""`synchronia load replay`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from load.judge.verdict import Verdict
from load.replay.run import Replay, Wish
from load.report.told import judged_rows, print_rows, verdict_json, verdict_rows
from load.story.recordings import RecordingRefused
from load.swarm.drive import RunFailed
from load.swarm.knock import knock
from shared.client.commands import DEFAULT_SANCTUARY, DEFAULT_URL
from shared.client.connection import UrlRefused, live_url
from shared.client.visit import ErrandFailed
from shared.client.words import sanctuary_of

GRANTS = ("mixed", "full", "coarse", "aggregate", "withheld")


def replay(
    directory: Annotated[Path, typer.Argument(help="CSV files, one a person.")],
    *,
    url: Annotated[str, typer.Option(help="The city's address.")] = DEFAULT_URL,
    sanctuary: Annotated[str, typer.Option(help="Name, slug or hex id.")] = DEFAULT_SANCTUARY,
    speed: Annotated[float, typer.Option(min=0.01, max=100, help="8: eight times as fast.")] = 1.0,
    viewers: Annotated[int, typer.Option(min=1, max=20_000, help="Citizens who watch.")] = 8,
    verify: Annotated[
        int, typer.Option(min=0, help="How many viewers check every seal themselves.")
    ] = 2,
    grants: Annotated[
        str, typer.Option(help="Everybody's: full, coarse, …; mixed by seed.")
    ] = "mixed",
    seed: Annotated[int, typer.Option(help="Draws the mixed grants.")] = 1,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End after this long.")] = None,
    withdraw_every: Annotated[
        float | None,
        typer.Option(min=0.1, help="Every so many seconds the next person withdraws for a while."),
    ] = None,
    as_json_: Annotated[
        bool, typer.Option("--json", help="The result as one JSON object.")
    ] = False,
) -> None:
    """Play recordings of people into a city, watch them, and keep the books.

    DIR holds CSV files, one a person; the header names the columns clip, t, valence, arousal (others
    are ignored). t: seconds from the clip's start. valence, arousal: 1 to 9, where 5 is neutral; they
    are sent as (x - 5) / 4. Clips play in order (V1, V2, …), intervals as recorded, divided by
    --speed, with stamps of now. Each person has keys, a strand, seals and a grant of its own.

    Ends with what was sent, admitted, refused, delivered, conflated and lost, and the latencies from
    each sample's intended moment to each viewer. Status 1 if anything was lost unaccounted or was
    delivered against a grant, 2 if it could not be played. Ctrl-C ends it early, with the table.

    Example: synchronia load replay load/recordings --speed 8 --viewers 50
    """
    err = Console(stderr=True, highlight=False)
    try:
        if grants not in GRANTS:
            raise typer.BadParameter(f"one of: {', '.join(GRANTS)}", param_hint="--grants")
        live_url(url)
        wish = Wish(
            directory=directory,
            url=url,
            sanctuary=sanctuary_of(sanctuary),
            speed=speed,
            viewers=viewers,
            verifying=verify,
            grants=grants,
            seed=seed,
            is_looped=loop,
            seconds=seconds,
            withdraw_every_s=withdraw_every,
        )
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            refresh_per_second=2,
            disable=as_json_ or not err.is_terminal,
        ) as bar:
            task = bar.add_task("entering", total=None, told="")

            def progress(at_ms: int, sent: int, delivered: int) -> None:
                total = None if loop else shown.length_ms
                bar.update(
                    task,
                    description="playing" if sent else "entering",
                    total=total,
                    completed=at_ms,
                    told=f"{sent} sent, {delivered} delivered",
                )

            def say(sentence: str) -> None:
                if not as_json_:
                    err.print(sentence)

            shown = Replay(wish, say=say, progress=progress)
            if not as_json_:
                _print_plan(err, shown)
            asyncio.run(knock(url, sanctuary_of(sanctuary), sanctuary))
            # set here, since a shell without job control starts background commands with SIGINT ignored
            signal.signal(signal.SIGINT, shown.drive.interrupt)
            verdict = shown.run()
    except (RecordingRefused, RunFailed, UrlRefused, ErrandFailed) as error:
        typer.echo(f"synchronia load replay: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json_:
        typer.echo(msgspec.json.encode(verdict_json(verdict)))
    else:
        _print_verdict(verdict)
    raise typer.Exit(0 if verdict.is_good else 1)


def _print_plan(console: Console, replay: Replay) -> None:
    wish = replay.wish
    ignored = sorted({name for each in replay.recordings for name in each.ignored_columns})
    if ignored:
        console.print(f"columns ignored: {', '.join(ignored)}", markup=False)
    grants = ", ".join(
        f"{recording.person} {tier.name.lower()}"
        for recording, tier in zip(replay.recordings, replay.tiers, strict=True)
    )
    console.print(f"grants ({wish.grants}, seed {wish.seed}): {grants}", markup=False)
    minutes = replay.length_ms / 60_000
    console.print(f"{minutes:.1f} minutes at {wish.speed:g} times the recorded speed")


def _print_verdict(verdict: Verdict) -> None:
    laws = verdict.laws()
    print_rows([*verdict_rows(verdict), *judged_rows(laws)])
    broken = [each.name for each in laws if not each.is_kept]
    typer.echo(f"FAILED: {'; '.join(broken)}" if broken else "every law kept")

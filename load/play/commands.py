"""`synchronia load play` and `synchronia load stories`."""

from __future__ import annotations

import asyncio
import ipaddress
import shlex
import signal
import sys
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from rich.console import Console

from load.judge.outcome import Outcome
from load.play.run import STEP_S, Play, PlayWish, plan_rows, scaled, voices_setting
from load.report.exposed import Exposed
from load.report.live import LiveView
from load.report.page import report_html
from load.report.told import outcome_json, outcome_rows, print_rows
from load.story.language import Attack, Story, StoryRefused, find_story, shipped
from load.swarm.drive import RunFailed
from load.swarm.knock import knock
from shared.client.commands import DEFAULT_URL
from shared.client.connection import UrlRefused, live_url
from shared.client.visit import ErrandFailed
from shared.client.words import sanctuary_of
from shared.runtime.clock import wall_ms


def play(
    story: Annotated[str, typer.Argument(help="Its name (see load stories), or a TOML file.")],
    *,
    url: Annotated[str, typer.Option(help="The city's address.")] = DEFAULT_URL,
    sanctuary: Annotated[
        str | None, typer.Option(help="Another room than the story's: name, slug or hex id.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the story's.")] = None,
    scale: Annotated[
        float, typer.Option(min=0.01, max=1000, help="2: twice the people in each group.")
    ] = 1.0,
    soak: Annotated[
        float | None,
        typer.Option(min=0.1, max=1440, help="Play it again and again for so many minutes."),
    ] = None,
    until_breaking: Annotated[
        bool, typer.Option("--until-breaking", help="Faster in steps; says where it breaks.")
    ] = False,
    step: Annotated[
        int, typer.Option(min=2, max=600, help="Seconds of each step of --until-breaking.")
    ] = STEP_S,
    state: Annotated[
        Path, typer.Option(help="The city's state directory, to read its CPU and memory.")
    ] = Path(".synchronia"),
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="At most so many for the citizens, and for each group of viewers."
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="Keep the voices' keys here, so that a stage can name them."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write one HTML file with plots here.")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Serve the run's numbers to Prometheus on loopback."),
    ] = None,
    attack_elsewhere: Annotated[
        bool,
        typer.Option("--attack-elsewhere", help="Attacks may leave this machine. It is your city."),
    ] = False,
    as_json_: Annotated[
        bool, typer.Option("--json", help="The result as one JSON object.")
    ] = False,
) -> None:
    """Play a story into a city: a crowd of scripted citizens, act by act, on a fixed schedule.

    It checks while it drives: nothing delivered after `struck` or above a granted tier, no forged
    sample, order within each strand, and in = out + refused + conflated + lost and shown. Sends are
    scheduled by the clock, and latency counts from the intended time. One seed, one run.

    Status 1 if a law or one of the story's thresholds was broken, 2 if it could not be played. A
    search with --until-breaking fails by laws alone. Ctrl-C ends it early, with the books.

    Examples:
      synchronia load play quick

      synchronia load play evening --report evening.html

      synchronia load play quick --until-breaking --scale 2

      synchronia load play my-story.toml --soak 10 --json

    """
    err = Console(stderr=True, highlight=False)
    try:
        told, file = find_story(story)
        changed = {"sanctuary": sanctuary, "seed": seed}
        told = msgspec.structs.replace(
            told, **{name: value for name, value in changed.items() if value is not None}
        )
        live_url(url)
        _stay_here(told, url, may_leave=attack_elsewhere)
        if report is not None and not report.absolute().parent.is_dir():
            raise typer.BadParameter(f"{report.parent}: no such directory", param_hint="--report")
        if soak is not None and until_breaking:
            raise typer.BadParameter("it is one or the other", param_hint="--until-breaking")
        wish = PlayWish(
            story=told,
            file=file,
            url=url,
            state=state,
            soak_s=None if soak is None else soak * 60,
            is_until_breaking=until_breaking,
            step_s=step,
            keys=keys,
            scale=scale,
            processes=processes,
        )
        is_shown = err.is_terminal and not as_json_
        view = LiveView(err)
        exposed = None if metrics_port is None else _expose(metrics_port)

        def look(running: Play) -> None:
            if is_shown:
                view.look(running.scene)
            if exposed is not None:
                viewers = sum(each.count for each in running.story.viewers)
                exposed.show(running.timeline, list(running.standings.values()), viewers=viewers)

        playing = Play(
            wish,
            say=view.say if is_shown else (lambda line: None if as_json_ else err.print(line)),
            on_look=look,
        )
        asyncio.run(knock(url, sanctuary_of(told.sanctuary), told.sanctuary))
        signal.signal(signal.SIGINT, playing.drive.interrupt)
        shown: AbstractContextManager[object] = view if is_shown else nullcontext()
        with shown, nullcontext() if exposed is None else closing(exposed):
            outcome = playing.run()
    except (StoryRefused, RunFailed, UrlRefused, ErrandFailed) as error:
        typer.echo(f"synchronia load play: {error}", err=True)
        raise typer.Exit(2) from None
    if report is not None:
        made_at = datetime.fromtimestamp(wall_ms() / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = f"synchronia {shlex.join(sys.argv[1:])}"
        page = report_html(outcome, made_at=made_at, command=command)
        report.write_text(page, encoding="utf-8")
    if as_json_:
        typer.echo(msgspec.json.encode(outcome_json(outcome)))
    else:
        _print(outcome)
        if report is not None:
            typer.echo(f"report\t{report}")
    raise typer.Exit(0 if outcome.is_good else 1)


def _expose(port: int) -> Exposed:
    """Raises: RunFailed."""
    try:
        return Exposed(port)
    except OSError as error:
        raise RunFailed(f"--metrics-port {port}: {error.strerror}") from None


def plan(
    story: Annotated[str, typer.Argument(help="Its name (see load stories), or a TOML file.")],
    *,
    seed: Annotated[int | None, typer.Option(help="Another seed than the story's.")] = None,
    scale: Annotated[float, typer.Option(min=0.01, max=1000, help="As for load play.")] = 1.0,
    keys: Annotated[
        Path | None,
        typer.Option(help="As for load play: make the voices' keys, and say what the city needs."),
    ] = None,
) -> None:
    """Show what a story would play, without a city: act by act, with the plan's fingerprint.

    One seed, one run: who feels what when, who withdraws, whose socket is cut is the same each time
    and on each machine, and so is the fingerprint.

    Examples:
      synchronia load plan evening

      synchronia load plan evening --keys voices    # what to start the city with, for its voice

    """
    try:
        told, file = find_story(story)
        told = told if seed is None else msgspec.structs.replace(told, seed=seed)
        whole = scaled(told, scale)
        rows = plan_rows(whole, file)
        if keys is not None:
            rows.append(("SYNCHRONIA_SANCTUARY_VOICES", voices_setting(whole, keys) or "none"))
    except (StoryRefused, RunFailed) as error:
        typer.echo(f"synchronia load plan: {error}", err=True)
        raise typer.Exit(2) from None
    print_rows(rows)


def stories() -> None:
    """List the stories that come with Synchronia.

    Example: synchronia load stories
    """
    for story in shipped():
        people = sum(each.count for each in story.citizens)
        viewers = sum(each.count for each in story.viewers)
        typer.echo(
            f"{story.name}\t{story.about} ({people} citizens, {viewers} viewers, {story.seconds:g} s)"
        )


def _stay_here(story: Story, url: str, *, may_leave: bool) -> None:
    """Attacks stay on this machine unless one says otherwise. Raises: StoryRefused."""
    attacks = any(isinstance(each, Attack) for act in story.act for each in act.happening)
    host = urlsplit(url if "//" in url else f"http://{url}").hostname or ""
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if attacks and not is_here and not may_leave:
        raise StoryRefused(
            f"{story.name} holds attacks, and {host} is not this machine; with --attack-elsewhere"
            " it plays them against a city that is yours"
        )


def _print(outcome: Outcome) -> None:
    print_rows(outcome_rows(outcome))
    broken = [each.name for each in outcome.judged() if not each.is_kept]
    if outcome.is_good:
        typer.echo("every law kept" + ("" if broken else ", every threshold too"))
    else:
        typer.echo(f"FAILED: {'; '.join(broken)}")

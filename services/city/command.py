"""The options of `synchronia up`, its signals, its exit status."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.city.city import City
from services.city.settings import CITIZENS, Settings
from services.city.state import CannotStartError
from shared.subjects import SERVICES

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(
    help="Run a whole city on this machine: a nats-server, every service, scripted citizens.\n\n"
    "Prints `ready http://…` once a sample has been through the whole pipeline. Ctrl-C drains and"
    " ends it.\n\n"
    "Example: synchronia up --port 9000 --state /tmp/my-city"
)
def up(
    *,
    port: Annotated[int, typer.Option(help="Of the gateway; 0: any free one.")] = 8080,
    state: Annotated[
        Path, typer.Option(help="Keys, the broker's files, logs; made when missing.")
    ] = Path(".synchronia"),
    empty: Annotated[
        bool, typer.Option("--empty", help="No seeds: no rooms, no scripted citizens.")
    ] = False,
    services: Annotated[
        str,
        typer.Option(
            help="Which to run here, with commas between; `citizens` are the scripted ones."
        ),
    ] = ",".join((*SERVICES, CITIZENS)),
    workers: Annotated[
        int,
        typer.Option(help="Gateways; they share the port, and the kernel deals connections out."),
    ] = 1,
    fanouts: Annotated[int, typer.Option(help="fanouts; each owns its share of the rooms.")] = 1,
    nats: Annotated[
        str | None, typer.Option(help="Use this broker (nats://host:port) and start none.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="The bus keys for --nats; see: synchronia keys bus --help")
    ] = None,
    nats_server: Annotated[
        Path | None, typer.Option(help="Another nats-server than the installed one.")
    ] = None,
) -> None:
    try:
        settings = Settings(
            port=port,
            state=state,
            empty=empty,
            services=tuple(name.strip() for name in services.split(",")),
            workers=workers,
            fanouts=fanouts,
            nats=nats,
            keys=keys,
            nats_server=nats_server,
        )
    except ValueError as error:
        raise typer.Exit(fail(str(error), status=2)) from error
    raise typer.Exit(asyncio.run(run(settings)))


async def run(settings: Settings) -> int:
    """The city's life: until a signal, or until it cannot go on. Returns the exit status."""
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    try:
        await City(settings, say=say, stop=stop, hurry=hurry).live()
    except CannotStartError as error:
        return fail(str(error))
    return 0


def say(line: str) -> None:
    """To the terminal, at once: a script may wait for the line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def fail(line: str, *, status: int = 1) -> int:
    sys.stderr.write(f"synchronia up: {line}\n")
    return status


def main() -> int:
    app(prog_name="synchronia up", help_option_names=["-h", "--help"])
    return 0

"""`synchronia keys bus`: keys and permissions for a broker that somebody else runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.bus.permissions import make_keys, nats_conf
from shared.subjects import SERVICES

REPLICAS_MAX = 64
"""One slot each."""


def add_to(keys_app: typer.Typer) -> None:
    """Put `bus` beside the commands that keep a person's own keys."""
    keys_app.command("bus")(bus)


def bus(
    *,
    keys: Annotated[Path, typer.Option(help="Where to write; keys that are there are kept.")],
    replicas: Annotated[
        int, typer.Option(help="Instances of each service.", min=1, max=REPLICAS_MAX)
    ] = 1,
    host: Annotated[str, typer.Option(help="Where the broker will listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = 4222,
    store: Annotated[
        Path | None, typer.Option(help="Where it will keep its streams [KEYS/store].")
    ] = None,
) -> None:
    """Make the bus keys for a broker of your own, and nats.conf with what each may do.

    Keep bootstrap.nk to yourself: it alone makes streams. Give each process its own key only.

    Example: synchronia keys bus --keys bus && nats-server --config bus/nats.conf, then:
    synchronia up --nats nats://127.0.0.1:4222 --keys bus
    """
    instances = [f"{service}-{number}" for service in SERVICES for number in range(replicas)]
    try:
        public = make_keys(keys, instances)
        conf = keys / "nats.conf"
        store_dir = (store or keys / "store").absolute()
        conf.write_text(nats_conf(public, store_dir=store_dir, port=port, host=host))
    except (OSError, ValueError) as error:
        typer.echo(f"synchronia keys bus: cannot write to {keys}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{len(public)} keys in {keys}; start the broker: nats-server --config {conf}")

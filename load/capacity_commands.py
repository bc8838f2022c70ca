"""`synchronia load capacity`: what a city of so many citizens needs, from what was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from load.capacity import Behaviour, Check, Costs, Needs, checks, costs_of, needs_of
from load.least_squares import CannotFitError

CITIZENS: Final = (1e4, 1e6, 1e8)
RESULTS: Final = Path(__file__).with_name("results")
NEEDED: Final = ("scaling", "admission", "memory")
DEFAULT: Final = Behaviour()


def capacity(
    *,
    citizens: Annotated[
        float | None, typer.Option(help="Connected people; without it 1e4, 1e6 and 1e8.")
    ] = None,
    speaking: Annotated[
        float, typer.Option(help="The part of those in rooms that speaks.")
    ] = DEFAULT.speaking,
    samples: Annotated[
        float, typer.Option(help="Samples a second of each who speaks in a room.")
    ] = DEFAULT.samples_per_s,
    room: Annotated[float, typer.Option(help="People in a room.")] = DEFAULT.room,
    close_limit: Annotated[
        float, typer.Option(help="Speakers in a room beyond which one sees whom one follows.")
    ] = DEFAULT.close_limit,
    followed: Annotated[
        float, typer.Option(help="How many of them each follows then.")
    ] = DEFAULT.followed,
    watching: Annotated[
        float, typer.Option(help="The part of all that watches a stage.")
    ] = DEFAULT.watching,
    stage: Annotated[float, typer.Option(help="People before one stage.")] = DEFAULT.stage,
    stage_samples: Annotated[
        float, typer.Option(help="Samples a second of its voice.")
    ] = DEFAULT.stage_samples_per_s,
    flushes: Annotated[
        float, typer.Option(help="Writes a second to one viewer, at most.")
    ] = DEFAULT.flushes_per_s,
    busy: Annotated[
        float, typer.Option(help="The part of a core that a process may use.")
    ] = DEFAULT.busy,
    broker_cores: Annotated[
        float, typer.Option(help="Cores of one nats-server.")
    ] = DEFAULT.broker_cores,
    connections: Annotated[
        float, typer.Option(help="Connections of one gateway, at most.")
    ] = DEFAULT.connections_max,
    gateways_a_room: Annotated[
        float | None,
        typer.Option(help="Over how many gateways a room is spread; without it by chance."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Measurements; without it the newest in load/results.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say how many gateways, ingests, fanouts and brokers a city needs, and how sure that is.

    Costs are fitted to a result file of `make bench` and checked against measurements of the same file
    that they were not fitted to. What is assumed of people, and every formula: docs/capacity.md.

    Example: synchronia load capacity --citizens 1e6 --speaking 0.2 --room 100
    """
    try:
        file = results or newest()
        result = read(file)
        costs = costs_of(result)
        found = checks(result, costs)
        needs = {
            count: needs_of(
                Behaviour(
                    citizens=count,
                    watching=watching,
                    room=room,
                    speaking=speaking,
                    samples_per_s=samples,
                    close_limit=close_limit,
                    followed=followed,
                    stage=stage,
                    stage_samples_per_s=stage_samples,
                    flushes_per_s=flushes,
                    busy=busy,
                    broker_cores=broker_cores,
                    connections_max=connections,
                    gateways_a_room=gateways_a_room,
                ),
                costs,
            )
            for count in ((citizens,) if citizens is not None else CITIZENS)
        }
    except (CannotFitError, ValueError, OSError, msgspec.DecodeError) as error:
        typer.echo(f"synchronia load capacity: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        told = {
            "results": file.name,
            "costs": costs,
            "checks": [row._asdict() | {"error": row.error} for row in found],
            "needs": {f"{count:g}": each for count, each in needs.items()},
        }
        typer.echo(msgspec.json.encode(told))
        return
    console = Console(highlight=False)
    console.print(f"from {file.name}, commit {result.get('commit')}, {result.get('processor')}")
    for title, table in (
        ("what one costs: µs of a core; a process, thousandths of one", costs_table(costs)),
        ("measured, and not fitted to: cores; ingest alone, µs a sample", checks_table(found)),
        ("needed", needs_table(needs)),
    ):
        console.print(f"\n{title}\n", table)


def newest() -> Path:
    """The newest result file with everything that is needed. Raises: CannotFitError."""
    for file in sorted(RESULTS.glob("*.json"), key=lambda each: each.stat().st_mtime, reverse=True):
        if all(part in read(file) for part in NEEDED):
            return file
    raise CannotFitError(
        f'no file in {RESULTS.name} has {", ".join(NEEDED)}; make one: make bench ARGS="--only'
        f' {",".join(NEEDED)}"'
    )


def read(file: Path) -> dict[str, Any]:
    return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])


def costs_table(costs: Costs) -> Table:
    table = Table(box=None)
    table.add_column("of")
    for service in costs.of:
        table.add_column(service, justify="right")
    for kind in dict.fromkeys(kind for each in costs.of.values() for kind in each):
        unit = 1e3 if kind == "process" else 1e6
        row = (each.get(kind) for each in costs.of.values())
        table.add_row(kind, *("" if cost is None else f"{unit * cost:.3g}" for cost in row))
    return table


def checks_table(found: list[Check]) -> Table:
    table = Table(box=None)
    for name in ("case", "process", "measured", "predicted", "error"):
        table.add_column(name, justify="left" if name in ("case", "process") else "right")
    for row in found:
        figures = (f"{row.measured:.3f}", f"{row.predicted:.3f}", f"{100 * row.error:+.0f} %")
        table.add_row(row.case, row.instance, *figures)
    return table


def needs_table(needs: dict[float, Needs]) -> Table:
    table = Table(box=None)
    table.add_column("citizens", no_wrap=True)
    for count in needs:
        table.add_column(f"{count:g}", justify="right")
    rows: tuple[tuple[str, Callable[[Needs], str]], ...] = (
        ("cities (64 slots each)", lambda n: f"{n.cities}"),
        ("gateways", lambda n: f"{n.gateways}"),
        ("  bound by", lambda n: n.gateways_bound_by),
        ("  connections each", lambda n: f"{n.connections_per_gateway:.0f}"),
        ("  memory, all", lambda n: f"{n.gateway_memory_bytes / 1e9:.1f} GB"),
        ("  cores, all", lambda n: f"{n.gateway_cores:.1f}"),
        ("fanouts", lambda n: f"{n.fanouts}"),
        ("  replica, each", lambda n: f"{n.replica_bytes / 1e9:.2g} GB"),
        ("  cores, all", lambda n: f"{n.fanout_cores:.1f}"),
        ("ingests", lambda n: f"{n.ingests}"),
        ("  cores, all", lambda n: f"{n.ingest_cores:.1f}"),
        ("nats-servers", lambda n: f"{n.brokers}"),
        ("  cores, all", lambda n: f"{n.broker_cores:.1f}"),
        ("deliveries a second", lambda n: f"{n.deliveries_per_s:.3g}"),
        ("to viewers", lambda n: f"{n.viewer_bits_per_s / 1e9:.3g} Gbit/s"),
        ("bus messages a second", lambda n: f"{n.bus_messages_per_s:.3g}"),
        ("on the bus", lambda n: f"{n.bus_bits_per_s / 1e9:.3g} Gbit/s"),
    )
    for name, show in rows:
        table.add_row(name, *(show(each) for each in needs.values()))
    return table

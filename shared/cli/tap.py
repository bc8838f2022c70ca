"""`synchronia tap`: what flows over the bus: subjects, shapes and counts, never what anybody said.

It reads with the `msgpack` package, which shares no code with the writer's, so that a contract that
drifts from its bytes is seen here.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import msgpack
import msgspec
import rich.console
import rich.live
import rich.table
import typer
from rich.text import Text

import shared.contracts
from shared.bus import Bus, NoBroker
from shared.bus.permissions import TAP, permissions_of
from shared.cli.running import read_running
from shared.runtime import logs
from shared.runtime.clock import pause

SHAPE_DEPTH: Final = 2
SHAPE_PARTS_MAX: Final = 12
KINDS_MAX: Final = 512
"""Different (family, shape) rows kept; more are counted as one."""
TICK_S: Final = 1.0
TAGS: Final = frozenset(
    kind.__struct_config__.tag
    for kind in vars(shared.contracts).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
) - {None}
"""The contracts' own names: the only texts that a shape may show."""


class Row(msgspec.Struct):
    """One family of subjects and one shape: what came of it."""

    messages: int = 0
    bytes: int = 0


class Tally:
    """Counts by (family, shape); only lengths and types are ever read off a message."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def add(self, subject: str, payload: bytes) -> None:
        key = (family_of(subject), shape_of(payload))
        if key not in self.rows and len(self.rows) >= KINDS_MAX:
            key = ("…", "…")
        row = self.rows.setdefault(key, Row())
        row.messages += 1
        row.bytes += len(payload)

    def take(self) -> dict[tuple[str, str], Row]:
        rows, self.rows = self.rows, {}
        return dict(sorted(rows.items()))


def shown_subjects() -> tuple[str, ...]:
    """What the tap's key may listen to: not the uplink, nor what services ask each other."""
    return tuple(
        subject for subject in permissions_of(TAP).subscribe if not subject.startswith("_INBOX.")
    )


def family_of(subject: str) -> str:
    """A subject with its numbers out: `sig.commons.12` → `sig.commons.*`; inboxes name nobody."""
    parts = subject.split(".")
    if parts[0] in {"_INBOX", "$KV", "$JS"}:
        return f"{parts[0]}.>"
    return ".".join("*" if part.isdecimal() else part for part in parts)


def shape_of(payload: bytes) -> str:
    """Types only; of texts, only a contract's name is ever shown."""
    try:
        value = msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return f"not MessagePack, {len(payload)} bytes"
    return _shape(value, SHAPE_DEPTH)


def _shape(value: Any, depth: int) -> str:
    if isinstance(value, list):
        tag = value[0] if value and isinstance(value[0], str) and value[0] in TAGS else None
        if depth == 0 or len(value) > SHAPE_PARTS_MAX:
            return "array"
        rest = value if tag is None else value[1:]
        kinds = [_shape(part, depth - 1) for part in rest]
        if len(set(kinds)) == 1 and len(kinds) > 1:
            kinds = [kinds[0], "…"]
        return (f"{tag} " if tag else "") + f"[{', '.join(kinds)}]"
    return {bool: "bool", int: "int", float: "float", str: "text", bytes: "bytes"}.get(
        type(value), "nil" if value is None else type(value).__name__
    )


def tap(
    *,
    state: Annotated[Path, typer.Option(help="The running city's state directory.")] = Path(
        ".synchronia"
    ),
    nats: Annotated[
        str | None, typer.Option(help="Another broker (nats://host:port); needs --keys.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="Directory that holds tap.nk.")] = None,
    seconds: Annotated[
        int, typer.Option(help="End after so many seconds; 0: with Ctrl-C.", min=0)
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a row and second, one a line.")
    ] = False,
) -> None:
    """Show subjects, shapes and counts a second on the bus. Payloads are never shown.

    Example: synchronia tap --seconds 10 --json
    """
    city = read_running(state)
    if nats is None and city is None:
        raise typer.Exit(_fail(f"no city runs on {state}; start one: synchronia up"))
    url = nats or (city.nats if city else "")
    seed = (keys or Path(city.keys if city else ".")) / f"{TAP}.nk"
    if not seed.exists():
        raise typer.Exit(_fail(f"no key at {seed}; give --keys, or make one: synchronia keys bus"))
    try:
        asyncio.run(watch(url, seed, seconds=seconds, as_json=as_json))
    except NoBroker as error:
        raise typer.Exit(_fail(str(error))) from error


async def watch(url: str, seed: Path, *, seconds: int, as_json: bool) -> None:
    """Listen to what may be shown. Ends after `seconds`, or with SIGINT or SIGTERM."""
    tally = Tally()
    bus = await Bus.connect(TAP, url, seed=seed, log=logs.configure(TAP, TAP))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = rich.console.Console(highlight=False)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bus.run())
        for subject in shown_subjects():
            await bus.subscribe(
                subject, msgspec.Raw, lambda subject, raw, _: tally.add(subject, bytes(raw))
            )
        show = group.create_task(_show(tally, seconds, as_json=as_json, console=console, stop=stop))
        await stop.wait()
        show.cancel()
        await bus.close()
        running.cancel()


async def _show(
    tally: Tally, seconds: int, *, as_json: bool, console: rich.console.Console, stop: asyncio.Event
) -> None:
    totals: Counter[str] = Counter()
    ticks = 0
    with rich.live.Live(console=console, auto_refresh=False, transient=False) as live:
        while not seconds or ticks < seconds:
            await pause(TICK_S)
            ticks += 1
            rows = tally.take()
            for (family, shape), row in rows.items():
                totals[f"{family} {shape}"] += row.messages
                if as_json:
                    line = {"second": ticks, "subject": family, "shape": shape} | (
                        msgspec.to_builtins(row)
                    )
                    print(msgspec.json.encode(line).decode(), flush=True)
            if not as_json:
                live.update(_table(rows, ticks, totals), refresh=True)
    stop.set()


def _table(rows: dict[tuple[str, str], Row], ticks: int, totals: Counter[str]) -> rich.table.Table:
    table = rich.table.Table(title=f"second {ticks}", box=None)
    for name in ("subject", "shape"):
        table.add_column(name, overflow="fold")
    for name in ("messages/s", "bytes/s", "total"):
        table.add_column(name, justify="right")
    for (family, shape), row in rows.items():
        total = totals[f"{family} {shape}"]
        counts = (row.messages, row.bytes, total)
        table.add_row(Text(family), Text(shape), *(str(count) for count in counts))
    return table


def _fail(line: str) -> int:
    typer.echo(f"synchronia tap: {line}", err=True)
    return 1

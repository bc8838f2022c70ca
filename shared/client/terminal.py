"""What `synchronia citizen` does on a terminal: prints what is seen, reads what is said."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from shared.client.errand import Errand
from shared.client.events import (
    Event,
    FollowsTaken,
    Interrupted,
    NumbersRefused,
    RecordActed,
    RecordDeclined,
    RecordDurable,
    Seated,
    SessionReady,
    VoiceOpened,
    WindowTaken,
)
from shared.client.frames import to_builtins
from shared.client.keystore import Keystore
from shared.client.viewer import Viewer, WindowJudged, WindowState
from shared.client.visit import ErrandFailed, Visit
from shared.client.words import LineRefused, cell_line, line_of, mood_of, printable
from shared.codec import Refused, decode_sample
from shared.contracts.client import (
    Closeness,
    Coarse,
    Gap,
    Rung,
    SampleShown,
    SealShown,
    Skipped,
    Snapshot,
    StrandEnded,
    StrandShown,
    Struck,
)
from shared.contracts.records import Audience, Tier
from shared.contracts.refusals import MEANING, Refusal
from shared.identifiers import MonotonicNs, SanctuaryId
from shared.runtime.clock import monotonic_ns, wall_ms

SEAL_S_MAX = 5.0


class Terminal:
    """One person's view of one sanctuary."""

    def __init__(
        self,
        visits: Callable[..., Errand],
        store: Keystore,
        name: str,
        url: str,
        sanctuary: SanctuaryId,
        *,
        is_json_output: bool,
        is_json_wire: bool,
        followed: tuple[bytes, ...] = (),
    ) -> None:
        self._visits = visits
        self._store = store
        self._name = name
        self._url = url
        self._sanctuary = sanctuary
        self._is_json_output = is_json_output
        self._is_json_wire = is_json_wire
        self._followed = followed
        self._viewer = Viewer()
        self._console = Console(highlight=False)
        self._closed = asyncio.Event()
        self._is_quiet = False

    def _visit(self) -> Errand:
        return self._visits(
            self._store,
            self._name,
            self._url,
            viewer=self._viewer,
            is_json=self._is_json_wire,
            on_events=self._on_events,
        )

    async def say_once(self, line: str, *, call: str | None, tier: Tier | None) -> None:
        """One sample, its window sealed, and away."""
        mood = mood_of(line)
        self._is_quiet = True
        async with self._visit() as visit:
            await self._settle_in(visit, call=call, tier=tier, speak=True)
            (strand,) = [w.strand for w in visit.session.writers.values() if w.next_seq == 0]
            writer = visit.session.writers[strand]
            visit.session.feel(self._sanctuary, mood, monotonic_ns(), wall_ms())
            visit.session.hush(self._sanctuary, wall_ms())
            visit.connection.flush()
            await visit.until("the sample is sealed", lambda: writer.finished, within_s=SEAL_S_MAX)
            visit.session.leave(self._sanctuary, wall_ms())
            if writer.tally.admitted != 1:
                reason = next(iter(writer.tally.refused), Refusal.LOST.value)
                raise ErrandFailed(f"not taken: {reason} ({MEANING[Refusal(reason)]})")
        if self._is_json_output:
            typer.echo(msgspec.json.encode({"type": "said", "strand": strand.hex()}))
        else:
            typer.echo("said, and sealed")

    async def converse(self, *, call: str | None, tier: Tier | None, is_watching: bool) -> None:
        """Until /quit, the end of the input, or Ctrl-C."""
        async with self._visit() as visit:
            await self._settle_in(visit, call=call, tier=tier, speak=not is_watching)
            lines: asyncio.Queue[str | None] = asyncio.Queue(maxsize=64)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _put_end, lines)
            if not is_watching:
                _read_lines(lines)
            while True:
                line = await lines.get()
                if line is None or line.strip() in {"/quit", "/q"}:
                    break
                await self._take_line(visit, line.strip())
            await self._say_goodbye(visit)

    async def _settle_in(
        self, visit: Errand, *, call: str | None, tier: Tier | None, speak: bool
    ) -> None:
        if tier is not None:
            await visit.grant(self._sanctuary, tier)
        stands = await visit.stands_at(self._sanctuary, Audience.MEMBERS)
        await visit.take_seat(self._sanctuary, speak=speak, name=call)
        if not self._is_quiet:
            await visit.follow_all(self._sanctuary, self._followed)
        if tier is None and speak and stands is Tier.WITHHELD:
            typer.echo(
                "nobody sees you here before you grant it: --grant full, or synchronia consent grant",
                err=True,
            )

    async def _take_line(self, visit: Errand, line: str) -> None:
        if not line:
            return
        if line == "/withdraw":
            began_ns = monotonic_ns()
            ref = visit.session.withdraw(None, began_ns, wall_ms())
            await visit.settle(ref)
            took_ms = (monotonic_ns() - began_ns) / 1e6
            self._tell("withdrawn", f"withdrawn, everywhere ({took_ms:.0f} ms)")
            return
        if line.startswith("/"):
            typer.echo("/withdraw ends every grant, /quit leaves", err=True)
            return
        try:
            mood = mood_of(line)
        except LineRefused as error:
            typer.echo(str(error), err=True)
            return
        if visit.session.feel(self._sanctuary, mood, monotonic_ns(), wall_ms()) is None:
            typer.echo("not sent: not connected just now; say it again in a moment", err=True)
        visit.connection.flush()

    async def _say_goodbye(self, visit: Visit) -> None:
        """Close the strand, so that everyone knows that nothing is missing."""
        writers = list(visit.session.writers.values())
        visit.session.hush(self._sanctuary, wall_ms())
        visit.connection.flush()
        if visit.session.is_ready:
            await visit.until(
                "the last window is sealed",
                lambda: all(w.finished for w in writers if w.closing_window is not None),
                within_s=SEAL_S_MAX,
            )
        visit.session.leave(self._sanctuary, wall_ms())

    # Showing.

    def _on_events(self, events: list[Event], _now_ns: MonotonicNs) -> None:
        for event in events:
            if self._is_quiet:
                continue
            if self._is_json_output:
                self._show_json(event)
            else:
                self._show(event)

    def _show_json(self, event: Event) -> None:
        if isinstance(event, msgspec.Struct):
            shown = to_builtins(event)
            if isinstance(event, SampleShown):
                try:
                    shown["sample"] = to_builtins(decode_sample(event.body))
                except Refused:
                    return
        else:
            fields: dict[str, Any] = event._asdict()
            fields.pop("records", None)
            shown = {"type": type(event).__name__} | {
                key: value.hex() if isinstance(value, bytes) else value
                for key, value in fields.items()
                if not isinstance(value, msgspec.Struct)
            }
        typer.echo(msgspec.json.encode(shown))

    def _tell(self, kind: str, text: str) -> None:
        if self._is_json_output:
            typer.echo(msgspec.json.encode({"type": kind, "text": text}))
        else:
            self._print(kind, text)

    def _print(self, who: str, text: str, style: str = "") -> None:
        """Plain text when nobody reads it on a terminal; never markup from others."""
        if self._console.is_terminal:
            self._console.print(Text.assemble((f"{who:>12}  ", "bold"), (text, style)))
        else:
            typer.echo(f"{who}\t{text}")

    def _who(self, strand: bytes) -> str:
        view = self._viewer.strand(strand)
        if view is None:
            return "?"
        if view.opening is not None and view.opening.name:
            return printable(view.opening.name)
        return view.citizen.hex()[:8]

    def _show(self, event: Event) -> None:
        match event:
            case SampleShown():
                try:
                    self._print(self._who(event.strand), line_of(decode_sample(event.body)))
                except Refused:
                    self._print(self._who(event.strand), "not readable", "red")
            case Coarse():
                name = "~" + event.pseudonym.hex()[:6]
                self._print(name, cell_line(event.cell), "dim")
            case Struck():
                if event.citizen is not None:
                    self._print(event.citizen.hex()[:8], "gone", "dim")
                elif event.pseudonym is not None:
                    self._print("~" + event.pseudonym.hex()[:6], "gone", "dim")
            case WindowJudged():
                if event.state in {WindowState.FALSE, WindowState.UNSEALED}:
                    text = f"numbers {event.first} to {event.last} are {event.state}"
                    self._print(self._who(event.strand), text, "red")
            case Skipped():
                count = event.last - event.first + 1
                self._print(self._who(event.strand), f"{count} not shown: {event.reason}", "dim")
            case StrandEnded():
                self._print(self._who(event.strand), f"ended: {event.reason}", "dim")
            case Gap():
                self._print("room", "something was missed here", "yellow")
            case Rung():
                self._print("you", f"as fast as you read: {event.rung}", "yellow")
            case Closeness():
                text = "everybody sees everybody" if event.close else "too many to see everybody"
                self._print("room", text, "dim")
            case Seated():
                self._print("room", printable(event.policy.name), "dim")
            case FollowsTaken():
                self._print("you", f"following {event.people}", "dim")
            case SessionReady():
                self._print("you", event.citizen.hex(), "dim")
            case Interrupted():
                self._print("you", f"interrupted ({event.reason}); opening again", "yellow")
            case NumbersRefused():
                self._print("you", f"not taken: {event.reason}", "red")
            case RecordDeclined():
                self._print("you", f"consent not taken: {event.reason}, {event.meaning}", "red")
            case VoiceOpened() if not event.resumed:
                self._print("you", "say two numbers and words; /quit leaves", "dim")
            case RecordActed() | RecordDurable() | WindowTaken() | SealShown() | Snapshot():
                pass
            case StrandShown() if event.body is not None and event.unsealed_from is None:
                try:
                    self._print(self._who(event.strand), line_of(decode_sample(event.body)))
                except Refused:
                    return
            case _:
                pass


def _put_end(lines: asyncio.Queue[str | None]) -> None:
    while lines.full():
        lines.get_nowait()
    lines.put_nowait(None)


def _read_lines(lines: asyncio.Queue[str | None]) -> None:
    """Standard input in a thread of its own: a plain file or a terminal cannot be polled alike."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            for line in sys.stdin:
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()
        except (RuntimeError, concurrent.futures.CancelledError):
            return  # the conversation ended first

    threading.Thread(target=read, daemon=True, name="stdin").start()

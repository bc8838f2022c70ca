"""`synchronia watch`: a live view of one room in the terminal; a line or an object a second in a pipe."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from shared.client.board import Board, Picture
from shared.client.commands import (
    DEFAULT_SANCTUARY,
    DEFAULT_URL,
    AsJson,
    Followed,
    KeyName,
    KeysDirectory,
    Room,
    Url,
    followed_of,
    run_errand,
)
from shared.client.errand import Errand
from shared.client.events import Event
from shared.client.keyring import Keyring
from shared.client.keystore import DEFAULT_NAME, Keystore
from shared.client.screen import screen
from shared.client.viewer import Viewer
from shared.client.visit import ErrandFailed, Visit
from shared.client.words import sanctuary_of
from shared.identifiers import MonotonicNs, SanctuaryId
from shared.runtime.clock import monotonic_ns, wall_ms

LOOKS_PER_S = 4


class Watch:
    """One look at a room that lasts: until its time is up or somebody ends it."""

    def __init__(
        self,
        sanctuary: SanctuaryId,
        called: str,
        *,
        as_json: bool,
        followed: tuple[bytes, ...] = (),
    ) -> None:
        self._sanctuary = sanctuary
        self._called = called
        self._as_json = as_json
        self._followed = followed
        self._ended = asyncio.Event()
        self.viewer = Viewer()
        self.board = Board(self.viewer, sanctuary)
        self._visit: Visit | None = None

    def on_events(self, events: list[Event], now_ns: MonotonicNs) -> None:
        assert self._visit is not None
        city_ms = wall_ms() + self._visit.session.city_ahead_ms
        self.board.take(events, now_ns, city_ms)

    async def run(self, visit: Visit, *, is_anonymous: bool, seconds: float | None) -> None:
        self._visit = visit
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ended.set)
        async with visit:
            if is_anonymous:
                try:
                    await visit.until("a picture of the stage", lambda: self.board.snapshots > 0)
                except ErrandFailed as error:
                    if visit.connection.is_reachable:
                        raise ErrandFailed(
                            f"nothing public is called {self._called!r} here; without --anonymous "
                            "you join with your keys"
                        ) from None
                    raise error from None
            else:
                await visit.take_seat(self._sanctuary, speak=False)
            if isinstance(visit, Errand):
                self.board.followed = await visit.follow_all(self._sanctuary, self._followed)
            if seconds is not None:
                loop.call_later(seconds, self._ended.set)
            await self._show()
            if not is_anonymous:
                visit.session.leave(self._sanctuary, wall_ms())

    async def _show(self) -> None:
        console = Console(highlight=False)
        if self._as_json or not console.is_terminal:
            while not await self._ends_within(1.0):
                picture = self._picture()
                if self._as_json:
                    typer.echo(msgspec.json.encode(picture.object(self._sanctuary, wall_ms())))
                else:
                    typer.echo(picture.line())
            return
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while not await self._ends_within(1 / LOOKS_PER_S):
                drawn = screen(
                    self._picture(), self._called, width=console.width, height=console.height
                )
                live.update(drawn, refresh=True)

    def _picture(self) -> Picture:
        assert self._visit is not None
        if self._visit.failure is not None:
            raise ErrandFailed(str(self._visit.failure))
        is_connected = self._visit.session.hello is not None
        return self.board.picture(monotonic_ns(), is_connected=is_connected)

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True


def watch(
    *,
    url: Url = DEFAULT_URL,
    sanctuary: Room = DEFAULT_SANCTUARY,
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Watch a public stage without keys.")
    ] = False,
    follow: Followed = None,
    seconds: Annotated[
        float | None, typer.Option(help="End after so many seconds; without: at Ctrl-C.", min=0.1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """See a sanctuary live: the plane, who is seen at which tier, rates, gaps, delay.

    You join as a listener with your keys; nobody sees you. What citizens withhold is not shown and not
    here. In a room that is too full to show everybody you see those you follow. In a pipe: one line a
    second, or with --json one object.

    Example: synchronia watch --sanctuary "Emotive Commons"

    Example: synchronia watch --sanctuary open-stage --anonymous --json --seconds 10
    """
    place = sanctuary_of(sanctuary)
    also = followed_of(follow)
    if anonymous and also:
        raise typer.BadParameter("without keys nobody can be followed", param_hint="--follow")

    async def errand() -> None:
        view = Watch(place, sanctuary, as_json=as_json, followed=also)
        options: dict[str, Any] = {"viewer": view.viewer, "on_events": view.on_events}
        visit: Visit
        if anonymous:
            # never signs: an anonymous viewer sends nothing at all
            visit = Visit(
                Keyring.new(os.urandom, wall_ms()),
                url,
                random_bytes=os.urandom,
                watch=place,
                **options,
            )
        else:
            visit = Errand(Keystore(keys), name, url, **options)
        await view.run(visit, is_anonymous=anonymous, seconds=seconds)

    try:
        run_errand(errand())
    except BrokenPipeError:  # who read has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

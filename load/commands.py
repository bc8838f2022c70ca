"""`synchronia load`: what drives a city and keeps the books."""

from __future__ import annotations

import typer

from load.capacity_commands import capacity
from load.play.commands import plan, play, stories
from load.replay.commands import replay

load_app = typer.Typer(
    help=(
        "Drive a city with scripted citizens: play a story, or replay recordings."
        "\n\nExample: synchronia load play quick"
    ),
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@load_app.callback()
def load() -> None:
    """Drive a city with scripted citizens."""


for word in (play, plan, stories, replay, capacity):
    load_app.command(word.__name__)(word)

"""`synchronia`: one word a command. Each word's library is imported when that word is used.

Services and the city are started by name, so that nothing in `shared` imports them.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any, NamedTuple, NoReturn

import typer

TRACEBACK_VARIABLE = "SYNCHRONIA_TRACEBACK"
"""Set to show where an error came from; without it an error is one line."""


class Word(NamedTuple):
    """A command that lives elsewhere: `module`, run whole, or its typer app or function `name`."""

    module: str
    name: str | None
    summary: str
    panel: str


CITY = "The city"
PEOPLE = "People"
SERVICE = "One service each"

WORDS: dict[str, Word] = {
    "up": Word("services.city", None, "Run a whole city on this machine.", CITY),
    "tap": Word("shared.cli.tap", "tap", "What flows over the bus: shapes and counts.", CITY),
    "doctor": Word("shared.cli.doctor", "doctor", "What is wrong with my set-up?", CITY),
    "load": Word("load.commands", "load_app", "Scripted citizens: recordings, a swarm.", CITY),
    "citizen": Word(
        "shared.client.commands", "citizen", "Speak and listen from a terminal.", PEOPLE
    ),
    "watch": Word("shared.client.watch", "watch", "See a sanctuary live, in the terminal.", PEOPLE),
    "keys": Word("shared.client.commands", "keys_app", "Keys: one's own, and the bus's.", PEOPLE),
    "consent": Word(
        "shared.client.consent_commands", "consent_app", "Grant, approve, withdraw, list.", PEOPLE
    ),
    "follow": Word("shared.client.follow_commands", "follow", "Follow a person, or list.", PEOPLE),
    "unfollow": Word("shared.client.follow_commands", "unfollow", "Follow no more.", PEOPLE),
    "sign": Word("shared.client.sign", "sign", "A window to post, for who has no socket.", PEOPLE),
    "gateway": Word("services.gateway", None, "Connections of people and devices.", SERVICE),
    "ingest": Word("services.ingest", None, "Admits samples, or refuses them by name.", SERVICE),
    "fanout": Word("services.fanout", None, "Applies consent, for each viewer.", SERVICE),
    "sanctuary": Word("services.sanctuary", None, "Rooms and who is in them.", SERVICE),
    "registry": Word("services.registry", None, "Identities, consent, charter.", SERVICE),
}

app = typer.Typer(
    name="synchronia",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    help="Synchronia: a consent-first, real-time affect network.\n\n"
    "Example: synchronia up, and in another terminal: synchronia citizen --help"
)
def root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and end.", is_eager=True)
    ] = False,
) -> None:
    if version:
        print(f"synchronia {metadata.version('synchronia')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def _pass_on(word: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        run_word(word, list(context.args))

    return command


for _word, _entry in WORDS.items():
    app.command(
        _word,
        help=_entry.summary,
        rich_help_panel=_entry.panel,
        add_help_option=False,
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )(_pass_on(_word))


def run_word(word: str, arguments: list[str]) -> NoReturn:
    """Hand `arguments` to the word's own module, and end with its status."""
    entry = WORDS[word]
    if entry.name is None:
        sys.argv = [f"synchronia {word}", *arguments]
        runpy.run_module(entry.module, run_name="__main__", alter_sys=False)
        sys.exit(0)
    target = getattr(importlib.import_module(entry.module), entry.name)
    if word == "keys":
        from shared.cli.bus_keys import add_to

        add_to(target)
    command = target if isinstance(target, typer.Typer) else _alone(target)
    names = ["-h", "--help"]  # of its subcommands too
    command(args=arguments, prog_name=f"synchronia {word}", help_option_names=names)
    sys.exit(0)


def _alone(function: Callable[..., Any]) -> typer.Typer:
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command()(function)
    return single


def main() -> None:
    """The entry point. This is the boundary where an error becomes a line and a status."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"synchronia: {text} ({TRACEBACK_VARIABLE}=1 says more)", file=sys.stderr)
        sys.exit(1)

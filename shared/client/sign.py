"""`synchronia sign`: what a device without a socket posts, for scripts and for curl."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.client.commands import KeyName, KeysDirectory, fail
from shared.client.keystore import DEFAULT_NAME, Keystore, KeysUnusable
from shared.client.window import FactsUnreadable, facts_of, window_of
from shared.client.words import LineRefused, mood_of
from shared.contracts.sample import WINDOW_SAMPLES_MAX, Provenance
from shared.runtime.clock import wall_ms

SAID_BY = {
    "declared": Provenance.DECLARED,
    "derived": Provenance.DERIVED,
    "scripted": Provenance.SCRIPTED,
}


def sign(
    moods: Annotated[
        list[str], typer.Argument(help='What is felt, like "0.4 -0.2 calm"; each is a sample.')
    ],
    *,
    facts: Annotated[
        str, typer.Option(help="What GET /v1/signatures/<sanctuary> answered: a file, or -.")
    ] = "-",
    keys: KeysDirectory = None,
    name: KeyName = DEFAULT_NAME,
    call: Annotated[
        str | None, typer.Option(help="What those who see you at full may call you.")
    ] = None,
    provenance: Annotated[
        str, typer.Option(help="declared, derived (from a body's signals) or scripted.")
    ] = "declared",
    policy: Annotated[
        str | None, typer.Option(help="The rules' hash in hex, of a room that does not tell them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the window goes; default: standard output.")
    ] = None,
) -> None:
    """Sign a whole window with this device's key, to be posted by whatever speaks HTTP.

    The answer of GET /v1/signatures/<sanctuary> goes in, a body for POST /v1/signatures comes out. The
    citizen must have enrolled and granted before, as with: synchronia citizen --grant full

    Example: curl -s URL/v1/signatures/emotive-commons | synchronia sign "0.4 -0.2 calm" > window
    && curl -s --data-binary @window URL/v1/signatures
    """
    if provenance not in SAID_BY:
        raise typer.BadParameter("declared, derived or scripted", param_hint="--provenance")
    if len(moods) > WINDOW_SAMPLES_MAX:
        raise typer.BadParameter(f"at most {WINDOW_SAMPLES_MAX} samples", param_hint="MOODS")
    if out is None and sys.stdout.isatty():
        raise fail("a window is no text; send it on with > window, or name a file with --out")
    try:
        read = [mood_of(mood, SAID_BY[provenance]) for mood in moods]
        told = facts_of(sys.stdin.buffer.read() if facts == "-" else Path(facts).read_bytes())
        keyring = Keystore(keys).load(name)
        policy_hash = told.policy_hash if policy is None else bytes.fromhex(policy)
    except (LineRefused, FactsUnreadable, KeysUnusable) as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"cannot read {facts}: {error.strerror}") from None
    except ValueError:
        raise typer.BadParameter("64 hex digits", param_hint="--policy") from None
    if policy_hash is None or len(policy_hash) != 32:
        raise fail("this room does not tell its rules to everybody; give their hash with --policy")
    citizen = keyring.citizens.get(told.city)
    if citizen is None:
        raise fail(
            f"{name} is nobody in this city yet; enrol with: synchronia citizen --name {name}"
        )
    window = window_of(
        told,
        read,
        keyring=keyring,
        citizen=citizen,
        policy_hash=policy_hash,
        name=call,
        now_ms=wall_ms(),
        random_bytes=os.urandom,
    )
    if out is not None:
        out.write_bytes(window)
    else:
        sys.stdout.buffer.write(window)

"""What the services are told beyond the common options: the port, the rooms, who may speak on a stage."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from services.city.settings import SEEDS, Settings
from shared.client.keystore import Keystore
from shared.identifiers import slug_of

CITIZENS_FILE = SEEDS / "citizens.toml"


def environment(settings: Settings, *, port: int, citizens: Path) -> dict[str, str]:
    """Settings by name of the environment; each service reads its own only."""
    shares = str(settings.workers > 1).lower()
    told = {"SYNCHRONIA_GATEWAY_PORT": str(port), "SYNCHRONIA_GATEWAY_SHARES_PORT": shares}
    if settings.empty:
        told["SYNCHRONIA_SANCTUARY_SANCTUARIES_PATH"] = ""
        return told
    voices = [f"{slug}={did}" for slug, did in stage_voices(Keystore(citizens))]
    # who starts a city may name further voices, as for a sanctuary service by itself
    voices += filter(None, os.environ.get("SYNCHRONIA_SANCTUARY_VOICES", "").split(","))
    told["SYNCHRONIA_SANCTUARY_VOICES"] = ",".join(voices)
    return told


def stage_voices(keystore: Keystore) -> list[tuple[str, str]]:
    """(slug, did:key) of every scripted citizen that speaks to the public. Their keys are made here
    when they are missing, because a stage names its voices before they come.
    """
    rows = tomllib.loads(CITIZENS_FILE.read_text(encoding="utf-8"))["citizen"]
    return [
        (row["sanctuary"], keystore.load_or_new(slug_of(row["name"]))[0].did)
        for row in rows
        if "public" in row
    ]

"""What each key may do on the bus, and the broker's configuration, generated from the subjects' table.

Nothing is allowed that is not a row there: no service may make a stream, a bucket or a consumer,
read another's inbox, or listen to `up.*` outside the queue group. `bootstrap` alone makes streams
and erases; `tap` only listens, and not to `up`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nkeys

from shared.parts import PARTS_MAX
from shared.subjects import EPOCHS, INGEST, REGISTRY, SANCTUARY, SERVICES, STREAMS, TABLE

BOOTSTRAP, TAP = "bootstrap", "tap"
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
"""The longest message: a page of the registry's state, or the snapshots of a full room."""
_ANSWER_WITHIN = "5s"
_IN_PARTS = (INGEST, SANCTUARY)
"""Whose answers may be too long for one message."""
_INSTANCE = re.compile(r"[a-z][a-z0-9]{0,31}(-\d{1,3})?")


@dataclass(frozen=True)
class Permissions:
    """Subjects in the broker's own notation; `"up.* ingest"` is "only in this queue group"."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: int
    """How often it may publish to the reply subject of what it received."""


def service_of(instance: str) -> str:
    """`fanout-0` → `fanout`. Raises: ValueError unless it is one of the table's services."""
    service, _, ordinal = instance.rpartition("-")
    if service not in SERVICES or not ordinal.isdigit() or not _INSTANCE.fullmatch(instance):
        raise ValueError(f"{instance!r} is not <service>-<ordinal> of {', '.join(SERVICES)}")
    return service


def permissions_of(instance: str) -> Permissions:
    """The permissions of one key: a service's instance, `bootstrap` or `tap`."""
    inbox = f"_INBOX.{instance}.>"
    if instance == BOOTSTRAP:
        return Permissions(("$JS.API.>", inbox), (inbox,), answers=0)
    if instance == TAP:
        shown = tuple(
            row.subscribe.replace("{self}", "*")
            for row in TABLE
            if row.queue is None and not row.subscribe.startswith("ask.")
        )
        return Permissions((inbox,), (*shown, inbox), answers=0)
    service = service_of(instance)
    publish = [
        row.publish.replace("{self}", instance) for row in TABLE if service in row.publishers
    ]
    listened = [row for row in TABLE if service in row.subscribers]
    subscribe = [
        row.subscribe.replace("{self}", instance) + (f" {row.queue}" if row.queue else "")
        for row in listened
    ]
    if service == REGISTRY:
        for stream, subject in STREAMS.items():
            publish += [subject, f"$JS.API.DIRECT.GET.{stream}"]
    if service in EPOCHS:
        publish.append(f"$KV.{EPOCHS[service]}.*")
    is_asked = any(row.subscribe.startswith("ask.") for row in listened)
    answers = (PARTS_MAX if service in _IN_PARTS else 1) if is_asked else 0
    return Permissions((*publish, inbox), (*subscribe, inbox), answers=answers)


def default_instances() -> tuple[str, ...]:
    """One of each service: what `synchronia up` runs."""
    return tuple(f"{service}-0" for service in SERVICES)


def seed_path(keys_dir: Path, instance: str) -> Path:
    return keys_dir / f"{instance}.nk"


def make_keys(keys_dir: Path, instances: Iterable[str]) -> dict[str, str]:
    """`<instance>.nk` (0600) for each instance, `bootstrap` and `tap`; keys that exist are kept.

    Returns instance → public key.
    """
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    public: dict[str, str] = {}
    for instance in (BOOTSTRAP, TAP, *instances):
        path = seed_path(keys_dir, instance)
        if not path.exists():
            seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
            # whole or not at all: a half-written seed would lock the instance out for good
            fresh = path.with_suffix(".new")
            with os.fdopen(
                os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as file:
                file.write(seed)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        public[instance] = public_key(path)
    return public


def public_key(path: Path) -> str:
    """The public nkey (`U…`) of a seed file. Raises: ValueError, OSError."""
    try:
        key: bytes = nkeys.from_seed(bytearray(path.read_bytes().strip())).public_key
    except nkeys.NkeysError as error:
        raise ValueError(f"{path}: {error}") from None
    return key.decode()


def nats_conf(
    keys: Mapping[str, str],
    *,
    store_dir: Path | str,
    port: int,
    host: str = "127.0.0.1",
    extra: str = "",
) -> str:
    """nats-server's configuration. `keys`: instance → public key; port −1 takes a free one.

    `sync_interval: always`: an acknowledged record is on the disk (the default syncs every two
    minutes). No user without a key, and no key with more than its rows.
    """
    users = ",\n".join(_user(instance, key) for instance, key in sorted(keys.items()))
    return f"""# Generated from shared/subjects.py; changes here are lost.
host: {json.dumps(host)}
port: {port}
server_name: synchronia
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: 64MB
write_deadline: "2s"
# a client that stands still for longer than 15 s is let go; it connects again by itself
ping_interval: "5s"
ping_max: 2
jetstream {{
  store_dir: {json.dumps(str(store_dir))}
  sync_interval: always
}}
authorization {{
  users: [
{users}
  ]
}}
{extra}"""


def _user(instance: str, key: str) -> str:
    permissions = permissions_of(instance)
    rights: dict[str, object] = {
        "publish": {"allow": permissions.publish},
        "subscribe": {"allow": permissions.subscribe},
    }
    if permissions.answers:
        rights["allow_responses"] = {"max": permissions.answers, "expires": _ANSWER_WITHIN}
    return f"    # {instance}\n    " + json.dumps({"nkey": key, "permissions": rights})

"""Making the streams and buckets: only the bootstrap key may, and only here it does."""

from __future__ import annotations

from pathlib import Path

import nats.js.api
from nats.js import JetStreamContext

from shared.bus.connection import CONNECT_S_MAX, Connection
from shared.bus.errors import NoBroker
from shared.bus.permissions import BOOTSTRAP
from shared.subjects import EPOCHS, STREAMS

_BOOTSTRAP_S_MAX = 10


async def ensure_streams(url: str, bootstrap_seed: Path | None, *, replicas: int = 1) -> None:
    """Make or bring up to date every stream and bucket; idempotent, keeps what they hold.

    Raises: NoBroker; nats' own error if a stream cannot be made so.
    """

    async def ignore(_: Exception) -> None:
        """nats-py would log them; what matters is raised below."""

    connection = Connection()
    try:
        await connection.connect(
            url,
            name=BOOTSTRAP,
            nkeys_seed=None if bootstrap_seed is None else str(bootstrap_seed),
            inbox_prefix=f"_INBOX.{BOOTSTRAP}",
            allow_reconnect=False,
            connect_timeout=CONNECT_S_MAX,
            error_cb=ignore,
        )
    except (OSError, nats.errors.Error) as error:
        await connection.abandon()
        raise NoBroker(f"no broker at {url}: {error}") from None
    try:
        streams = connection.jetstream(timeout=_BOOTSTRAP_S_MAX)
        for name, subject in STREAMS.items():
            await _ensure(streams, _log_stream(name, subject, replicas))
        for bucket in EPOCHS.values():
            await _ensure(streams, _bucket(bucket, replicas))
    finally:
        await connection.close()


async def _ensure(streams: JetStreamContext, config: nats.js.api.StreamConfig) -> None:
    try:
        await streams.add_stream(config)  # making it again with the same configuration is no error
    except nats.js.errors.BadRequestError:
        await streams.update_stream(config)


def _log_stream(name: str, subject: str, replicas: int) -> nats.js.api.StreamConfig:
    return nats.js.api.StreamConfig(
        name=name,
        subjects=[subject],
        retention=nats.js.api.RetentionPolicy.LIMITS,
        storage=nats.js.api.StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        # a rollup header would let the writer erase; erasing is an act of the bootstrap key
        allow_rollup_hdrs=False,
        deny_delete=False,
        deny_purge=False,
        max_msg_size=-1,
    )


def _bucket(bucket: str, replicas: int) -> nats.js.api.StreamConfig:
    """A key-value bucket (ADR-8) without rollups, which nats-py's own would allow."""
    return nats.js.api.StreamConfig(
        name=f"KV_{bucket}",
        subjects=[f"$KV.{bucket}.>"],
        max_msgs_per_subject=1,
        discard=nats.js.api.DiscardPolicy.NEW,
        storage=nats.js.api.StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        allow_rollup_hdrs=False,
        deny_delete=True,
    )

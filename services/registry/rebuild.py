"""A registry from what is on the disk: charter, streams, keys, epoch. Founds the city if there is none.

In the state directory: `keys/institution.key` (the founding institution's seed, made with the city),
`wrapping/<week>.key`, `registry.epoch`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from services.registry.core import Damaged, Limits, Registry
from services.registry.genesis import CharterUnusable, make_charter, read_charter
from services.registry.settings import RegistrySettings
from services.registry.store import Store, StoreDamaged, WrappingKeys, read_key, write_whole
from shared.codec import Refused, decode, encode, sha256
from shared.contracts import Signed
from shared.identifiers import WallMs
from shared.identity import Signer
from shared.runtime.clock import wall_ms
from shared.runtime.runner import CannotServe, Runtime

GENESIS = "charter.genesis"
STREAMS = ("identity", "consent")
"""In the order in which they are read: a chain needs its citizen."""
PROGRESS_EVERY = 10_000


class Rebuilt(NamedTuple):
    core: Registry
    store: Store
    sequences: dict[str, int]
    """Subject → the stream sequence of its last message."""


async def rebuild(runtime: Runtime) -> Rebuilt:
    """Raises: CannotServe, BusError, TimeoutError, OSError."""
    settings: RegistrySettings = runtime.settings
    try:
        charter = await _charter(runtime, settings.charter_path)
        core = Registry(
            runtime.instance,
            charter=charter,
            genesis=sha256(charter.payload),
            epoch=next_epoch(runtime.state_dir / "registry.epoch", wall_ms()),
            random_bytes=runtime.random_bytes,
            limits=Limits(
                settings.records_per_s,
                settings.records_burst,
                settings.enrolments_per_s,
                settings.enrolments_burst,
            ),
        )
    except (CharterUnusable, StoreDamaged) as error:
        raise CannotServe(str(error)) from None
    wrapping = WrappingKeys(runtime.state_dir / "wrapping", runtime.random_bytes)
    store = Store(wrapping, runtime.random_bytes)
    sequences: dict[str, int] = {}
    started_ms = wall_ms()
    for stream in STREAMS:
        count = 0
        async for sequence, subject, content in runtime.bus.read_stream(stream):
            try:
                opened = store.open(subject, content)
                core.load(stream, opened.citizen, opened.payload, started_ms)
            except (StoreDamaged, Damaged) as error:
                raise CannotServe(f"stream {stream}, message {sequence}: {error}") from None
            sequences[subject] = sequence
            count += 1
            if count % PROGRESS_EVERY == 0:
                runtime.log.info("rebuilding", stream=stream, records=count)
        runtime.log.info("rebuilt", stream=stream, records=count)
    return Rebuilt(core, store, sequences)


async def _charter(runtime: Runtime, path: Path) -> Signed:
    """The genesis charter, which is also the one in force: there is no record yet that would replace it.
    In an empty city, a new one.
    """
    stored = [content async for _, _, content in runtime.bus.read_stream("charter")]
    if stored:
        try:
            charter = decode(stored[0], Signed)
        except Refused:
            raise CannotServe("stream charter, message 1: it was changed") from None
        read_charter(charter)
        return charter
    for stream in STREAMS:
        async for _ in runtime.bus.read_stream(stream):
            raise CannotServe(f"stream {stream} holds records, and there is no charter")
    charter = _found(path, institution(runtime), wall_ms())
    await runtime.bus.append(GENESIS, encode(charter), expected_last_subject_seq=0)
    runtime.log.info("the city is founded")
    return charter


def _found(path: Path, founder: Signer, now_ms: WallMs) -> Signed:
    try:
        return make_charter(path.read_text(encoding="utf-8"), founder, now_ms)
    except OSError as error:
        raise CannotServe(f"{path}: {error.strerror}") from None
    except CharterUnusable as error:
        raise CannotServe(f"{path}: {error}") from None


def institution(runtime: Runtime) -> Signer:
    """The founding institution's key, made if there is none yet."""
    path = runtime.state_dir / "keys" / "institution.key"
    if not path.exists():
        write_whole(path, runtime.random_bytes(32))
    return Signer(read_key(path))


def next_epoch(path: Path, now_ms: WallMs) -> int:
    """An epoch above all earlier ones: the wall clock, unless that was set back; then the last one
    and one. Raises: CannotServe.
    """
    last = 0
    if path.exists():
        text = path.read_text(encoding="ascii", errors="replace").strip()
        if not text.isdecimal():
            raise CannotServe(f"{path} is damaged")
        last = int(text)
    epoch = max(last + 1, int(now_ms))
    write_whole(path, f"{epoch}\n".encode())
    return epoch

r"""Records at rest: sealed under a key of each citizen's own, that key under the week's.

Streams `identity` and `consent` hold MessagePack arrays (`shared.codec`):

- `["sealed inception/1", week, wrapped key, sealed record]`, on `identity.<citizen id in hex>`
- `["sealed record/1", number, sealed record]`, on `consent.<citizen id in hex>`

A *sealed* value is a random nonce of 24 bytes and the XChaCha20-Poly1305 ciphertext
(draft-irtf-cfrg-xchacha, as in libsodium) of what the core gave to store (`core.stored`), under the
citizen's data key; associated data: subject ‖ ``\n`` ‖ number in decimal (0 for the inception, then the
record's counter), so that no record can stand in another's place. The *wrapped key* is the same
construction over the data key, under the wrapping key of `week`; associated data: subject ‖ ``\n`` ‖
week.

Wrapping keys lie outside JetStream, 32 random bytes each in `<state>/wrapping/<week>.key` (0600),
`week` being the ISO 8601 week in UTC, e.g. `2026-W47`. Destroying a data key's wrapping makes all of
a citizen's records unreadable wherever copies of the streams lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from shared.codec import Refused, decode, encode
from shared.identifiers import U53, WallMs

_KEY_BYTES = 32
_NONCE_BYTES = 24


class StoreDamaged(Exception):  # noqa: N818  (the state of what was read)
    """Something at rest cannot be read; the text names files and streams, never a citizen."""


class SealedInception(msgspec.Struct, frozen=True, array_like=True, tag="sealed inception/1"):
    week: str
    wrapped: bytes
    sealed: bytes


class SealedRecord(msgspec.Struct, frozen=True, array_like=True, tag="sealed record/1"):
    number: U53
    sealed: bytes


class Opened(NamedTuple):
    """A stored record in the clear. `number` 0: the inception."""

    citizen: bytes
    number: int
    payload: bytes


class WrappingKeys:
    """The weekly keys of a directory. Raises, in all methods: OSError."""

    def __init__(self, directory: Path, random_bytes: Callable[[int], bytes]) -> None:
        self._directory = directory
        self._random_bytes = random_bytes
        self._keys: dict[str, bytes] = {}

    def of_week(self, week: str) -> bytes:
        """A key that must be there. Raises: StoreDamaged if it is not."""
        if week not in self._keys:
            if Path(week).name != week or not week[:1].isdigit():
                raise StoreDamaged("a stored record names no week")
            path = self._directory / f"{week}.key"
            if not path.exists():
                raise StoreDamaged(f"{path} is missing: records of that week cannot be read")
            self._keys[week] = read_key(path)
        return self._keys[week]

    def now(self, now_ms: WallMs) -> tuple[str, bytes]:
        """This week and its key, made if there is none yet."""
        week = week_of(now_ms)
        path = self._directory / f"{week}.key"
        if week not in self._keys and not path.exists():
            write_whole(path, self._random_bytes(_KEY_BYTES))
        return week, self.of_week(week)


def week_of(now_ms: WallMs) -> str:
    """The ISO week in UTC, as `2026-W47`."""
    year, week, _ = datetime.fromtimestamp(now_ms / 1000, UTC).isocalendar()
    return f"{year}-W{week:02}"


def read_key(path: Path) -> bytes:
    """A key file's 32 bytes. Raises: StoreDamaged, OSError."""
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise StoreDamaged(f"{path} is damaged: {len(key)} bytes instead of {_KEY_BYTES}")
    return key


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, 0600, whole or not at all, and on the disk before anything relies on it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Store:
    """Seals what goes to the streams and opens what comes from them; keeps the data keys."""

    def __init__(self, wrapping: WrappingKeys, random_bytes: Callable[[int], bytes]) -> None:
        self._wrapping = wrapping
        self._random_bytes = random_bytes
        self._data_keys: dict[str, bytes] = {}

    def seal(self, subject: str, number: int, payload: bytes, now_ms: WallMs) -> bytes:
        """What to append to `subject`. The first record of a citizen (number 0) makes its key."""
        citizen = _citizen(subject)
        if number > 0:
            sealed = self._encrypt(self._data_keys[citizen], _place(subject, number), payload)
            return encode(SealedRecord(number, sealed))
        key = self._random_bytes(_KEY_BYTES)
        self._data_keys[citizen] = key
        week, wrapping_key = self._wrapping.now(now_ms)
        wrapped = self._encrypt(wrapping_key, _place(subject, week), key)
        sealed = self._encrypt(key, _place(subject, 0), payload)
        return encode(SealedInception(week, wrapped, sealed))

    def open(self, subject: str, content: bytes) -> Opened:
        """A stored record. Raises: StoreDamaged if it was changed, moved or cannot be read."""
        stream, citizen = subject.split(".", 1)[0], _citizen(subject)
        try:
            if stream == "identity":
                inception = decode(content, SealedInception)
                wrapping_key = self._wrapping.of_week(inception.week)
                key = _decrypt(wrapping_key, _place(subject, inception.week), inception.wrapped)
                payload = _decrypt(key, _place(subject, 0), inception.sealed)
                self._data_keys[citizen] = key
                return Opened(bytes.fromhex(citizen), 0, payload)
            record = decode(content, SealedRecord)
            payload = _decrypt(
                self._data_keys[citizen], _place(subject, record.number), record.sealed
            )
        except (Refused, CryptoError, KeyError, ValueError):
            raise StoreDamaged("it was changed, or its key is another") from None
        return Opened(bytes.fromhex(citizen), record.number, payload)

    def _encrypt(self, key: bytes, place: bytes, clear: bytes) -> bytes:
        nonce = self._random_bytes(_NONCE_BYTES)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(clear, place, nonce, key)


def _decrypt(key: bytes, place: bytes, sealed: bytes) -> bytes:
    nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    return crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, place, nonce, key)


def _place(subject: str, number: int | str) -> bytes:
    return f"{subject}\n{number}".encode()


def _citizen(subject: str) -> str:
    return subject.rpartition(".")[2]

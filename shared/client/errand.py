"""A visit with a person's key files: what the city gave is kept when it ends. asyncio."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from shared.client.keystore import Keystore
from shared.client.visit import Visit
from shared.contracts.records import FOLLOWED_MAX


class Errand(Visit):
    """A visit with key files: what the city gave is kept when it ends.

    `makes_keys` False where a mistyped name must not become a new person, of whom it would truly be
    said that nobody sees them. Raises: KeysUnusable.
    """

    def __init__(
        self, store: Keystore, name: str, url: str, *, makes_keys: bool = True, **options: Any
    ) -> None:
        if makes_keys:
            keyring, self.is_new = store.load_or_new(name)
        else:
            keyring, self.is_new = store.load(name), False
        super().__init__(keyring, url, random_bytes=os.urandom, **options)
        self._store, self._name = store, name
        self.session.releases = store.load_releases(name)

    async def follow_all(self, sanctuary: bytes, also: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
        """Follow there whom this person follows in this city, and `also`. Returns whom. Needs a seat."""
        hello = self.session.hello
        kept = () if hello is None else self._store.load_followed(self._name).get(hello.city, ())
        followed = tuple(dict.fromkeys((*also, *kept)))[:FOLLOWED_MAX]
        if followed:
            await self.follow(sanctuary, followed)
        return followed

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        self._store.save(self.session.keyring, self._name)
        self._store.save_releases(self.session.releases, self._name)

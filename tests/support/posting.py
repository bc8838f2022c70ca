"""A device without a socket, made of nothing but docs/protocol.md: HTTP, msgpack and PyNaCl."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import aiohttp
import nacl.signing

from tests.support.wire import Person, Place, now_ms, pack

PATH = "/v1/signatures"


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Told:
    """What GET told; stands where a socket's hello stands, for whoever signs."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.session = unbase64url(fields["session"])
        self.city = unbase64url(fields["city"])
        self.hello = ["hello", 1, self.session, 0, "", self.city, fields["gateway"]]
        policy_hash = fields["policy_hash"]
        self.place = Place(
            unbase64url(fields["sanctuary"]),
            b"" if policy_hash is None else unbase64url(policy_hash),
            unbase64url(fields["challenge"]),
        )


class Reply:
    def __init__(self, status: int, headers: Any, fields: dict[str, Any]) -> None:
        self.status = status
        self.headers = headers
        self.fields = fields

    @property
    def refused(self) -> tuple[int, str]:
        return self.status, self.fields["refused"]


class Device:
    """A person's device, and its strand: `told` is asked for, `window` made, `post` sent."""

    def __init__(self, person: Person, url: str) -> None:
        self.person = person
        self.url = url
        self.told: Told
        self.join: list[bytes] = []
        self.opening: list[bytes] = []
        self.key = nacl.signing.SigningKey.generate()
        self.seq = self.number = 0
        self.previous = bytes(32)

    async def get(self, name: str, **headers: str) -> Reply:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.url}{PATH}/{name}", headers=headers) as answer,
        ):
            return Reply(answer.status, answer.headers, await answer.json())

    async def ask(self, name: str) -> Told:
        """A session for a minute, and its join."""
        reply = await self.get(name)
        assert reply.status == 200, reply.fields
        told = self.told = Told(reply.fields)
        self.join = self.sign("join", self.person.join(told, told.place.sanctuary))  # type: ignore[arg-type]
        return told

    def sign(self, kind: str, payload: object, key: Any = None) -> list[bytes]:
        return self.person.sign(self.told, kind, payload, key)  # type: ignore[arg-type]

    def open(self, **changes: Any) -> None:
        """Another strand."""
        self.key = nacl.signing.SigningKey.generate()
        self.seq = self.number = 0
        self.previous = bytes(32)
        changes.setdefault("strand_key", bytes(self.key.verify_key))
        self.opening = self.sign("opening", self.person.opening(self.told.place, **changes))

    @property
    def strand(self) -> bytes:
        return hashlib.sha256(self.opening[0]).digest()

    def body(self, seq: int, **changes: Any) -> bytes:
        fields: dict[str, Any] = {
            "seq": seq,
            "t_ms": now_ms(),
            "valence": 300,
            "arousal": 200,
            "dominance": None,
            "confidence": 1000,
            "provenance": 2,
            "labels": [],
            "note": None,
            "salt": hashlib.sha256(self.strand + bytes([seq & 255])).digest()[:8],
        }
        return pack(list((fields | changes).values()))

    def window(self, count: int = 1, *, closing: bool = False, **changes: Any) -> list[Any]:
        """The next window's message; `changes` of the seal make a bad one."""
        bodies = [self.body(self.seq + place) for place in range(count)]
        return self.window_of(bodies, closing=closing, **changes)

    def window_of(self, bodies: list[bytes], *, closing: bool, **changes: Any) -> list[Any]:
        fields: dict[str, Any] = {
            "strand": self.strand,
            "window": self.number,
            "first_seq": self.seq,
            "t_end_ms": now_ms(),
            "flags": int(closing),
            "hashes": [hashlib.sha256(body).digest()[:16] for body in bodies],
            "previous": self.previous,
            "total": self.seq + len(bodies) if closing else None,
        }
        payload = pack(["seal/1", *(fields | changes).values()])
        seal = self.sign("seal", payload, self.key)
        self.seq, self.number = self.seq + len(bodies), self.number + 1
        self.previous = hashlib.sha256(payload).digest()
        return ["signatures/1", self.join, self.person.counter, self.opening, bodies, seal]

    async def post(self, message: object, *, path: str = PATH, **headers: str) -> Reply:
        """`message`: an array, or the body's own bytes."""
        body = message if isinstance(message, bytes) else pack(message)
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url + path, data=body, headers=headers) as answer,
        ):
            return Reply(answer.status, answer.headers, await answer.json())

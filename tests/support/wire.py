"""A client made of nothing but docs/protocol.md: msgpack, PyNaCl and a WebSocket library.

It shares no code with `shared.client` or the contracts, so it is a second reader of the bytes, and it
can send what a good client never would.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from typing import Any

import msgpack
import nacl.signing
import websockets
from websockets.asyncio.client import ClientConnection, connect

ANSWER_S_MAX = 10.0
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
Message = list[Any]


def now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251  (no code of ours here)


def pack(value: object) -> bytes:
    packed = msgpack.packb(value, use_bin_type=True)
    assert isinstance(packed, bytes)
    return packed


def sanctuary_id(slug: str) -> bytes:
    return hashlib.sha256(b"synchronia/sanctuary/" + slug.encode()).digest()[:16]


def did(key: bytes, codec: bytes = b"\xed\x01") -> str:
    number, signs = int.from_bytes(codec + key, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        signs = _BASE58[rest] + signs
    return "did:key:z" + signs


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class ClosedByServerError(AssertionError):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed by the server: {code} {reason}")
        self.code = code
        self.reason = reason


class Wire:
    """One socket, one frame at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.hello: Message = []
        self.is_json = False
        self.passed: list[Message] = []
        """Messages that `wait_for` met on its way."""
        self._waiting: list[Message] = []

    @classmethod
    async def connect(cls, url: str, **options: Any) -> Wire:
        """`url`: ws://…/v1/live. Waits for `hello`."""
        options.setdefault("subprotocols", ["synchronia.v1"])
        wire = cls(await connect(url, proxy=None, compression=None, **options))
        wire.hello = await wire.wait_for("hello")
        return wire

    @classmethod
    async def connect_json(cls, url: str) -> Wire:
        """The same on the JSON subprotocol; `hello` is brought into the other one's shape."""
        wire = await cls.connect(url, subprotocols=["synchronia.v1.json"])
        told = wire.hello[1]
        for name in ("session", "city"):
            told[name] = from_base64url(told[name])
        wire.hello = list(told.values())
        wire.is_json = True
        return wire

    @property
    def session(self) -> bytes:
        return bytes(self.hello[2])

    @property
    def city(self) -> bytes:
        return bytes(self.hello[5])

    async def send(self, *messages: object) -> None:
        """Messages; on the JSON subprotocol, objects."""
        whole = list(messages)
        await self.socket.send(json.dumps(whole) if self.is_json else pack(whole))

    async def ask_time(self) -> None:
        """A question and its answer: the session lives."""
        question = {"type": "time?", "client_ms": 1} if self.is_json else ["time?", 1]
        await self.send(question)
        await self.wait_for("time")

    async def _frame(self, within_s: float) -> str | bytes:
        try:
            async with asyncio.timeout(within_s):
                return await self.socket.recv()
        except websockets.ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            reason = closed.rcvd.reason if closed.rcvd else ""
            raise ClosedByServerError(code, reason) from None

    async def receive(self) -> Message:
        while not self._waiting:
            frame = await self._frame(ANSWER_S_MAX)
            if isinstance(frame, bytes):
                self._waiting += msgpack.unpackb(frame, raw=False)
            else:
                self._waiting += [[m["type"], m] for m in json.loads(frame)]
        return self._waiting.pop(0)

    async def wait_for(self, *names: str) -> Message:
        """The next message of one of these names; others are kept in `passed`."""
        while True:
            message = await self.receive()
            if message[0] in names:
                return message
            self.passed.append(message)

    def look_back(self) -> None:
        """What was passed is received again, before anything else."""
        self._waiting[:0], self.passed = self.passed, []

    async def wait_closed(self) -> ClosedByServerError:
        try:
            while True:
                self.passed.append(await self.receive())
        except ClosedByServerError as closed:
            return closed

    async def close(self) -> None:
        await self.socket.close()


class Person:
    """Keys, and the records that a person signs."""

    def __init__(self, name: str) -> None:
        def key(role: str) -> nacl.signing.SigningKey:
            return nacl.signing.SigningKey(hashlib.sha256(f"{role}/{name}".encode()).digest())

        self.identity, self.device, self.next = key("identity"), key("device"), key("next")
        self.strand_key = key("strand")
        self.citizen = bytes(16)
        self.counter = 0
        self.head = bytes(32)

    def sign(
        self, wire: Wire, kind: str, payload: object, signer: nacl.signing.SigningKey | None = None
    ) -> list[bytes]:
        """`[payload, signature]`; `payload` may be bytes already."""
        raw = payload if isinstance(payload, bytes) else pack(payload)
        message = b"synchronia/1/" + kind.encode() + b"\n" + wire.city + raw
        return [raw, (signer or self.device).sign(message).signature]

    def token(self, wire: Wire, **changes: Any) -> str:
        claims: dict[str, Any] = {
            "sub": did(bytes(self.device.verify_key)),
            "aud": [wire.hello[4], wire.city.hex()],
            "nonce": wire.session.hex(),
            "exp": now_ms() // 1000 + 300,
        }
        if self.citizen != bytes(16):
            claims["cit"] = self.citizen.hex()
        header = {"alg": "EdDSA", "typ": "JWT"} | changes.pop("header", {})
        claims = {k: v for k, v in (claims | changes).items() if v is not None}
        head = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return head + "." + base64url(self.device.sign(head.encode()).signature)

    def inception(self) -> list[Any]:
        next_hash = hashlib.sha256(bytes(self.next.verify_key)).digest()
        devices = [bytes(self.device.verify_key)]
        return ["inception/1", bytes(self.identity.verify_key), next_hash, devices, 1]

    def join(self, wire: Wire, sanctuary: bytes) -> list[Any]:
        device = bytes(self.device.verify_key)
        gateway = wire.hello[6]
        return ["join/1", sanctuary, wire.session, gateway, self.citizen, device, now_ms()]

    def follow(self, wire: Wire, sanctuary: bytes, number: int, followed: list[bytes]) -> list[Any]:
        """The whole list; a higher number replaces it."""
        return ["follow/1", *self.join(wire, sanctuary)[1:], number, followed]

    def consent(self, kind: str, *fields: object) -> list[Any]:
        """The next record of the chain; `advance` once it is taken."""
        return [kind, self.citizen, self.counter + 1, self.head, now_ms(), *fields]

    def advance(self, payload: bytes) -> None:
        self.counter += 1
        self.head = hashlib.sha256(payload).digest()

    async def welcome(self, url: str, **options: Any) -> Wire:
        """Connect, token, enrol if need be."""
        wire = await Wire.connect(url, **options)
        await wire.send(["token", self.token(wire)])
        await wire.wait_for("welcome")
        if self.citizen == bytes(16):
            record = self.sign(wire, "inception", self.inception(), self.identity)
            await wire.send(["enrol", 1, record])
            self.citizen = (await wire.wait_for("enrolled"))[2]
        return wire

    async def seat(self, wire: Wire, sanctuary: bytes) -> Place:
        """Join and wait for the challenge."""
        await wire.send(
            ["join", 2, sanctuary, self.sign(wire, "join", self.join(wire, sanctuary)), []]
        )
        joined = await wire.wait_for("joined", "refused")
        assert joined[0] == "joined", joined
        challenge = next((m for m in wire.passed if m[:2] == ["challenge", sanctuary]), None)
        if challenge is None:
            challenge = await wire.wait_for("challenge")
        return Place(sanctuary, joined[4], challenge[2])

    def opening(self, place: Place, **changes: Any) -> list[Any]:
        fields = {
            "sanctuary": place.sanctuary,
            "citizen": self.citizen,
            "policy_hash": place.policy_hash,
            "strand_key": bytes(self.strand_key.verify_key),
            "device": bytes(self.device.verify_key),
            "consent_epoch": self.counter,
            "challenge": place.challenge,
            "t_ms": now_ms(),
            "name": None,
        }
        return ["opening/1", *(fields | changes).values()]

    async def record(self, wire: Wire, payload: list[Any]) -> None:
        """A consent record by the identity key, waited for until it is recorded."""
        record = self.sign(wire, "consent", payload, self.identity)
        await wire.send(["record", 3, record])
        answer = await wire.wait_for("recorded", "refused")
        assert answer[0] == "recorded", answer
        self.advance(record[0])


class Place:
    """A seat: what an opening needs to know."""

    def __init__(self, sanctuary: bytes, policy_hash: bytes, challenge: bytes) -> None:
        self.sanctuary = sanctuary
        self.policy_hash = policy_hash
        self.challenge = challenge


class Speaking:
    """An open strand."""

    def __init__(
        self, person: Person, wire: Wire, place: Place, strand: bytes, opening_record: list[bytes]
    ) -> None:
        self.person, self.wire, self.place, self.strand = person, wire, place, strand
        self.opening_record = opening_record
        self.seq = 0
        self.window = 0
        self.sealed_seq = 0
        self.previous = bytes(32)
        self.bodies: list[bytes] = []

    @classmethod
    async def open(cls, person: Person, wire: Wire, place: Place, **changes: Any) -> Speaking:
        person.strand_key = nacl.signing.SigningKey.generate()
        record = person.sign(wire, "opening", person.opening(place, **changes))
        await wire.send(["open", 4, place.sanctuary, record])
        opened = await wire.wait_for("opened", "refused")
        assert opened[0] == "opened", opened
        return cls(person, wire, place, opened[2], record)

    def body(self, **changes: Any) -> bytes:
        """The next body; changed fields make a bad one."""
        fields: dict[str, Any] = {
            "seq": self.seq,
            "t_ms": now_ms(),
            "valence": 100,
            "arousal": -100,
            "dominance": None,
            "confidence": 1000,
            "provenance": 2,
            "labels": [],
            "note": None,
            "salt": hashlib.sha256(self.strand + bytes([self.seq & 255])).digest()[:8],
        }
        return pack(list((fields | changes).values()))

    async def say(self, *bodies: bytes) -> None:
        """Samples as given, which become the window's next numbers."""
        sent = list(bodies) or [self.body()]
        self.bodies += sent
        self.seq += len(sent)
        await self.wire.send(
            ["samples", self.place.sanctuary, self.strand, self.person.counter, sent]
        )

    def seal(self, **changes: Any) -> list[Any]:
        fields: dict[str, Any] = {
            "strand": self.strand,
            "window": self.window,
            "first_seq": self.sealed_seq,
            "t_end_ms": now_ms(),
            "flags": 0,
            "hashes": [hashlib.sha256(body).digest()[:16] for body in self.bodies],
            "previous": self.previous,
            "total": None,
        }
        return ["seal/1", *(fields | changes).values()]

    def sealed_message(self, payload: object, signer: Any = None) -> list[Any]:
        record = self.person.sign(self.wire, "seal", payload, signer or self.person.strand_key)
        return ["seal", self.place.sanctuary, self.strand, record]

    async def end(self) -> None:
        """Seal what is open, and the strand with it."""
        await self.close_window(flags=1, total=self.seq)

    async def close_window(self, *, is_awaited: bool = True, **changes: Any) -> None:
        """Seal what was said since the last one; changed fields make another seal of it."""
        payload = pack(self.seal(**changes))
        await self.wire.send(self.sealed_message(payload))
        if is_awaited:
            answer = await self.wire.wait_for("sealed", "refused")
            assert answer[0] == "sealed", answer
        self.previous = hashlib.sha256(payload).digest()
        self.sealed_seq, self.window, self.bodies = self.seq, self.window + 1, []

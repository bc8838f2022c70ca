"""A whole sealed window with its opening, ready to be posted: for who has no socket. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from shared.client.keyring import Keyring
from shared.client.strand import Mood, StrandWriter
from shared.codec import encode
from shared.contracts.records import JoinRequest, Opening, RecordKind
from shared.contracts.window import PostedWindow, ToSpeak
from shared.identifiers import CitizenId, MonotonicNs, WallMs
from shared.identity import Signer


class FactsUnreadable(ValueError):  # noqa: N818  (the sentence is for a person)
    """What was given is not what the city tells a device."""


_BYTES = ("session", "city", "sanctuary", "challenge", "policy", "policy_hash")


def facts_of(content: bytes) -> ToSpeak:
    """What `GET /v1/signatures/<sanctuary>` answered. Raises: FactsUnreadable."""
    try:
        told = msgspec.json.decode(content, type=dict[str, Any])
        fields = told | {name: _bytes_of(told[name]) for name in _BYTES}
        in_order = [fields[name] for name in ToSpeak.__struct_fields__]
        tag = str(ToSpeak.__struct_config__.tag)
        return msgspec.convert([tag, *in_order], ToSpeak)
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        raise FactsUnreadable(
            "that is not what GET /v1/signatures/<sanctuary> answers; curl -s shows what it is"
        ) from None


def _bytes_of(text: str | None) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def window_of(
    facts: ToSpeak,
    moods: Sequence[Mood],
    *,
    keyring: Keyring,
    citizen: CitizenId,
    policy_hash: bytes,
    name: str | None,
    now_ms: WallMs,
    random_bytes: Callable[[int], bytes],
) -> bytes:
    """A strand of its own: opened, sealed with its one window, closed.

    The consent epoch stays 0: below the one that is known, today's consent applies.
    """
    device, strand_key = keyring.device, Signer(random_bytes(32))
    join = JoinRequest(
        facts.sanctuary, facts.session, facts.gateway, citizen, device.public_key, now_ms
    )
    opening = Opening(
        sanctuary=facts.sanctuary,
        citizen=citizen,
        policy_hash=policy_hash,
        strand_key=strand_key.public_key,
        device=device.public_key,
        consent_epoch=0,
        challenge=facts.challenge,
        t_ms=now_ms,
        name=name,
    )
    signed = device.sign_record(RecordKind.OPENING, facts.city, encode(opening))
    writer = StrandWriter(opening, signed, strand_key, facts.city)
    bodies = tuple(writer.write(mood, now_ms, random_bytes(8), MonotonicNs(0)) for mood in moods)
    _, seal = writer.close(now_ms)
    return encode(
        PostedWindow(
            device.sign_record(RecordKind.JOIN, facts.city, encode(join)), 0, signed, bodies, seal
        )
    )

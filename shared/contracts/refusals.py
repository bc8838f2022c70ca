"""The catalogue of refusals and close codes: code, name, meaning, come back or not.

Refusals travel by name; the sentence beside each is for people. Nothing a client sent is echoed.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Refusal(StrEnum):
    """Why a message, a sample or a record was not taken. A client may act on the name."""

    MALFORMED = "malformed"
    NOT_CANONICAL = "not canonical"
    OUT_OF_RANGE = "out of range"
    OVERSIZE = "oversize"
    UNKNOWN_KIND = "unknown kind"
    TOO_FAST = "too fast"
    UNKNOWN_STRAND = "unknown strand"
    BAD_SEAL = "bad seal"
    REPEATED = "repeated"
    SKEW = "skew"
    NOT_A_MEMBER = "not a member"
    DERIVED_IN_WORK = "derived in a work setting"
    SUSPENDED = "suspended"
    UNKNOWN_EPOCH = "unknown epoch"
    BAD_SIGNATURE = "bad signature"
    WRONG_CHALLENGE = "wrong challenge"
    WRONG_POLICY = "wrong policy"
    WRONG_SESSION = "wrong session"
    UNKNOWN_CITIZEN = "unknown citizen"
    UNKNOWN_DEVICE = "unknown device"
    TOO_MANY_STRANDS = "too many strands"
    NO_SUCH_ROOM = "no such room"
    FULL = "full"
    NOT_INVITED = "not invited"
    BROKEN_CHAIN = "broken chain"
    STALE = "stale"
    NEEDS_IDENTITY_KEY = "needs the identity key"
    WRONG_SANCTUARY = "wrong sanctuary"
    BAD_TOKEN = "bad token"  # noqa: S105  (a refusal's name)
    NOT_READY = "not ready"
    TOO_MANY_ENROLMENTS = "too many enrolments"
    LOST = "lost"
    """Only in `skipped`: never arrived."""
    CONFLATED = "conflated"
    """Only in `skipped`: dropped for a viewer that cannot keep up."""


MEANING: dict[Refusal, str] = {
    Refusal.MALFORMED: "not MessagePack or JSON of the expected shape",
    Refusal.NOT_CANONICAL: "the bytes are not the one canonical form of their content",
    Refusal.OUT_OF_RANGE: "a value lies outside its documented bounds",
    Refusal.OVERSIZE: "longer than the limit stated in hello",
    Refusal.UNKNOWN_KIND: "no message of this name exists",
    Refusal.TOO_FAST: "above the rate stated in hello; slow down",
    Refusal.UNKNOWN_STRAND: "no such open strand of this session; open one",
    Refusal.BAD_SEAL: "the seal does not fit its strand, window or samples",
    Refusal.REPEATED: "this number was already taken",
    Refusal.SKEW: (
        "the stamp is further from the server's clock, which `now_ms` tells, than hello's limit; "
        "of joins, inceptions and consent records: than 5 min"
    ),
    Refusal.NOT_A_MEMBER: "join the sanctuary first",
    Refusal.DERIVED_IN_WORK: "derived signatures are not taken in work and education settings",
    Refusal.SUSPENDED: "suspended for at most 60 s; come back after that",
    Refusal.UNKNOWN_EPOCH: "the stated consent epoch is not recorded",
    Refusal.BAD_SIGNATURE: "the signature does not verify",
    Refusal.WRONG_CHALLENGE: "the challenge is not the current one; a new one was sent",
    Refusal.WRONG_POLICY: "the policy hash is not the sanctuary's current one",
    Refusal.WRONG_SESSION: "signed for another session, gateway or sanctuary",
    Refusal.UNKNOWN_CITIZEN: "no such citizen is enrolled",
    Refusal.UNKNOWN_DEVICE: "this device key is not one of the citizen's",
    Refusal.TOO_MANY_STRANDS: "too many open strands; close one",
    Refusal.NO_SUCH_ROOM: "no such sanctuary",
    Refusal.FULL: "the sanctuary's capacity is reached",
    Refusal.NOT_INVITED: "this sanctuary is by invitation",
    Refusal.BROKEN_CHAIN: "the record does not follow the chain's head; ask for the chain",
    Refusal.STALE: "the record's number is already taken by another record",
    Refusal.NEEDS_IDENTITY_KEY: "a widening must be signed by the identity key",
    Refusal.WRONG_SANCTUARY: "the record belongs to another sanctuary",
    Refusal.BAD_TOKEN: "the token does not verify, is expired or is for another nonce or origin",
    Refusal.NOT_READY: "the service is starting; try again",
    Refusal.TOO_MANY_ENROLMENTS: "too many new citizens from your address; come back in a minute",
    Refusal.LOST: "never arrived",
    Refusal.CONFLATED: "dropped for a viewer that could not keep up",
}


class CloseCode(IntEnum):
    """WebSocket close codes; 4000…4999 are ours (RFC 6455, section 7.4.2)."""

    GOING_AWAY = 1001
    MALFORMED = 4000
    HANDSHAKE_TIMEOUT = 4001
    BAD_TOKEN = 4002
    TOKEN_EXPIRED = 4003
    OVERSIZE = 4004
    TOO_FAST = 4005
    TOO_SLOW = 4006
    FENCED = 4007
    MOVE = 4008
    TOO_MANY_CONNECTIONS = 4009
    IDLE = 4010


class CloseMeaning(NamedTuple):
    meaning: str
    come_back: bool


CLOSES: dict[CloseCode, CloseMeaning] = {
    CloseCode.GOING_AWAY: CloseMeaning("the server is stopping", come_back=True),
    CloseCode.MALFORMED: CloseMeaning("a frame was not of this protocol", come_back=False),
    CloseCode.HANDSHAKE_TIMEOUT: CloseMeaning("no token within 5 s of hello", come_back=True),
    CloseCode.BAD_TOKEN: CloseMeaning("the token was refused", come_back=False),
    CloseCode.TOKEN_EXPIRED: CloseMeaning("the token was not renewed in time", come_back=True),
    CloseCode.OVERSIZE: CloseMeaning("a frame was longer than the limit in hello", come_back=False),
    CloseCode.TOO_FAST: CloseMeaning("far above the rate in hello; wait 5 s", come_back=True),
    CloseCode.TOO_SLOW: CloseMeaning("could not keep up with what it watches", come_back=True),
    CloseCode.FENCED: CloseMeaning("this gateway was cut off; reconnect", come_back=True),
    CloseCode.MOVE: CloseMeaning(
        "the gateway drains; come back within the stated time", come_back=True
    ),
    CloseCode.TOO_MANY_CONNECTIONS: CloseMeaning("too many connections from here", come_back=True),
    CloseCode.IDLE: CloseMeaning("no answer to pings", come_back=True),
}

"""Frames as a server writes them (RFC 6455, section 5.2): not masked, so the same for everybody. Pure."""

from __future__ import annotations

import struct

from shared.contracts.refusals import CloseCode

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def close_name(code: CloseCode) -> str:
    """What stands beside a close code: its name in the catalogue, in words."""
    return code.name.lower().replace("_", " ")


CLOSE_FRAMES = {
    code: frame(CLOSE, code.to_bytes(2, "big") + close_name(code).encode()) for code in CloseCode
}
PING_FRAME = frame(PING, b"")
PONG_FRAME = frame(PONG, b"")
"""Unasked: RFC 6455, section 5.5.3, allows it at any time, and nobody answers it."""

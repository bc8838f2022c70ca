"""Bad frames: what is sent on a session, and the exact answer it must get.

Rows are data for `test_bad_frames.py`, which sends each to a running city while a bystander listens.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.wire import Person, Wire, pack, sanctuary_id

Raw = bytes
HERE = sanctuary_id("emotive-commons")
STAGE = sanctuary_id("open-stage")
STRAND = bytes(32)
SIGNATURE = bytes(64)

# (name, bytes of the frame, refusal); on a session that has been welcomed, which stays
FRAMES: tuple[tuple[str, Raw, str], ...] = (
    # the frame
    ("no bytes", b"", "malformed"),
    ("not MessagePack", b"\xc1", "malformed"),
    ("a map", pack({"a": 1}), "malformed"),
    ("a number", pack(7), "malformed"),
    ("nil", pack(None), "malformed"),
    ("text", pack("token"), "malformed"),
    ("JSON on the binary subprotocol", b'[{"type": "time?", "client_ms": 1}]', "malformed"),
    ("an array cut short", b"\x92\x91\xa5time?", "malformed"),
    ("bytes behind the frame", pack([["time?", 1]]) + b"\x00", "malformed"),
    ("two frames in one", pack([["time?", 1]]) * 2, "malformed"),
    ("a length that lies", b"\xdd\xff\xff\xff\xff", "malformed"),
    ("a map whose length lies", b"\xdf\xff\xff\xff\xff", "malformed"),
    ("nested a thousand deep", b"\x91" * 1000 + b"\xc0", "malformed"),
    ("maps a thousand deep", b"\x91" + b"\x81\xa1a" * 1000 + b"\xc0", "malformed"),
    ("65 messages", pack([["time?", 1]] * 65), "oversize"),
    # a message
    ("a message that is no array", pack([5]), "malformed"),
    ("a message that is a map", pack([{"type": "time?", "client_ms": 1}]), "malformed"),
    ("a message without a name", pack([[]]), "malformed"),
    ("a message cut short", b"\x91\x93\xa5leave\x01", "malformed"),
    ("a byte that MessagePack never uses", b"\x91\x92\xa5time?\xc1", "malformed"),
    ("an array that says five and has two", b"\x91\xdc\x00\x05\xa5time?\x01", "malformed"),
    ("bytes whose length lies", b"\x91\x93\xa5leave\x01\xc6\xff\xff\xff\xff", "malformed"),
    ("the extension type", b"\x91\x92\xa5time?\xc7\x01\x05\x00", "malformed"),
    ("MessagePack's timestamp", b"\x91\x92\xa5time?\xd6\xff\x00\x00\x00\x01", "malformed"),
    # its name
    ("a name that is a number", pack([[1, 2]]), "malformed"),
    ("a name that is nil", pack([[None, 1]]), "malformed"),
    ("a name that is an array", pack([[["leave"], 1, HERE]]), "malformed"),
    ("a name in bytes", pack([[b"leave", 1, HERE]]), "malformed"),
    ("a name that is not UTF-8", b"\x91\x92\xa2\xff\xfe\x01", "malformed"),
    ("half of a surrogate pair", b"\x91\x92\xa3\xed\xa0\x80\x01", "malformed"),
    ("a name that nobody knows", pack([["dance", 1]]), "unknown kind"),
    ("a name of no signs", pack([["", 1]]), "unknown kind"),
    ("a name in capitals", pack([["LEAVE", 1, HERE]]), "unknown kind"),
    ("a name with a zero behind it", pack([["leave\0", 1, HERE]]), "unknown kind"),
    ("a name of 60 000 signs", pack([["x" * 60_000, 1]]), "unknown kind"),
    ("a server's message", pack([["hello", 1]]), "unknown kind"),
    ("what passes between services", pack([["Strike", 1]]), "unknown kind"),
    ("a field too few", pack([["leave", 1]]), "malformed"),
    # numbers
    ("a ref below zero", pack([["leave", -1, HERE]]), "out of range"),
    ("a ref above 32 bits", pack([["leave", 2**32, HERE]]), "out of range"),
    ("the greatest number there is", pack([["leave", 2**64 - 1, HERE]]), "out of range"),
    ("a ref that is text", pack([["leave", "1", HERE]]), "malformed"),
    ("a ref that is nil", pack([["leave", None, HERE]]), "malformed"),
    ("a ref that is true", pack([["leave", True, HERE]]), "malformed"),
    ("a time below zero", pack([["time?", -1]]), "out of range"),
    ("a time above 53 bits", pack([["time?", 2**53]]), "out of range"),
    ("a time that is a float", pack([["time?", 1.5]]), "malformed"),
    ("a time that is no number", b"\x91\x92\xa5time?\xca\x7f\xc0\x00\x00", "malformed"),
    ("a time that is nil", pack([["time?", None]]), "malformed"),
    # ids
    ("a sanctuary of 15 bytes", pack([["leave", 1, bytes(15)]]), "out of range"),
    ("a sanctuary that is text", pack([["leave", 1, "a" * 16]]), "malformed"),
    ("a sanctuary as an array of numbers", pack([["leave", 1, [0] * 16]]), "malformed"),
    ("a citizen that is nil", pack([["chain?", 1, None]]), "malformed"),
    ("a page before a number below zero", pack([["chain?", 1, HERE, -1]]), "out of range"),
    ("a page before text", pack([["chain?", 1, HERE, "end"]]), "malformed"),
    # samples
    ("samples without bodies", pack([["samples", HERE, STRAND, 0, []]]), "out of range"),
    ("33 bodies", pack([["samples", HERE, STRAND, 0, [b"\x90"] * 33]]), "out of range"),
    ("bodies that are nil", pack([["samples", HERE, STRAND, 0, None]]), "malformed"),
    ("bodies in a map", pack([["samples", HERE, STRAND, 0, {0: b"\x90"}]]), "malformed"),
    ("bodies in one string of bytes", pack([["samples", HERE, STRAND, 0, b"\x90"]]), "malformed"),
    ("a body that is text", pack([["samples", HERE, STRAND, 0, ["x"]]]), "malformed"),
    ("a body that is not in bytes", pack([["samples", HERE, STRAND, 0, [[0, 1]]]]), "malformed"),
    ("a body of no bytes", pack([["samples", HERE, STRAND, 0, [b""]]]), "out of range"),
    ("a body of 4097 bytes", pack([["samples", HERE, STRAND, 0, [bytes(4097)]]]), "out of range"),
    ("an epoch below zero", pack([["samples", HERE, STRAND, -1, [b"\x90"]]]), "out of range"),
    ("an epoch that is nil", pack([["samples", HERE, STRAND, None, [b"\x90"]]]), "malformed"),
    ("a strand of 31 bytes", pack([["samples", HERE, bytes(31), 0, [b"\x90"]]]), "out of range"),
    # records
    ("a record that is nil", pack([["record", 1, None]]), "malformed"),
    ("a record in one string of bytes", pack([["record", 1, b"x" * 80]]), "malformed"),
    ("a record in a map", pack([["record", 1, {"payload": b"x"}]]), "malformed"),
    ("a record without signature", pack([["record", 1, [b"x"]]]), "malformed"),
    ("a signature of 63 bytes", pack([["record", 1, [b"x", bytes(63)]]]), "out of range"),
    ("a signature in hex", pack([["record", 1, [b"x", "00" * 64]]]), "malformed"),
    ("a payload of 5000 bytes", pack([["record", 1, [bytes(5000), SIGNATURE]]]), "out of range"),
    ("an empty payload", pack([["record", 1, [b"", SIGNATURE]]]), "out of range"),
    ("a payload that is not in bytes", pack([["record", 1, [["a"], SIGNATURE]]]), "malformed"),
    # what a returning viewer holds
    (
        "257 strands held",
        pack([["join", 1, HERE, [b"x", SIGNATURE], [[STRAND, 1]] * 257]]),
        "out of range",
    ),
    (
        "a strand held without its number",
        pack([["join", 1, HERE, [b"x", SIGNATURE], [[STRAND]]]]),
        "malformed",
    ),
    (
        "a number held below zero",
        pack([["join", 1, HERE, [b"x", SIGNATURE], [[STRAND, -1]]]]),
        "out of range",
    ),
    (
        "what is held in a map",
        pack([["join", 1, HERE, [b"x", SIGNATURE], {STRAND: 1}]]),
        "malformed",
    ),
    # releases
    ("half a key released", pack([["release", HERE, STRAND, bytes(16)]]), "out of range"),
    (
        "a key released in words",
        pack([["release", HERE, STRAND, "abandon ability able"]]),
        "malformed",
    ),
    # from nowhere
    ("an opening without a seat", pack([["open", 1, HERE, [b"x", SIGNATURE]]]), "not a member"),
    ("a seal without a seat", pack([["seal", HERE, STRAND, [b"x", SIGNATURE]]]), "not a member"),
    ("samples without a seat", pack([["samples", HERE, STRAND, 0, [b"\x90"]]]), "not a member"),
    ("a key released of no strand", pack([["release", HERE, STRAND, STRAND]]), "unknown strand"),
)

# (name, the first frame instead of a token, the close); the socket is closed
FIRST_FRAMES: tuple[tuple[str, Callable[[Person, Wire], Raw], str], ...] = (
    ("not MessagePack", lambda p, w: b"\xc1", "MALFORMED"),
    ("a question before the token", lambda p, w: pack([["time?", 1]]), "BAD_TOKEN"),
    ("an empty batch, and then silence", lambda p, w: pack([]), "HANDSHAKE_TIMEOUT"),
    ("a token that is a number", lambda p, w: pack([["token", 5]]), "MALFORMED"),
    ("a token that is nil", lambda p, w: pack([["token", None]]), "MALFORMED"),
    ("a token in bytes", lambda p, w: pack([["token", p.token(w).encode()]]), "MALFORMED"),
    ("a token without a token", lambda p, w: pack([["token"]]), "MALFORMED"),
    ("a token of 3000 signs", lambda p, w: pack([["token", "a" * 3000]]), "MALFORMED"),
    ("a name that nobody knows", lambda p, w: pack([["hallo"]]), "MALFORMED"),
    (
        "the token behind something else",
        lambda p, w: pack([["leave", 1, HERE], ["token", p.token(w)]]),
        "BAD_TOKEN",
    ),
    ("a frame above the limit", lambda p, w: pack([["token", "a" * 66_000]]), "OVERSIZE"),
)

# (name, what an anonymous viewer of a stage sends, the refusal); its socket stays
WATCHING: tuple[tuple[str, list[object], str], ...] = (
    ("a join", ["join", 1, STAGE, [b"x", SIGNATURE], []], "bad token"),
    ("an opening", ["open", 1, STAGE, [b"x", SIGNATURE]], "bad token"),
    ("samples", ["samples", STAGE, STRAND, 0, [b"\x90"]], "bad token"),
    ("a consent record", ["record", 1, [b"x", SIGNATURE]], "bad token"),
    ("an enrolment", ["enrol", 1, [b"x", SIGNATURE]], "bad token"),
    ("a question for a chain", ["chain?", 1, bytes(16)], "bad token"),
    ("a leave", ["leave", 1, STAGE], "bad token"),
)

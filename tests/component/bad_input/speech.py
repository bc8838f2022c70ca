"""Bad sample bodies and bad seals, on a strand that is open and stays so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.wire import Speaking, now_ms, pack

HOUR_MS = 3_600_000


def _with_byte(at: int, byte: int) -> Callable[[Speaking], bytes]:
    """A good body with one byte put in front of the one at `at`: a longer form of what follows."""
    return lambda s: s.body()[:at] + bytes([byte]) + s.body()[at:]


# (name, the body, refusal); the number is the strand's next unless said
BODIES: tuple[tuple[str, Callable[[Speaking], bytes], str], ...] = (
    ("not MessagePack", lambda s: b"\xc1", "malformed"),
    ("a map", lambda s: pack({"seq": 0}), "malformed"),
    ("nil", lambda s: pack(None), "malformed"),
    ("JSON", lambda s: b'{"seq": 0, "valence": 0.1}', "malformed"),
    ("packed twice", lambda s: pack(s.body()), "malformed"),
    ("cut short", lambda s: s.body()[:-1], "malformed"),
    ("a byte behind it", lambda s: s.body() + b"\x00", "malformed"),
    ("a field too few", lambda s: pack([s.seq, now_ms(), 1, 1, None, 1, 2, [], None]), "malformed"),
    ("a field too many", lambda s: b"\x9b" + s.body()[1:] + b"\xc0", "malformed"),
    ("701 bytes", lambda s: pack([s.seq, *[bytes(690)] * 1, *[0] * 8]), "oversize"),
    ("a number below zero", lambda s: s.body(seq=-1), "out of range"),
    ("a number above 32 bits", lambda s: s.body(seq=2**32), "out of range"),
    ("a number in text", lambda s: s.body(seq="0"), "malformed"),
    ("the long form of the number", lambda s: b"\x9a\xcc" + s.body()[1:], "not canonical"),
    ("a longer header than need be", lambda s: b"\xdc\x00\x0a" + s.body()[1:], "not canonical"),
    ("a minute ago", lambda s: s.body(t_ms=now_ms() - 60_000), "skew"),
    ("a minute ahead", lambda s: s.body(t_ms=now_ms() + 60_000), "skew"),
    ("in seconds", lambda s: s.body(t_ms=now_ms() // 1000), "skew"),
    ("before 1970", lambda s: s.body(t_ms=-1), "out of range"),
    ("a stamp that is nil", lambda s: s.body(t_ms=None), "malformed"),
    ("a valence that is a float", lambda s: s.body(valence=0.5), "malformed"),
    ("a valence that is nil", lambda s: s.body(valence=None), "malformed"),
    ("a valence that is true", lambda s: s.body(valence=True), "malformed"),
    ("valence 1001", lambda s: s.body(valence=1001), "out of range"),
    ("arousal −1001", lambda s: s.body(arousal=-1001), "out of range"),
    ("an arousal in words", lambda s: s.body(arousal="high"), "malformed"),
    ("dominance 1001", lambda s: s.body(dominance=1001), "out of range"),
    ("a dominance that is a float", lambda s: s.body(dominance=0.0), "malformed"),
    ("confidence −1", lambda s: s.body(confidence=-1), "out of range"),
    ("confidence 1001", lambda s: s.body(confidence=1001), "out of range"),
    ("no confidence", lambda s: s.body(confidence=None), "malformed"),
    ("provenance 3", lambda s: s.body(provenance=3), "out of range"),
    ("provenance by its name", lambda s: s.body(provenance="scripted"), "malformed"),
    ("label 17", lambda s: s.body(labels=[17]), "out of range"),
    ("label −1", lambda s: s.body(labels=[-1]), "out of range"),
    ("a label by its name", lambda s: s.body(labels=["happy"]), "malformed"),
    ("a label without a list", lambda s: s.body(labels=9), "malformed"),
    ("labels that are nil", lambda s: s.body(labels=None), "malformed"),
    ("labels in a map", lambda s: s.body(labels={0: 9}), "malformed"),
    ("five labels", lambda s: s.body(labels=[1, 2, 3, 4, 5]), "out of range"),
    ("labels descending", lambda s: s.body(labels=[2, 1]), "not canonical"),
    ("a label twice", lambda s: s.body(labels=[1, 1]), "not canonical"),
    ("a note of 141 signs", lambda s: s.body(note="x" * 141), "out of range"),
    ("a note of 141 signs beyond the plane", lambda s: s.body(note="😀" * 141), "out of range"),
    ("a note not in NFC", lambda s: s.body(note="e\u0301"), "not canonical"),
    ("a note that is a number", lambda s: s.body(note=5), "malformed"),
    ("a note in bytes", lambda s: s.body(note=b"calm"), "malformed"),
    (
        "a note that is not UTF-8",
        lambda s: s.body(note="xx").replace(b"\xa2xx", b"\xa2\xc3\x28"),
        "malformed",
    ),
    (
        "a note with half a surrogate pair",
        lambda s: s.body(note="xxx").replace(b"\xa3xxx", b"\xa3\xed\xa0\x80"),
        "malformed",
    ),
    (
        "a longer note's header than need be",
        lambda s: s.body(note="xx").replace(b"\xa2xx", b"\xd9\x02xx"),
        "not canonical",
    ),
    ("a salt of 7 bytes", lambda s: s.body(salt=bytes(7)), "out of range"),
    ("a salt of 9 bytes", lambda s: s.body(salt=bytes(9)), "out of range"),
    ("no salt", lambda s: s.body(salt=None), "malformed"),
    ("a salt in text", lambda s: s.body(salt="saltsalt"), "malformed"),
    (
        "a longer salt's header than need be",
        lambda s: s.body().replace(b"\xc4\x08", b"\xc5\x00\x08"),
        "not canonical",
    ),
    (
        "the extension type for a salt",
        lambda s: s.body().replace(b"\xc4\x08", b"\xd7\x01"),
        "malformed",
    ),
)

UNNUMBERED = {
    "not MessagePack",
    "a map",
    "nil",
    "JSON",
    "packed twice",
    "a number below zero",
    "a number above 32 bits",
    "a number in text",
    "a longer header than need be",
}
"""Bodies whose number cannot be read. In a posted window they stand at no place of their seal."""

# (name, changes of the seal, refusal)
SEALS: tuple[tuple[str, Callable[[Speaking], dict[str, Any]], str], ...] = (
    ("another strand inside", lambda s: {"strand": bytes(32)}, "bad seal"),
    ("window 7", lambda s: {"window": 7}, "bad seal"),
    ("window −1", lambda s: {"window": -1}, "out of range"),
    ("first number 1", lambda s: {"first_seq": 1}, "bad seal"),
    ("a false hash", lambda s: {"hashes": [bytes(16)]}, "bad seal"),
    ("the whole of a hash", lambda s: {"hashes": [bytes(32)]}, "out of range"),
    ("half a hash", lambda s: {"hashes": [bytes(8)]}, "out of range"),
    ("a hash in hex", lambda s: {"hashes": ["00" * 16]}, "malformed"),
    ("no hashes", lambda s: {"hashes": []}, "bad seal"),
    ("hashes that are nil", lambda s: {"hashes": None}, "malformed"),
    ("its hashes in one", lambda s: {"hashes": b"".join(s.seal()[6])}, "malformed"),
    ("33 hashes", lambda s: {"hashes": [bytes(16)] * 33}, "out of range"),
    ("a false previous", lambda s: {"previous": bytes(range(32))}, "bad seal"),
    ("no previous", lambda s: {"previous": None}, "malformed"),
    ("a total in a window that goes on", lambda s: {"total": 1}, "bad seal"),
    ("closing without total", lambda s: {"flags": 1}, "bad seal"),
    ("closing with a false total", lambda s: {"flags": 1, "total": 9}, "bad seal"),
    ("closing with a total below zero", lambda s: {"flags": 1, "total": -1}, "out of range"),
    ("an hour ahead", lambda s: {"t_end_ms": now_ms() + HOUR_MS}, "bad seal"),
    ("an hour ago", lambda s: {"t_end_ms": now_ms() - HOUR_MS}, "bad seal"),
    ("an end in words", lambda s: {"t_end_ms": "now"}, "malformed"),
    ("flags 2", lambda s: {"flags": 2}, "out of range"),
    ("flags that are true", lambda s: {"flags": True}, "malformed"),
)

"""What a tap may show of a message: types, lengths of nothing, and a contract's name. Never a value."""

from __future__ import annotations

import msgpack
import pytest

from shared.cli.tap import KINDS_MAX, TAGS, Tally, family_of, shape_of, shown_subjects
from shared.codec import encode
from shared.contracts import RegistryBeat


def test_a_contract_is_shown_by_its_name_and_types() -> None:
    payload = encode(RegistryBeat(sender="registry-0", epoch=3, number=4))
    assert shape_of(payload) == "registry beat/1 [text, int, int]"


@pytest.mark.parametrize(
    "value",
    [
        ["I am sad", 1, 2],
        ["sad/1", 1],
        [1, ["deep secret", ["deeper secret"]]],
        {"secret": "secret"},
        "secret",
        [b"secret", "secret"],
    ],
)
def test_no_text_of_a_payload_is_ever_shown(value: object) -> None:
    shape = shape_of(msgpack.packb(value))
    assert not any(word in shape for word in ("sad", "secret"))


def test_every_shown_name_is_a_contracts_own() -> None:
    assert "sig/1" in TAGS
    assert None not in TAGS


def test_garbage_is_counted_and_not_shown() -> None:
    assert shape_of(b"\xc1garbage") == "not MessagePack, 8 bytes"
    assert shape_of(b"") == "not MessagePack, 0 bytes"


def test_the_uplink_and_inboxes_are_not_listened_to() -> None:
    shown = shown_subjects()
    assert "sig.*.*" in shown
    assert not [name for name in shown if name.startswith(("up.", "ask.", "_INBOX"))]


@pytest.mark.parametrize(
    ("subject", "family"),
    [
        ("sig.commons.12", "sig.commons.*"),
        ("member.3", "member.*"),
        ("edge.gateway-0", "edge.gateway-0"),
        ("_INBOX.fanout-0.abc", "_INBOX.>"),
    ],
)
def test_numbers_of_subjects_are_left_out(subject: str, family: str) -> None:
    assert family_of(subject) == family


def test_a_tally_is_bounded() -> None:
    tally = Tally()
    for number in range(2 * KINDS_MAX):
        tally.add(f"a{number}.1", b"\x01")
    rows = tally.take()
    assert len(rows) <= KINDS_MAX + 1
    assert sum(row.messages for row in rows.values()) == 2 * KINDS_MAX
    assert tally.take() == {}

"""The gateway's small parts: the wheel, addresses, the pace, the JSON twin, a request's head, frames."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import frames
from services.gateway.core import json_twin
from services.gateway.core.enrolments import ADDRESSES_MAX, Enrolments
from services.gateway.core.neighbourhood import neighbourhood
from services.gateway.core.pace import (
    CREDIT_NS_MAX,
    REST_NS_MAX,
    REST_NS_MIN,
    REST_PER_COST,
    Pace,
)
from services.gateway.core.wheel_timer import WheelTimer
from services.gateway.head import HeadRefused, read_head, read_upgrade
from services.gateway.settings import GatewaySettings
from shared.codec import Refused, encode
from shared.contracts import (
    CloseCode,
    Held,
    Join,
    Provenance,
    Sample,
    Samples,
    SampleShown,
    Signed,
    StrandShown,
)
from shared.identifiers import MonotonicNs

# ── the wheel ────────────────────────────────────────────────────────────────────────────────────

WIDTH_NS = 100


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("arm"), st.integers(0, 5), st.integers(0, 3000)),
            st.tuples(st.just("disarm"), st.integers(0, 5), st.just(0)),
            st.tuples(st.just("due"), st.just(0), st.integers(0, 500)),
        ),
        max_size=60,
    )
)
def test_a_deadline_is_never_early_and_at_most_one_width_late(
    script: list[tuple[str, int, int]],
) -> None:
    wheel: WheelTimer[int] = WheelTimer(WIDTH_NS)
    armed: dict[int, int] = {}
    now = 0
    for name, key, value in script:
        if name == "arm":
            wheel.arm(key, now + value)
            armed[key] = now + value
        elif name == "disarm":
            wheel.disarm(key)
            armed.pop(key, None)
        else:
            now += value
            for due in wheel.due(now):
                assert armed.pop(due) <= now
            assert all(at > now - WIDTH_NS for at in armed.values())
        assert len(wheel) == len(armed)
        deadline = wheel.next_deadline()
        assert (deadline is None) == (not armed)
        if deadline is not None:
            assert min(armed.values()) <= deadline < min(armed.values()) + WIDTH_NS


# ── the pace ─────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 10**9))
def test_the_rest_is_part_of_the_cost_at_most_twenty_ms_and_less_behind_idleness(
    cost_ns: int,
) -> None:
    pace = Pace()
    began = MonotonicNs(10**9)
    ended = MonotonicNs(began + cost_ns)
    pace.worked(began, ended)
    rest = pace.rest_ns(ended)
    owed = int(cost_ns * REST_PER_COST) - CREDIT_NS_MAX
    assert rest == (0 if owed < REST_NS_MIN else min(owed, REST_NS_MAX))
    if owed <= REST_NS_MAX:
        assert pace.rest_ns(MonotonicNs(ended + rest)) == 0


@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 3_000_000)), max_size=50))
def test_however_short_the_slices_their_rest_comes_to_its_part(
    slices: list[tuple[int, int]],
) -> None:
    """(what a slice costs, how long the process is idle behind its rest)"""
    pace = Pace()
    now = MonotonicNs(10**9)
    began, busy = now, 0
    for cost_ns, idle_ns in slices:
        ended = MonotonicNs(now + cost_ns)
        pace.worked(now, ended)
        busy += cost_ns
        now = MonotonicNs(ended + pace.rest_ns(ended))
        rested = now - began - busy
        assert rested >= busy * REST_PER_COST - CREDIT_NS_MAX - REST_NS_MIN - len(slices)
        now = MonotonicNs(now + idle_ns)


@given(st.lists(st.integers(100_000, 3_000_000), min_size=200, max_size=200))
def test_rests_that_take_too_long_do_not_add_up(overshoots_ns: list[int]) -> None:
    """Under a load that never ends: its part of the time, or what one rest has overshot more."""
    pace = Pace()
    now = MonotonicNs(10**9)
    began, busy, most = now, 0, max(overshoots_ns)
    for overshoot_ns in overshoots_ns:
        ended = MonotonicNs(now + 700_000)
        pace.worked(now, ended)
        busy += 700_000
        rest_ns = pace.rest_ns(ended)
        now = MonotonicNs(ended + rest_ns + (overshoot_ns if rest_ns else 0))
        assert now - began - busy <= busy * REST_PER_COST + most + REST_NS_MIN


# ── the JSON twin ────────────────────────────────────────────────────────────────────────────────

SAMPLE = Sample(7, 2**40, -1000, 1000, None, 500, Provenance.DECLARED, (1, 2), "ü", b"saltsalt")


def test_a_sample_shows_its_fields_beside_its_bytes() -> None:
    shown = json_twin.object_of(encode(SampleShown(b"s" * 32, encode(SAMPLE))))
    assert shown["type"] == "sample"
    assert json_twin.bytes_of(shown["body"]) == encode(SAMPLE)
    assert shown["sample"]["note"] == "ü"
    assert shown["sample"]["labels"] == [1, 2]


def test_a_strand_without_a_body_has_no_sample() -> None:
    record = Signed(b"p", bytes(64))
    strand = StrandShown(b"r" * 16, b"s" * 32, b"c" * 16, record, 0, None, None)
    shown = json_twin.object_of(encode(strand))
    assert "sample" not in shown
    assert shown["opening"] == {"payload": "cA", "signature": "A" * 86}


def test_what_is_no_message_of_ours_is_left_out_of_the_twin() -> None:
    assert json_twin.twin_of([b"\xc1", encode(["newer"]), encode(["move", 3])]) == (
        b'[{"type":"move","within_s":3}]'
    )


@given(st.binary(max_size=40))
def test_base64url_goes_round(value: bytes) -> None:
    assert json_twin.bytes_of(json_twin.text_of(value)) == value


@pytest.mark.parametrize("text", ["=", "A", "AA==", "AB", "+/", "A A", "ä", "A\n"])
def test_base64_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        json_twin.bytes_of(text)


def test_a_client_message_goes_round() -> None:
    join = Join(1, b"r" * 16, Signed(b"p", bytes(64)), (Held(b"s" * 32, 4),))
    fields = json_twin._struct_out(join)
    assert json_twin.message_of({"type": "join", **fields}) == encode(join)
    del fields["held"]
    assert json_twin.message_of({"type": "join", **fields}) == encode(
        msgspec.structs.replace(join, held=())
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (None, "malformed"),
        ([], "malformed"),
        ({}, "malformed"),
        ({"type": 3}, "malformed"),
        ({"type": "hello"}, "unknown kind"),
        ({"type": "leave", "ref": 1}, "malformed"),
        ({"type": "leave", "ref": 1, "sanctuary": 5}, "malformed"),
        ({"type": "leave", "ref": 1, "sanctuary": "cnI"}, "out of range"),
        ({"type": "leave", "ref": -1, "sanctuary": "cnJycnJycnJycnJycnJycg"}, "out of range"),
        ({"type": "leave", "ref": "1", "sanctuary": "cnJycnJycnJycnJycnJycg"}, "malformed"),
        (
            {"type": "open", "ref": 1, "sanctuary": "cnJycnJycnJycnJycnJycg", "record": []},
            "malformed",
        ),
        ({"type": "join", "ref": 1, "sanctuary": "", "record": {"payload": 1}}, "malformed"),
        (
            {"type": "samples", "sanctuary": "", "strand": "", "epoch": 0, "bodies": "x"},
            "malformed",
        ),
        ({"type": "time?", "client_ms": 1e300}, "malformed"),
        ({"type": "time?", "client_ms": 2**60}, "out of range"),
    ],
)
def test_an_object_that_is_no_message_is_refused_by_name(fields: Any, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        json_twin.message_of(fields)
    assert refused.value.reason.value == reason


def test_unknown_fields_of_a_newer_client_are_passed_over() -> None:
    message = json_twin.message_of({"type": "time?", "client_ms": 5, "mood": "curious"})
    assert message == encode(["time?", 5])


def test_samples_in_json_become_the_same_bytes() -> None:
    samples = Samples(b"r" * 16, b"s" * 32, 4, (encode(SAMPLE),))
    fields = json_twin._struct_out(samples)
    assert json_twin.message_of({"type": "samples", **fields}) == encode(samples)


# ── a request's head ─────────────────────────────────────────────────────────────────────────────

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "Host": "127.0.0.1:8080",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def head_of(
    changes: Mapping[str, str | None], target: str = "/v1/live", method: str = "GET"
) -> bytes:
    headers = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1")


def upgrade(raw: bytes, *, origins: frozenset[str] = frozenset(), public: str = "") -> Any:
    return read_upgrade(read_head(raw), origins=origins, public_origin=public)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket"},
        {"Connection": "keep-alive,UPGRADE", "Upgrade": "WebSocket"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Content-Length": "0"},
    ],
)
def test_a_good_handshake_is_taken(changes: dict[str, str | None]) -> None:
    taken = upgrade(head_of(changes))
    assert (taken.key, taken.protocol, taken.watch) == (KEY, None, None)
    assert taken.origin == "http://127.0.0.1:8080"


def test_the_first_subprotocol_that_is_ours_is_taken() -> None:
    offered = {"Sec-WebSocket-Protocol": "chat, synchronia.v1.json, synchronia.v1"}
    assert upgrade(head_of(offered)).is_json
    assert not upgrade(head_of({"Sec-WebSocket-Protocol": "synchronia.v1"})).is_json


def test_what_is_watched_stands_in_the_query() -> None:
    assert upgrade(head_of({}, "/v1/live?watch=" + "ab" * 16)).watch == b"\xab" * 16


def test_origins_are_the_own_host_and_those_allowed() -> None:
    elsewhere = {"Origin": "https://Example.org"}
    with pytest.raises(HeadRefused, match="origin"):
        upgrade(head_of(elsewhere))
    allowed = frozenset({"https://example.org"})
    assert upgrade(head_of(elsewhere), origins=allowed).origin == "https://Example.org"
    assert upgrade(head_of({}), public="https://city.example").origin == "https://city.example"


@pytest.mark.parametrize(
    ("raw", "status", "name"),
    [
        (b"", 400, "malformed"),
        (b"GET", 400, "malformed"),
        (b"GET  /v1/live HTTP/1.1", 400, "malformed"),
        (b"G\x00T /v1/live HTTP/1.1", 400, "malformed"),
        (b"GET /v1/\xff HTTP/1.1", 400, "malformed"),
        (b"GET /v1/live HTTP/2.0", 505, "http version"),
        (b"GET /v1/live HTTP/1.1\r\nno colon", 400, "malformed"),
        (b"GET /v1/live HTTP/1.1\r\n folded: x", 400, "malformed"),
        (b"GET /v1/live HTTP/1.1\r\nA: \x01", 400, "malformed"),
        (b"GET /v1/live HTTP/1.1\r\nA: b\nC: d", 400, "malformed"),
        (b"GET /v1/live HTTP/1.1" + b"\r\na: b" * 101, 431, "too many headers"),
        (head_of({}) + b"\r\nHost: other", 400, "repeated header"),
        (head_of({}, method="POST"), 405, "method not allowed"),
        (b"DANCE / HTTP/1.1\r\nHost: here", 405, "method not allowed"),
        (head_of({"Connection": "keep-alive"}), 400, "connection without upgrade"),
        (head_of({"Connection": None}), 400, "connection without upgrade"),
        (head_of({"Sec-WebSocket-Version": "8"}), 426, "websocket version"),
        (head_of({"Sec-WebSocket-Version": None}), 426, "websocket version"),
        (head_of({"Sec-WebSocket-Key": None}), 400, "websocket key"),
        (head_of({"Sec-WebSocket-Key": "short"}), 400, "websocket key"),
        (head_of({"Sec-WebSocket-Key": "AAAA"}), 400, "websocket key"),
        (head_of({"Content-Length": "5"}), 400, "body"),
        (head_of({"Transfer-Encoding": "chunked"}), 400, "body"),
        (head_of({"Host": None}), 400, "host"),
        (head_of({"Host": "a/b"}), 400, "host"),
        (head_of({"Origin": "null"}), 403, "origin"),
        (head_of({"Origin": "http://127.0.0.1:8081"}), 403, "origin"),
        (head_of({"Origin": "http://127.0.0.1:8080.evil.example"}), 403, "origin"),
        (head_of({"Sec-WebSocket-Protocol": "chat"}), 400, "subprotocol"),
        (head_of({}, "/v1/live?watch=abc"), 400, "query"),
        (head_of({}, "/v1/live?x=1"), 400, "query"),
        (head_of({}, "/v1/live?watch=" + "ab" * 16 + "&x=1"), 400, "query"),
    ],
)
def test_a_bad_handshake_is_refused_by_name(raw: bytes, status: int, name: str) -> None:
    with pytest.raises(HeadRefused) as refused:
        upgrade(raw)
    assert (refused.value.status, refused.value.name) == (status, name)


@given(st.binary(max_size=300))
def test_a_head_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(HeadRefused):
        read_head(raw)


# ── frames, settings ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_has_the_shortest_head(size: int, head: bytes) -> None:
    framed = frames.frame(frames.BINARY, bytes(size))
    assert framed == head + bytes(size)


def test_every_close_code_has_its_name_as_reason() -> None:
    assert frames.CLOSE_FRAMES[CloseCode.TOO_SLOW] == b"\x88\x0a\x0f\xa6too slow"
    assert all(len(frame) <= 127 for frame in frames.CLOSE_FRAMES.values())


def test_settings_out_of_their_bounds_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="ping_after_s must be 1…3600, not 0"):
        GatewaySettings(ping_after_s=0)


# ── addresses ────────────────────────────────────────────────────────────────────────────────────

NOW = MonotonicNs(10**9)


def test_a_household_of_ipv6_is_one_address_and_a_mapped_one_is_itself() -> None:
    assert neighbourhood("2001:db8:1:2::1") == neighbourhood("2001:db8:1:2:ffff::9")
    assert neighbourhood("2001:db8:1:2::1") != neighbourhood("2001:db8:1:3::1")
    assert neighbourhood("::ffff:10.0.0.1") == neighbourhood("10.0.0.1")
    assert neighbourhood("10.0.0.1") != neighbourhood("10.0.0.2")
    assert neighbourhood("fe80::1%eth0") == neighbourhood("fe80::2%eth0")
    assert neighbourhood("") == ""


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    enrolments = Enrolments(per_min=1, burst=1)
    for number in range(ADDRESSES_MAX + 100):
        assert enrolments.spend(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", NOW)
        assert not enrolments.spend("192.0.2.1", NOW) or number == 0
    assert enrolments.addresses == ADDRESSES_MAX


def test_an_allowance_comes_back_with_time_up_to_its_burst() -> None:
    enrolments = Enrolments(per_min=60, burst=3)
    spent = [enrolments.spend("10.0.0.1", NOW) for _ in range(4)]
    assert spent == [True, True, True, False]
    later = MonotonicNs(NOW + 2 * 10**9)
    assert [enrolments.spend("10.0.0.1", later) for _ in range(3)] == [True, True, False]
    much_later = MonotonicNs(NOW + 10**15)
    assert [enrolments.spend("10.0.0.1", much_later) for _ in range(4)] == spent

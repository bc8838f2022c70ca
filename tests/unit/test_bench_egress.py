"""The egress bench's own arithmetic: a sample's length and mark, frames, quantiles, the schedule."""

from __future__ import annotations

import pytest

from load.bench.egress.citizens import client_frame, server_frame
from load.bench.egress.ingest import sample_body
from load.bench.egress.measure import Case, quantile
from load.bench.egress.schedule import MESSAGE_BYTES, Schedule, mark, payload
from shared.codec import decode_sample, encode
from shared.contracts.client import SampleShown

DUE_NS = 0x0123_4567_89AB


@pytest.mark.parametrize("seq", [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1])
def test_a_sample_is_canonical_has_its_length_and_its_mark(seq: int) -> None:
    body = sample_body(seq, DUE_NS)
    assert decode_sample(body).seq == seq
    assert len(encode(SampleShown(bytes(32), body))) == MESSAGE_BYTES
    assert body.count(b"~") == 1
    assert mark(DUE_NS) in body
    assert len(payload(DUE_NS)) == MESSAGE_BYTES


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535])
def test_a_frame_is_read_only_when_it_is_whole(length: int) -> None:
    content = b"x" * length
    ours = client_frame(content)
    head = {True: 2, False: 4}[length < 126]
    theirs = bytes((ours[0], ours[1] & 0x7F)) + ours[2:head] + content
    assert ours[head : head + 4] == bytes(4)
    assert server_frame(theirs + b"more") == (0x2, content, len(theirs))
    assert server_frame(theirs[:-1]) is None


def test_quantiles_of_a_histogram() -> None:
    rows = [[1000, 50], [2000, 49], [9000, 1]]
    assert quantile(rows, 0.49) == 1.0
    assert quantile(rows, 0.50) == 2.0
    assert quantile(rows, 0.98) == 2.0
    assert quantile(rows, 0.999) == 9.0
    assert quantile([], 0.5) != quantile([], 0.5), "nothing came"


def test_the_schedule_is_the_clock_s_and_does_not_drift() -> None:
    schedule = Schedule(3000, 10, 10 + 7_000_000_000)
    assert schedule.count == 21_000
    assert schedule.due_ns(0) == 10
    assert schedule.due_ns(20_999) == 10 + 20_999 * 1_000_000_000 // 3000
    assert Case.parse("1000x500") == Case(viewers=1000, rate=500)

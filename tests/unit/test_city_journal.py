"""What a child says is kept in bounded files of JSON lines; only warnings reach the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.city import journal
from services.city.journal import LINE_BYTES_MAX, SHORT_CHARACTERS_MAX, Journal


def test_every_kept_line_is_json_whatever_the_child_said(tmp_path: Path) -> None:
    shown: list[str] = []
    kept = Journal(tmp_path / "fanout-0.log", "fanout-0", show=shown.append)
    kept.feed(b'{"event": "one", "level": "info"}\nTraceback (most recent')
    kept.feed(b' call last):\n\n\xff\xfe\n[1, 2]\n{"event": "two", "level": "warning", "a": 1}\n')
    kept.close()
    lines = [json.loads(line) for line in kept.path.read_text().splitlines()]
    assert [sorted(line) for line in lines] == [
        ["event", "level"],
        ["plain"],
        ["plain"],
        ["plain"],
        ["a", "event", "level"],
    ]
    assert shown == ["fanout-0: warning: two a=1"]
    assert kept.last_words == "two a=1"
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_a_long_warning_is_shortened_to_one_line(tmp_path: Path) -> None:
    shown: list[str] = []
    kept = Journal(tmp_path / "x.log", "x", show=shown.append)
    kept.feed(json.dumps({"event": "a\n" * 500, "level": "error"}).encode() + b"\n")
    kept.close()
    assert len(shown[0]) == SHORT_CHARACTERS_MAX
    assert "\n" not in shown[0]


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    kept = Journal(tmp_path / "x.log", "x", show=lambda _: None)
    for _ in range(64):
        kept.feed(b"x" * 4096)
    kept.feed(b"\n")
    kept.close()
    assert max(len(line) for line in kept.path.read_bytes().splitlines()) < LINE_BYTES_MAX + 100


def test_a_journal_is_at_most_two_files_of_their_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", 1000)
    kept = Journal(tmp_path / "x.log", "x", show=lambda _: None)
    for number in range(200):
        kept.feed(json.dumps({"event": number}).encode() + b"\n")
    kept.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sorted(sizes) == ["x.log", "x.log.1"]
    assert all(size <= 1000 for size in sizes.values())
    assert json.loads((tmp_path / "x.log").read_text().splitlines()[-1]) == {"event": 199}

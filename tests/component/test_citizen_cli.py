"""A person's commands against a whole city."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.client.errand import Errand
from shared.client.keystore import DEFAULT_NAME, Keystore
from shared.contracts.records import Tier
from shared.runtime.clock import monotonic_ns, wall_ms
from tests.support.city import RunningCity, wait_until

ROOT = Path(__file__).resolve().parents[2]


class Person:
    """Keys of its own, and the command line."""

    def __init__(self, city: RunningCity, keys: Path) -> None:
        self.url = city.url
        self.keys = keys

    def command(self, *words: str) -> list[str]:
        where = ["--url", self.url, "--keys", str(self.keys)]
        return [sys.executable, "-m", "shared.cli", *words, *where]

    def run(self, *words: str, says: str | None = None, status: int = 0) -> str:
        done = subprocess.run(
            self.command(*words),
            input=says,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


class Listener:
    """`citizen --watch --json`, line by line."""

    def __init__(self, person: Person, *options: str) -> None:
        self.seen: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            person.command("citizen", "--watch", "--json", *options),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(json.loads(line))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in list(self.seen) if each["type"] == kind]

    def notes(self) -> list[str | None]:
        return [each["sample"]["note"] for each in self.of("sample")]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._reader.join(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def ada(shared_city: RunningCity, tmp_path: Path) -> Person:
    return Person(shared_city, tmp_path / "ada")


@pytest.fixture
def bo(shared_city: RunningCity, tmp_path: Path) -> Person:
    return Person(shared_city, tmp_path / "bo")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wire", ["msgpack", "json"])
def test_one_speaks_and_another_listens(ada: Person, bo: Person, wire: str) -> None:
    listener = Listener(bo, "--subprotocol", wire)
    try:
        wait_until("a seat", lambda: bool(listener.of("Seated")), within_s=30)
        said = ada.run(
            "citizen",
            *("--grant", "full", "--say", f"0.4 -0.2 calm over {wire}", "--subprotocol", wire),
        )
        assert "said, and sealed" in said
        wait_until(
            "the sample is seen", lambda: f"calm over {wire}" in listener.notes(), within_s=30
        )
        strand = next(
            each["strand"]
            for each in listener.of("sample")
            if each["sample"]["note"] == f"calm over {wire}"
        )
        wait_until(
            "its window is verified",
            lambda: any(each["strand"] == strand for each in listener.of("sealed window")),
            within_s=30,
        )
        states = {each["state"] for each in listener.of("WindowJudged")}
        assert "false" not in states
    finally:
        listener.end()


@pytest.mark.timeout(120)
def test_without_a_grant_nobody_sees_and_one_is_told_so(ada: Person, bo: Person) -> None:
    listener = Listener(bo)
    try:
        wait_until("a seat", lambda: bool(listener.of("Seated")), within_s=30)
        assert "nobody sees you here" in ada.run("citizen", "--say", "0.1 0.1 a secret")
        ada.run("citizen", "--grant", "full", "--say", "0.1 0.1 in public")
        wait_until("the later one is seen", lambda: "in public" in listener.notes(), within_s=30)
        assert "a secret" not in listener.notes()
    finally:
        listener.end()


@pytest.mark.timeout(120)
def test_consent_is_granted_excepted_listed_and_withdrawn(ada: Person) -> None:
    # a mistyped name is not a new person, of whom it would be true that nobody sees them
    assert "synchronia keys new" in ada.run("consent", "list", status=1)
    subprocess.run(
        [sys.executable, "-m", "shared.cli", "keys", "new", "--keys", str(ada.keys)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert "nothing is granted" in ada.run("consent", "list")
    ada.run("consent", "grant", "full", "--sanctuary", "Emotive Commons", "--until", "2h")
    ada.run("consent", "grant", "aggregate")
    ada.run("consent", "except", "00" * 16, "withheld")
    stands = json.loads(ada.run("consent", "list", "--json"))
    assert stands["counter"] == 3
    tiers = {row["sanctuary"]: row["tier"] for row in stands["grants"]}
    assert tiers == {None: "aggregate", "emotive-commons": "full"}
    assert [row["tier"] for row in stands["exceptions"]] == ["withheld"]
    said = ada.run("consent", "withdraw", "--sanctuary", "emotive-comons", status=1)
    assert "on record, but there is no sanctuary 'emotive-comons'" in said
    assert "withdrawn" not in said
    said = ada.run("consent", "withdraw", "--sanctuary", "open-stage")
    assert "no byte" not in said, "it only ended what was granted there"
    assert "has ended" in said
    assert "no sanctuary" in ada.run("consent", "grant", "full", "--sanctuary", "no", status=1)
    assert "over already" in ada.run("consent", "grant", "full", "--until", "2020-01-01", status=2)
    assert "no byte of you" in ada.run("consent", "withdraw")
    stands = json.loads(ada.run("consent", "list", "--json"))
    assert [row for row in stands["grants"] if row["tier"] != "withheld"] == []
    assert stands["counter"] == 6
    assert stands["complete"] is True


@pytest.mark.timeout(120)
def test_a_chain_of_more_than_one_answer_is_listed_from_its_first_record_on(ada: Person) -> None:
    count = 300  # of some 190 bytes each; an answer has 48 kB

    async def sign_many() -> None:
        async with Errand(Keystore(ada.keys), DEFAULT_NAME, ada.url) as visit:
            await visit.grant(None, Tier.AGGREGATE)
            for start in range(0, count, 8):  # the registry takes up to 16 at once
                refs = [
                    visit.session.except_person(
                        None, number.to_bytes(16), Tier.WITHHELD, monotonic_ns(), wall_ms()
                    )
                    for number in range(start, min(start + 8, count))
                ]
                for ref in refs:
                    await visit.settle(ref)

    asyncio.run(sign_many())
    stands = json.loads(ada.run("consent", "list", "--json"))
    assert (stands["counter"], stands["complete"]) == (count + 1, True)
    assert [row["tier"] for row in stands["grants"]] == ["aggregate"]
    assert len(stands["exceptions"]) == count


@pytest.mark.timeout(120)
def test_a_conversation_reads_lines_and_says_goodbye(ada: Person) -> None:
    lines = "happy\n/what\nnonsense\n0.2 0.3 hello\n/quit\n"
    said = ada.run("citizen", "--grant", "full", "--call", "Ada L.", says=lines)
    assert "/withdraw ends every grant" in said
    assert "say two numbers" in said
    assert "Emotive Commons" in said


@pytest.mark.timeout(120)
def test_mistakes_are_one_line_and_a_status(ada: Person) -> None:
    assert "not delivered to yet" in ada.run(
        "consent", "grant", "full", "--audience", "press", status=2
    )
    said = ada.run("citizen", "--sanctuary", "nowhere", "--say", "0 0", status=1)
    assert "no such room" in said
    assert "Traceback" not in said
    assert "two numbers" in ada.run("citizen", "--say", "hmm", status=1)
    ada.url = "http://127.0.0.1:9"
    said = ada.run("citizen", "--say", "0 0", status=1)
    assert "is the city up?" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.timeout(60)
def test_scripted_citizens_wait_for_a_city_and_end_when_asked(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "load.scripted", "--url", "http://127.0.0.1:9"),
            *("--keys", str(tmp_path / "keys"), "--file", str(ROOT / "seeds" / "citizens.toml")),
        ],
        cwd=ROOT,
    )
    try:
        made = tmp_path / "keys" / "voice.json"
        wait_until("the keys are made", made.exists, within_s=30)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)  # nobody is there, and it does not give up
        process.terminate()
        assert process.wait(15.0) == 0
    finally:
        process.kill()
        process.wait()

"""Key files: closed to others, whole or not there, and nobody else's are overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared.client.commands import keys_app
from shared.client.keyring import Keyring
from shared.client.keystore import Keystore, KeysUnusable
from shared.client.session import PendingRelease
from shared.codec import Refused
from shared.identifiers import CitizenId, WallMs


@pytest.fixture
def store(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "keys")


def test_keys_come_back_as_they_were(store: Keystore) -> None:
    keyring, is_new = store.load_or_new("ada")
    assert is_new
    keyring.citizens[b"c" * 32] = CitizenId(b"i" * 16)
    store.save(keyring, "ada")
    again, is_new = store.load_or_new("ada")
    assert not is_new
    assert again.dump() == keyring.dump()
    assert again.did == keyring.did
    assert again.inception(b"c" * 32) == keyring.inception(b"c" * 32)
    assert store.names() == ["ada"]


def test_files_and_directory_are_closed_to_others(store: Keystore) -> None:
    store.load_or_new()
    store.save_releases([PendingRelease(b"p" * 16, b"s" * 32, b"k" * 32, WallMs(5))])
    assert store.directory.stat().st_mode & 0o777 == 0o700
    files = list(store.directory.iterdir())
    assert len(files) == 2
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600


def test_keys_that_others_can_read_are_not_used(store: Keystore) -> None:
    store.load_or_new()
    store.path("citizen").chmod(0o644)
    with pytest.raises(KeysUnusable, match="chmod 600"):
        store.load()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65])
def test_a_name_is_a_plain_file_name(store: Keystore, name: str) -> None:
    with pytest.raises(KeysUnusable):
        store.path(name)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"version": 1}', Keyring.new(bytes, WallMs(1)).dump()[:-20]]
)
def test_a_file_that_is_not_ours_is_refused(store: Keystore, content: bytes) -> None:
    with pytest.raises(Refused):
        Keyring.load(content)


def test_releases_wait_for_the_next_connection(store: Keystore) -> None:
    releases = [PendingRelease(b"p" * 16, b"s" * 32, b"k" * 32, WallMs(5))]
    store.save_releases(releases)
    assert store.load_releases() == releases
    store.save_releases([])
    assert store.load_releases() == []
    assert list(store.directory.iterdir()) == []


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(keys_app, list(arguments))
    assert result.exit_code == status, result.output
    return result.output


def test_keys_are_made_shown_and_carried_over_and_never_overwritten(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    made = run("new", "--keys", here, "--name", "ada")
    did = made.splitlines()[0]
    assert did.startswith("did:key:z6Mk")
    assert "exists" in run("new", "--keys", here, "--name", "ada", status=1)
    assert did in run("show", "--keys", here, "--name", "ada")
    copy = str(tmp_path / "copy.json")
    run("export", copy, "--keys", here, "--name", "ada")
    assert Path(copy).stat().st_mode & 0o777 == 0o600
    run("export", copy, "--keys", here, "--name", "ada", status=1)
    assert did in run("import", copy, "--keys", there, "--name", "bo")
    assert run("list", "--keys", there).split() == ["bo"]
    run("import", copy, "--keys", there, "--name", "bo", status=1)
    seed = Keystore(Path(there)).load("bo").identity.seed.hex()
    assert seed not in run("show", "--keys", there, "--name", "bo", "--json")


def test_missing_keys_are_told_with_what_to_do(tmp_path: Path) -> None:
    assert "synchronia keys new" in run("show", "--keys", str(tmp_path), status=1)


def test_whom_one_follows_is_kept_by_city_and_never_lost_by_a_broken_file(tmp_path: Path) -> None:
    store = Keystore(tmp_path)
    assert store.load_followed() == {}
    store.save_followed({b"c" * 32: (b"a" * 16, b"b" * 16), b"d" * 32: ()})
    assert store.load_followed() == {b"c" * 32: (b"a" * 16, b"b" * 16)}
    file = tmp_path / "citizen.following"
    assert file.stat().st_mode & 0o777 == 0o600
    assert store.names() == []
    file.write_text("{")
    with pytest.raises(KeysUnusable, match="move it away"):
        store.load_followed()

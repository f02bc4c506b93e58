"""The file of API keys: whole at every moment, and seen by whoever looks."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nextbest.adapters import key_file
from nextbest.adapters.key_file import KeyFile, KeyFileError, KeyRing
from nextbest.keys import found

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys.json"


def test_a_key_is_shown_once_and_kept_as_a_hash(path: Path) -> None:
    """Nobody but the owner of the file reads it, and nobody who does can use what is there."""
    key, text = KeyFile(path).create("shop", ("decide", "events"), 5, NOW)
    assert KeyFile(path).read() == {key.id: key}
    assert text.rsplit("_", 1)[1] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_ring_sees_every_change_at_once(path: Path) -> None:
    """A key created or revoked elsewhere counts for the next request."""
    ring = KeyRing(path)
    assert ring.current() == {}
    key, text = KeyFile(path).create("shop", ("decide",), 0, NOW)
    assert found(text, ring.current()) == key
    KeyFile(path).revoke(key.id)
    assert found(text, ring.current()) is None


def test_keys_created_at_once_are_all_kept(path: Path) -> None:
    """Whoever changes the file waits for whoever is changing it, and every key counts in a slot of its own."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: KeyFile(path).create(f"shop {n}", ("decide",), 0, NOW)[0], range(40)))
    assert KeyFile(path).read() == {key.id: key for key in made}
    assert {key.slot for key in made} == set(range(40))


def test_a_slot_is_free_again_once_its_key_is_revoked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the number of keys at a time is limited, and not their number over the years."""
    monkeypatch.setattr(key_file, "SLOTS", 2)
    first, _ = KeyFile(path).create("a", ("decide",), 0, NOW)
    KeyFile(path).create("b", ("decide",), 0, NOW)
    with pytest.raises(KeyFileError, match="there are 2 keys already"):
        KeyFile(path).create("c", ("decide",), 0, NOW)
    KeyFile(path).revoke(first.id)
    assert KeyFile(path).create("c", ("decide",), 0, NOW)[0].slot == first.slot


def test_a_file_that_holds_no_keys_lets_nobody_in(path: Path) -> None:
    """A ring has no keys then; a command says what to do, and overwrites nothing."""
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert KeyRing(path).current() == {}
    with pytest.raises(KeyFileError, match="remove it"):
        KeyFile(path).create("shop", ("decide",), 0, NOW)
    assert path.read_text() == "{"


def test_a_key_that_is_not_there_cannot_be_revoked(path: Path) -> None:
    """The message says where to look."""
    with pytest.raises(KeyFileError, match="nextbest keys list"):
        KeyFile(path).revoke("0123abcd")


def test_a_disk_that_is_full_leaves_the_keys_there_were(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing half-written takes the file's place."""
    key, _ = KeyFile(path).create("shop", ("decide",), 0, NOW)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        KeyFile(path).revoke(key.id)
    assert KeyFile(path).read() == {key.id: key}
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []

"""Reading a file of SQLite while others write it, replace it, or were killed over it."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.feature_layout import Layout, StoredView
from serving.sqlite_features import SqliteFeatures

VIEW = StoredView(name="rfm", table="shop_rfm", fields={"spend": b"", "baskets": b""}, ttl_s=0.0)
LAYOUT = Layout(project="shop", prefix=b"key", views=(VIEW,))
NOTHING = {"spend": None, "baskets": None}
PATIENCE_S = 5.0


def _write(file: Path, customer_id: str, baskets: int, feature: str = "baskets") -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS shop_rfm (entity_key BLOB, feature_name TEXT, value BLOB, event_ts timestamp, "
            "PRIMARY KEY(entity_key, feature_name))"
        )
        row = (LAYOUT.key(customer_id), feature, bytes([0x20, baskets]), 0)
        connection.execute("INSERT OR REPLACE INTO shop_rfm VALUES (?, ?, ?, ?)", row)


def _read(features: SqliteFeatures, customer_id: str) -> dict[str, Any]:
    return asyncio.run(features.read(customer_id, 0.0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With one customer."""
    _write(tmp_path / "online.db", "c1", 3)
    return tmp_path / "online.db"


@pytest.fixture
def features(file: Path) -> Iterator[SqliteFeatures]:
    features = SqliteFeatures(file, LAYOUT, PATIENCE_S)
    yield features
    asyncio.run(features.close())


def test_what_is_not_stored_is_none(features: SqliteFeatures) -> None:
    """Every feature has a value, in the order of the layout; an unknown customer's are all None."""
    assert _read(features, "c1") == {"spend": None, "baskets": 3}
    assert _read(features, "c2") == NOTHING


def test_what_is_written_is_read_next(file: Path, features: SqliteFeatures) -> None:
    """The connection keeps nothing that another process changed."""
    _read(features, "c1")
    _write(file, "c1", 4)
    assert _read(features, "c1")["baskets"] == 4


def test_what_is_declared_no_more_is_not_read(file: Path, features: SqliteFeatures) -> None:
    """Feast leaves the values of a feature that a view had earlier."""
    _write(file, "c1", 5, feature="dropped")
    assert _read(features, "c1") == {"spend": None, "baskets": 3}


def test_a_table_may_change_under_the_reader(file: Path, features: SqliteFeatures) -> None:
    """`feast apply` adds columns, and takes tables away with their views."""
    _read(features, "c1")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE shop_rfm ADD COLUMN value_text TEXT")
    assert _read(features, "c1")["baskets"] == 3
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE shop_rfm")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        _read(features, "c1")


def test_a_commit_elsewhere_is_waited_for_beside_the_loop(file: Path, features: SqliteFeatures) -> None:
    """The reader gets its turn after it, and others had theirs meanwhile."""

    async def beside_a_commit() -> tuple[bool, dict[str, Any]]:
        with closing(sqlite3.connect(file, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            reading = asyncio.create_task(features.read("c1", 0.0))
            await asyncio.sleep(0.02)
            was_waiting = not reading.done()
            writer.execute("COMMIT")
            return was_waiting, await reading

    assert asyncio.run(beside_a_commit()) == (True, {"spend": None, "baskets": 3})


def test_a_writer_that_does_not_end_is_waited_for_as_long_as_patience_lasts(file: Path) -> None:
    """Then the reader gives up by itself."""

    features = SqliteFeatures(file, LAYOUT, 0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TimeoutError):
            _read(features, "c1")
    asyncio.run(features.close())


def test_a_file_that_is_gone_is_an_error_and_a_new_one_is_read(file: Path, features: SqliteFeatures) -> None:
    """The connection to the deleted file would go on giving its values."""
    _read(features, "c1")
    file.unlink()
    with pytest.raises(FileNotFoundError):
        _read(features, "c1")
    assert not file.exists()
    _write(file, "c1", 6)
    assert _read(features, "c1")["baskets"] == 6


def test_what_a_killed_writer_left_half_done_is_put_right(file: Path, tmp_path: Path) -> None:
    """Its transaction is in the file, and not committed: what was there before is read."""
    killed = tmp_path / "killed.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
        writer.execute("BEGIN")
        writer.execute("UPDATE shop_rfm SET value = ?", (bytes([0x20, 9]),))
        writer.execute("CREATE TABLE bulk AS SELECT zeroblob(1000000) AS zeros")
        for suffix in ("", "-journal"):
            shutil.copy(f"{file}{suffix}", f"{killed}{suffix}")
        assert bytes([0x20, 9]) in killed.read_bytes()
    features = SqliteFeatures(killed, LAYOUT, PATIENCE_S)
    assert _read(features, "c1")["baskets"] == 3
    asyncio.run(features.close())


def test_the_reader_cannot_write(features: SqliteFeatures) -> None:
    """Its connection may, to put things right, but is told not to."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        features._open().execute("DELETE FROM shop_rfm")  # noqa: SLF001  there is no other way to ask

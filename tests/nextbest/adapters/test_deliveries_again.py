"""What comes late, comes again or comes corrected: it is in its day, and staging sees it once.

Staging is the project's own SQL on the files of the landing, with the one reference that dbt fills in.
"""

import errno
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextbest.adapters import batches
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.settings import CHECKOUT
from nextbest.validation import ContractViolation

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


def _door(root: Path) -> Door:
    return Door(root / "landing", root / "quarantine", CONTRACTS)


def _deliver(root: Path, name: str, *events: tuple[str, int, str]) -> Path:
    """A file of events, each with its id, its day before or after `NOON`, and the category in view."""
    rows = [
        {
            "event_id": event_id,
            "customer_id": "ann",
            "type": "product_view",
            "channel": "web",
            "category": category,
            "occurred_at": NOON + timedelta(days=day),
            "received_at": NOON + timedelta(days=day),
            "source": "import",
        }
        for event_id, day, category in events
    ]
    path = root / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def _staged(root: Path) -> list[tuple[Any, ...]]:
    """The events as staging has them: id, day and category."""
    sql = (CHECKOUT / "dbt_project" / "models" / "staging" / "stg_events.sql").read_text()
    files = f"{root}/landing/events/batch=*/**/*.parquet"
    read = f"read_parquet('{files}', union_by_name = true, hive_partitioning = false, filename = true)"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        staged = con.sql(re.sub(r"\{\{ source\(.*?\) \}\}", lambda _: read, sql))
        return staged.project("event_id, day(occurred_at), category").order("event_id").fetchall()


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in (root / "landing").rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Monday's file has landed, and every contract has a batch to read."""
    door = _door(tmp_path)
    door.prepare()
    door.land_file("events", _deliver(tmp_path, "monday", ("a", 0, "tea"), ("b", 0, "gin")))
    return tmp_path


def test_a_late_event_is_in_its_day(root: Path) -> None:
    """An event of Sunday that comes with Tuesday's file is in Sunday's partition, and once in staging."""
    receipt = _door(root).land_file("events", _deliver(root, "tuesday", ("c", 1, "tea"), ("late", -1, "tea")))
    batch = root / "landing" / "events" / f"batch={receipt.batch_id}"
    days = {
        path.name: pq.ParquetFile(path / "part-0.parquet").read()["event_id"].to_pylist()
        for path in batch.glob("day=*")
    }
    assert days == {"day=2026-03-04": ["late"], "day=2026-03-06": ["c"]}
    assert _staged(root) == [("a", 5, "tea"), ("b", 5, "gin"), ("c", 6, "tea"), ("late", 4, "tea")]


def test_an_event_that_comes_again_later_is_staged_once(root: Path) -> None:
    """In two files, what the later one says holds."""
    _door(root).land_file("events", _deliver(root, "tuesday", ("c", 1, "tea"), ("b", 0, "rum")))
    assert _staged(root) == [("a", 5, "tea"), ("b", 5, "rum"), ("c", 6, "tea")]


def test_the_same_file_again_changes_nothing(root: Path) -> None:
    """Not a byte of the landing; what was delivered before it and after it stays in its order."""
    _door(root).land_file("events", _deliver(root, "tuesday", ("b", 0, "rum")))
    files = _files(root)
    _door(root).land_file("events", _deliver(root, "monday", ("a", 0, "tea"), ("b", 0, "gin")))
    assert _files(root) == files
    assert _staged(root) == [("a", 5, "tea"), ("b", 5, "rum")]


def test_a_corrected_file_takes_the_place_of_the_old_one(root: Path) -> None:
    """A row it no longer has is gone, one it changed is changed, and the other file's rows stay."""
    door = _door(root)
    door.land_file("events", _deliver(root, "tuesday", ("c", 1, "tea")))
    door.land_file("events", _deliver(root, "monday", ("a", 0, "rum"), ("d", 0, "rum")))
    assert _staged(root) == [("a", 5, "rum"), ("c", 6, "tea"), ("d", 5, "rum")]
    door.land_file("events", _deliver(root, "monday", ("a", -1, "rum")))
    assert _staged(root) == [("a", 4, "rum"), ("c", 6, "tea")]
    assert len(door.receipts("events")) == 2


@pytest.mark.parametrize("failing", ["write", "replace", "remove"])
def test_a_full_disk_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Whichever step it stops, one of the two versions of the file is there, whole, and the next try succeeds."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = _deliver(root, "monday", ("a", 0, "rum"), ("x", 0, "rum"))
    monkeypatch.setattr(batches, failing, full)
    with pytest.raises(ContractViolation, match=r"contract events, rule storage, 2 rows: .*No space left on device"):
        _door(root).land_file("events", path)
    monkeypatch.undo()
    receipts = _door(root).receipts("events")
    assert len(receipts) == 1
    assert receipts[0].landed == 2
    _door(root).land_file("events", path)
    assert _staged(root) == [("a", 5, "rum"), ("x", 5, "rum")]


def test_two_at_once_both_land(root: Path) -> None:
    """Deliveries of different files wait for each other; of one file the last counts."""
    names = [f"file{number}" for number in range(4)]
    paths = [_deliver(root, name, (name, 0, "tea")) for name in names]

    def ingest() -> None:
        door = _door(root)
        for path in paths:
            door.land_file("events", path)

    threads = [threading.Thread(target=ingest) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row[0] for row in _staged(root)] == ["a", "b", *names]
    assert len(_door(root).receipts("events")) == 5

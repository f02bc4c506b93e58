"""The quarantine of the API: what is kept, for whom, and for how long."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nextbest.adapters.quarantine import Quarantine, QuarantineUnavailableError
from nextbest.contracts import Contract
from nextbest.rejects import Reject

AT = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
CONTRACTS = {
    "events": Contract("events", "1.0.0", (), retention_days=400),
    "consents": Contract("consents", "1.0.0", (), retention_days=10),
}


def reject(number: int = 1, **fields: Any) -> Reject:
    told = {"sender": "shop", "contract": "events", "rule": "enum", "column": "type", "reason": "no such type"}
    return Reject(**{**told, "row": {"event_id": f"e{number}", "customer_id": f"c{number}"}, **fields})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "quarantine" / "events.db"


@pytest.fixture
def quarantine(path: Path) -> Iterator[Quarantine]:
    with closing(Quarantine(path, CONTRACTS, most_rows=5, most_bytes=10_000)) as quarantine:
        yield quarantine


def keep(quarantine: Quarantine, *rejects: Reject, at: datetime = AT) -> None:
    asyncio.run(quarantine.keep(rejects, at))


def ids(quarantine: Quarantine) -> list[str]:
    return sorted(each.row["event_id"] for each in quarantine.rows())


def test_a_row_is_kept_with_all_that_is_known(quarantine: Quarantine) -> None:
    """As it was sent, by whom and when, and why it was rejected."""
    keep(quarantine, reject(row={"event_id": 1, "odd": [None, {"é": 1.5}]}, sent_at=AT - timedelta(seconds=1)))
    (kept,) = quarantine.rows()
    assert kept.row == {"event_id": 1, "odd": [None, {"é": 1.5}]}
    assert (kept.sender, kept.contract, kept.column, kept.rule) == ("shop", "events", "type", "enum")
    assert (kept.reason, kept.first_at, kept.last_at, kept.times) == ("no such type", AT, AT, 1)
    assert kept.sent_at == AT - timedelta(seconds=1)


def test_the_same_row_again_grows_nothing(quarantine: Quarantine) -> None:
    """Whoever sends it and in whatever order: it is counted, and is as young as its last time."""
    again = reject(row={"customer_id": "c1", "event_id": "e1"}, sender="app")
    keep(quarantine, reject(), reject())
    keep(quarantine, again, at=AT + timedelta(minutes=2))
    (kept,) = quarantine.rows()
    assert (kept.times, kept.sender, kept.first_at, kept.last_at) == (3, "app", AT, AT + timedelta(minutes=2))
    keep(quarantine, reject(rule="type"))
    assert [each.rule for each in quarantine.rows(rule="type")] == ["type"]
    assert len(quarantine.rows(contract="events")) == 2
    assert quarantine.rows(contract="consents") == []


def test_the_newest_rows_stay(path: Path) -> None:
    """As many and as large as there may be; whatever is sent, the file ends to grow."""
    with closing(Quarantine(path, CONTRACTS, most_rows=5, most_bytes=10_000)) as quarantine:
        for number in range(20):
            keep(quarantine, reject(number), at=AT + timedelta(seconds=number))
        assert set(ids(quarantine)) >= {f"e{number}" for number in range(15, 20)}
        assert len(ids(quarantine)) <= 11
        for number in range(20, 30):
            large = reject(number, row={"event_id": f"e{number}", "text": "x" * 4_000})
            keep(quarantine, large, at=AT + timedelta(seconds=number))
        assert len(ids(quarantine)) <= 6
    with closing(Quarantine(path, CONTRACTS, most_rows=5, most_bytes=10_000)) as opened_again:
        keep(opened_again, reject(30), at=AT + timedelta(seconds=30))
        assert ids(opened_again) == ["e28", "e29", "e30"]


def test_old_rows_go(quarantine: Quarantine) -> None:
    """After what the contract retains, and after 90 days."""
    keep(quarantine, reject(1), reject(2, contract="consents"))
    keep(quarantine, reject(3), at=AT + timedelta(days=11))
    assert ids(quarantine) == ["e1", "e3"]
    keep(quarantine, reject(4), at=AT + timedelta(days=91))
    assert ids(quarantine) == ["e3", "e4"]


def test_what_was_rejected_is_counted_by_the_minute(quarantine: Quarantine) -> None:
    """By sender and contract, the same row as often as it came; of rows that were dropped too."""
    keep(quarantine, reject(), reject(), reject(2, sender="app"))
    keep(quarantine, reject(contract="consents"), at=AT + timedelta(minutes=1))
    asyncio.run(quarantine.drop([each.id for each in quarantine.rows()]))
    minute = AT.replace(second=0)
    later = (minute + timedelta(minutes=1), "shop", "consents", 1)
    assert quarantine.counts(AT) == [(minute, "app", "events", 1), (minute, "shop", "events", 2), later]
    assert quarantine.counts(AT + timedelta(minutes=1)) == [later]
    keep(quarantine, reject(), at=AT + timedelta(days=8))
    assert quarantine.counts(AT) == [(minute + timedelta(days=8), "shop", "events", 1)]


def test_only_the_owner_may_read_it(quarantine: Quarantine, path: Path) -> None:
    """What is rejected may hold anything; what SQLite puts beside the file is as private."""
    before = os.umask(0)
    try:
        keep(quarantine, reject())
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_a_customer_is_forgotten(quarantine: Quarantine, path: Path) -> None:
    """Also where the id came as a number; nothing of the rows can be read from the files any more."""
    keep(quarantine, reject(1, row={"customer_id": "439", "note": "SECRET"}), reject(2, row={"customer_id": 439}))
    keep(quarantine, reject(3))
    assert asyncio.run(quarantine.forget("439")) == 2
    assert ids(quarantine) == ["e3"]
    assert not any(b"SECRET" in each.read_bytes() for each in path.parent.iterdir())


def test_nothing_is_made_before_something_is_rejected(quarantine: Quarantine, path: Path) -> None:
    """Whoever asks finds nothing, and leaves nothing."""
    assert quarantine.rows() == []
    assert quarantine.counts(AT) == []
    assert asyncio.run(quarantine.forget("c1")) == 0
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_said_so(quarantine: Quarantine, path: Path) -> None:
    """And what was kept comes back with the file."""
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(QuarantineUnavailableError, match="the quarantine of rejected events cannot be used"):
        keep(quarantine, reject())
    path.parent.unlink()
    keep(quarantine, reject())
    assert ids(quarantine) == ["e1"]


KILLED = """
import asyncio, os, sys
from datetime import UTC, datetime
from pathlib import Path
from nextbest.adapters.quarantine import Quarantine
from nextbest.rejects import Reject

quarantine = Quarantine(Path(sys.argv[1]), {})
reject = Reject(sender="shop", contract="events", rule="enum", column="type", reason="", row={"event_id": "e1"})
asyncio.run(quarantine.keep([reject], datetime.now(UTC)))
os.kill(os.getpid(), 9)
"""


def test_what_was_kept_survives_a_killed_process(path: Path) -> None:
    """Once `keep` has returned."""
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
    with closing(Quarantine(path, CONTRACTS)) as quarantine:
        assert ids(quarantine) == ["e1"]


def test_the_look_for_old_rows_reads_an_index_alone(quarantine: Quarantine, path: Path) -> None:
    """A hundred thousand rows of any size must not be read to find the newest."""
    keep(quarantine, reject())
    query = (
        "SELECT id, row_number() OVER newest, sum(bytes) OVER newest FROM rejects "
        "WINDOW newest AS (ORDER BY last_at DESC, id DESC)"
    )
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert any("COVERING INDEX rejects_by_age" in step for step in plan)

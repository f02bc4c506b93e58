"""What is particular to the event log on SQLite: its file, its commits, and who else has it open."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope, encode, unreadable
from nextbest.erasure import without_customer
from nextbest.log import Arrived, LogUnavailableError

MakeRecord = Callable[..., Envelope]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "log" / "events.db")
    yield log
    log.close()


_EARLIER = """
CREATE TABLE records (position INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, decision_id TEXT,
  envelope TEXT NOT NULL);
CREATE INDEX records_by_decision ON records (decision_id) WHERE decision_id IS NOT NULL;
PRAGMA user_version = 1;
"""


def test_a_file_of_an_earlier_version_keeps_its_records(tmp_path: Path, record: MakeRecord) -> None:
    """Each with its offset, found by its key and its decision; what comes next is counted on."""
    path = tmp_path / "events.db"
    earlier = record("e1", decision_id="d1")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_EARLIER)
        connection.execute("INSERT INTO records VALUES (7, 'e1', 'd1', ?)", (encode(earlier).decode(),))
        out_of_landing = msgspec.structs.replace(record("landing/x"), contract="consents")
        connection.execute("INSERT INTO records VALUES (8, 'landing/x', NULL, ?)", (encode(out_of_landing).decode(),))
        connection.commit()
    with closing(SqliteLog(path)) as log:
        assert asyncio.run(log.filed_under(["c1"])) == [(7, earlier), (8, out_of_landing)]
        assert asyncio.run(log.about_decision("d1")) == [(7, earlier)]
        assert [each.offset for name in ("events", "landing/consents") for each in log.arrived_sync(name)] == [7, 8]
        again, new = log.append_sync([earlier, record("e2")]).offsets
        assert again == 7 < new


NOT_ENVELOPES = [b"{", b"{}", b"\xff\xfe", b"[" * 20_000, b"null", b""]


@pytest.mark.parametrize("content", NOT_ENVELOPES)
def test_a_record_that_cannot_be_decoded_holds_up_no_other(
    tmp_path: Path, log: SqliteLog, record: MakeRecord, content: bytes
) -> None:
    """Something stands in its place; it can be found, emptied and taken out as any other, and its id is known."""
    log.append_sync([record("a"), record("b"), record("c")])
    spoil(tmp_path / "log" / "events.db", 2, content)
    stands_in = (2, unreadable("b", "events", "2026-03-02"))
    found = [(1, record("a")), stands_in, (3, record("c"))]
    assert log.read_sync(0, 10) == asyncio.run(log.filed_under(["c1"])) == found
    assert log.of_day_sync(log.arrived_sync("events")[0], 0, 10) == found
    assert log.append_sync([record("b")]).offsets == (2,)
    asyncio.run(log.replace([(offset, without_customer(each)) for offset, each in found]))
    assert asyncio.run(log.filed_under(["c1"])) == []
    assert log.arrived_sync("events") == [Arrived("events", "2026-03-02", 0, 3)]


@pytest.mark.parametrize("content", NOT_ENVELOPES)
def test_a_record_of_an_earlier_version_that_cannot_be_decoded_keeps_its_place(
    tmp_path: Path, record: MakeRecord, content: bytes
) -> None:
    """When it came is not known any more."""
    path = tmp_path / "events.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_EARLIER)
        connection.execute("INSERT INTO records VALUES (7, 'e1', 'd1', '')")
        connection.execute("INSERT INTO records VALUES (8, 'e2', NULL, ?)", (encode(record("e2")).decode(),))
        connection.commit()
    spoil(path, 7, content)
    with closing(SqliteLog(path)) as log:
        assert log.read_sync(0, 10) == [(7, unreadable("e1", "", "1970-01-01")), (8, record("e2"))]


def spoil(path: Path, position: int, content: bytes) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE records SET envelope = CAST(? AS TEXT) WHERE position = ?", (content, position))
        connection.commit()


def test_an_erased_id_with_a_null_character_is_filed_no_more(log: SqliteLog, record: MakeRecord) -> None:
    """SQLite's own JSON ends a text there."""
    said = msgspec.structs.replace(record("a"), partition_key="c\x00 1")
    log.append_sync([said])
    asyncio.run(log.replace([(1, without_customer(said))]))
    assert asyncio.run(log.filed_under(["c\x00 1"])) == []


def test_ids_that_differ_after_a_null_character_are_two(log: SqliteLog, record: MakeRecord) -> None:
    """And each is there once."""
    for _ in range(2):
        log.append_sync([record("a\0b"), record("a\0c"), record("a")])
    assert [entry.event_id for _, entry in log.read_sync(0, 10)] == ["a\0b", "a\0c", "a"]


def test_what_arrived_is_known_by_contract_and_day(log: SqliteLog, record: MakeRecord) -> None:
    """With its newest offset; what came out of the landing has not arrived, nor what another day brought."""
    out_of_landing = record("landing/x")
    tomorrow = msgspec.structs.replace(record("d"), received_at=record("d").received_at + timedelta(days=1))
    log.append_sync([record("a"), out_of_landing, record("b"), tomorrow, record("c")])
    today = Arrived("events", "2026-03-02", 5, 0)
    assert log.arrived_sync("events") == [today, Arrived("events", "2026-03-03", 4, 0)]
    assert log.arrived_sync("landing/events") == [Arrived("landing/events", "2026-03-02", 2, 0)]
    assert log.arrived_sync("outcomes") == []
    assert [offset for offset, _ in log.of_day_sync(today, 0, 2)] == [1, 3]
    assert [offset for offset, _ in log.of_day_sync(today, 3, 2)] == [5]
    log.append_sync([record("e")])
    assert log.of_day_sync(today, 5, 2) == []


def test_what_is_emptied_has_left_its_day(log: SqliteLog, record: MakeRecord) -> None:
    """However often; and a day that is removed is one on which nothing arrived."""
    log.append_sync([record("a"), record("b")])
    bare = msgspec.structs.replace(record("a"), contract="", partition_key="erased")
    for _ in range(2):
        asyncio.run(log.replace([(1, bare)]))
    [day] = log.arrived_sync("events")
    assert day == Arrived("events", "2026-03-02", 2, 1)
    assert [offset for offset, _ in log.of_day_sync(day, 0, 9)] == [2]
    log.remove_sync(day, [2])
    assert log.arrived_sync("events") == []
    assert log.read_sync(0, 9) == [(1, bare)]
    assert asyncio.run(log.filed_under(["c1", "erased"])) == [(1, bare)]


def test_concurrent_appends_share_commits(log: SqliteLog, record: MakeRecord) -> None:
    """A hundred appends at once all arrive, each with an offset of its own."""

    async def append_all() -> list[int]:
        appended = await asyncio.gather(*(log.append([record(str(n))]) for n in range(100)))
        return [offset for each in appended for offset in each.offsets]

    assert sorted(asyncio.run(append_all())) == list(range(1, 101))


def test_what_cannot_be_stored_is_not_acknowledged(tmp_path: Path, record: MakeRecord) -> None:
    """A log whose folder cannot be made raises on append and on read; it never pretends."""
    (tmp_path / "log").write_text("a file where the folder should be")
    log = SqliteLog(tmp_path / "log" / "events.db")
    with pytest.raises(LogUnavailableError, match="cannot be used"):
        log.append_sync([record("a")])
    with pytest.raises(LogUnavailableError, match="cannot be used"):
        log.read_sync(0, 1)
    log.close()


def test_a_log_that_somebody_holds_is_not_waited_for(tmp_path: Path, record: MakeRecord) -> None:
    """A customer does not wait for a writer that is stuck: the append fails within the patience, wholly."""
    with closing(SqliteLog(tmp_path / "events.db", patience_s=0.05)) as log:
        log.append_sync([record("a")])
        with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailableError, match="locked"):
                log.append_sync([record("b")])
        log.append_sync([record("c")])
        assert [envelope.event_id for _, envelope in log.read_sync(0, 10)] == ["a", "c"]


def test_recovers_when_the_file_can_be_had_again(tmp_path: Path, record: MakeRecord) -> None:
    """The log opens its file again after an error, without a restart."""
    (tmp_path / "log").write_text("a file where the folder should be")
    log = SqliteLog(tmp_path / "log" / "events.db")
    with pytest.raises(LogUnavailableError):
        log.append_sync([record("a")])
    (tmp_path / "log").unlink()
    assert log.append_sync([record("a")]).offsets == (1,)
    log.close()


_APPEND_FOR_EVER = """
import sys
from pathlib import Path
import msgspec
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import decode

log = SqliteLog(Path(sys.argv[1]))
template = decode(sys.argv[3])
n = 0
while True:
    event_id = f"{sys.argv[2]}-{n}"
    log.append_sync([msgspec.structs.replace(template, event_id=event_id)])
    print(event_id, flush=True)
    n += 1
"""


def test_a_killed_process_loses_nothing_acknowledged(tmp_path: Path, record: MakeRecord) -> None:
    """What two writing processes acknowledged before `kill -9` is all there, and the log goes on."""
    path = tmp_path / "events.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _APPEND_FOR_EVER, str(path), name, encode(record("template")).decode()],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("p", "q")
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    time.sleep(0.2)
    acknowledged: set[str] = set()
    for writer in writers:
        writer.kill()
        out, _ = writer.communicate()
        acknowledged.update(line for line in out.splitlines(keepends=False) if line)
    log = SqliteLog(path)
    records = log.read_sync(0, 1_000_000)
    assert len(acknowledged) > 10
    assert acknowledged <= {envelope.event_id for _, envelope in records}
    assert log.append_sync([record("afterwards")]).offsets[0] > records[-1][0]
    log.close()

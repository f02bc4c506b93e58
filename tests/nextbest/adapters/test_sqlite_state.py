"""What is SQLite's own of a State: a file that is lost, held by somebody else, or of an earlier version."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nextbest.adapters.sqlite_state import SqliteState
from nextbest.state import SnapshotScope, StateUnavailableError

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCOPE = SnapshotScope(NOW, NOW)

_EARLIER = """
CREATE TABLE contacts (decision_id TEXT, slot INTEGER, customer_id TEXT NOT NULL, is_released INTEGER NOT NULL);
CREATE TABLE pauses (action TEXT PRIMARY KEY, is_paused INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO contacts VALUES ('d1', 0, 'c1', 0);
INSERT INTO pauses VALUES ('eggs', 1, 0);
INSERT INTO facts VALUES ('log_offset', '12'), ('model_set_id', 'm1');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "online" / "state.db"


@pytest.fixture
def earlier(path: Path) -> Path:
    """A file as an earlier version left it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_EARLIER)
    return path


def test_a_lost_file_is_an_error_of_its_own(path: Path) -> None:
    """A State that cannot be reached raises what serving falls back on."""
    path.parent.write_text("a file where the folder should be")
    with closing(SqliteState(path)) as state:
        with pytest.raises(StateUnavailableError):
            asyncio.run(state.snapshot("c1", SCOPE))
        with pytest.raises(StateUnavailableError):
            asyncio.run(state.commit("d1", 0, "e1", NOW))


def test_a_file_that_another_process_holds_is_not_waited_for_long(path: Path) -> None:
    """Writes fail when the patience given is over, and reads go on."""
    with closing(SqliteState(path, patience_s=0.05)) as state:
        asyncio.run(state.publish_model_set("m1"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StateUnavailableError):
                asyncio.run(state.publish_model_set("m2"))
            assert asyncio.run(state.current_model_set()) == "m1"


def test_an_earlier_file_is_filled_anew_from_the_log(earlier: Path) -> None:
    """What comes from the log is dropped and the log read from its beginning; the model set comes from elsewhere."""
    with closing(SqliteState(earlier)) as state:
        assert asyncio.run(state.applied_offset()) == 0
        assert asyncio.run(state.current_model_set()) == "m1"
        assert asyncio.run(state.snapshot("c1", SCOPE)).pauses == ()


def test_an_earlier_file_is_brought_up_to_date_once(earlier: Path) -> None:
    """Of several that open it the first does, and takes nothing from the others that is new."""
    with closing(SqliteState(earlier)) as state, closing(SqliteState(earlier)) as other:
        asyncio.run(state.apply([], 7))
        assert asyncio.run(other.applied_offset()) == 7

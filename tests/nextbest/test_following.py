"""How State follows a log, on every State: to its end, whatever is in it, and whoever empties State meanwhile."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from nextbest import records
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import Envelope
from nextbest.following import UnreadableRecordError, step
from nextbest.records import DecisionRecord, PlacementRecord, SlotRecord
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, State, StateBehindError

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCOPE = SnapshotScope(AT, AT)
Skipped = list[tuple[int, str, str]]


@pytest.fixture
def settings(home: Callable[[], Settings]) -> Settings:
    return home()


@pytest.fixture
def log(settings: Settings) -> Iterator[SqliteLog]:
    with closing(SqliteLog(settings.event_log)) as log:
        yield log


@pytest.fixture
def state(settings: Settings) -> Iterator[OpenState]:
    """One that has caught up with nothing yet."""
    with closing(open_state(settings)) as state:
        yield state


def process(log: SqliteLog, state: State, skipped: Skipped | None = None) -> int:
    """How many records one step applies."""

    def skip(_: str, offset: int, record: Envelope, error: Exception) -> None:
        assert skipped is not None
        skipped.append((offset, record.event_id, type(error).__name__))

    return len(asyncio.run(step(log, state, None if skipped is None else skip)).records)


def said(state: State, log_id: str = "") -> dict[str, str]:
    return dict(asyncio.run(state.snapshot("c1", SCOPE, log_id)).consents)


def consent(status: str, seconds: float = 0.0) -> Envelope:
    at = AT + timedelta(seconds=seconds)
    return Envelope(
        event_id=f"consents/{seconds}",
        type="consent",
        contract="consents",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c1",
        properties={"customer_id": "c1", "purpose": "marketing", "status": status},
    )


def poison() -> Envelope:
    """A decision that takes more of a volume than any store can count."""
    slot = SlotRecord(slot=0, action="beef", treatment="beef", probability=1.0, expires_at=AT, takes={"volume": 1})
    placement = PlacementRecord(id="home_banner", channel="web", pmf={}, order=(), slots=(slot,))
    made = DecisionRecord(
        decision_id="d1", request_id="d1", occurred_at=AT, customer_id="c1", policy_hash="p", placements=(placement,)
    )
    text = records.encode(made).decode().replace('"takes":{"volume":1}', f'"takes":{{"volume":{2**64}}}')
    properties = {"slot": 0, "record": text}
    return msgspec.structs.replace(
        consent("granted"), event_id="decisions/d1/0", type="decision", properties=properties
    )


def test_each_step_goes_on_where_the_last_one_ended(log: SqliteLog, state: OpenState) -> None:
    """What is there already is not applied again."""
    log.append_sync([consent("granted")])
    assert process(log, state) == 1
    log.append_sync([consent("withdrawn", 1)])
    assert [process(log, state) for _ in range(2)] == [1, 0]
    assert said(state) == {"marketing": "withdrawn"}


def test_state_says_when_it_has_caught_up(log: SqliteLog, state: OpenState) -> None:
    """Not before the log's end; from then on, however much comes; and not once it was emptied."""
    log_id = asyncio.run(log.log_id())
    log.append_sync([consent("granted", second) for second in range(1_001)])
    for rest, status in ((1, "granted"), (2, "withdrawn")):
        assert process(log, state) == 1_000
        with pytest.raises(StateBehindError):
            said(state, log_id)
        assert process(log, state) == rest
        log.append_sync([consent("withdrawn", 86_400)])
        assert said(state, log_id) == {"marketing": status}
        asyncio.run(state.clear())


def test_an_empty_log_is_caught_up_with(log: SqliteLog, state: OpenState) -> None:
    """A new home has nothing to wait for."""
    assert process(log, state) == 0
    assert said(state, asyncio.run(log.log_id())) == {}


def test_an_older_copy_of_the_log_is_applied_from_its_beginning(
    log: SqliteLog, state: OpenState, settings: Settings, tmp_path: Path
) -> None:
    """State follows it, and keeps what it knew."""
    log.append_sync([consent("granted")])
    asyncio.run(log.replace([]))  # all of it is in the file
    copy = shutil.copy(settings.event_log, tmp_path / "copy.db")
    log.append_sync([consent("granted", second) for second in range(1, 3)])
    process(log, state)
    with closing(SqliteLog(Path(copy))) as restored:
        assert process(restored, state) == 1
        assert said(state, asyncio.run(log.log_id())) == {"marketing": "granted"}
        restored.append_sync([consent("withdrawn", 9)])
        assert process(restored, state) == 1
    assert said(state) == {"marketing": "withdrawn"}


def test_another_log_is_applied_from_its_beginning(log: SqliteLog, state: OpenState, tmp_path: Path) -> None:
    """However long it is; and until all of it is there State is behind."""
    log.append_sync([consent("granted")])
    process(log, state)
    with closing(SqliteLog(tmp_path / "another.db")) as another:
        another.append_sync([consent("withdrawn", second) for second in range(1, 4)])
        with pytest.raises(StateBehindError):
            said(state, asyncio.run(another.log_id()))
        assert process(another, state) == 3
        assert said(state, asyncio.run(another.log_id())) == {"marketing": "withdrawn"}
    assert process(log, state) == 0


def test_a_record_that_cannot_be_applied_holds_up_no_other(log: SqliteLog, state: OpenState) -> None:
    """It is told, and all others are applied; where nobody is to be told, its error is raised and nothing applied."""
    log.append_sync([consent("granted"), poison(), consent("withdrawn", 1)])
    with pytest.raises(OverflowError):
        process(log, state)
    assert said(state) == {}
    skipped: Skipped = []
    assert process(log, state, skipped) == 3
    assert skipped == [(2, "decisions/d1/0", "OverflowError")]
    assert said(state, asyncio.run(log.log_id())) == {"marketing": "withdrawn"}
    assert process(log, state, skipped) == 0


def test_a_record_that_cannot_be_decoded_holds_up_no_other(
    settings: Settings, log: SqliteLog, state: OpenState
) -> None:
    """It is told as one that cannot be applied, with the id that the log knows it by."""
    log.append_sync([consent("granted"), consent("granted", 1), consent("withdrawn", 2)])
    with closing(sqlite3.connect(settings.event_log)) as connection:
        connection.execute("UPDATE records SET envelope = substr(envelope, 1, 9) WHERE position = 2")
        connection.commit()
    with pytest.raises(UnreadableRecordError):
        process(log, state)
    skipped: Skipped = []
    assert process(log, state, skipped) == 3
    assert skipped == [(2, "consents/1", "UnreadableRecordError")]
    assert said(state, asyncio.run(log.log_id())) == {"marketing": "withdrawn"}


def test_a_log_of_nothing_else_is_caught_up_with(log: SqliteLog, state: OpenState) -> None:
    """The last record is one that cannot be applied."""
    log.append_sync([poison()])
    skipped: Skipped = []
    process(log, state, skipped)
    assert said(state, asyncio.run(log.log_id())) == {}
    assert len(skipped) == 1


def test_a_state_that_is_emptied_on_the_way_is_filled_from_the_beginning(
    log: SqliteLog, state: OpenState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before is not applied after: it would make believe that what went before it is there."""
    log.append_sync([consent("withdrawn", second) for second in range(1_001)])
    assert process(log, state) == 1_000
    read = SqliteLog.read

    async def emptied(*arguments: int) -> list[tuple[int, Envelope]]:
        await state.clear()
        return await read(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(SqliteLog, "read", emptied)
        process(log, state)
    log_id = asyncio.run(log.log_id())
    assert (asyncio.run(state.applied_offset(log_id)), asyncio.run(state.is_caught_up(log_id))) == (0, False)
    assert [process(log, state) for _ in range(2)] == [1_000, 1]
    assert said(state, log_id) == {"marketing": "withdrawn"}

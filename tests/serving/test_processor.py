"""The event processor brings the log into State, soon and once."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.envelope import Envelope
from nextbest.state import SnapshotScope
from serving.app import running
from serving.processor import follow, process

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def consent(status: str, at: datetime) -> Envelope:
    return Envelope(
        event_id=f"consents/{at.timestamp()}",
        type="consent",
        contract="consents",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c1",
        properties={"customer_id": "c1", "purpose": "marketing", "status": status},
    )


def test_applies_what_is_new(log: SqliteLog, state: SqliteState) -> None:
    """Each call goes on where the last one ended, over restarts too."""
    log.append_sync([consent("granted", AT)])
    assert asyncio.run(process(log, state)) == 1
    log.append_sync([consent("withdrawn", AT + timedelta(seconds=1))])
    assert asyncio.run(process(log, state)) == 1
    assert asyncio.run(process(log, state)) == 0
    assert asyncio.run(state.snapshot("c1", SnapshotScope(AT, AT))).consents == {"marketing": "withdrawn"}


def test_an_event_is_visible_within_a_tenth_of_a_second(log: SqliteLog, state: SqliteState) -> None:
    """Acknowledged by the log, known to the next decision 100 ms later."""

    async def follow_for_a_moment() -> dict[str, str]:
        async with running(follow(log, state)):
            await asyncio.sleep(0.05)
            await log.append([consent("withdrawn", AT)])
            await asyncio.sleep(0.1)
            return dict((await state.snapshot("c1", SnapshotScope(AT, AT))).consents)

    assert asyncio.run(follow_for_a_moment()) == {"marketing": "withdrawn"}


def test_a_log_that_was_replaced_is_applied_from_its_beginning(
    log: SqliteLog, state: SqliteState, tmp_path: Path
) -> None:
    """An older copy or an empty one: State follows it, and keeps what it knew."""
    log.append_sync([consent("granted", AT + timedelta(seconds=second)) for second in range(3)])
    asyncio.run(process(log, state))
    with closing(SqliteLog(tmp_path / "restored.db")) as restored:
        assert asyncio.run(process(restored, state)) == 0
        assert asyncio.run(state.snapshot("c1", SnapshotScope(AT, AT))).consents == {"marketing": "granted"}
        restored.append_sync([consent("withdrawn", AT + timedelta(seconds=9))])
        assert asyncio.run(process(restored, state)) == 1
    assert asyncio.run(state.snapshot("c1", SnapshotScope(AT, AT))).consents == {"marketing": "withdrawn"}

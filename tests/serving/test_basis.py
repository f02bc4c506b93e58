"""What decisions rest on, whatever becomes of log and State."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.following import step
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, StateBehindError
from nextbest.switches import switched
from serving.basis import Basis

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCOPE = SnapshotScope(AT, AT)


@pytest.fixture
def state(home: Callable[[], Settings]) -> Iterator[OpenState]:
    with closing(open_state(home())) as state:
        yield state


def test_a_state_that_follows_another_log_than_before_is_enough(
    settings: Settings, log: SqliteLog, state: OpenState
) -> None:
    """The log is made anew while servers run, and State is lost: it can only catch up with the new one."""
    basis = Basis(state, log)
    pause = switched("pause", "beef", "e1", AT)

    async def follow() -> str:
        await log.append([pause])
        await step(log, state)
        known = await basis.snapshot(None, SCOPE)
        assert known.snapshot.pauses == ("beef",)
        await basis.check()
        return known.log_id

    before = asyncio.run(follow())
    for path in settings.event_log.parent.glob(f"{settings.event_log.name}*"):
        path.unlink()
    asyncio.run(state.clear())
    assert asyncio.run(follow()) != before


def test_a_state_that_is_lost_is_behind(log: SqliteLog, state: OpenState) -> None:
    """Until it has caught up again."""
    basis = Basis(state, log)
    asyncio.run(log.append([switched("pause", "beef", "e1", AT)]))
    for ask in (lambda: basis.snapshot(None, SCOPE), basis.check):
        with pytest.raises(StateBehindError):
            asyncio.run(ask())

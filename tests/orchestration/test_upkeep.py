"""The nightly job lets go of what is old, as far as the policy that decides looks back."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nextbest.adapters import policy_archive
from nextbest.adapters.log_landing import arrivals, land_day
from nextbest.adapters.policy_files import read_document
from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import Envelope
from nextbest.following import step
from nextbest.settings import Settings
from nextbest.state import SnapshotScope
from orchestration.defs.resources import Workspace
from orchestration.defs.upkeep import forget, upkeep

NOW = datetime.now(UTC)
EVER = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, value in Settings(home=tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    return Workspace()


@pytest.fixture
def state(workspace: Workspace) -> Iterator[OpenState]:
    with closing(open_state(workspace.settings)) as state:
        yield state


def login(days: int) -> Envelope:
    """An event of so many days ago, as a channel sends it."""
    at = NOW - timedelta(days=days)
    row = {"event_id": f"e{days}", "customer_id": "c1", "type": "login", "channel": "web", "source": "live"}
    row |= {"occurred_at": at.isoformat(), "received_at": at.isoformat()}
    return Envelope(
        event_id=f"events/e{days}",
        type="event",
        contract="events",
        contract_version="1.2.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c1",
        properties=row,
    )


def decides(workspace: Workspace, state: OpenState) -> None:
    """Let the home's policy decide."""
    settings = workspace.settings
    document = read_document(settings.folder("policies"))
    asyncio.run(state.publish_policy(policy_archive.archive(settings.policies_archive, document)))


def known(state: OpenState) -> list[int]:
    """How many days old the interactions are that State knows."""
    found = asyncio.run(state.snapshot("c1", SnapshotScope(EVER, EVER))).interactions
    return [(NOW - each.at).days for each in found]


def test_the_job_lets_go_in_log_landing_and_state(workspace: Workspace, state: OpenState) -> None:
    """Events are kept for 400 days; State knows what a rule may look back to, and 35 days more."""
    records = [login(500), login(399), login(1)]
    decides(workspace, state)
    with workspace.log() as log:
        log.append_sync(records)
        asyncio.run(step(log, state))
        for arrived in arrivals(log):
            land_day(log, workspace.door(), workspace.contracts()[arrived.contract], arrived)
        result = upkeep.execute_in_process(resources={"workspace": workspace})
        assert result.success
        assert [record.event_id for _, record in log.read_sync(0, 9)] == ["events/e399", "events/e1"]
    assert workspace.door().read("events")["event_id"].to_pylist() == ["e399", "e1"]
    assert known(state) == [399, 1]


def test_a_state_that_is_behind_forgets_nothing(workspace: Workspace, state: OpenState) -> None:
    """What it has yet to apply may be older than what it would forget; nor does it without a policy."""
    with workspace.log() as log:
        log.append_sync([login(500)])
        asyncio.run(step(log, state))
        assert "no policy" in asyncio.run(forget(workspace.settings, log, state, NOW))
        decides(workspace, state)
        log.append_sync([login(499)])
        assert "has yet to apply" in asyncio.run(forget(workspace.settings, log, state, NOW))
        assert known(state) == [500]
        asyncio.run(step(log, state))
        assert "contacts up to" in asyncio.run(forget(workspace.settings, log, state, NOW))
    assert known(state) == []

"""Tests of `orchestration.defs.live`: past live features are made anew when what they are made of is another."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextbest.adapters.marts import live_history_file
from nextbest.settings import Settings
from orchestration.defs.live import LIVE_HISTORY, live_history
from orchestration.defs.resources import Workspace

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVENT = {"event_id": "e1", "customer_id": "c1", "type": "click", "channel": "web", "source": "live"}
CUSTOMER = {"customer_id": "c1", "time_zone": "UTC", "updated_at": AT, "source": "import"}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A home in which one customer was contacted."""
    settings = Settings(home=tmp_path)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    snapshot = settings.marts / "snapshot=1"
    snapshot.mkdir(parents=True)
    (settings.marts / "current").symlink_to(snapshot.name)
    contact = pa.table({"customer_id": ["c1"], "contacted_at": pa.array([AT], pa.timestamp("us", tz="UTC"))})
    pq.write_table(contact, snapshot / "propensity_labels.parquet")
    return Workspace()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _is_skipped(workspace: Workspace, instance: dg.DagsterInstance) -> Any:
    result = dg.materialize([live_history], instance=instance, resources={"workspace": workspace})
    [event] = [each for each in result.get_asset_materialization_events() if each.asset_key == LIVE_HISTORY]
    return event.materialization.metadata["skipped"].value


def test_what_landed_since_is_in_it(workspace: Workspace, instance: dg.DagsterInstance) -> None:
    """Also where no mart has it, as no mart has what customers do online; else there is no work."""
    assert [_is_skipped(workspace, instance) for _ in range(2)] == [False, True]
    row = EVENT | {"occurred_at": AT, "received_at": AT}
    workspace.door().land("events", pa.Table.from_pylist([row]), source_name="log")
    assert [_is_skipped(workspace, instance) for _ in range(2)] == [False, True]
    [made] = pq.read_table(live_history_file(workspace.settings.marts)).to_pylist()
    assert made["live_click_count_1d"] == 1.0
    workspace.door().land("customers", pa.Table.from_pylist([CUSTOMER]), source_name="crm")
    assert [_is_skipped(workspace, instance) for _ in range(2)] == [False, True]

"""Tests of `orchestration.defs.feedback` and of what starts it: the event log's days, landed and asked for."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest

from nextbest.adapters.log_landing import days_to_land
from nextbest.adapters.logs import OpenLog
from nextbest.envelope import Envelope
from nextbest.intake import envelope, landed
from nextbest.settings import CHECKOUT, Settings
from orchestration.defs import feedback, partitions, schedules, sensors, serving
from orchestration.defs.jobs import FEEDBACK
from orchestration.defs.resources import Workspace

DAYS = ("2026-03-01", "2026-03-02", "2026-03-04")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A home in which nothing has landed."""
    for name, value in Settings(home=tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    return Workspace()


@pytest.fixture
def log(workspace: Workspace) -> Iterator[OpenLog]:
    with workspace.log() as log:
        yield log


def _event(number: int, day: str, **changes: Any) -> Envelope:
    at = datetime.fromisoformat(day).replace(hour=9, tzinfo=UTC)
    row = {
        "event_id": f"e{number}",
        "customer_id": "c1",
        "type": "click",
        "channel": "web",
        "occurred_at": at.isoformat(),
        "received_at": at.isoformat(),
        "source": "live",
    }
    return Envelope(
        event_id=f"events/e{number}",
        type="event",
        contract="events",
        contract_version="1.0.0",
        source="live",
        occurred_at=at,
        received_at=at,
        partition_key="c1",
        properties=row | changes,
    )


def _land(workspace: Workspace, days: Sequence[str]) -> dict[str, Any]:
    """Run the asset for the days from the first to the last; returns the metadata of `events`."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [feedback.feedback], instance=instance, resources={"workspace": workspace}, tags=partitions.run_tags(days)
        )
        events = [
            each
            for each in result.get_asset_materialization_events()
            if each.asset_key == dg.AssetKey(["feedback", "events"])
        ]
    return {name: value.value for name, value in events[-1].materialization.metadata.items()}


def test_a_day_lands_as_one_delivery(workspace: Workspace, log: OpenLog) -> None:
    """What arrived on other days is theirs; a row that breaks the contract is quarantined, not lost."""
    log.append_sync([_event(1, DAYS[0]), _event(2, DAYS[1]), _event(3, DAYS[1], channel="smoke signal")])
    metadata = _land(workspace, DAYS[1:2])
    assert (metadata["received"], metadata["landed"], metadata["rejected"]) == (2, 1, 1)
    (receipt,) = workspace.door().receipts("events")
    assert receipt.source_name == "log-2026-03-02"
    assert receipt.rejects_by_rule == {"channel.enum": 1}


def test_a_range_of_days_is_one_run(workspace: Workspace, log: OpenLog) -> None:
    """A backfill lands every day of its range that has something."""
    log.append_sync([_event(number, day) for number, day in enumerate(DAYS)])
    assert _land(workspace, DAYS)["landed"] == 3
    assert [receipt.source_name for receipt in workspace.door().receipts("events")] == [f"log-{day}" for day in DAYS]


def test_a_day_landed_again_replaces_itself(workspace: Workspace, log: OpenLog) -> None:
    """The same arrivals are no work; more of them take the place of the fewer."""
    log.append_sync([_event(1, DAYS[0])])
    assert _land(workspace, DAYS[:1])["skipped"] is False
    assert _land(workspace, DAYS[:1])["skipped"] is True
    log.append_sync([_event(2, DAYS[0])])
    assert _land(workspace, DAYS[:1])["skipped"] is False
    assert workspace.door().read("events").num_rows == 2


def test_days_to_land_are_those_with_more_than_landed(workspace: Workspace, log: OpenLog) -> None:
    """A day whose arrivals have all landed is done until something arrives on it."""
    log.append_sync([_event(1, DAYS[0]), _event(2, DAYS[1])])
    assert days_to_land(log, workspace.door()) == [*DAYS[:2]]
    _land(workspace, DAYS[:1])
    assert days_to_land(log, workspace.door()) == [DAYS[1]]
    log.append_sync([_event(3, DAYS[0])])
    assert days_to_land(log, workspace.door()) == [*DAYS[:2]]


def test_a_day_lands_again_when_its_contract_changed(workspace: Workspace, log: OpenLog, tmp_path: Path) -> None:
    """What an older version let in is judged by the one of today."""
    log.append_sync([_event(1, DAYS[0]), _event(2, DAYS[0], channel="email")])
    _land(workspace, DAYS[:1])
    contracts = tmp_path / "data_contracts"
    shutil.copytree(CHECKOUT / "data_contracts", contracts)
    changed = (contracts / "events.odcs.yaml").read_text()
    changed = changed.replace("version: 1.4.0", "version: 2.0.0").replace("[web, app, email]", "[web, app]")
    (contracts / "events.odcs.yaml").write_text(changed)
    _migration(contracts, "select * from landed")
    assert days_to_land(log, workspace.door()) == list(DAYS[:1])
    assert _land(workspace, DAYS[:1])["rejected"] == 1
    assert days_to_land(log, workspace.door()) == []


def _migration(contracts: Path, query: str) -> None:
    path = contracts / "migrations" / "events" / "1-to-2.sql"
    path.parent.mkdir(parents=True)
    path.write_text(query)


def test_what_was_sent_before_a_contract_changed_lands_in_its_columns(
    workspace: Workspace, log: OpenLog, tmp_path: Path
) -> None:
    """A day that a reader met first is migrated where it landed, and not asked for; more of it comes with the log."""
    log.append_sync([_event(1, DAYS[0]), _event(2, DAYS[0], channel="email")])
    _land(workspace, DAYS[:1])
    contracts = tmp_path / "data_contracts"
    shutil.copytree(CHECKOUT / "data_contracts", contracts)
    changed = (contracts / "events.odcs.yaml").read_text()
    changed = changed.replace("version: 1.4.0", "version: 2.0.0").replace("name: session_id", "name: visit_id")
    (contracts / "events.odcs.yaml").write_text(changed)
    _migration(contracts, "select * exclude (session_id), 'v' || hour(occurred_at) as visit_id from landed")
    assert workspace.migrated_door().read("events")["visit_id"].to_pylist() == ["v9", "v9"]
    assert days_to_land(log, workspace.door()) == []
    new = msgspec.structs.replace(_event(3, DAYS[0], visit_id="mine"), contract_version="2.0.0")
    log.append_sync([_event(4, DAYS[0], session_id="s"), new])
    assert _land(workspace, DAYS[:1])["rejected"] == 0
    landed = workspace.migrated_door().read("events")
    assert dict(zip(landed["event_id"].to_pylist(), landed["visit_id"].to_pylist(), strict=True)) == {
        "e1": "v9",
        "e2": "v9",
        "e3": "mine",
        "e4": "v9",
    }


def test_consents_that_channels_sent_land_and_landed_ones_do_not_again(workspace: Workspace, log: OpenLog) -> None:
    """The log holds both; what came out of the landing does not return to it, nor what came from the log to the log."""
    at = datetime.fromisoformat(DAYS[0]).replace(hour=9, tzinfo=UTC)
    row = {"customer_id": "c1", "purpose": "marketing", "regime": "opt_in", "status": "granted", "occurred_at": at}
    rows = [row | {"consent_id": f"k{number}", "source": "live"} for number in range(2)]
    contract = workspace.contracts()["consents"]
    log.append_sync([envelope(contract, rows[0], at), landed(contract, rows[1], at)])
    assert days_to_land(log, workspace.door()) == list(DAYS[:1])
    _land(workspace, DAYS[:1])
    assert workspace.door().read("consents")["consent_id"].to_pylist() == ["k0"]
    assert days_to_land(log, workspace.door()) == []
    before = len(log.read_sync(0, 10))
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([serving.online_state], instance=instance, resources={"workspace": workspace})
    assert len(log.read_sync(0, 10)) == before


def test_signals_of_a_file_are_in_the_log(workspace: Workspace, log: OpenLog, tmp_path: Path) -> None:
    """A feed that delivers files binds online too: once, and again where a row is corrected."""
    row = {
        "signal_id": "s1",
        "signal": "stock",
        "key": "beef",
        "occurred_at": f"{DAYS[0]}T09:00:00Z",
        "source": "import",
    }
    for number, value in enumerate((5.0, 5.0, 0.0)):
        file = tmp_path / f"{number}.jsonl"
        file.write_bytes(msgspec.json.encode(row | {"value": value}))
        workspace.door().land_file("signals", file)
        with dg.DagsterInstance.ephemeral() as instance:
            dg.materialize([serving.online_state], instance=instance, resources={"workspace": workspace})
    entries = [entry for _, entry in log.read_sync(0, 10)]
    assert [(each.type, each.partition_key, each.value) for each in entries] == [
        ("signal", "stock:beef", 5.0),
        ("signal", "stock:beef", 0.0),
    ]


def test_the_sensor_asks_until_all_has_landed(workspace: Workspace, log: OpenLog) -> None:
    """One run for all that is new, and another while it has not landed; nothing when there is nothing new."""
    log.append_sync([_event(1, DAYS[0]), _event(2, DAYS[2])])
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"workspace": workspace})
        for _ in range(2):
            request = sensors.new_events(context)
            assert isinstance(request, dg.RunRequest)
            assert partitions.run_tags([DAYS[0], DAYS[2]]).items() <= request.tags.items()
        _land(workspace, DAYS)
        assert isinstance(sensors.new_events(context), dg.SkipReason)
        assert isinstance(sensors.new_events(context), dg.SkipReason)
        log.append_sync([_event(3, DAYS[0])])
        assert isinstance(sensors.new_events(context), dg.RunRequest)


def test_the_sensor_pauses_after_a_failed_run(workspace: Workspace, log: OpenLog) -> None:
    """What failed is tried again, but not every minute."""
    log.append_sync([_event(1, DAYS[0])])
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(dg.DagsterRun(FEEDBACK, status=dg.DagsterRunStatus.FAILURE))
        context = dg.build_sensor_context(instance=instance, resources={"workspace": workspace})
        assert isinstance(sensors.new_events(context), dg.SkipReason)
        assert context.cursor is None


def test_the_schedule_asks_for_today_and_what_is_left(workspace: Workspace, log: OpenLog) -> None:
    """The daily run covers every day since the first that has not landed."""
    first = schedules.daily_pipeline(workspace=workspace)
    assert isinstance(first, dg.RunRequest)
    assert first.tags["dagster/partition"] == partitions.today()
    log.append_sync([_event(1, DAYS[0])])
    second = schedules.daily_pipeline(workspace=workspace)
    assert isinstance(second, dg.RunRequest)
    assert second.tags["dagster/asset_partition_range_start"] == DAYS[0]
    assert second.tags["dagster/asset_partition_range_end"] == partitions.today()


def test_today_is_a_partition() -> None:
    """What arrives today can be landed today."""
    assert partitions.today() in partitions.LOG_DAYS.get_partition_keys()

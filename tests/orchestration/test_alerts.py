"""Tests of `orchestration.alerts`: a real receiver hears of a failed run once."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from nextbest.settings import Settings
from orchestration.alerts import alert
from orchestration.defs.resources import Workspace
from orchestration.defs.sensors import failed_runs

Receiver = Callable[..., AbstractContextManager[tuple[str, list[dict[str, Any]]]]]


@dg.asset
def shelf() -> None:
    """Something to check."""


@dg.asset_check(asset=shelf, blocking=True)
def is_full() -> dg.AssetCheckResult:
    """Fail as a check of rows does."""
    return dg.AssetCheckResult(passed=False, description="purpose: enum: 3 of 9 rows")


@dg.asset(deps=[shelf])
def quotes_a_row() -> None:
    """Fail with what the door might say."""
    raise dg.Failure("column email: first 'ann@example.org'")


def _failed_run(instance: dg.DagsterInstance, *assets: Any) -> dg.DagsterRun:
    result = dg.materialize(list(assets), instance=instance, raise_on_error=False)
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


def test_a_failed_run_is_told_once(tmp_path: Path, receiver: Receiver) -> None:
    """Whoever notices it: run, job, link and the failed checks, and a text for people."""
    with dg.DagsterInstance.ephemeral() as instance, receiver() as (url, heard):
        settings = Settings(home=tmp_path, alert_webhook=url, dagster_port=3044)
        run = _failed_run(instance, shelf, is_full)
        assert [alert(settings, instance, run) for _ in range(3)] == [True, False, False]
        (told,) = heard
    link = f"http://127.0.0.1:3044/runs/{run.run_id}"
    text = told.pop("text")
    assert told == {
        "run_id": run.run_id,
        "job": run.job_name,
        "link": link,
        "failed": [{"asset": "shelf", "check": "is_full", "description": "purpose: enum: 3 of 9 rows"}],
        "error": "step shelf_is_full ended with DagsterAssetCheckFailedError",
    }
    assert "shelf: is_full (purpose: enum: 3 of 9 rows)" in text
    assert text.endswith(link)


def test_no_value_of_a_row_is_told(tmp_path: Path, receiver: Receiver) -> None:
    """What an error says may quote a row: its kind and its step are told instead."""
    with dg.DagsterInstance.ephemeral() as instance, receiver() as (url, heard):
        alert(Settings(home=tmp_path, alert_webhook=url), instance, _failed_run(instance, shelf, quotes_a_row))
    assert "ann@example.org" not in json.dumps(heard)
    assert heard[0]["error"].startswith("step quotes_a_row ended with ")


@pytest.mark.parametrize("status", [None, 302, 500])
def test_a_dead_receiver_breaks_nothing(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int | None
) -> None:
    """It is logged, and the run is as it was; a redirect would drop the body, and counts as no answer."""
    with dg.DagsterInstance.ephemeral() as instance, receiver(status or 200) as (url, _):
        settings = Settings(home=tmp_path, alert_webhook=url if status else "http://127.0.0.1:9/hook")
        assert alert(settings, instance, _failed_run(instance, shelf, quotes_a_row)) is False
    assert "NEXTBEST_ALERT_WEBHOOK did not take the alert" in caplog.text


def test_without_a_receiver_nothing_is_told(tmp_path: Path) -> None:
    """The default: no address, no claim."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert alert(Settings(home=tmp_path), instance, _failed_run(instance, shelf, quotes_a_row)) is False
    assert not list(tmp_path.rglob("alerts"))


def test_the_sensor_tells_what_the_command_line_has_not(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs by itself, sees runs of every origin, and does not repeat what was told."""
    assert failed_runs.default_status == dg.DefaultSensorStatus.RUNNING
    with dg.DagsterInstance.ephemeral() as instance, receiver() as (url, heard):
        settings = Settings(home=tmp_path, alert_webhook=url)
        for name, value in settings.environment().items():
            monkeypatch.setenv(name, value)
        result = dg.materialize([shelf, quotes_a_row], instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            "failed_runs",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        for _ in range(2):
            failed_runs(context, workspace=Workspace())
    assert [told["run_id"] for told in heard] == [result.run_id]

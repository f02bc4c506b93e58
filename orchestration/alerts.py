"""Telling somebody that a run failed: one POST of JSON to the address of `NEXTBEST_ALERT_WEBHOOK`.

Belongs here: what is said, and that it is said once, whoever notices the failure first: the command line for its own
run, the daemon's sensor for the others and for a run that was killed. No value of any row is said: what failed is named
and linked, for the receiver may be a chat that anybody reads. Does not belong here: noticing (`orchestration.commands`,
`orchestration.defs.sensors`), or the posting (`nextbest.adapters.webhook`).
"""

import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster import DagsterEventType, DagsterInstance, DagsterRun

from nextbest.adapters.webhook import post
from nextbest.settings import Settings

_LOGGER = logging.getLogger(__name__)


def alert(settings: Settings, instance: DagsterInstance, run: DagsterRun) -> bool:
    """Tell the receiver of a failed run, if there is one and it has not been told.

    A receiver that does not answer is logged and not asked again: a run must not wait for it.

    Returns:
        Whether the receiver took it.

    """
    if not settings.alert_webhook or not _claim(settings, run.run_id):
        return False
    mistake = post(settings.alert_webhook, message(settings, instance, run))
    if mistake:
        _LOGGER.error("NEXTBEST_ALERT_WEBHOOK did not take the alert of run %s: %s", run.run_id, mistake)
    return not mistake


def message(settings: Settings, instance: DagsterInstance, run: DagsterRun) -> dict[str, Any]:
    """What is said of a failed run: `text` for people, the rest for machines."""
    failed = list(_failed_checks(instance, run))
    error = _error(instance, run)
    link = f"{settings.dagster_url}/runs/{run.run_id}"
    checks = [f"{each['asset']}: {each['check']} ({each['description']})" for each in failed]
    return {
        "run_id": run.run_id,
        "job": run.job_name,
        "link": link,
        "failed": failed,
        "error": error,
        "text": "\n".join([f"nextbest: run of {run.job_name} failed: {error}", *checks, link]),
    }


def _claim(settings: Settings, run_id: str) -> bool:
    """Whether this process is the one that tells: the file of a run can be created once."""
    folder = settings.state / "alerts"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / run_id).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _failed_checks(instance: DagsterInstance, run: DagsterRun) -> Iterator[dict[str, str]]:
    for event in _events(instance, run, DagsterEventType.ASSET_CHECK_EVALUATION):
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            yield {
                "asset": evaluation.asset_key.to_user_string(),
                "check": evaluation.check_name,
                "description": evaluation.description or "failed",
            }


def _error(instance: DagsterInstance, run: DagsterRun) -> str:
    """The first failed step and the kind of its error: what an error says may quote a row."""
    for event in _events(instance, run, DagsterEventType.STEP_FAILURE):
        error = event.step_failure_data.error
        while error and error.cause:
            error = error.cause
        return f"step {event.step_key} ended with {error.cls_name if error and error.cls_name else 'a failure'}"
    return "the run ended without a failed step: its process was killed, or never started"


def _events(instance: DagsterInstance, run: DagsterRun, kind: DagsterEventType) -> Iterator[dg.DagsterEvent]:
    entries = instance.all_logs(run.run_id, of_type=kind)
    return (entry.dagster_event for entry in entries if entry.dagster_event)

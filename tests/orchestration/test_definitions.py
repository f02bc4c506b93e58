"""Tests of `orchestration.definitions`: what Dagster sees, as a text that a reviewer can read."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from nextbest.settings import CHECKOUT
from orchestration.definitions import defs
from orchestration.progress import STAGES

SNAPSHOT = Path(__file__).with_name("assets.txt")


@pytest.fixture(scope="session")
def definitions(home: Any) -> dg.Definitions:
    """Everything, as a home that has not run yet sees it."""
    with home.environment():
        return defs()


def _described(definitions: dg.Definitions) -> str:
    """A line per asset: group, key, whether it is daily, what it depends on."""
    graph = definitions.resolve_asset_graph()
    lines = []
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        parents = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        daily = " daily" if node.is_partitioned else ""
        lines.append(f"{node.group_name}: {key.to_user_string()}{daily} <- {parents or 'nothing'}")
    return "\n".join(sorted(lines)) + "\n"


@pytest.mark.integration
def test_assets_are_as_reviewed(definitions: dg.Definitions) -> None:
    """Keys, groups and dependencies change on purpose only; write the text anew with UPDATE_SNAPSHOT=1."""
    described = _described(definitions)
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(described)
    assert described == SNAPSHOT.read_text()


@pytest.mark.integration
def test_every_job_schedule_and_sensor_resolves(definitions: dg.Definitions) -> None:
    """What the UI offers can be started."""
    definitions.validate_loadable(definitions)
    assert {job.name for job in definitions.resolve_all_job_defs()} >= {"pipeline", "feedback_job", "training_job"}
    assert definitions.resolve_schedule_def("daily_pipeline").cron_schedule == "0 4 * * *"
    assert definitions.resolve_schedule_def("weekly_training").cron_schedule == "0 5 * * 1"
    assert definitions.resolve_sensor_def("drifted_models").default_status == dg.DefaultSensorStatus.RUNNING
    assert definitions.resolve_sensor_def("new_events").minimum_interval_seconds == 30
    assert definitions.resolve_sensor_def("failed_runs").default_status == dg.DefaultSensorStatus.RUNNING


@pytest.mark.integration
def test_the_guide_names_every_check_of_a_model_and_what_starts_a_training(definitions: dg.Definitions) -> None:
    """One that is added is added there, or this fails."""
    page = (CHECKOUT / "docs" / "ml-engineer.md").read_text()
    checks = {
        key.name for key in definitions.resolve_asset_graph().asset_check_keys if key.asset_key.path[0] == "models"
    }
    assert {name for name in checks if f"`{name}`" not in page} == set()
    assert [
        name for name in ("daily_pipeline", "weekly_training", "drifted_models", "training_job") if name not in page
    ] == []


@pytest.mark.integration
def test_every_step_has_a_stage(definitions: dg.Definitions) -> None:
    """The report counts the seconds of every step somewhere."""
    steps = {node.name for node in definitions.resolve_job_def("pipeline").nodes}
    only_of_projects = {"import_quality"}
    assert {step.split("__")[0] for step in steps} == STAGES.keys() - only_of_projects


def test_loading_is_light() -> None:
    """What takes seconds to import, and is needed by steps only, is not imported by the definitions."""
    modules = "great_expectations", "feast", "mlflow", "sklearn", "ray", "splink"
    code = f"import sys, orchestration.definitions; print([m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.integration
def test_no_check_tests_a_source(definitions: dg.Definitions) -> None:
    """The door has tested what landed: dbt's tests of sources are for a person to run, not for the pipeline."""
    names = {key.name for key in definitions.resolve_asset_graph().asset_check_keys}
    assert "stg_products_has_a_unique_key" in names
    assert [name for name in names if name.startswith("landing_")] == []

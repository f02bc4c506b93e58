"""Files dropped into the inbox start a run, which lands them and fails where one could not."""

from pathlib import Path

import dagster as dg
import pytest

from nextbest.adapters import inbox as files
from nextbest.settings import Settings
from orchestration.defs import inbox, sensors
from orchestration.defs.resources import Workspace

GOOD = "product_id,department,category,brand,source\np1,GROCERY,EGGS,Private,live\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A home whose inbox is elsewhere, and takes files at once."""
    settings = Settings(home=tmp_path, inbox_folder=str(tmp_path / "dropped"))
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(files, "_QUIET_S", 0.0)
    return Workspace()


def drop(workspace: Workspace, name: str, text: str) -> None:
    path = workspace.settings.inbox / "products" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_files_start_a_run_that_lands_them(workspace: Workspace) -> None:
    """What could not land fails the run, once all others have; then there is nothing left to start one for."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"workspace": workspace})
        assert isinstance(sensors.new_files(context), dg.SkipReason)
        drop(workspace, "a.csv", "product_id\np1\n")
        drop(workspace, "b.csv", GOOD)
        assert isinstance(sensors.new_files(context), dg.RunRequest)
        result = inbox.inbox.execute_in_process(
            instance=instance, resources={"workspace": workspace}, raise_on_error=False
        )
        assert not result.success
        [landed] = [
            event.materialization
            for event in result.all_events
            if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
        ]
        assert landed.asset_key == dg.AssetKey(["landing", "products"])
        assert landed.metadata["landed"].value == 1
        assert workspace.door().read("products").num_rows == 1
        assert isinstance(sensors.new_files(context), dg.SkipReason)


def test_a_file_that_is_left_is_tried_again_after_a_pause(workspace: Workspace) -> None:
    """A full disk fails every try, and need not be told of twice a minute; another file is tried at once."""
    drop(workspace, "a.csv", GOOD)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"workspace": workspace})
        assert isinstance(sensors.new_files(context), dg.RunRequest)
        instance.add_run(dg.DagsterRun(inbox.INBOX, status=dg.DagsterRunStatus.FAILURE))
        assert isinstance(sensors.new_files(context), dg.SkipReason)
        drop(workspace, "b.csv", GOOD)
        assert isinstance(sensors.new_files(context), dg.RunRequest)

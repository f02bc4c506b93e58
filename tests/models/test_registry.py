"""The registry on a real MLflow store: what a run shows, what is skipped, what a killed run leaves."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from alembic.runtime.migration import HeadMaintainer
from mlflow import MlflowClient

from models import lifecycle
from models.candidate import Candidate, Registered
from models.champions import Champions
from models.frames import TrainingSet
from models.recipes import clv
from models.registry import Registry
from models.versions import CHAMPION, FINGERPRINT, SHADOW, RegistryError
from nextbest.settings import Settings

pytestmark = pytest.mark.integration


def test_a_run_shows_everything_and_is_not_repeated(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """Parameters, metrics, plots, card, signature, example, newest label; the same data again changes nothing."""
    marts = settings.marts / "current"
    marts.mkdir(parents=True)
    clv_data.frame[["customer_id", "cutoff_at"]].to_parquet(marts / "clv_labels.parquet")
    first = lifecycle.run(settings, clv.RECIPE, clv_data, now)
    again = lifecycle.run(settings, clv.RECIPE, clv_data, now)
    assert (first.version, first.alias, first.skipped) == ("1", CHAMPION, False)
    assert (again.version, again.alias, again.skipped) == ("1", CHAMPION, True)
    assert again.gate == first.gate
    assert again.metrics == pytest.approx(first.metrics)
    artifacts = {artifact.path for artifact in client.list_artifacts(first.run_id)}
    assert {"model_card.md", "calibration.png", "gain.png"} <= artifacts
    assert client.get_run(first.run_id).data.params["penalty"]
    folder = settings.mlflow_artifacts / "clv" / "models"
    [stored] = [path for path in folder.glob("*/artifacts") if path.is_dir()]
    assert {"MLmodel", "model.onnx", "input_example.json"} <= {path.name for path in stored.iterdir()}
    described = json.loads((stored / "extra_files" / "model.json").read_text())
    assert described["output"] == "value"
    assert not list(settings.state.rglob("*.pkl"))
    last = Registry(settings).last_judged(clv.NAME)
    assert last is not None
    assert (last.version, last.labels_until) == ("1", clv_data.frame["cutoff_at"].max())


def test_a_store_killed_in_the_making_is_made_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that has changed a table and not said so yet leaves nothing the next one stumbles over."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HeadMaintainer, "update_to_step", killed)
        with pytest.raises(KeyboardInterrupt):
            Registry(settings)
    assert Registry(settings).champion_version(clv.NAME) is None


def test_a_run_killed_before_its_end_is_done_again(
    settings: Settings, clv_data: TrainingSet, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it got to, the next run does not skip to a model that nobody made champion."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.run(settings, clv.RECIPE, clv_data, now)
    again = lifecycle.run(settings, clv.RECIPE, clv_data, now)
    assert (again.version, again.alias, again.skipped) == ("2", CHAMPION, False)


def _experiment(client: MlflowClient) -> str:
    experiment = client.get_experiment_by_name(clv.NAME)
    assert experiment is not None
    return experiment.experiment_id


def test_a_run_whose_process_was_killed_is_shown_as_killed(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """By the next training; a run that somebody else has open stays as it is."""
    experiment = _experiment(client)
    ours, other = (client.create_run(experiment, tags=tags).info.run_id for tags in ({FINGERPRINT: "f"}, {}))
    lifecycle.run(settings, clv.RECIPE, clv_data, now)
    assert [client.get_run(run).info.status for run in (ours, other)] == ["KILLED", "RUNNING"]


def test_of_two_trainings_at_once_the_second_finds_the_first_done(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """It had put a version like the champion into the champion's shadow."""
    assert client
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(lifecycle.run, settings, clv.RECIPE, clv_data, now) for _ in range(2)]
    found = sorted((each.result() for each in both), key=lambda each: each.skipped)
    assert [(each.version, each.alias, each.skipped) for each in found] == [
        ("1", CHAMPION, False),
        ("1", CHAMPION, True),
    ]


def test_a_deleted_experiment_is_said_before_anything_is_trained(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """With the command that brings it back, instead of MLflow's own words after the fit."""

    def build(*_: object) -> Candidate:
        raise AssertionError

    experiment = _experiment(client)
    client.delete_experiment(experiment)
    with pytest.raises(RegistryError, match=f"mlflow experiments restore -x {experiment}`"):
        lifecycle.run(settings, replace(clv.RECIPE, build=build), clv_data, now)
    client.restore_experiment(experiment)
    assert lifecycle.run(settings, clv.RECIPE, clv_data, now).alias == CHAMPION


def test_a_skip_leaves_the_champion_who_it_is(
    settings: Settings,
    clv_data: TrainingSet,
    two_versions: tuple[Registered, Registered],
    now: datetime,
) -> None:
    """Someone went back to an older version: data that are known already do not undo that."""
    assert two_versions
    registry = Registry(settings)
    assert registry.current(clv.NAME).version == "2"
    Champions(registry).promote(clv.NAME, "1")
    assert registry.current(clv.NAME).version == "1"
    backwards = TrainingSet(frame=clv_data.frame.iloc[::-1], action_features={}, contracts=clv_data.contracts)
    skipped = lifecycle.run(settings, clv.RECIPE, backwards, now)
    assert (skipped.version, skipped.alias, skipped.skipped) == ("2", None, True)
    champion = registry.champion_version(clv.NAME)
    assert champion is not None
    assert champion.version == "1"


def test_a_broken_shadow_stops_no_training(
    settings: Settings, clv_data: TrainingSet, two_versions: tuple[Registered, Registered], now: datetime
) -> None:
    """Its files are gone: it is left as it is, and another version is trained."""
    assert two_versions
    registry = Registry(settings)
    Champions(registry).promote(clv.NAME, "1")
    client = MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    client.set_registered_model_alias(clv.NAME, SHADOW, "2")
    uri = client.get_model_version_download_uri(clv.NAME, "2")
    shutil.rmtree(Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=settings.mlflow_uri)))
    later = replace(
        clv_data, frame=clv_data.frame.assign(cutoff_at=clv_data.frame["cutoff_at"] + pd.Timedelta(days=182))
    )
    assert lifecycle.run(settings, clv.RECIPE, later, now).version == "3"


def test_a_store_that_cannot_be_written_is_said_in_words(
    settings: Settings, clv_data: TrainingSet, now: datetime
) -> None:
    """As on a disk that is full: a file is where the artifacts would go, and a training begins anew once it is gone."""
    Registry(settings)
    settings.mlflow_artifacts.rmdir()
    settings.mlflow_artifacts.write_bytes(b"")
    with pytest.raises(RegistryError, match=f"the model registry {settings.mlflow_store} cannot be used: "):
        lifecycle.run(settings, clv.RECIPE, clv_data, now)
    settings.mlflow_artifacts.unlink()
    assert lifecycle.run(settings, clv.RECIPE, clv_data, now).alias == CHAMPION

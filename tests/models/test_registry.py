"""The registry on a real MLflow store: what a run shows, what is skipped, who becomes champion or shadow."""

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
from models.candidate import Candidate, Champion, Registered
from models.frames import TrainingSet
from models.gates import Check
from models.recipes import clv
from models.registry import CHAMPION, FINGERPRINT, GATE_SHA256, HISTORY, SHADOW, Registry, RegistryError
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


def test_a_version_killed_before_its_gate_was_through_is_promoted_by_nobody(
    settings: Settings, clv_data: TrainingSet, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its verdict comes last: with it, and without the hash that was judged, it would be champion and never serve."""
    tag = MlflowClient.set_model_version_tag

    def killed(self: MlflowClient, name: str, version: str, key: str, value: str) -> None:
        if key == GATE_SHA256:
            raise KeyboardInterrupt
        tag(self, name, version, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_model_version_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.run(settings, clv.RECIPE, clv_data, now)
    with pytest.raises(RegistryError, match="never judged"):
        Registry(settings).promote(clv.NAME, "1")


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
    registry.promote(clv.NAME, "1")
    assert registry.current(clv.NAME).version == "1"
    backwards = TrainingSet(frame=clv_data.frame.iloc[::-1], action_features={}, contracts=clv_data.contracts)
    skipped = lifecycle.run(settings, clv.RECIPE, backwards, now)
    assert (skipped.version, skipped.alias, skipped.skipped) == ("2", None, True)
    champion = registry.champion_version(clv.NAME)
    assert champion is not None
    assert champion.version == "1"


def test_a_version_that_fails_its_gate_is_registered_with_the_reason_and_not_champion(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """The alias stays where it was, and nobody promotes it by hand either."""
    lifecycle.run(settings, clv.RECIPE, clv_data, now)
    frame = clv_data.frame.assign(spend_next_91d=1.01 * clv_data.frame["spend_prior_91d"])
    blocked = lifecycle.run(settings, clv.RECIPE, TrainingSet(frame=frame, action_features={}, contracts={}), now)
    assert (blocked.version, blocked.alias, blocked.gate.passed) == ("2", None, False)
    assert "gain over last_91_days" in client.get_model_version(clv.NAME, "2").tags["gate_reason"]
    assert client.get_model_version_by_alias(clv.NAME, CHAMPION).version in {1, "1"}
    registry = Registry(settings)
    with pytest.raises(RegistryError, match="did not pass its gate"):
        registry.promote(clv.NAME, "2")
    with pytest.raises(RegistryError, match="no version 7"):
        registry.promote(clv.NAME, "7")


def test_a_version_is_promoted_by_name(settings: Settings, two_versions: tuple[Registered, Registered]) -> None:
    """Going back to an older version is a promotion like any other."""
    assert two_versions
    registry = Registry(settings)
    registry.promote(clv.NAME, "1")
    champion = registry.champion_version(clv.NAME)
    assert champion is not None
    assert champion.version == "1"
    assert [version.is_champion for version in registry.versions(clv.NAME)] == [False, True]


def test_a_version_of_which_too_little_is_known_becomes_the_shadow(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """Against a champion that has seen all there is, nothing tells which is better: a person may still decide."""
    first = lifecycle.run(settings, clv.RECIPE, clv_data, now)
    assert first.alias == CHAMPION
    later = replace(
        clv_data, frame=clv_data.frame.assign(cutoff_at=clv_data.frame["cutoff_at"] - pd.Timedelta(days=364))
    )
    second = lifecycle.run(settings, clv.RECIPE, later, now)
    assert (second.alias, second.gate.verdict) == (SHADOW, "undecided")
    assert "no data after both trainings" in client.get_model_version(clv.NAME, "2").tags["gate_reason"]
    registry = Registry(settings)
    shadow = registry.shadow_version(clv.NAME)
    assert shadow is not None
    assert shadow.version == "2"
    registry.promote(clv.NAME, "2")
    assert registry.current(clv.NAME).version == "2"


def test_a_shadow_is_looked_at_again_when_there_is_more_data(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """Later cut-offs that neither has seen: as good as the champion, it takes its place before anything is trained."""
    frame = clv_data.frame
    lifecycle.run(settings, clv.RECIPE, clv_data, now)
    older = replace(clv_data, frame=frame.assign(cutoff_at=frame["cutoff_at"] - pd.Timedelta(days=364)))
    assert lifecycle.run(settings, clv.RECIPE, older, now).alias == SHADOW
    later = replace(clv_data, frame=frame.assign(cutoff_at=frame["cutoff_at"] + pd.Timedelta(days=182)))
    third = lifecycle.run(settings, clv.RECIPE, later, now)
    tags = client.get_model_version(clv.NAME, "2").tags
    assert (tags["gate"], third.version) == ("passed", "3")
    assert tags["gate_reason"].startswith("gain over the champion is ")
    assert Registry(settings).rollback(clv.NAME) == "2"
    assert Registry(settings).rollback(clv.NAME) == "1"


def test_a_shadow_that_somebody_decided_of_meanwhile_is_left_alone(
    settings: Settings, client: MlflowClient, two_versions: tuple[Registered, Registered]
) -> None:
    """It was compared with version 1; then somebody made version 2 champion, or took it out of the shadow."""
    assert two_versions
    registry, met = Registry(settings), Check("not_worse_than_champion", "not_worse", "met", "as good")
    for rival, number in (("1", "2"), ("2", "1")):
        registry.promote(clv.NAME, rival)
        client.set_registered_model_alias(clv.NAME, SHADOW, number)
        shadow = registry.shadow_version(clv.NAME)
        assert shadow is not None
        client.delete_registered_model_alias(clv.NAME, SHADOW)
        registry.reconsider(shadow, met, rival)
        client.set_registered_model_alias(clv.NAME, SHADOW, number)
        registry.reconsider(shadow, met, "7")
        assert registry.current(clv.NAME).version == rival
        assert client.get_model_version(clv.NAME, number).tags["gate_reason"] != "as good"


def test_a_broken_shadow_stops_no_training(
    settings: Settings, clv_data: TrainingSet, two_versions: tuple[Registered, Registered], now: datetime
) -> None:
    """Its files are gone: it is left as it is, and another version is trained."""
    assert two_versions
    registry = Registry(settings)
    registry.promote(clv.NAME, "1")
    client = MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    client.set_registered_model_alias(clv.NAME, SHADOW, "2")
    uri = client.get_model_version_download_uri(clv.NAME, "2")
    shutil.rmtree(Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=settings.mlflow_uri)))
    later = replace(
        clv_data, frame=clv_data.frame.assign(cutoff_at=clv_data.frame["cutoff_at"] + pd.Timedelta(days=182))
    )
    assert lifecycle.run(settings, clv.RECIPE, later, now).version == "3"


def test_a_champion_of_meanwhile_is_not_replaced_by_what_was_not_compared_with_it(
    settings: Settings, clv_data: TrainingSet, two_versions: tuple[Registered, Registered], now: datetime
) -> None:
    """Somebody goes back to version 1 while version 3 is trained, which was compared with version 2."""
    assert two_versions
    registry = Registry(settings)

    def build(data: TrainingSet, champion: Champion | None) -> Candidate:
        candidate = clv.build(data, champion)
        assert registry.rollback(clv.NAME) == "1"
        return candidate

    frame = clv_data.frame
    later = replace(clv_data, frame=frame.assign(cutoff_at=frame["cutoff_at"] + pd.Timedelta(days=182)))
    third = lifecycle.run(settings, replace(clv.RECIPE, build=build), later, now)
    assert (third.version, third.alias, third.gate.verdict) == ("3", SHADOW, "undecided")
    assert "version 1 became champion during the training, when version 2 was" in third.gate.reason
    assert registry.current(clv.NAME).version == "1"


def test_a_rollback_passes_over_what_was_deleted(
    settings: Settings, client: MlflowClient, two_versions: tuple[Registered, Registered]
) -> None:
    """Also where it is the champion that was deleted."""
    assert two_versions
    registry = Registry(settings)
    for number in ("1", "2"):
        registry.promote(clv.NAME, number)
    client.set_registered_model_tag(clv.NAME, HISTORY, "1 2 7 2")
    client.delete_model_version(clv.NAME, "2")
    assert registry.champion_version(clv.NAME) is None
    assert registry.rollback(clv.NAME) == "1"
    with pytest.raises(RegistryError, match="no champion before this one"):
        registry.rollback("churn")


def test_a_champion_that_was_rolled_back_meanwhile_is_not_noted(
    settings: Settings, client: MlflowClient, two_versions: tuple[Registered, Registered]
) -> None:
    """The follower published it a moment ago: noted now, the next rollback would bring it back."""
    assert two_versions
    registry = Registry(settings)
    published = registry.current(clv.NAME)
    assert registry.rollback(clv.NAME) == "1"
    registry.note_champion(published)
    assert client.get_registered_model(clv.NAME).tags[HISTORY] == "1"

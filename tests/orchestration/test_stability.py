"""Tests of `orchestration.defs.stability`: a drift is seen, said, and answered with one training."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import mlflow.onnx
import msgspec
import numpy as np
import pandas as pd
import pytest

from models.linear import LinearModel
from models.registry import Registry
from models.stability import reference
from models.versions import CHAMPION, GATE_CHECKS, LABELS_UNTIL
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.model_set import FeatureSpec, Model
from nextbest.settings import Settings
from orchestration.defs.jobs import TRAINING
from orchestration.defs.resources import Workspace
from orchestration.defs.stability import CUSTOMERS, LABELS, drifted_models, specs, step
from orchestration.defs.training import model_key
from orchestration.unchanged import last_evaluation
from tests.feature_marts import apply, write_marts

pytestmark = [
    pytest.mark.integration,
    # MLflow's, of a type hint of its own, when it imports what logging a model needs.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
CUTOFFS = [pd.Timestamp(MONDAY) + timedelta(days=days) for days in (0, 91, 119)]


def spend(scale: float, seed: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"spend_91d": np.random.default_rng(seed).gamma(1.0, scale, 600)})


def register(settings: Settings, scale: float) -> str:
    """A judged version of clv that was trained for customers who spend so much, and expects them to spend as before."""
    mlflow.set_tracking_uri(settings.mlflow_uri)
    mlflow.set_registry_uri(settings.mlflow_uri)
    mlflow.set_experiment("clv")
    description = settings.home / "model.json"
    features = (FeatureSpec("spend_91d", "customer"),)
    described = Model(
        name="clv", version="", run_id="", file="clv.onnx", sha256="", features=features, output="value"
    )  # fmt: skip
    description.write_bytes(msgspec.json.encode(described))
    with mlflow.start_run():
        mlflow.log_text(msgspec.json.encode(reference(spend(scale), MONDAY)).decode(), "population.json")
        info = mlflow.onnx.log_model(
            LinearModel("sqrt", "square", np.ones(1), 0.0).to_onnx(),
            name="model",
            registered_model_name="clv",
            pip_requirements=["onnx"],
            save_as_external_data=False,
            extra_files=[str(description)],
        )
    version = str(info.registered_model_version)
    client(settings).set_model_version_tag("clv", version, GATE_CHECKS, "{}")
    return version


def client(settings: Settings) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(settings.mlflow_uri, settings.mlflow_uri)


@pytest.fixture
def drifting(home_of: Any, tmp_path: Path) -> Iterator[Settings]:
    """A home whose champion of clv was trained for customers who spend 20 USD, with marts that a test may write."""
    settings = Settings(home=tmp_path)
    Registry(settings)
    client(settings).set_registered_model_alias("clv", CHAMPION, register(settings, 20.0))
    with home_of(settings).environment():
        yield settings


def customers(settings: Settings, scale: float) -> None:
    """Publish a snapshot whose customers spend so much."""
    folder = settings.marts / f"snapshot={scale:g}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = spend(scale, seed=2).assign(customer_id=np.arange(600).astype(str), as_of=MONDAY)
    rows.to_parquet(folder / "customer_rfm.parquet")
    current = settings.marts / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(folder.name)


def features(settings: Settings) -> None:
    """Customers who spend differently, and each the same at every cut-off."""
    write_marts(settings, [str(number) for number in range(600)], CUTOFFS)
    mart = settings.marts / "current" / "customer_rfm.parquet"
    spent = np.repeat(spend(20.0)["spend_91d"].to_numpy(), len(CUTOFFS))
    pd.read_parquet(mart).assign(spend_91d=spent, spend_364d=4 * spent).to_parquet(mart)
    apply(settings)
    Door(settings.landing, settings.quarantine, load_contracts(settings.folder("contracts"))).prepare()


def labels(settings: Settings, cutoffs: int, factor: float = 1.0) -> None:
    """Write what came of the first cut-offs; of the last of them so many times what customers had spent before."""
    known = pd.read_parquet(settings.marts / "current" / "customer_rfm.parquet")
    rows = known[known["as_of"].isin(CUTOFFS[:cutoffs])].reset_index(drop=True)
    rows = rows[["customer_id", "as_of", "spend_91d"]].set_axis(
        ["customer_id", "cutoff_at", "spend_prior_91d"], axis="columns"
    )
    noise = np.random.default_rng(4).lognormal(0.0, 0.1, len(rows))
    times = np.where(rows["cutoff_at"] == CUTOFFS[cutoffs - 1], factor, 1.0) * noise
    rows.assign(spend_next_91d=rows["spend_prior_91d"] * times).to_parquet(
        settings.marts / "current" / "clv_labels.parquet"
    )


def checked(instance: dg.DagsterInstance, check: str = CUSTOMERS) -> dg.AssetCheckEvaluation | None:
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(model_key(name)) for name in ("propensity", "clv")],
        asset_checks=[step(specs(("propensity", "clv")))],
        jobs=[job],
        resources={"workspace": Workspace()},
        executor=dg.in_process_executor,
    )
    assert definitions.resolve_job_def("checks").execute_in_process(instance=instance).success
    return last_evaluation(instance, dg.AssetCheckKey(model_key("clv"), check))


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[Any, str | None]:
    context = dg.build_sensor_context(instance, cursor=cursor, resources={"workspace": Workspace()})
    return drifted_models(context), context.cursor


def said(evaluation: dg.AssetCheckEvaluation | None) -> tuple[bool, str]:
    assert evaluation is not None
    return evaluation.passed, str(evaluation.description)


def test_a_drift_is_seen_and_answered_with_one_training(drifting: Settings) -> None:
    """Of a model without a champion nothing is said; another snapshot that has drifted asks again."""
    with dg.DagsterInstance.ephemeral() as instance:
        customers(drifting, 20.0)
        passed, told = said(checked(instance))
        assert passed, told
        assert last_evaluation(instance, dg.AssetCheckKey(model_key("propensity"), CUSTOMERS)) is None
        assert isinstance(tick(instance)[0], dg.SkipReason)

        customers(drifting, 60.0)
        moved = checked(instance)
        assert moved is not None
        assert not moved.passed
        assert moved.severity == dg.AssetCheckSeverity.WARN
        assert "1 of 1 features are of another population than version 1 was trained for: spend_91d (PSI" in str(
            moved.description
        )
        assert "data:image/png;base64" in str(moved.metadata["distribution"].value)
        asked, cursor = tick(instance)
        assert isinstance(asked, dg.RunRequest)
        assert "spend_91d" in asked.tags["nextbest/why"]
        again, cursor = tick(instance, cursor)
        assert isinstance(again, dg.SkipReason)

        customers(drifting, 90.0)
        checked(instance)
        assert isinstance(tick(instance, cursor)[0], dg.RunRequest)
    assert drifted_models.job_name == TRAINING


def test_a_feature_that_is_gone_is_said_and_answered_with_one_training(drifting: Settings) -> None:
    """The champion would take its default for everybody, and nothing that is there has moved."""
    with dg.DagsterInstance.ephemeral() as instance:
        customers(drifting, 20.0)
        mart = drifting.marts / "current" / "customer_rfm.parquet"
        pd.read_parquet(mart).drop(columns="spend_91d").to_parquet(mart)
        passed, told = said(checked(instance))
        assert not passed
        assert told.startswith(
            "champion is version 1; no mart has spend_91d any more (1 features that the champion takes)"
        )
        assert isinstance(tick(instance)[0], dg.RunRequest)


def test_a_champion_that_a_training_left_in_its_place_has_been_asked_about(drifting: Settings) -> None:
    """The training that the drift started found nothing better, so that there is nothing left to start."""
    with dg.DagsterInstance.ephemeral() as instance:
        customers(drifting, 60.0)
        assert not said(checked(instance))[0]
        assert register(drifting, 60.0) == "2"
        found = checked(instance)
        passed, told = said(found)
        assert passed
        assert told.startswith("champion is version 1; 1 features of 600 customers are as they were when version 2 was")
        assert found is not None
        metadata = [found.metadata[name].value for name in ("champion", "compared with the training of")]
        assert metadata == ["1", "2"]
        assert isinstance(tick(instance)[0], dg.SkipReason)

        customers(drifting, 20.0)  # as they were when the champion was trained, and not as they were at last
        assert not said(checked(instance))[0]


def test_going_back_to_an_older_champion_starts_no_training(drifting: Settings) -> None:
    """Who did so knew of the newer one: another would only take its place again. One that no gate judged is not it."""
    with dg.DagsterInstance.ephemeral() as instance:
        customers(drifting, 60.0)
        registry = Registry(drifting)
        client(drifting).set_registered_model_alias("clv", CHAMPION, register(drifting, 60.0))
        client(drifting).delete_model_version_tag("clv", register(drifting, 20.0), GATE_CHECKS)
        client(drifting).set_registered_model_alias("clv", CHAMPION, "1")
        last = registry.last_judged("clv")
        assert last is not None
        assert last.version == "2"
        passed, told = said(checked(instance))
        assert passed, told
        assert told.startswith("champion is version 1; ")


@pytest.mark.filterwarnings("ignore:sqlglotrs is deprecated:DeprecationWarning")  # sqlglot's, which Feast brings
@pytest.mark.filterwarnings(r"ignore:fetch_arrow_table\(\) is deprecated:DeprecationWarning")  # ibis', likewise
def test_labels_that_come_after_the_champions_are_held_against_what_it_expects(drifting: Settings) -> None:
    """Nothing of a champion whose labels are not known; of later labels that are off, and the sensor answers."""
    features(drifting)
    with dg.DagsterInstance.ephemeral() as instance:
        labels(drifting, cutoffs=2)
        assert checked(instance, LABELS) is None

        client(drifting).set_model_version_tag("clv", "1", LABELS_UNTIL, CUTOFFS[1].isoformat())
        none = (True, "champion is version 1; labels of 0 customers after 2026-06-01 are too few to tell")
        assert said(checked(instance, LABELS)) == none

        labels(drifting, cutoffs=3)
        as_expected = (True, "champion is version 1; labels of 600 customers after 2026-06-01 are as expected")
        assert said(checked(instance, LABELS)) == as_expected

        labels(drifting, cutoffs=3, factor=2.0)
        off = checked(instance, LABELS)
        passed, told = said(off)
        assert not passed
        assert "absolute_bias is off by -0.4988 [" in told
        assert off is not None
        assert off.severity == dg.AssetCheckSeverity.WARN
        assert "absolute_bias" in str(off.metadata["labels"].value)
        asked, _ = tick(instance)
        assert isinstance(asked, dg.RunRequest)
        assert LABELS in asked.tags["nextbest/why"]


def test_only_models_that_have_labels_are_held_against_them() -> None:
    """Nobody says which segment is right; answers come to propensity."""
    found = {(spec.asset_key.path[-1], spec.name) for spec in specs(("segments", "churn", "propensity"))}
    assert ("segments", LABELS) not in found
    assert {("churn", LABELS), ("propensity", LABELS)} <= found

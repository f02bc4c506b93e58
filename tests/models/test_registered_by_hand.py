"""What somebody logs to a real MLflow store by hand serves nobody, and the follower says why."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import mlflow
import mlflow.onnx
import mlflow.sklearn
import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.models.model import ModelInfo

from models.candidate import Registered
from models.follower import TAG, Follower
from models.frames import TrainingSet
from models.linear import LinearModel
from models.recipes import clv
from models.versions import CHAMPION, GATE, GATE_SHA256
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.model_set import FeatureSpec, Model, Probe
from nextbest.settings import Settings

pytestmark = pytest.mark.integration


def registered(settings: Settings, log: Callable[[], ModelInfo]) -> str:
    """The number of a version of clv that somebody logs by hand, with tags as if a gate had let it through."""
    mlflow.set_tracking_uri(settings.mlflow_uri)
    mlflow.set_registry_uri(settings.mlflow_uri)
    mlflow.set_experiment(clv.NAME)
    with mlflow.start_run():
        number = str(log().registered_model_version)
    client = MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    folder = client.get_model_version_download_uri(clv.NAME, number)
    file = Path(mlflow.artifacts.download_artifacts(artifact_uri=folder, tracking_uri=settings.mlflow_uri))
    content = (file / "model.onnx").read_bytes() if (file / "model.onnx").exists() else b""
    client.set_model_version_tag(clv.NAME, number, GATE, "passed")
    client.set_model_version_tag(clv.NAME, number, GATE_SHA256, hashlib.sha256(content).hexdigest())
    return number


@dataclass(frozen=True, slots=True)
class Logged:
    """Ways to log what must not serve."""

    settings: Settings
    data: TrainingSet

    def pickle(self) -> ModelInfo:
        """A pickle that would leave a file behind, if anybody opened it."""
        info: ModelInfo = mlflow.sklearn.log_model(
            Poison(str(self.settings.home / "poisoned")),
            name="model",
            registered_model_name=clv.NAME,
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )
        return info

    def bare(self) -> ModelInfo:
        """An ONNX model without a description."""
        candidate = clv.build(self.data, None)
        info: ModelInfo = mlflow.onnx.log_model(
            onnx.load_model_from_string(candidate.onnx),
            name="model",
            registered_model_name=clv.NAME,
            pip_requirements=["onnx"],
            save_as_external_data=False,
        )
        return info

    def broken(self) -> ModelInfo:
        """One that says NaN of everybody."""
        weights = LinearModel("sqrt", "square", np.full(2, np.nan), 0.0)
        return self._described(weights, ("spend_91d", "recency_days"))

    def other(self) -> ModelInfo:
        """One that says something else than where it was trained."""
        weights = LinearModel("sqrt", "square", np.ones(2), 0.0)
        return self._described(weights, ("spend_91d", "recency_days"), probe=Probe(((1.0, 1.0),), (3.0,)))

    def unknown(self) -> ModelInfo:
        """One that takes a feature that there is not."""
        return self._described(LinearModel("sqrt", "square", np.ones(2), 0.0), ("spend_91d", "shoe_size"))

    def _described(self, fitted: LinearModel, names: Sequence[str], probe: Probe | None = None) -> ModelInfo:
        features = tuple(FeatureSpec(name, "customer") for name in names)
        model = Model(
            name=clv.NAME, version="", run_id="", file="clv.onnx", sha256="", features=features, output="value",
            probe=probe or Probe(((1.0, 1.0),), (4.0,)),
        )  # fmt: skip
        description = self.settings.home / "model.json"
        description.write_bytes(msgspec.json.encode(model))
        info: ModelInfo = mlflow.onnx.log_model(
            fitted.to_onnx(),
            name="model",
            registered_model_name=clv.NAME,
            pip_requirements=["onnx"],
            save_as_external_data=False,
            extra_files=[str(description)],
        )
        return info


class Poison:
    """What writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)

    def fit(self) -> None:
        """As an estimator has it."""

    def predict(self, rows: object) -> object:
        return rows


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("pickle", "refused: its flavour is sklearn: serving loads ONNX only"),
        ("bare", "refused: it was registered without extra_files/model.json"),
        ("broken", "refused: clv version 3: 1 scores are not finite"),
        ("other", "refused: clv version 3: says [4.0] of its probe, and said [3.0] before"),
        ("unknown", "refused: it takes features that no feature view has: shoe_size"),
    ],
)
def test_what_somebody_registers_by_hand_is_refused_in_words(
    *,
    settings: Settings,
    state: SqliteState,
    client: MlflowClient,
    two_versions: tuple[Registered, Registered],
    clv_data: TrainingSet,
    now: datetime,
    kind: str,
    why: str,
) -> None:
    """Another flavour, a pickle, NaN, other answers, an unknown feature: the champion of before goes on serving."""
    assert two_versions
    current = settings.marts / "current"
    current.mkdir(parents=True)
    columns = [*clv_data.frame.columns, "spend_91d", "recency_days"]
    pd.DataFrame(columns=list(dict.fromkeys(columns))).to_parquet(current / "customer_rfm.parquet")
    follower = Follower(settings, state)
    good = asyncio.run(follower.step(now))
    number = registered(settings, getattr(Logged(settings, clv_data), kind))
    client.set_registered_model_alias(clv.NAME, CHAMPION, number)
    assert asyncio.run(follower.step(now)) is None
    assert good is not None
    assert asyncio.run(state.current_model_set()) == good
    assert client.get_model_version(clv.NAME, number).tags[TAG].startswith(why)
    assert not (settings.home / "poisoned").exists()

"""Scoring with ONNX: the same answers as the model that was trained, and a clear refusal of everything else."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LinearRegression, LogisticRegression

from nextbest.adapters.bundles import write_bundle
from nextbest.adapters.onnx import OnnxModel, Scorer
from nextbest.model_set import FeatureSpec, Model, Probe, model_set
from nextbest.situation import ScoringError

RANDOM = np.random.default_rng(7)
ROWS = RANDOM.normal(size=(200, 3)).astype(np.float32)
CLASSIFIER = LogisticRegression().fit(ROWS, ROWS @ [1.0, -2.0, 0.5] + RANDOM.normal(size=200) > 0)
OTHER = LogisticRegression().fit(ROWS, ROWS @ [-1.0, 2.0, 0.5] + RANDOM.normal(size=200) > 0)
REGRESSOR = LinearRegression().fit(ROWS, ROWS @ [1.0, -2.0, 0.5] + 3.0)


def export(estimator: Any, name: str = "features", **options: Any) -> bytes:
    """The estimator as ONNX under the house's convention."""
    chosen = {type(estimator): options} if options else None
    exported = to_onnx(estimator, initial_types=[(name, FloatTensorType([None, ROWS.shape[1]]))], options=chosen)
    return bytes(exported.SerializeToString())


def describe(content: bytes, *, output: str = "probability", features: int = 3) -> Model:
    name = "propensity" if output == "probability" else "clv"
    return msgspec.convert(
        {
            "name": name,
            "version": "1",
            "run_id": "run",
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "features": [FeatureSpec(f"f{number}", "customer") for number in range(features)],
            "output": output,
        },
        Model,
        from_attributes=True,
    )


CLASSIFIER_ONNX = export(CLASSIFIER, zipmap=False)
REGRESSOR_ONNX = export(REGRESSOR)


def test_scores_as_trained(tmp_path: Path) -> None:
    """A bundle, loaded back, gives the estimators' own answers."""
    models = [describe(CLASSIFIER_ONNX), describe(REGRESSOR_ONNX, output="value")]
    made = model_set(models, datetime(2026, 1, 1, tzinfo=UTC))
    write_bundle(tmp_path, made, {"propensity.onnx": CLASSIFIER_ONNX, "clv.onnx": REGRESSOR_ONNX})
    scorer = Scorer.load(tmp_path, made.id)
    assert scorer.model_set == made
    assert scorer.score("propensity", ROWS) == pytest.approx(CLASSIFIER.predict_proba(ROWS)[:, 1], abs=1e-6)
    assert scorer.score("clv", ROWS) == pytest.approx(REGRESSOR.predict(ROWS), abs=1e-5)
    with pytest.raises(ScoringError, match="has no model uplift"):
        scorer.score("uplift", ROWS)


def test_a_shadow_is_loaded_beside_and_scores_by_itself(tmp_path: Path) -> None:
    """Two files of one name of model, each with its own answers."""
    acting, beside = describe(CLASSIFIER_ONNX), describe(export(OTHER, zipmap=False))
    beside = msgspec.structs.replace(beside, version="2", file="propensity.shadow.onnx")
    made = model_set([acting], datetime(2026, 1, 1, tzinfo=UTC), shadows=[beside])
    files = {"propensity.onnx": CLASSIFIER_ONNX, "propensity.shadow.onnx": export(OTHER, zipmap=False)}
    write_bundle(tmp_path, made, files)
    scorer = Scorer.load(tmp_path, made.id)
    assert scorer.score("propensity", ROWS) == pytest.approx(CLASSIFIER.predict_proba(ROWS)[:, 1], abs=1e-6)
    assert scorer.score_beside("propensity", ROWS) == pytest.approx(OTHER.predict_proba(ROWS)[:, 1], abs=1e-6)
    assert made.id != model_set([acting], datetime(2026, 1, 1, tzinfo=UTC)).id


def test_a_model_that_says_something_else_than_where_it_was_trained_is_found() -> None:
    """Another machine, another onnxruntime: the rows of its probe tell."""
    said = CLASSIFIER.predict_proba(ROWS[:3])[:, 1]
    model = msgspec.structs.replace(
        describe(CLASSIFIER_ONNX), probe=Probe(tuple(map(tuple, ROWS[:3].tolist())), tuple(said.tolist()))
    )
    OnnxModel(model, CLASSIFIER_ONNX).prove()
    with pytest.raises(ScoringError, match="of its probe"):
        OnnxModel(model, export(OTHER, zipmap=False)).prove()


@pytest.mark.parametrize(
    "probe",
    [Probe((), ()), Probe(((1.0,), (1.0, 2.0, 3.0)), (0.1, 0.2)), Probe(((1.0, 2.0, 3.0),) * 2, (0.1,))],
)
def test_a_probe_that_cannot_be_asked_is_a_scoring_error(probe: Probe) -> None:
    """Whoever wrote the description by hand reads what is wrong with it."""
    model = msgspec.structs.replace(describe(CLASSIFIER_ONNX), probe=probe)
    with pytest.raises(ScoringError, match="should have a score for each row of 3 features"):
        OnnxModel(model, CLASSIFIER_ONNX).prove()


def test_a_model_without_a_probe_must_score_somebody_unknown() -> None:
    """What is no number, or no probability, is found before the model serves."""
    OnnxModel(describe(CLASSIFIER_ONNX), CLASSIFIER_ONNX).prove()
    broken = export(LinearRegression().fit(ROWS, np.full(len(ROWS), 3.0)))
    session = onnx.load_model_from_string(broken)
    session.graph.node[-1].output[0] = session.graph.output[0].name = "probabilities"
    with pytest.raises(ScoringError, match="a probability is outside 0 to 1"):
        OnnxModel(describe(broken), session.SerializeToString()).prove()


def test_a_model_that_fails_is_a_scoring_error() -> None:
    """Whatever onnxruntime raises while it runs, the decision only has to know that there is no score."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["features", "features"], ["probabilities"])],
        "not_square",
        [onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [None, 3])],
        [onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, [None, 3])],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    with pytest.raises(ScoringError, match="propensity version 1: failed"):
        OnnxModel(describe(content), content).score(ROWS)


@pytest.mark.parametrize(
    ("content", "features", "complaint"),
    [
        (b"no model at all", 3, "not an ONNX model"),
        (CLASSIFIER_ONNX, 4, "4 features are declared"),
        (REGRESSOR_ONNX, 3, "not the input features and the output probabilities"),
        (export(CLASSIFIER, name="X", zipmap=False), 3, "has inputs .'X'."),
    ],
)
def test_refuses_what_is_not_as_declared(content: bytes, features: int, complaint: str) -> None:
    """Another input, output or width than declared is found when the model is loaded, not in a decision."""
    with pytest.raises(ScoringError, match=complaint):
        OnnxModel(describe(content, features=features), content)


def test_refuses_an_input_of_one_dimension() -> None:
    """A vector is no matrix, however wide it says it is."""
    shapes = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [None]) for n in ("features", "variable")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["features"], ["variable"])], "vector", shapes[:1], shapes[1:]
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    with pytest.raises(ScoringError, match="3 features are declared"):
        OnnxModel(describe(content, output="value"), content)


def test_refuses_another_width() -> None:
    """A matrix that is not the model's is named with its shape."""
    with pytest.raises(ScoringError, match=r"takes 3 features, got shape \(200, 2\)"):
        OnnxModel(describe(CLASSIFIER_ONNX), CLASSIFIER_ONNX).score(ROWS[:, :2])


def test_refuses_what_is_no_number() -> None:
    """A score that is not finite never becomes a priority."""
    rows = np.array([[np.nan, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=np.float32)
    with pytest.raises(ScoringError, match="1 scores are not finite"):
        OnnxModel(describe(REGRESSOR_ONNX, output="value"), REGRESSOR_ONNX).score(rows)

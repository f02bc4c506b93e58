"""The ONNX file says what the model says."""

import numpy as np
import pandas as pd
import pytest

from models.export import parity, score
from models.linear import LinearModel, Link, Shape
from nextbest.model_set import FeatureSpec, Model

NAMES = ("recency_days", "spend_91d", "share")


def declared(link: Link) -> Model:
    features = tuple(FeatureSpec(name, "customer") for name in NAMES)
    return Model(
        name="m",
        version="1",
        run_id="",
        file="m.onnx",
        sha256="",
        features=features,
        output="probability" if link == "logistic" else "value",
    )


@pytest.mark.parametrize(("shape", "link"), [("log1p", "logistic"), ("sqrt", "square")])
def test_the_file_agrees_with_the_model_over_the_whole_range(shape: Shape, link: Link) -> None:
    """From zero through `never` (9999 days) to large amounts, in float32 as in float64; below zero counts as zero."""
    random = np.random.default_rng(5)
    x = np.column_stack([random.choice([0.0, 3.0, 9999.0], 500), random.gamma(1, 2000, 500), random.random(500) - 0.1])
    model = LinearModel(shape, link, np.array([-0.3, 0.7, 4.0]), -1.0)
    frame = pd.DataFrame(x, columns=list(NAMES))
    answers = score(declared(link), model.to_onnx().SerializeToString(), frame)
    assert parity(answers, model, x) < 1e-5


def test_parity_notices_a_file_that_says_something_else() -> None:
    """Wrong by a hundredth is a hundredth, not a rounding error."""
    model = LinearModel("log1p", "logistic", np.array([0.1, 0.2, 0.3]), 0.0)
    x = np.ones((4, 3))
    assert parity(model.predict(x) + 0.01, model, x) == pytest.approx(0.01)

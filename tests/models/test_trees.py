"""Boosted trees: monotone where they must be, and the same in ONNX."""

import numpy as np
import pandas as pd
import pytest

from models.arrays import Array
from models.export import parity, score
from models.fitted import Fitted
from models.trees import Boosting, coarse, columns, fit_classifier, fit_regressor
from nextbest.model_set import FeatureSpec, Model

NAMES = ("price", "spend", "visits")
FEW = Boosting(rounds=40, least_rows=10)


def rows(count: int = 3_000) -> Array:
    x = np.random.default_rng(3).gamma(1.0, 20.0, (count, len(NAMES)))
    return x.astype(np.float32).astype(np.float64)


def scored(fitted: Fitted, x: Array) -> Array:
    features = tuple(FeatureSpec(name, "customer") for name in NAMES)
    model = Model(name="m", version="1", run_id="", file="m.onnx", sha256="", features=features, output=fitted.output)
    return score(model, fitted.to_onnx().SerializeToString(), pd.DataFrame(x, columns=list(NAMES)))


def test_the_file_of_a_classifier_says_what_its_trees_say_calibration_included() -> None:
    """Slope and intercept come after the trees, in both."""
    x = rows()
    target = np.where(x[:, 0] < 20.0, 0.7, 0.0)
    fitted = fit_classifier(x, target, FEW).recalibrated(0.8, -0.3)
    assert parity(scored(fitted, x), fitted, x) < 1e-6


def test_the_file_of_a_regressor_says_what_its_trees_say() -> None:
    """Amounts, relative where they are large."""
    x = rows()
    fitted = fit_regressor(x, 3 * x[:, 1] + x[:, 2], FEW)
    assert parity(scored(fitted, x), fitted, x) < 1e-5


@pytest.mark.parametrize("is_classifier", [True, False])
def test_the_file_puts_neighbours_in_single_precision_where_training_did(*, is_classifier: bool) -> None:
    """A split halfway between two numbers that have none between them, and no row on the wrong side of it."""
    x = np.zeros((3_000, 3))
    x[:, 0] = (np.float32(1.0) + np.arange(3_000, dtype=np.float32) // 20 * np.finfo(np.float32).eps).astype(float)
    target = np.where(np.arange(3_000) // 20 % 2, 0.9, 0.1)
    fitted = fit_classifier(x, target, FEW) if is_classifier else fit_regressor(x, target, FEW)
    assert parity(scored(fitted, x), fitted, x) < 1e-6


def test_a_price_never_makes_a_response_likelier_where_that_was_asked() -> None:
    """Not even where noise says so: every row, at every price."""
    random = np.random.default_rng(4)
    x = rows()
    noise = (random.random(len(x)) < 0.3).astype(np.float64)
    asked = fit_classifier(x, noise, FEW, monotone=columns(NAMES, {"price": -1}))
    free = fit_classifier(x, noise, FEW)
    prices = np.linspace(0, 200, 50)

    def rises(fitted: Fitted) -> bool:
        grid = np.repeat(x[:100], len(prices), axis=0)
        grid[:, 0] = np.tile(prices, 100)
        return bool((np.diff(fitted.predict(grid).reshape(100, -1), axis=1) > 1e-12).any())

    assert rises(free)
    assert not rises(asked)


def test_a_row_falls_where_its_rounded_twin_fell_in_training() -> None:
    """More numbers than bins, ties and a rare one: what trees have seen is on the same side of every split."""
    x = rows(5_000)
    x[:, 1] = np.round(x[:, 1])
    x[:, 2] = np.where(x[:, 2] > 90.0, 1.0, 0.0)
    rounded = coarse(x)
    assert [len(np.unique(column)) for column in rounded.T] <= [255, 255, 2]
    assert np.array_equal(rounded[:, 1:], x[:, 1:])
    assert np.abs(rounded[:, 0] - x[:, 0]).mean() < 0.01 * x[:, 0].mean()
    fitted = fit_classifier(x, np.where(x[:, 0] < 20.0, 0.7, 0.1), FEW)
    assert np.array_equal(fitted.predict(rounded), fitted.predict(x))


def test_a_row_of_half_a_success_counts_as_half_of_each() -> None:
    """Without anything to split on, the answer is the mean of the targets."""
    x = np.zeros((400, 3))
    target = np.concatenate([np.full(200, 0.5), np.zeros(200)])
    assert fit_classifier(x, target, FEW).predict(x[:1])[0] == pytest.approx(0.25, abs=1e-6)


def test_a_loss_with_a_link_is_refused() -> None:
    """The converter leaves the link out without a word."""
    with pytest.raises(ValueError, match="gamma"):
        fit_regressor(rows(), np.ones(3_000), loss="gamma")

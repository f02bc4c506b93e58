"""Pooled ridges against plain algebra, and against how the coefficients were drawn."""

import numpy as np
import pytest

from models.arrays import Array
from models.boosted import BoostedModel
from models.export import parity
from models.offers import Codes, indicators
from models.pooled import (
    Coefficients,
    Moments,
    Penalty,
    PooledModel,
    arm_moments,
    drawn_in,
    learned_penalty,
    scale_of,
    solve,
)
from models.trees import Boosting, fit_regressor
from nextbest.adapters.onnx import OnnxModel
from nextbest.model_set import FeatureSpec, Model

ARMS = 4


def rows(count: int, slopes: Array, noise: float = 1.0) -> tuple[Array, Codes, Array]:
    """Columns with a level, the arm, and what the arm's `slopes`, shape (arms, columns), make of them."""
    random = np.random.default_rng(8)
    z = np.column_stack([random.normal(size=(count, slopes.shape[1] - 1)), np.ones(count)])
    arm = random.integers(0, len(slopes), count)
    return z, arm, np.sum(z * slopes[arm], axis=1) + random.normal(0.0, noise, count)


def test_the_solution_is_that_of_the_regression_written_out() -> None:
    """A column per coefficient, shared and own, and a ridge on each."""
    z, arm, y = rows(300, np.random.default_rng(9).normal(size=(ARMS, 5)))
    penalty = Penalty(np.array([3.0, 3.0, 1.0, 3.0, 0.5]), np.array([20.0, 9.0, 20.0, 1.0, 7.0]))
    found = solve(arm_moments(z, arm, ARMS, y), ARMS, penalty)
    written = np.concatenate([z, *(z * (arm == each)[:, None] for each in range(ARMS))], axis=1)
    held = written.T @ written + np.diag(np.concatenate([penalty.shared, np.tile(penalty.own, ARMS)]))
    expected = np.linalg.solve(held, written.T @ y).reshape(1 + ARMS, -1)
    np.testing.assert_allclose(found.shared, expected[0], atol=1e-9)
    np.testing.assert_allclose(found.own, expected[1:], atol=1e-9)


def test_what_is_shared_what_is_own_and_what_is_nothing_is_told_apart() -> None:
    """By the penalties, which are the noise over the variance of what they hold."""
    random = np.random.default_rng(10)
    arms = 20
    slopes = np.column_stack([np.full(arms, 2.0), random.normal(0.0, 1.0, arms), np.zeros(arms), np.zeros(arms)])
    found = learned_penalty(arm_moments(*_of(rows(6_000, slopes, noise=2.0), arms)), arms)
    assert found.shared[0] == pytest.approx(2.0**2 / 2.0**2, rel=0.3)
    assert found.own[1] == pytest.approx(2.0**2 / np.var(slopes[:, 1]), rel=0.3)
    assert found.own[0] > 300
    assert min(found.shared[2], found.own[2]) > 300


def test_an_arm_without_rows_is_what_all_have_in_common() -> None:
    """And parts of the rows add up to all of them."""
    z, arm, y = rows(400, np.ones((ARMS, 3)))
    few = arm != 2
    moments = arm_moments(z[few], arm[few], ARMS, y[few])
    found = solve(moments, ARMS, learned_penalty(moments, ARMS))
    np.testing.assert_allclose(found.own[2], 0.0, atol=1e-9)
    halves = [arm_moments(z[half], arm[half], ARMS, y[half]) for half in (few, ~few)]
    whole = arm_moments(z, arm, ARMS, y)
    np.testing.assert_allclose((halves[0] + halves[1]).gram, whole.gram)
    np.testing.assert_allclose((whole - halves[1]).moment, halves[0].moment, atol=1e-9)
    assert isinstance(whole, Moments)


def test_the_file_says_what_the_model_says_trees_or_not() -> None:
    """Amounts of either sign, and rows of no arm at all."""
    random = np.random.default_rng(11)
    x = (random.normal(size=(500, 3)) * 100).astype(np.float32).astype(np.float64)
    told = np.column_stack([x, indicators(random.integers(0, ARMS + 1, 500), ARMS)])
    ridge = PooledModel(scale_of(x), Coefficients(random.normal(size=4), random.normal(size=(ARMS, 4))))
    trees = fit_regressor(x[:, [0, 2]], np.abs(x[:, 0]), Boosting(rounds=10))
    for fitted in (ridge, BoostedModel(ridge, trees, np.array([0, 2]))):
        features = tuple(FeatureSpec(f"x{number}", "customer") for number in range(told.shape[1]))
        model = Model(name="m", version="1", run_id="", file="m", sha256="", features=features, output="value")
        scored = OnnxModel(model, fitted.to_onnx().SerializeToString()).score(told.astype(np.float32))
        assert parity(scored, fitted, told) < 1e-5


def test_drawing_in_keeps_signs_and_order() -> None:
    """On both sides of 0."""
    x = np.array([-100.0, -1.0, 0.0, 1.0, 100.0])
    assert (np.diff(drawn_in(x)) > 0).all()
    np.testing.assert_allclose(drawn_in(-x), -drawn_in(x))


def _of(found: tuple[Array, Codes, Array], arms: int) -> tuple[Array, Codes, int, Array]:
    z, arm, y = found
    return z, arm, arms, y

"""The fits find a known truth."""

import numpy as np
import pytest

from models.linear import LinearModel, fit_logistic, fit_platt, fit_ridge, sigmoid

RANDOM = np.random.default_rng(3)
X = RANDOM.gamma(1.0, 50.0, (4000, 3))


def test_a_logistic_fit_recovers_the_weights_of_soft_labels() -> None:
    """Labels that are probabilities are as good as outcomes: the weights come out in the columns' own scale."""
    truth = LinearModel("log1p", "logistic", np.array([0.8, -0.5, 0.0]), -1.0)
    fitted = fit_logistic(X, truth.predict(X), inverse_penalty=1e4)
    assert fitted.weights == pytest.approx(truth.weights, abs=1e-2)
    assert fitted.bias == pytest.approx(truth.bias, abs=5e-2)


def test_a_weight_that_must_not_rise_is_none_where_the_data_say_it_does() -> None:
    """Then the best there is has no such column; where the data agree, the fit is as it was."""
    truth = LinearModel("log1p", "logistic", np.array([0.8, -0.5, 0.3]), -1.0).predict(X)
    free = fit_logistic(X, truth, inverse_penalty=1.0)
    held = fit_logistic(X, truth, inverse_penalty=1.0, monotone={0: -1, 1: -1, 2: 1})
    without = fit_logistic(X[:, 1:], truth, inverse_penalty=1.0)
    assert held.weights[0] == 0.0
    assert held.weights[1:] == pytest.approx(without.weights, abs=1e-4)
    assert held.bias == pytest.approx(without.bias, abs=1e-3)
    agreed = fit_logistic(X, truth, inverse_penalty=1.0, monotone={0: 1, 1: -1})
    assert agreed.weights.tolist() == free.weights.tolist()


def test_a_ridge_fit_predicts_amounts_that_are_never_negative() -> None:
    """The square root of spend is linear here, so it is found; far outside, nothing goes below zero."""
    truth = LinearModel("sqrt", "square", np.array([1.5, 0.0, 0.3]), 2.0)
    fitted = fit_ridge(X, truth.predict(X), penalty=1e-6)
    assert fitted.predict(X) == pytest.approx(truth.predict(X), rel=1e-3)
    assert (LinearModel("sqrt", "square", np.array([-1.0]), 0.0).predict(np.array([[9.0]])) == 0.0).all()


def test_platt_scaling_undoes_an_overconfident_score() -> None:
    """Scores twice too large and one too high come back as they were."""
    logit = RANDOM.normal(0, 1, 4000)
    slope, intercept = fit_platt(2 * logit + 1, sigmoid(logit))
    assert slope == pytest.approx(0.5, abs=1e-2)
    assert intercept == pytest.approx(-0.5, abs=1e-2)


def test_recalibration_is_part_of_the_model() -> None:
    """Slope and intercept change the score as if they were a second model behind it."""
    model = LinearModel("log1p", "logistic", np.array([0.8, -0.5, 0.1]), -1.0)
    assert model.recalibrated(0.5, 2.0).score(X) == pytest.approx(0.5 * model.score(X) + 2.0)

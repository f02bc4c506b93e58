"""Statistics against their textbook forms, intervals against what they must cover."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from models import evaluation
from models.arrays import Array
from models.evaluation import Statistic

RANDOM = np.random.default_rng(7)
SCORE = np.round(RANDOM.random(400), 2)  # rounded: with ties
REDEEMED = RANDOM.random(400) < SCORE
HOUSEHOLDS = RANDOM.integers(0, 120, 400).astype(str)


def value(statistic: Statistic, weights: Array | None = None) -> float:
    return float(statistic(np.ones((1, 400)) if weights is None else weights[None, :])[0])


def test_auc_is_scikit_learns_with_ties_and_weights() -> None:
    """The vectorized AUC is the one everybody knows, on resampled rows too."""
    statistic = evaluation.auc(REDEEMED, SCORE)
    weights = RANDOM.integers(0, 4, 400).astype(np.float64)
    assert value(statistic) == pytest.approx(roc_auc_score(REDEEMED, SCORE))
    assert value(statistic, weights) == pytest.approx(roc_auc_score(REDEEMED, SCORE, sample_weight=weights))


def test_spearman_is_the_rank_correlation_of_repeated_rows() -> None:
    """A weight of two is the row twice."""
    actual = RANDOM.gamma(1.0, 100.0, 400).round(-1)
    weights = RANDOM.integers(0, 4, 400)
    statistic = evaluation.spearman(actual, SCORE)
    repeated = pd.DataFrame({"actual": actual, "score": SCORE}).loc[np.repeat(np.arange(400), weights)]
    expected = repeated.rank().corr().iloc[0, 1]
    assert value(statistic, weights.astype(np.float64)) == pytest.approx(expected)


def test_error_reduction_is_the_part_of_the_error_that_is_gone() -> None:
    """Half the error is a reduction of one half."""
    actual = np.zeros(400)
    assert value(evaluation.error_reduction(actual, np.full(400, 1.0), np.full(400, 2.0))) == pytest.approx(0.5)


def test_a_model_against_itself_has_a_difference_of_exactly_zero() -> None:
    """Both sides of a comparison see the same resamples."""
    statistic = evaluation.auc(REDEEMED, SCORE)
    (interval,) = evaluation.bootstrap(HOUSEHOLDS, evaluation.difference(statistic, statistic))
    assert (interval.estimate, interval.low, interval.high) == (0.0, 0.0, 0.0)


def test_an_interval_covers_its_estimate_and_a_clear_gain_excludes_zero() -> None:
    """A good score against noise is better beyond doubt; and the seed makes it so every time."""
    good, noise = evaluation.auc(REDEEMED, SCORE), evaluation.auc(REDEEMED, RANDOM.random(400))
    first = evaluation.bootstrap(HOUSEHOLDS, good, evaluation.difference(good, noise))
    assert first == evaluation.bootstrap(HOUSEHOLDS, good, evaluation.difference(good, noise))
    assert all(interval.low <= interval.estimate <= interval.high for interval in first)
    assert first[1].low > 0


def test_households_are_resampled_whole() -> None:
    """Rows that repeat one household's answer add no certainty: the interval is as wide as without them."""
    statistic = evaluation.mean_absolute_error(np.zeros(400), SCORE)
    (alone,) = evaluation.bootstrap(np.arange(400).astype(str), statistic)
    thrice = evaluation.mean_absolute_error(np.zeros(1200), np.tile(SCORE, 3))
    (together,) = evaluation.bootstrap(np.tile(np.arange(400).astype(str), 3), thrice)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_what_is_likelier_is_better_and_the_impossible_costs_a_finite_amount() -> None:
    """In nats per row: log 2 over a coin where one is sure and right."""
    actual = np.array([1.0, 0.0, 1.0])
    everyone = np.ones((1, 3))
    gain = evaluation.likelihood_gain(actual, np.array([1.0, 0.0, 1.0]), np.full(3, 0.5))
    assert gain(everyone) == pytest.approx([np.log(2)])
    worst = evaluation.likelihood_gain(actual, np.array([1.0, 1.0, 1.0]), np.full(3, 0.5))
    assert np.isfinite(worst(everyone)).all()
    assert worst(everyone) < -5


def test_calibration_error_is_zero_for_the_truth_and_grows_with_the_bias() -> None:
    """Predicting each group's own rate is perfect; a constant offset is found as such."""
    outcome = np.tile([0.0, 1.0], 200)
    assert evaluation.calibration_error(outcome, np.full(400, 0.5)) == pytest.approx(0.0)
    assert evaluation.calibration_error(outcome, np.full(400, 0.7)) == pytest.approx(0.2)


def test_the_gain_curve_runs_from_nothing_to_everything() -> None:
    """Contacting nobody reaches nothing, everybody everything, the best first more than their part."""
    curve = evaluation.gain_curve(REDEEMED.astype(np.float64), SCORE)
    assert (curve[0], curve[-1]) == (0.0, pytest.approx(1.0))
    assert curve[200] > 0.5


def test_one_household_is_sure_of_nothing() -> None:
    """However many rows it has: the interval has no bounds, so no gate takes it for evidence."""
    [interval] = evaluation.bootstrap(np.full(50, "one"), evaluation.mean(np.arange(50.0)))
    assert interval.estimate == pytest.approx(24.5)
    assert np.isnan([interval.low, interval.high]).all()

"""Curves and policy values against known truths and invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.arrays import Array
from models.decision_log import decision_log
from models.doubly_robust import cross_fitted_outcomes, scores
from models.evaluation import Statistic, bootstrap, difference
from models.offers import offers
from models.plots import qini_figure
from models.uplift_evaluation import (
    Ranking,
    auuc,
    effect_calibration,
    nothing_to_anybody,
    one_to_everybody,
    proposals,
    qini,
    ranking,
    uplift_curve,
    value,
    value_by_normalized_weighting,
    value_by_weighting,
)
from tests.models.decisions import ACTION_FEATURES, ACTIONS, FEATURES, decisions

FOUND = decisions(5, 3_000, depends=True)
LOG = decision_log(FOUND.frame, ACTIONS)
OFFERED = offers(FOUND.frame, FEATURES, ACTION_FEATURES)
ROBUST = scores(LOG, cross_fitted_outcomes(LOG, OFFERED, LOG.folds(5, 0)).expected)
CUSTOMERS = LOG.customers.astype(str)
EVERY = np.arange(len(LOG))

gains = st.lists(st.tuples(st.integers(-5, 5), st.integers(-3, 3)), min_size=1, max_size=40)


def on_all(statistic: Statistic, rows: int) -> float:
    return float(statistic(np.ones((1, rows)))[0])


def ranked(pairs: list[tuple[int, int]]) -> Ranking:
    return Ranking(*np.array(pairs, dtype=np.float64).T)


def test_a_perfect_ranking_beats_a_random_one_beyond_doubt() -> None:
    """In Qini and in AUUC, on a log that shows one outcome of four; and the random one's Qini covers 0."""
    chance = np.random.default_rng(0).normal(size=FOUND.truth.shape)
    perfect, random = ranking(FOUND.truth, ROBUST), ranking(chance, ROBUST)
    statistics = (difference(of(perfect), of(random)) for of in (qini, auuc))
    by_qini, by_auuc, at_random = bootstrap(CUSTOMERS, *statistics, qini(random))
    assert by_qini.low > 0
    assert by_auuc.low > 0
    assert at_random.low < 0 < at_random.high


def test_intervals_cover_the_true_value_of_a_policy() -> None:
    """In about 95 of 100 logs, all three ways: none is biased, and none surer than it may be."""
    covered = np.zeros(3)
    for seed in range(100):
        few = decisions(1_000 + seed, 200, depends=True)
        log, proposed = decision_log(few.frame, ACTIONS), proposals(few.truth)
        of_wrong = scores(log, np.full(few.expected.shape, 5.0))
        statistics = (
            value_by_weighting(log, proposed),
            value_by_normalized_weighting(log, proposed),
            value(of_wrong, proposed),
        )
        true = few.expected[np.arange(len(log)), proposed].mean()
        covered += [each.low < true < each.high for each in bootstrap(log.customers.astype(str), *statistics)]
    assert ((covered > 87) & (covered <= 100)).all()


def test_doubly_robust_values_are_surer_than_weighted_ones() -> None:
    """What the outcome models explain is no noise any more."""
    proposed = proposals(FOUND.truth)
    robust, weighted = bootstrap(CUSTOMERS, value(ROBUST, proposed), value_by_weighting(LOG, proposed))
    assert robust.high - robust.low < 0.7 * (weighted.high - weighted.low)


def test_a_policy_gains_over_nothing_and_over_one_action_for_everybody() -> None:
    """In paired intervals, as gates ask for them."""
    best = value(ROBUST, proposals(FOUND.truth))
    others = (nothing_to_anybody(len(LOG)), one_to_everybody(ROBUST))
    for gain in bootstrap(CUSTOMERS, *(difference(best, value(ROBUST, other)) for other in others)):
        assert gain.low > 0


def test_nothing_to_anybody_is_worth_the_mean_outcome_of_nothing() -> None:
    """Where chance decided evenly, normalized weights are those of a plain mean."""
    even = decisions(6, 500)
    log = decision_log(even.frame, ACTIONS)
    statistic = value_by_normalized_weighting(log, nothing_to_anybody(len(log)))
    assert on_all(statistic, len(log)) == pytest.approx(log.outcome[log.arm == 0].mean())


@given(offset=st.floats(-100, 100))
def test_an_offset_of_the_outcome_moves_a_normalized_value_by_itself(offset: float) -> None:
    """Unlike that of plain weights, whose sum is not 1."""
    moved = decision_log(FOUND.frame.assign(outcome=LOG.outcome + offset), ACTIONS)
    proposed = proposals(FOUND.truth)
    here, there = (on_all(value_by_normalized_weighting(log, proposed), len(log)) for log in (LOG, moved))
    assert there == pytest.approx(here + offset, abs=1e-6)


@given(pairs=gains)
def test_only_the_order_of_scores_matters(pairs: list[tuple[int, int]]) -> None:
    """Qini and AUUC are the same under any rising function of the score."""
    plain = ranked(pairs)
    bent = Ranking(plain.gain, np.exp(plain.score) + plain.score)
    for statistic in (qini, auuc):
        assert on_all(statistic(bent), len(pairs)) == on_all(statistic(plain), len(pairs))


@given(pairs=gains, order=st.randoms())
def test_the_order_of_rows_does_not_matter(pairs: list[tuple[int, int]], order: object) -> None:
    """Nor does it within a tie."""
    shuffled = list(pairs)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert on_all(qini(ranked(shuffled)), len(pairs)) == pytest.approx(on_all(qini(ranked(pairs)), len(pairs)))


@given(pairs=gains)
def test_no_order_is_better_than_that_of_the_gains(pairs: list[tuple[int, int]]) -> None:
    """And one score for all is no order: its Qini is 0."""
    of = ranked(pairs)
    best = on_all(qini(Ranking(of.gain, of.gain)), len(pairs))
    assert on_all(qini(of), len(pairs)) <= best + 1e-9
    assert on_all(qini(Ranking(of.gain, np.zeros(len(pairs)))), len(pairs)) == pytest.approx(0.0, abs=1e-9)


@given(pairs=gains)
def test_the_areas_are_those_of_the_curve(pairs: list[tuple[int, int]]) -> None:
    """By the trapezoidal rule; and the curve ends at the mean gain."""
    of = ranked(pairs)
    curve = uplift_curve(of)
    area = np.trapezoid(curve, dx=1 / len(pairs))
    assert on_all(auuc(of), len(pairs)) == pytest.approx(area)
    assert on_all(qini(of), len(pairs)) == pytest.approx(area - curve[-1] / 2)
    assert curve[-1] == pytest.approx(of.gain.mean())


@settings(max_examples=20)
@given(weights=st.lists(st.integers(0, 3), min_size=40, max_size=40).filter(any))
def test_a_weight_of_two_is_the_row_twice(weights: list[int]) -> None:
    """Resamples are what they stand for."""
    of = Ranking(FOUND.truth[:40, 0], np.round(FOUND.truth[:40, 1], 1))
    rows = np.repeat(np.arange(40), weights)
    repeated = Ranking(of.gain[rows], of.score[rows])
    weighted = qini(of)(np.array([weights], dtype=np.float64))[0]
    assert weighted == pytest.approx(on_all(qini(repeated), len(rows)))


def test_proposals_are_the_best_action_above_its_cost() -> None:
    """And nothing where no action is worth it."""
    effects: Array = np.array([[1.0, 2.0], [-1.0, -2.0], [0.5, 0.4]])
    assert proposals(effects).tolist() == [2, 0, 1]
    assert proposals(effects, np.array([0.6, 1.8])).tolist() == [1, 0, 0]


def test_true_effects_are_calibrated_and_doubled_ones_are_not() -> None:
    """Mean predicted over mean doubly robust effect, by groups of pairs."""
    right, doubled = (effect_calibration(said, ROBUST) for said in (FOUND.truth, 2 * FOUND.truth))
    assert np.abs(right[:, 0] - right[:, 1]).max() < 0.4
    assert np.abs(doubled[:, 0] - doubled[:, 1]).max() > 1.0


def test_the_figure_has_a_curve_and_a_line_per_ranking() -> None:
    """Both from nothing to what treating everybody gains."""
    figure = qini_figure({"truth": ranking(FOUND.truth, ROBUST)}, "USD")
    curve, line = figure.axes[0].lines
    assert np.asarray(curve.get_ydata())[-1] == pytest.approx(np.asarray(line.get_ydata())[-1])

"""Doubly robust scores: right if either half is; and what models that have not seen a customer expect."""

from dataclasses import replace

import numpy as np
import pytest

from models.decision_log import DecisionLog, decision_log
from models.doubly_robust import cross_fitted_outcomes, scores
from models.evaluation import bootstrap
from models.offers import offers
from models.uplift_evaluation import value
from tests.models.decisions import ACTION_FEATURES, ACTIONS, FEATURES, decisions, without_pmf

DEPENDING = decisions(4, 6_000, depends=True)
LOG = decision_log(DEPENDING.frame, ACTIONS)


def without_probabilities() -> DecisionLog:
    """As if chance had decided evenly, which it had not."""
    return decision_log(without_pmf(DEPENDING.frame).assign(probability=0.25), ACTIONS)


@pytest.mark.parametrize("arm", range(4))
def test_a_wrong_outcome_model_is_made_good_by_right_probabilities(arm: int) -> None:
    """Its interval covers the true mean of every arm, which what was expected is far from."""
    wrong = np.full(DEPENDING.expected.shape, 20.0)
    everywhere = np.full(len(LOG), arm)
    [found] = bootstrap(LOG.customers.astype(str), value(scores(LOG, wrong), everywhere))
    assert found.low < DEPENDING.expected[:, arm].mean() < found.high


@pytest.mark.parametrize("arm", range(4))
def test_wrong_probabilities_are_made_good_by_a_right_outcome_model(arm: int) -> None:
    """Of the same arms, in the same rows."""
    log = without_probabilities()
    everywhere = np.full(len(log), arm)
    [found] = bootstrap(log.customers.astype(str), value(scores(log, DEPENDING.expected), everywhere))
    assert found.low < DEPENDING.expected[:, arm].mean() < found.high


def test_wrong_in_both_is_wrong() -> None:
    """So that the two tests above say something."""
    wrong = scores(without_probabilities(), np.full(DEPENDING.expected.shape, 20.0))
    error = (wrong - DEPENDING.expected).mean(axis=0) / (wrong.std(axis=0) / np.sqrt(len(LOG)))
    assert np.abs(error).max() > 6


def test_expectations_come_near_the_truth_for_unseen_customers() -> None:
    """Of every arm, the three that were not done included."""
    told = offers(DEPENDING.frame, FEATURES, ACTION_FEATURES)
    found = cross_fitted_outcomes(LOG, told, LOG.folds(5, 0))
    error = np.sqrt(np.mean((found.expected - DEPENDING.expected) ** 2, axis=0))
    assert (error < 0.35 * DEPENDING.expected.std(axis=0)).all()


def test_what_is_expected_of_a_customer_does_not_know_what_came() -> None:
    """All outcomes of a fold are turned round: that moves what is expected of it through the penalties alone."""
    told, fold = offers(DEPENDING.frame, FEATURES, ACTION_FEATURES), LOG.folds(5, 0)
    turned = replace(LOG, outcome=np.where(fold == 0, 10.0 - LOG.outcome, LOG.outcome))
    here, there = (cross_fitted_outcomes(log, told, fold).expected for log in (LOG, turned))
    moved = np.abs(there - here).mean(axis=1)
    assert moved[fold == 0].mean() < 0.3 * moved[fold != 0].mean()


def test_a_customer_is_in_one_fold() -> None:
    """With every row."""
    fold = LOG.folds(5, 0)
    assert all(len(np.unique(fold[LOG.customers == customer])) == 1 for customer in range(50))

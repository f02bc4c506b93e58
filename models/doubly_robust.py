"""What would have come of each arm, row by row: outcome models corrected by what was seen (AIPW).

Belongs here: the scores, and the cross-fitted outcome models under them. Does not belong here: a model of effects
(`models.uplift`), or policies (`models.uplift_evaluation`).

    score(arm) = m(x, arm) + 1{done = arm} * (outcome - m(x, arm)) / p(arm | x)

(Robins & Rotnitzky, 1995; Kennedy, 2023, equation 4). Its mean is that of the outcome under the arm if either the
outcome model m or the probability is right. With logged probabilities the latter is.
"""

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from models.arrays import Array
from models.boosted import BoostedModel
from models.decision_log import LEAST_PROBABILITY, DecisionLog
from models.fitted import Fitted
from models.offers import Codes, Offers, indicators
from models.pooled import Moments, PooledModel, Scale, arm_moments, learned_penalty, scale_of, solve
from models.trees import Boosting, fit_regressor

OUTCOME_TREES = Boosting(rounds=100, learning_rate=0.06, leaves=10, least_rows=60, l2=10.0)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What cross-fitted models expect of every arm, shape (rows, arms), and which kind of model it was."""

    expected: Array
    kind: str


def scores(log: DecisionLog, expected: Array, least: float = LEAST_PROBABILITY) -> Array:
    """Doubly robust scores, shape (rows, arms), of models' expectations of the same shape."""
    rows = np.arange(len(log))
    corrected = expected.copy()
    corrected[rows, log.arm] += log.weights(least) * (log.outcome - expected[rows, log.arm])
    return corrected


def cross_fitted_outcomes(log: DecisionLog, offers: Offers, fold: Codes, seed: int = 0) -> Outcomes:
    """What models that have not seen the customer expect of every arm.

    Two kinds are fitted, a pooled ridge and trees on what it leaves; the one that is nearer to the outcomes of unseen
    customers is taken. Nothing is an arm as the actions are. No model expects what never was. The ridge's penalties, a
    few numbers per column, are learned from all rows.
    """
    x = offers.pairs(np.arange(len(log)), log.arm)
    columns = np.arange(x.shape[1] + log.arms)
    told, scale = np.column_stack([x, indicators(log.arm, log.arms)]), scale_of(x)
    parts = [_moments(scale, x[rows], log, rows) for rows in map(np.flatnonzero, _members(fold))]
    whole = reduce(add, parts)
    penalty = learned_penalty(whole, log.arms)
    expected = {kind: np.empty((len(log), log.arms)) for kind in ("ridge", "trees")}
    for part, is_unseen in zip(parts, _members(fold), strict=True):
        seen, unseen = np.flatnonzero(~is_unseen), np.flatnonzero(is_unseen)
        ridge = PooledModel(scale, solve(whole - part, log.arms, penalty))
        rest = log.outcome[seen] - ridge.predict(told[seen])
        trees = BoostedModel(ridge, fit_regressor(told[seen], rest, replace(OUTCOME_TREES, seed=seed)), columns)
        expected["ridge"][unseen] = _of_every_arm(ridge, offers, unseen, log.arms)
        expected["trees"][unseen] = _of_every_arm(trees, offers, unseen, log.arms)
    bounds, rows = (log.outcome.min(), log.outcome.max()), np.arange(len(log))
    bounded = {kind: np.clip(each, *bounds) for kind, each in expected.items()}
    errors = {kind: float(np.mean((log.outcome - each[rows, log.arm]) ** 2)) for kind, each in bounded.items()}
    kind = min(errors, key=errors.__getitem__)
    return Outcomes(bounded[kind], kind)


def _members(fold: Codes) -> list[NDArray[np.bool_]]:
    return [fold == each for each in np.unique(fold)]


def _moments(scale: Scale, x: Array, log: DecisionLog, rows: Codes) -> Moments:
    return arm_moments(scale.columns(x), log.arm[rows], log.arms, log.outcome[rows])


def _of_every_arm(model: Fitted, offers: Offers, rows: Codes, arms: int) -> Array:
    expected = np.empty((len(rows), arms))
    for arm in range(arms):
        of = np.full(len(rows), arm)
        expected[:, arm] = model.predict(np.column_stack([offers.pairs(rows, of), indicators(of, arms)]))
    return expected

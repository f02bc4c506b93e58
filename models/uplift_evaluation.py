"""How good a model of effects is, on decisions it has not seen: its order, the policy it makes, its calibration.

Belongs here: statistics in the form of `models.evaluation`, so that `bootstrap` by customer gives paired intervals.
Does not belong here: the scores they are made from (`models.doubly_robust`), or figures (`models.plots`).

Order. Radcliffe (2007) and Gutierrez & Gerardy (2017) compare one treatment with none. With many, a customer is treated
with the action that the model proposes, and what that brings is its doubly robust score less that of nothing. Treating
the customers whose score is highest first gives the uplift curve: what has been gained, per customer of all, over the
part that has been treated. AUUC is the area under it. The Qini coefficient is the area between it and the straight line
to its end, which is what treating at random gives. Both are in the outcome's unit per customer and not divided by those
of a perfect order, which nobody knows of a real outcome; divided by it, Radcliffe's Q is the same comparison.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Array
from models.decision_log import LEAST_PROBABILITY, DecisionLog
from models.evaluation import Statistic, calibration_curve
from models.offers import NOTHING, Codes


@dataclass(frozen=True, slots=True)
class Ranking:
    """By row what the proposed action brings over nothing, as far as is known, and the score that orders the rows."""

    gain: Array
    score: Array


def proposals(effects: Array, cost: Array | float = 0.0) -> Codes:
    """The arm that is proposed to each row: of `effects`, shape (rows, actions), the best one above its cost, or none.

    `cost` is in the outcome's unit, one number or one per action.
    """
    net = effects - cost
    return np.where(net.max(axis=1) > 0, net.argmax(axis=1) + 1, NOTHING)


def ranking(effects: Array, scores: Array) -> Ranking:
    """The rows in the order of what the model expects, each with the action it holds best, even where that is harmful.

    `scores` are doubly robust (`models.doubly_robust`), shape (rows, arms).
    """
    best = effects.argmax(axis=1)
    return Ranking(scores[np.arange(len(scores)), best + 1] - scores[:, NOTHING], effects.max(axis=1))


def uplift_curve(ranked: Ranking) -> Array:
    """What has been gained, per row of all, when the best-scored rows were treated: shape (rows + 1,), from 0.

    Rows of one score are treated together: between the ends of a tie the curve is straight.
    """
    order, starts = _ties(ranked.score)
    sizes = np.diff(np.append(starts, len(order)))
    gained = np.repeat(np.add.reduceat(ranked.gain[order], starts) / sizes, sizes)
    return np.concatenate([[0.0], np.cumsum(gained)]) / len(order)


def auuc(ranked: Ranking) -> Statistic:
    """Area under the uplift curve."""
    return _area(ranked, above=0.0)


def qini(ranked: Ranking) -> Statistic:
    """The Qini coefficient: the area between the uplift curve and the line of treating at random."""
    return _area(ranked, above=1.0)


def _area(ranked: Ranking, above: float) -> Statistic:
    """The area under the curve, above so much of the straight line."""
    order, starts = _ties(ranked.score)
    gain = ranked.gain[order]

    def statistic(weights: Array) -> Array:
        sorted_weights = weights[:, order]
        total = sorted_weights.sum(axis=1)
        part = np.add.reduceat(sorted_weights, starts, axis=1) / total[:, None]
        gained = np.add.reduceat(sorted_weights * gain, starts, axis=1) / total[:, None]
        reached = np.cumsum(gained, axis=1)
        return np.asarray(np.sum(part * (reached - gained / 2.0), axis=1) - above * reached[:, -1] / 2.0)

    return statistic


def _ties(score: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.argsort(-score, kind="stable")
    return order, np.flatnonzero(np.concatenate([[True], np.diff(score[order]) < 0]))


def value_by_weighting(log: DecisionLog, proposed: Codes, least: float = LEAST_PROBABILITY) -> Statistic:
    """Mean outcome of a policy by inverse propensity scoring (IPS; Horvitz & Thompson, 1952)."""
    outcome = _agreeing(log, proposed, least) * log.outcome
    return _mean(outcome)


def value_by_normalized_weighting(log: DecisionLog, proposed: Codes, least: float = LEAST_PROBABILITY) -> Statistic:
    """The same with weights that sum to 1 (SNIPS; Swaminathan & Joachims, 2015): no offset of the outcome matters.

    Not a number in a resample in which the policy and the log never agree.
    """
    agreeing = _agreeing(log, proposed, least)
    outcome = agreeing * log.outcome

    def statistic(weights: Array) -> Array:
        total = weights @ agreeing
        return np.asarray(np.divide(weights @ outcome, total, out=np.full(len(weights), np.nan), where=total > 0))

    return statistic


def value(scores: Array, proposed: Codes) -> Statistic:
    """Mean outcome of a policy by doubly robust scores, shape (rows, arms) (Dudik, Langford & Li, 2011, equation 1)."""
    return _mean(scores[np.arange(len(scores)), proposed])


def _agreeing(log: DecisionLog, proposed: Codes, least: float) -> Array:
    return np.where(log.arm == proposed, log.weights(least), 0.0)


def _mean(values: Array) -> Statistic:
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def nothing_to_anybody(rows: int) -> Codes:
    """The policy that leaves everybody alone."""
    return np.full(rows, NOTHING)


def one_to_everybody(scores: Array) -> Codes:
    """The policy that does the same for everybody: the best single action of `scores`, of other rows than those judged.

    Nothing is not among them.
    """
    return np.full(len(scores), scores[:, 1:].mean(axis=0).argmax() + 1)


def effect_calibration(effects: Array, scores: Array, bins: int = 10) -> Array:
    """Mean predicted effect, mean doubly robust one and pairs, of `bins` groups of (row, action); shape (bins, 3)."""
    return calibration_curve((scores[:, 1:] - scores[:, [NOTHING]]).ravel(), effects.ravel(), bins)

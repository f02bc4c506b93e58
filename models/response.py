"""Response: how likely a yes is, by the family of models that scores unseen groups best; what every such model shares.

Belongs here: how a family is chosen, held to what must be monotone, and calibrated. Does not belong here: what a yes is
and in which rows (`models.propensity`, `models.engagement`), or the families themselves (`models.linear`,
`models.trees`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.model_selection import GroupKFold

from models.arrays import Array
from models.errors import TooLittleDataError
from models.fitted import Fitted
from models.inputs import MONOTONE, matrix
from models.linear import fit_logistic, fit_platt
from models.trees import Boosting, columns, fit_classifier
from nextbest.model_set import FeatureSpec

Family = Literal["logistic", "trees"]
Candidate = tuple[Family, float]
"""A family, and what of it is chosen: the inverse of the penalty, or the number of trees."""
Splits = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]

_LEAST_GROUPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order.
        monotone: By feature, 1 where the answer must not fall as it rises, -1 where it must not rise; features that the
            model does not take are passed over.
        inverse_penalties: Of the logistic model, of which one is chosen.
        rounds: Trees, of which number one is chosen.
        boosting: How they are grown, but for how many.
        folds: Of groups, that choose and calibrate.

    """

    features: Sequence[FeatureSpec]
    monotone: Mapping[str, int] = field(default_factory=lambda: MONOTONE)
    inverse_penalties: Sequence[float] = (0.01, 0.1, 1.0)
    rounds: Sequence[int] = (20, 40, 80)
    boosting: Boosting = field(default_factory=lambda: Boosting(learning_rate=0.2, leaves=8, l2=50.0))
    folds: int = 4


class Classifier(Fitted, Protocol):
    """A model of log odds."""

    def score(self, x: Array) -> Array:
        """The log odds of each row of `x`."""
        ...

    def recalibrated(self, slope: float, intercept: float) -> "Classifier":
        """The model whose score is `slope * score + intercept`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The model, and how it was chosen."""

    model: Classifier
    chosen: Mapping[str, object] = field(default_factory=dict)


def train(frame: pd.DataFrame, target: Array, params: Params) -> Response:
    """The model of P(yes), of rows whose yes is known with probability `target`.

    Each group is scored by models that have not seen it. Of the calibrated scores (Platt, 1999) those with the least
    log loss choose the family and its setting; weights or trees then come from all rows.

    Args:
        frame: The features, and `customer_id`. A row's group is its `campaign_id` where there is one, else its
            customer: what a campaign is like is known as little beforehand as what a new customer is like.
        target: In [0, 1], shape (rows,): a row is a yes of that weight, and a no of the rest.
        params: What is fitted.

    Raises:
        TooLittleDataError: there is one group, or a fold leaves no yes or no no to learn from.

    """
    x = matrix(frame, params.features)
    monotone = columns([feature.name for feature in params.features], params.monotone)
    unseen = _unseen_scores(x, target, _splits(frame, target, params.folds), monotone, params)
    calibrations = {candidate: _calibration(score, target) for candidate, score in unseen.items()}
    losses = {
        candidate: _loss(slope * unseen[candidate] + intercept, target)
        for candidate, (slope, intercept) in calibrations.items()
    }
    best = min(losses, key=losses.__getitem__)
    slope, intercept = calibrations[best]
    found = {
        "family": best[0],
        ("inverse_penalty" if best[0] == "logistic" else "rounds"): best[1],
        **{f"{family}_loss": min(losses[each] for each in losses if each[0] == family) for family, _ in losses},
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }
    return Response(model=_fit(best, x, target, monotone, params).recalibrated(slope, intercept), chosen=found)


def _fit(candidate: Candidate, x: Array, target: Array, monotone: Mapping[int, int], params: Params) -> Classifier:
    family, setting = candidate
    if family == "logistic":
        return fit_logistic(x, target, inverse_penalty=setting, monotone=monotone)
    return fit_classifier(x, target, replace(params.boosting, rounds=int(setting)), monotone=monotone)


def _unseen_scores(
    x: Array, target: Array, splits: Splits, monotone: Mapping[int, int], params: Params
) -> dict[Candidate, Array]:
    """By candidate the score of every row, from a model that has not seen the row's group."""
    logistic: list[Candidate] = [("logistic", penalty) for penalty in params.inverse_penalties]
    grown: list[Candidate] = [("trees", rounds) for rounds in params.rounds]
    scores = {candidate: np.empty(len(target)) for candidate in (*logistic, *grown)}
    most = replace(params.boosting, rounds=max(params.rounds))
    for seen, unseen in splits:
        for candidate in logistic:
            scores[candidate][unseen] = _fit(candidate, x[seen], target[seen], monotone, params).score(x[unseen])
        # One model has all the smaller ones in it.
        trees = fit_classifier(x[seen], target[seen], most, monotone=monotone)
        for rounds, score in trees.staged(x[unseen], params.rounds).items():
            scores["trees", rounds][unseen] = score
    return scores


def _splits(frame: pd.DataFrame, target: Array, folds: int) -> Splits:
    groups = _groups(frame)
    count = len(np.unique(groups))
    if count < _LEAST_GROUPS:
        raise TooLittleDataError(f"{len(frame)} rows of one campaign or customer: it takes two to choose a model")
    splits = list(GroupKFold(min(folds, count)).split(target, groups=groups))
    for seen, _ in splits:
        if not 0.0 < target[seen].sum() < len(seen):
            raise TooLittleDataError(
                f"{len(frame)} rows with {target.sum():.0f} responses: without some of the campaigns or customers "
                "nobody responds, or everybody: take a longer history"
            )
    return splits


def _groups(frame: pd.DataFrame) -> NDArray[np.str_]:
    groups = "customer " + frame["customer_id"].astype(str)
    if "campaign_id" in frame.columns:
        groups = groups.where(frame["campaign_id"].isna(), "campaign " + frame["campaign_id"].astype(str))
    return groups.to_numpy(dtype=str)


def _calibration(score: Array, target: Array) -> tuple[float, float]:
    """Slope and intercept; a slope below 0 would turn what is monotone round, and is no more than noise."""
    slope, intercept = fit_platt(score, target)
    return (slope, intercept) if slope > 0.0 else (0.0, float(logit(target.mean())))


def _loss(score: Array, target: Array) -> float:
    return float(np.mean(np.logaddexp(0.0, score) - target * score))

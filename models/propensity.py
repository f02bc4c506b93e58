"""Propensity: how likely a customer is to respond to an action when it is offered; one model for all actions.

Belongs here: the fit, how it is chosen and calibrated. Does not belong here: labels (`models.labels`), the features
(`models.inputs`), or which rows it is trained and measured on (`models.recipes.propensity`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from models.arrays import Array
from models.inputs import matrix
from models.labels import soft_labels
from models.linear import LinearModel, fit_logistic, fit_platt
from nextbest.model_set import FeatureSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order.
        inverse_penalties: Of which one is chosen.
        folds: Of campaigns, that choose and calibrate.

    """

    features: Sequence[FeatureSpec]
    inverse_penalties: Sequence[float] = (0.01, 0.1, 1.0)
    folds: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Propensity:
    """The model, and how it was chosen."""

    model: LinearModel
    chosen: Mapping[str, object] = field(default_factory=dict)


def train(frame: pd.DataFrame, params: Params) -> Propensity:
    """The model of rows of contact x offered action (`models.frames.assemble_propensity`).

    Each campaign is scored by a model that has not seen it. On these scores the penalty is chosen (log loss) and the
    calibration fitted (Platt); weights then come from all rows.
    """
    x, target = matrix(frame, params.features), soft_labels(frame)
    unseen = {penalty: _cross_scores(x, target, frame, penalty, params.folds) for penalty in params.inverse_penalties}
    losses = {penalty: _loss(score, target) for penalty, score in unseen.items()}
    chosen = min(losses, key=losses.__getitem__)
    slope, intercept = fit_platt(unseen[chosen], target)
    model = fit_logistic(x, target, inverse_penalty=chosen).recalibrated(slope, intercept)
    found = {"inverse_penalty": chosen, "calibration_slope": slope, "calibration_intercept": intercept}
    return Propensity(model=model, chosen=found)


def _cross_scores(x: Array, target: Array, frame: pd.DataFrame, inverse_penalty: float, folds: int) -> Array:
    campaigns = frame["campaign_id"].to_numpy(dtype=str)
    score = np.empty(len(target))
    for seen, unseen in GroupKFold(min(folds, len(np.unique(campaigns)))).split(x, groups=campaigns):
        score[unseen] = fit_logistic(x[seen], target[seen], inverse_penalty=inverse_penalty).score(x[unseen])
    return score


def _loss(logit: Array, target: Array) -> float:
    return float(np.mean(np.logaddexp(0.0, logit) - target * logit))

"""Customer lifetime value, its near part: what a customer spends in the next 91 days, in USD.

Belongs here: the fit and how it is chosen. Does not belong here: which rows it is trained and measured on
(`models.recipes.clv`), or scoring customers with the champion (`models.scoring`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from models.inputs import matrix
from models.linear import LinearModel, fit_ridge
from nextbest.model_set import FeatureSpec

FOLDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order.
        penalties: Of which one is chosen.
        folds: Of customers, that choose.

    """

    features: Sequence[FeatureSpec]
    penalties: Sequence[float] = (1.0, 10.0, 100.0)
    folds: int = FOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class LifetimeValue:
    """The model, and how it was chosen."""

    model: LinearModel
    chosen: Mapping[str, object] = field(default_factory=dict)


def train(frame: pd.DataFrame, params: Params) -> LifetimeValue:
    """The model of rows of customer x cut-off, its penalty chosen by the mean absolute error on unseen customers."""
    x, amount = matrix(frame, params.features), frame["spend_next_91d"].to_numpy(np.float64)
    customers = frame["customer_id"].to_numpy(dtype=str)

    def error(penalty: float) -> float:
        folds = GroupKFold(params.folds).split(x, groups=customers)
        errors = [
            np.abs(fit_ridge(x[seen], amount[seen], penalty=penalty).predict(x[unseen]) - amount[unseen])
            for seen, unseen in folds
        ]
        return float(np.mean(np.concatenate(errors)))

    chosen = min(params.penalties, key=error)
    return LifetimeValue(model=fit_ridge(x, amount, penalty=chosen), chosen={"penalty": chosen})

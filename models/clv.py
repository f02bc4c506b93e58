"""Customer lifetime value, its near part: what a customer spends within the horizon, in USD.

Belongs here: the candidates, and how one of them is chosen. Does not belong here: how each is fitted (`models.linear`,
`models.btyd`, `models.hurdle`), which rows it is trained and measured on (`models.recipes.clv`), or scoring customers
with the champion (`models.scoring`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from models import btyd, hurdle
from models.arrays import Array
from models.errors import TrainingDataError
from models.fitted import Fitted
from models.inputs import matrix
from models.linear import fit_ridge
from models.trees import Boosting
from nextbest.model_set import FeatureSpec

FOLDS = 4
BIAS = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order.
        horizon_days: The time ahead; the target is the column `spend_next_<horizon_days>d`.
        penalties: Of which one is chosen for the ridge regression.
        folds: Of customers, that choose the penalty.
        parts: Of customers, that choose the model: each is unseen once.
        boosting: How the hurdle model's trees are grown.
        bias: How far from the truth a candidate's sum may be, in parts of it, to be chosen by its error.

    """

    features: Sequence[FeatureSpec]
    horizon_days: int = 91
    penalties: Sequence[float] = (1.0, 10.0, 100.0)
    folds: int = FOLDS
    parts: int = 2
    boosting: Boosting = hurdle.SMALL
    bias: float = BIAS

    @property
    def target(self) -> str:
        return f"spend_next_{self.horizon_days}d"


@dataclass(frozen=True, slots=True, kw_only=True)
class LifetimeValue:
    """The model, and how it was chosen: its name, and each candidate's error and bias, or why it took no part."""

    model: Fitted
    chosen: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Judged:
    error: float
    bias: float


_Fit = Callable[[pd.DataFrame, Params], tuple[Fitted, Mapping[str, object]]]


def train(frame: pd.DataFrame, params: Params) -> LifetimeValue:
    """The best model of rows of customer x cut-off: `customer_id`, `cutoff_at`, the features and the target.

    Candidates are a ridge regression, a boosted hurdle model, and, where its columns are among the features, buy till
    you die. Each is fitted on a part of the customers and measured on the others, at the last cut-off; if there are
    cut-offs whose window had closed by then, it is fitted on these alone, so that what is measured is later for it.

    The one with the smallest mean absolute error is chosen, among those whose sum is at most `bias` from the truth's:
    that error alone is smallest for a median, which is 0 where most customers buy nothing, and a value that is weighed
    against costs has to be a mean. If all are further off, the error alone decides.
    """
    candidates: dict[str, _Fit] = {"ridge": _ridge, "hurdle": _hurdle}
    if btyd.has_spend(params.features):
        candidates["btyd"] = _btyd
    judged: dict[str, _Judged] = {}
    found: dict[str, object] = {}
    for name, fit in candidates.items():
        try:
            judged[name] = _judge(frame, params, fit)
        except TrainingDataError as error:
            found[f"{name}_took_no_part"] = str(error)
        else:
            found |= {f"{name}_error": judged[name].error, f"{name}_bias": judged[name].bias}
    fair = [name for name, each in judged.items() if abs(each.bias) <= params.bias]
    best = min(fair or judged, key=lambda name: judged[name].error)
    model, details = candidates[best](frame, params)
    return LifetimeValue(model=model, chosen={"model": best, **details, **found})


def _judge(frame: pd.DataFrame, params: Params, fit: _Fit) -> _Judged:
    customers = frame["customer_id"].to_numpy(dtype=str)
    last = frame["cutoff_at"].max()
    before = (frame["cutoff_at"] + pd.Timedelta(days=params.horizon_days) <= last).to_numpy()
    # A few customers with a history that long say nothing of the others.
    is_later = 2 * len(np.unique(customers[before])) >= len(np.unique(customers))
    everything = np.ones(len(frame), dtype=bool)
    learnt, measured = (before, (frame["cutoff_at"] == last).to_numpy()) if is_later else (everything, everything)
    actual: list[Array] = []
    said: list[Array] = []
    for seen, unseen in _folds(customers, params.parts):
        others = frame.iloc[unseen[measured[unseen]]]
        model, _ = fit(frame.iloc[seen[learnt[seen]]], params)
        said.append(model.predict(matrix(others, params.features)))
        actual.append(others[params.target].to_numpy(np.float64))
    spent, expected = np.concatenate(actual), np.concatenate(said)
    error = float(np.abs(expected - spent).mean())
    return _Judged(error=error, bias=float(expected.sum() / max(spent.sum(), 1e-12) - 1.0))


def _ridge(frame: pd.DataFrame, params: Params) -> tuple[Fitted, Mapping[str, object]]:
    """Its penalty is the one with the smallest mean absolute error on customers that were not seen."""
    x, amount = matrix(frame, params.features), frame[params.target].to_numpy(np.float64)
    folds = _folds(frame["customer_id"].to_numpy(dtype=str), params.folds)

    def error(penalty: float) -> float:
        errors = [
            np.abs(fit_ridge(x[seen], amount[seen], penalty=penalty).predict(x[unseen]) - amount[unseen])
            for seen, unseen in folds
        ]
        return float(np.mean(np.concatenate(errors)))

    chosen = min(params.penalties, key=error)
    return fit_ridge(x, amount, penalty=chosen), {"penalty": chosen}


def _hurdle(frame: pd.DataFrame, params: Params) -> tuple[Fitted, Mapping[str, object]]:
    how = hurdle.Params(features=params.features, target=params.target, boosting=params.boosting)
    return hurdle.train(frame, how), {}


def _btyd(frame: pd.DataFrame, params: Params) -> tuple[Fitted, Mapping[str, object]]:
    return btyd.train(frame, btyd.Params(features=params.features, horizon_days=params.horizon_days)), {}


def _folds(customers: NDArray[np.str_], folds: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    return list(GroupKFold(min(folds, len(np.unique(customers)))).split(customers, groups=customers))

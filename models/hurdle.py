"""A boosted hurdle model of an amount that is often 0: P(any) x E[amount | some].

Belongs here: fitting both parts, and the graph made of both. Does not belong here: the trees (`models.trees`), or which
amount it is (`models.clv`).

Amounts are learnt as square roots, so that the few big ones do not rule: by ridge regression, which goes on beyond what
was seen where trees stop (who spends most is the whole sum's larger part), and by trees of what it leaves. What the way
back loses is given back by one factor, the ratio of what was spent to what is said of rows that were not seen (the
ratio estimator of Snowdon, 1991, A ratio estimator for bias correction in logarithmic regressions, Canadian Journal of
Forest Research 21(5), 720-724): unlike a mean of residuals it makes the sum right, not each row's tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pandas as pd
from sklearn.model_selection import GroupKFold

from models.arrays import Array
from models.errors import TooLittleDataError
from models.graphs import Graph
from models.inputs import matrix
from models.linear import LinearModel, fit_platt, fit_ridge
from models.trees import Boosting, TreeClassifier, TreeRegressor, fit_classifier, fit_regressor
from nextbest.model_set import FeatureSpec, Output

LEAST_ROWS = 200
SMALL = Boosting(rounds=80, learning_rate=0.08, leaves=8, least_rows=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order.
        target: The column of the amount.
        boosting: How both parts' trees are grown.
        penalty: Of the ridge regression.
        folds: Of customers, that calibrate both parts.

    """

    features: Sequence[FeatureSpec]
    target: str = "spend_next_91d"
    boosting: Boosting = SMALL
    penalty: float = 10.0
    folds: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Hurdle:
    """E[amount] = P(any) x factor x max(line + rest, 0)^2, where some is spent."""

    any: TreeClassifier
    line: LinearModel
    rest: TreeRegressor
    factor: float
    output: Output = "value"

    def predict(self, x: Array) -> Array:
        """An amount per row of `x`, in the target's unit."""
        return self.any.predict(x) * self.factor * self.square(x)

    def square(self, x: Array) -> Array:
        """The square of the root that ridge and trees say."""
        return np.square(np.maximum(self.line.score(x) + self.rest.predict(x), 0.0))

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(self.any.trees.n_features_in_)
        probability = graph.add("Sigmoid", self.any.logit(graph))
        root = graph.add("Relu", graph.add("Add", self.line.linear(graph), self.rest.value(graph)))
        amount = graph.add("Mul", graph.add("Mul", root, root), self.factor)
        return graph.variable(graph.add("Mul", probability, amount))


def train(frame: pd.DataFrame, params: Params) -> Hurdle:
    """The model of rows of customers: `customer_id`, the features, and the target, an amount of 0 or more.

    Both parts are calibrated on customers they have not seen: P(any) by Platt's logistic curve, amounts by the factor.

    Raises:
        TooLittleDataError: fewer than `LEAST_ROWS` rows with an amount, or without one.

    """
    x, amount = matrix(frame, params.features), frame[params.target].to_numpy(np.float64)
    some = amount > 0.0
    for kind, rows in (("with", int(some.sum())), ("without", int((~some).sum()))):
        if rows < LEAST_ROWS:
            raise TooLittleDataError(f"{params.target}: {rows} rows {kind} an amount, it takes {LEAST_ROWS}")
    logit, square = np.empty(len(x)), np.empty(len(x))
    for seen, unseen in GroupKFold(params.folds).split(x, groups=frame["customer_id"].to_numpy(dtype=str)):
        part = _uncalibrated(x[seen], amount[seen], params)
        logit[unseen], square[unseen] = part.any.score(x[unseen]), part.square(x[unseen])
    slope, intercept = fit_platt(logit, some.astype(np.float64))
    whole = _uncalibrated(x, amount, params)
    factor = float(amount[some].sum() / max(float(square[some].sum()), 1e-12))
    return replace(whole, any=whole.any.recalibrated(slope, intercept), factor=factor)


def _uncalibrated(x: Array, amount: Array, params: Params) -> Hurdle:
    some = amount > 0.0
    line = fit_ridge(x[some], amount[some], penalty=params.penalty)
    return Hurdle(
        any=fit_classifier(x, some.astype(np.float64), params.boosting),
        line=line,
        rest=fit_regressor(x[some], np.sqrt(amount[some]) - line.score(x[some]), params.boosting),
        factor=1.0,
    )

"""Churn: how likely a customer is not to buy within the horizon, though nobody says when he leaves.

Belongs here: the candidates, their calibration, and how one is chosen. Does not belong here: how each is fitted
(`models.linear`, `models.trees`, `models.btyd`), or which rows it is trained and measured on.

Two views of a customer are weighed against each other: what a classifier makes of all features, and, where the columns
of `models.btyd` are among them, what BG/NBD makes of the purchases alone. It is right from the first customers on where
its assumptions hold, and their weights show where they do not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from models import beta_geometric_nodes, btyd
from models.arrays import Array
from models.btyd import Purchases
from models.doubles import Doubles
from models.errors import TooLittleDataError
from models.evaluation import log_loss
from models.graphs import Graph
from models.inputs import matrix
from models.linear import LinearModel, fit_logistic, sigmoid
from models.trees import Boosting, TreeClassifier, fit_classifier
from nextbest.model_set import FeatureSpec, Output

LEAST_CUSTOMERS = 100
_RARE = 1e-6
_SMALL = Boosting(rounds=80, learning_rate=0.08, leaves=8, least_rows=60)

Classifier = LinearModel | TreeClassifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        features: The columns of the frame that it takes, in order.
        horizon_days: The time without a purchase that `is_churned` tells.
        inverse_penalties: Of the logistic regressions that are tried.
        boosting: How the boosted classifier's trees are grown.
        folds: Of customers, that choose and calibrate.

    """

    features: Sequence[FeatureSpec]
    horizon_days: float = 91.0
    inverse_penalties: Sequence[float] = (0.01, 1.0)
    boosting: Boosting = _SMALL
    folds: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What BG/NBD says: the log odds of no purchase within the horizon."""

    purchases: Purchases
    horizon_days: float

    def score(self, x: Array) -> Array:
        """The log odds of each row of `x`, those of one in a million at most."""
        histories = self.purchases.histories(x)
        buys = self.purchases.model.probability_of_purchase(histories, self.horizon_days)
        buys = np.clip(buys, _RARE, 1.0 - _RARE)
        return np.log1p(-buys) - np.log(buys)

    def nodes(self, graph: Graph) -> str:
        """As `score`, a column."""
        doubles = Doubles(graph)
        buys = beta_geometric_nodes.probability_of_purchase(
            self.purchases.model, doubles, self.purchases.nodes(doubles), self.horizon_days
        )
        buys = doubles.add("Clip", buys, _RARE, 1.0 - _RARE)
        return doubles.narrowed(doubles.add("Log", doubles.add("Div", doubles.add("Sub", 1.0, buys), buys)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """P(no purchase) = sigmoid(classifier's log odds + weight x BG/NBD's), both as they were calibrated together."""

    classifier: Classifier
    quiet: Quiet | None
    weight: float
    width: int
    chosen: Mapping[str, object] = field(default_factory=dict)
    output: Output = "probability"

    def predict(self, x: Array) -> Array:
        """A probability per row of `x`."""
        score = self.classifier.score(x)
        return sigmoid(score if self.quiet is None else score + self.weight * self.quiet.score(x))

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(self.width)
        own = self.classifier
        logit = own.linear(graph) if isinstance(own, LinearModel) else own.logit(graph)
        if self.quiet is not None:
            logit = graph.add("Add", logit, graph.add("Mul", self.quiet.nodes(graph), self.weight))
        return graph.probabilities(logit)


def train(frame: pd.DataFrame, params: Params) -> Churn:
    """The model of rows of customer x cut-off: `customer_id`, `cutoff_at`, the features, and `is_churned`, 0 or 1.

    Each customer is scored by classifiers, and a BG/NBD, that have not seen him. On these scores each candidate is
    calibrated (Platt, 1999; with two slopes where BG/NBD takes part), and the one with the smallest log loss chosen.

    Raises:
        TooLittleDataError: fewer than `LEAST_CUSTOMERS` customers who churned, or who did not.

    """
    x, churned = matrix(frame, params.features), frame["is_churned"].to_numpy(np.float64)
    customers = frame["customer_id"].to_numpy(dtype=str)
    for kind, rows in (("churned", churned > 0.0), ("did not churn", churned < 1.0)):
        count = len(np.unique(customers[rows]))
        if count < LEAST_CUSTOMERS:
            raise TooLittleDataError(f"is_churned: {count} customers {kind}, it takes {LEAST_CUSTOMERS}")
    folds = list(GroupKFold(params.folds).split(x, groups=customers))
    quiet_scores = _quiet_scores(frame, x, params, folds)
    found: dict[str, object] = {}
    losses: dict[str, float] = {}
    weights: dict[str, Array] = {}
    fits = _candidates(params)
    for name, fit in fits.items():
        own = np.empty(len(x))
        for seen, unseen in folds:
            own[unseen] = fit(x[seen], churned[seen]).score(x[unseen])
        scores = own[:, None] if quiet_scores is None else np.column_stack([own, quiet_scores])
        weights[name] = _platt(scores, churned)
        losses[name] = log_loss(churned, sigmoid(scores @ weights[name][1:] + weights[name][0]))
        found[f"{name}_log_loss"] = losses[name]
    best = min(losses, key=losses.__getitem__)
    intercept, slope, *rest = (float(weight) for weight in weights[best])
    weight = rest[0] if rest else 0.0
    return Churn(
        classifier=fits[best](x, churned).recalibrated(slope, intercept),
        quiet=_quiet(frame, params) if rest else None,
        weight=weight,
        width=x.shape[1],
        chosen={"model": best, "slope": slope, "intercept": intercept, "btyd_weight": weight} | found,
    )


def _candidates(params: Params) -> dict[str, Callable[[Array, Array], Classifier]]:
    def logistic(penalty: float) -> Callable[[Array, Array], Classifier]:
        return lambda x, churned: fit_logistic(x, churned, inverse_penalty=penalty)

    linear = {f"logistic_{penalty:g}": logistic(penalty) for penalty in params.inverse_penalties}
    return {**linear, "boosted": lambda x, churned: fit_classifier(x, churned, params.boosting)}


def _quiet_scores(
    frame: pd.DataFrame, x: Array, params: Params, folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
) -> Array | None:
    if not btyd.has_history(params.features):
        return None
    scores = np.empty(len(x))
    try:
        for seen, unseen in folds:
            scores[unseen] = _quiet(frame.iloc[seen], params).score(x[unseen])
    except TooLittleDataError:  # too few who bought again: the classifier alone has to say it
        return None
    return scores


def _quiet(frame: pd.DataFrame, params: Params) -> Quiet:
    how = btyd.Params(features=params.features, horizon_days=params.horizon_days)
    return Quiet(purchases=btyd.train_purchases(frame, how), horizon_days=params.horizon_days)


def _platt(scores: Array, churned: Array) -> Array:
    """Intercept and slopes."""
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(scores, churned)
    return np.array([regression.intercept_[0], *regression.coef_[0]])

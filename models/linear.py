"""Generalized linear models: what nextbest fits, small enough to read and exact in float32.

Belongs here: fitting one, predicting with it in float64, the reference its ONNX graph is checked against, and that
graph. Does not belong here: what the columns mean (`models.inputs`), or how a fit is judged (`models.evaluation`).

Amounts and counts of a customer are heavy-tailed, so every column passes one concave function before it is weighted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx
from scipy.optimize import Bounds, minimize
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from models.arrays import Array
from models.graphs import FEATURES, Graph
from nextbest.model_set import Output

Shape = Literal["log1p", "sqrt"]
Link = Literal["logistic", "square"]

_SHAPES = {"log1p": np.log1p, "sqrt": np.sqrt}


@dataclass(frozen=True, slots=True)
class LinearModel:
    """`link(bias + shape(max(x, 0)) @ weights)`, standardization and calibration folded into bias and weights."""

    shape: Shape
    link: Link
    weights: Array
    bias: float

    @property
    def output(self) -> Output:
        return "probability" if self.link == "logistic" else "value"

    def score(self, x: Array) -> Array:
        """The linear predictor of each row of `x`: a logit, or the square root of an amount."""
        return shaped(x, self.shape) @ self.weights + self.bias

    def predict(self, x: Array) -> Array:
        """A probability, or an amount in the target's unit."""
        score = self.score(x)
        return sigmoid(score) if self.link == "logistic" else np.square(np.maximum(score, 0.0))

    def recalibrated(self, slope: float, intercept: float) -> "LinearModel":
        """The model whose score is `slope * score + intercept`."""
        return replace(self, weights=self.weights * slope, bias=self.bias * slope + intercept)

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(len(self.weights))
        if self.link == "logistic":
            return graph.probabilities(self.linear(graph))
        root = graph.add("Relu", self.linear(graph))
        return graph.variable(graph.add("Mul", root, root))

    def linear(self, graph: Graph) -> str:
        """Add the nodes that give the linear predictor, a column."""
        positive = graph.add("Relu", FEATURES)
        is_log = self.shape == "log1p"
        given = graph.add("Log", graph.add("Add", positive, 1.0)) if is_log else graph.add("Sqrt", positive)
        return graph.add("Add", graph.add("MatMul", given, self.weights[:, None].astype(np.float32)), self.bias)


def sigmoid(logit: Array) -> Array:
    """The logistic function, without overflow on either side."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit))


def shaped(x: Array, shape: Shape) -> Array:
    """Each number through the concave function `shape`, negative ones as 0."""
    return np.asarray(_SHAPES[shape](np.maximum(x, 0.0)))


def fit_logistic(
    x: Array, target: Array, *, inverse_penalty: float, monotone: Mapping[int, int] | None = None
) -> LinearModel:
    """Fit to `target`, probabilities in [0, 1]: a row is a success of that weight, and a failure of the rest.

    `monotone` by column: 1 where the answer must not fall as it rises, -1 where it must not rise.
    """
    scaler = StandardScaler().fit(shaped(x, "log1p"))
    z = scaler.transform(shaped(x, "log1p"))
    # Newton's method: with tens of columns it needs a few passes where lbfgs needs hundreds.
    regression = LogisticRegression(C=inverse_penalty, solver="newton-cholesky")
    rows, outcomes, counts = _as_weighted(z, target)
    regression.fit(rows, outcomes, sample_weight=counts)
    weights, bias = regression.coef_[0], float(regression.intercept_[0])
    if any(weights[column] * sign < 0 for column, sign in (monotone or {}).items()):
        weights, bias = _bounded(z, target, inverse_penalty, monotone or {}, np.append(weights, bias))
    return _unscaled("log1p", "logistic", scaler, weights, bias)


def fit_platt(score: Array, target: Array) -> tuple[float, float]:
    """Slope and intercept that calibrate `score` (Platt, 1999), fitted on rows the model has not seen."""
    rows, outcomes, counts = _as_weighted(score[:, None], target)
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(rows, outcomes, sample_weight=counts)
    return float(regression.coef_[0, 0]), float(regression.intercept_[0])


def fit_ridge(x: Array, amount: Array, *, penalty: float) -> LinearModel:
    """Fit to the square root of `amount`: closer to the median, and the few big spenders distort it less."""
    scaler = StandardScaler().fit(shaped(x, "sqrt"))
    ridge = Ridge(alpha=penalty).fit(scaler.transform(shaped(x, "sqrt")), np.sqrt(amount))
    return _unscaled("sqrt", "square", scaler, ridge.coef_, float(ridge.intercept_))


def _bounded(
    z: Array, target: Array, inverse_penalty: float, monotone: Mapping[int, int], free: Array
) -> tuple[Array, float]:
    """Weights and bias of the same penalized likelihood with the signs that `monotone` asks for.

    The likelihood is concave: where the optimum without bounds (`free`, the bias last) has a wrong sign, the one within
    them is at a bound, and L-BFGS-B (Byrd, Lu, Nocedal & Zhu, 1995) finds it from there.
    """
    sign = np.zeros(len(free))
    sign[list(monotone)] = list(monotone.values())
    bounds = Bounds(np.where(sign > 0, 0.0, -np.inf), np.where(sign < 0, 0.0, np.inf))

    def loss(b: Array) -> tuple[float, Array]:
        score = z @ b[:-1] + b[-1]
        surplus = sigmoid(score) - target
        slope = np.append(z.T @ surplus + b[:-1] / inverse_penalty, surplus.sum())
        penalty = b[:-1] @ b[:-1] / (2.0 * inverse_penalty)
        return float(np.sum(np.logaddexp(0.0, score) - target * score) + penalty) / len(z), slope / len(z)

    start = np.clip(free, bounds.lb, bounds.ub)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-7, "ftol": 1e-12})
    return found.x[:-1], float(found.x[-1])


def _as_weighted(x: Array, target: Array) -> tuple[Array, Array, Array]:
    rows = np.concatenate([np.flatnonzero(target < 1.0), np.flatnonzero(target > 0.0)])
    failures = int((target < 1.0).sum())
    outcomes = np.arange(len(rows)) >= failures
    return x[rows], outcomes.astype(np.float64), np.where(outcomes, target[rows], 1.0 - target[rows])


def _unscaled(shape: Shape, link: Link, scaler: StandardScaler, weights: Array, bias: float) -> LinearModel:
    raw = weights / scaler.scale_
    return LinearModel(shape, link, raw, bias - float(raw @ scaler.mean_))

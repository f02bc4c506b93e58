"""Ridge regressions of several arms (actions) that share strength: what all have in common, and what is each one's own.

Belongs here: fitting them from moments, predicting, and their ONNX graph. Does not belong here: what is regressed
(`models.outcomes`, `models.uplift`).

An arm's coefficients are `shared + own[arm]` (Gelman & Hill, 2007, chapter 13: varying slopes, partially pooled), under
`sum of weight * (y - z @ coefficients)^2 + penalties`. A penalty is the variance of the noise over that of the
coefficients it holds, so that it means the same for any number of rows. An arm without rows is what all have in common.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import numpy as np
import onnx
from scipy.linalg import block_diag
from scipy.linalg import solve as solve_positive

from models.arrays import Array
from models.graphs import FEATURES, Graph
from models.offers import Codes
from nextbest.model_set import Output


@dataclass(frozen=True, slots=True)
class Penalty:
    """On the slopes that are shared, on an arm's own ones, and on the arm's own level; the shared level has none."""

    shared: float
    own: float
    level: float

    def columns(self, width: int) -> tuple[Array, Array]:
        """Of the shared and of the own coefficient of each column; the last column is the level."""
        slopes = width - 1
        return np.array([self.shared] * slopes + [0.0]), np.array([self.own] * slopes + [self.level])


@dataclass(frozen=True, slots=True)
class Moments:
    """What least squares needs to know of rows, over arm after arm: they add up, and fall apart, as sets of rows do."""

    gram: Array
    """Shape (arms * columns, arms * columns)."""
    moment: Array
    """Shape (arms * columns,)."""

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.gram + other.gram, self.moment + other.moment)

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.gram - other.gram, self.moment - other.moment)

    def loss(self, coefficients: Array) -> float:
        """The sum of squared errors, less that of answering 0."""
        flat = coefficients.ravel()
        return float(flat @ self.gram @ flat - 2.0 * flat @ self.moment)


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Of the columns of `Scale`."""

    shared: Array
    own: Array

    @property
    def arms(self) -> Array:
        return np.asarray(self.shared + self.own)


@dataclass(frozen=True, slots=True)
class Scale:
    """From features to columns: heavy tails drawn in on both sides, standardized, and a 1 for the level."""

    mean: Array
    deviation: Array

    def columns(self, x: Array) -> Array:
        """Shape (rows, features + 1)."""
        return np.column_stack([(drawn_in(x) - self.mean) / self.deviation, np.ones(len(x))])


@dataclass(frozen=True)
class PooledModel:
    """A number per row of features and arms' indicators; without any indicator, what the arms have in common."""

    scale: Scale
    coefficients: Coefficients
    output: Output = "value"

    def predict(self, x: Array) -> Array:
        """In the target's unit."""
        z, arms = drawn_in(x[:, : self.width]), x[:, self.width :]
        shared, own = self._raw
        return np.asarray(z @ shared[:-1] + shared[-1] + np.sum((z @ own[:, :-1].T + own[:, -1]) * arms, axis=1))

    @property
    def width(self) -> int:
        return len(self.scale.mean)

    @property
    def columns(self) -> int:
        return self.width + len(self.coefficients.own)

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(self.columns)
        return graph.variable(self.value(graph))

    def value(self, graph: Graph) -> str:
        """Add the nodes that give the answer, a column."""
        columns = np.arange(self.columns, dtype=np.int64)
        features = graph.add("Gather", FEATURES, columns[: self.width], axis=1)
        arms = graph.add("Gather", FEATURES, columns[self.width :], axis=1)
        size = graph.add("Log", graph.add("Add", graph.add("Abs", features), 1.0))
        z = graph.add("Mul", graph.add("Sign", features), size)
        shared, own = (part.astype(np.float32) for part in self._raw)
        together = graph.add("Add", graph.add("MatMul", z, shared[:-1, None]), shared[-1:])
        each = graph.add("Add", graph.add("MatMul", z, own[:, :-1].T), own[:, -1])
        picked = graph.add("ReduceSum", graph.add("Mul", each, arms), np.array([1], dtype=np.int64), keepdims=1)
        return graph.add("Add", together, picked)

    @cached_property
    def _raw(self) -> tuple[Array, Array]:
        """Shared and own coefficients with the standardization folded in."""
        return self._unscaled(self.coefficients.shared[None, :])[0], self._unscaled(self.coefficients.own)

    def _unscaled(self, coefficients: Array) -> Array:
        slopes = coefficients[:, :-1] / self.scale.deviation
        return np.column_stack([slopes, coefficients[:, -1] - slopes @ self.scale.mean])


def drawn_in(x: Array) -> Array:
    """Each number's logarithm of 1 + its size, with its sign: amounts of a customer are heavy-tailed."""
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)))


def scale_of(x: Array) -> Scale:
    """That which standardizes `x`; a column without variance is left as it is."""
    z = drawn_in(x)
    deviation = z.std(axis=0)
    return Scale(z.mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0))  # noqa: PLR2004  # what rounding leaves


def solve(moments: Moments, arms: int, penalty: Penalty) -> Coefficients:
    """The coefficients of the least squares that `moments` sum up, and the penalties."""
    width = len(moments.moment) // arms
    shared, own = penalty.columns(width)
    # With the shared coefficients put in, the penalty couples the arms' coefficients of the same column.
    pull = own / (shared + arms * own)
    held = moments.gram.reshape(arms, width, arms, width).copy()
    for column in range(width):
        held[:, column, :, column] += own[column] * (np.eye(arms) - pull[column])
    fitted = solve_positive(held.reshape(arms * width, -1), moments.moment, assume_a="pos").reshape(arms, width)
    together = pull * fitted.sum(axis=0)
    return Coefficients(together, fitted - together)


def chosen_penalty(parts: Sequence[Moments], arms: int, penalties: Iterable[Penalty]) -> Penalty:
    """The penalty whose fits to all parts but one have the least error on that one."""
    whole = reduce(add, parts)
    return min(penalties, key=lambda each: sum(part.loss(solve(whole - part, arms, each).arms) for part in parts))


def arm_moments(z: Array, arm: Codes, arms: int, target: Array) -> Moments:
    """The moments of rows that belong to one arm each."""
    parts = [(z[arm == each], target[arm == each]) for each in range(arms)]
    return Moments(block_diag(*(rows.T @ rows for rows, _ in parts)), np.concatenate([x.T @ y for x, y in parts]))

"""Ridge regressions of several arms (actions) that share strength: what all have in common, and what is each one's own.

Belongs here: fitting them from moments, predicting, and their ONNX graph. Does not belong here: what is regressed
(`models.outcomes`, `models.uplift`).

An arm's coefficients are `shared + own[arm]` (Gelman & Hill, 2007, chapter 13: varying slopes, partially pooled), under
`sum of weight * (y - z @ coefficients)^2 + penalties`. A penalty is the variance of the noise over that of the
coefficients it holds, so that it means the same for any number of rows. An arm without rows is what all have in common.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import onnx
from scipy import linalg
from scipy.linalg import block_diag

from models.arrays import Array
from models.graphs import FEATURES, Graph
from models.offers import Codes
from nextbest.model_set import Output

_STEPS = 25
_LEAST, _MOST = 1e-3, 1e6  # penalties: next to none, and next to nothing left


@dataclass(frozen=True, slots=True)
class Penalty:
    """On the shared and on the arms' own coefficient of each column; the shared level, of the last column, has none."""

    shared: Array
    own: Array


@dataclass(frozen=True, slots=True)
class Moments:
    """What least squares needs to know of rows, over arm after arm: they add up, and fall apart, as sets of rows do."""

    gram: Array
    """Shape (arms * columns, arms * columns)."""
    moment: Array
    """Shape (arms * columns,)."""
    squares: float
    """The weighted sum of the targets' squares."""
    count: int
    """How many targets."""

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))


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
    shared, own = penalty.shared, penalty.own
    width = len(own)
    # With the shared coefficients put in, the penalty couples the arms' coefficients of the same column.
    pull = own / (shared + arms * own)
    held = moments.gram.reshape(arms, width, arms, width).copy()
    for column in range(width):
        held[:, column, :, column] += own[column] * (np.eye(arms) - pull[column])
    fitted = linalg.solve(held.reshape(arms * width, -1), moments.moment, assume_a="pos").reshape(arms, width)
    together = pull * fitted.sum(axis=0)
    return Coefficients(together, fitted - together)


def learned_penalty(moments: Moments, arms: int) -> Penalty:
    """The penalties under which the data are likeliest (type II maximum likelihood; MacKay, 1992, equation 4.14).

    Each column has a variance of its shared coefficient and one of the arms' own ones, so that what does not matter is
    left out, and what matters to all arms alike is shared. All are found together with the noise, by fixed-point steps.
    """
    width = len(moments.moment) // arms
    blocks = moments.gram.reshape(arms, width, arms, width)
    across = blocks.sum(axis=0).reshape(width, -1)
    gram = np.block([[blocks.sum(axis=(0, 2)), across], [across.T, moments.gram]])
    moment = np.concatenate([moments.moment.reshape(arms, width).sum(axis=0), moments.moment])
    penalty = np.full((2, width), 100.0)
    penalty[0, -1] = _LEAST
    for _ in range(_STEPS):
        each = np.concatenate([penalty[0], np.tile(penalty[1], arms)])
        covariance = linalg.inv(gram + np.diag(each))
        fitted = covariance @ moment
        determined = (1.0 - each * np.diag(covariance)).reshape(1 + arms, width)
        noise = (moments.squares - fitted @ moment) / max(moments.count - determined.sum(), 1.0)
        sizes = np.square(fitted).reshape(1 + arms, width)
        for kind, rows in enumerate((slice(0, 1), slice(1, None))):
            told, size = np.maximum(determined[rows].sum(axis=0), _LEAST), np.maximum(sizes[rows].sum(axis=0), 1e-12)
            penalty[kind] = np.clip(noise * told / size, _LEAST, _MOST)
        penalty[0, -1] = _LEAST
    return Penalty(penalty[0], penalty[1])


def arm_moments(z: Array, arm: Codes, arms: int, target: Array) -> Moments:
    """The moments of rows that belong to one arm each."""
    parts = [(z[arm == each], target[arm == each]) for each in range(arms)]
    moment = np.concatenate([rows.T @ of for rows, of in parts])
    return Moments(block_diag(*(rows.T @ rows for rows, _ in parts)), moment, float(target @ target), len(target))

"""Boosted trees: histogram gradient boosting as scikit-learn fits it, monotone where it must be.

Belongs here: fitting, and the ONNX graph of a fit. Does not belong here: what the columns mean (`models.inputs`), or
how a fit is judged (`models.evaluation`).

Rows come as `models.inputs.matrix` makes them, rounded to float32, so that a row falls on the same side of a split in
training and in serving. No column is categorical: the converter would get that silently wrong.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import onnx
from onnx import NodeProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from models.arrays import Array
from models.graphs import FEATURES, OPSETS, Graph
from models.linear import sigmoid
from nextbest.model_set import Output

Trees = TypeVar("Trees", HistGradientBoostingClassifier, HistGradientBoostingRegressor)

_BINS = 255  # as many as scikit-learn tells apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosting:
    """How trees are grown; the defaults are small trees, slowly added, that need many rows to split on.

    Attributes:
        rounds: Trees.
        learning_rate: What is added of each.
        leaves: Of a tree, at most.
        least_rows: In a leaf.
        l2: The penalty on a leaf's value.
        bins: Between which a column can be split; scikit-learn takes its time to find them where rows are weighted.
        seed: Of the columns that are looked at.

    """

    rounds: int = 150
    learning_rate: float = 0.06
    leaves: int = 12
    least_rows: int = 40
    l2: float = 1.0
    bins: int = 255
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TreeClassifier:
    """P(yes) = sigmoid(slope * trees + intercept)."""

    trees: HistGradientBoostingClassifier
    slope: float = 1.0
    intercept: float = 0.0
    output: Output = "probability"

    def score(self, x: Array) -> Array:
        """The log odds of each row of `x`."""
        return np.asarray(self.trees.decision_function(x) * self.slope + self.intercept)

    def staged(self, x: Array, rounds: Collection[int]) -> dict[int, Array]:
        """The log odds of each row of `x` after so many trees each, before any calibration."""
        stages = enumerate(self.trees.staged_decision_function(x), start=1)
        return {count: score.copy() for count, score in stages if count in rounds}

    def predict(self, x: Array) -> Array:
        """A probability per row of `x`."""
        return sigmoid(self.score(x))

    def recalibrated(self, slope: float, intercept: float) -> "TreeClassifier":
        """The model whose score is `slope * score + intercept`."""
        return replace(self, slope=self.slope * slope, intercept=self.intercept * slope + intercept)

    def to_onnx(self) -> onnx.ModelProto:
        graph = Graph(self.trees.n_features_in_)
        return graph.probabilities(self.logit(graph))

    def logit(self, graph: Graph) -> str:
        """Add the nodes that give the log odds, a column."""
        both = graph.add_as(_ensemble(self.trees, raw_scores=True), "probabilities", {FEATURES: FEATURES})
        raw = graph.add("Gather", both, np.array([1], dtype=np.int64), axis=1)
        return graph.add("Add", graph.add("Mul", raw, self.slope), self.intercept)


@dataclass(frozen=True, slots=True)
class TreeRegressor:
    """An amount per row, as the trees say it."""

    trees: HistGradientBoostingRegressor
    output: Output = "value"

    def predict(self, x: Array) -> Array:
        """An amount per row of `x`, in the target's unit."""
        return np.asarray(self.trees.predict(x))

    def to_onnx(self) -> onnx.ModelProto:
        graph = Graph(self.trees.n_features_in_)
        return graph.variable(self.value(graph))

    def value(self, graph: Graph, rows: str = FEATURES) -> str:
        """Add the node that gives the amount, a column, of `rows` that other nodes may have made."""
        return graph.add_as(_ensemble(self.trees), "variable", {FEATURES: rows})


def fit_classifier(
    x: Array,
    target: Array,
    how: Boosting | None = None,
    *,
    weight: Array | None = None,
    monotone: Mapping[int, int] | None = None,
) -> TreeClassifier:
    """Fit P(yes) to `target`, probabilities in [0, 1]: a row is a yes of that weight, and a no of the rest.

    Args:
        x: Shape (rows, features).
        target: Shape (rows,).
        how: The trees are grown.
        weight: Of each row; 1 where none is given.
        monotone: By column, 1 where the answer must not fall as it rises, -1 where it must not rise.

    """
    how = how or Boosting()
    trees = HistGradientBoostingClassifier(**_settings(how, x.shape[1], monotone))
    rows = np.concatenate([np.flatnonzero(target < 1.0), np.flatnonzero(target > 0.0)])
    is_yes = np.arange(len(rows)) >= int((target < 1.0).sum())
    counts = np.where(is_yes, target[rows], 1.0 - target[rows])
    trees.fit(coarse(x)[rows], is_yes, sample_weight=counts if weight is None else counts * weight[rows])
    return TreeClassifier(_singled(trees))


def fit_regressor(
    x: Array,
    target: Array,
    how: Boosting | None = None,
    *,
    weight: Array | None = None,
    monotone: Mapping[int, int] | None = None,
    loss: str = "squared_error",
) -> TreeRegressor:
    """Fit `target`, amounts in any unit; `weight` and `monotone` as in `fit_classifier`, `loss` is scikit-learn's.

    Raises:
        ValueError: a loss with a link (gamma, poisson): the converter would leave the link out.

    """
    if loss not in {"squared_error", "absolute_error"}:
        raise ValueError(f"loss {loss}: the trees' sum must be the answer itself")
    how = how or Boosting()
    trees = HistGradientBoostingRegressor(loss=loss, **_settings(how, x.shape[1], monotone))
    return TreeRegressor(_singled(trees.fit(coarse(x), target, sample_weight=weight)))


def coarse(x: Array) -> Array:
    """`x` with each number as the nearest of at most 255 of its column's, as many as the trees tell apart.

    With more of them and weights, scikit-learn sorts every column once per bin, which takes longer than the trees. It
    splits halfway between the numbers it sees, which is where rounding to the nearest parts the numbers there are: so
    training and prediction agree on which side a row is.
    """
    coarse = np.empty_like(x)
    for column in range(x.shape[1]):
        # Every value that is there, where they are few: quantiles would pass over the rare ones.
        values = np.unique(x[:, column])
        if len(values) > _BINS:
            shares = np.linspace(0.0, 1.0, _BINS)
            values = np.unique(np.quantile(x[:, column], shares, method="nearest"))
        halfway = (values[1:] + values[:-1]) / 2.0
        coarse[:, column] = values[np.searchsorted(halfway, x[:, column])]
    return coarse


def columns(names: Sequence[str], monotone: Mapping[str, int]) -> dict[int, int]:
    """`monotone` by the number of the column, of those that are among `names`."""
    return {number: monotone[name] for number, name in enumerate(names) if name in monotone}


def _singled(trees: Trees) -> Trees:
    """`trees`, each threshold the highest number in single precision that is not above it.

    A row in single precision is where it was. The converter would take the nearest such number, and a row that is equal
    to it, where it is above, would be on one side in training and on the other in serving.
    """
    for stage in trees._predictors:  # noqa: SLF001 -- scikit-learn has no other way to them, nor has the converter
        for tree in stage:
            exact = tree.nodes["num_threshold"]
            with np.errstate(over="ignore"):  # no threshold at all is 1e300
                single = exact.astype(np.float32)
            tree.nodes["num_threshold"] = np.where(single > exact, np.nextafter(single, np.float32(-np.inf)), single)
    return trees


def _settings(how: Boosting, width: int, monotone: Mapping[int, int] | None) -> dict[str, object]:
    return {
        "max_iter": how.rounds,
        "learning_rate": how.learning_rate,
        "max_leaf_nodes": how.leaves,
        "min_samples_leaf": how.least_rows,
        "l2_regularization": how.l2,
        "max_bins": how.bins,
        "random_state": how.seed,
        "early_stopping": False,
        "monotonic_cst": [(monotone or {}).get(column, 0) for column in range(width)],
    }


def _ensemble(trees: HistGradientBoostingClassifier | HistGradientBoostingRegressor, **options: bool) -> NodeProto:
    """The one node of the trees as skl2onnx writes them."""
    chosen = {id(trees): {"zipmap": False, **options}} if options else None
    initial = [(FEATURES, FloatTensorType([None, trees.n_features_in_]))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy's truth values, which it hands on as they are
        converted = convert_sklearn(trees, initial_types=initial, options=chosen, target_opset=OPSETS)
    [node] = converted.graph.node
    found: NodeProto = node
    return found

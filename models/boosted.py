"""Boosted trees on what a pooled ridge leaves: curves and thresholds of features where there are any, else the ridge.

Belongs here: the sum of the two, and its ONNX graph. Does not belong here: either alone (`models.pooled`,
`models.trees`), or what the trees are grown on.
"""

from dataclasses import dataclass

import onnx

from models.arrays import Array
from models.graphs import FEATURES, Graph
from models.offers import Codes
from models.pooled import PooledModel
from models.trees import TreeRegressor
from nextbest.model_set import Output


@dataclass(frozen=True, slots=True)
class BoostedModel:
    """`pooled + trees`, of which the trees see some of the columns."""

    pooled: PooledModel
    trees: TreeRegressor
    columns: Codes
    output: Output = "value"

    def predict(self, x: Array) -> Array:
        """In the target's unit."""
        return self.pooled.predict(x) + self.trees.predict(x[:, self.columns])

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        graph = Graph(self.pooled.columns)
        trees = self.trees.value(graph, graph.add("Gather", FEATURES, self.columns, axis=1))
        return graph.variable(graph.add("Add", self.pooled.value(graph), trees))

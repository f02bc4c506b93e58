"""The part of an ONNX graph that computes in float64, where float32 would lose what is left of a difference.

Belongs here: going over to float64 and back. Does not belong here: what is computed.
"""

from typing import Any

import numpy as np
from onnx import TensorProto

from models.arrays import Array
from models.graphs import FEATURES, Graph

Operand = str | float | Array
"""What another node gives, by name; a number; or an array."""


class Doubles:
    """Nodes of `graph` whose numbers are all float64."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def column(self, position: int) -> str:
        """A feature, a column; a negative one is 0."""
        taken = self._graph.add("Gather", FEATURES, np.array([position], dtype=np.int64), axis=1)
        return self._graph.add("Relu", self._graph.add("Cast", taken, to=TensorProto.DOUBLE))

    def add(self, operator: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        given = [each if isinstance(each, str) else np.asarray(each, dtype=np.float64) for each in operands]
        return self._graph.add(operator, *given, **attributes)

    def sums(self, rows: str) -> str:
        """The running sums along each row."""
        return self._graph.add("CumSum", rows, np.array(1, dtype=np.int64))

    def narrowed(self, value: str) -> str:
        """`value` in float32, as everything else of the graph."""
        return self._graph.add("Cast", value, to=TensorProto.FLOAT)

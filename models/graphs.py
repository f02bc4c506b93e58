"""ONNX graphs under the house's convention: float32 `features` in, `probabilities` (no, yes) or `variable` out.

Belongs here: putting a graph together node by node. Does not belong here: what a model computes (its own module), or
running a graph (`nextbest.adapters.onnx`).

A node is a line: that is shorter than a converter's options, and nothing is converted approximately without a word.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

FEATURES = "features"

OPSETS = {"": 17, "ai.onnx.ml": 3}
_IR_VERSION = 8

Value = str | float | npt.NDArray[Any]
"""What a node takes: what another one gives, by name, or a constant: a number in float32, an array as it is."""


class Graph:
    """Nodes in the order in which they were added, from `features` with so many columns."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: Value, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        name = f"n{len(self._nodes)}"
        given = [self._named(value) for value in inputs]
        self._nodes.append(helper.make_node(operator, given, [name], domain=domain, **attributes))
        return name

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """Keep an array under a name of its own, by which whoever reads the file finds it; returns the name."""
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def add_as(self, node: NodeProto, output: str, inputs: Mapping[str, str]) -> str:
        """Add a node that was made elsewhere; returns the name of that one of its outputs."""
        names = {each: f"n{len(self._nodes)}_{each}" for each in node.output}
        added = NodeProto()
        added.CopyFrom(node)
        added.ClearField("input")
        added.ClearField("output")
        added.input.extend(inputs[each] for each in node.input)
        added.output.extend(names.values())
        self._nodes.append(added)
        return names[output]

    def probabilities(self, logit: str) -> onnx.ModelProto:
        """The finished model, whose answer is the logistic function of a column of log odds."""
        yes = self.add("Sigmoid", logit)
        no = self.add("Sub", 1.0, yes)
        return self._finished(self.add("Concat", no, yes, axis=1), "probabilities", 2)

    def variable(self, value: str) -> onnx.ModelProto:
        """The finished model, whose answer is a column of values."""
        return self._finished(value, "variable", 1)

    def _finished(self, result: str, output: str, width: int) -> onnx.ModelProto:
        self._nodes.append(helper.make_node("Identity", [result], [output]))
        graph = helper.make_graph(
            self._nodes, "nextbest", [_tensor(FEATURES, self._columns)], [_tensor(output, width)], self._constants
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _named(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        kept = value if isinstance(value, np.ndarray) else np.asarray(value, dtype=np.float32)
        return self.constant(f"c{len(self._constants)}", kept)


def _tensor(name: str, width: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])

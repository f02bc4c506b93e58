"""From a fitted model to the ONNX file that serving runs, and the proof that both say the same.

Belongs here: the graph, and the comparison. Does not belong here: the registry (`models.registry`) or running a graph
(`nextbest.adapters.onnx`).

The graph is written node by node: five operators are shorter than a converter's options, and nothing is converted
approximately without a word.
"""

from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from models.arrays import Array
from models.inputs import matrix
from models.linear import LinearModel
from nextbest.adapters.onnx import OnnxModel
from nextbest.model_set import Model

_OPSET = 17
_IR_VERSION = 8
_SHAPES = {
    "log1p": [("Add", ["positive", "one"], "shifted"), ("Log", ["shifted"], "shaped")],
    "sqrt": [("Sqrt", ["positive"], "shaped")],
}
_LINKS = {
    "logistic": (
        [("Sigmoid", ["score"], "yes"), ("Sub", ["one", "yes"], "no"), ("Concat", ["no", "yes"], "probabilities")],
        ("probabilities", 2),
    ),
    "square": ([("Relu", ["score"], "root"), ("Mul", ["root", "root"], "variable")], ("variable", 1)),
}  # fmt: skip


_ATTRIBUTES: dict[str, dict[str, Any]] = {"Concat": {"axis": 1}}


def to_onnx(model: LinearModel) -> onnx.ModelProto:
    """`features` float32 [n, columns] -> `probabilities` [n, 2] (no, yes) or `variable` [n, 1]."""
    link, (output, width) = _LINKS[model.link]
    steps = [
        ("Relu", ["features"], "positive"),
        *_SHAPES[model.shape],
        ("MatMul", ["shaped", "weights"], "weighted"),
        ("Add", ["weighted", "bias"], "score"),
        *link,
    ]
    nodes = [helper.make_node(op, into, [out], **_ATTRIBUTES.get(op, {})) for op, into, out in steps]
    constants = {"one": [1.0], "bias": [model.bias], "weights": model.weights[:, None]}
    used = {name for _, into, _ in steps for name in into}
    graph = helper.make_graph(
        nodes,
        "nextbest",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(model.weights)])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, width])],
        [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in constants.items() if name in used],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(proto)
    return proto


def score(model: Model, content: bytes, frame: pd.DataFrame) -> Array:
    """What serving will compute from the ONNX file for rows of `frame` (`models.inputs.matrix`)."""
    return OnnxModel(model, content).score(matrix(frame, model.features).astype(np.float32))


def parity(scores: Array, model: LinearModel, x: Array) -> float:
    """The largest difference between `scores` and the model's own: absolute, but relative for amounts above 1."""
    expected = model.predict(x)
    scale = 1.0 if model.link == "logistic" else np.maximum(1.0, np.abs(expected))
    return float(np.max(np.abs(scores - expected) / scale, initial=0.0))

"""What a training returns: a function of a matrix, and the same function as the ONNX file that serving runs.

Belongs here: the protocol that registry, gates and benchmarks rely on. Does not belong here: any model.
"""

from typing import Protocol

import onnx

from models.arrays import Array
from nextbest.model_set import Output


class Fitted(Protocol):
    """A fitted model of rows of `models.inputs.matrix`."""

    @property
    def output(self) -> Output:
        """Whether it says probabilities or values."""
        ...

    def predict(self, x: Array) -> Array:
        """One number per row of `x`, shape (rows, features), computed in float64: what its export is held to."""
        ...

    def to_onnx(self) -> onnx.ModelProto:
        """The graph of `models.graphs`: `features` float32 (rows, features) to the house's output."""
        ...

"""The proof that the ONNX file that serving runs says what the fitted model says.

Belongs here: scoring a frame as serving will, and the comparison. Does not belong here: making a graph
(`models.graphs`), the registry (`models.registry`) or running a graph (`nextbest.adapters.onnx`).
"""

import numpy as np
import pandas as pd

from models.arrays import Array
from models.fitted import Fitted
from models.inputs import matrix
from nextbest.adapters.onnx import OnnxModel
from nextbest.model_set import Model


def score(model: Model, content: bytes, frame: pd.DataFrame) -> Array:
    """What serving will compute from the ONNX file for rows of `frame` (`models.inputs.matrix`)."""
    return OnnxModel(model, content).score(matrix(frame, model.features).astype(np.float32))


def parity(scores: Array, fitted: Fitted, x: Array) -> float:
    """The largest difference between `scores` and the model's own: absolute, but relative for amounts above 1."""
    expected = fitted.predict(x)
    scale = 1.0 if fitted.output == "probability" else np.maximum(1.0, np.abs(expected))
    return float(np.max(np.abs(scores - expected) / scale, initial=0.0))

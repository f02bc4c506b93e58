"""The proof that the ONNX file that serving runs says what the fitted model says, and soon enough.

Belongs here: scoring a frame as serving will, the comparison, and how long it takes. Does not belong here: making a
graph (`models.graphs`), the registry (`models.registry`) or running a graph (`nextbest.adapters.onnx`).
"""

import time

import numpy as np
import pandas as pd

from models.arrays import Array
from models.fitted import Fitted
from models.inputs import matrix
from nextbest.adapters.onnx import OnnxModel
from nextbest.model_set import Model

_TIMED_ROWS = 100
_TRIES = 50


def score(model: Model, content: bytes, frame: pd.DataFrame) -> Array:
    """What serving will compute from the ONNX file for rows of `frame` (`models.inputs.matrix`)."""
    return OnnxModel(model, content).score(matrix(frame, model.features).astype(np.float32))


def parity(scores: Array, fitted: Fitted, x: Array) -> float:
    """The largest difference between `scores` and the model's own: absolute, but relative for amounts above 1."""
    expected = fitted.predict(x)
    scale = 1.0 if fitted.output == "probability" else np.maximum(1.0, np.abs(expected))
    return float(np.max(np.abs(scores - expected) / scale, initial=0.0))


def latency_ms(model: Model, content: bytes) -> float:
    """Milliseconds that scoring a hundred rows takes: the least of many tries, which a busy machine changes least."""
    scorer = OnnxModel(model, content)
    rows = np.tile(np.array([feature.default for feature in model.features], dtype=np.float32), (_TIMED_ROWS, 1))
    tries = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        scorer.score(rows)
        tries.append(time.perf_counter() - began)
    return 1_000.0 * min(tries)

"""The array type of training: float64, where serving computes in float32 (`nextbest.features.Matrix`)."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

"""What every row of a mart of labels holds: nothing is missing, no number is out of bounds, every time has its zone.

Belongs here: what one row tells of itself. Does not belong here: whether there are rows enough, or of enough kinds (the
models and their recipes).

The warehouse tests its marts before it publishes them. A file that came another way would end in a library's own
words, deep in a fit, or teach a model what nobody did.
"""

from types import MappingProxyType

import numpy as np
import pandas as pd

from models.errors import TrainingDataError

_MAY_BE_MISSING = frozenset({"draw", "seen_at", "is_opened", "session_id"})
_MOST = 1e12  # in whatever currency: beyond it lies no customer, but a mistake
_BOUNDS = MappingProxyType(
    {
        "hour_of_day": (0, 23),
        "weekday": (1, 7),
        "probability": (0, 1),
        "spend_next_91d": (0, _MOST),
        "spend_prior_91d": (0, _MOST),
    }
)


def check(labels: pd.DataFrame, mart: str) -> None:
    """Find the rows that nothing may learn from.

    Raises:
        TrainingDataError: there are some; the message names the mart, the column and how many.

    """
    for name in map(str, labels.columns):
        column = labels[name]
        if name not in _MAY_BE_MISSING and column.isna().any():
            raise TrainingDataError(f"{mart}: {column.isna().sum()} of {len(labels)} rows hold no {name}")
        if name in _BOUNDS:
            low, high = _BOUNDS[name]
            outside = np.count_nonzero(~column.between(low, high))
            if outside:
                raise TrainingDataError(
                    f"{mart}: {outside} of {len(labels)} rows hold no {name} between {low:g} and {high:g}"
                )
        if pd.api.types.is_datetime64_dtype(column):
            raise TrainingDataError(f"{mart}: {name} has no time zone")

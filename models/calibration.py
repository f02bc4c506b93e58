"""Calibration in the large: what a model expected of labels in sum, beside what came of them.

Belongs here: the rows, and how far off they are, with an interval by customer. Does not belong here: which labels are
looked at (`models.stability`, the recipes), how far off is too far (their thresholds), or errors within bins
(`models.evaluation`).

The difference of two means is no more than the error within bins (`evaluation.calibration_error`), and unlike that no
greater by chance where there are few rows: where it is surely above a limit, the model is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from models import evaluation
from models.arrays import Array
from models.evaluation import UNTOLD, Interval
from nextbest.drift import LEAST_ROWS


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was expected of rows, and what came of them.

    Attributes:
        rows: `customer_id`, `at`, `predicted` and `actual`.
        is_share: How far off it is counts as a part of what came; else it is per row.

    """

    rows: pd.DataFrame
    is_share: bool = False

    def bias(self) -> Interval:
        """How much more was expected than came; of fewer than `LEAST_ROWS` customers nothing can be told.

        Resamples of a few of whom nobody did anything would be sure that nobody ever does.
        """
        rows = self.rows
        parts = pd.DataFrame(
            {"off": rows["predicted"] - rows["actual"], "whole": rows["actual"] if self.is_share else 1.0}
        )
        sums = parts.groupby(rows["customer_id"]).sum()
        if len(sums) < LEAST_ROWS:
            return UNTOLD
        off, whole = (sums[name].to_numpy(np.float64) for name in ("off", "whole"))

        def statistic(weights: Array) -> Array:
            return np.asarray(weights @ off / np.maximum(weights @ whole, 1e-12))

        [interval] = evaluation.bootstrap(sums.index.to_numpy(dtype=str), statistic)
        return interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What labels say of a model, by a measure of its calibration.

    Attributes:
        measure: Its name, as the gate limits it.
        rows: That were looked at.
        expected: Of a row, in mean.
        happened: Likewise.
        bias: How much more was expected, in the measure's unit.
        limit: The most that the measure may be.

    """

    measure: str
    rows: int
    expected: float
    happened: float
    bias: Interval
    limit: float

    @property
    def is_told(self) -> bool:
        """Whether there are customers enough."""
        return not math.isnan(self.bias.estimate)

    @property
    def is_off(self) -> bool:
        """Whether it is surely beyond the limit."""
        return self.bias.low > self.limit or self.bias.high < -self.limit


def labels(expectations: Mapping[str, Expectation], limits: Mapping[str, float], since: datetime) -> list[Labels]:
    """What the labels after `since` say, by each measure that has a limit and is told by labels."""
    return [
        _labels(measure, expectations[measure], limit, since)
        for measure, limit in limits.items()
        if measure in expectations
    ]


def _labels(measure: str, expectation: Expectation, limit: float, since: datetime) -> Labels:
    newer = expectation.rows[expectation.rows["at"] > since]
    return Labels(
        measure=measure,
        rows=len(newer),
        expected=float(newer["predicted"].mean()),
        happened=float(newer["actual"].mean()),
        bias=Expectation(newer, expectation.is_share).bias(),
        limit=limit,
    )

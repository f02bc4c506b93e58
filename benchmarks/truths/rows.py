"""What the benchmark of models says: one row per model, system and measure.

Belongs here: the row. Does not belong here: data, models or peers, which each family's module has.
"""

from typing import Literal

import msgspec

Role = Literal["nextbest", "baseline", "peer", "truth"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of one system on one data set.

    `low` and `high` are the ends of its 95 % interval, where it has one; `is_better` says which way: `higher`,
    `lower`, or `nearer` to the truth's row of the same model, data and measure.
    """

    model: str
    data: str
    system: str
    role: Role
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    is_better: Literal["higher", "lower", "nearer"]
    seconds: float | None = None

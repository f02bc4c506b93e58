"""Whether as many rows came as usual.

Belongs here: a day's rows against the same weekday of the weeks before, for a shop's Saturday is no Tuesday; and a
snapshot's against the last one's. Does not belong here: counting them, or how much is too much (`nextbest.contracts`).
"""

from collections.abc import Mapping
from datetime import date, timedelta
from statistics import median
from typing import Final

import msgspec

_WEEKS: Final = 8
_LEAST_WEEKS: Final = 4


class DayVolume(msgspec.Struct, frozen=True):
    """The rows of a day, and the median of the same weekday in the `weeks` before it that are known."""

    day: date
    rows: int
    usual: float
    weeks: int

    @property
    def deviation(self) -> float:
        """-0.5 for half of the usual, 1 for twice as many."""
        return deviation(self.rows, self.usual)


def last_day(rows: Mapping[date, int]) -> DayVolume | None:
    """The last complete day of the data against its weekday; a day within the data without rows has 0.

    A day is complete once something happened after it, and the first may have begun before the data: neither the newest
    nor the oldest day counts.

    Args:
        rows: by day in UTC.

    Returns:
        None with fewer than four weeks to compare with, or where the weekday usually has no row.

    """
    if not rows:
        return None
    first, day = min(rows), max(rows) - timedelta(days=1)
    before = [day - timedelta(weeks=weeks) for weeks in range(1, _WEEKS + 1)]
    known = [rows.get(each, 0) for each in before if each > first]
    usual = median(known) if len(known) >= _LEAST_WEEKS else 0
    return DayVolume(day, rows.get(day, 0), float(usual), len(known)) if usual else None


def deviation(rows: int, usual: float) -> float:
    """The share by which a number of rows differs from the usual one, which is above 0."""
    return rows / usual - 1

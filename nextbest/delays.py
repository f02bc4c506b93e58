"""How long answers take: what share of what they will add has come by an age.

Belongs here: counts of delays and their distribution. Does not belong here: which answers count (`nextbest.rewards`).

An answer counts for what it adds to its contact: a click that is worth a tenth, and that a redemption may follow, is a
tenth of an answer. Only answers are seen that took no longer than their contact is old: delays are truncated on the
right. Looked at backwards, the risk that a delay not above t is about t can be counted among those contacts alone that
are older than t, and the product of what is left of it is the share (Lynden-Bell, "A method of allowing for known
observational selection", MNRAS 155, 1971; Woodroofe, "Estimating a distribution function with truncated data", Annals
of Statistics 13, 1985; for reporting delays, Kalbfleisch and Lawless, JASA 84, 1989). The last bucket ends at the
policy's delay, by which everything has come that counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

ONE: Final = 1 << 24
"""1 in fixed point: fine enough for a probability of a thousandth, coarse enough for a hundred billion contacts."""
COHORTS: Final = 64
"""Into so many the delay is cut: of the ages of a cohort's contacts the mean and the spread are known."""
BUCKETS: Final = 32
SETTLED: Final = ""
"""The cohort of contacts that nothing more is heard of."""
_SPAN: Final = 65_536.0
"""The delay, in widths of the first bucket."""
_AT_ONCE: Final = 0.5
"""What is believed before any answer: half of them come at once, the others on whatever scale of time. So a rate is at
most doubled by what is not known of delays."""
_BELIEF: Final = 1.0
"""And that belief is worth so many of the best answers."""
_POINTS: Final = 64
SECOND: Final = 1_000_000
_MICROSECOND: Final = timedelta(microseconds=1)

Counts = Mapping[str, Sequence[int]]
"""By cohort, what answers added to its contacts, by bucket of their delay; in fixed point, the best is 1."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Cohorts and buckets of a delay, in microseconds."""

    delay: int

    @classmethod
    def of(cls, delay: timedelta) -> "Scale":
        """The scale of the delay that a policy gives answers."""
        return cls(delay // _MICROSECOND)

    @property
    def width(self) -> int:
        """Of a cohort."""
        return self.delay // COHORTS

    @property
    def edges(self) -> NDArray[np.float64]:
        """The ends of the buckets, shape (BUCKETS,)."""
        return np.asarray(self.delay * _SPAN ** (np.arange(BUCKETS) / (BUCKETS - 1) - 1.0))

    def cohort(self, seen: int) -> str:
        """Of a contact that was seen at this moment."""
        return str(seen // self.width)

    def bucket(self, took: int) -> int:
        """Of an answer that took so long."""
        return min(int(np.searchsorted(self.edges, took)), BUCKETS - 1)

    def age(self, cohort: str, now: int) -> int:
        """How long ago a cohort began; the settled one so long that the youngest in it is as old as answers can be."""
        return self.delay + self.width if cohort == SETTLED else now - int(cohort) * self.width


@dataclass(frozen=True, slots=True)
class Delays:
    """The share of answers that have come by an age: `shares` at the ends of the buckets, shape (BUCKETS,)."""

    scale: Scale
    shares: NDArray[np.float64]

    def mean_shares(self, ages: NDArray[np.float64], spreads: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of groups of contacts with these mean ages and standard deviations of age, each as if spread evenly."""
        evenly = np.sqrt(3.0) * (2.0 * (np.arange(_POINTS) + 0.5) / _POINTS - 1.0)
        each = ages[:, None] + spreads[:, None] * evenly
        return np.asarray(np.interp(each, self.scale.edges, self.shares).mean(axis=1))

    def quantile(self, share: float) -> timedelta:
        """The age by which so much has come, or less where the first bucket has more."""
        return float(np.interp(share, self.shares, self.scale.edges)) * _MICROSECOND


def delays(counts: Counts, scale: Scale, now: int) -> Delays:
    """What is known at `now` of how long answers take."""
    believed = _AT_ONCE + (1.0 - _AT_ONCE) * np.arange(BUCKETS) / (BUCKETS - 1)
    cohorts = [*counts]
    table = np.array([counts[each] for each in cohorts], dtype=np.float64).reshape(-1, BUCKETS) / ONE
    youngest = np.array([scale.age(each, now) - scale.width for each in cohorts], dtype=np.float64)
    is_old_enough = youngest[:, None] >= scale.edges - 1.0  # the last edge is the delay, up to rounding
    in_bucket = (table * is_old_enough).sum(axis=0)
    up_to_it = (table.cumsum(axis=1) * is_old_enough).sum(axis=0)
    risk = np.zeros(BUCKETS)
    risk[1:] = np.diff(believed) / believed[1:]
    risk[1:] = (in_bucket[1:] + _BELIEF * risk[1:]) / (up_to_it[1:] + _BELIEF)
    shares = np.ones(BUCKETS)
    shares[:-1] = np.cumprod(1.0 - risk[:0:-1])[::-1]
    return Delays(scale, shares)

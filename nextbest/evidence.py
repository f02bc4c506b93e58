"""Evidence: sums over contacts that were seen, and the statistics that they come to at a moment.

Belongs here: the sums, which commute to the last bit, and what their age makes of them. Does not belong here: which
contacts (`nextbest.rewards`), or what is believed after them (`nextbest.residual`).

Sums are whole numbers in fixed point: floats would depend on the order in which they are added. They are kept apart by
cohort, each with its contacts' mean age and spread, for a contact that was just seen has had no time to be answered:
with F the share of answers that have come by an age (`nextbest.delays`), p̂ of the model and x of the customer, the
answers of a cohort are expected to come to F Σ x p̂, and tell as much as F Σ p̂(1 - p̂) xxᵀ.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np

from nextbest.arbitration import Vector
from nextbest.delays import BUCKETS, ONE, SECOND, SETTLED, Counts, Delays, Scale
from nextbest.policy import Rewards
from nextbest.residual import Statistics
from nextbest.rewards import Contact, Pending


class Sums(msgspec.Struct, frozen=True, array_like=True):
    """Over contacts, in fixed point but for the counts.

    Attributes:
        seen: how many.
        at: of the seconds from the cohort's beginning until they were seen; of settled ones 0.
        at_squared: of the squares of these.
        answered: those with an answer that is worth more than none.
        x: of the customers' numbers, k of them.
        predicted: of x p̂.
        surplus: of x (reward - what a contact without an answer is worth), over those that are answered.
        weight: of p̂(1 - p̂) xxᵀ, its upper triangle row by row.

    """

    seen: int
    at: int
    at_squared: int
    answered: int
    x: tuple[int, ...]
    predicted: tuple[int, ...]
    surplus: tuple[int, ...]
    weight: tuple[int, ...]

    @classmethod
    def nothing(cls, size: int) -> "Sums":
        """Of no contact, for customers of whom there are so many numbers."""
        none = (0,) * size
        return cls(0, 0, 0, 0, none, none, none, (0,) * (size * (size + 1) // 2))

    @classmethod
    def of(cls, contact: Contact, default: float, at: int = 0) -> "Sums":
        """The sums of one contact, which was seen so many seconds after its cohort began."""
        x, p = contact.trial.x, contact.trial.p or 0.0
        surplus = 0.0 if contact.reward is None else contact.reward - default
        weight = p * (1.0 - p)
        return cls(
            seen=1,
            at=at,
            at_squared=at * at,
            answered=int(bool(contact.gains)),
            x=tuple(_fixed(each) for each in x),
            predicted=tuple(_fixed(each * p) for each in x),
            surplus=tuple(_fixed(each * surplus) for each in x),
            weight=tuple(_fixed(weight * a * b) for row, a in enumerate(x) for b in x[row:]),
        )

    def plus(self, other: "Sums", sign: int = 1) -> "Sums":
        """Both together, or without the other."""
        return Sums(
            self.seen + sign * other.seen,
            self.at + sign * other.at,
            self.at_squared + sign * other.at_squared,
            self.answered + sign * other.answered,
            _plus(self.x, other.x, sign),
            _plus(self.predicted, other.predicted, sign),
            _plus(self.surplus, other.surplus, sign),
            _plus(self.weight, other.weight, sign),
        )


Table = dict[str, Sums]
"""By cohort."""


class Additions:
    """What pending decisions add to the sums, or no longer add."""

    def __init__(self, rewards: Rewards) -> None:
        self._rewards = rewards
        self._scale = Scale.of(rewards.delay)
        self.tables: defaultdict[str, Table] = defaultdict(dict)
        self.delays: dict[str, list[int]] = {}
        self.unlearned: Counter[str] = Counter()

    def add(self, pending: Pending, sign: int, *, is_settled: bool = False) -> None:
        """Add what a decision's contacts come to, or with -1 take it out; settled ones are of no cohort any more."""
        for contact in pending.contacts(self._rewards):
            cohort = SETTLED if is_settled else self._scale.cohort(contact.seen)
            at = 0 if is_settled else self._scale.age(cohort, contact.seen) // SECOND
            table, size = self.tables[contact.trial.action], len(contact.trial.x)
            sums = Sums.of(contact, self._rewards.default, at)
            table[cohort] = table.get(cohort, Sums.nothing(size)).plus(sums, sign)
            for age, gain in contact.gains:
                row = self.delays.setdefault(cohort, [0] * BUCKETS)
                row[self._scale.bucket(age)] += sign * _fixed(gain)
        for why, count in pending.unlearned(self._rewards).items():
            self.unlearned[why] += sign * count


def summed(table: Table, other: Table) -> Table:
    """Two tables as one, without the cohorts of which nothing is left."""
    both = table | {cohort: table[cohort].plus(sums) if cohort in table else sums for cohort, sums in other.items()}
    return {cohort: sums for cohort, sums in both.items() if sums.seen}


def counted(counts: Counts, other: Counts) -> dict[str, list[int]]:
    """Two tables of delays as one, without the cohorts of which nothing is left."""
    none = [0] * BUCKETS
    both = {
        cohort: [a + b for a, b in zip(counts.get(cohort, none), other.get(cohort, none), strict=True)]
        for cohort in {**counts, **other}
    }
    return {cohort: row for cohort, row in both.items() if any(row)}


def statistics(table: Table, known: Delays, now: int, default: float) -> Statistics | None:
    """What an action's contacts say at `now`; none where there are none.

    Args:
        table: Their sums.
        known: Of how long answers take.
        now: In microseconds.
        default: What a contact without an answer is worth.

    """
    if not table:
        return None
    shares = _shares(table, known, now)

    def total(name: str, *, is_aged: bool) -> Vector:
        rows = np.array([getattr(sums, name) for sums in table.values()], dtype=np.float64)
        return np.asarray((shares if is_aged else np.ones(len(shares))) @ rows / ONE)

    x, weight = total("x", is_aged=True), total("weight", is_aged=True)
    size = len(x)
    information = np.zeros((size, size))
    information[np.triu_indices(size)] = weight
    return Statistics(
        seen=sum(sums.seen for sums in table.values()),
        answered=sum(sums.answered for sums in table.values()),
        observed=total("surplus", is_aged=False) + default * x,
        expected=total("predicted", is_aged=True),
        information=information + np.triu(information, 1).T,
        x=x,
    )


def _shares(table: Table, known: Delays, now: int) -> Vector:
    """By cohort, of what answers will add what has come: at the ages that its contacts have, not at the cohort's."""
    seen, at, squared = np.array([(e.seen, e.at, e.at_squared) for e in table.values()], dtype=np.float64).T
    begun = np.array([known.scale.age(cohort, now) for cohort in table], dtype=np.float64)
    spread = np.sqrt(np.maximum(squared / seen - (at / seen) ** 2, 0.0))
    return known.mean_shares(begun - SECOND * at / seen, SECOND * spread)


def _plus(these: Sequence[int], those: Sequence[int], sign: int) -> tuple[int, ...]:
    return tuple(a + sign * b for a, b in zip(these, those, strict=True))


def _fixed(number: float) -> int:
    return round(number * ONE)

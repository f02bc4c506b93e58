"""Logged decisions: what was done for whom, with what probability, and what came of it.

Belongs here: reading and checking the frame, and how far it supports a comparison (overlap). Does not belong here:
features (`models.offers`), or any estimate (`models.doubly_robust`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from models.arrays import Array
from models.errors import TooLittleDataError, TrainingDataError
from models.offers import NOTHING, Codes
from nextbest.records import DO_NOTHING

LEAST_PROBABILITY = 0.01

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """One row per decision; arms are nothing, then the actions in their order."""

    actions: tuple[str, ...]
    arm: Codes
    outcome: Array
    probability: Array
    """Of the arm that was selected, given the customer."""
    pmf: Array | None
    """Of every arm, shape (rows, arms), where it was logged."""
    customers: Codes

    def __len__(self) -> int:
        return len(self.arm)

    @property
    def arms(self) -> int:
        return 1 + len(self.actions)

    def weights(self, least: float = LEAST_PROBABILITY) -> Array:
        """1 / probability of what was selected, clipped: a probability below `least` counts as `least`."""
        return 1.0 / np.maximum(self.probability, least)

    def support(self, least: float = LEAST_PROBABILITY) -> Array:
        """The probability of every arm, shape (rows, arms), 0 where it cannot be compared with nothing.

        Pairs of which one was less likely than `least` are trimmed (Crump, Hotz, Imbens & Mitnik, 2009): there is next
        to nothing to compare. Where the whole pmf was not logged, the arms' shares of the rows stand in for it.
        """
        if self.pmf is None:
            return np.broadcast_to(np.bincount(self.arm, minlength=self.arms) / len(self), (len(self), self.arms))
        has_both = (self.pmf >= least) & (self.pmf[:, [NOTHING]] >= least)
        return np.where(has_both, self.pmf, 0.0)

    def folds(self, count: int, seed: int) -> Codes:
        """The fold of each row: a customer's rows share one.

        Raises:
            TooLittleDataError: fewer customers than folds.

        """
        customers = len(np.unique(self.customers))
        if customers < count:
            raise TooLittleDataError(f"decisions: {customers} customers are too few: cross-fitting takes {count}")
        fold = np.empty(len(self), dtype=np.intp)
        splitter = GroupKFold(count, shuffle=True, random_state=seed)
        for number, (_, rows) in enumerate(splitter.split(fold, groups=self.customers)):
            fold[rows] = number
        return fold


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the log supports comparisons.

    Attributes:
        smallest_probability: With which anything that was done was selected.
        clipped_rows: Rows that were selected with less than the least probability.
        trimmed_share: Of (customer, action) pairs, those that have no support.
        effective_rows: By arm, how many rows of equal weight its weighted rows are worth (Kish, 1965).

    """

    smallest_probability: float
    clipped_rows: int
    trimmed_share: float
    effective_rows: Mapping[str, float]


def overlap(log: DecisionLog, least: float = LEAST_PROBABILITY) -> Overlap:
    """What `log` supports."""
    weights = log.weights(least)
    sums, squares = (np.bincount(log.arm, weights=power, minlength=log.arms) for power in (weights, weights**2))
    worth = sums**2 / np.maximum(squares, _ROUNDING)
    return Overlap(
        smallest_probability=float(log.probability.min()),
        clipped_rows=int((log.probability < least).sum()),
        trimmed_share=float((log.support(least)[:, 1:] == 0).mean()),
        effective_rows=dict(zip((DO_NOTHING, *log.actions), worth.tolist(), strict=True)),
    )


def decision_log(frame: pd.DataFrame, actions: Sequence[str]) -> DecisionLog:
    """The decisions of `frame`: `customer_id`, `action` (or `do_nothing`), `probability` of it, and `outcome`.

    `probability__<action>` of every action and `probability__do_nothing` make the whole pmf, where all are there.

    Raises:
        TrainingDataError: an action that is not among `actions`, or an outcome that is not a number.
        TooLittleDataError: an arm never occurs, or a probability is not in (0, 1], or a pmf does not sum to 1 or says
            otherwise than `probability`.

    """
    arms = {name: arm for arm, name in enumerate((DO_NOTHING, *sorted(actions)))}
    names = frame["action"].astype(str)
    if unknown := sorted(set(names.unique()) - arms.keys()):
        raise TrainingDataError(f"decisions: {', '.join(unknown)}: nothing is known of these actions")
    arm = np.asarray(names.map(arms), dtype=np.intp)
    counts = np.bincount(arm, minlength=len(arms))
    if missing := [name for name, code in arms.items() if counts[code] == 0]:
        raise TooLittleDataError(f"decisions: {', '.join(missing)} never occurs: there is nothing to compare with")
    outcome, probability = (frame[name].to_numpy(dtype=np.float64) for name in ("outcome", "probability"))
    if not np.isfinite(outcome).all():
        raise TrainingDataError(f"decisions: {int((~np.isfinite(outcome)).sum())} rows have no outcome")
    if outside := int((~((probability > 0) & (probability <= 1))).sum()):
        raise TooLittleDataError(f"decisions: {outside} rows have a probability that is not in (0, 1]")
    _, customers = np.unique(frame["customer_id"].to_numpy(dtype=str), return_inverse=True)
    return DecisionLog(
        tuple(sorted(actions)), arm, outcome, probability, _pmf(frame, arms, arm, probability), customers
    )


def _pmf(frame: pd.DataFrame, arms: Mapping[str, int], arm: Codes, probability: Array) -> Array | None:
    columns = [f"probability__{name}" for name in arms]
    if not set(columns) <= set(frame.columns):
        return None
    pmf = frame[columns].to_numpy(dtype=np.float64)
    is_one = (pmf >= 0).all(axis=1) & (np.abs(pmf.sum(axis=1) - 1.0) < _ROUNDING)
    if wrong := int((~is_one).sum()):
        raise TooLittleDataError(f"decisions: in {wrong} rows the probabilities of all actions do not sum to 1")
    if wrong := int((np.abs(pmf[np.arange(len(arm)), arm] - probability) > _ROUNDING).sum()):
        raise TooLittleDataError(f"decisions: in {wrong} rows the pmf has another probability of what was done")
    return pmf

"""The online residual: what answers say that the batch model did not know, per action.

Belongs here: the additive statistics of answers and the normal posterior that follows from them. Does not belong here:
collecting them (State), or the batch model (`nextbest.scoring`).

The batch model gives log odds l. Their correction is xᵀb for at most 8 numbers x of the customer, the first of them 1,
with b normal around 0 beforehand. One Newton step from b = 0 (Laplace's approximation, as in Bishop, "Pattern
Recognition and Machine Learning", 2006, 4.4 and 4.5.1) gives b the precision Λ = prior + XᵀWX and the mean
Λ⁻¹ Xᵀ(y - p̂), where W holds p̂(1 - p̂). Both are sums over answers: their order does not matter.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from nextbest.arbitration import Vector
from nextbest.policy import Action, LearningFeature, Policy
from nextbest.records import Attribute
from nextbest.situation import Models, known_actions

_REACH = 3.0


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the answers to one action under one model set.

    Attributes:
        information: XᵀWX, row by row, shape (k, k).
        gradient: Xᵀ(y - p̂), shape (k,).
        answers: How many.

    """

    information: tuple[tuple[float, ...], ...]
    gradient: tuple[float, ...]
    answers: int

    def __add__(self, other: "Statistics") -> "Statistics":
        rows = zip(self.information, other.information, strict=True)
        return Statistics(
            information=tuple(tuple(a + b for a, b in zip(*pair, strict=True)) for pair in rows),
            gradient=tuple(a + b for a, b in zip(self.gradient, other.gradient, strict=True)),
            answers=self.answers + other.answers,
        )


def statistics(x: Sequence[float], predicted: float, *, responded: bool) -> Statistics:
    """The statistics of one answer: the customer's numbers `x`, the probability the batch model gave, and what came."""
    weight, surprise = predicted * (1.0 - predicted), float(responded) - predicted
    return Statistics(
        information=tuple(tuple(weight * a * b for b in x) for a in x),
        gradient=tuple(surprise * a for a in x),
        answers=1,
    )


def numbers(learning: Sequence[LearningFeature], features: Mapping[str, Attribute]) -> Vector:
    """What the correction depends on, of one customer: 1, then each feature in its scale, shape (k,)."""
    given = [(features.get(each.name), each.scale) for each in learning]
    scaled = [0.0 if value is None or isinstance(value, str) else value / scale for value, scale in given]
    return np.array([1.0, *(min(max(number, -_REACH), _REACH) for number in scaled)])


class Posteriors:
    """What is believed of b for every action, from the prior and the answers there are."""

    def __init__(
        self,
        actions: Iterable[Action],
        known: Collection[str],
        prior_sd: float,
        size: int,
        learned: Mapping[str, Statistics] | None = None,
    ) -> None:
        """Compute them.

        Args:
            actions: All of the policy, in its order.
            known: The actions a model knows; others start from what the policy says of them.
            prior_sd: How far off a model is expected to be.
            size: k, of `numbers`.
            learned: Statistics by action, of the model set in use.

        """
        learned = learned or {}
        beliefs = [_posterior(_prior(action, known, prior_sd, size), learned.get(action.id)) for action in actions]
        self._means = np.array([mean for mean, _ in beliefs])
        self._covariances = np.array([covariance for _, covariance in beliefs])

    def of(self, actions: Sequence[Action], x: Vector) -> tuple[Vector, Vector]:
        rows = [action.number for action in actions]
        return self._means[rows] @ x, np.asarray(self._covariances[rows] @ x @ x)


class Beliefs:
    """Posteriors for whatever model set is in use, made anew when it changes; none where nothing explores by them."""

    def __init__(self, policy: Policy) -> None:
        variants = (*policy.experiments.challengers, *policy.experiments.shadows)
        policies = (policy, *(variant.policy for variant in variants))
        self._is_needed = any(each.arbitration.exploration.strategy == "thompson" for each in policies)
        self._policy = policy
        self._made: tuple[str, Posteriors] | None = None

    def of(self, models: Models | None) -> Posteriors | None:
        """What is believed under this model set."""
        if models is None or not self._is_needed:
            return None
        if self._made is None or self._made[0] != models.model_set.id:
            arbitration = self._policy.arbitration
            size = len(arbitration.learning) + 1
            made = Posteriors(self._policy.roll, known_actions(models), arbitration.prior_sd, size)
            self._made = models.model_set.id, made
        return self._made[1]


def _prior(action: Action, known: Collection[str], prior_sd: float, size: int) -> Vector:
    """The precisions of b beforehand, shape (k,); a start worth n answers at p has n p (1 - p) on the constant."""
    precisions = np.full(size, prior_sd**-2)
    if action.starting and action.id not in known:
        p = action.starting.propensity
        precisions[0] = action.starting.evidence * p * (1.0 - p)
    return precisions


def _posterior(prior: Vector, learned: Statistics | None) -> tuple[Vector, NDArray[np.float64]]:
    if learned is None:
        return np.zeros(len(prior)), np.diag(1.0 / prior)
    covariance = np.linalg.inv(np.diag(prior) + np.array(learned.information))
    return covariance @ np.array(learned.gradient), covariance

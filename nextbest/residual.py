"""The online residual: what answers say that the batch model did not know, per action.

Belongs here: the statistics of contacts and the normal posterior that follows from them. Does not belong here:
collecting them (`nextbest.evidence`), or the batch model (`nextbest.scoring`).

The batch model gives log odds l. Their correction is xᵀb for at most 8 numbers x of the customer, the first of them 1,
with b normal around 0 beforehand. Of the contacts only sums are known: how many answers came, Xᵀy, how many the model
expected, Xᵀp̂, and how much that tells, XᵀWX with W of p̂(1 - p̂). One Newton step from b = 0 would be a function of
these, but overshoots where a model is far off: of an action that starts at 1 % and has 20 % it makes 100 %. So the mode
is looked for (Laplace's approximation, as in Bishop, "Pattern Recognition and Machine Learning", 2006, 4.4 and 4.5.1)
of a likelihood that has the same slope and, in the constant, the same curvature at b = 0, and far from it those of
contacts that are all alike but for x, which is normal among them: n log(1 - q + q exp(μᵀb + (1 - q) bᵀVb / 2)).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from nextbest.arbitration import Vector
from nextbest.policy import Action, LearningFeature, Policy
from nextbest.records import Attribute
from nextbest.situation import Models, known_actions

_REACH = 3.0
_STEPS = 60
_LONGEST_STEP = 1.0
_NEAR = 1e-9

Covariance = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """What is known of the contacts with one action under one model set; of those that could not answer yet, a part.

    Attributes:
        seen: How many, all of them.
        answered: Those with an answer that is worth more than none.
        observed: Xᵀy, shape (k,).
        expected: Xᵀp̂, shape (k,).
        information: XᵀWX, shape (k, k).
        x: The sum of their numbers, shape (k,): the first of them is how many contacts they amount to.

    """

    seen: int
    answered: int
    observed: Vector
    expected: Vector
    information: Covariance
    x: Vector

    @property
    def effective(self) -> float:
        """How many contacts they amount to whose time is over."""
        return float(self.x[0])

    @property
    def mean_reward(self) -> float:
        """Of a contact, allowing for answers that are still to come."""
        return float(self.observed[0] / self.x[0])


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
        actions = tuple(actions)
        precisions = np.array([_prior(action, known, prior_sd, size) for action in actions])
        self._means = np.zeros((len(actions), size))
        self._covariances = np.array([np.diag(1.0 / row) for row in precisions])
        told = [(row, learned[each.id]) for row, each in enumerate(actions) if learned and each.id in learned]
        if told:
            rows = [row for row, _ in told]
            found = _posteriors(precisions[rows], [statistics for _, statistics in told])
            self._means[rows], self._covariances[rows] = found

    @property
    def size(self) -> int:
        """k, of `numbers`."""
        return int(self._means.shape[1])

    def of(self, actions: Sequence[Action], x: Vector) -> tuple[Vector, Vector]:
        rows = [action.number for action in actions]
        return self._means[rows] @ x, np.asarray(self._covariances[rows] @ x @ x)


class Beliefs:
    """Posteriors for whatever model set is in use; none where nothing was learned and nothing explores by them."""

    def __init__(self, policy: Policy) -> None:
        variants = (*policy.experiments.challengers, *policy.experiments.shadows)
        policies = (policy, *(variant.policy for variant in variants))
        self._explores = any(each.arbitration.exploration.strategy == "thompson" for each in policies)
        self._policy = policy
        self._made: tuple[str, Posteriors | None] | None = None

    def of(self, models: Models | None) -> Posteriors | None:
        """What is believed under this model set."""
        if models is None:
            return None
        if self._made is None or self._made[0] != models.model_set.id:
            self.learn(models, {})
        return self._made[1] if self._made else None

    def learn(self, models: Models, learned: Mapping[str, Statistics]) -> None:
        """Take what answers say, by action, in the place of what they said before. It may be called in a thread."""
        arbitration = self._policy.arbitration
        made = None
        if learned or self._explores:
            size = len(arbitration.learning) + 1
            made = Posteriors(self._policy.roll, known_actions(models), arbitration.prior_sd, size, learned)
        self._made = models.model_set.id, made


def _prior(action: Action, known: Collection[str], prior_sd: float, size: int) -> Vector:
    """The precisions of b beforehand, shape (k,); a start worth n answers at p has n p (1 - p) on the constant."""
    precisions = np.full(size, prior_sd**-2)
    if action.starting and action.id not in known:
        p = action.starting.propensity
        precisions[0] = action.starting.evidence * p * (1.0 - p)
    return precisions


def _posteriors(prior: NDArray[np.float64], told: Sequence[Statistics]) -> tuple[NDArray[np.float64], Covariance]:
    """Mode and covariance of b for each of several actions, of precisions `prior`: shapes (n, k) and (n, k, k)."""
    crowd = _Crowd.of(told)
    mode = np.zeros_like(prior)
    for _ in range(_STEPS):
        expected, information = crowd.at(mode)
        slope = crowd.observed - expected - prior * mode
        step = np.linalg.solve(information + _diagonal(prior), slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        mode += step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, _NEAR))
        if longest.max() < _NEAR:
            break
    return mode, np.asarray(np.linalg.inv(crowd.at(mode)[1] + _diagonal(prior)))


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Of each of several actions, contacts that are all alike but for x: n of them, each answered with chance q.

    At b = 0 they come to what is known of the real ones.
    """

    observed: NDArray[np.float64]
    size: Vector
    chance: Vector
    centre: NDArray[np.float64]
    spread: Covariance

    @classmethod
    def of(cls, told: Sequence[Statistics]) -> "_Crowd":
        expected = np.array([each.expected for each in told])
        information = np.array([each.information for each in told])
        total, weight = np.maximum(expected[:, 0], _NEAR), np.maximum(information[:, 0, 0], _NEAR)
        chance = np.clip(1.0 - weight / total, _NEAR, 1.0 - _NEAR)
        weighed = information[:, :, 0] / weight[:, None]
        centre = expected / total[:, None]
        spread = information / weight[:, None, None] - weighed[:, :, None] * weighed[:, None, :]
        return cls(np.array([each.observed for each in told]), total / chance, chance, centre, spread)

    def at(self, b: NDArray[np.float64]) -> tuple[NDArray[np.float64], Covariance]:
        """The answers that are expected with this correction, and how much they tell."""
        rest = 1.0 - self.chance
        outwards = rest[:, None] * np.einsum("nij,nj->ni", self.spread, b)
        power = np.einsum("ni,ni->n", self.centre + outwards / 2.0, b)
        share = expit(power + logit(self.chance))
        turn, answers = self.centre + outwards, self.size * share
        expected = answers[:, None] * turn
        along = (answers * (1.0 - share))[:, None, None] * turn[:, :, None] * turn[:, None, :]
        return expected, along + (answers * rest)[:, None, None] * self.spread


def _diagonal(rows: NDArray[np.float64]) -> Covariance:
    return rows[:, :, None] * np.eye(rows.shape[1])

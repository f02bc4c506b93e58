"""The situation: everything one decision follows from, read once and handed to each part.

Belongs here: its fields, and what models must be able to do. Does not belong here: reading any of it (serving), or what
follows from it (`screening`, `scoring`, `contest`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nextbest.errors import NextbestError
from nextbest.messages import Request
from nextbest.model_set import ModelSet
from nextbest.policy import Action, Policy
from nextbest.records import Arm, Attribute, Snapshot, Tier

PROPENSITY = "propensity"
UPLIFT = "uplift"
"""The model that says by how much an action raises the probability of a response over doing nothing."""


class ScoringError(NextbestError):
    """A model that cannot score what it is given."""


class Models(Protocol):
    """The models of one set, ready to score."""

    @property
    def model_set(self) -> ModelSet:
        """Which models, and what they are fed."""
        ...

    def score(self, name: str, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores of model `name`, shape (rows,), finite.

        Raises:
            ScoringError: the model cannot score the matrix.

        """
        ...

    def score_beside(self, name: str, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores of the shadow of model `name`, which the set must have; as `score`."""
        ...


class Residuals(Protocol):
    """What answers say that the models do not know: corrections of their log odds (`nextbest.residual`)."""

    def of(self, actions: Sequence[Action], x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance of the correction for each of `actions`, shape (n,) each, for a customer's numbers `x`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One customer at one moment, under the policy in force for them."""

    request: Request
    features: Mapping[str, Attribute]
    """The customer's; what is missing is absent."""
    policy: Policy
    models: Models | None
    residuals: Residuals | None
    snapshot: Snapshot
    arms: Sequence[Arm]
    now: datetime
    seed: int
    tier: Tier

    @property
    def context(self) -> Mapping[str, Attribute]:
        """What is known of the moment: by the request, and of the world outside."""
        return self.policy.context(self.request.context, self.snapshot.signals, self.now)

    @property
    def counts_uplift(self) -> bool:
        """Whether what an action causes is to count, and there is a model to say it."""
        models = self.models
        return (
            self.tier == "full"
            and self.policy.arbitration.uses_uplift
            and models is not None
            and UPLIFT in models.model_set.models
        )

    @property
    def known_actions(self) -> Collection[str]:
        """The actions that the propensity model has learned."""
        return known_actions(self.models)


def known_actions(models: Models | None) -> Collection[str]:
    """The actions that the propensity model of a set has learned; none without one."""
    return models.model_set.models[PROPENSITY].action_features if models and has_propensity(models) else ()


def has_propensity(models: Models | None) -> bool:
    """Whether the set can say how likely a customer responds."""
    return models is not None and PROPENSITY in models.model_set.models

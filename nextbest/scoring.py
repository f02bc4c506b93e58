"""Scoring: what each action is worth to this customer, in the policy's currency.

Belongs here: feeding the models and the priority formula. Does not belong here: running a model (an adapter that
implements `Models`), who is scored at all (`nextbest.screening`), or who wins (`nextbest.arbitration`).
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nextbest.errors import NextbestError
from nextbest.features import Matrix, design_matrix
from nextbest.model_set import Model, ModelSet
from nextbest.policy import Action, Arbitration, Treatment
from nextbest.records import Attribute

PROPENSITY = "propensity"


class ScoringError(NextbestError):
    """A model that cannot score what it is given."""


class Models(Protocol):
    """The models of one set, ready to score."""

    @property
    def model_set(self) -> ModelSet:
        """Which models, and what they are fed."""
        ...

    def score(self, name: str, matrix: Matrix) -> NDArray[np.float64]:
        """Scores of model `name`, shape (rows,), finite.

        Raises:
            ScoringError: the model cannot score the matrix.

        """
        ...


def propensities(
    models: Models,
    actions: Sequence[Action],
    features: Mapping[str, Attribute],
    context: Mapping[str, Attribute],
) -> dict[str, float]:
    """The calibrated probability that the customer responds, by action id.

    Raises:
        ScoringError: the model cannot score.

    """
    if not actions:
        return {}
    names = [action.id for action in actions]
    model = models.model_set.models[PROPENSITY]
    matrix = design_matrix(model, features, names, _context_columns(model, actions, context))
    return dict(zip(names, models.score(PROPENSITY, matrix).tolist(), strict=True))


def priority(treatment: Treatment, p: float, formula: Arbitration) -> float:
    """P · V · L less cost, of the parts that are switched on; `p` is 1 when propensity is off."""
    worth = p
    if formula.use_value:
        worth *= treatment.action.value
    if formula.use_lever:
        worth *= treatment.action.lever / 100.0
    return worth - treatment.cost if formula.use_cost else worth


def logit(p: float) -> float | None:
    """The log odds of `p`; none where they are not finite, which JSON could not write."""
    return log(p / (1.0 - p)) if 0.0 < p < 1.0 else None


def _context_columns(
    model: Model, actions: Sequence[Action], context: Mapping[str, Attribute]
) -> dict[str, NDArray[np.float32]]:
    """Per context feature a number for each action: its own attribute, or else the request's."""
    columns = {}
    for feature in model.features:
        if feature.origin == "context":
            sent = context.get(feature.name)
            otherwise = feature.default if sent is None or isinstance(sent, str) else float(sent)
            values = [action.context.get(feature.name, otherwise) for action in actions]
            columns[feature.name] = np.array(values, dtype=np.float32)
    return columns

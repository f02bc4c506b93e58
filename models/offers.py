"""What a model of (customer, action) pairs is fed: rows of a frame, each with any action.

Belongs here: the twin of `nextbest.features.design_matrix` for models that tell actions apart by an indicator of each
(a test keeps them equal). Does not belong here: what was decided and came of it (`models.decision_log`).

Pairs are made when asked for: all of them may not fit in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.arrays import Array
from models.inputs import matrix
from nextbest.model_set import FeatureSpec

INDICATOR = "is_action__"

Codes = NDArray[np.intp]

NOTHING: int = 0
"""The arm of `do_nothing`; the actions in their order are 1, 2, ..."""


@dataclass(frozen=True, slots=True)
class Offers:
    """Rows of a frame, each of which can be looked at with any of the arms: nothing or an action.

    With nothing, `match` and `action` features are at their defaults.
    """

    actions: tuple[str, ...]
    base: Array
    """Shape (rows, features): customer and context, the rest at its default."""
    matches: Array
    """Shape (arms, rows, match features)."""
    own: Array
    """Shape (arms, action features)."""
    match_columns: Codes
    own_columns: Codes

    def __len__(self) -> int:
        return len(self.base)

    @property
    def own_of_rows(self) -> Codes:
        """The columns that are the same for every arm."""
        return np.setdiff1d(np.arange(self.base.shape[1]), np.concatenate([self.match_columns, self.own_columns]))

    def pairs(self, rows: Codes, arms: Codes) -> Array:
        """One row per pair of a row and an arm, one column per feature."""
        x = self.base[rows]
        x[:, self.match_columns] = self.matches[arms, rows]
        x[:, self.own_columns] = self.own[arms]
        return x

    def of(self, arm: int) -> Array:
        """Every row with one arm."""
        return self.pairs(np.arange(len(self)), np.full(len(self), arm))


def offers(
    frame: pd.DataFrame, features: Sequence[FeatureSpec], action_features: Mapping[str, Mapping[str, float]]
) -> Offers:
    """The rows of `frame`: columns by feature, and `name__<action>` for `match` features."""
    actions = tuple(sorted(action_features))
    of_match = [place for place, feature in enumerate(features) if feature.origin == "match"]
    of_action = [place for place, feature in enumerate(features) if feature.origin == "action"]
    absent = pd.DataFrame(index=frame.index)
    base = matrix(frame, features)
    for place in (*of_match, *of_action):
        base[:, place] = features[place].default
    matches = np.stack([
        matrix(absent, [features[place] for place in of_match]),
        *(matrix(frame, [_matched(features[place], action) for place in of_match]) for action in actions),
    ])  # fmt: skip
    known = [
        matrix(pd.DataFrame([dict(numbers)]), [features[place] for place in of_action])[0]
        for numbers in ({}, *(action_features[action] for action in actions))
    ]
    return Offers(actions, base, matches, np.array(known), np.array(of_match, np.intp), np.array(of_action, np.intp))


def with_indicators(
    features: Sequence[FeatureSpec], action_features: Mapping[str, Mapping[str, float]]
) -> tuple[tuple[FeatureSpec, ...], dict[str, dict[str, float]]]:
    """Features and actions' features with an indicator of each action, 0 for an action that is not among them."""
    names = {action: f"{INDICATOR}{action}" for action in sorted(action_features)}
    told = {action: dict(action_features[action]) | {name: 1.0} for action, name in names.items()}
    return (*features, *(FeatureSpec(name, "action") for name in names.values())), told


def indicators(arms: Codes, count: int) -> Array:
    """A column per arm, 1 in the row's own."""
    return np.asarray(arms[:, None] == np.arange(count), dtype=np.float64)


def _matched(feature: FeatureSpec, action: str) -> FeatureSpec:
    return FeatureSpec(f"{feature.name}__{action}", "match", feature.default)

"""Features as rules and models see them: typed, with defaults, in a fixed order.

Belongs here: turning a customer's features, the request's context and the actions' attributes into what CEL and ONNX
take. Does not belong here: computing features (dbt and the feature store), or fetching them (serving).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from nextbest.model_set import FeatureSpec, Model, Origin
from nextbest.records import Attribute

Kind = Literal["number", "boolean", "text"]
Column = float | NDArray[np.float32]
Matrix = NDArray[np.float32]

_DEFAULTS: dict[Kind, Attribute] = {"number": 0.0, "boolean": False, "text": ""}


class RuleFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature that rules may name: its kind, where its value comes from, and what stands in for a missing one."""

    name: str
    kind: Kind = "number"
    origin: Literal["customer", "context"] = "customer"
    default: Attribute | None = None

    def takes(self, given: Attribute) -> bool:
        """Whether `given` is of the feature's kind."""
        return _typed(given, self.kind) is not None

    def value(self, given: Attribute | None) -> Attribute:
        """`given` in the feature's kind, or the default where it is missing or of another kind."""
        typed = _typed(given, self.kind)
        if typed is not None:
            return typed
        return _DEFAULTS[self.kind] if self.default is None else self.default


def rule_values(
    declared: Iterable[RuleFeature],
    customer: Mapping[str, Attribute | None],
    context: Mapping[str, Attribute],
) -> dict[str, Attribute]:
    """The value of every declared feature; null reaches no rule, since CEL cannot compare it."""
    values: dict[str, Attribute] = {}
    for feature in declared:
        given = (customer if feature.origin == "customer" else context).get(feature.name)
        # What most are, without a call: a number that is one (NaN does not equal itself).
        is_plain = type(given) is float and given == given and feature.kind == "number"  # noqa: PLR0124
        values[feature.name] = given if is_plain and given is not None else feature.value(given)
    return values


def _typed(value: Attribute | None, kind: Kind) -> Attribute | None:
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return None if isinstance(value, str) else bool(value)
    # CEL does not add an integer to a fraction, so every number is a float.
    return None if isinstance(value, str) or math.isnan(value) else float(value)


@np.errstate(over="ignore")  # what float32 cannot hold becomes infinite, which counts as missing
def design_matrix(
    model: Model,
    customer: Mapping[str, Attribute | None],
    actions: Sequence[str],
    context: Mapping[str, Column],
) -> Matrix:
    """The input of `model` for one customer: a row per action, the model's features in their order, float32.

    Args:
        model: Names the features, and holds the actions' own.
        customer: Online features by name; for a `match` feature `name__<action>`.
        actions: The actions to score, one row each.
        context: Numeric attributes of the request or the actions: one number for all rows, or an array with one each.

    """
    matrix = np.empty((len(actions), len(model.features)), dtype=np.float32)
    for origin, columns in _by_origin(model.features).items():
        specs = [model.features[column] for column in columns]
        match origin:
            case "customer":
                matrix[:, columns] = [_number(customer.get(spec.name), spec.default) for spec in specs]
            case "match":
                matrix[:, columns] = [
                    [_number(customer.get(f"{spec.name}__{action}"), spec.default) for spec in specs]
                    for action in actions
                ]
            case "action":
                known = [model.action_features.get(action, {}) for action in actions]
                matrix[:, columns] = [[row.get(spec.name, spec.default) for spec in specs] for row in known]
            case "context":
                for column, spec in zip(columns, specs, strict=True):
                    matrix[:, column] = context.get(spec.name, spec.default)
    missing = ~np.isfinite(matrix)
    return np.where(missing, _defaults(model), matrix) if missing.any() else matrix


def _by_origin(features: Sequence[FeatureSpec]) -> dict[Origin, list[int]]:
    """The columns that come from the same place: filled as one block, a tenth of the time of one by one."""
    columns: dict[Origin, list[int]] = {}
    for column, feature in enumerate(features):
        columns.setdefault(feature.origin, []).append(column)
    return columns


def _number(value: Attribute | None, default: float) -> float:
    return default if value is None or isinstance(value, str) else value


def _defaults(model: Model) -> Matrix:
    return np.array([feature.default for feature in model.features], dtype=np.float32)

"""Features in the form rules and models take them."""

import numpy as np
import pytest

from nextbest.features import RuleFeature, design_matrix, rule_values
from nextbest.model_set import FeatureSpec, Model
from nextbest.records import Attribute

MODEL = Model(
    name="propensity",
    version="3",
    run_id="run",
    file="propensity.onnx",
    sha256="0" * 64,
    features=(
        FeatureSpec("category_spend_182d", "match"),
        FeatureSpec("recency_days", "customer", 9999.0),
        FeatureSpec("campaign_type_a", "context"),
        FeatureSpec("response_rate", "action", 0.01),
        FeatureSpec("baskets_91d", "customer"),
    ),
    action_features={"beef": {"response_rate": 0.04}},
    output="probability",
)


def test_design_matrix_has_a_row_per_action_and_the_models_columns() -> None:
    """Each origin fills its columns, in the model's order, whatever order origins come in."""
    customer = {"category_spend_182d__beef": 20.0, "recency_days": 3, "baskets_91d": 7.0}
    matrix = design_matrix(MODEL, customer, ["beef", "fish"], {"campaign_type_a": np.array([1, 0], dtype=np.float32)})
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[20.0, 3.0, 1.0, np.float32(0.04), 7.0], [0.0, 3.0, 0.0, np.float32(0.01), 7.0]]


@pytest.mark.parametrize("absent", [{}, *({"recency_days": value} for value in (None, float("nan"), 3.5e38, -1e308))])
def test_design_matrix_fills_defaults(absent: dict[str, Attribute | None]) -> None:
    """Missing, null, NaN and what float32 cannot hold all become the default; one number of context is for all rows."""
    matrix = design_matrix(MODEL, absent, ["beef"], {"campaign_type_a": 1.0})
    assert matrix.tolist() == [[0.0, 9999.0, 1.0, np.float32(0.04), 0.0]]


@pytest.mark.parametrize(
    ("feature", "given", "value"),
    [
        (RuleFeature(name="n"), 3, 3.0),
        (RuleFeature(name="n"), None, 0.0),
        (RuleFeature(name="n"), "three", 0.0),
        (RuleFeature(name="n", default=9999.0), float("nan"), 9999.0),
        (RuleFeature(name="n", kind="boolean"), 1.0, True),
        (RuleFeature(name="n", kind="boolean", default=True), None, True),
        (RuleFeature(name="n", kind="text", default="?"), 4.0, "?"),
    ],
)
def test_rule_values_are_typed(feature: RuleFeature, given: Attribute | None, value: Attribute) -> None:
    """A rule sees a value of the declared kind or the default, never null."""
    seen = rule_values([feature], {"n": given}, {})["n"]
    assert seen == value
    assert type(seen) is type(value)


def test_rule_values_keep_origins_apart() -> None:
    """What a request sends along cannot stand in for what is known of the customer."""
    declared = [RuleFeature(name="spend"), RuleFeature(name="weather", kind="text", origin="context")]
    assert rule_values(declared, {}, {"spend": 1e6, "weather": "rain"}) == {"spend": 0.0, "weather": "rain"}

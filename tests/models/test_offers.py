"""Training and serving see a customer with an action alike."""

import numpy as np
import pandas as pd

from models.offers import offers, with_indicators
from nextbest.features import design_matrix
from nextbest.model_set import FeatureSpec, Model

ACTION_FEATURES = {"call": {"price": 3.0}, "mail": {}}
FEATURES = (
    FeatureSpec("spend", "customer", 7.0),
    FeatureSpec("affinity", "match", -1.0),
    FeatureSpec("price", "action", 0.5),
)
FRAME = pd.DataFrame({
    "spend": [1.5, np.nan], "affinity__call": [2.0, 3.0], "affinity__other": [9.0, 9.0]
})  # fmt: skip


def test_a_pair_is_what_serving_makes_of_it() -> None:
    """Match features, features of the action, indicators, and defaults for what is missing, to the last bit."""
    features, known = with_indicators(FEATURES, ACTION_FEATURES)
    found = offers(FRAME, features, known)
    model = Model(
        name="u", version="1", run_id="", file="f", sha256="", features=features, action_features=known, output="value"
    )
    for row, customer in FRAME.iterrows():
        served = design_matrix(model, {str(name): float(x) for name, x in customer.items()}, ["call", "mail"], {})
        for place in range(2):
            told = found.pairs(np.array([row]), np.array([place + 1]))
            np.testing.assert_array_equal(told[0].astype(np.float32), served[place])


def test_nothing_has_no_action_and_no_match() -> None:
    """Both are at their defaults; only the customer is there."""
    found = offers(FRAME, FEATURES, ACTION_FEATURES)
    np.testing.assert_array_equal(found.of(0), [[1.5, -1.0, 0.5], [7.0, -1.0, 0.5]])
    np.testing.assert_array_equal(found.own_of_rows, [0])

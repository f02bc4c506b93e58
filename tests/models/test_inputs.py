"""Training and serving build the same matrix."""

import numpy as np
import pandas as pd
import pytest

from models.frames import TrainingSet
from models.inputs import CAMPAIGN_TYPES, CATEGORY, matrix, propensity_features, with_match
from nextbest.features import design_matrix
from nextbest.model_set import FeatureSpec, Model


def test_a_training_row_is_what_serving_would_feed_the_model(propensity_data: TrainingSet) -> None:
    """For sampled rows: the same customer, action and campaign give the same numbers to the last bit."""
    frame = propensity_data.frame
    features = propensity_features(frame)
    for _, row in frame.sample(25, random_state=0).iterrows():
        action = str(row["action"])
        known = {"share": float(row["share"])}
        model = Model(
            name="propensity", version="1", run_id="r", file="f", sha256="s", features=features,
            action_features={action: known}, output="probability",
        )  # fmt: skip
        online = {spec.name: float(row[spec.name]) for spec in features if spec.origin == "customer"}
        online[f"{CATEGORY}__{action}"] = float(row[CATEGORY])
        context = {name: float(row[name]) for name in CAMPAIGN_TYPES.values()}
        served = design_matrix(model, online, [action], context)
        assert np.array_equal(served, matrix(row.to_frame().T, features).astype(np.float32))


def test_a_match_feature_is_the_one_of_the_rows_own_action() -> None:
    """Beef rows see what is spent on beef."""
    frame = pd.DataFrame(
        {"action": ["beef", "cheese"], f"{CATEGORY}__beef": [1.0, 2.0], f"{CATEGORY}__cheese": [3.0, 4.0]}
    )
    matched = with_match(frame)
    assert matched[CATEGORY].tolist() == [1.0, 4.0]
    assert list(matched.columns) == ["action", CATEGORY]


def test_an_action_without_its_column_is_an_error() -> None:
    """A new action must not be trained on somebody else's spend."""
    with pytest.raises(KeyError):
        with_match(pd.DataFrame({"action": ["fish"], f"{CATEGORY}__beef": [1.0]}))


def test_what_is_missing_is_the_default() -> None:
    """A column or a number that is not there is the feature's default, as in serving."""
    features = [FeatureSpec("recency_days", "customer", 9999.0), FeatureSpec("spend_91d", "customer")]
    frame = pd.DataFrame({"spend_91d": [np.nan, 2.0, 1e300]})
    assert matrix(frame, features).tolist() == [[9999.0, 0.0], [9999.0, 2.0], [9999.0, 0.0]]

"""Propensity takes the offer and the channel where they are known, and labels as far as they are."""

import numpy as np
import pytest

from models.frames import TrainingSet
from models.inputs import CHANNELS, matrix, propensity_features, with_channel
from models.labels import soft_labels
from models.linear import sigmoid
from models.propensity import Params, train


def test_a_channel_that_is_answered_more_is_believed_more(propensity_data: TrainingSet) -> None:
    """E-mail doubles the odds here, and a price lowers them: both come out, beside everything else."""
    random = np.random.default_rng(1)
    frame = propensity_data.frame
    frame = frame.assign(channel=random.choice([*CHANNELS], len(frame)), price=random.uniform(1.0, 20.0, len(frame)))
    odds = -1.5 + 1.5 * (frame["channel"] == "email") - 0.5 * np.log1p(frame["price"])
    frame = with_channel(
        frame.assign(is_redeemed=random.random(len(frame)) < sigmoid(odds.to_numpy()), assignment="all")
    )
    features = propensity_features(frame)
    assert {"price", *CHANNELS.values()} <= {feature.name for feature in features if feature.origin == "context"}
    model = train(frame, Params(features=features, rounds=(10,))).model

    def shown(channel: str, price: float) -> float:
        rows = with_channel(frame.assign(channel=channel, price=price))
        return float(np.mean(model.predict(matrix(rows, features))))

    assert shown("email", 5.0) > 2.0 * shown("web", 5.0)
    assert shown("web", 15.0) < shown("web", 5.0)


def test_where_offers_are_not_recorded_the_estimate_is_the_label(propensity_data: TrainingSet) -> None:
    """The mean of what is predicted is that of the labels, estimates included."""
    frame = propensity_data.frame
    features = propensity_features(frame)
    model = train(frame, Params(features=features, rounds=(10,))).model
    mean = float(np.mean(model.predict(matrix(frame, features))))
    assert mean == pytest.approx(soft_labels(frame).mean(), rel=0.02)
    assert mean != pytest.approx(frame["is_redeemed"].mean(), rel=0.02)

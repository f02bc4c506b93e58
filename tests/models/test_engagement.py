"""Engagement: opens and clicks, by action and channel and hour, near a truth that is known."""

import numpy as np
import pandas as pd
import pytest

from models.arrays import Array
from models.engagement import Params, train
from models.evaluation import auc, calibration_error
from models.inputs import CHANNELS, HOUR, engagement_features, matrix, with_channel
from models.linear import sigmoid


def shown(count: int = 9_000, seed: int = 2) -> tuple[pd.DataFrame, Array]:
    """Slots that were shown, three per customer, and P(click): each of two actions has a channel of its own."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "customer_id": [str(row // 3) for row in range(count)],
            "channel": random.choice([*CHANNELS], count),
            "share": random.choice([0.1, 0.3], count),
            "price": random.uniform(1.0, 20.0, count),
            "spend_91d": random.gamma(1.0, 20.0, count),
            HOUR: random.integers(0, 24, count),
        }
    )
    suits = (frame["channel"] == "email") == (frame["share"] == 0.1)
    evening = (frame[HOUR] >= 18).astype(float)
    odds = -2.5 + 1.5 * suits + evening - 0.1 * frame["price"] + 0.3 * np.log1p(frame["spend_91d"])
    return with_channel(frame), sigmoid(odds.to_numpy(np.float64))


def test_which_channel_suits_which_action_is_found() -> None:
    """No line through one-hot channels finds it; probabilities are near the truth, calibrated, and fall with price."""
    frame, chance = shown()
    fresh, truth = shown(seed=3)
    says_yes = np.random.default_rng(4).random(len(frame)) < chance
    features = engagement_features(frame)
    fitted = train(frame.assign(is_clicked=says_yes.astype(float)), Params(features=features, label="is_clicked"))
    assert fitted.chosen["family"] == "trees"
    predicted = fitted.model.predict(matrix(fresh, features))
    assert np.abs(predicted - truth).mean() < 0.06
    outcome = np.random.default_rng(5).random(len(fresh)) < truth
    everyone = np.ones((1, len(fresh)))
    assert auc(outcome, predicted)(everyone)[0] > auc(outcome, truth)(everyone)[0] - 0.03
    assert calibration_error(outcome.astype(float), predicted) < 0.03
    prices = [fitted.model.predict(matrix(fresh.assign(price=price), features)) for price in range(1, 21)]
    assert (np.diff(prices, axis=0) <= 1e-12).all()


def test_rows_whose_label_is_not_known_are_left_out() -> None:
    """Opens are known of e-mails: as if there was nothing else in the frame."""
    frame, chance = shown(3_000)
    opened = (np.random.default_rng(4).random(len(frame)) < chance).astype(float)
    frame["is_opened"] = np.where(frame["channel"] == "email", opened, np.nan)
    params = Params(features=engagement_features(frame), label="is_opened", rounds=(10,))
    mails = frame[frame["channel"] == "email"]
    assert train(frame, params).chosen == train(mails, params).chosen


@pytest.mark.parametrize("missing", ["share", HOUR, "price"])
def test_only_what_the_frame_has_is_a_feature(missing: str) -> None:
    """A frame without prices or hours trains a model without them."""
    frame, _ = shown(10)
    names = {feature.name for feature in engagement_features(frame.drop(columns=missing))}
    assert names == {feature.name for feature in engagement_features(frame)} - {missing}

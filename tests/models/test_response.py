"""What propensity and engagement share: the family that suits, monotone and calibrated whatever the family."""

from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.arrays import Array
from models.errors import TooLittleDataError
from models.export import parity, score
from models.inputs import matrix
from models.linear import sigmoid
from models.response import Params, Response, train
from models.trees import Boosting
from nextbest.model_set import FeatureSpec, Model

FEATURES = tuple(FeatureSpec(name, "context") for name in ("price", "spend", "visits"))
SMALL = Params(features=FEATURES, rounds=(20, 60), boosting=Boosting(learning_rate=0.2, leaves=8, l2=20.0), folds=3)


def rows(count: int = 4_000, seed: int = 5) -> pd.DataFrame:
    """Four rows of each customer."""
    random = np.random.default_rng(seed)
    columns = {feature.name: random.gamma(1.0, 10.0, count) for feature in FEATURES}
    return pd.DataFrame(columns).assign(customer_id=[str(row // 4) for row in range(count)])


def answers(probability: Array, seed: int = 6) -> Array:
    return (np.random.default_rng(seed).random(len(probability)) < probability).astype(np.float64)


def linear(frame: pd.DataFrame) -> Array:
    return sigmoid(np.asarray(-1.0 + 0.8 * np.log1p(frame["spend"]) - 0.6 * np.log1p(frame["price"])))


def crossed(frame: pd.DataFrame) -> Array:
    """Spend counts for those alone who visit rarely; against the others it counts."""
    sign = np.where(frame["visits"] > frame["visits"].median(), -1.0, 1.0)
    return sigmoid(np.asarray(-1.0 + sign * np.log1p(frame["spend"])))


def calibration_slope(fitted: Response, frame: pd.DataFrame, truth: Array) -> float:
    """Of the true log odds by those the model gives."""
    given_ = fitted.model.score(matrix(frame, FEATURES))
    return float(np.polyfit(given_, np.log(truth / (1.0 - truth)), 1)[0])


@pytest.mark.parametrize("family", ["logistic", "trees"])
def test_the_family_that_suits_is_taken_near_the_truth_and_calibrated(family: Literal["logistic", "trees"]) -> None:
    """Odds that are linear are a line's, odds that cross are trees'; either way they are as high as they say."""
    frame, fresh = rows(), rows(seed=7)
    chance = linear if family == "logistic" else crossed
    fitted = train(frame, answers(chance(frame)), SMALL)
    other = "trees" if family == "logistic" else "logistic"
    assert fitted.chosen["family"] == family
    assert float(str(fitted.chosen[f"{family}_loss"])) < float(str(fitted.chosen[f"{other}_loss"]))
    error = np.abs(fitted.model.predict(matrix(fresh, FEATURES)) - chance(fresh)).mean()
    assert error < (0.02 if family == "logistic" else 0.06)
    assert calibration_slope(fitted, fresh, chance(fresh)) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("family", ["logistic", "trees"])
def test_the_file_says_what_the_model_says(family: str) -> None:
    """Whichever family it is, calibration included."""
    frame = rows()
    fitted = train(frame, answers((linear if family == "logistic" else crossed)(frame)), SMALL).model
    model = Model(name="m", version="1", run_id="", file="m.onnx", sha256="", features=FEATURES, output=fitted.output)
    scores = score(model, fitted.to_onnx().SerializeToString(), frame)
    assert parity(scores, fitted, matrix(frame, FEATURES)) < 1e-6


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16), turns=st.sampled_from([-1.0, 0.0, 1.0]), crosses=st.booleans())
def test_no_price_makes_a_yes_likelier(seed: int, turns: float, *, crosses: bool) -> None:
    """Whatever the answers say of it: that it puts people off, that it draws them, or nothing."""
    frame = rows(1_200, seed)
    odds = turns * np.log1p(frame["price"].to_numpy())
    base = crossed(frame) if crosses else linear(frame)
    fitted = train(frame, answers(sigmoid(np.log(base / (1.0 - base)) + odds), seed), SMALL).model
    prices = [fitted.predict(matrix(frame.assign(price=price), FEATURES)) for price in np.linspace(0.0, 80.0, 30)]
    assert (np.diff(prices, axis=0) <= 1e-12).all()


def test_what_has_nothing_to_do_with_the_answers_is_not_turned_round() -> None:
    """On noise the scores of unseen rows may run against the answers: then everybody gets the mean."""
    frame = rows(400)
    target = np.tile([1.0, 0.0, 0.0, 0.0], 100)  # a quarter of each customer: leaving out one tells of the others
    fitted = train(frame, target, SMALL)
    assert float(str(fitted.chosen["calibration_slope"])) >= 0.0
    assert fitted.model.predict(matrix(frame, FEATURES)).mean() == pytest.approx(0.25, abs=0.02)


def test_each_campaign_is_scored_by_a_model_that_has_not_seen_it() -> None:
    """What only tells campaigns apart helps by customer, and hurts where campaigns are the groups."""
    frame = rows(2_000)
    of_campaign = np.random.default_rng(8).normal(0.0, 1.5, 20)
    campaign = np.arange(len(frame)) % 20
    told = frame.assign(visits=campaign.astype(float))
    target = answers(sigmoid(of_campaign[campaign] - 1.0))
    by_customer = train(told, target, SMALL)
    by_campaign = train(told.assign(campaign_id=campaign.astype(str)), target, SMALL)
    known = float(str(by_customer.chosen["trees_loss"]))
    assert known < float(str(by_campaign.chosen["trees_loss"])) - 0.05


def test_rows_of_no_campaign_go_by_customer() -> None:
    """History of campaigns and live answers in one frame."""
    frame = rows(2_000)
    campaign = pd.Series(["1", "2"] * 500 + [None] * 1_000, dtype=object)
    fitted = train(frame.assign(campaign_id=campaign), answers(linear(frame)), SMALL)
    assert fitted.chosen["family"] == "logistic"


@pytest.mark.parametrize(
    ("frame", "target", "why"),
    [
        (rows(40).assign(customer_id="1"), np.tile([1.0, 0.0], 20), "it takes two"),
        (rows(40), np.zeros(40), "nobody responds"),
        (rows(40), np.repeat([1.0, 0.0], [4, 36]), "nobody responds"),
        (rows(40), np.ones(40), "everybody"),
    ],
)
def test_too_little_is_said_in_words(frame: pd.DataFrame, target: Array, why: str) -> None:
    """One group, or answers that are all alike wherever one looks."""
    with pytest.raises(TooLittleDataError, match=why):
        train(frame, target, SMALL)

"""The hurdle model: both parts of a known truth, the sum, and the same in ONNX."""

import numpy as np
import pandas as pd
import pytest

from models import hurdle
from models.arrays import Array
from models.errors import TooLittleDataError
from models.export import parity, score
from models.inputs import matrix
from models.linear import fit_ridge
from nextbest.model_set import FeatureSpec, Model

FEATURES = tuple(FeatureSpec(name, "customer") for name in ("spend", "silence", "noise"))
PARAMS = hurdle.Params(features=FEATURES, target="next")


def customers(count: int, seed: int) -> pd.DataFrame:
    """Who was silent for long buys nothing; the others spend as before, with a tail: their mean is not their median."""
    random = np.random.default_rng(seed)
    spend, silence = random.lognormal(4.0, 1.0, count), random.uniform(0.0, 100.0, count)
    mean = chance(silence) * spend
    some = random.random(count) < chance(silence)
    return pd.DataFrame(
        {
            "customer_id": np.arange(count).astype(str),
            "spend": spend,
            "silence": silence,
            "noise": random.normal(size=count),
            "truth": mean,
            "next": np.where(some, spend * random.lognormal(-0.32, 0.8, count), 0.0),
        }
    )


def chance(silence: Array) -> Array:
    return np.where(silence < 30.0, 0.9, np.where(silence < 60.0, 0.4, 0.05))


@pytest.fixture(scope="module")
def fitted() -> hurdle.Hurdle:
    return hurdle.train(customers(12_000, 1), PARAMS)


def test_the_sum_is_right_and_each_part_near_the_truth(fitted: hurdle.Hurdle) -> None:
    """Amounts with a tail are neither under- nor overstated, where a regression of roots loses a part of all."""
    unseen = customers(60_000, 2)
    x = matrix(unseen, FEATURES)
    said, truth = fitted.predict(x), unseen["truth"].to_numpy()
    assert said.sum() == pytest.approx(truth.sum(), rel=0.05)
    assert np.abs(fitted.any.predict(x) - chance(unseen["silence"].to_numpy())).mean() < 0.03
    groups = pd.qcut(truth, 10, labels=False)
    by_group = pd.DataFrame({"said": said, "truth": truth}).groupby(groups).mean()
    assert by_group["said"].to_numpy()[3:] == pytest.approx(by_group["truth"].to_numpy()[3:], rel=0.2)
    roots = fit_ridge(x, unseen["next"].to_numpy(), penalty=10.0).predict(x)
    assert np.mean((said - truth) ** 2) < 0.3 * np.mean((roots - truth) ** 2)
    assert roots.sum() < 0.8 * truth.sum()


def test_one_file_says_what_both_parts_say(fitted: hurdle.Hurdle) -> None:
    """Amounts, relative where they are large."""
    unseen = customers(3_000, 3)
    model = Model(
        name="m", version="1", run_id="", file="m.onnx", sha256="", features=FEATURES, output=fitted.output
    )  # fmt: skip
    said = score(model, fitted.to_onnx().SerializeToString(), unseen)
    assert parity(said, fitted, matrix(unseen, FEATURES)) < 1e-5


def test_an_amount_that_is_rare_or_never_missing_is_said_in_words() -> None:
    """Either part needs rows of both kinds."""
    frame = customers(2_000, 4)
    with pytest.raises(TooLittleDataError, match="next: 0 rows with an amount, it takes 200"):
        hurdle.train(frame.assign(next=0.0), PARAMS)
    with pytest.raises(TooLittleDataError, match="next: 0 rows without an amount"):
        hurdle.train(frame.assign(next=1.0), PARAMS)

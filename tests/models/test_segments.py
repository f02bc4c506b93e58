"""Segments are the kinds that are there, named by what sets them apart, and the same in ONNX."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from models.arrays import Array
from models.errors import TooLittleDataError
from models.export import score
from models.inputs import DEPARTMENT_PREFIX, matrix, segment_features
from models.segments import Params, Segments, train
from nextbest.model_set import Model

PRODUCE, DELI = (f"{DEPARTMENT_PREFIX}{name}" for name in ("produce", "deli"))


def customers(count: int = 1_200, seed: int = 5) -> tuple[pd.DataFrame, Array]:
    """Four kinds: frequent with coupons (40 %), big baskets (30 %), produce (20 %), deli (10 %)."""
    random = np.random.default_rng(seed)
    kind = np.repeat(np.arange(4), (np.array([0.4, 0.3, 0.2, 0.1]) * count).astype(int))
    noise = random.lognormal(0.0, 0.25, (count, 4))
    frame = pd.DataFrame(
        {
            "baskets_91d": np.array([40.0, 6.0, 6.0, 6.0])[kind] * noise[:, 0],
            "coupon_baskets_91d": np.array([10.0, 0.2, 0.2, 0.2])[kind] * noise[:, 1],
            "mean_basket_value_91d": np.array([20.0, 150.0, 20.0, 20.0])[kind] * noise[:, 2],
            "recency_days": 10.0 * noise[:, 3],
            PRODUCE: np.array([0.05, 0.05, 0.5, 0.05])[kind] + random.uniform(0.0, 0.05, count),
            DELI: np.array([0.05, 0.05, 0.05, 0.5])[kind] + random.uniform(0.0, 0.05, count),
        }
    )
    return frame, kind.astype(np.float64)


def fitted(frame: pd.DataFrame, **chosen: int) -> Segments:
    taken = tuple(feature for feature in segment_features(frame) if feature.name in frame)
    return train(frame, Params(features=taken, splits=3, **chosen))


def test_the_kinds_that_are_there_are_found_and_counted() -> None:
    """Nobody says how many there are."""
    frame, kind = customers()
    found = fitted(frame)
    assert len(found.segments) == 4
    assert adjusted_rand_score(kind, found.predict(matrix(frame, found.features))) > 0.98


def test_a_segment_is_named_by_what_sets_it_apart() -> None:
    """The planted difference comes first, the largest segment comes first."""
    frame, _ = customers()
    found = fitted(frame)
    names = [segment.name for segment in found.segments]
    assert [segment.customers for segment in found.segments] == [480, 360, 240, 120]
    assert "frequent" in names[0]
    assert "coupons" in names[0]
    assert names[1].startswith("big baskets")
    assert names[2].startswith("much fresh produce")
    assert names[3].startswith("much deli")
    assert found.segments[0].means["baskets_91d"] == pytest.approx(frame["baskets_91d"][:480].mean(), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_names_are_unique_where_there_is_nothing_to_tell_apart(seed: int) -> None:
    """Noise cut into eight pieces: more words, or a number, and never the same name twice."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"baskets_91d": random.gamma(2.0, 5.0, 600), DELI: random.beta(1.0, 9.0, 600)})
    names = [segment.name for segment in fitted(frame, least=8).segments]
    assert len(set(names)) == 8


def test_training_again_gives_the_same_segments() -> None:
    """By seed."""
    frame, _ = customers()
    once, again = fitted(frame), fitted(frame)
    assert once.segments == again.segments
    assert (once.weights == again.weights).all()


def test_customers_unseen_and_features_missing_get_a_segment() -> None:
    """A default stands in for what is missing; a name comes with each number."""
    frame, _ = customers()
    found = fitted(frame)
    unseen, kind = customers(seed=6)
    x = matrix(unseen, found.features)
    assert adjusted_rand_score(kind, found.predict(x)) > 0.98
    x = matrix(pd.DataFrame({"baskets_91d": [np.nan]}), found.features)
    assert found.names(x) == [found.segments[int(found.predict(x)[0])].name]


def test_the_file_assigns_as_the_model_does() -> None:
    """Everybody who does not stand between two centres to the fourth digit."""
    frame, _ = customers(seed=7)
    found = fitted(frame)
    model = Model(
        name="segments", version="1", run_id="", file="s.onnx", sha256="", features=found.features, output=found.output
    )
    spread = np.random.default_rng(8).lognormal(0.0, 1.0, frame.shape)
    wide = pd.DataFrame(frame.to_numpy() * spread, columns=frame.columns)
    x = matrix(wide, found.features)
    best = np.sort(found.closeness(x), axis=1)
    is_clear = best[:, -1] - best[:, -2] > 1e-4
    assert is_clear.mean() > 0.99
    scores = score(model, found.to_onnx().SerializeToString(), wide)
    assert (scores[is_clear] == found.predict(x)[is_clear]).all()


def test_too_few_customers_are_not_divided() -> None:
    """The message says how many it takes."""
    frame, _ = customers(100)
    with pytest.raises(TooLittleDataError, match="it takes 400"):
        fitted(frame)

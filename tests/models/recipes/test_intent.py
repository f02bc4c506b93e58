"""Versions of intent, on visits whose truth is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from models.candidate import Champion
from models.errors import TooLittleDataError
from models.frames import TrainingSet
from models.gates import judge
from models.recipes.intent import RECIPE

START = pd.Timestamp(2026, 1, 5, tz="UTC")
CATEGORIES = np.array(list("abcdef"))


def visits(is_ordered: bool = True, each: int = 30) -> TrainingSet:  # noqa: FBT001, FBT002  names say it better
    """Events of 200 customers in four weeks; each goes round the categories, or has no order at all."""
    random, customers = np.random.default_rng(5), 200
    step = random.choice([1, 1, 1, 2, 5], (customers, each)) if is_ordered else random.integers(0, 6, (customers, each))
    place = (random.integers(0, 6, customers)[:, None] + np.cumsum(step, axis=1)) % 6
    days = np.sort(random.random((customers, each)) * 28, axis=1)
    frame = pd.DataFrame(
        {
            "customer_id": np.repeat(np.arange(customers), each).astype(str),
            "session_id": None,
            "category": CATEGORIES[place.ravel()],
            "type": "product_view",
            "occurred_at": START + pd.to_timedelta(days.ravel(), unit="D"),
        }
    )
    return TrainingSet(frame=frame, action_features={}, contracts={"events": "1.0.0"})


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return visits()


@pytest.fixture(scope="module")
def champion(data: TrainingSet) -> Champion:
    first = RECIPE.build(data, None)
    return Champion(model=first.model, onnx=first.onnx)


def test_an_order_is_found_and_beats_popularity(data: TrainingSet) -> None:
    """Three steps of five are to the next one; what follows the last is all there is to know, so it is no worse."""
    candidate = RECIPE.build(data, None)
    result = judge(candidate.evidence, candidate.thresholds)
    gains = candidate.evidence.improvements
    assert gains["popularity"].low > 0.5
    assert abs(gains["what_follows_the_last"].estimate) < 0.05
    assert candidate.metrics["hit_rate"] == pytest.approx(0.6, abs=0.05)
    assert {check.demand for check in result.checks if check.outcome != "met"} <= {"better_than_baselines"}
    assert "# Intent" in candidate.card


def test_where_there_is_no_order_nothing_is_claimed() -> None:
    """The gate says why it stays out."""
    candidate = RECIPE.build(visits(is_ordered=False), None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.verdict == "failed"
    assert "gain over popularity" in result.reason


def test_a_version_beside_itself_differs_by_nothing(data: TrainingSet, champion: Champion) -> None:
    """As challenger of the next training, and as shadow."""
    again = RECIPE.build(data, champion)
    assert again.evidence.over_champion is not None
    assert again.evidence.over_champion.estimate == pytest.approx(0.0, abs=1e-6)
    assert RECIPE.compare(data, champion, champion).outcome == "met"


def test_what_customers_did_without_an_order_falls_behind(data: TrainingSet, champion: Champion) -> None:
    """Weights of another time are worse on events that neither has seen."""
    former = RECIPE.build(visits(is_ordered=False), None)
    assert RECIPE.compare(data, Champion(model=former.model, onnx=former.onnx), champion).outcome == "missed"


def test_a_category_that_is_new_is_counted_and_left_out(data: TrainingSet) -> None:
    """Training could not know it."""
    late = data.frame["occurred_at"] > START + pd.Timedelta(days=26)
    frame = data.frame.assign(category=data.frame["category"].mask(late & (data.frame["category"] == "a"), "new"))
    candidate = RECIPE.build(dataclasses.replace(data, frame=frame), None)
    assert 0.0 < candidate.metrics["unknown"] < 0.2
    assert candidate.params["categories"] == 6


def test_a_week_of_events_is_too_little(data: TrainingSet) -> None:
    """There would be nothing to measure by."""
    few = data.frame[data.frame["occurred_at"] > START + pd.Timedelta(days=24)]
    with pytest.raises(TooLittleDataError, match="all events lie within 7 days"):
        RECIPE.build(dataclasses.replace(data, frame=few), None)

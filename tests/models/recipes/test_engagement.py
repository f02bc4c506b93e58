"""Versions of engagement, on shown slots whose truth is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from models.candidate import Champion
from models.errors import TooLittleDataError
from models.frames import TrainingSet
from models.gates import judge
from models.inputs import CATEGORY, HOUR, with_channel
from models.recipes.engagement import RECIPES, THRESHOLDS

START = pd.Timestamp(2026, 1, 5, tz="UTC")


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    """Slots of eight weeks: who buys the category clicks it, and opens are likelier in the evening; by e-mail alone."""
    random, rows = np.random.default_rng(6), 20_000
    spend, hour = random.gamma(1.0, 20.0, rows), random.integers(0, 24, rows)
    channel = random.choice(["web", "email", "app"], rows)
    clicks = random.random(rows) < 1 / (1 + np.exp(2.5 - 0.6 * np.log1p(spend)))
    opens = random.random(rows) < np.where(hour >= 17, 0.7, 0.2)
    frame = pd.DataFrame(
        {
            "customer_id": (np.arange(rows) % 3_000).astype(str),
            "decided_at": START + pd.to_timedelta(random.random(rows) * 56, unit="D"),
            "channel": channel,
            "action": random.choice(["beef", "cheese"], rows),
            HOUR: hour.astype(float),
            CATEGORY: spend,
            "share": 0.2,
            "is_clicked": clicks.astype(float),
            "is_opened": np.where(channel == "email", opens.astype(float), np.nan),
        }
    )
    return TrainingSet(frame=with_channel(frame), action_features={}, contracts={"decisions": "1.0.0"})


@pytest.mark.parametrize("name", ["opens", "clicks"])
def test_what_customers_do_passes_the_gate(data: TrainingSet, name: str) -> None:
    """Better than the rates of channel and action, calibrated, on the last two weeks; opens are of e-mails."""
    candidate = RECIPES[name].build(data, None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
    assert candidate.model.name == name
    assert set(candidate.evidence.improvements) == {"rate_of_channel", "rate_of_action_and_channel"}
    shown = data.frame[data.frame["channel"] == "email"] if name == "opens" else data.frame
    assert candidate.metrics["test_rows"] < len(shown) / 3
    assert f"# {'Opens' if name == 'opens' else 'Clicks'}" in candidate.card


def test_a_shadow_is_compared_on_slots_that_neither_has_seen(data: TrainingSet) -> None:
    """A version with itself differs by nothing."""
    first = RECIPES["clicks"].build(data, None)
    version = Champion(model=first.model, onnx=first.onnx)
    assert RECIPES["clicks"].compare(data, version, version).outcome == "met"
    assert RECIPES["clicks"].measure(data, version, None).expectations.keys() == THRESHOLDS.calibration.keys()


def test_too_few_answers_are_said_in_words(data: TrainingSet) -> None:
    """Fifty of each kind, in what is trained on and in what is measured."""
    rare = data.frame.assign(is_clicked=(np.arange(len(data.frame)) % 500 == 0).astype(float))
    with pytest.raises(TooLittleDataError, match="training rows with it, it takes 50"):
        RECIPES["clicks"].build(dataclasses.replace(data, frame=rare), None)

"""Versions of preferences, on sends whose truth is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from models.candidate import Champion
from models.errors import TooLittleDataError
from models.frames import TrainingSet
from models.gates import judge
from models.recipes.preferences import RECIPE

START = pd.Timestamp(2026, 1, 5, tz="UTC")


def sends(rows: int = 12_000, habit: float = 1.5) -> TrainingSet:
    """Sends of eight weeks; each of a thousand customers sees best what comes at an hour of their own."""
    random, customers = np.random.default_rng(6), 1_000
    favourite = random.uniform(0.0, 24.0, customers)
    who, hour = np.arange(rows) % customers, random.integers(0, 24, rows)
    channel = random.choice(["web", "email"], rows)
    logit = np.where(channel == "web", 0.5, -1.0) + habit * np.cos(2 * np.pi * (hour - favourite[who]) / 24)
    frame = pd.DataFrame(
        {
            "customer_id": who.astype(str),
            "segment": np.where(who % 2 == 0, "early", "late"),
            "channel": channel,
            "hour": hour,
            "weekday": random.integers(1, 8, rows),
            "is_answered": (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(float),
            "decided_at": START + pd.to_timedelta(np.sort(random.random(rows)) * 56, unit="D"),
        }
    )
    return TrainingSet(frame=frame, action_features={}, contracts={"decisions": "1.0.0"})


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return sends()


@pytest.fixture(scope="module")
def champion(data: TrainingSet) -> Champion:
    first = RECIPE.build(data, None)
    return Champion(model=first.model, onnx=first.onnx)


def test_hours_of_their_own_pass_the_gate(data: TrainingSet) -> None:
    """Better than what is usual at the hour in the channel, calibrated, on the last two weeks."""
    candidate = RECIPE.build(data, None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
    assert set(candidate.evidence.improvements) == {"rate_of_channel", "rate_of_hour_and_channel"}
    assert candidate.metrics["hour_gain"] > 0.1
    assert "# Preferences" in candidate.card
    assert set(candidate.figures) == {"calibration", "hours"}
    assert "is_fair" not in {check.demand for check in result.checks}


def test_customers_who_are_all_alike_do_not() -> None:
    """What is usual is all there is to know; promising more would be wrong."""
    candidate = RECIPE.build(sends(habit=0.0), None)
    missed = {check.name for check in judge(candidate.evidence, candidate.thresholds).checks if check.outcome != "met"}
    assert "better_than_rate_of_channel" in missed
    assert candidate.metrics["hour_gain"] < 0.05


def test_a_version_beside_itself_differs_by_nothing(data: TrainingSet, champion: Champion) -> None:
    """As challenger of the next training, and as shadow."""
    again = RECIPE.build(data, champion)
    assert again.evidence.over_champion is not None
    assert again.evidence.over_champion.estimate == pytest.approx(0.0, abs=1e-4)
    assert RECIPE.compare(data, champion, champion).outcome == "met"


def test_what_everybody_thought_falls_behind_what_customers_do(data: TrainingSet, champion: Champion) -> None:
    """A version of a time without habits is worse, on sends that neither has seen."""
    former = RECIPE.build(sends(habit=0.0), None)
    assert RECIPE.compare(data, Champion(model=former.model, onnx=former.onnx), champion).outcome == "missed"


def test_a_few_days_of_sends_are_too_little(data: TrainingSet) -> None:
    """It takes three weeks: two to measure by, and one for answers before."""
    few = data.frame[data.frame["decided_at"] < START + pd.Timedelta(days=5)]
    with pytest.raises(TooLittleDataError, match="no send is 21 days older"):
        RECIPE.build(dataclasses.replace(data, frame=few), None)

"""Propensity on data with a known truth: the split is honest, the model finds it, the champion is compared."""

import dataclasses

import pandas as pd
import pytest

from models.candidate import Champion
from models.errors import TooLittleDataError, TrainingDataError
from models.frames import TrainingSet
from models.gates import judge
from models.recipes import propensity


def test_no_training_label_was_unknown_when_the_test_period_began(propensity_data: TrainingSet) -> None:
    """Campaigns are split by time, and one still running at the border is in neither part."""
    frame = propensity_data.frame
    frame.loc[frame["campaign_id"] == "4", "ended_at"] += pd.Timedelta(days=60)
    train, test = propensity.split(frame)
    assert train["ended_at"].max() <= test["contacted_at"].min()
    assert "4" not in set(train["campaign_id"]) | set(test["campaign_id"])


def test_a_history_without_redemptions_is_said_in_words(propensity_data: TrainingSet) -> None:
    """Not a stack trace of the solver, but what is missing and what to do."""
    with pytest.raises(TrainingDataError, match="take more households"):
        propensity.split(propensity_data.frame.assign(any_redeemed=False))


def test_a_single_campaign_to_learn_from_is_said_in_words(propensity_data: TrainingSet) -> None:
    """No model can be chosen by a campaign it has not seen."""
    train, test = propensity.split(propensity_data.frame)
    first = train[train["campaign_id"] == train["campaign_id"].iloc[0]]
    with pytest.raises(TooLittleDataError, match="it takes two"):
        propensity.split(pd.concat([first, test]))


def test_a_model_of_a_real_signal_passes_its_gate(propensity_data: TrainingSet) -> None:
    """It beats both baselines, is calibrated, and its file says the same."""
    candidate = propensity.build(propensity_data, None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
    assert candidate.metrics["auc"] > candidate.metrics["type_and_past_rate_auc"] > 0.4
    assert candidate.evidence.over_champion is None
    assert set(candidate.figures) == {"calibration", "gain"}
    assert "not causal" in candidate.card.lower()
    assert "contacts 1.0.0" in candidate.card


def test_a_model_of_noise_is_blocked_and_says_so(propensity_data: TrainingSet) -> None:
    """Shuffled features know nothing of the label: no improvement, no promotion."""
    frame = propensity_data.frame
    labels = ["is_redeemed", "any_redeemed"]
    shuffled = frame.assign(**frame[labels].sample(frac=1, random_state=0).reset_index(drop=True))
    shuffled["any_redeemed"] = shuffled.groupby("contact_id")["is_redeemed"].transform("any")
    candidate = propensity.build(dataclasses.replace(propensity_data, frame=shuffled), None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert not result.passed
    assert "gain over type_and_past_rate" in result.reason


def test_the_champion_is_measured_on_the_same_rows(propensity_data: TrainingSet) -> None:
    """A model compared with itself differs by nothing; what it expected is known by contact, and by row."""
    first = propensity.build(propensity_data, None)
    champion = Champion(model=first.model, onnx=first.onnx)
    again = propensity.build(propensity_data, champion)
    assert again.evidence.over_champion is not None
    assert again.evidence.over_champion.estimate == 0.0
    told = propensity.RECIPE.measure(propensity_data, champion, None).expectations
    assert told.keys() == propensity.THRESHOLDS.calibration.keys()
    rows = {name: len(each.rows) for name, each in told.items()}
    assert rows["row_calibration_error_share"] == 4 * rows["calibration_error"] == again.metrics["test_rows"]


def test_probabilities_that_only_add_up_are_blocked(propensity_data: TrainingSet) -> None:
    """Halved for every action of a campaign whose assignment is not recorded, no sum over actions shows it: rows do."""
    frame = propensity_data.frame
    is_test = frame["contacted_at"] > frame["contacted_at"].max() - propensity.TEST_PERIOD
    rare = frame["is_redeemed"] & (~is_test | (frame.index % 4 == 0))
    data = dataclasses.replace(propensity_data, frame=frame.assign(is_redeemed=rare))
    result = judge(propensity.build(data, None).evidence, propensity.THRESHOLDS)
    assert "row_calibration_error_share" in {check.name for check in result.checks if check.outcome == "missed"}

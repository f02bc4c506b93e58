"""Churn on data with a known truth."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from models import calibration
from models.candidate import Champion
from models.frames import TrainingSet
from models.gates import judge
from models.recipes import churn


@pytest.fixture
def churn_data(clv_data: TrainingSet) -> TrainingSet:
    """Who spent little in the year stays away, however long ago the last purchase was."""
    copies = [clv_data.frame.assign(customer_id=clv_data.frame["customer_id"] + f"-{copy}") for copy in range(5)]
    frame = pd.concat(copies, ignore_index=True)
    random = np.random.default_rng(9)
    logit = 2.0 * (6.0 - np.log1p(frame["spend_364d"].to_numpy()))
    churned = random.random(len(frame)) < 1 / (1 + np.exp(-logit))
    return dataclasses.replace(clv_data, frame=frame.assign(is_churned=churned.astype(float)))


def test_a_model_of_a_real_signal_passes_its_gate(churn_data: TrainingSet) -> None:
    """Better than how long ago the last purchase was, and than a logistic model of that and of the frequency."""
    candidate = churn.build(churn_data, None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
    assert set(candidate.evidence.improvements) == {"recency", "recency_and_frequency"}
    assert candidate.model.output == "probability"
    assert "not causal" in candidate.card.lower()


def test_a_model_of_noise_is_blocked(churn_data: TrainingSet) -> None:
    """Who stays away is drawn: no improvement, no promotion."""
    frame = churn_data.frame
    drawn = np.random.default_rng(1).random(len(frame)) < 0.4
    candidate = churn.build(dataclasses.replace(churn_data, frame=frame.assign(is_churned=drawn.astype(float))), None)
    assert "gain over recency" in judge(candidate.evidence, candidate.thresholds).reason


def test_the_champion_is_compared_on_rows_that_neither_has_seen(churn_data: TrainingSet) -> None:
    """Of a champion that was trained on what is tested now, nothing can be told."""
    first = churn.build(churn_data, None)
    again = churn.build(churn_data, Champion(model=first.model, onnx=first.onnx))
    assert again.evidence.over_champion is not None
    assert again.evidence.over_champion.estimate == 0.0
    assert again.metrics["champion_rows"] == again.metrics["test_rows"]
    frame = churn_data.frame.assign(cutoff_at=churn_data.frame["cutoff_at"] - np.timedelta64(364, "D"))
    older = churn.build(dataclasses.replace(churn_data, frame=frame), Champion(model=first.model, onnx=first.onnx))
    assert older.evidence.over_champion is not None
    assert np.isnan(older.evidence.over_champion.estimate)
    assert judge(older.evidence, older.thresholds).verdict == "undecided"


@pytest.mark.parametrize("more_stay_away", [False, True])
def test_a_truth_that_drifts_after_the_training_is_found(churn_data: TrainingSet, *, more_stay_away: bool) -> None:
    """At a cut-off after the version's own half of the customers stay away for another reason."""
    first = churn.build(churn_data, None)
    frame, last = churn_data.frame, churn_data.frame["cutoff_at"].max()
    later = frame[frame["cutoff_at"] == last].assign(cutoff_at=last + pd.Timedelta(days=28))
    if more_stay_away:
        later["is_churned"] = later["is_churned"].where(later.index % 2 == 0, 1.0)
    data = dataclasses.replace(churn_data, frame=pd.concat([frame, later], ignore_index=True))
    measures = churn.RECIPE.measure(data, Champion(model=first.model, onnx=first.onnx), None)
    [found] = calibration.labels(measures.expectations, churn.THRESHOLDS.calibration, last)
    assert (found.measure, found.rows, found.is_off) == ("calibration_error", len(later), more_stay_away)

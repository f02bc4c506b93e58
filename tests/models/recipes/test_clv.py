"""CLV on data with a known truth."""

from datetime import timedelta

import pandas as pd
import pytest

from models.candidate import Champion
from models.clv import FOLDS
from models.errors import TooLittleDataError, TrainingDataError
from models.frames import TrainingSet
from models.gates import judge
from models.recipes import clv
from models.recipes.cutoffs import split


def test_no_label_window_of_training_reaches_into_the_test(clv_data: TrainingSet) -> None:
    """The last training window closes before the test window opens."""
    train, test = split(clv_data.frame)
    assert train["cutoff_at"].max() + timedelta(days=91) <= test["cutoff_at"].min()
    assert set(test["cutoff_at"]) == {clv_data.frame["cutoff_at"].max()}


def test_a_history_too_short_for_that_is_said_in_words(clv_data: TrainingSet) -> None:
    """Two cut-offs a month apart cannot be kept apart."""
    frame = clv_data.frame
    with pytest.raises(TrainingDataError, match="too short"):
        split(frame[frame["cutoff_at"] < frame["cutoff_at"].min() + pd.Timedelta(days=40)])


def test_too_few_customers_are_said_in_words(clv_data: TrainingSet) -> None:
    """There are as many folds as there must be customers."""
    frame = clv_data.frame
    few = frame["customer_id"].isin(frame["customer_id"].unique()[: FOLDS - 1])
    with pytest.raises(TooLittleDataError, match="3 customers are too few"):
        split(frame[few])


def test_a_model_of_a_real_signal_beats_both_baselines(clv_data: TrainingSet) -> None:
    """On error and on rank, and without a bias that matters."""
    candidate = clv.build(clv_data, None)
    result = judge(candidate.evidence, candidate.thresholds)
    assert result.passed, result.reason
    assert set(candidate.evidence.improvements) == {
        "last_91_days_mae",
        "last_91_days_spearman",
        "mean_of_the_year_mae",
        "mean_of_the_year_spearman",
    }
    assert candidate.model.output == "value"


def test_the_champion_is_measured_on_the_same_rows(clv_data: TrainingSet) -> None:
    """A model compared with itself differs by nothing."""
    first = clv.build(clv_data, None)
    champion = Champion(model=first.model, onnx=first.onnx)
    again = clv.build(clv_data, champion)
    assert again.evidence.over_champion is not None
    assert again.evidence.over_champion.estimate == 0.0
    assert not any(name.startswith("champion") for name in again.evidence.improvements)
    assert clv.RECIPE.measure(clv_data, champion, None).expectations.keys() == clv.THRESHOLDS.calibration.keys()

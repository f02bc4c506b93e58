"""Fairness by group: what was put into the data is found, and fairlearn agrees."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, selection_rate

from models.arrays import Array
from models.fairness import UNKNOWN, by_group, groups_of
from models.gates import GroupFairness
from nextbest.contracts import Fairness

LIMITS = Fairness(selected_share=0.2, selection_rate_ratio=0.8, calibration_error=0.1)
CUSTOMERS = np.arange(4_000).astype(str)
AGES = np.where(np.arange(4_000) % 2 == 0, "young", "old")


def measured(predicted: Array, actual: Array | None = None) -> dict[str, GroupFairness]:
    found = by_group(CUSTOMERS, {"age": AGES}, predicted if actual is None else actual, predicted, LIMITS)
    return {each.group: each for each in found}


def test_a_group_that_is_selected_half_as_often_is_found() -> None:
    """The ratio's interval holds one half, and the favoured group is its own measure."""
    random = np.random.default_rng(1)
    scores = random.random(4_000)
    selected = random.random(4_000) < np.where(AGES == "young", 0.26, 0.13)
    found = measured(scores / 2 + selected / 2)
    assert found["old"].ratio.low < 0.5 < found["old"].ratio.high < 0.8
    assert found["young"].ratio.estimate == 1.0
    assert found["old"].rows == 2_000


def test_the_rates_are_those_of_fairlearn() -> None:
    """Of everybody who scores highest, not of each group's best."""
    predicted = np.random.default_rng(2).random(4_000) + (AGES == "old")
    frame = MetricFrame(
        metrics=selection_rate,
        y_true=predicted,
        y_pred=predicted >= np.quantile(predicted, 0.8),
        sensitive_features=AGES,
    )
    assert {group: each.selection_rate for group, each in measured(predicted).items()} == pytest.approx(
        frame.by_group.to_dict()
    )
    assert min(each.ratio.estimate for each in measured(predicted).values()) == pytest.approx(frame.ratio())


def test_a_small_group_of_which_nobody_is_selected_is_no_proof() -> None:
    """Of two hundred one in a hundred is selected, of forty none: it may be as many."""
    ages = np.where(np.arange(240) < 40, "few", "some")
    predicted = np.random.default_rng(5).random(240)
    predicted[[50, 60]] = 2.0
    few = Fairness(selected_share=1 / 120, selection_rate_ratio=0.8, calibration_error=0.1)
    found = {each.group: each for each in by_group(CUSTOMERS[:240], {"age": ages}, predicted, predicted, few)}
    assert (found["few"].selection_rate, found["some"].selection_rate) == (0.0, 0.01)
    assert found["few"].ratio.estimate == 0.0
    assert found["few"].ratio.low < 0.1
    assert found["few"].ratio.high > 1.0


def test_a_group_of_which_too_much_is_expected_is_found() -> None:
    """A quarter more than comes of it; of the other group it is right."""
    actual = np.random.default_rng(3).gamma(4.0, 10.0, 4_000)
    found = measured(np.where(AGES == "old", 1.25, 1.0) * actual, actual)
    assert found["old"].calibration.estimate == pytest.approx(0.25)
    assert found["young"].calibration.estimate == pytest.approx(0.0)
    assert found["old"].expected == pytest.approx(1.25 * found["old"].happened)


def test_who_is_not_known_or_too_few_to_tell_takes_no_part() -> None:
    """Groups of thirty rows and more are measured, and one alone has nobody to be compared with."""
    ages = np.where(np.arange(4_000) < 20, "few", np.where(np.arange(4_000) < 2_000, "some", UNKNOWN))
    predicted = np.random.default_rng(4).random(4_000)
    assert by_group(CUSTOMERS, {"age": ages}, predicted, predicted, LIMITS) == ()
    both = np.where(ages == UNKNOWN, "more", ages)
    found = by_group(CUSTOMERS, {"age": both}, predicted, predicted, LIMITS)
    assert {each.group for each in found} == {"some", "more"}


def test_a_row_has_the_group_of_its_customer() -> None:
    """Whom the contract's table does not hold, or holds without a value, is of no group."""
    protected = pd.DataFrame({"customer_id": ["1", "2"], "age_band": ["65+", None]})
    groups = groups_of(pd.Series(["2", "1", "3", "1"]), protected)
    assert groups["age_band"].tolist() == [UNKNOWN, "65+", UNKNOWN, "65+"]

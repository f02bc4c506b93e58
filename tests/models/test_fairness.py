"""Fairness by group: what was put into the data is found, and fairlearn agrees."""

import math

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


def test_where_nothing_happened_the_interval_says_how_much_may_have() -> None:
    """Of a thousand of whom three hundred were expected, none is evidence; of fifty with one expected, none is not."""
    random = np.random.default_rng(6)
    predicted = np.full(4_000, 0.3) + random.normal(0, 0.01, 4_000)
    actual = np.where(AGES == "old", 0.0, random.random(4_000) < predicted)
    assert measured(predicted, actual)["old"].calibration.low > 50
    ages = np.where(np.arange(4_000) < 50, "few", "some")
    few = by_group(CUSTOMERS, {"age": ages}, np.where(ages == "few", 0.0, actual), predicted / 15, LIMITS)[0]
    assert few.calibration.low < 0 < few.calibration.high == math.inf


def test_many_groups_that_are_treated_alike_are_no_evidence() -> None:
    """By chance alone some of twenty groups of forty is far from the most favoured one."""
    limits = Fairness(selected_share=0.2, selection_rate_ratio=0.5, calibration_error=0.3)
    ages, found = np.repeat(np.arange(20).astype(str), 40), []
    for seed in range(20):
        random = np.random.default_rng(seed)
        predicted = random.beta(2, 8, 800)
        actual = (random.random(800) < predicted).astype(float)
        judged = by_group(CUSTOMERS[:800], {"age": ages}, actual, predicted, limits)
        found += [any(each.ratio.high < 0.5 or each.calibration.low > 0.3 for each in judged)]
    assert sum(found) <= 2


def test_a_customer_with_many_rows_is_one() -> None:
    """Resampled, he says the same every time: that is no evidence of how his group is treated."""
    customers = np.where(np.arange(4_000) < 100, "one", CUSTOMERS)
    ages = np.where(np.arange(4_000) < 100, "his", AGES)
    predicted = np.random.default_rng(7).random(4_000)
    found = by_group(customers, {"age": ages}, predicted, predicted, LIMITS)
    assert {each.group for each in found} == {"young", "old"}


def test_who_is_not_known_or_too_few_to_tell_takes_no_part() -> None:
    """Groups of thirty customers and more are measured, and one alone has nobody to be compared with."""
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


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([3, None], ["3", UNKNOWN, UNKNOWN]),
        ([2.5, None], ["2.5", UNKNOWN, UNKNOWN]),
        ([True, None], ["True", UNKNOWN, UNKNOWN]),
        ([7, 8], ["7", "8", UNKNOWN]),
        (["unknown", None], ["unknown", UNKNOWN, UNKNOWN]),
        ([None, None], [UNKNOWN, UNKNOWN, UNKNOWN]),
    ],
)
def test_a_group_is_named_as_it_is_in_the_data_whatever_its_type(values: list[object], names: list[str]) -> None:
    """Numbers, and yes or no; one that is really called unknown is a group, and whoever has none is in none."""
    protected = pd.DataFrame({"customer_id": ["1", "2"], "field": values})
    assert groups_of(pd.Series(["1", "2", "3"]), protected)["field"].tolist() == names


def test_a_group_that_is_called_unknown_is_measured() -> None:
    """It is a value like any other."""
    ages = np.where(AGES == "young", "unknown", "old")
    predicted = np.random.default_rng(2).random(4_000)
    found = by_group(CUSTOMERS, {"age": ages}, predicted, predicted, LIMITS)
    assert {each.group for each in found} == {"unknown", "old"}

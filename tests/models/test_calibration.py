"""Calibration in the large: a truth that drifts away from what is expected is told from one that does not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from models.calibration import Expectation, Labels, labels

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SUNDAY = MONDAY - timedelta(days=1)


def answered(rise: float, seed: int, customers: int = 1_000) -> pd.DataFrame:
    """Probabilities, and answers that come as often as they say and by `rise` more; two rows each on a Monday."""
    random = np.random.default_rng(seed)
    customer = np.repeat(np.arange(customers), 2).astype(str)
    predicted = random.beta(2.0, 8.0, len(customer))
    came = random.random(len(customer)) < predicted + rise
    return pd.DataFrame({"customer_id": customer, "at": MONDAY, "predicted": predicted, "actual": came.astype(float)})


def spent(factor: float) -> pd.DataFrame:
    """Amounts of which so many times as much comes, with much noise."""
    random = np.random.default_rng(3)
    predicted = random.gamma(1.0, 100.0, 1_000)
    came = factor * predicted * random.lognormal(-0.5, 1.0, 1_000)
    customer = np.arange(1_000).astype(str)
    return pd.DataFrame({"customer_id": customer, "at": MONDAY, "predicted": predicted, "actual": came})


def told(rows: pd.DataFrame, limit: float, *, is_share: bool = False, since: datetime = SUNDAY) -> Labels:
    [found] = labels({"measure": Expectation(rows, is_share)}, {"measure": limit, "of another kind": 0.6}, since)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_truth_that_does_not_drift_is_as_expected(seed: int) -> None:
    """Another thousand customers who answer as often as was expected."""
    found = told(answered(0.0, seed), limit=0.05)
    assert (found.rows, found.is_told, found.is_off) == (2_000, True, False)
    assert found.bias.estimate == pytest.approx(found.expected - found.happened)


@pytest.mark.parametrize("rise", [-0.15, 0.15])
def test_a_truth_that_drifts_is_found(rise: float) -> None:
    """Whether more comes than is expected, or less."""
    found = told(answered(rise, seed=1), limit=0.05)
    assert found.is_off
    assert np.sign(found.bias.low) == np.sign(found.bias.high) == -np.sign(rise)


def test_what_may_still_be_within_the_limit_is_not_off() -> None:
    """The estimate is beyond it, its interval is not: less than that is let through at a training too."""
    found = told(answered(0.055, seed=1), limit=0.05)
    assert abs(found.bias.estimate) > 0.05
    assert not found.is_off


def test_amounts_are_off_by_a_part_of_what_came() -> None:
    """A tenth more than was expected is let through, twice as much is not."""
    assert not told(spent(1.1), limit=0.15, is_share=True).is_off
    twice = told(spent(2.0), limit=0.15, is_share=True)
    assert twice.is_off
    assert twice.bias.estimate == pytest.approx(twice.expected / twice.happened - 1.0)


def test_nothing_came_of_an_amount() -> None:
    """There is nothing to be a part of, and no doubt either."""
    assert told(spent(0.0), limit=0.15, is_share=True).is_off


def test_labels_that_are_no_newer_do_not_count() -> None:
    """What the champion was measured on is off here, and what came later is not."""
    before = answered(0.5, seed=1).assign(at=SUNDAY)
    found = told(pd.concat([before, answered(0.0, seed=2)], ignore_index=True), limit=0.05)
    assert (found.rows, found.is_off) == (2_000, False)


@pytest.mark.parametrize("customers", [0, 1, 400])
def test_few_customers_tell_nothing(customers: int) -> None:
    """However much they are off, and however many rows each has."""
    found = told(answered(0.5, seed=1, customers=customers), limit=0.05)
    assert (found.is_told, found.is_off) == (False, False)


def test_the_rows_of_a_customer_stand_or_fall_together() -> None:
    """The same rows ten times over are no more evidence."""
    once, often = answered(0.0, seed=1), pd.concat([answered(0.0, seed=1)] * 10, ignore_index=True)
    assert told(often, limit=0.05).bias.low == pytest.approx(told(once, limit=0.05).bias.low)

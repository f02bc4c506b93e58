"""How long answers take, though of young contacts only the quick ones are known."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.delays import BUCKETS, ONE, SETTLED, Delays, Scale, delays
from nextbest.moments import to_microseconds

DAY = timedelta(days=1)
SCALE = Scale.of(14 * DAY)
NOW = to_microseconds(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
DAY_US = DAY // timedelta(microseconds=1)


def known(chance: np.random.Generator, answers: int, mean_days: float, span_days: float) -> Delays:
    """What is known of answers to contacts that were seen evenly through the last days."""
    counts: dict[str, list[int]] = {}
    took = chance.exponential(mean_days, answers)
    for took_days, age_days in zip(took, chance.uniform(0.0, span_days, answers), strict=True):
        if took_days <= min(age_days, 14.0):
            row = counts.setdefault(SCALE.cohort(NOW - int(age_days * DAY_US)), [0] * BUCKETS)
            row[SCALE.bucket(int(took_days * DAY_US))] += ONE
    return delays(counts, SCALE, NOW)


def share(found: Delays, age: float, spread: float = 0.0) -> float:
    return float(found.mean_shares(np.array([age]), np.array([spread]))[0])


@pytest.mark.parametrize("mean_days", [0.5, 4.0, 20.0])
def test_finds_the_distribution_behind_what_is_cut_off(mean_days: float) -> None:
    """Of contacts not older than the delay, half of which have not had time to answer."""
    chance = np.random.default_rng(7)
    found = [known(chance, 4_000, mean_days, 15.0) for _ in range(20)]
    for days in (1, 3, 7, 11):
        truth = (1.0 - np.exp(-days / mean_days)) / (1.0 - np.exp(-14.0 / mean_days))
        assert np.mean([share(each, days * DAY_US) for each in found]) == pytest.approx(truth, abs=0.02)


def test_before_any_answer_half_of_them_come_at_once() -> None:
    """So that what is not known of delays cannot more than double a rate."""
    found = delays({}, SCALE, NOW)
    assert share(found, 0.0) == 0.5
    assert share(found, 14 * DAY_US) == pytest.approx(1.0)
    assert np.all(np.diff(found.shares) > 0.0)


@given(
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, BUCKETS - 1)), max_size=60),
    st.floats(0.0, 20.0),
    st.floats(0.0, 1.0),
)
def test_a_share_is_one(answers: list[tuple[int, int]], age_days: float, spread_days: float) -> None:
    """Between 0 and 1, growing with age, and all by the delay, whatever is counted."""
    counts: dict[str, list[int]] = {SETTLED: [3 * ONE] + [0] * (BUCKETS - 1)}
    for cohorts_ago, bucket in answers:
        counts.setdefault(SCALE.cohort(NOW - cohorts_ago * SCALE.width), [0] * BUCKETS)[bucket] += ONE
    found = delays(counts, SCALE, NOW)
    assert np.all((found.shares > 0.0) & (found.shares <= 1.0))
    assert np.all(np.diff(found.shares) >= 0.0)
    assert found.shares[-1] == 1.0
    age, half = age_days * DAY_US, spread_days * DAY_US * np.sqrt(3.0)
    among = share(found, age, spread_days * DAY_US)
    assert share(found, age - half) - 1e-9 <= among <= share(found, age + half) + 1e-9


def test_what_is_settled_has_all_its_answers() -> None:
    """Those of a cohort have theirs by the delay; and the median is where half of them were."""
    counts = {SETTLED: [0] * 10 + [100 * ONE] + [0] * (BUCKETS - 11)}
    found = delays(counts, SCALE, NOW)
    assert share(found, SCALE.age(SETTLED, NOW) - SCALE.width) == 1.0
    edges = SCALE.edges
    assert edges[9] <= found.quantile(0.5) / timedelta(microseconds=1) <= edges[10]


def test_buckets_and_cohorts_cover_all() -> None:
    """An answer at once and one at the last moment; of a contact from the future as much has come as at once."""
    assert (SCALE.bucket(0), SCALE.bucket(SCALE.delay)) == (0, BUCKETS - 1)
    assert 0 <= SCALE.age(SCALE.cohort(NOW), NOW) < SCALE.width
    assert share(delays({}, SCALE, NOW), -5.0 * DAY_US) == 0.5

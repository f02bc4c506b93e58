"""Maximum likelihood where the answer is known in closed form."""

import numpy as np
import pytest

from models import gamma_gamma
from models.arrays import Array
from models.errors import TooLittleDataError
from models.likelihood import maximize


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_the_rate_of_waiting_times_is_found_in_any_unit(unit: float) -> None:
    """One over their mean, and its standard error that over the root of how many there are."""
    times = np.random.default_rng(18).exponential(unit, 500)

    def likelihood(values: Array) -> tuple[float, Array]:
        return float(len(times) * np.log(values[0]) - values[0] * times.sum()), len(times) / values - times.sum()

    found = maximize(likelihood, np.array([1.0]), len(times))
    assert found.estimates[0] == pytest.approx(1.0 / times.mean(), rel=1e-6)
    assert found.standard_errors[0] == pytest.approx(1.0 / times.mean() / np.sqrt(500), rel=1e-4)


def test_what_the_data_do_not_tell_apart_has_no_finite_standard_error() -> None:
    """The sum of two parameters says nothing of each."""

    def likelihood(values: Array) -> tuple[float, Array]:
        total = values.sum()
        return float(np.log(total) - total), np.full(2, 1.0 / total - 1.0)

    found = maximize(likelihood, np.array([3.0, 1.0]), 1)
    assert found.estimates.sum() == pytest.approx(1.0, abs=1e-4)
    assert not (found.standard_errors < 100.0).any()


def test_values_without_a_mean_are_said_in_words() -> None:
    """A tail as heavy as that makes everybody's expected value a matter of the last big spender."""
    random = np.random.default_rng(19)
    wild = random.pareto(0.5, 3_000) + 0.01
    with pytest.raises(TooLittleDataError, match="no mean value"):
        gamma_gamma.fit(np.ones(3_000), wild)

"""Thompson sampling's probabilities: exact without a draw."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import expit

from nextbest.thompson import best_probabilities

DRAWS = 1_000_000


def drawn(location: np.ndarray, deviation: np.ndarray, gain: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """How often each is the best of a million draws."""
    chance, wins = np.random.default_rng(5), np.zeros(len(location))
    for _ in range(10):
        odds = location + deviation * chance.standard_normal((DRAWS // 10, len(location)))
        wins += np.bincount((gain * expit(odds) - cost).argmax(axis=1), minlength=len(location))
    return wins / DRAWS


def vector(*numbers: float) -> np.ndarray:
    return np.array(numbers)


@pytest.mark.parametrize(
    ("location", "deviation", "gain", "cost"),
    [
        (vector(0, -3, -3), vector(0, 0.5, 0.5), vector(0, 10, 10), vector(0, 0.1, 0.1)),
        (vector(0, -3, -3.2, -4), vector(0, 0.1, 0.8, 1.5), vector(0, 10, 12, 30), vector(-0.5, 0.1, 0.2, 0.0)),
        (vector(0, -1, 2, 0), vector(0, 1.0, 1.0, 0.3), vector(0, 1, -1, 2), vector(-0.2, 0.0, -1.0, 0.5)),
        (vector(0, -2, -2), vector(0, 0.0, 1e-6), vector(0, 5, 5), vector(0, 0.0, 0.0)),
        (vector(*np.linspace(-4, -2, 12)), np.full(12, 0.6), np.linspace(3, 20, 12), np.zeros(12)),
    ],
    ids=["twins", "an unsure one", "a loss", "certain", "many"],
)
def test_equals_a_million_draws(
    *, location: np.ndarray, deviation: np.ndarray, gain: np.ndarray, cost: np.ndarray
) -> None:
    """The quadrature agrees with a million draws within five standard errors of theirs."""
    exact, often = best_probabilities(location, deviation, gain, cost), drawn(location, deviation, gain, cost)
    assert exact.sum() == pytest.approx(1.0)
    assert (np.abs(exact - often) <= 5 * np.sqrt(exact * (1 - exact) / DRAWS) + 1e-9).all()


def test_certain_ones_are_settled_by_worth_and_place() -> None:
    """Without uncertainty the best has all the mass, and of equals the first."""
    exact = best_probabilities(np.zeros(3), np.zeros(3), np.array([0.0, 2.0, 2.0]), np.zeros(3))
    assert exact.tolist() == [0.0, 1.0, 0.0]


candidates = st.lists(
    st.tuples(st.floats(-8, 4), st.floats(0, 3), st.floats(-5, 50), st.floats(0, 2)), min_size=1, max_size=12
)


@given(candidates)
@example([(0.0, 0.0, 0.0, 1.0), (0.0, 1.0, 2.2e-313, 0.0)])
def test_is_a_distribution(given_: list[tuple[float, float, float, float]]) -> None:
    """Whatever is believed of the candidates, masses are not negative and sum to one."""
    exact = best_probabilities(*np.array(given_).T)
    assert (exact >= 0.0).all()
    assert exact.sum() == pytest.approx(1.0)

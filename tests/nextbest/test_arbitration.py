"""The pmf, the order drawn from it, and the probability of what is shown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.arbitration import Strategy, draw_order, selection_pmf, selection_probability
from nextbest.hashing import uniforms

priorities = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30).map(np.array)
strategies = st.sampled_from(["greedy", "epsilon"])


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(priorities, strategies, st.floats(0, 1))
def test_pmf_is_a_distribution(values: np.ndarray, strategy: Strategy, epsilon: float) -> None:
    """Whatever the priorities, masses are not negative, sum to one, and the best has the most."""
    pmf = selection_pmf(values, strategy, epsilon)
    assert (pmf >= 0.0).all()
    assert pmf.sum() == pytest.approx(1.0)
    assert pmf[np.argmax(values)] == pmf.max()


def test_epsilon_gives_everyone_a_share() -> None:
    """Exploration is exact: its share is spread evenly, the rest goes to the best."""
    assert selection_pmf(np.array([0.0, 3.0, 1.0, -1.0]), "epsilon", 0.1).tolist() == [0.025, 0.925, 0.025, 0.025]


def test_a_tie_goes_to_the_first() -> None:
    """Doing nothing comes first: an action that is worth no more does not displace it."""
    assert selection_pmf(np.array([0.0, 0.0]), "greedy").tolist() == [1.0, 0.0]


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(priorities, strategies, st.floats(0, 1), st.text(max_size=5))
def test_order_is_a_permutation(values: np.ndarray, strategy: Strategy, epsilon: float, name: str) -> None:
    """Everybody has exactly one place, those without mass included."""
    pmf = selection_pmf(values, strategy, epsilon)
    order = draw_order(pmf, values, uniforms(len(values), name))
    assert sorted(order.tolist()) == list(range(len(values)))


def test_without_mass_priority_decides() -> None:
    """A greedy order is the order of priority."""
    values = np.array([0.0, 3.0, 1.0, -1.0])
    order = draw_order(selection_pmf(values, "greedy"), values, uniforms(4, "any"))
    assert order.tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize("available", [(1, 1, 1, 1), (1, 0, 1, 1), (0, 1, 0, 1), (1, 0, 0, 1)])
def test_first_available_has_its_share_of_what_is_available(available: tuple[int, ...]) -> None:
    """Over 20,000 draws the first available comes as often as p over the sum of p available says, within 4 sigma."""
    pmf = np.array([0.4, 0.3, 0.2, 0.1])
    mask = np.array(available, dtype=bool)
    draws = 20_000
    chosen = np.zeros(4)
    for number in range(draws):
        order = draw_order(pmf, pmf, uniforms(4, "order", number))
        chosen[next(i for i in order if mask[i])] += 1
    for i in np.flatnonzero(mask):
        expected = selection_probability(pmf.tolist(), mask.tolist(), int(i))
        assert chosen[i] / draws == pytest.approx(expected, abs=4 * (expected * (1 - expected) / draws) ** 0.5 + 1e-12)


def test_probability_is_one_where_nothing_is_random() -> None:
    """When the only candidate with mass is gone, the next by priority comes for certain."""
    assert selection_probability([1.0, 0.0, 0.0], [False, True, True], 1) == 1.0

"""The pmf, the order drawn from it, and the probability of what is shown."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.arbitration import (
    draw_order,
    epsilon_greedy,
    greedy,
    inverse_gap,
    selection_probability,
    with_floor,
)
from nextbest.hashing import uniforms

Pmf = Callable[[np.ndarray], np.ndarray]
priorities = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30).map(np.array)
strategies = st.one_of(
    st.just(greedy),
    st.floats(0, 1).map(lambda epsilon: lambda values: epsilon_greedy(values, epsilon)),
    st.floats(1e-3, 1e6).map(lambda gamma: lambda values: inverse_gap(values, gamma)),
)


@given(priorities, strategies, st.floats(0, 0.5))
def test_pmf_is_a_distribution(values: np.ndarray, strategy: Pmf, floor: float) -> None:
    """Whatever the priorities, masses are above the floor, sum to one, and the best has the most."""
    pmf = with_floor(strategy(values), floor)
    assert (pmf >= min(floor, 1 / len(values)) - 1e-12).all()
    assert pmf.sum() == pytest.approx(1.0)
    assert pmf[np.argmax(values)] == pytest.approx(pmf.max())


def test_epsilon_gives_everyone_a_share() -> None:
    """Exploration is exact: its share is spread evenly, the rest goes to the best."""
    assert epsilon_greedy(np.array([0.0, 3.0, 1.0, -1.0]), 0.1).tolist() == [0.025, 0.925, 0.025, 0.025]


def test_inverse_gap_is_the_papers() -> None:
    """1 / (n + gamma · gap) for each but the best: at n = 3 and gamma = 2, gaps of 1 and 3 give 1/5 and 1/9."""
    assert inverse_gap(np.array([0.0, 3.0, 2.0]), 2.0).tolist() == pytest.approx([1 / 9, 1 - 1 / 5 - 1 / 9, 1 / 5])


def test_the_floor_keeps_everyone_possible() -> None:
    """A floor is taken from all alike; where it cannot be had, all have the same."""
    assert with_floor(np.array([1.0, 0.0]), 0.1).tolist() == pytest.approx([0.9, 0.1])
    assert with_floor(np.array([1.0, 0.0, 0.0]), 0.5).tolist() == pytest.approx([1 / 3] * 3)


def test_a_tie_goes_to_the_first() -> None:
    """Doing nothing comes first: an action that is worth no more does not displace it."""
    assert greedy(np.array([0.0, 0.0])).tolist() == [1.0, 0.0]


@given(priorities, strategies, st.text(max_size=5))
def test_order_is_a_permutation(values: np.ndarray, strategy: Pmf, name: str) -> None:
    """Everybody has exactly one place, those without mass included."""
    order = draw_order(strategy(values), values, uniforms(len(values), name))
    assert sorted(order.tolist()) == list(range(len(values)))


def test_without_mass_priority_decides() -> None:
    """A greedy order is the order of priority."""
    values = np.array([0.0, 3.0, 1.0, -1.0])
    assert draw_order(greedy(values), values, uniforms(4, "any")).tolist() == [1, 2, 0, 3]


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
    """When the only candidate with mass is gone, the next by priority comes for certain; so does what is ahead."""
    assert selection_probability([1.0, 0.0, 0.0], [False, True, True], 1) == 1.0
    assert selection_probability([0.0, 0.7, 0.3], [True, True, True], 0, ahead=1) == 1.0
    assert selection_probability([0.0, 0.7, 0.3], [False, True, True], 2, ahead=1) == pytest.approx(0.3)


Logged = tuple[int, float]


def _ordered(pmf: np.ndarray, worth: np.ndarray, mask: np.ndarray, number: int) -> Logged:
    """Ours: the first available of the order, logged with p over the sum of p available."""
    chosen = next(int(i) for i in draw_order(pmf, worth, uniforms(3, "order", number)) if mask[i])
    return chosen, selection_probability(pmf.tolist(), mask.tolist(), chosen)


def _redrawn(pmf: np.ndarray, _worth: np.ndarray, mask: np.ndarray, number: int) -> Logged:
    """Drawing again until something available comes, logged with the pmf drawn from."""
    for again in range(100):
        chosen = int(np.searchsorted(pmf.cumsum(), uniforms(1, "redraw", number, again)[0]))
        if mask[chosen]:
            return chosen, float(pmf[chosen])
    raise AssertionError


def _next_best(pmf: np.ndarray, worth: np.ndarray, mask: np.ndarray, number: int) -> Logged:
    """Taking the best that is available instead of what was drawn, logged with its place in the pmf."""
    chosen = int(np.searchsorted(pmf.cumsum(), uniforms(1, "next", number)[0]))
    if not mask[chosen]:
        chosen = int(np.argmax(np.where(mask, worth, -np.inf)))
    return chosen, float(pmf[chosen])


@pytest.mark.parametrize(("way", "is_unbiased"), [(_ordered, True), (_redrawn, False), (_next_best, False)])
def test_inverse_propensity_weighting_is_unbiased(*, way: Callable[..., Logged], is_unbiased: bool) -> None:
    """Where the best action is unavailable half of the time, only the logged probability of the order is true.

    An action that can always be had answers 1 to whoever gets it: weighted by 1 / probability, its mean over all
    decisions must be 1. Drawing again, or the next best with its old probability, is off by more than 10 sigma.
    """
    worth, pmf, decisions = np.array([3.0, 2.0, 1.0]), np.array([0.6, 0.25, 0.15]), 20_000
    weights = np.zeros((decisions, 3))
    for number in range(decisions):
        mask = np.array([number % 2 == 0, True, True])
        chosen, probability = way(pmf, worth, mask, number)
        weights[number, chosen] = 1.0 / probability
    error = np.abs(weights[:, 1].mean() - 1.0) / (weights[:, 1].std() / decisions**0.5)
    assert (error < 4) if is_unbiased else (error > 10)


def test_what_is_drawn_had_a_chance() -> None:
    """Of masses too small for a race, priority decides: nothing comes first with probability 0."""
    priorities = np.array([2.0, 0.0, 1.0])
    pmf = with_floor(np.array([1.0, 5e-324, 0.0]), 0.0)
    order = draw_order(pmf, priorities, np.full(3, 0.5))
    assert order.tolist() == [0, 2, 1]
    available = [False, True, True]
    assert selection_probability(pmf[order].tolist(), available, 1) == 1.0

"""A hierarchy finds how far customers vary, and believes each as much as there is to believe."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models.arrays import Array
from models.hierarchy import Codes, Hierarchy, fit
from models.linear import sigmoid

DESIGN = np.column_stack([np.ones(6), np.tile(np.eye(3), (2, 1)), np.repeat([-0.5, 0.5], 3)])
BLOCKS = np.array([0, 1, 1, 1, 2])
WITHIN = np.array([0.8, 0.5, 0.5, 0.5, 0.05])
SEGMENTS = np.array([[-1.0, 0.8, 0.0, -0.8, 0.5], [-0.5, -0.8, 0.0, 0.8, -0.5]])


def world(customers: int, each: int, seed: int = 2) -> tuple[Array, Codes, Array, Array]:
    random = np.random.default_rng(seed)
    segment = random.integers(0, 2, customers)
    true = SEGMENTS[segment] + random.normal(size=(customers, 5)) * WITHIN
    sends = random.multinomial(each, np.full(6, 1 / 6), customers)
    answers = random.binomial(sends, sigmoid(true @ DESIGN.T))
    return true, segment, sends.astype(np.float64), answers.astype(np.float64)


def fitted(segment: Codes, sends: Array, answers: Array) -> Hierarchy:
    return fit(DESIGN, BLOCKS, csr_matrix(sends), csr_matrix(answers), segment, segments=2, rounds=60)


def test_it_finds_how_customers_vary_and_how_segments_answer() -> None:
    """Spreads to a tenth of a log odds, a segment's answer in each cell to a seventh."""
    _, segment, sends, answers = world(2_000, 60)
    found = fitted(segment, sends, answers)
    assert np.sqrt(found.within) == pytest.approx(WITHIN, abs=0.1)
    answers_of_segments = DESIGN @ found.segments.T
    assert answers_of_segments == pytest.approx(DESIGN @ SEGMENTS.T, abs=0.15)


def test_nineteen_of_twenty_truths_lie_within_two_deviations() -> None:
    """The posterior knows how little it knows, with few answers and with many."""
    for each in (6, 60):
        true, segment, sends, answers = world(2_000, each)
        posterior = fitted(segment, sends, answers).posterior(sends, answers, segment)
        mean, variance = posterior.linear(DESIGN)
        is_inside = np.abs(mean - true @ DESIGN.T) < 1.96 * np.sqrt(variance)
        assert is_inside.mean() == pytest.approx(0.95, abs=0.03)


def test_a_customer_moves_from_the_segment_to_their_own_rate_as_answers_come() -> None:
    """Nothing known: the segment's; a thousand sends: their own; a segment never seen: everybody's, and less sure."""
    _, segment, sends, answers = world(1_000, 30)
    found = fitted(segment, sends, answers)
    growing = np.array([0.0, 3.0, 30.0, 3_000.0])[:, None] * np.ones(6)
    posterior = found.posterior(growing, growing * 0.9, np.zeros(4, dtype=np.int64))
    answer = sigmoid(posterior.mean @ DESIGN.T).mean(axis=1)
    assert posterior.mean[0] == pytest.approx(found.segments[0])
    assert (np.diff(answer) > 0).all()
    assert answer[-1] == pytest.approx(0.9, abs=0.01)
    unknown = found.posterior(np.zeros((1, 6)), np.zeros((1, 6)), np.array([-1]))
    assert unknown.mean[0] == pytest.approx(found.everybody)
    assert (np.diag(unknown.covariance[0]) >= np.diag(posterior.covariance[0])).all()


def test_customers_who_always_or_never_answer_have_a_finite_posterior() -> None:
    """Where the likeliest rate is 0 or 1, Newton's method arrives all the same."""
    _, segment, sends, answers = world(1_000, 30)
    found = fitted(segment, sends, answers)
    sent = np.full((2, 6), 500.0)
    posterior = found.posterior(sent, sent * np.array([[0.0], [1.0]]), np.zeros(2, dtype=np.int64))
    answer = sigmoid(posterior.mean @ DESIGN.T)
    assert (answer[0] < 0.02).all()
    assert (answer[1] > 0.98).all()

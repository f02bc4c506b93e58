"""Pairs of answers tell how far customers vary, with many sends to each and with a handful."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models.arrays import Array
from models.linear import sigmoid
from models.variation import within

CHANNELS = 3
DESIGN = np.column_stack(
    [np.ones(6), np.tile(np.eye(CHANNELS), (2, 1)), np.repeat([-0.5, 0.5], CHANNELS), np.tile([1.0, -1.0], 3)]
)
BLOCKS = np.array([0, 1, 1, 1, 2, 3])
LEVEL = np.array([-1.6, 0.3, 0.0, -0.3, 0.0, 0.2])


def found(variances: Array, customers: int, each: float, seed: int = 3) -> Array:
    """The variance of each block, as estimated where it is `variances`."""
    random = np.random.default_rng(seed)
    sends = random.poisson(each / len(DESIGN), (customers, len(DESIGN)))
    true = LEVEL + random.normal(size=(customers, len(LEVEL))) * np.sqrt(variances[BLOCKS])
    answers = random.binomial(sends, sigmoid(true @ DESIGN.T))
    rate = np.where(sends.any(axis=0), answers.sum(axis=0) / np.maximum(sends.sum(axis=0), 1), 0.5)
    told = within(
        DESIGN, BLOCKS, (csr_matrix(sends), csr_matrix(answers)), np.zeros(customers, dtype=np.int64), rate[None, :]
    )
    return told[[0, 1, 4, 5]]


@pytest.mark.parametrize("each", [5, 40])
def test_it_finds_how_far_customers_vary(each: int) -> None:
    """To a sixth of a log odds squared, with five sends to a customer as with forty."""
    variances = np.array([0.8, 0.4, 0.0, 0.0])
    assert found(variances, 8_000, each) == pytest.approx(variances, abs=1 / 6)


@pytest.mark.parametrize("each", [4, 40])
def test_customers_who_are_all_alike_are_not_told_apart(each: int) -> None:
    """Chance alone looks like variation where there are few sends, and is not taken for it."""
    assert (found(np.zeros(4), 8_000, each) < 0.1).all()


def test_customers_without_a_second_send_tell_nothing() -> None:
    """One answer each: there is no pair, and no variation to be told."""
    sends = np.eye(6)[np.arange(600) % 6]
    answers = sends * (np.arange(600) % 4 == 0)[:, None]
    rates = np.full((1, 6), 0.25)
    told = within(DESIGN, BLOCKS, (csr_matrix(sends), csr_matrix(answers)), np.zeros(600, dtype=np.int64), rates)
    assert told == pytest.approx(np.zeros(6))


def test_what_is_sure_of_a_segment_is_taken_as_it_is() -> None:
    """A segment in which a cell is always answered has no variance there, and no error."""
    sends = np.full((50, 6), 3.0)
    answers = np.where(np.arange(6) == 0, 3.0, 1.0) * np.ones((50, 1))
    rates = answers.sum(axis=0)[None, :] / 150.0
    told = within(DESIGN, BLOCKS, (csr_matrix(sends), csr_matrix(answers)), np.zeros(50, dtype=np.int64), rates)
    assert np.isfinite(told).all()
    assert (told >= 0.0).all()

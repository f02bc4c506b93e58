"""Draws that are hashes: uniform, repeatable, and independent where their keys differ."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextbest.hashing import uniform, uniforms


@given(st.integers(0, 40), st.lists(st.text(max_size=8) | st.integers(-(2**63), 2**63), max_size=4))
def test_same_key_same_numbers(count: int, key: list[str | int]) -> None:
    """A draw can be repeated from its key alone and lies in the open interval, so that its logarithm is finite."""
    drawn = uniforms(count, *key)
    assert drawn.shape == (count,)
    assert np.array_equal(drawn, uniforms(count, *key))
    assert ((drawn > 0.0) & (drawn < 1.0)).all()


@given(st.lists(st.text(max_size=8) | st.integers(-(2**63), 2**63), max_size=4))
def test_one_number_is_the_first_of_many(key: list[str | int]) -> None:
    """However it is asked for, a draw is the same number, to the last bit."""
    assert uniform(*key) == uniforms(3, *key)[0]


def test_keys_do_not_run_together() -> None:
    """Where one part ends and the next begins is part of the key."""
    assert uniforms(1, "ab", "c") != uniforms(1, "a", "bc")


def test_uniform_over_decisions() -> None:
    """Over many decision ids the draws fill ten equal bins evenly (chi-square with 9 degrees, 99.9 %)."""
    draws = np.array([uniforms(1, "order", f"decision-{number}")[0] for number in range(20_000)])
    counts = np.histogram(draws, bins=10, range=(0.0, 1.0))[0]
    assert ((counts - 2_000) ** 2 / 2_000).sum() < 27.9


def test_salts_are_independent() -> None:
    """Two salts put the same decisions in unrelated places: a bucket of one says nothing about the other."""
    ids = [f"decision-{number}" for number in range(5_000)]
    one = np.array([uniforms(1, "salt one", name)[0] for name in ids])
    two = np.array([uniforms(1, "salt two", name)[0] for name in ids])
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05

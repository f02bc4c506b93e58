"""The online residual: what answers change, whatever their order."""

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.policy import LearningFeature, Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.residual import Posteriors, Statistics, numbers, statistics

LEARNING = [LearningFeature(name="spend_91d", scale=50.0)]
answers = st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 0.99), st.booleans()), min_size=1, max_size=20)


def total(given_: list[tuple[float, float, bool]]) -> Statistics:
    first, *rest = (statistics((1.0, x), p, responded=responded) for x, p, responded in given_)
    for each in rest:
        first += each
    return first


def corrected(policy: Policy, learned: Statistics | None, x: float = 0.0, *, known: bool = True) -> tuple[float, float]:
    """Mean and variance of the correction of apples for a customer with this number."""
    known_actions = set(policy.actions) if known else set()
    learned_by = {"apples": learned} if learned else {}
    posteriors = Posteriors(policy.roll, known_actions, 0.5, 2, learned_by)
    mean, variance = posteriors.of([policy.actions["apples"]], np.array([1.0, x]))
    return mean.item(), variance.item()


def test_numbers_are_scaled_and_bounded() -> None:
    """A customer's numbers come in their scale, missing ones as 0, none beyond three."""
    assert numbers(LEARNING, {"spend_91d": 25.0}).tolist() == [1.0, 0.5]
    assert numbers(LEARNING, {}).tolist() == [1.0, 0.0]
    assert numbers(LEARNING, {"spend_91d": 1e9}).tolist() == [1.0, 3.0]


def test_without_answers_the_model_is_taken_at_its_word(policy: Policy) -> None:
    """The prior has no opinion, and is as unsure as the policy says, more so for a customer far from the usual."""
    assert corrected(policy, None) == pytest.approx((0.0, 0.25))
    assert corrected(policy, None, x=2.0) == pytest.approx((0.0, 0.25 + 4 * 0.25))


def test_answers_move_the_mean_and_make_it_surer(policy: Policy) -> None:
    """Nobody responding to what was given 50 % lowers the odds; more of the same lowers them further, and surer."""
    few, many = (corrected(policy, total([(0.0, 0.5, False)] * count)) for count in (10, 100))
    assert many[0] < few[0] < 0.0
    assert many[1] < few[1] < 0.25


def test_is_the_one_step_posterior(policy: Policy) -> None:
    """By hand: 40 answers at p = 0.1, 10 of them yes: precision 4 + 40 · 0.09, gradient 10 - 4."""
    mean, variance = corrected(policy, total([(0.0, 0.1, i < 10) for i in range(40)]))
    assert variance == pytest.approx(1 / (4 + 3.6))
    assert mean == pytest.approx(6 / 7.6)


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(answers, st.randoms(use_true_random=False))
def test_order_does_not_matter(given_: list[tuple[float, float, bool]], chance: Random) -> None:
    """Sums commute: answers in another order, or summed apart, make the same statistics up to rounding."""
    shuffled = list(given_)
    chance.shuffle(shuffled)
    one, other = total(given_), total(shuffled)
    assert one.answers == other.answers
    assert np.allclose(one.information, other.information)
    assert np.allclose(one.gradient, other.gradient)


def test_a_start_is_worth_its_evidence(document: dict[str, Any], policy: Policy) -> None:
    """What the policy believes of a new action counts as so many answers, until a model knows the action."""
    document["actions"]["actions"][0]["starting"] = {"propensity": 0.1, "evidence": 100}
    new = compile_policy(PolicyDocument.model_validate(document))
    assert corrected(new, None, known=False)[1] == pytest.approx(1 / 9)
    assert corrected(new, None, known=True)[1] == pytest.approx(0.25)
    assert corrected(policy, None, known=False)[1] == pytest.approx(0.25)

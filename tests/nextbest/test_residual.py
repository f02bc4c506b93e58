"""The online residual: what answers change, whatever their order."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from nextbest.policy import LearningFeature, Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.residual import Beliefs, Posteriors, Statistics, numbers
from tests.nextbest.conftest import DOCUMENT, StandInModels

LEARNING = [LearningFeature(name="spend_91d", scale=50.0)]


def total(given_: list[tuple[float, float, bool]]) -> Statistics:
    """What contacts come to: a number of the customer, the probability that the model gave, and the answer."""
    x = np.array([(1.0, number) for number, _, _ in given_])
    p, y = np.array([(p, float(responded)) for _, p, responded in given_]).T
    return Statistics(
        seen=len(given_),
        answered=int(y.sum()),
        observed=x.T @ y,
        expected=x.T @ p,
        information=(x.T * p * (1.0 - p)) @ x,
        x=x.sum(axis=0),
    )


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


def test_is_the_mode_of_the_posterior(policy: Policy) -> None:
    """For contacts that are all alike: what came less what is expected there is what the prior pulls back."""
    mean, variance = corrected(policy, total([(0.0, 0.1, i < 10) for i in range(40)]))
    p = expit(logit(0.1) + mean)
    assert 10 - 40 * p == pytest.approx(4 * mean)
    assert variance == pytest.approx(1 / (4 + 40 * p * (1 - p)))


@pytest.mark.parametrize(("started", "is_"), [(0.01, 0.2), (0.5, 0.02), (0.05, 0.9)])
def test_a_model_that_is_far_off_is_corrected_and_no_further(policy: Policy, started: float, is_: float) -> None:
    """A Newton step alone makes 100 % of the 20 % that an action has which was started at 1 %."""
    mean, _ = corrected(policy, total([(0.0, started, i < 2_000 * is_) for i in range(2_000)]))
    assert expit(logit(started) + mean) == pytest.approx(is_, rel=0.4)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.floats(0.03, 0.4), st.floats(-1.0, 1.0), st.floats(-0.5, 0.5))
@example(0, 0.4, 1.0, 0.5)
@example(0, 0.3, 1.0, -0.5)
def test_sums_tell_what_the_contacts_tell(seed: int, p: float, shift: float, turn: float) -> None:
    """The mode by sums alone is near the one by every contact: what is missing grows with how far off the model is."""
    chance = np.random.default_rng(seed)
    x = np.column_stack([np.ones(2_000), chance.uniform(0.0, 2.0, 2_000)])
    odds = logit(p) + chance.normal(0.0, 0.5, 2_000)
    y = chance.random(2_000) < expit(odds + x @ [shift, turn])
    given_ = list(zip(x[:, 1].tolist(), expit(odds).tolist(), y.tolist(), strict=True))
    b = np.zeros(2)
    for _ in range(50):
        found = expit(odds + x @ b)
        b += np.linalg.solve((x.T * found * (1 - found)) @ x + 4 * np.eye(2), x.T @ (y - found) - 4 * b)
    policy = compile_policy(PolicyDocument.model_validate(DOCUMENT))
    for at in (0.5, 1.5):
        assert corrected(policy, total(given_), at)[0] == pytest.approx(b[0] + at * b[1], rel=0.25, abs=0.06)


def test_penalties_and_nothing_expected_come_to_numbers(policy: Policy) -> None:
    """Answers may be worth less than none, or come where none is expected yet."""
    nothing = np.zeros((2, 2))
    for observed in (-500.0, 500.0):
        told = Statistics(
            seen=9,
            answered=0,
            observed=np.array([observed, 0.0]),
            expected=np.zeros(2),
            information=nothing,
            x=np.array([1.0, 0.0]),
        )
        mean, variance = corrected(policy, told)
        assert np.isfinite([mean, variance]).all()
        assert np.sign(mean) == np.sign(observed)


@pytest.mark.parametrize("strategy", ["greedy", "thompson"])
def test_beliefs_are_there_once_there_is_something_to_go_by(
    document: dict[str, Any], models: StandInModels, strategy: str
) -> None:
    """Without answers only thompson has them; with answers every strategy, until another model set is in use."""
    document["arbitration"]["exploration"] = {"strategy": strategy}
    document["arbitration"]["learning"] = {"features": [{"name": "spend_91d", "scale": 50.0}]}
    policy = compile_policy(PolicyDocument.model_validate(document))
    beliefs = Beliefs(policy)
    assert (beliefs.of(models) is not None) is (strategy == "thompson")
    beliefs.learn(models, {"apples": total([(0.0, 0.1, i < 10) for i in range(40)])})
    believed = beliefs.of(models)
    assert believed is not None
    means, _ = believed.of(policy.roll, np.array([1.0, 0.0]))
    assert [bool(mean) for mean in means] == [action.id == "apples" for action in policy.roll]
    models.model_set = msgspec.structs.replace(models.model_set, id="another")
    assert (beliefs.of(models) is not None) is (strategy == "thompson")


def test_a_start_is_worth_its_evidence(document: dict[str, Any], policy: Policy) -> None:
    """What the policy believes of a new action counts as so many answers, until a model knows the action."""
    document["actions"]["actions"][0]["starting"] = {"propensity": 0.1, "evidence": 100}
    new = compile_policy(PolicyDocument.model_validate(document))
    assert corrected(new, None, known=False)[1] == pytest.approx(1 / 9)
    assert corrected(new, None, known=True)[1] == pytest.approx(0.25)
    assert corrected(policy, None, known=False)[1] == pytest.approx(0.25)

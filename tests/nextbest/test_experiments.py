"""Experiments: who is on which side, and for how long."""

from typing import Any

import numpy as np
import pytest

from nextbest.experiments import CHALLENGERS, CHAMPION, IN, assign, in_force, shadows, side_of
from nextbest.policy import Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Arm

CUSTOMERS = [f"c{number}" for number in range(4_000)]


@pytest.fixture
def policy(document: dict[str, Any]) -> Policy:
    return policy_with(document)


def policy_with(document: dict[str, Any], **changes: Any) -> Policy:
    experiments = {
        "control": {"percent": 5},
        "challengers": [
            {"id": "bold", "percent": 30, "changes": {"levers": {"bread": 300}}},
            {"id": "shy", "percent": 10, "changes": {"do_nothing_threshold": 1.0}},
        ],
        "rollouts": [{"id": "new_bread", "percent": 20, "actions": ["bread"]}],
        "shadows": [{"id": "greedy", "percent": 50, "changes": {"exploration": {"strategy": "greedy"}}}],
    } | changes
    return compile_policy(PolicyDocument.model_validate(document | {"experiments": experiments}))


def share(policy: Policy, experiment: str, arm: str) -> float:
    return float(np.mean([side_of(assign(policy.experiments, each, ()), experiment) == arm for each in CUSTOMERS]))


@pytest.mark.parametrize(
    ("experiment", "arm", "expected"),
    [
        ("universal_control", "control", 0.05),
        (CHALLENGERS, "bold", 0.3),
        (CHALLENGERS, "shy", 0.1),
        (CHALLENGERS, CHAMPION, 0.6),
        ("new_bread", IN, 0.2),
        ("greedy", IN, 0.5),
    ],
)
def test_shares_are_as_written(policy: Policy, experiment: str, arm: str, expected: float) -> None:
    """Over 4,000 customers each side has its share, within 4 sigma, and the arm says with which probability."""
    sigma = (expected * (1 - expected) / len(CUSTOMERS)) ** 0.5
    assert share(policy, experiment, arm) == pytest.approx(expected, abs=4 * sigma)
    arms = [each for customer in CUSTOMERS for each in assign(policy.experiments, customer, ())]
    assert {each.probability for each in arms if (each.experiment, each.arm) == (experiment, arm)} == {expected}


def test_experiments_are_independent(policy: Policy) -> None:
    """Being in one says nothing about being in another: the share of both is the product, within 4 sigma."""
    both = 0.3 * 0.2
    sides = [assign(policy.experiments, customer, ()) for customer in CUSTOMERS]
    found = np.mean([side_of(s, CHALLENGERS) == "bold" and side_of(s, "new_bread") == IN for s in sides])
    assert found == pytest.approx(both, abs=4 * (both * (1 - both) / len(CUSTOMERS)) ** 0.5)


def test_an_arm_is_kept(policy: Policy, document: dict[str, Any]) -> None:
    """An earlier arm and its probability hold whatever the shares are now; one that was ended keeps nobody."""
    earlier = (Arm(CHALLENGERS, "bold", 0.3),)
    ended = {"challengers": [{"id": "shy", "percent": 10, "changes": {}}]}
    for customer in CUSTOMERS[:100]:
        assert earlier[0] in assign(policy.experiments, customer, earlier)
        changed = assign(policy_with(document, **ended).experiments, customer, earlier)
        assert side_of(changed, CHALLENGERS) in {"shy", CHAMPION}


def test_a_rollout_only_grows(policy: Policy, document: dict[str, Any]) -> None:
    """Raising the share keeps everybody who is in; at nothing it ends for all."""
    wider = policy_with(document, rollouts=[{"id": "new_bread", "percent": 40, "actions": ["bread"]}])
    none = policy_with(document, rollouts=[{"id": "new_bread", "percent": 0, "actions": ["bread"]}])
    for customer in CUSTOMERS[:500]:
        before = assign(policy.experiments, customer, ())
        if side_of(before, "new_bread") == IN:
            assert side_of(assign(wider.experiments, customer, ()), "new_bread") == IN
            assert side_of(assign(wider.experiments, customer, before), "new_bread") == IN
        assert side_of(assign(none.experiments, customer, before), "new_bread") != IN


def test_another_salt_draws_anew(policy: Policy, document: dict[str, Any]) -> None:
    """With another salt the sides are independent of those before."""
    other = policy_with(document, salt="again")
    same = [
        side_of(assign(policy.experiments, each, ()), "new_bread")
        == side_of(assign(other.experiments, each, ()), "new_bread")
        for each in CUSTOMERS
    ]
    assert np.mean(same) == pytest.approx(0.2**2 + 0.8**2, abs=0.03)


def test_the_policy_in_force(policy: Policy) -> None:
    """A challenger's customers are decided for by its policy, which has the changes and a hash of its own."""
    bold = in_force(policy, [Arm(CHALLENGERS, "bold", 0.3)])
    assert (bold.actions["bread"].lever, policy.actions["bread"].lever) == (300.0, 100.0)
    assert bold.hash != policy.hash
    assert in_force(policy, [Arm(CHALLENGERS, CHAMPION, 0.6)]) is policy
    assert in_force(policy, [], "greedy").arbitration.exploration.strategy == "greedy"
    assert [each.id for each in shadows(policy, [Arm("greedy", IN, 0.5)])] == ["greedy"]
    assert shadows(policy, [Arm("greedy", "out", 0.5)]) == []

"""Contributions: terms that add up to the priority, and features that say what they moved."""

from typing import Any

import numpy as np
import pytest

from nextbest.contributions import contributions


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"formula": {"use_cost": False}},
        {"formula": {"use_lever": False, "use_value": False}},
        {"formula": {"use_propensity": False}},
        {"formula": "propensity * value * 2.0"},
    ],
)
def test_the_terms_add_up_to_the_priority(trial: Any, document: dict[str, Any], switches: dict[str, Any]) -> None:
    """Whatever the policy counts in."""
    document["arbitration"].update({"exploration": {"strategy": "greedy"}} | switches)
    policy = trial.policy(value=7.0, cost=0.01)
    record = trial.finished(trial.proposed(policy))
    parts = list(contributions(record, policy, None))
    assert parts
    for part in parts:
        score = next(each for each in record.candidates if each.action == part.action)
        assert sum(part.terms.values()) == pytest.approx(score.priority, rel=1e-12)
        assert part.features == ()


def test_what_would_come_anyway_is_a_term(trial: Any, document: dict[str, Any], models: Any) -> None:
    """Of the response it takes away what the action does not cause; the lever weighs what is left."""
    document["arbitration"] |= {"exploration": {"strategy": "greedy"}, "formula": {"use_uplift": True}}
    document["actions"]["actions"][2]["value"] = 20.0
    models.cause("cheese")
    policy = trial.policy(cost=0.5)
    record = trial.finished(trial.proposed(policy))
    terms = {part.action: part.terms for part in contributions(record, policy, None)}
    assert terms["cheese"] == pytest.approx({"response": 2.0, "uplift": -1.0, "lever": 0.5, "cost": 0.0})
    assert terms["bread"] == pytest.approx({"response": 0.8, "lever": 0.0, "cost": 0.0})


def test_features_say_what_they_moved(trial: Any, document: dict[str, Any], models: Any) -> None:
    """Each as if it alone had its default: the largest move first, and none of what changes nothing."""
    document["arbitration"]["exploration"] = {"strategy": "greedy"}
    models.answer = lambda matrix: 0.1 + matrix[:, 0] / 1_000.0 + 0.0 * matrix[:, 1]
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy))
    part, *_ = contributions(record, policy, models)
    (move,) = part.features
    assert (move.feature, move.value, move.default) == ("spend_91d", 50.0, 0.0)
    assert move.change == pytest.approx(0.05)


def test_a_decision_that_asked_no_model_has_no_moves(trial: Any, models: Any) -> None:
    """A reduced one took what the policy starts actions with."""
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy, tier="reduced"))
    assert all(part.features == () for part in contributions(record, policy, models))
    assert models.seen == []


def test_what_shows_the_fallback_has_no_parts(trial: Any, models: Any) -> None:
    """Nothing was scored."""
    models.answer = lambda matrix: np.zeros(len(matrix))
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy, consents={}))
    assert list(contributions(record, policy, models)) == []

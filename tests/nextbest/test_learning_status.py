"""Where learning stands, in figures that a strategist can act on."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from nextbest.delays import BUCKETS, ONE, SETTLED, Scale
from nextbest.evidence import Sums
from nextbest.learning import Learned
from nextbest.learning_status import ActionStatus, LearningStatus, learning_status
from nextbest.moments import to_microseconds
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Usage
from nextbest.rewards import Contact, Trial
from tests.contacts import NOW


def sums(seen: int, answered: int, p: float) -> Sums:
    total = Sums.nothing(1)
    for number in range(seen):
        reward = 1.0 if number < answered else None
        total = total.plus(Sums.of(Contact(Trial(0, "a", (1.0,), p), 0, reward, ((5, 1.0),) if reward else ()), 0.0))
    return total


@pytest.fixture
def edited(document: dict[str, Any]) -> dict[str, Any]:
    """Two actions for the web, of which bread is new and on its way to everybody."""
    apples, bread, *_ = document["actions"]["actions"]
    apples |= {"value": 2.0}
    bread |= {"value": 1.0, "starting": {"propensity": 0.05, "evidence": 50}}
    document["arbitration"] |= {"ramp": {"initial_percent": 10, "evidence": 200}}
    return document


def status(document: dict[str, Any], learned: Learned, seen: int = 0, behind: int = 0) -> LearningStatus:
    policy = compile_policy(PolicyDocument.model_validate(document))
    return learning_status(
        learned,
        policy,
        model_set_id="m",
        known={"apples"},
        usage={"bread": Usage(seen, 0)},
        behind=behind,
        now=to_microseconds(NOW),
    )


def of(found: LearningStatus, action: str) -> ActionStatus:
    return next(each for each in found.actions if each.action == action)


NOTHING = Learned({}, {}, {}, is_complete=False)


def test_before_any_answer_there_is_what_the_policy_starts_with(edited: dict[str, Any]) -> None:
    """Nobody has asked the model about an action that was never shown."""
    found = status(edited, NOTHING, seen=50)
    apples, bread = of(found, "apples"), of(found, "bread")
    assert (apples.seen, apples.model_p, apples.priority, apples.mean_reward) == (0, None, None, None)
    assert bread.model_p == 0.05
    assert bread.p == pytest.approx(0.05)
    assert bread.reach == pytest.approx(0.1 + 0.9 / 4)
    assert bread.seen_to_full_reach == 150
    assert bread.next_step.startswith("150 more seen until all can get it")
    assert found.time_to_convert.median_s is None


def test_the_correction_is_the_posterior_of_who_has_seen_it(edited: dict[str, Any]) -> None:
    """40 contacts at 10 %, 10 of them answered, and a prior of half a log odd."""
    learned = Learned({"apples": {SETTLED: sums(40, 10, 0.1)}}, {}, {"unseen": 3}, is_complete=True)
    found = status(edited, learned)
    apples = of(found, "apples")
    assert (apples.seen, apples.answered, apples.effective) == (40, 10, 40.0)
    assert apples.mean_reward == pytest.approx(0.25)
    assert apples.model_p == pytest.approx(0.1)
    assert apples.p is not None
    assert apples.p == pytest.approx(expit(logit(0.1) + apples.correction_mean), abs=1e-6)
    assert 10 - 40 * apples.p == pytest.approx(4 * apples.correction_mean, abs=1e-4)
    assert found.not_learned_from == {"unseen": 3}


def test_says_at_which_propensity_an_action_would_lead(edited: dict[str, Any]) -> None:
    """Put there, its priority is the best one's."""
    learned = Learned({"apples": {SETTLED: sums(400, 80, 0.2)}}, {}, {}, is_complete=True)
    found = status(edited, learned, seen=200)
    apples, bread = of(found, "apples"), of(found, "bread")
    assert apples.next_step == "leads"
    assert (bread.reach, bread.seen_to_full_reach) == (1.0, None)
    assert apples.priority is not None
    assert bread.p_to_lead == pytest.approx(apples.priority / 1.0, rel=0.01)
    assert bread.next_step == f"leads from {bread.p_to_lead:.2%}, has 5.00%"


def test_what_cannot_lead_is_said(edited: dict[str, Any]) -> None:
    """Where everybody's response would not be enough; and nothing of priority where that depends on the customer."""
    edited["actions"]["actions"][1]["value"] = 0.01
    learned = Learned({"apples": {SETTLED: sums(400, 80, 0.2)}}, {}, {}, is_complete=True)
    bread = of(status(edited, learned), "bread")
    assert bread.next_step.endswith("would not lead if everybody responded")
    assert bread.p_to_lead is None
    for formula in ("propensity * value", {"use_uplift": True}):
        edited["arbitration"]["formula"] = formula
        assert {each.priority for each in status(edited, learned).actions} == {None}


def test_time_to_convert_is_that_of_the_answers(edited: dict[str, Any]) -> None:
    """In seconds, from the buckets of the delay."""
    row = np.zeros(BUCKETS, dtype=int)
    row[[12, 20]] = 500 * ONE, 450 * ONE
    tables = {"apples": {SETTLED: sums(2_000, 1_000, 0.2)}}
    found = status(edited, Learned(tables, {SETTLED: row.tolist()}, {}, is_complete=True)).time_to_convert
    edges = Scale.of(timedelta(days=14)).edges / 1e6
    assert found.answers == 1_000
    assert found.median_s is not None
    assert found.p90_s is not None
    assert edges[11] <= found.median_s <= edges[12]
    assert edges[19] <= found.p90_s <= edges[20]


def test_silence_counts_only_as_far_as_the_log_is_folded(edited: dict[str, Any]) -> None:
    """What was answered since stands in records that nobody has read yet."""
    at = to_microseconds(NOW - timedelta(days=10))
    learned = Learned({"apples": {Scale.of(timedelta(days=14)).cohort(at): sums(400, 8, 0.2)}}, {}, {}, True, at)
    effective = [of(status(edited, learned, behind=behind), "apples").effective for behind in (0, 5)]
    assert effective[1] < effective[0]

"""Scoring: what an action is worth to a customer, and where that comes from."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from nextbest import records
from nextbest.records import DO_NOTHING
from nextbest.replay import differences, replay
from nextbest.residual import Statistics
from nextbest.situation import ScoringError

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_cost_by_expression_takes_its_share_of_the_budget(document: dict[str, Any], trial: Any) -> None:
    """What a contact costs this customer is what it takes, to the millionth, of the period it was decided in."""
    document["arbitration"]["exploration"] = {"strategy": "greedy"}
    policy = trial.policy(cost="spend_91d / 1000.0", value=1000.0, budget={"amount": 1, "per": "month"})
    record = trial.finished(trial.proposed(policy))
    slot = next(slot for slot in record.placements[0].slots if slot.action == "apples")
    assert slot.takes == {"apples/budget@2026-03": 50_000}


def test_value_by_expression(trial: Any) -> None:
    """Value may depend on the customer; where it comes to nothing the action is dropped, with the reason."""
    policy = trial.policy(value="spend_91d * 2.0")
    candidate = next(c for c in trial.proposed(policy).record.candidates if c.action == "apples")
    assert (candidate.value, candidate.priority) == pytest.approx((100.0, 9.9))
    stage, reason = trial.verdict(trial.proposed(trial.policy(cost="1.0 - spend_91d")))
    assert (stage, reason) == ("score", "failed: a cost of -49 is below 0")


def test_an_own_formula(document: dict[str, Any], trial: Any) -> None:
    """Priority may be an expression of the policy's own over its parts and the features."""
    document["arbitration"]["formula"] = "propensity * value * lever - 2.0 * cost + spend_91d / 1000.0"
    priorities = {c.action: c.priority for c in trial.proposed(trial.policy()).record.candidates}
    assert priorities == pytest.approx({DO_NOTHING: 0.0, "apples": 0.85, "bread": 0.85, "cheese": 0.95, "dates": 0.45})


def test_a_formula_that_fails_drops_the_action(document: dict[str, Any], trial: Any) -> None:
    """A priority that is no number takes no part."""
    document["arbitration"]["formula"] = "value / (value - 10.0)"
    found = trial.proposed(trial.policy())
    assert trial.verdict(found)[0] == "score"
    assert trial.verdict(found, "bread") == ("arbitration", "")


def test_a_priority_beyond_all_numbers_takes_no_part(document: dict[str, Any], trial: Any) -> None:
    """What a float cannot hold drops the action; the others keep their chances, and the record can be read."""
    document["arbitration"]["exploration"] = {"strategy": "inverse_gap"}
    for action in document["actions"]["actions"][:2]:
        action |= {"value": "1.7e308", "lever": 10_000.0}
    record = trial.finished(trial.proposed(trial.policy()))
    assert [each.stage for each in record.candidates[1:3]] == ["score", "score"]
    assert records.decode(records.encode(record)).placements[0].pmf == record.placements[0].pmf
    assert sum(record.placements[0].pmf.values()) == pytest.approx(1.0)


def test_a_new_action_is_scored_by_what_is_believed_of_it(trial: Any) -> None:
    """Until a model knows an action, its propensity is what the policy starts it with; others are the model's."""
    policy = trial.policy(starting={"propensity": 0.2})
    found = {c.action: c.p for c in trial.proposed(policy).record.candidates}
    assert (found["apples"], found["bread"]) == (0.2, 0.1)


def test_where_only_new_actions_are_left_no_model_is_asked(models: Any, trial: Any) -> None:
    """A customer who said no to marketing can still get what is new and needs no consent."""
    policy = trial.policy(**{"class": "transactional", "starting": {"propensity": 0.2}, "purpose": None})
    found = trial.proposed(policy, placements=("home", "mail"), consents={})
    assert (trial.verdict(found), trial.verdict(found, "bread")[0], models.seen) == (("arbitration", ""), "consent", [])


def test_a_shadow_scores_beside_and_decides_nothing(models: Any, trial: Any) -> None:
    """What it says is in the record of every candidate; probabilities and order are those of the champion alone."""
    alone = trial.finished(trial.proposed(trial.policy()))
    models.shadow()
    seen: list[Any] = []

    def beside(matrix: Any) -> Any:
        seen.append(matrix.shape)
        return np.linspace(0.9, 0.1, len(matrix))

    models.beside = beside
    both = trial.finished(trial.proposed(trial.policy()))
    assert {c.beside for c in alone.candidates} == {None}
    assert [c.beside for c in both.candidates if c.action in {"apples", "dates"}] == pytest.approx([0.9, 0.1])
    assert seen == [(4, 1)]
    assert both.placements == alone.placements
    assert records.decode(records.encode(both)) == both


def test_a_shadow_that_fails_keeps_no_decision(models: Any, trial: Any) -> None:
    """It is there to be watched."""
    models.shadow()

    def fails(_matrix: Any) -> Any:
        raise ScoringError("2 scores are not finite")

    models.beside = fails
    record = trial.finished(trial.proposed(trial.policy()))
    assert record.tier == "full"
    assert {c.beside for c in record.candidates} == {None}


def test_thompson_is_unsure_of_what_is_new(document: dict[str, Any], trial: Any) -> None:
    """What little is known of has a chance though it looks worse; the more evidence, the smaller the chance."""
    document["arbitration"]["exploration"] = {"strategy": "thompson"}
    masses = []
    for evidence in (5, 5_000):
        policy = trial.policy(starting={"propensity": 0.08, "evidence": evidence})
        record = trial.finished(trial.proposed(policy))
        candidate = next(c for c in record.candidates if c.action == "apples")
        assert candidate.residual_var == pytest.approx(1 / (evidence * 0.08 * 0.92))
        assert sum(record.placements[0].pmf.values()) == pytest.approx(1.0)
        masses.append(record.placements[0].pmf["apples/apples_home"])
    assert masses[0] > masses[1] > 0.0


def test_a_reduced_decision_asks_no_model(document: dict[str, Any], models: Any, trial: Any) -> None:
    """With little time left every action has the propensity the policy gives it, and the record says so."""
    document["arbitration"]["unscored_propensity"] = 0.03
    record = trial.finished(trial.proposed(trial.policy(starting={"propensity": 0.2}), tier="reduced"))
    assert (record.tier, record.degraded, record.learning, models.seen) == ("reduced", ("deadline",), False, [])
    assert {c.action: c.p for c in record.candidates if c.p} == {
        "apples": 0.2, "bread": 0.03, "cheese": 0.03, "dates": 0.03,
    }  # fmt: skip


LIKED = Statistics(
    seen=40,
    answered=20,
    observed=np.array([20.0]),
    expected=np.array([4.0]),
    information=np.array([[3.6]]),
    x=np.array([40.0]),
)


@pytest.mark.parametrize("strategy", ["greedy", "inverse_gap", "thompson"])
def test_answers_correct_what_is_known_of(document: dict[str, Any], models: Any, trial: Any, strategy: str) -> None:
    """Whatever the strategy; what nothing was learned of keeps its very bits, and replay needs no history."""
    document["arbitration"]["exploration"] = {"strategy": strategy}
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy, learned={"apples": LIKED}))
    plain = trial.finished(trial.proposed(policy))
    found, before = ({c.action: c.p for c in each.candidates if c.p} for each in (record, plain))
    assert found["apples"] > 0.2 > before["apples"]
    assert found["bread"] == before["bread"]
    apples = next(c for c in record.candidates if c.action == "apples")
    assert apples.p == expit(apples.logit + apples.residual_mean)
    assert differences(record, replay(record, policy, models)) == []
    if strategy != "thompson":
        assert {c.residual_mean for c in plain.candidates} == {None}


def test_a_reduced_decision_corrects_only_starts(models: Any, trial: Any) -> None:
    """What stands in for a model is not what answers correct."""
    policy = trial.policy(starting={"propensity": 0.2})
    record = trial.finished(trial.proposed(policy, tier="reduced", learned={"apples": LIKED, "bread": LIKED}))
    moves = {c.action: c.residual_mean for c in record.candidates if c.residual_mean is not None}
    assert moves["apples"] > 0.0 == moves["bread"]
    assert differences(record, replay(record, policy, models)) == []

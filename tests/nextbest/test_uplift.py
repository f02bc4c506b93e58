"""Uplift: what an action causes counts where it is known, and nothing else of a decision changes."""

from copy import deepcopy
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest import records
from nextbest.counterfactual import decide_in, situation_of
from nextbest.live_plan import names
from nextbest.model_set import FeatureSpec, model_set
from nextbest.records import DO_NOTHING, Candidate, DecisionRecord
from nextbest.replay import differences, replay
from nextbest.residual import Statistics
from nextbest.situation import ScoringError
from tests.nextbest.conftest import DOCUMENT, NOW, StandInModels, Trial

ACTIONS = ("apples", "bread", "cheese", "dates")
GREEDY = {"strategy": "greedy"}
STRATEGIES: list[dict[str, Any]] = [
    GREEDY,
    {"strategy": "epsilon", "epsilon": 0.2},
    {"strategy": "inverse_gap", "gamma": 50.0, "floor": 0.01},
    {"strategy": "thompson"},
]
LIKED = Statistics(
    seen=40,
    answered=20,
    observed=np.array([20.0]),
    expected=np.array([4.0]),
    information=np.array([[3.6]]),
    x=np.array([40.0]),
)


@pytest.fixture
def document(document: dict[str, Any]) -> dict[str, Any]:
    """A policy in which what is caused counts, and nothing is left to chance."""
    document["arbitration"] |= {"exploration": GREEDY, "formula": {"use_uplift": True}}
    return document


def scored(record: DecisionRecord) -> dict[str, Candidate]:
    return {each.action: each for each in record.candidates if each.p is not None}


def fails(_matrix: Any) -> Any:
    raise ScoringError("uplift: 2 scores are not finite")


def test_what_is_caused_takes_the_place_of_what_is_likely(models: Any, trial: Any) -> None:
    """Of the actions that the model knows; the others count whole, and the record has which is which."""
    models.cause("apples", "cheese")
    models.raised = lambda matrix: np.array([0.025, -0.02])[: len(matrix)]
    policy = trial.policy(cost=0.0)
    record = trial.finished(trial.proposed(policy))
    found = scored(record)
    assert {name: each.uplift for name, each in found.items()} == {
        "apples": pytest.approx(0.025), "bread": None, "cheese": pytest.approx(-0.02), "dates": None,
    }  # fmt: skip
    assert {each.p for each in found.values()} == {0.1}
    assert {name: each.priority for name, each in found.items()} == pytest.approx(
        {"apples": 0.25, "bread": 0.8, "cheese": -0.18, "dates": 0.4}
    )
    assert differences(record, replay(record, policy, models)) == []
    assert records.decode(records.encode(record)) == record


def test_whom_an_action_puts_off_is_left_alone(models: Any, trial: Any) -> None:
    """Where fewer respond than would to nothing, nothing is what wins."""
    models.cause(*ACTIONS)
    models.raised = lambda matrix: np.full(len(matrix), -0.01)
    record = trial.finished(trial.proposed(trial.policy()))
    assert [slot.action for slot in record.placements[0].slots] == [DO_NOTHING]


@pytest.mark.parametrize(("p", "raised", "uplift"), [(0.1, 0.3, 0.1), (0.1, -0.3, -0.1), (0.0, 0.2, 0.0)])
def test_no_more_is_caused_than_there_is(models: Any, trial: Any, p: float, raised: float, uplift: float) -> None:
    """Two models need not agree with each other: a share of the responses is at most all of them, either way."""
    models.cause("apples")
    models.answer = lambda matrix: np.full(len(matrix), p)
    models.raised = lambda matrix: np.full(len(matrix), raised)
    record = trial.finished(trial.proposed(trial.policy()))
    assert scored(record)["apples"].uplift == pytest.approx(uplift)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_answers_say_carries_over(
    document: dict[str, Any], models: Any, trial: Any, strategy: dict[str, Any]
) -> None:
    """A propensity that is corrected has the share that it had, whatever the strategy."""
    document["arbitration"]["exploration"] = strategy
    models.cause(*ACTIONS)
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy, learned={"apples": LIKED}))
    apples = scored(record)["apples"]
    assert apples.p is not None
    assert apples.p > 0.2
    assert apples.uplift is not None
    assert apples.uplift == pytest.approx(apples.p / 2.0)
    assert apples.priority == pytest.approx(apples.uplift * 10.0 - 0.1)
    assert differences(record, replay(record, policy, models)) == []


def test_thompson_is_as_unsure_as_the_part_that_counts(document: dict[str, Any], models: Any, trial: Any) -> None:
    """What is hardly caused is hardly drawn, and of what puts off, though nobody is sure how much, nothing is."""
    document["arbitration"]["exploration"] = {"strategy": "thompson"}
    masses = []
    for raised in (0.1, 0.05, 0.011, -0.05):
        models.cause("apples")
        models.raised = lambda matrix, raised=raised: np.full(len(matrix), raised)
        masses.append(trial.proposed(trial.policy()).placements[0])
    found = [dict(zip([o.key for o in each.order], each.pmf, strict=True))["apples/apples_home"] for each in masses]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[1] > 0.0 == found[-1]


def test_an_own_formula_may_name_it(document: dict[str, Any], models: Any, trial: Any) -> None:
    """Beside the propensity, which it is where nothing else is known."""
    document["arbitration"]["formula"] = "uplift * 100.0 + propensity"
    models.cause("apples")
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy))
    assert {name: each.priority for name, each in scored(record).items()} == pytest.approx(
        {"apples": 5.1, "bread": 10.1, "cheese": 10.1, "dates": 10.1}
    )
    assert differences(record, replay(record, policy, models)) == []
    document["arbitration"]["formula"] = "uplift"
    assert trial.proposed(trial.policy()).record.tier == "full"


@pytest.mark.parametrize("formula", [{}, {"use_uplift": False}, "propensity * value"])
def test_a_promotion_changes_no_formula(document: dict[str, Any], models: Any, trial: Any, formula: Any) -> None:
    """Where a policy does not ask for uplift, a model of it is not asked."""
    document["arbitration"]["formula"] = formula
    before = trial.proposed(trial.policy()).record.candidates
    models.cause(*ACTIONS)
    models.raised = fails
    record = trial.proposed(trial.policy()).record
    assert (record.candidates, record.degraded) == (before, ())


def test_it_knows_the_channel(models: Any, trial: Any) -> None:
    """What a mail causes need not be what a banner does."""
    models.feed(FeatureSpec("channel_email", "context"))
    models.cause("apples")
    models.raised = lambda matrix: 0.02 + 0.05 * matrix[:, 0].astype(np.float64)
    policy = trial.policy()
    record = trial.finished(trial.proposed(policy, placements=("home", "mail")))
    found = {each.placement: each.uplift for each in record.candidates if each.uplift is not None}
    assert found == pytest.approx({"home": 0.02, "mail": 0.07})
    assert differences(record, replay(record, policy, models)) == []


def test_where_its_model_fails_the_propensity_decides(models: Any, trial: Any) -> None:
    """In every placement, though it fails in one alone; the record says so, and is replayed and explained as it was."""
    policy = trial.policy()
    before = trial.finished(trial.proposed(policy, placements=("home", "mail")))
    models.feed(FeatureSpec("channel_email", "context"))
    models.cause(*ACTIONS)

    def in_mail(matrix: Any) -> Any:
        return fails(matrix) if matrix[0, 0] else np.full(len(matrix), -0.05)

    models.raised = in_mail
    record = trial.finished(trial.proposed(policy, placements=("home", "mail")))
    assert (record.tier, record.degraded, record.learning) == ("full", ("uplift_failed",), True)
    assert (record.candidates, record.placements) == (before.candidates, before.placements)
    models.raised = lambda matrix: np.full(len(matrix), -0.05)
    assert differences(record, replay(record, policy, models)) == []
    assert decide_in(situation_of(record, policy, models)).record.candidates == record.candidates


def test_a_reduced_decision_does_not_ask_for_it(models: Any, trial: Any) -> None:
    """There is no time for a model."""
    models.cause(*ACTIONS)
    models.raised = fails
    record = trial.finished(trial.proposed(trial.policy(), tier="reduced"))
    assert (record.degraded, {each.uplift for each in record.candidates}) == (("deadline",), {None})


def test_its_live_features_are_asked_for(policy: Any, models: Any) -> None:
    """What a model in the set takes of the customer is computed, whichever model it is."""
    models.cause("apples")
    propensity, uplift = models.model_set.models.values()
    uplift = msgspec.structs.replace(uplift, features=(FeatureSpec("live_cart_value", "customer"),))
    assert "live_cart_value" in set(names(policy, model_set([propensity, uplift], NOW)))


@given(
    strategy=st.sampled_from(STRATEGIES),
    p=st.lists(st.floats(0.001, 0.999), min_size=4, max_size=4),
    raised=st.lists(st.floats(1.0, 1.1), min_size=4, max_size=4),
    known=st.sets(st.sampled_from(ACTIONS), min_size=1),
    is_corrected=st.booleans(),
    number=st.integers(0, 50),
)
def test_where_all_is_caused_nothing_changes(
    *,
    strategy: dict[str, Any],
    p: list[float],
    raised: list[float],
    known: set[str],
    is_corrected: bool,
    number: int,
) -> None:
    """With a share of one everywhere a decision is to the bit what it is without a model of uplift; it is replayed."""
    document = deepcopy(DOCUMENT)
    document["arbitration"] |= {"exploration": strategy, "formula": {"use_uplift": True}}
    models = StandInModels()
    models.answer = lambda matrix: np.array(p)[: len(matrix)]
    models.raised = lambda matrix: np.array(raised)[: len(matrix)]
    trial = Trial(document, models)
    policy = trial.policy()
    learned = {"apples": LIKED} if is_corrected else {}
    asked: dict[str, Any] = {"placements": ("home", "mail"), "decision_id": f"d{number}", "learned": learned}
    without = trial.finished(trial.proposed(policy, **asked))
    models.cause(*known)
    record = trial.finished(trial.proposed(policy, **asked))
    assert record.placements == without.placements
    for each, before in zip(record.candidates, without.candidates, strict=True):
        assert (each.uplift is not None) == (each.action in known and each.p is not None)
        assert each.uplift in {None, each.p}
        assert (each.p, each.priority) == (before.p, before.priority)
    assert differences(record, replay(record, policy, models)) == []

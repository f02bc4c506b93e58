"""Levels: of one number alone the least change that makes a candidate the first choice, and no less would do."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from nextbest.counterfactual import decide_in
from nextbest.levels import levels
from nextbest.messages import Request
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Snapshot
from nextbest.situation import Models, Situation

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY = "apples/apples_home"


def _situation(document: dict[str, Any], models: Models) -> Situation:
    return Situation(
        request=Request(decision_id="d1", request_id="r1", customer_id="c1", placements=("home",)),
        features={"spend_91d": 50.0, "visits": 2.0},
        policy=compile_policy(PolicyDocument.model_validate(document)),
        models=models,
        residuals=None,
        snapshot=Snapshot(consents={"marketing": "granted"}),
        arms=(),
        now=NOW,
        seed=0,
        tier="full",
    )


def _first(situation: Situation) -> str:
    candidates = decide_in(situation).record.candidates
    return max(candidates, key=lambda each: -np.inf if each.priority is None else each.priority).action


@pytest.mark.parametrize(
    ("arbitration", "kinds"),
    [
        ({}, ["lever", "propensity", "value"]),
        ({"formula": {"use_lever": False}}, ["propensity", "value"]),
        ({"formula": "propensity * value * lever * lever - cost"}, ["lever", "propensity", "value"]),
        ({"formula": "0.5 - cost"}, ["cost"]),
    ],
)
def test_the_number_that_has_to_change_least(
    document: dict[str, Any], models: Any, *, arbitration: dict[str, Any], kinds: list[str]
) -> None:
    """In proportion, of what the formula uses; made in the files or by the model, 99.9 % of a change is too little."""
    document["arbitration"] |= arbitration
    document["actions"]["actions"][0] |= {"value": 3.0, "cost": 0.2}
    for action in document["actions"]["actions"][1:]:
        action["cost"] = 0.1
    found = levels(_situation(document, models), "home", KEY)
    assert [change.kind for change, _ in found] == kinds
    for change, changed in found:
        assert _first(changed) == "apples"
        assert isinstance(change.before, float)
        assert isinstance(change.after, float)
        for share, is_first in ((1.0, True), (0.999, False)):
            there = change.before + share * (change.after - change.before)
            edited = deepcopy(document)
            if change.kind == "propensity":
                models.answer = lambda matrix, p=there: np.array([p, *[0.1] * (len(matrix) - 1)])
            else:
                edited["actions"]["actions"][0][change.kind] = there
            assert (_first(_situation(edited, models)) == "apples") == is_first, (change, share)
            models.answer = lambda matrix: np.full(len(matrix), 0.1)


def test_numbers_are_named_as_people_write_them(document: dict[str, Any], models: Models) -> None:
    """With as few digits as say nearly the same, in the unit of the files, and in proportion."""
    document["actions"]["actions"][0] |= {"value": 7.0, "cost": 0.0}
    (lever, _), *_ = levels(_situation(document, models), "home", KEY)
    assert lever.text == "lever of apples: 100 % → 128.58 % (+28.6 %)"


def test_an_equal_that_is_listed_before_is_beaten_by_the_least_there_is(
    document: dict[str, Any], models: Models
) -> None:
    """A tie goes to the first in the files; a hair more than equal wins."""
    document["actions"]["actions"][1]["value"] = 9.0
    document["actions"]["actions"][0] |= {"value": 9.0, "cost": 0.0}
    (change, changed), *_ = levels(_situation(document, models), "home", "bread/bread_home")
    assert (change.kind, change.before, change.after) == ("lever", 100.0, 100.001)
    assert _first(changed) == "bread"


def test_what_is_worth_less_than_nothing_wants_less_weight(document: dict[str, Any], models: Models) -> None:
    """A lever on a loss is let go, where doing nothing is not free either."""
    document["arbitration"]["do_nothing_threshold"] = -0.5
    for action in document["actions"]["actions"]:
        action["value"] = -10.0
    (change, changed), *_ = levels(_situation(document, models), "home", "dates/dates_home")
    assert (change.kind, change.after) == ("lever", 49.99)
    assert _first(changed) == "dates"


def test_doing_nothing_is_raised_by_its_threshold(document: dict[str, Any], models: Models) -> None:
    """What everything else must beat is a number like the others."""
    ((change, changed),) = levels(_situation(document, models), "home", "do_nothing")
    assert (change.kind, change.before) == ("threshold", 0.0)
    assert change.after == pytest.approx(0.9, rel=1e-3)
    assert _first(changed) == "do_nothing"


def test_no_number_helps_where_none_counts(document: dict[str, Any], models: Models) -> None:
    """A formula that looks at the customer alone treats all actions alike."""
    document["arbitration"]["formula"] = "-spend_91d"
    assert levels(_situation(document, models), "home", KEY) == []


def test_what_an_action_causes_can_rise(document: dict[str, Any], models: Any) -> None:
    """It is named in the place of the propensity; more than its share of all responses it cannot be, and harm stays."""
    document["arbitration"]["formula"] = {"use_uplift": True}
    document["actions"]["actions"][0] |= {"cost": 0.0}
    models.cause("apples")
    changes = {change.kind: change for change, _ in levels(_situation(document, models), "home", KEY)}
    assert changes["uplift"].text == "uplift of apples: 0.05 → 0.09001 (+80 %)"
    assert "propensity" not in changes
    for raised in (-0.01, 0.0, 0.005):
        models.raised = lambda matrix, raised=raised: np.full(len(matrix), raised)
        assert "uplift" not in {change.kind for change, _ in levels(_situation(document, models), "home", KEY)}

"""The compiled policy: what the engine makes of what people wrote."""

from datetime import timedelta
from typing import Any

import pytest

from nextbest.messages import Bound, Cap
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_compiler import compile_policy, policy_hash
from nextbest.policy_document import PolicyDocument


def test_only_features_that_rules_name(policy: Policy) -> None:
    """The catalogue may be long; a decision pays for what its rules use."""
    assert [feature.name for feature in policy.features] == ["spend_91d", "visits", "weather"]


def test_features_per_action(document: dict[str, Any]) -> None:
    """One entry of the catalogue declares a feature for each action."""
    document["features"]["features"].append({"name": "sales", "per_action": True, "description": "USD"})
    document["actions"]["actions"][0]["eligibility"] = ["sales__bread > 0.0"]
    parsed = PolicyDocument.model_validate(document)
    assert check(parsed) == []
    assert "sales__bread" in {feature.name for feature in compile_policy(parsed).features}


def test_caps_are_those_that_apply(policy: Policy) -> None:
    """A rule about e-mail binds treatments in e-mail; one about actions binds each action by its own count."""
    home, mail = (policy.placements[name].caps for name in ("home", "mail"))
    same = Cap("same_twice", "action", "apples", "impression", 2, 7 * 24 * 3_600)
    assert home["action", "apples"] == [Bound(same, frozenset({"apples/apples_home"}))]
    assert mail["action", "apples"] == [Bound(same, frozenset({"apples/apples_mail"}))]
    one_mail = Cap("one_mail", "channel", "email", "decision", 1, 24 * 3_600)
    everyone = frozenset(treatment.key for treatment in policy.placements["mail"].treatments)
    assert mail["channel", "email"] == [Bound(one_mail, everyone)]
    assert ("channel", "web") not in home
    assert policy.lookback == (timedelta(days=7), timedelta(0))


def test_what_a_page_took_is_remembered_without_any_cap(document: dict[str, Any]) -> None:
    """State looks back over contacts no less than a reservation lasts, for requests that name earlier decisions."""
    document["contact_policy"] |= {"rules": [], "reservation_minutes": 45}
    policy = compile_policy(PolicyDocument.model_validate(document))
    assert policy.lookback == (timedelta(minutes=45), timedelta(0))


def test_a_cap_over_all_has_no_members(document: dict[str, Any]) -> None:
    """A rule about all contacts counts whatever the action, and cannot be about some of them."""
    rule = {"id": "quiet", "scope": "all", "count": "decision", "limit": 5, "window_hours": 24}
    document["contact_policy"]["rules"] = [rule]
    parsed = PolicyDocument.model_validate(document)
    expected = (Cap("quiet", "all", "", "decision", 5, 24 * 3_600),)
    for placement in compile_policy(parsed).placements.values():
        assert tuple(each.cap for bounds in placement.caps.values() for each in bounds) == expected
    rule["only"] = ["apples"]
    (problem,) = check(PolicyDocument.model_validate(document))
    assert problem.message == "unknown all `apples`: there is none"


def test_attributes_become_numbers(document: dict[str, Any]) -> None:
    """A text attribute is 1 under its name and value, a word both share said once; a number stays one."""
    document["actions"]["actions"][0]["attributes"] = {"campaign_type": "Type A", "department": "DRUG GM", "weight": 2}
    policy = compile_policy(PolicyDocument.model_validate(document))
    assert policy.actions["apples"].context == {"campaign_type_a": 1.0, "department_drug_gm": 1.0, "weight": 2.0}


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [("actions", "currency", "EUR"), ("contact_policy", "rules", []), ("arbitration", "salt", "x")],
)
def test_hash_covers_every_part(document: dict[str, Any], *, part: str, key: str, value: object) -> None:
    """Whatever a person changes, decisions before and after can be told apart."""
    before = policy_hash(PolicyDocument.model_validate(document))
    document[part][key] = value
    assert policy_hash(PolicyDocument.model_validate(document)) != before

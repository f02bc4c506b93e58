"""A live feature that there is not would be its default for ever: the check says so."""

from typing import Any

import pytest

from nextbest.policy_check import check
from nextbest.policy_checks.subject import Vocabulary
from nextbest.policy_document import PolicyDocument

WORDS = Vocabulary(frozenset({"page_view", "click"}), frozenset({"redemption"}))


def found(document: dict[str, Any], words: Vocabulary = WORDS, **feature: Any) -> list[str]:
    document["features"]["features"].append({"description": "so many"} | feature)
    return [problem.message for problem in check(PolicyDocument.model_validate(document), words)]


@pytest.mark.parametrize(
    "feature",
    [
        {"name": "live_page_view_count_1h"},
        {"name": "live_outcome_redemption_value_7d"},
        {"name": "live_purchase_count_1d"},
        {"name": "live_session_minutes"},
        {"name": "live_last_campaign", "kind": "text"},
        {"name": "live_category_value_7d", "per_action": True},
        {"name": "live_hours_since", "per_action": True},
        {"name": "live_hours_since__beef"},
        {"name": "live_stream", "origin": "context"},
        {"name": "lively"},
    ],
)
def test_what_there_is_may_be_declared(document: dict[str, Any], feature: dict[str, Any]) -> None:
    """By its name, of its kind; what the channel sends may be called anything."""
    assert found(document, **feature) == []


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (
            {"name": "live_page_view_count_2h"},
            "unknown live feature `live_page_view_count_2h`: did you mean `live_page_view_count_1h`?",
        ),
        (
            {"name": "live_page_views_count_1h"},
            "unknown live feature `live_page_views_count_1h`: did you mean `live_page_view_count_1h`?",
        ),
        (
            {"name": "live_category_count_1h"},
            "unknown live feature `live_category_count_1h`",
        ),
        (
            {"name": "live_click_count_1h", "per_action": True},
            "unknown live feature `live_click_count_1h`",
        ),
        ({"name": "live_last_campaign"}, "`live_last_campaign` is a text"),
        ({"name": "live_cart_value", "kind": "boolean"}, "`live_cart_value` is a number"),
    ],
)
def test_what_there_is_not_is_told(document: dict[str, Any], feature: dict[str, Any], message: str) -> None:
    """With the name that may be meant."""
    (said,) = found(document, **feature)
    assert said.startswith(message)


def test_without_contracts_nobody_knows_what_can_happen(document: dict[str, Any]) -> None:
    """Then a name is as good as its form."""
    assert found(document, Vocabulary(), name="live_anything_count_1h") == []


DECLARE = ": declare it in features.yaml"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("live_click_count_1h", DECLARE),
        ("live_outcome_redemption_count_7d", DECLARE),
        ("live_cart_value", DECLARE),
        ("live_category_count_1d__apples", DECLARE),
        ("live_hours_since__aples", ": did you mean `live_hours_since__apples`?"),
        ("live_clicks_count_1d", ": did you mean `live_click_count_1d`?"),
        ("live_wonder", ": "),
    ],
)
def test_what_there_is_but_nobody_declared_is_told_so(document: dict[str, Any], name: str, said: str) -> None:
    """In a rule, a text and the learning: not with the name of another that is declared."""
    action = document["actions"]["actions"][0]
    action["eligibility"] = [f"{name} > 1.0"]
    action["treatments"][0]["content"]["headline"] = f"{{{{ customer.{name} }}}}"
    document["arbitration"]["learning"] = {"features": [{"name": name}]}
    document["features"]["features"].append(
        {"name": "live_hours_since", "per_action": True, "description": "hours"},
    )
    told = [each for each in found(document, name="live_click_count_1d") if f"{name}`" in each]
    assert len(told) == 3
    for message in told:
        assert said.replace("`live", "`customer.live" if "supplies" in message else "`live") in message
        assert (DECLARE in message) == (said == DECLARE)

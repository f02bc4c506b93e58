"""A first policy of what sells best, and the files of the demo that name the same things."""

import pytest

from nextbest.drafts.policies import (
    DraftError,
    Seller,
    actions_yaml,
    arbitration_yaml,
    best,
    department_ids,
    mart_columns,
    project_variables,
)
from nextbest.settings import CHECKOUT


def test_the_best_sellers_that_can_be_actions() -> None:
    """In their order, each slug once, none that a policy could not name, show or earn by; at most ten."""
    names = ["Tea cups", "12 PENCILS", "tea-cups", "茶", "do nothing", "Bags", *(f"more {n}" for n in range(20))]
    odd = [Seller("Gifts", "all", 0.004), Seller("Tea {{ customer }}", "all", 1.0)]
    found = best([*odd, *(Seller(name, "all", 1.0) for name in names)])
    assert [seller.action for seller in found[:3]] == ["tea_cups", "bags", "more_0"]
    assert len(found) == 10


def test_departments_are_slugs() -> None:
    """At most ten, none without a letter or digit."""
    assert department_ids(["Food & Drink", "food-drink", "茶", "2nd hand"]) == ["food_drink", "2nd_hand"]


def test_an_action_quotes_what_the_data_spells() -> None:
    """A category may hold whatever its shop wrote."""
    text = actions_yaml([Seller('6" plates: {blue}', "Käse", 2.346)], "GBP")
    assert 'name: "6\\" plates: {blue}"' in text
    assert "value: 2.35" in text
    assert "group: department_k_se" in text


def test_the_demos_words_give_way() -> None:
    """Salt and currency are the shop's own: else its draws would be the demo's."""
    text = arbitration_yaml((CHECKOUT / "policies" / "arbitration.yaml").read_text(), "GBP")
    assert "USD" not in text
    assert "salt: first_policy" in text


def test_a_file_that_was_changed_is_not_half_edited() -> None:
    """Somebody who changes the demo's files learns here that drafts are made of them."""
    with pytest.raises(DraftError, match="0 places match"):
        project_variables("vars: {}", ["tea"], ["food"])
    with pytest.raises(DraftError, match="0 places match"):
        mart_columns("models: []", "category_spend_182d__", ["tea"], "Spend in {member}.")

"""What a rule wants: the smallest change of one feature, in words, and nothing where one is not enough."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.expressions import compile_expression, evaluation_context
from nextbest.features import RuleFeature
from nextbest.records import Attribute
from nextbest.rule_changes import smallest_change

FEATURES = {
    "spend": RuleFeature(name="spend"),
    "visits": RuleFeature(name="visits"),
    "weather": RuleFeature(name="weather", kind="text"),
    "member": RuleFeature(name="member", kind="boolean"),
}
NOTHING: dict[str, Attribute] = {"spend": 0.0, "visits": 0.0, "weather": "", "member": False}


@pytest.mark.parametrize(
    ("rule", "values", "name", "words"),
    [
        ("spend > 50.0", {}, "spend", "above 50.0"),
        ("spend >= 50.0", {}, "spend", "at least 50.0"),
        ("spend < 3.0", {"spend": 7.0}, "spend", "below 3.0"),
        ("spend <= -3.5", {"spend": 7.0}, "spend", "at most -3.5"),
        ("spend == 3.0", {"spend": 2.0}, "spend", "3.0"),
        ("spend in [3.0, 7.0]", {"spend": 6.0}, "spend", "7.0"),
        ("spend > 1e2 && spend < 2e2", {"spend": 1000.0}, "spend", "below 200.0"),
        ("spend > visits", {"visits": 7.0, "spend": 6.0}, "visits", "below 6.0"),
        ("spend + visits > 30.0", {"spend": 20.0, "visits": 5.0}, "spend", "above 25.0"),
        ("spend * visits >= 10.0", {"spend": 4.0, "visits": 2.0}, "visits", "at least 2.5"),
        ("member || spend > 5.0", {"spend": 4.0}, "spend", "above 5.0"),
        ("member && spend < 5.0", {}, "member", "true"),
        ("!member", {"member": True}, "member", "false"),
        ("weather == 'sun'", {}, "weather", "'sun'"),
        ("weather.startsWith('s')", {"weather": "rain"}, "weather", "'s'"),
        ("weather != 'storm' && weather != \"rain\"", {"weather": "storm"}, "weather", "anything but 'storm', 'rain'"),
    ],
)
def test_the_smallest_change_of_one_feature(rule: str, values: dict[str, Any], name: str, words: str) -> None:
    """Numbers the rule compares with, numbers it only computes with, words, and yes or no; each one holds."""
    expression, given_values = compile_expression(rule), NOTHING | values
    change = smallest_change(expression, [], FEATURES, given_values)
    assert change is not None
    assert (change.name, change.words) == (name, words)
    assert expression.holds(evaluation_context(given_values | {name: change.value}))


@pytest.mark.parametrize(
    "rule",
    ["spend > 5.0 && visits > 5.0", "spend > 5.0 && spend < 4.0", "member && weather == 'sun'", "spend > weather"],
)
def test_where_one_feature_is_not_enough(rule: str) -> None:
    """Two at once, a contradiction, or a rule that fails: then the rule itself must change."""
    assert smallest_change(compile_expression(rule), [], FEATURES, NOTHING) is None


def test_the_relatively_smallest_is_taken() -> None:
    """Of two features that would each do, the one that changes by the smaller part."""
    rule = compile_expression("spend > 100.0 || visits > 100.0")
    change = smallest_change(rule, [], FEATURES, NOTHING | {"spend": 10.0, "visits": 90.0})
    assert change is not None
    assert change.name == "visits"


def test_rules_that_hold_go_on_to_hold() -> None:
    """A change that breaks another rule is none; one that was broken before does not count."""
    rule = compile_expression("spend > 100.0 || visits > 100.0")
    others = [compile_expression("visits < 95.0"), compile_expression("spend > 1e6")]
    change = smallest_change(rule, others, FEATURES, NOTHING | {"spend": 10.0, "visits": 90.0})
    assert change is not None
    assert change.name == "spend"


@given(limit=st.floats(-1e6, 1e6), factor=st.floats(0.01, 100.0), spend=st.floats(-1e6, 1e6))
def test_no_smaller_change_would_do(limit: float, factor: float, spend: float) -> None:
    """Along a line, a thousandth less than the change that is named leaves the rule broken."""
    rule = compile_expression(f"spend * {factor!r} > {limit!r}")
    values = NOTHING | {"spend": spend}
    if rule.holds(evaluation_context(values)):
        return
    change = smallest_change(rule, [], FEATURES, values)
    assert change is not None
    assert isinstance(change.value, float)
    assert rule.holds(evaluation_context(values | {"spend": change.value}))
    size = change.value - spend
    if size > 1e-9 * max(1.0, abs(spend)):
        assert not rule.holds(evaluation_context(values | {"spend": spend + 0.999 * size}))

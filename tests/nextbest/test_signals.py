"""External signals in a decision: what rules read, what is out of stock, and which of two words holds."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest import records
from nextbest.content import content_of
from nextbest.policy import Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Signal
from nextbest.replay import differences, replay
from nextbest.signals import rank
from nextbest.situation import Models
from nextbest.why_not import why_not
from tests.nextbest.conftest import NOW, Trial

EARLIER = NOW - timedelta(minutes=5)


def stock(value: float | None, key: str = "apples", **fields: Any) -> Signal:
    return Signal(signal="stock", key=key, value=value, at=EARLIER, **fields)


def heat(value: float, key: str = "aisle 5") -> Signal:
    return Signal(signal="temperature", key=key, value=value, at=EARLIER)


def heated(document: dict[str, Any], **feature: Any) -> Policy:
    """Apples are for the heat of what a request names as the weather."""
    fields = {"origin": "signal", "signal": "temperature", "key_from": "weather", "default": 20.0}
    document["features"]["features"].append({"name": "heat", "description": "Celsius", **fields, **feature})
    document["actions"]["actions"][0]["applicability"] = ["heat > 10.0"]
    document["actions"]["actions"][0]["treatments"][0]["content"] = {"headline": "{{ context.heat }}"}
    return compile_policy(PolicyDocument.model_validate(document))


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (stock(2.0), ("stock", "out of stock: 2 of at least 3 since 2026-03-04 05:01:07 UTC")),
        (
            stock(0.5, expires_at=NOW + timedelta(microseconds=1)),
            ("stock", "out of stock: 0.5 of at least 3 since 2026-03-04 05:01:07 UTC"),
        ),
        (stock(3.0), ("arbitration", "")),
        (stock(0.0, key="bread"), ("arbitration", "")),
        (stock(0.0, expires_at=NOW), ("arbitration", "")),
        (stock(None, text="none"), ("arbitration", "")),
    ],
)
def test_what_is_out_of_stock_is_not_proposed(trial: Trial, said: Signal, verdict: tuple[str, str]) -> None:
    """Below what there must be it has its own reason; what is not known, or no longer, stops nothing."""
    policy = trial.policy(stock={"at_least": 3})
    assert trial.verdict(trial.proposed(policy, signals=(said,))) == verdict
    assert trial.verdict(trial.proposed(policy)) == ("arbitration", "")


def test_mandatory_actions_run_out_too(trial: Trial) -> None:
    """Nothing brings back what is not there; a key may be another one than the action's id."""
    policy = trial.policy(stock={"key": "sku 7"}, **{"class": "mandatory"})
    assert trial.verdict(trial.proposed(policy, signals=(stock(0.0, key="sku 7"),)))[0] == "stock"
    assert policy.scope(NOW).signals == (("stock", "sku 7"),)


def test_a_decision_knows_its_signals(trial: Trial, models: Models) -> None:
    """The record has them, so that it is decided again to the letter, and says what would have to change."""
    policy = trial.policy(stock={})
    record = trial.finished(trial.proposed(policy, signals=(stock(0.0),)))
    record = records.decode(records.encode(record))
    assert differences(record, replay(record, policy, models)) == []
    answer = why_not(record, policy, models, "apples")
    assert (answer.verdict, answer.fills) == ("would_win", True)
    assert [(step.kind, step.before, step.after) for step in answer.steps] == [("stock", 0.0, 1.0)]
    assert "stock of apples 0 → 1" in answer.text


@pytest.mark.parametrize(
    ("context", "signals", "value"),
    [
        ({"weather": "aisle 5"}, [heat(5.0)], 5.0),
        ({"weather": "aisle 5"}, [heat(35.0)], 35.0),
        ({"weather": "aisle 5"}, [heat(5.0, key="aisle 6")], 20.0),
        ({}, [heat(5.0)], 20.0),
        ({"weather": "aisle 5", "heat": 30.0}, [heat(5.0)], 30.0),
    ],
)
def test_rules_and_content_read_signals_as_context(
    document: dict[str, Any], trial: Trial, context: dict[str, Any], signals: list[Signal], value: float
) -> None:
    """Of the key that the request names; without one, or without a word on it, the default; the request comes first."""
    policy = heated(document)
    record = trial.finished(trial.proposed(policy, context=context, signals=tuple(signals)))
    assert trial.verdict(trial.proposed(policy, context=context, signals=tuple(signals)))[0] == (
        "arbitration" if value > 10.0 else "applicability"
    )
    slot = msgspec.structs.replace(record.placements[0].slots[0], action="apples", treatment="apples_home")
    assert content_of(policy, record, record.placements[0], slot) == {"headline": f"{value:.0f}"}
    assert record.context == context


def test_a_rule_on_a_signal_says_why_not(document: dict[str, Any], trial: Trial, models: Models) -> None:
    """What the signal said is what would have to be otherwise."""
    policy = heated(document, key="here", key_from=None)
    record = trial.finished(trial.proposed(policy, signals=(heat(5.0, key="here"),)))
    answer = why_not(record, policy, models, "apples")
    assert [(step.kind, step.subject, step.before) for step in answer.steps] == [("feature", "heat", 5.0)]
    assert answer.verdict == "would_win"


def test_a_decision_asks_for_what_its_policy_reads(document: dict[str, Any]) -> None:
    """Stocks, and features of the key that the context names; each once, and none where the policy has none."""
    assert compile_policy(PolicyDocument.model_validate(document)).scope(NOW, {"weather": "sun"}).signals == ()
    document["actions"]["actions"][1]["stock"] = {"signal": "temperature", "key": "sun"}
    document["actions"]["actions"][2]["stock"] = {}
    policy = heated(document)
    assert policy.scope(NOW).signals == (("temperature", "sun"), ("stock", "cheese"))
    assert policy.scope(NOW, {"weather": "sun"}).signals == (("temperature", "sun"), ("stock", "cheese"))
    assert policy.scope(NOW, {"weather": "rain"}).signals[0] == ("temperature", "rain")


@pytest.mark.parametrize(
    ("feature", "read"),
    [
        ({}, [("stock", "cheese"), ("temperature", "here"), ("temperature", "there")]),
        ({"key": "here", "key_from": None}, [("stock", "cheese"), ("temperature", "here")]),
    ],
)
def test_what_a_policy_reads_is_known_before_anybody_asks(
    document: dict[str, Any], feature: dict[str, Any], read: list[tuple[str, str]]
) -> None:
    """Stocks by their key; of a signal whose key is the context's, any."""
    document["actions"]["actions"][2]["stock"] = {}
    policy = heated(document, **feature)
    asked = [(signal, key) for signal in ("stock", "temperature", "wind") for key in ("cheese", "here", "there")]
    assert [each for each in asked if policy.reads(*each) and each != ("temperature", "cheese")] == read


NUMBERS = st.none() | st.floats(-1e9, 1e9)


@given(NUMBERS, NUMBERS, st.none() | st.text(), st.none() | st.text())
def test_of_two_words_the_lower_number_holds(
    one: float | None, other: float | None, word: str | None, another: str | None
) -> None:
    """A number comes before none; equal ranks say the same."""
    first, second = stock(one, text=word), stock(other, text=another)
    if one is not None and other is not None and one != other:
        assert (rank(first, NOW) > rank(second, NOW)) == (one < other)
    elif (one is None) != (other is None):
        assert (rank(first, NOW) > rank(second, NOW)) == (other is None)
    else:
        assert (rank(first, NOW) == rank(second, NOW)) == (msgspec.json.encode(first) == msgspec.json.encode(second))


@given(NUMBERS, NUMBERS)
def test_of_a_clock_that_is_ahead_the_later_word_holds(one: float | None, other: float | None) -> None:
    """Both came before they were said to have happened, and so count for the moment at which they came."""
    assert rank(stock(one), NOW) < rank(stock(other), NOW + timedelta(microseconds=1))

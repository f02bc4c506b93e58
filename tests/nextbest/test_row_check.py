"""Rows as channels send them: which are valid, and what is said of each that is not."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Field, Rule
from nextbest.row_check import Found, RowCheck
from nextbest.settings import CHECKOUT
from nextbest.wire import Verdict

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")


def field(name: str, physical_type: str = "VARCHAR", *rules: Rule, **fields: Any) -> Field:
    kinds = {"VARCHAR": "string", "DOUBLE": "number", "TIMESTAMPTZ": "timestamp"}
    return Field(name, kinds[physical_type], physical_type, rules=rules, **fields)


REQUIRED = Rule("required")
OUTCOMES = Contract(
    name="outcomes",
    version="1.2.0",
    event_time="occurred_at",
    fields=(
        field("outcome_id", "VARCHAR", REQUIRED, Rule("min_length", 1), key=True),
        field("customer_id", "VARCHAR", REQUIRED),
        field("decision_id"),
        field("value", "DOUBLE", Rule("minimum", 0.0)),
        field("comment"),
        field("occurred_at", "TIMESTAMPTZ", REQUIRED, Rule("minimum", "2000-01-01T00:00:00Z")),
        field("source", "VARCHAR", REQUIRED, Rule("enum", ("live", "simulated"))),
    ),
)


ZONED = "it takes a time with its zone, such as"
NO_ID = "is no id: it takes up to 200 characters, and no control character"
NO_CUSTOMER = (
    "names no customer: it takes up to 200 characters, and is an identifier (kind:hmac, one of the kinds of "
    "identities and a keyed hash), or else neither begins nor ends like one, and is no dot, which no path can name"
)


def outcome(outcome_id: str, **fields: Any) -> dict[str, Any]:
    row = {"outcome_id": outcome_id, "customer_id": "c1", "occurred_at": "2026-03-02T12:00:00Z", "source": "live"}
    return row | fields


def check(contract: Contract, rows: Sequence[Mapping[str, Any]], at: datetime) -> list[Found]:
    """What is found where every id but those of e-mail addresses may be a customer's."""
    return RowCheck(contract, lambda name: not name.startswith("email:")).check(rows, at)


def test_valid_rows_come_back_in_the_contracts_types() -> None:
    """Text times become UTC times, numbers floats, and what is not sent is null."""
    (row,) = check(OUTCOMES, [outcome("o1", value=3)], AT)
    assert row == {
        "outcome_id": "o1",
        "customer_id": "c1",
        "decision_id": None,
        "value": 3.0,
        "comment": None,
        "occurred_at": AT,
        "source": "live",
    }


@pytest.mark.parametrize(
    ("fields", "reason", "rule", "column"),
    [
        ({"customer_id": None}, "outcomes.customer_id is missing: it must have a value", "required", "customer_id"),
        ({"value": -1}, "outcomes.value is '-1': it takes nothing below 0.0", "minimum", "value"),
        ({"value": [1]}, "outcomes.value is [1]: it takes a number", "type", "value"),
        ({"occurred_at": "noon"}, "outcomes.occurred_at is 'noon': it takes a timestamp", "type", "occurred_at"),
        ({"source": "dream"}, "outcomes.source is 'dream': it takes live, simulated", "enum", "source"),
    ],
)
def test_a_rejected_row_says_why(fields: dict[str, Any], reason: str, rule: str, column: str) -> None:
    """The reason names contract, field, value and rule; the rows beside it are not touched."""
    before, verdict, after = check(OUTCOMES, [outcome("o1"), outcome("o2", **fields), outcome("o3")], AT)
    assert verdict == Verdict("rejected", reason, rule, column)
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (before["outcome_id"], after["outcome_id"]) == ("o1", "o3")


def test_a_row_that_comes_again_is_a_duplicate() -> None:
    """Whenever it was received; another row under the same key is told that it does not count."""
    rows = [outcome("o1"), outcome("o1", received_at="2026-03-02T12:00:01Z"), outcome("o1", value=1)]
    _, again, other = check(OUTCOMES, rows, AT)
    assert again == Verdict("duplicate")
    assert isinstance(other, Verdict)
    assert (other.status, other.rule, other.column) == ("rejected", "key", "outcome_id")


def test_a_rejected_row_takes_no_key_away() -> None:
    """The first valid row of a key is the one that counts."""
    rejected, valid = check(OUTCOMES, [outcome("o1", value=-1), outcome("o1")], AT)
    assert isinstance(rejected, Verdict)
    assert isinstance(valid, dict)


def test_what_has_yet_to_happen_is_rejected() -> None:
    """A channel's clock may be minutes ahead, and no more: the future would count under no window."""
    at = [AT + timedelta(minutes=minutes) for minutes in (5, 6)]
    near, far = check(OUTCOMES, [outcome(f"o{n}", occurred_at=each) for n, each in enumerate(at)], AT)
    assert isinstance(near, dict)
    assert isinstance(far, Verdict)
    assert (far.rule, far.column) == ("future", "occurred_at")
    assert "it is more than 5 minutes later than now" in far.reason
    (never,) = check(OUTCOMES, [outcome("o1", occurred_at="9999-12-31T23:59:59-05:00")], AT)
    assert isinstance(never, Verdict)
    assert never.rule == "type"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"customer_id": 439}, "outcomes.customer_id is 439: it takes a string"),
        ({"customer_id": {}}, "outcomes.customer_id is {}: it takes a string"),
        ({"value": "3.5"}, "outcomes.value is '3.5': it takes a number"),
        ({"value": True}, "outcomes.value is true: it takes a number"),
        ({"occurred_at": 1772452800}, "outcomes.occurred_at is 1772452800: it takes a timestamp"),
    ],
)
def test_a_value_of_another_type_of_json_is_rejected(values: dict[str, Any], reason: str) -> None:
    """What a file of text may write so, a body of JSON may not; its key is free for the row that comes right."""
    wrong, right = check(OUTCOMES, [outcome("o1", **values), outcome("o1")], AT)
    assert wrong == Verdict("rejected", reason, "type", next(iter(values)))
    assert isinstance(right, dict)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON does not tell 2.0 from 2."""
    sent = {"event_id": "e1", "customer_id": "c1", "type": "click", "channel": "web", "source": "live", "slot": 2.0}
    (row,) = check(CONTRACTS["events"], [sent | {"occurred_at": AT.isoformat(), "received_at": AT}], AT)
    assert isinstance(row, dict)
    assert row["slot"] == 2


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"occurred_at": "2026-03-03T12:00:00Z"},
            "events.occurred_at is '2026-03-03T12:00:00+00:00': it is more than 5 minutes later than now",
        ),
        ({"type": "clik"}, "events.type is 'clik': it takes page_view, product_view, add_to_cart, email_open, click, "),
        ({"type": "clik"}, "; did you mean 'click'?"),
        ({"slot": "1e400"}, "events.slot is '1e400': it takes an integer"),
        ({"slot": 1.5}, "events.slot is '1.5': it takes an integer"),
        ({"customer_id": None}, "events.customer_id is missing: it must have a value"),
        ({"occurred_at": "12:00"}, "events.occurred_at is '12:00': it takes a timestamp"),
    ],
)
def test_a_channel_is_told_what_the_door_would_say(values: dict[str, Any], reason: str) -> None:
    """Of each row by itself, under the real contract: what is allowed, and what was probably meant."""
    good = {
        "event_id": "e1",
        "customer_id": "c1",
        "type": "click",
        "channel": "web",
        "occurred_at": AT.isoformat(),
        "received_at": AT.isoformat(),
        "source": "live",
    }
    rows = [good, good | {"event_id": "e2"} | values, good | {"event_id": "e3"}]
    first, verdict, third = check(CONTRACTS["events"], rows, AT)
    assert isinstance(verdict, Verdict)
    assert verdict.status == "rejected"
    assert reason in verdict.reason
    assert isinstance(first, dict)
    assert isinstance(third, dict)


@pytest.mark.parametrize(
    ("fields", "reason", "rule", "column"),
    [
        ({"custmer_id": "c1"}, "outcomes has no 'custmer_id'; did you mean 'customer_id'?", "undeclared", "custmer_id"),
        ({"mood": None}, "outcomes has no 'mood'", "undeclared", "mood"),
        (
            {"occurred_at": "2026-03-02T12:00:00"},
            f"outcomes.occurred_at is '2026-03-02T12:00:00': {ZONED} 2026-03-02T12:00:00Z",
            "zone",
            "occurred_at",
        ),
        (
            {"occurred_at": datetime(2026, 3, 2)},  # noqa: DTZ001  what a careless caller has
            f"outcomes.occurred_at is '2026-03-02T00:00:00': {ZONED} 2026-03-02T00:00:00Z",
            "zone",
            "occurred_at",
        ),
        ({"outcome_id": ""}, "outcomes.outcome_id is '': its length is 1 or more", "min_length", "outcome_id"),
        (
            {"outcome_id": "o" * 201},
            f"outcomes.outcome_id {NO_ID}",
            "id",
            "outcome_id",
        ),
        (
            {"decision_id": "d\n1"},
            f"outcomes.decision_id {NO_ID}",
            "id",
            "decision_id",
        ),
        (
            {"customer_id": "email:a@example.org"},
            f"outcomes.customer_id {NO_CUSTOMER}",
            "id",
            "customer_id",
        ),
        (
            {"comment": "é" * 16_000},
            "the row of outcomes is 32,104 bytes of JSON: it takes 32,000 or less",
            "size",
            "",
        ),
        (
            {"occurred_at": "1999-12-31T23:59:59Z"},
            "outcomes.occurred_at is '1999-12-31T23:59:59Z': it takes nothing below 2000-01-01T00:00:00Z",
            "minimum",
            "occurred_at",
        ),
        (
            {"source": "x" * 300},
            f"outcomes.source is {repr('x' * 300)[:100]}…: it takes live, simulated",
            "enum",
            "source",
        ),
    ],
)
def test_what_a_file_may_do_and_a_channel_may_not(fields: dict[str, Any], reason: str, rule: str, column: str) -> None:
    """Whoever can be answered is told exactly; the row beside it is taken."""
    wrong, right = check(OUTCOMES, [outcome("o1") | fields, outcome("o1")], AT)
    assert wrong == Verdict("rejected", reason, rule, column)
    assert isinstance(right, dict)


def test_an_id_may_be_written_in_any_alphabet() -> None:
    """With spaces and colons of its own, up to 200 characters."""
    rows = [outcome(each) for each in ("seen/d-1/0", "Ünïcode 1", "urn:shop:17", "点" * 200, "a\u00a0b")]
    assert all(isinstance(found, dict) for found in check(OUTCOMES, rows, AT))


def test_the_same_row_written_otherwise_is_a_duplicate() -> None:
    """What counts is what it says: a moment is the same in every zone."""
    _, again = check(OUTCOMES, [outcome("o1"), outcome("o1", occurred_at="2026-03-02T13:00:00+01:00")], AT)
    assert again == Verdict("duplicate")


def test_a_rule_that_stops_a_batch_rejects_all_of_it() -> None:
    """Also the rows that would be valid by themselves."""
    fields = [*OUTCOMES.fields[:-1], field("source", "VARCHAR", Rule("enum", ("live",), "stop"))]
    contract = Contract("outcomes", "1.0.0", tuple(fields), event_time="occurred_at")
    found = check(contract, [outcome("o1"), outcome("o2", source="dream")], AT)
    assert [isinstance(each, Verdict) and each.rule for each in found] == ["enum", "enum"]

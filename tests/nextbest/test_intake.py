"""Rows on their way into the log: checked by their contract, wrapped in the envelope."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Field, Rule
from nextbest.envelope import Identifier, is_landed
from nextbest.intake import check, envelope, landed
from nextbest.settings import CHECKOUT
from nextbest.wire import Verdict

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def field(name: str, physical_type: str = "VARCHAR", *rules: Rule, **fields: Any) -> Field:
    kinds = {"VARCHAR": "string", "DOUBLE": "number", "TIMESTAMPTZ": "timestamp"}
    return Field(name, kinds[physical_type], physical_type, rules=rules, **fields)


REQUIRED = Rule("required")
OUTCOMES = Contract(
    name="outcomes",
    version="1.2.0",
    event_time="occurred_at",
    fields=(
        field("outcome_id", "VARCHAR", REQUIRED, key=True),
        field("customer_id", "VARCHAR", REQUIRED),
        field("decision_id"),
        field("value", "DOUBLE", Rule("minimum", 0.0)),
        field("occurred_at", "TIMESTAMPTZ", REQUIRED),
        field("source", "VARCHAR", REQUIRED, Rule("enum", ("live", "simulated"))),
    ),
)
IDENTITIES = Contract(
    name="identities",
    version="1.0.0",
    fields=(
        field("kind", key=True),
        field("identifier_hmac", key=True),
        field("customer_id"),
        field("value", classification="pii"),
        field("linked_at", "TIMESTAMPTZ"),
        field("source"),
    ),
)


def outcome(outcome_id: str, **fields: Any) -> dict[str, Any]:
    row = {"outcome_id": outcome_id, "customer_id": "c1", "occurred_at": "2026-03-02T12:00:00Z", "source": "live"}
    return row | fields


def test_valid_rows_come_back_in_the_contracts_types() -> None:
    """Text times become UTC times, numbers floats; what is not sent is null and what is not declared is left out."""
    (row,) = check(OUTCOMES, [outcome("o1", value=3, mood="fine")], AT)
    assert row == {
        "outcome_id": "o1",
        "customer_id": "c1",
        "decision_id": None,
        "value": 3.0,
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


def test_the_envelope_says_what_the_row_says() -> None:
    """The same row always has the same id; its contract and version, and what the log is searched by, are outside."""
    row = {**outcome("o1", decision_id="d1", value=3.5), "occurred_at": AT}
    wrapped = envelope(OUTCOMES, row, AT)
    assert (wrapped.event_id, wrapped.type, wrapped.contract_version) == ("outcomes/o1", "outcome", "1.2.0")
    assert (wrapped.decision_id, wrapped.value, wrapped.partition_key) == ("d1", 3.5, "c1")
    assert wrapped.properties == row


def test_a_landed_row_that_was_corrected_is_another_event() -> None:
    """The same row has the same id every time; the same key that says something else must reach State."""
    row = {"kind": "email", "identifier_hmac": "ab", "customer_id": "c1", "linked_at": AT, "source": "live"}
    first = landed(IDENTITIES, row, AT)
    assert first.event_id == landed(IDENTITIES, dict(row), AT + timedelta(days=1)).event_id
    assert first.event_id != landed(IDENTITIES, row | {"customer_id": "c2"}, AT).event_id
    assert is_landed(first)
    assert not is_landed(envelope(IDENTITIES, row, AT))


def test_personal_data_stays_out_of_the_log() -> None:
    """An identity is logged by its keyed hash; what names the person is not."""
    row = {
        "kind": "email",
        "identifier_hmac": "ab",
        "customer_id": "c1",
        "value": "a@example.org",
        "linked_at": AT,
        "source": "live",
    }
    wrapped = envelope(IDENTITIES, row, AT)
    assert "value" not in wrapped.properties
    assert wrapped.value is None
    assert (wrapped.identifiers, wrapped.occurred_at) == ((Identifier("email", "ab"),), AT)
    assert wrapped.partition_key == "email:ab"


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
    events = load_contracts(CHECKOUT / "data_contracts")["events"]
    sent = {"event_id": "e1", "customer_id": "c1", "type": "click", "channel": "web", "source": "live", "slot": 2.0}
    (row,) = check(events, [sent | {"occurred_at": AT.isoformat(), "received_at": AT}], AT)
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
    events = load_contracts(CHECKOUT / "data_contracts")["events"]
    rows = [good, good | {"event_id": "e2"} | values, good | {"event_id": "e3"}]
    first, verdict, third = check(events, rows, AT)
    assert isinstance(verdict, Verdict)
    assert verdict.status == "rejected"
    assert reason in verdict.reason
    assert isinstance(first, dict)
    assert isinstance(third, dict)

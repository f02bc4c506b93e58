"""Rows on their way into the log: wrapped in the envelope."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nextbest.contracts import Contract, Field, Rule
from nextbest.envelope import Identifier, is_landed
from nextbest.intake import envelope, landed

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def field(name: str, physical_type: str = "VARCHAR", *rules: Rule, **fields: Any) -> Field:
    kinds = {"VARCHAR": "string", "DOUBLE": "number", "TIMESTAMPTZ": "timestamp"}
    return Field(name, kinds[physical_type], physical_type, rules=rules, **fields)


PART = st.text("ab/%2F", max_size=6)
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


@given(st.lists(st.tuples(PART, PART), min_size=2, max_size=2, unique=True))
def test_two_keys_are_two_events(keys: list[tuple[str, str]]) -> None:
    """Whatever the parts of a key of several columns hold."""
    said = {"customer_id": "c1", "linked_at": AT, "source": "live"}
    one, other = (envelope(IDENTITIES, said | {"kind": kind, "identifier_hmac": hmac}, AT) for kind, hmac in keys)
    assert one.event_id != other.event_id

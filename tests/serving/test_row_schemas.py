"""The schema of a row says of it what the door does."""

from datetime import UTC, datetime
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Field, Rule
from nextbest.intake import RECEIVED_AT
from nextbest.names import CustomerNames
from nextbest.row_check import Found, RowCheck
from nextbest.settings import CHECKOUT
from nextbest.wire import INTAKE, Verdict
from serving.row_schemas import row_schema as schema_of

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
NAMES = CustomerNames(CONTRACTS["identities"])
# What other rows there are is judged where a row lands; and what warns refuses nothing.
RULES = [
    (name, field, rule)
    for name in INTAKE
    for field, rule in CONTRACTS[name].rules()
    if field.name != RECEIVED_AT and rule.kind != "reference" and rule.on_violation != "warn"
]
VALID: dict[str, Any] = {
    "string": "a",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "timestamp": AT.isoformat(),
    "array": ["a"],
}


def check(contract: Contract, rows: list[dict[str, Any]], at: datetime) -> list[Found]:
    return RowCheck(contract, NAMES.is_name).check(rows, at)


def row_schema(contract: Contract) -> dict[str, Any]:
    return schema_of(contract, NAMES.no_name)


def valid_row(contract: Contract) -> dict[str, Any]:
    """A row in which every field that is sent is filled."""
    sent = [field for field in contract.fields if field.name != RECEIVED_AT]
    named = {"identifier_hmac": "ab" * 32}
    return {field.name: (field.enum or [named.get(field.name, VALID[field.type])])[0] for field in sent}


def breach(field: Field, rule: Rule) -> Any:
    """A value that breaks the rule."""
    if rule.kind in {"minimum", "maximum"} and field.type == "timestamp":
        return "1999-12-31T23:59:59Z"
    if rule.kind in {"minimum", "maximum"}:
        return float(str(rule.argument)) + (1 if rule.kind == "maximum" else -1)
    if rule.kind == "max_length":
        return "a" * (int(str(rule.argument)) + 1)
    return {"required": None, "enum": "of no list", "pattern": " ", "min_length": ""}[rule.kind]


@pytest.mark.parametrize("name", INTAKE)
def test_the_schema_takes_what_the_door_takes(name: str) -> None:
    """A valid row is valid for both."""
    contract = CONTRACTS[name]
    row = valid_row(contract)
    jsonschema.validate(row, row_schema(contract))
    assert not isinstance(check(contract, [row], AT)[0], Verdict)


@pytest.mark.parametrize(
    ("name", "field", "rule"), RULES, ids=[f"{name}.{field.name}.{rule.kind}" for name, field, rule in RULES]
)
def test_schema_and_door_refuse_the_same(name: str, field: Field, rule: Rule) -> None:
    """A row that breaks a rule; a bound of time, which JSON Schema cannot state, is in the schema as an annotation."""
    contract = CONTRACTS[name]
    row = valid_row(contract) | {field.name: breach(field, rule)}
    if field.type == "integer" and isinstance(row[field.name], float):
        row[field.name] = int(row[field.name])
    [verdict] = check(contract, [row], AT)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.rule, verdict.column) == ("rejected", rule.kind, field.name)
    schema = row_schema(contract)
    if field.type == "timestamp" and rule.kind != "required":
        assert schema["properties"][field.name]["formatMinimum"] == rule.argument
    else:
        assert not jsonschema.Draft202012Validator(schema).is_valid(row)


def test_a_rule_that_warns_refuses_nothing() -> None:
    """The door lands such a row, so the schema takes it."""
    field = Field("quantity", "integer", "BIGINT", rules=(Rule("required", None, "warn"), Rule("minimum", 1, "warn")))
    schema = row_schema(Contract("orders", "1.0.0", (field,)))
    jsonschema.validate({"quantity": 0}, schema)
    jsonschema.validate({}, schema)


def test_two_rules_of_a_kind_both_hold() -> None:
    """A pattern among the options and one among the quality rules."""
    field = Field("code", "string", "VARCHAR", rules=(Rule("pattern", "^a"), Rule("pattern", "b$")))
    validator = jsonschema.Draft202012Validator(row_schema(Contract("orders", "1.0.0", (field,))))
    assert [validator.is_valid({"code": code}) for code in ("ab", "a", "b")] == [True, False, False]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("customer_id", 439),
        ("slot", "1"),
        ("slot", 1.5),
        ("occurred_at", 0),
        ("occurred_at", "2026-03-02"),
        ("slot", True),
        ("colour", "red"),
        ("occurred_at", "2026-03-02T12:00:00"),
        ("event_id", "e" * 201),
        ("session_id", "s\n"),
        ("customer_id", "email:" + "ab" * 31),
        ("customer_id", "pigeon:" + "ab" * 32),
        ("customer_id", ".."),
    ],
)
def test_schema_and_door_refuse_the_same_values(column: str, value: object) -> None:
    """What JSON has as another type, an id that is none, a time without its zone, and what no contract names."""
    contract = CONTRACTS["events"]
    row = valid_row(contract) | {column: value}
    assert isinstance(check(contract, [row], AT)[0], Verdict)
    assert not jsonschema.Draft202012Validator(row_schema(contract)).is_valid(row)


def test_what_the_server_sets_is_no_part_of_a_row() -> None:
    """Whatever is sent as the time of receipt is not looked at, so nothing is said of it; a source may be said."""
    schema = row_schema(CONTRACTS["events"])
    assert RECEIVED_AT not in schema["properties"]
    assert "source" in schema["properties"]
    assert "source" not in schema["required"]


def test_an_identifier_names_a_customer() -> None:
    """Of rows, where nobody need have made an id of it before."""
    contract = CONTRACTS["events"]
    row = valid_row(contract) | {"customer_id": "email:" + "ab" * 32}
    jsonschema.validate(row, row_schema(contract))
    assert not isinstance(check(contract, [row], AT)[0], Verdict)

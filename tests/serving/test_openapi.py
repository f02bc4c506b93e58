"""The API describes itself, completely."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from starlette.routing import Route

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Field, Rule
from nextbest.intake import check
from nextbest.settings import CHECKOUT
from nextbest.wire import INTAKE, Verdict
from serving import openapi

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
RULES = [(name, field, rule) for name in INTAKE for field, rule in CONTRACTS[name].rules()]
VALID: dict[str, Any] = {
    "string": "a",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "timestamp": AT.isoformat(),
    "array": ["a"],
}


def document(client: Any) -> dict[str, Any]:
    async def described() -> dict[str, Any]:
        async with client() as connected:
            content: dict[str, Any] = (await connected.get("/openapi.json")).json()
            return content

    return asyncio.run(described())


def test_every_route_is_described(client: Any) -> None:
    """A route that is not in the document, or the other way round, fails here."""

    async def served() -> set[tuple[str, str]]:
        async with client() as connected:
            routes: list[Route] = connected._transport.app.routes  # noqa: SLF001  where httpx keeps it
            return {(r.path, m.lower()) for r in routes for m in r.methods or () if m != "HEAD"}

    assert {(path, m) for path, item in document(client)["paths"].items() for m in item} == asyncio.run(served())


def test_every_reference_leads_somewhere(client: Any) -> None:
    """All schemas referred to are in the document."""
    content = document(client)
    references = set(re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(content).decode()))
    assert references <= content["components"]["schemas"].keys()


def test_a_row_is_described_by_its_contract(client: Any, contracts: dict[str, Contract]) -> None:
    """Fields, enums and what is required come from the contract; what the server sets is not asked for."""
    schemas = document(client)["components"]["schemas"]
    row = schemas["EventsRow"]
    assert row["properties"]["type"]["enum"] == list(contracts["events"].field("type").enum or ())
    assert "event_id" in row["required"]
    assert "received_at" not in row["required"]
    assert row["properties"]["action"]["type"] == ["string", "null"]
    assert {"$ref": "#/components/schemas/OutcomesRow"} in schemas["EventRow"]["properties"]["properties"]["anyOf"]


def valid_row(contract: Contract) -> dict[str, Any]:
    """A row in which every field is filled."""
    return {field.name: (field.enum or [VALID[field.type]])[0] for field in contract.fields}


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
    jsonschema.validate(row, openapi.row_schema(contract))
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
    schema = openapi.row_schema(contract)
    if field.type == "timestamp" and rule.kind != "required":
        assert schema["properties"][field.name]["formatMinimum"] == rule.argument
    else:
        assert not jsonschema.Draft202012Validator(schema).is_valid(row)


def test_a_rule_that_warns_refuses_nothing() -> None:
    """The door lands such a row, so the schema takes it."""
    field = Field("quantity", "integer", "BIGINT", rules=(Rule("required", None, "warn"), Rule("minimum", 1, "warn")))
    schema = openapi.row_schema(Contract("orders", "1.0.0", (field,)))
    jsonschema.validate({"quantity": 0}, schema)
    jsonschema.validate({}, schema)


def test_two_rules_of_a_kind_both_hold() -> None:
    """A pattern among the options and one among the quality rules."""
    field = Field("code", "string", "VARCHAR", rules=(Rule("pattern", "^a"), Rule("pattern", "b$")))
    validator = jsonschema.Draft202012Validator(openapi.row_schema(Contract("orders", "1.0.0", (field,))))
    assert [validator.is_valid({"code": code}) for code in ("ab", "a", "b")] == [True, False, False]

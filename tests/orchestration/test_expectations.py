"""Tests of `orchestration.expectations`: each contract's suite on good rows, and on a bad row per rule."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Field, Rule
from nextbest.settings import CHECKOUT
from orchestration.expectations import Severity, has_warnings, run_suite, suite_fields

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
GOOD_ROWS = 3


def _good(field: Field, row: int) -> Any:
    """A value that keeps every rule of the field; another one per row where the field has room for it."""
    number = f"{row + 1:064x}"
    bounds = [rule.argument for rule in field.rules if rule.kind in {"minimum", "maximum"}]
    match field.type:
        case "string" if field.enum:
            return field.enum[row % len(field.enum)]
        case "string":
            pattern = field.rule("pattern")
            return next(
                text
                for text in (f"id_{row}", number, "Europe/Berlin")
                if not pattern or re.search(str(pattern.argument), text)
            )
        case "integer" | "number":
            return max([float(bound) for bound in bounds if isinstance(bound, int | float)], default=1.0)
        case "timestamp":
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=row)
        case "boolean":
            return True
    return ["one"]


def _bad(field: Field, rule: Rule) -> Any:
    """A value that breaks the rule."""
    match rule.kind:
        case "required":
            return None
        case "minimum" if field.type == "timestamp":
            return datetime(1999, 1, 1, tzinfo=UTC)
        case "minimum":
            return float(str(rule.argument)) - 1
        case "maximum":
            return float(str(rule.argument)) + 1
        case "min_length":
            return ""
    return "?"


def _table(contract: Contract, rows: list[dict[str, Any]]) -> pa.Table:
    fields = suite_fields(contract)
    return pa.table(
        {field.name: pa.array([row[field.name] for row in rows]).cast(field.arrow_type) for field in fields}
    )


def _rows(contract: Contract, count: int) -> list[dict[str, Any]]:
    return [{field.name: _good(field, row) for field in contract.fields} for row in range(count)]


def _references(contract: Contract) -> dict[str, pa.Array]:
    return {
        each.reference: pa.array([f"id_{row}" for row in range(1000)]) for each in contract.fields if each.reference
    }


def _named(rule: Rule) -> str:
    return rule.kind if rule.argument is None else f"{rule.kind} {rule.argument}"


def _broken(contract: Contract) -> Iterator[tuple[Field, Rule]]:
    """The rules a column of the contract's own type can break at all."""
    return (
        (field, rule) for field, rule in contract.rules() if not (field.type == "array" and rule.kind != "required")
    )


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_good_rows_pass(contract: Contract) -> None:
    """A suite asks nothing that the contract does not promise."""
    outcomes = run_suite(contract, _table(contract, _rows(contract, GOOD_ROWS)), _references(contract))
    assert outcomes["error"].failures == outcomes["warn"].failures == ()
    assert outcomes["error"].rows == GOOD_ROWS


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_every_rule_is_tested(contract: Contract) -> None:
    """A row that breaks a rule fails the expectation of this rule, with the severity the contract gives it."""
    broken = list(_broken(contract))
    rows = _rows(contract, len(broken))
    for row, (field, rule) in zip(rows, broken, strict=True):
        row[field.name] = _bad(field, rule)
    outcomes = run_suite(contract, _table(contract, rows), _references(contract))
    found = {
        (failure.column, failure.rule): severity for severity, each in outcomes.items() for failure in each.failures
    }
    expected = {
        (field.name, _named(rule)): "warn" if rule.on_violation == "warn" else "error" for field, rule in broken
    }
    assert {key: severity for key, severity in found.items() if key[1] != "unique"} == expected


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_a_key_is_unique(contract: Contract) -> None:
    """A row twice fails, whether the key has one column or several; of events it warns: deliveries may overlap."""
    outcomes = run_suite(contract, _table(contract, _rows(contract, GOOD_ROWS)[:1] * 2), _references(contract))
    severity: Severity = "warn" if contract.event_time else "error"
    assert [failure.rule for failure in outcomes[severity].failures] == ["unique"]


def test_too_few_rows_fail() -> None:
    """An empty landing is not what was promised, where a delivery must have rows."""
    contract = CONTRACTS["transactions"]
    outcome = run_suite(contract, _table(contract, []), _references(contract))["error"]
    assert [failure.rule for failure in outcome.failures] == ["rows >= 1"]


def test_a_column_of_another_type_or_none_fails() -> None:
    """Files that were changed behind the door's back are found."""
    contract = CONTRACTS["consents"]
    table = _table(contract, _rows(contract, GOOD_ROWS)).drop_columns(["regime"])
    table = table.set_column(0, "consent_id", pa.array(range(GOOD_ROWS)))
    failures = run_suite(contract, table, _references(contract))["error"].failures
    assert {("consent_id", "string"), ("regime", "exists")} <= {(each.column, each.rule) for each in failures}


def test_what_identifies_a_person_is_not_shown() -> None:
    """An e-mail address in the column of its keyed hash is the likeliest mistake: it is counted, not shown."""
    contract = CONTRACTS["identities"]
    (row,) = _rows(contract, 1)
    table = _table(contract, [row | {"identifier_hmac": "ann@example.org"}])
    (failure,) = run_suite(contract, table, _references(contract))["error"].failures
    assert (failure.column, failure.observed) == ("identifier_hmac", "1 of 1 rows")
    assert failure.sample == ()


def test_only_contracts_that_warn_have_warnings() -> None:
    """A check that can never fail is not shown."""
    snapshots = {name for name, contract in CONTRACTS.items() if not contract.event_time}
    assert {name for name, contract in CONTRACTS.items() if not has_warnings(contract)} == snapshots

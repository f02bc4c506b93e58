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
from orchestration import expectations
from orchestration.expectations import Failure, Severity, Suite, promised_checks, run_suite, suite_fields

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


def _bad(field: Field, rule: Rule) -> Any:  # noqa: PLR0911  one for each kind
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
        case "max_length":
            return "x" * (int(str(rule.argument)) + 1)
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


def _failures(suite: Suite) -> list[Failure]:
    return [failure for outcome in suite.outcomes.values() for failure in outcome.failures]


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
    suite = run_suite(contract, _table(contract, _rows(contract, GOOD_ROWS)), _references(contract))
    assert _failures(suite) == []
    assert list(suite.outcomes) == promised_checks(contract)
    assert {(outcome.rows, outcome.expectations > 0) for outcome in suite.outcomes.values()} == {(GOOD_ROWS, True)}


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_every_rule_is_tested(contract: Contract) -> None:
    """A row that breaks a rule fails the expectation of this rule, with the severity the contract gives it."""
    broken = list(_broken(contract))
    rows = _rows(contract, len(broken))
    for row, (field, rule) in zip(rows, broken, strict=True):
        row[field.name] = _bad(field, rule)
    suite = run_suite(contract, _table(contract, rows), _references(contract))
    found = {(failure.column, failure.rule): failure.severity for failure in _failures(suite)}
    expected = {
        (field.name, _named(rule)): "warn" if rule.on_violation == "warn" else "error" for field, rule in broken
    }
    assert {key: severity for key, severity in found.items() if key[1] != "unique"} == expected


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_a_key_is_unique(contract: Contract) -> None:
    """A row twice fails, whether the key has one column or several; of events it warns: deliveries may overlap."""
    suite = run_suite(contract, _table(contract, _rows(contract, GOOD_ROWS)[:1] * 2), _references(contract))
    severity: Severity = "warn" if contract.event_time else "error"
    assert [(failure.rule, failure.severity) for failure in _failures(suite)] == [("unique", severity)]
    assert suite.outcomes["keys"].severity == severity


def test_too_few_rows_fail() -> None:
    """An empty landing is not what was promised, where a delivery must have rows."""
    contract = CONTRACTS["transactions"]
    suite = run_suite(contract, _table(contract, []), _references(contract))
    assert [failure.rule for failure in suite.outcomes["schema"].failures] == ["rows >= 1"]
    assert len(_failures(suite)) == 1


def test_a_column_of_another_type_or_none_fails() -> None:
    """Files that were changed behind the door's back are found."""
    contract = CONTRACTS["consents"]
    table = _table(contract, _rows(contract, GOOD_ROWS)).drop_columns(["regime"])
    table = table.set_column(0, "consent_id", pa.array(range(GOOD_ROWS)))
    failures = run_suite(contract, table, _references(contract)).outcomes["schema"].failures
    assert {("consent_id", "string"), ("regime", "string")} <= {(each.column, each.rule) for each in failures}


def test_what_identifies_a_person_is_not_shown() -> None:
    """An e-mail address in the column of its keyed hash is the likeliest mistake: it is counted, not shown."""
    contract = CONTRACTS["identities"]
    (row,) = _rows(contract, 1)
    table = _table(contract, [row | {"identifier_hmac": "ann@example.org"}])
    suite = run_suite(contract, table, _references(contract))
    (failure,) = suite.outcomes["values"].failures
    assert (failure.column, failure.observed) == ("identifier_hmac", "1 of 1 rows")
    assert failure.sample == ()
    assert "ann@example.org" not in suite.page


def test_a_failed_check_is_as_severe_as_the_worst_of_it() -> None:
    """One rule of a check may warn and another stop: what warns alone does not stop."""
    contract = CONTRACTS["transactions"]
    rows = _rows(contract, GOOD_ROWS)
    warns = run_suite(contract, _table(contract, [*rows[1:], rows[0] | {"product_id": "?"}]), _references(contract))
    assert (warns.outcomes["references"].passed, warns.outcomes["references"].severity) == (False, "warn")
    both = rows[0] | {"product_id": "?", "customer_id": "?"}
    stops = run_suite(contract, _table(contract, [*rows[1:], both]), _references(contract))
    assert stops.outcomes["references"].severity == "error"


def test_only_what_is_promised_is_checked() -> None:
    """A check that can never fail is not shown: products refer to nothing."""
    assert promised_checks(CONTRACTS["products"]) == ["schema", "keys", "values"]
    assert promised_checks(CONTRACTS["transactions"]) == ["schema", "keys", "references", "values"]


def test_a_large_table_is_tested_column_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same is found, whether the library gets the table at once or by column."""
    contract = CONTRACTS["transactions"]
    rows = _rows(contract, GOOD_ROWS)
    table = _table(contract, [*rows, rows[0] | {"product_id": "?", "sales_value": -1.0}, rows[1]])
    whole = run_suite(contract, table, _references(contract))
    monkeypatch.setattr(expectations, "_LARGE", 0)
    parts = run_suite(contract, table, _references(contract))
    assert parts.outcomes == whole.outcomes
    assert {failure.rule for failure in _failures(parts)} == {"unique", "reference products.product_id", "minimum 0"}


def test_the_page_loads_nothing_and_escapes_what_it_shows() -> None:
    """It is readable without a network, and a value from a file is text, not markup."""
    contract = CONTRACTS["consents"]
    table = _table(contract, [row | {"purpose": "<img src=x onerror=alert(1)>"} for row in _rows(contract, 1)])
    page = run_suite(contract, table, _references(contract)).page
    assert not re.search(r"<(script|link|iframe|img)\b|url\(|@import", page)
    assert "alert(1)" in page
    assert "default-src 'none'" in page

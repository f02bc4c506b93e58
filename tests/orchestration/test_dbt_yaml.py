"""Contracts in dbt's words."""

from typing import Any

import yaml

from nextbest.contracts import Contract, Field, Rule
from orchestration.dbt_yaml import sources, staging


def field(name: str, *rules: Rule, physical_type: str = "VARCHAR", **options: Any) -> Field:
    return Field(name, "string", physical_type, description=f"The {name}.", rules=rules, **options)


ORDERS = Contract(
    name="orders",
    version="1.0.0",
    description="What is ordered.",
    granularity="One row per order.",
    owner="shop",
    fields=(
        field("order_id", Rule("required"), key=True),
        field("mail", Rule("unique"), classification="pii"),
        field("customer_id", Rule("reference", "customers.customer_id", "warn")),
        field("code", Rule("pattern", "^it's$"), Rule("pattern", "s", "warn")),
        field("paid", Rule("minimum", 0), physical_type="DOUBLE"),
    ),
)


def rule_tests(name: str) -> list[dict[str, Any]]:
    [table] = yaml.safe_load(sources({"orders": ORDERS}))["sources"][0]["tables"]
    [column] = [each for each in table["columns"] if each["name"] == name]
    tests: list[dict[str, Any]] = column["data_tests"]
    return tests


def staged(sql: str, *models: str) -> dict[str, dict[str, Any]]:
    [model] = yaml.safe_load(staging(ORDERS, sql, models))["models"]
    return {column["name"]: column for column in model["columns"]}


def test_every_rule_is_a_test_of_the_source() -> None:
    """A rule that warns warns here too; a quote in a pattern does not end it; a second rule of a kind has a name."""
    assert rule_tests("order_id") == [{"not_null": {"name": "landing_orders_order_id_required"}}]
    assert rule_tests("customer_id") == [
        {
            "relationships": {
                "name": "landing_orders_customer_id_reference",
                "arguments": {"to": "source('landing', 'customers')", "field": "customer_id"},
                "config": {"severity": "warn"},
            }
        }
    ]
    first, second = (test["holds"] for test in rule_tests("code"))
    assert first["arguments"] == {"condition": "regexp_matches(code, '^it''s$')"}
    assert (second["name"], second["config"]) == ("landing_orders_code_pattern_2", {"severity": "warn"})


def test_what_is_unique_is_so_within_a_delivery() -> None:
    """A later delivery may correct a row, and a value that is missing is no value."""
    [test] = rule_tests("mail")
    batch, column = test["unique_key"]["arguments"]["columns"]
    assert "batch=" in batch
    assert column == "mail"
    assert test["unique_key"]["config"] == {"where": "mail is not null"}


def test_a_staging_model_has_the_fields_and_what_macros_make() -> None:
    """Money is exact there, and an id is made of a name; a classification goes along."""
    columns = staged("select {{ money('paid') }} as paid, {{ slug('code') }} as code_id from landed")
    assert [*columns] == ["order_id", "mail", "customer_id", "code", "paid", "code_id"]
    assert columns["paid"] == {"name": "paid", "description": "The paid.", "data_type": "decimal(18,4)"}
    assert columns["code_id"] == {"name": "code_id", "description": "Id made of `code`.", "data_type": "varchar"}
    assert columns["mail"]["config"] == {"meta": {"classification": "pii"}}


def test_a_reference_is_tested_against_a_model_that_there_is() -> None:
    """A contract that is a source alone has no staging model to look in."""
    assert "data_tests" not in staged("")["customer_id"]
    [test] = staged("", "customers")["customer_id"]["data_tests"]
    assert test["relationships"]["arguments"]["to"] == "ref('stg_customers')"

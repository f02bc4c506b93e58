"""Tests of `orchestration.reconciliation`: from the door to the marts nothing is lost unseen."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.settings import CHECKOUT, Settings
from orchestration.dbt import parsed_project, read_manifest
from orchestration.defs.reconciliation import declared, reconcile
from orchestration.reconciliation import Reconciliation, reconcile_staging

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
SALES = CONTRACTS["transactions"]
STAGED = "staging.stg_transactions"
KNOWN = {"customers.customer_id": pa.array(["c1"]), "products.product_id": pa.array(["p1", "p2", "p3"])}


def _sales(*lines: tuple[str, str, float], day: int = 1) -> pa.Table:
    """Lines of (product, customer, value) in one basket."""
    products, customers, values = zip(*lines, strict=True)
    count = len(lines)
    given = {field.name: [{"number": 0.0, "string": "?"}.get(field.type)] * count for field in SALES.fields}
    columns: dict[str, Any] = {
        "product_id": products,
        "customer_id": customers,
        "quantity": [1] * count,
        "sales_value": values,
        "currency": ["USD"] * count,
        "occurred_at": [datetime(2026, 3, day, 9, tzinfo=UTC)] * count,
        "source": ["import"] * count,
    }
    return pa.table(given | columns, schema=SALES.schema)


@pytest.fixture
def delivered(tmp_path: Path) -> Settings:
    """Two deliveries that overlap in one line, which the later one corrects, and a line that the door rejects."""
    settings = Settings(home=tmp_path)
    door = Door(settings.landing, settings.quarantine, CONTRACTS)
    for name, table in {
        "first": _sales(("p1", "c1", 1.10), ("p2", "c1", 2.20), ("p3", "nobody", 9.99)),
        "second": _sales(("p2", "c1", 2.25), ("p3", "c1", 0.30), day=2),
    }.items():
        door.land("transactions", table, source_name=name, references=KNOWN)
    return settings


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        connection.execute(
            "SET TimeZone = 'UTC'; CREATE SCHEMA staging; CREATE SCHEMA intermediate; CREATE SCHEMA marts"
        )
        yield connection


def _stage(settings: Settings, warehouse: duckdb.DuckDBPyConnection, where: str = "true") -> Reconciliation:
    """Build the staging model as dbt does, of the landed rows that keep `where`, and reconcile it."""
    text = (settings.folder("dbt") / "models" / "staging" / "stg_transactions.sql").read_text()
    files = (
        f"read_parquet('{settings.landing}/transactions/batch=*/**/*.parquet', union_by_name = true, filename = true)"
    )
    text = text.replace("{{ source('landing', 'transactions') }}", f"{files} WHERE {where}")
    for amount in ("sales_value", "retail_discount", "coupon_discount", "coupon_match_discount"):
        text = text.replace(f"{{{{ money('{amount}') }}}}", f"cast({amount} as decimal(18, 4))")
    warehouse.execute(f"CREATE OR REPLACE TABLE {STAGED} AS {text}")
    door = Door(settings.landing, settings.quarantine, CONTRACTS)
    return reconcile_staging(warehouse, SALES, door.receipts("transactions"), settings.landing, STAGED)


def test_every_row_and_amount_is_accounted_for(delivered: Settings, warehouse: duckdb.DuckDBPyConnection) -> None:
    """Received, rejected, landed, superseded by the later delivery, staged: they add up to the cent."""
    found = _stage(delivered, warehouse)
    assert found.passed, found.said
    figures = [(row["stage"], row["rows"], row.get("sales_value")) for row in found.table()]
    assert figures == [
        ("received", "5", ""),
        ("rejected", "1", ""),
        ("landed", "4", "5.8500"),
        ("superseded by a later delivery", "1", "2.2000"),
        (STAGED, "3", "3.6500"),
        ("difference", "0", "0"),
    ]


def test_a_staging_model_that_drops_a_row_fails(delivered: Settings, warehouse: duckdb.DuckDBPyConnection) -> None:
    """With the rows and each sum that are lacking."""
    found = _stage(delivered, warehouse, where="product_id <> 'p3'")
    assert not found.passed
    assert found.said == f"{STAGED} lacks 1 rows, 1.0000 quantity, 0.3000 sales_value"


def test_an_older_row_staged_for_a_newer_one_fails(delivered: Settings, warehouse: duckdb.DuckDBPyConnection) -> None:
    """As many rows, but not the ones that count: only the sum tells."""
    _stage(delivered, warehouse)
    warehouse.execute("UPDATE staging.stg_transactions SET sales_value = 2.20 WHERE product_id = 'p2'")
    door = Door(delivered.landing, delivered.quarantine, CONTRACTS)
    found = reconcile_staging(warehouse, SALES, door.receipts("transactions"), delivered.landing, STAGED)
    assert found.differences.keys() == {"sales_value"}


def test_a_file_that_vanished_fails(delivered: Settings, warehouse: duckdb.DuckDBPyConnection) -> None:
    """What the receipt counts and no file holds is lost, although the staging model is right about the files."""
    next((delivered.landing / "transactions").glob("batch=*first*/day=*/part-0.parquet")).unlink()
    assert _stage(delivered, warehouse).said == f"{STAGED} lacks 2 rows"


@pytest.fixture(scope="module")
def says(home: Any) -> dict[dg.AssetKey, Any]:
    """What the project's models say they reconcile with."""
    return declared(read_manifest(parsed_project(home.settings)))


def test_a_mart_that_drops_spend_fails(says: dict[dg.AssetKey, Any], warehouse: duckdb.DuckDBPyConnection) -> None:
    """The year before the newest midnight, of every customer who is still known, to the cent."""
    warehouse.execute("""
        CREATE TABLE staging.stg_customers AS SELECT unnest(['c1', 'c2']) AS customer_id;
        CREATE TABLE intermediate.int_as_of AS SELECT unnest([DATE '2026-03-01', DATE '2026-03-02']) AS as_of_day;
        CREATE TABLE intermediate.int_customer_days AS FROM (VALUES
            ('c1', DATE '2026-03-01', 1.10::DECIMAL(18, 4), 1), ('c2', DATE '2025-03-03', 2.20, 1),
            ('c2', DATE '2025-03-02', 4.40, 1), ('gone', DATE '2026-03-01', 8.80, 1), ('c1', DATE '2026-03-02', 16.0, 1)
        ) AS t (customer_id, day, spend, baskets);
        CREATE TABLE marts.customer_rfm AS FROM (VALUES
            ('c1', DATE '2026-03-01', 99.0::DOUBLE, 9), ('c1', DATE '2026-03-02', 1.10, 1),
            ('c2', DATE '2026-03-02', 2.20, 1)
        ) AS t (customer_id, as_of, spend_364d, baskets_364d)
    """)
    mart = dg.AssetKey(["marts", "customer_rfm"])
    assert reconcile(warehouse, mart, says[mart]).passed
    warehouse.execute("UPDATE marts.customer_rfm SET spend_364d = 0 WHERE customer_id = 'c2'")
    assert reconcile(warehouse, mart, says[mart]).said == "marts.customer_rfm lacks 2.2000 spend_364d"


def test_spend_that_a_day_lacks_fails(says: dict[dg.AssetKey, Any], warehouse: duckdb.DuckDBPyConnection) -> None:
    """And discounts: every sum that the model says it holds."""
    warehouse.execute("""
        CREATE TABLE staging.stg_transactions AS
            SELECT 3.65 AS sales_value, 1 AS retail_discount, 0.5 AS coupon_discount;
        CREATE TABLE intermediate.int_customer_days AS
            SELECT 3.65 AS spend, 1 AS retail_discount, 0 AS coupon_discount
    """)
    days = dg.AssetKey(["intermediate", "int_customer_days"])
    found = reconcile(warehouse, days, says[days])
    assert found.said == "intermediate.int_customer_days lacks 0.5000 coupon_discount"

"""Drafts of queries, run as the pipeline will: what they yield keeps the contract, and what they leave out is said."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.mappings import run
from nextbest.contracts import Contract, contract_from_odcs
from nextbest.drafts.contracts import contract_yaml
from nextbest.drafts.mappings import Shop, counting_sql, left_out, mapping_sql, newest_sql
from nextbest.guessing import guess
from nextbest.roles import assign
from nextbest.settings import CHECKOUT
from nextbest.validation import validate

CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
SHOP = Shop("USD", "Europe/London", datetime(2011, 1, 1, tzinfo=UTC))
NAMES = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "Customer ID", "Country")
INVOICES = [
    ("1", "A", "TEA", 2, "7/1/2010 8:26", 2.5, 17850.0, "France"),
    ("1", "A", "TEA", 1, "7/1/2010 8:26", 2.5, 17850.0, "France"),
    ("2", "B", None, 1, "12/13/2010 8:26", 1.0, 13047.0, None),
    ("3", "A", "TEA", 1, "12/1/2010 8:26", 2.5, None, "France"),
    ("C4", "A", "TEA", -2, "12/2/2010 8:26", 2.5, 17850.0, "France"),
    ("5", "B", "bad debt", 1, "12/2/2010 8:26", -9.0, 17850.0, "France"),
]


def table(rows: list[tuple[Any, ...]], names: tuple[str, ...] = NAMES) -> pa.Table:
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def landed(table: pa.Table) -> pa.Table:
    """The rows as they land under the contract that is guessed of them."""
    document = yaml.safe_load(contract_yaml("raw", "a.csv", guess(table)))
    return validate(contract_from_odcs(document), table).valid


def mapped(contract: str, tables: dict[str, pa.Table], **facts: Any) -> tuple[str, list[dict[str, Any]]]:
    """The query, and the rows it yields, each of which keeps the contract."""
    roles = assign({name: guess(each) for name, each in tables.items()})
    sql = mapping_sql(CONTRACTS[contract], roles, SHOP, **facts)
    rows = run(sql, {name: landed(each) for name, each in tables.items()}, Path(f"{contract}.sql"))
    validated = validate(CONTRACTS[contract], rows)
    assert not validated.rejected.num_rows
    assert validated.warnings == {}
    return sql, validated.valid.to_pylist()


def test_lines_of_a_basket_become_one_row_per_product() -> None:
    """Amounts are summed, local times become UTC, an id loses the fraction of nothing it came with."""
    _, [first, second] = mapped("transactions", {"invoices": table(INVOICES)})
    assert first == {
        "basket_id": "1",
        "product_id": "A",
        "customer_id": "17850",
        "store_id": "France",
        "quantity": 3,
        "sales_value": 7.5,
        "retail_discount": 0.0,
        "coupon_discount": 0.0,
        "coupon_match_discount": 0.0,
        "currency": "USD",
        "occurred_at": datetime(2010, 7, 1, 7, 26, tzinfo=UTC),
        "received_at": None,
        "source": "import",
    }
    assert (second["basket_id"], second["store_id"], second["sales_value"]) == ("2", "unknown", 1.0)


def test_what_is_left_out_is_counted_with_its_reason() -> None:
    """Returns, customers nobody knows and corrections of accounts are in no row, and the query says so."""
    invoices = table(INVOICES)
    roles = assign({"invoices": guess(invoices)})
    assert roles.sales
    counts = list(run(counting_sql(roles.sales), {"invoices": invoices}, Path()).to_pylist()[0].values())
    assert counts == [1, 1, 1]
    sql, _ = mapped("transactions", {"invoices": invoices}, counts=counts)
    for left in left_out(roles.sales):
        assert f"{left.condition}  -- {left.reason}: 1 of 6 rows" in sql


def test_old_data_says_how_it_can_be_tried() -> None:
    """Features look back from today."""
    invoices = table(INVOICES)
    roles = assign({"invoices": guess(invoices)})
    assert roles.sales
    [newest] = run(newest_sql(roles.sales, SHOP), {"invoices": invoices}, Path()).to_pylist()
    assert list(newest.values()) == [datetime(2010, 12, 13, 8, 26, tzinfo=UTC)]
    assert "to try it" not in mapped("transactions", {"invoices": invoices}, newest=SHOP.now)[0]
    old, _ = mapped("transactions", {"invoices": invoices}, newest=datetime(2009, 1, 1, tzinfo=UTC))
    assert "the newest is 730 days old" in old
    assert "+ to_days(728)" in old


def test_customers_and_products_of_invoices_alone() -> None:
    """Who was seen, when last; each product is a category, named by what is said of it most or else by its id."""
    tables = {"invoices": table(INVOICES)}
    _, customers = mapped("customers", tables)
    assert [(row["customer_id"], row["time_zone"], row["updated_at"].day) for row in customers] == [
        ("13047", "Europe/London", 13),
        ("17850", "Europe/London", 2),
    ]
    _, products = mapped("products", tables)
    assert [(row["product_id"], row["department"], row["category"]) for row in products] == [
        ("A", "all", "TEA"),
        ("B", "all", "B"),
    ]


def test_tables_of_customers_and_products_are_used_where_they_are() -> None:
    """With their own columns, and quotes in a name."""
    names = ("order_id", "sku", "sold_at", "customer_id", 'the "amount"')
    sales = table([("1", "A", datetime(2011, 1, 1, tzinfo=UTC), 1, 2.5), ("1", "B", None, 1, 3.5)], names)
    clients = pa.table({"id": [1, 2], "timezone": ["Europe/Paris", None]})
    stock = pa.table({"sku": ["A", "B"], "category": ["Tea", "Beer"], "department": ["Food", None]})
    tables = {"sales": sales, "clients": clients, "stock": stock}
    assert [row["time_zone"] for row in mapped("customers", tables)[1]] == ["Europe/Paris", "Europe/London"]
    assert [(row["category"], row["department"]) for row in mapped("products", tables)[1]] == [
        ("Tea", "Food"),
        ("Beer", "all"),
    ]
    roles = assign({name: guess(each) for name, each in tables.items()})
    rows = run(mapping_sql(CONTRACTS["transactions"], roles, SHOP), {n: landed(t) for n, t in tables.items()}, Path())
    validated = validate(CONTRACTS["transactions"], rows)
    assert validated.rejects_by_rule == {"occurred_at.required": 1}, "a row without a time is the door's to turn away"
    assert validated.valid["sales_value"].to_pylist() == [2.5]


def test_without_baskets_a_day_is_one() -> None:
    """Said in the query, to review."""
    names = ("customer", "product", "date", "total")
    sql, rows = mapped("transactions", {"sales": table([("ann", "tea", "2010-12-31", 2)], names)})
    assert [(row["basket_id"], row["quantity"], row["sales_value"]) for row in rows] == [("ann-2010-12-31", 1, 2.0)]
    assert "review: no column names a basket" in sql


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_a_template_names_every_column_and_is_no_query(contract: Contract) -> None:
    """Where nothing was guessed, a person is told what is asked for."""
    sql = mapping_sql(contract, assign({"stock": guess(pa.table({"sku": ["1"]}))}), SHOP)
    assert all(line.startswith("--") for line in sql.splitlines())
    assert all(f"… AS {field.name}," in sql for field in contract.fields)

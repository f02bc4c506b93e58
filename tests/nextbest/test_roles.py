"""What tables and columns mean, by the names that shops give them."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest

from nextbest.guessing import guess
from nextbest.roles import assign

UCI: Mapping[str, Sequence[str | None]] = {
    "InvoiceNo": ["536365", "536366"],
    "StockCode": ["85123A", "71053"],
    "Description": ["LANTERN", "BAG"],
    "Quantity": ["6", "8"],
    "InvoiceDate": ["12/1/2010 8:26", "12/13/2010 8:26"],
    "UnitPrice": ["2.55", "3.39"],
    "Customer ID": ["17850.0", None],
    "Country": ["United Kingdom", "France"],
}
SALES = {
    "customer": ["a", "b"],
    "order_id": ["1", "2"],
    "sku": ["x", "y"],
    "sold_at": ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"],
    "amount": ["1.5", "2.5"],
}


def columns(table: Mapping[str, Sequence[str | None]]) -> dict[str, str]:
    sales = assign({"t": guess(pa.table(dict(table)))}).sales
    assert sales is not None
    return {role: column.name for role, column in sales.roles.items()}


def test_invoices_of_a_till() -> None:
    """Each column has the role a person would give it."""
    assert columns(UCI) == {
        "customer": "Customer ID",
        "product": "StockCode",
        "basket": "InvoiceNo",
        "time": "InvoiceDate",
        "quantity": "Quantity",
        "price": "UnitPrice",
        "name": "Description",
        "store": "Country",
    }


def test_a_table_of_amounts() -> None:
    """Other words for the same."""
    roles = {"customer": "customer", "product": "sku", "basket": "order_id", "time": "sold_at", "amount": "amount"}
    assert columns(SALES) == roles


@pytest.mark.parametrize("missing", ["customer", "sku", "sold_at", "amount"])
def test_without_who_what_when_or_how_much_there_are_no_sales(missing: str) -> None:
    """A mapping is written by hand then."""
    table = {name: values for name, values in SALES.items() if name != missing}
    assert assign({"t": guess(pa.table(dict(table)))}).sales is None


def test_customers_and_products_have_tables_of_their_own() -> None:
    """A table of them has their id as its key; a bare `id` is that of what the table is named after."""
    roles = assign(
        {
            "orders": guess(pa.table(SALES)),
            "clients": guess(pa.table({"id": ["1", "2"], "email": ["a@b", "c@d"], "timezone": ["UTC", "UTC"]})),
            "stock": guess(pa.table({"sku": ["x", "y"], "name": ["X", "Y"], "category": ["c", "c"]})),
        }
    )
    named = {
        each.name: {r: c.name for r, c in each.roles.items()}
        for each in (roles.sales, roles.customers, roles.products)
        if each
    }
    assert list(named) == ["orders", "clients", "stock"]
    assert named["clients"] == {"customer": "id", "time_zone": "timezone"}
    assert named["stock"] == {"product": "sku", "name": "name", "category": "category"}

"""What imported tables and columns mean to nextbest, guessed from their names and types.

Belongs here: which column plays which role (customer, product, basket, time, quantity, price …), and which table holds
sales, customers and products. Does not belong here: types and keys (`nextbest.guessing`), or the SQL that follows
(`nextbest.drafts.mappings`).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from nextbest.guessing import Guess, Guesses, words

# By role, the names a column of it goes by, likeliest first: every word of one of them is in the column's name.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "customer": (
        "customer id", "customerid", "customer no", "customer number", "customer key", "client id", "member id",
        "household id", "user id", "userid", "account id", "shopper id", "customer", "client", "member", "user",
    ),
    "product": (
        "product id", "productid", "stock code", "stockcode", "sku", "item id", "article id", "article no",
        "product code", "item code", "ean", "upc", "product key", "product no", "article", "item", "product",
    ),
    "basket": (
        "invoice no", "invoiceno", "invoice id", "invoice number", "basket id", "order id", "orderid", "order no",
        "order number", "transaction id", "receipt id", "receipt no", "sale id", "invoice", "order", "basket",
        "receipt", "transaction",
    ),
    "time": (
        "invoice date", "invoicedate", "order date", "occurred at", "transaction timestamp", "transaction date",
        "purchase date", "sale date", "sold at", "ordered at", "created at", "timestamp", "datetime", "date", "day",
        "time",
    ),
    "quantity": ("quantity", "qty", "units", "pieces", "count"),
    "price": ("unit price", "unitprice", "price", "list price"),
    "amount": ("sales value", "amount", "total", "revenue", "line total", "net", "value", "sales"),
    "name": ("description", "product name", "item name", "article name", "title", "name"),
    "category": ("product category", "category", "subcategory", "product group", "product type", "class"),
    "department": ("department", "product department", "section", "division"),
    "store": ("store id", "store", "shop id", "shop", "branch", "channel", "country", "region"),
    "time_zone": ("time zone", "timezone", "tz"),
    "updated": ("updated at", "modified at", "last modified", "created at", "registered at", "since"),
}  # fmt: skip
_NUMBERS: Final = {"quantity", "price", "amount"}
_OF_A_SALE: Final = {
    "who bought": ("customer",),
    "what": ("product",),
    "when": ("time",),
    "for how much": ("price", "amount"),
}
_ONE_EACH: Final = ("customer", "product", "basket", "time", "quantity", "price", "amount")


class Table(msgspec.Struct, frozen=True):
    """An imported table under its contract's name, with the column that plays each role it has."""

    name: str
    guesses: Guesses
    roles: dict[str, Guess]

    def has(self, role: str) -> bool:
        return role in self.roles


class Roles(msgspec.Struct, frozen=True):
    """The tables that hold lines of sales, customers and products; None where none seems to.

    `lacking` is what the table that comes nearest to sales has no column for, where there are none.
    """

    sales: Table | None = None
    customers: Table | None = None
    products: Table | None = None
    lacking: str = ""


def assign(tables: Mapping[str, Guesses]) -> Roles:
    """Find the tables of sales, customers and products among the imported ones (at least one), by contract name."""
    found = [Table(name, guesses, _roles(name, guesses)) for name, guesses in tables.items()]
    sales = max((each for each in found if _is_sales(each)), key=lambda each: each.guesses.rows, default=None)
    others = [each for each in found if each is not sales]
    return Roles(
        sales=sales,
        customers=next((each for each in others if _is_about(each, "customer")), None),
        products=next((each for each in others if _is_about(each, "product")), None),
        lacking="" if sales else _said(min(found, key=lambda each: len(_missing(each)))),
    )


def _is_sales(table: Table) -> bool:
    return not _missing(table)


def _missing(table: Table) -> list[str]:
    return [what for what, roles in _OF_A_SALE.items() if not any(table.has(role) for role in roles)]


def _said(table: Table) -> str:
    return f"{table.name} has no column that says {', '.join(_missing(table))}"


def _is_about(table: Table, role: str) -> bool:
    """Whether each of the table's rows is one customer, or one product: then its id tells them apart."""
    return table.has(role) and table.guesses.key == (table.roles[role].name,)


def _roles(table: str, guesses: Guesses) -> dict[str, Guess]:
    """A column per role; one that identifies something or is counted plays no second role."""
    taken: dict[str, Guess] = {}
    for role, names in _NAMES.items():
        free = [c for c in guesses.columns if not (c in taken.values() and role in _ONE_EACH) and _may_play(role, c)]
        ranked = {c.name: rank for c in free if (rank := _rank(table, c, names)) is not None}
        if ranked:
            best = min(ranked, key=ranked.__getitem__)
            taken[role] = next(c for c in free if c.name == best)
    return taken


def _rank(table: str, column: Guess, names: tuple[str, ...]) -> int | None:
    """How likely the name is, 0 the likeliest; a bare `id` is that of what the table is named after."""
    own = words(column.name)
    if own == ["id"]:
        own = [*(word.removesuffix("s") for word in words(table)), "id"]
    found = {*own, "".join(own)}
    return next((rank for rank, name in enumerate(names) if found.issuperset(name.split())), None)


def _may_play(role: str, column: Guess) -> bool:
    if role in _NUMBERS:
        return column.physical_type in {"BIGINT", "DOUBLE"}
    if role in {"time", "updated"}:
        return column.physical_type == "TIMESTAMPTZ" or column.time_format is not None
    if role in {"customer", "product", "basket"}:
        return not column.is_personal and column.time_format is None
    return column.physical_type == "VARCHAR" and not column.is_personal and column.time_format is None

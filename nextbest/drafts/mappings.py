"""The draft of a mapping: a query per contract of nextbest over imported tables, with what it leaves out and why.

Belongs here: the text of `mappings/<contract>.sql`. Does not belong here: which column plays which role
(`nextbest.roles`), or running the query (`nextbest.adapters.mappings`).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from nextbest.contracts import Contract, Field
from nextbest.guessing import Guess
from nextbest.roles import Roles, Table

MAPPED: Final = ("customers", "products", "transactions")
"""The contracts that a mapping is guessed for."""

Columns = Mapping[str, tuple[str, str]]
"""By a column's name: its expression, and a remark."""

_HEAD: Final = """\
-- {contract}: {purpose}
-- Written by `nextbest init`, and yours to edit: one DuckDB query, whose tables are what has landed under the contract
-- of their name. A row that breaks the contract of {contract} goes to quarantine; what is left out here is in no count.
"""
_TEMPLATE: Final = """\
-- {contract}: {purpose}
-- A template: it is used once the query below is no comment any more.
-- SELECT
{columns}
-- FROM your_table
"""
_NO_DEPARTMENT: Final = "all"
_OLD_DAYS: Final = 364


class Shop(msgspec.Struct, frozen=True):
    """What no table says: the currency of amounts, the time zone of local times, and the moment of writing (UTC)."""

    currency: str
    time_zone: str
    now: datetime


class Left(msgspec.Struct, frozen=True):
    """Rows that a mapping leaves out: those for which `condition` is not true, and why."""

    condition: str
    reason: str


def template_sql(contract: Contract) -> str:
    """A query of comments alone: what each column of a contract means, for a person to fill in."""
    columns = "\n".join(f"--     … AS {field.name},  -- {_meaning(field)}" for field in contract.fields)
    return _TEMPLATE.format(contract=contract.name, purpose=_one_line(contract.description), columns=columns)


def left_out(sales: Table) -> list[Left]:
    """What is no sale to a customer; what else is wrong with a row, the door says."""
    found = [Left(_is_there(sales.roles["customer"]), "nobody is known to have bought it")]
    if quantity := sales.roles.get("quantity"):
        reason = "a return or a cancellation: it does not say which sale it takes back, and the contract holds sales"
        found.append(Left(f"{name(quantity.name)} > 0", reason))
    money = sales.roles.get("amount") or sales.roles["price"]
    return [*found, Left(f"{name(money.name)} >= 0", "no price, or one below 0: a correction of accounts")]


def newest_sql(sales: Table, shop: Shop) -> str:
    """A query for the time of the newest sale."""
    return f"SELECT max({_time(sales.roles['time'], shop)}) FROM {name(sales.name)}"  # noqa: S608  names are quoted


def counting_sql(sales: Table) -> str:
    """A query for the number of rows that each condition of `left_out` leaves out."""
    counts = (f"count(*) FILTER (({each.condition}) IS NOT TRUE)" for each in left_out(sales))
    return f"SELECT {', '.join(counts)} FROM {name(sales.name)}"  # noqa: S608  names are quoted


def mapping_sql(
    contract: Contract, roles: Roles, shop: Shop, *, counts: Iterable[int] = (), newest: datetime | None = None
) -> str:
    """The query for one of nextbest's contracts; a template where no table seems to hold what it asks for.

    Args:
        contract: to be supplied.
        roles: of the imported tables.
        shop: what no table says.
        counts: of `counting_sql`.
        newest: of `newest_sql`.

    """
    if roles.sales is None or contract.name not in MAPPED:
        return template_sql(contract)
    head = _HEAD.format(contract=contract.name, purpose=_one_line(contract.description))
    if contract.name == "customers" and roles.customers:
        return head + _customers(contract, roles.customers, shop)
    if contract.name == "customers":
        return head + _buyers(contract, roles.sales, shop)
    if contract.name == "products" and roles.products:
        return head + _products(contract, roles.products, ())
    if contract.name == "products":
        return head + _products(contract, roles.sales, left_out(roles.sales))
    return head + _transactions(contract, _lines(roles.sales, shop, newest), roles.sales, shop, counts)


def name(identifier: str) -> str:
    """A table's or column's name in SQL, whatever is in it."""
    return '"' + identifier.replace('"', '""') + '"'


def _lines(sales: Table, shop: Shop, newest: datetime | None) -> Columns:
    """What a row of the sales says, in the words of the contract."""
    roles = sales.roles
    customer, when, quantity = _text(roles["customer"]), _time(roles["time"], shop), roles.get("quantity")
    if basket := roles.get("basket"):
        visit = (_text(basket), "")
    else:
        visit = (f"concat_ws('-', {customer}, CAST({when} AS DATE))", "review: no column names a basket: a day is one")
    if amount := roles.get("amount"):
        value, remark = name(amount.name), "review: what the line earned"
    else:
        value = " * ".join(name(each.name) for each in (roles["price"], quantity) if each)
        remark = "review: is the price that of one unit?"
    return {
        "basket_id": visit,
        "product_id": (_text(roles["product"]), ""),
        "customer_id": (customer, ""),
        "store_id": _store(roles.get("store")),
        "quantity": (_whole(quantity), "") if quantity else ("1", "review: no column says how many"),
        "sales_value": (f"CAST({value} AS DECIMAL(18, 4))", remark),
        "occurred_at": (when, _of_time(roles["time"], shop, newest)),
    }


def _transactions(contract: Contract, lines: Columns, sales: Table, shop: Shop, counts: Iterable[int]) -> str:
    columns = {
        "basket_id": ("", ""),
        "product_id": ("", ""),
        "customer_id": ("min(customer_id)", ""),
        "store_id": ("min(store_id)", ""),
        "quantity": ("CAST(sum(quantity) AS BIGINT)", ""),
        "sales_value": ("CAST(sum(sales_value) AS DOUBLE)", ""),
        **dict.fromkeys(_discounts(contract), ("0.0", "review: is it in the data?")),
        "currency": (f"'{shop.currency}'", ""),
        "occurred_at": ("min(occurred_at)", ""),
    }
    return "\n".join(
        [
            "WITH lines AS (",
            "    SELECT",
            *_select(lines, "        "),
            f"    FROM {name(sales.name)}",
            "    -- Left out, with the rows it meant when this was written; a row may be left out for several reasons.",
            *_where(left_out(sales), sales.guesses.rows, counts),
            ")",
            "",
            "-- A product that is in one basket on several lines is one row, as the contract's key asks.",
            "SELECT",
            *_select(_complete(contract, columns), "    "),
            "FROM lines",
            "GROUP BY basket_id, product_id",
            "ORDER BY basket_id, product_id",
            "",
        ]
    )


def _discounts(contract: Contract) -> list[str]:
    """The required amounts that a till of one's own may not know."""
    return [field.name for field in contract.fields if field.required and field.name.endswith("_discount")]


def _buyers(contract: Contract, sales: Table, shop: Shop) -> str:
    """Customers of whom nothing is known but that they buy."""
    seen = (f"max({_time(sales.roles['time'], shop)})", "the last time the customer was seen")
    columns = {"time_zone": (f"'{shop.time_zone}'", "review: quiet hours are kept in it"), "updated_at": seen}
    return _one_each(contract, "customer_id", columns, sales, "customer")


def _customers(contract: Contract, customers: Table, shop: Shop) -> str:
    zone, updated = customers.roles.get("time_zone"), customers.roles.get("updated")
    own = f"coalesce(min({name(zone.name)}), '{shop.time_zone}')" if zone else f"'{shop.time_zone}'"
    known = f"max({_time(updated, shop)})" if updated else f"TIMESTAMPTZ '{shop.now:%Y-%m-%d}'"
    columns = {
        "time_zone": (own, "review: quiet hours are kept in it"),
        "updated_at": (known, "review: when these facts became known"),
    }
    return _one_each(contract, "customer_id", columns, customers, "customer")


def _products(contract: Contract, products: Table, left: Iterable[Left]) -> str:
    def said(role: str) -> str | None:
        column = products.roles.get(role)
        return f"mode({_text(column)} ORDER BY {_text(column)})" if column else None

    product, department = _text(products.roles["product"]), said("department")
    names = [each for each in (said("category") or said("name"), product) if each]
    columns = {
        "department": (
            (f"coalesce({department}, '{_NO_DEPARTMENT}')", "review")
            if department
            else (f"'{_NO_DEPARTMENT}'", "review: no column says it")
        ),
        "category": (
            f"coalesce({', '.join(names)})",
            "review: what an action is about"
            + ("" if said("category") else "; no column says it: each product is one"),
        ),
    }
    return _one_each(contract, "product_id", columns, products, "product", left=left)


def _one_each(
    contract: Contract, key: str, columns: Columns, source: Table, role: str, *, left: Iterable[Left] = ()
) -> str:
    """A row per customer or product of a table."""
    column = source.roles[role]
    where = list(left) or [Left(_is_there(column), "")]
    return "\n".join(
        [
            "SELECT",
            *_select(_complete(contract, {key: (_text(column), "review"), **columns}), "    "),
            f"FROM {name(source.name)}",
            *(line.removeprefix("    ") for line in _where(where, 0, ())),
            "GROUP BY 1",
            "ORDER BY 1",
            "",
        ]
    )


def _complete(contract: Contract, columns: Columns) -> Columns:
    """Every column of the contract in its order; what nothing is known of is null."""
    known = {**columns, "source": ("'import'", "")}
    nothing = {f.name: (f"CAST(NULL AS {f.physical_type})", f"not mapped: {_meaning(f)}") for f in contract.fields}
    return {field.name: known.get(field.name, nothing[field.name]) for field in contract.fields}


def _select(columns: Columns, indent: str) -> Iterator[str]:
    last = len(columns) - 1
    for place, (column, (expression, remark)) in enumerate(columns.items()):
        comma = "," if place < last else ""
        comment = f"  -- {remark}" if remark else ""
        yield f"{indent}{expression} AS {column}{comma}{comment}" if expression else f"{indent}{column}{comma}{comment}"


def _where(left: Iterable[Left], rows: int, counts: Iterable[int]) -> Iterator[str]:
    counted = list(counts)
    yield "    WHERE"
    for place, each in enumerate(left):
        how_many = f": {counted[place]:,} of {rows:,} rows" if counted else ""
        comment = f"  -- {each.reason}{how_many}" if each.reason else ""
        yield f"        {'AND ' if place else ''}{each.condition}{comment}"


def _text(column: Guess) -> str:
    """An id or a name as text; a whole number with a fraction of nothing (17850.0) without it."""
    if column.physical_type == "VARCHAR":
        return f"nullif(trim({name(column.name)}), '')"
    whole = f"CAST({name(column.name)} AS BIGINT)" if column.is_whole else name(column.name)
    return f"CAST({whole} AS VARCHAR)"


def _is_there(column: Guess) -> str:
    return f"{_text(column) if column.physical_type == 'VARCHAR' else name(column.name)} IS NOT NULL"


def _whole(column: Guess) -> str:
    return name(column.name) if column.physical_type == "BIGINT" else f"CAST(round({name(column.name)}) AS BIGINT)"


def _store(column: Guess | None) -> tuple[str, str]:
    return (f"coalesce({_text(column)}, 'unknown')", "review") if column else ("'online'", "review: no column says it")


def _time(column: Guess, shop: Shop) -> str:
    if column.physical_type == "TIMESTAMPTZ":
        return name(column.name)
    return f"timezone('{shop.time_zone}', try_strptime({name(column.name)}, '{column.time_format}'))"


def _of_time(column: Guess, shop: Shop, newest: datetime | None) -> str:
    said = "review: format and time zone" if column.time_format else "review"
    if newest is None or (age := (shop.now - newest).days) <= _OLD_DAYS:
        return said
    shift = f"to try it, + to_days({7 * (age // 7)})"
    return f"{said}; the newest is {age:,} days old, and features look at the last two years: {shift}"


def _meaning(field: Field) -> str:
    return f"{field.physical_type}{', required' if field.required else ''}: {_one_line(field.description)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())

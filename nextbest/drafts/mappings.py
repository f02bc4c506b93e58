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
    return _TEMPLATE.format(contract=contract.name, purpose=contract.description, columns=columns)


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
    head = _HEAD.format(contract=contract.name, purpose=contract.description)
    if contract.name == "transactions":
        return head + _transactions(contract, roles.sales, shop, counts, newest)
    return head + (_customers if contract.name == "customers" else _products)(contract, roles, shop)


def name(identifier: str) -> str:
    """A table's or column's name in SQL, whatever is in it."""
    return '"' + identifier.replace('"', '""') + '"'


def _transactions(contract: Contract, sales: Table, shop: Shop, counts: Iterable[int], newest: datetime | None) -> str:
    roles = sales.roles
    customer, when = _text(roles["customer"]), _time(roles["time"], shop)
    basket = _text(roles["basket"]) if "basket" in roles else f"concat_ws('-', {customer}, CAST({when} AS DATE))"
    quantity, price = roles.get("quantity"), roles.get("price")
    units = "1" if quantity is None else _whole(quantity)
    if amount := roles.get("amount"):
        value = name(amount.name)
    else:
        value = f"{name(roles['price'].name)}" + (f" * {name(quantity.name)}" if quantity else "")
    lines = {
        "basket_id": (
            basket,
            "" if "basket" in roles else "review: no column names a basket: a day is one",
        ),
        "product_id": (_text(roles["product"]), ""),
        "customer_id": (customer, ""),
        "store_id": (_store(roles.get("store")), "where it was bought"),
        "quantity": (units, "" if quantity else "no column says how many"),
        "sales_value": (f"CAST({value} AS DECIMAL(18, 4))", _of_value(amount, price)),
        "occurred_at": (when, _of_time(roles["time"], shop, newest)),
    }
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


def _customers(contract: Contract, roles: Roles, shop: Shop) -> str:
    source = roles.customers or roles.sales
    assert source is not None  # noqa: S101  `mapping_sql` writes a template then
    customer = _text(source.roles["customer"])
    zone = source.roles.get("time_zone") if roles.customers else None
    if roles.customers and (updated := source.roles.get("updated")):
        known = (f"max({_time(updated, shop)})", "review: when these facts became known")
    elif roles.customers:
        known = (f"TIMESTAMPTZ '{shop.now:%Y-%m-%d}'", "review: when these facts became known")
    else:
        known = (f"max({_time(source.roles['time'], shop)})", "the last time the customer was seen")
    columns = {
        "customer_id": (customer, "review"),
        "time_zone": (
            f"coalesce(min({name(zone.name)}), '{shop.time_zone}')" if zone else f"'{shop.time_zone}'",
            "review: quiet hours are kept in it",
        ),
        "updated_at": known,
    }
    return _grouped(contract, columns, source, source.roles["customer"])


def _products(contract: Contract, roles: Roles, shop: Shop) -> str:  # noqa: ARG001  as `_customers`
    source = roles.products or roles.sales
    assert source is not None  # noqa: S101  `mapping_sql` writes a template then
    product = _text(source.roles["product"])

    def likeliest(role: str) -> str | None:
        column = source.roles.get(role)
        return f"mode({_text(column)} ORDER BY {_text(column)})" if column else None

    department, category = likeliest("department"), likeliest("category") or likeliest("name")
    columns = {
        "product_id": (product, "review"),
        "department": (
            f"coalesce({department}, '{_NO_DEPARTMENT}')" if department else f"'{_NO_DEPARTMENT}'",
            "review" if department else "review: no column says it",
        ),
        "category": (
            f"coalesce({category}, {product})" if category else product,
            "review: what an action is about"
            if "category" in source.roles
            else "review: no column says it: each product is one",
        ),
    }
    return _grouped(
        contract, columns, source, source.roles["product"], left_out(source) if source is roles.sales else ()
    )


def _grouped(
    contract: Contract, columns: dict[str, tuple[str, str]], source: Table, key: Guess, left: Iterable[Left] = ()
) -> str:
    where = list(left) or [Left(_is_there(key), "")]
    return "\n".join(
        [
            "SELECT",
            *_select(_complete(contract, columns), "    "),
            f"FROM {name(source.name)}",
            *(line.removeprefix("    ") for line in _where(where, 0, ())),
            "GROUP BY 1",
            "ORDER BY 1",
            "",
        ]
    )


def _complete(contract: Contract, columns: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Every column of the contract in its order; what nothing is known of is null."""
    known = {**columns, "source": ("'import'", "")}
    nothing = {f.name: (f"CAST(NULL AS {f.physical_type})", f"not mapped: {_meaning(f)}") for f in contract.fields}
    return {field.name: known.get(field.name, nothing[field.name]) for field in contract.fields}


def _select(columns: Mapping[str, tuple[str, str]], indent: str) -> Iterator[str]:
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


def _store(column: Guess | None) -> str:
    return f"coalesce({_text(column)}, 'unknown')" if column else "'online'"


def _time(column: Guess, shop: Shop) -> str:
    if column.physical_type == "TIMESTAMPTZ":
        return name(column.name)
    return f"timezone('{shop.time_zone}', try_strptime({name(column.name)}, '{column.time_format}'))"


def _of_category(source: Table) -> str:
    """An action is the slug of a category."""
    known = "category" in source.roles
    return "review: what actions are about" if known else "review: no column says it: each product is one"


def _of_value(amount: Guess | None, price: Guess | None) -> str:
    return "review: what the line earned" if amount or not price else "review: is the price that of one unit?"


def _of_time(column: Guess, shop: Shop, newest: datetime | None) -> str:
    said = "review: format and time zone" if column.time_format else "review"
    if newest is None or (age := (shop.now - newest).days) <= _OLD_DAYS:
        return said
    shift = f"to try it, + to_days({7 * (age // 7)})"
    return f"{said}; the newest is {age:,} days old, and features look at the last two years: {shift}"


def _meaning(field: Field) -> str:
    return f"{field.physical_type}{', required' if field.required else ''}: {field.description}"

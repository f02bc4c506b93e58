from collections.abc import Mapping

import pytest

from orchestration.sql_lineage import ROWS, LineageError, reads

TABLES: Mapping[str, list[str]] = {"sales": ["id", "amount", "day", "tags"], "people": ["id", "name"]}


def _reads(sql: str) -> dict[str, set[str]]:
    """The columns a query gives, each with what it reads, as "table.column"."""
    return {
        column: {f"{table}.{name}" for table, name in found}
        for column, found in reads(sql, TABLES).items()
        if column != ROWS
    }


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select amount as spend from warehouse.staging.sales", {"spend": {"sales.amount"}}),
        ("select s.amount * 2 as twice from sales as s", {"twice": {"sales.amount"}}),
        ("select s.spend from (select amount as spend from sales) as s", {"spend": {"sales.amount"}}),
        ("select id, unnest(tags) as tag from sales", {"id": {"sales.id"}, "tag": {"sales.tags"}}),
        (
            "select id as a, day as b from sales union all select id, name from people",
            {"a": {"sales.id", "people.id"}, "b": {"sales.day", "people.name"}},
        ),
    ],
)
def test_a_column_reads_what_its_value_is_made_of(sql: str, expected: dict[str, set[str]]) -> None:
    """Through names, expressions, subqueries and unions, whose columns go by their position."""
    assert _reads(sql) == expected


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("select amount from sales where day > 1", "sales.day"),
        ("select amount from sales order by day limit 1", "sales.day"),
        ("select sum(amount) as amount from sales group by day", "sales.day"),
        ("select day, sum(amount) as amount from sales group by all", "sales.day"),
        ("select max(amount) as amount from sales group by id having max(day) > 1", "sales.day"),
        ("select amount from sales qualify row_number() over (partition by day) = 1", "sales.day"),
        ("select amount from sales qualify row_number() over w = 1 window w as (order by day)", "sales.day"),
        ("select distinct amount, day from sales", "sales.day"),
        ("select distinct on (day) amount from sales", "sales.day"),
        ("select sum(amount) filter (where day > 1) as amount from sales", "sales.day"),
        ("select sum(amount) over (order by day) as amount from sales", "sales.day"),
        ("select amount from sales join people using (id)", "people.id"),
        ("select amount from sales as s asof join people as p on s.id >= p.id", "people.id"),
        ("select amount from sales as s where exists (select 1 from people as p where p.id = s.id)", "people.id"),
        ("select amount from sales where id in (select id from people where name = 'Ann')", "people.name"),
        ("with some as (select * from sales where day > 1) select amount from some", "sales.day"),
        ("with some as (select id from sales where day > 1) select count(*) as amount from some", "sales.day"),
        ("with some as (select id from people where id > 1) select amount from sales cross join some", "people.id"),
        ("select amount from sales union select id from people", "people.id"),
        ("select amount from sales except select id from people", "people.id"),
    ],
)
def test_what_decides_the_rows_is_read_by_every_column(sql: str, column: str) -> None:
    """A filter, join, group or window reads its columns, on whatever way its rows come into the result."""
    assert column in _reads(sql)["amount"]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("with landed as (select * from sales) select * from landed", ["id", "amount", "day", "tags"]),
        ("select * exclude (day) from sales", ["id", "amount", "tags"]),
        ("select p.*, s.day from people as p cross join sales as s", ["id", "name", "day"]),
    ],
)
def test_a_star_is_every_column_of_its_table_in_order(sql: str, columns: list[str]) -> None:
    """Through a CTE, with exceptions, and of one table of a join."""
    assert list(_reads(sql)) == columns


def test_a_column_that_is_not_named_is_not_read() -> None:
    """Of a row of many columns, a change of the others hits nobody."""
    assert _reads("select amount from sales") == {"amount": {"sales.amount"}}


def test_counting_a_table_reads_its_rows_and_none_of_its_columns() -> None:
    """It changes with the rows, and with no column's name or type."""
    assert reads("select count(*) as n from sales", TABLES)["n"] == {("sales", ROWS)}


@pytest.mark.parametrize(
    "sql",
    [
        "select amount from",
        "select colour from sales",
        "select * from stock",
        "select columns('a.*') from sales",
        "pivot sales on day using sum(amount)",
        "select * from sales natural join people",
        "drop table sales",
    ],
)
def test_what_cannot_be_followed_is_an_error(sql: str) -> None:
    """A reader that is overlooked would be broken without a word."""
    with pytest.raises(LineageError, match="the lineage of a query cannot be read"):
        reads(sql, TABLES)

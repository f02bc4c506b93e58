"""Migrations: there, and giving the new version's columns."""

from pathlib import Path

import pytest

from nextbest.adapters.migration_files import check_migration, missing_migrations
from nextbest.contract_release import Migration
from nextbest.contracts import Contract, Field

OLD = Contract("sales", "1.2.0", (Field("paid_at", "timestamp", "TIMESTAMPTZ"), Field("cents", "integer", "BIGINT")))
NEW = Contract(
    "sales",
    "2.0.0",
    (
        Field("paid_at", "timestamp", "TIMESTAMPTZ"),
        Field("usd", "number", "DOUBLE"),
        Field("tags", "array", "VARCHAR[]"),
    ),
)
STEP = Migration(OLD, NEW)


def _write(folder: Path, sql: str) -> Path:
    path = folder / "migrations" / "sales" / "1-to-2.sql"
    path.parent.mkdir(parents=True)
    path.write_text(sql)
    return folder


def test_a_missing_migration_says_what_to_write(tmp_path: Path) -> None:
    """The file, the relation to read and the columns to give."""
    (demand,) = missing_migrations(tmp_path, [STEP])
    assert demand.rule == "migration-missing"
    assert f"{tmp_path.name}/migrations/sales/1-to-2.sql is missing: one DuckDB SELECT over `landed`" in demand.message
    assert (
        "rows of sales 1.2.0: paid_at, cents) that gives the columns of sales 2.0.0: paid_at, usd, tags"
        in demand.message
    )


def test_a_migration_that_gives_the_new_columns_is_right(tmp_path: Path) -> None:
    """In any order, with comments, and with what a SELECT may begin with."""
    sql = (
        "-- cents are dollars now\nwith a as (from landed)\nselect cents / 100 as usd, [''] as tags, paid_at from a;\n"
    )
    folder = _write(tmp_path, sql)
    assert missing_migrations(folder, [STEP]) == []
    assert check_migration(folder, STEP) == []


@pytest.mark.parametrize(
    ("sql", "messages"),
    [
        (
            "select paid_at, cents from landed",
            ["`usd` is missing", "`tags` is missing", "`cents` is no column of sales 2.0.0"],
        ),
        ("select paid_at, cents as usd, [''] as tags from landed", ["`usd` is BIGINT and must be DOUBLE"]),
        ("select price from landed", ['"price" not found']),
        ("selekt", ["it is no SELECT over `landed`"]),
        ("", ["it must be one statement, and a SELECT"]),
        ("drop table landed", ["it must be one statement, and a SELECT"]),
        ("select 1; select 2", ["it must be one statement, and a SELECT"]),
        ("from 'other.parquet'", ["is no SELECT over `landed`"]),
    ],
)
def test_a_migration_that_is_wrong_is_named_with_what_is_wrong(tmp_path: Path, sql: str, messages: list[str]) -> None:
    """Found on no rows, before any row is migrated."""
    found = check_migration(_write(tmp_path, sql), STEP)
    assert {(finding.file, finding.rule) for finding in found} == {("migrations/sales/1-to-2.sql", "migration-invalid")}
    assert len(found) == len(messages)
    assert all(message in finding.message for message, finding in zip(messages, found, strict=True))

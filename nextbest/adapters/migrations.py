"""Migrations: the SQL that carries rows of one major version of a contract to the next.

Belongs here: finding `migrations/<contract>/<old major>-to-<new major>.sql` and running it over rows. Does not belong
here: which batches need it and how they take each other's place (`nextbest.adapters.landing`).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from nextbest.adapters.deliveries import from_rows
from nextbest.casting import can_hold, cast
from nextbest.contract_release import migration_file
from nextbest.contracts import Contract
from nextbest.errors import NextbestError

RELATION = "landed"
_ALONE = """
SET TimeZone = 'UTC'; SET python_enable_replacements = false; SET enable_external_access = false
"""


class MigrationError(NextbestError):
    """Rows cannot be carried to the contract's version; the message names the file to write or to mend."""


def major(version: str) -> int:
    """The part of a version that changes when old rows no longer fit.

    >>> major("12.3.1")
    12
    """
    return int(version.partition(".")[0])


class Migrations:
    """The migrations of a folder; a file holds one DuckDB SELECT over the relation `landed`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def steps(self, contract: str, old: int, new: int) -> list[Path]:
        """The files that lead from one major version to another, which may be a lower one, in their order."""
        way = range(old, new + 1) if new > old else range(old, new - 1, -1)
        return [self._folder / migration_file(contract, one, next_one) for one, next_one in pairwise(way)]

    def missing(self, contract: str, old: int, new: int) -> list[Path]:
        """The steps that nobody has written."""
        return [path for path in self.steps(contract, old, new) if not path.is_file()]

    def apply(self, contract: str, old: int, new: int, rows: pa.Table, *, hides_values: bool = False) -> pa.Table:
        """Carry rows over every step; as many come out as go in, for a row is dropped by a rule and never in silence.

        What DuckDB says of a failure may quote a row: `hides_values` keeps that out of the message.

        Raises:
            MigrationError: a file is missing, is no single SELECT, fails, or yields more or fewer rows.

        """
        if missing := self.missing(contract, old, new):
            raise MigrationError(f"{missing[0]} is missing: {how_to_write(contract)}")
        for path in self.steps(contract, old, new):
            migrated = _select(path, rows, hides_values=hides_values)
            if migrated.num_rows != rows.num_rows:
                raise MigrationError(
                    f"{path} makes {migrated.num_rows:,} rows of {rows.num_rows:,}: a migration changes columns; what "
                    "the new version no longer allows is for its rules to reject"
                )
            rows = migrated
        return rows

    def carry(self, contract: Contract, old: int, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows that were sent under another major version, as JSON has them, in the columns of today.

        What is still named as it was comes to the migration in the type in which it lands.

        Raises:
            MigrationError: as `apply`.

        """
        table = from_rows(rows)
        for field in contract.fields:
            if field.name in table.column_names and can_hold(table[field.name].type, field.arrow_type):
                values, lost = cast(table[field.name], field.arrow_type)
                index = table.column_names.index(field.name)
                table = table if lost else table.set_column(index, field.name, values)
        carried: list[dict[str, Any]] = self.apply(
            contract.name, old, contract.major, table, hides_values=contract.holds_pii
        ).to_pylist()
        return carried


def referred(contracts: Mapping[str, Contract], contract: Contract) -> list[str]:
    """The contracts that this one refers to, directly or not, in the order in which they can be migrated."""
    order: dict[str, None] = {}

    def visit(one: Contract, way: tuple[str, ...]) -> None:
        for field in one.fields:
            target = (field.reference or "").partition(".")[0]
            if target in contracts and target not in {*way, *order}:
                visit(contracts[target], (*way, target))
                order[target] = None

    visit(contract, (contract.name,))
    return list(order)


def how_to_write(contract: str) -> str:
    """What a person does about a migration that is missing."""
    return (
        f"write it as one SELECT over the relation `{RELATION}`, the rows of {contract} as they landed, "
        "that yields the columns of the next version"
    )


def is_one_select(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether a migration is one statement that only reads.

    Raises:
        duckdb.Error: it is no SQL.

    """
    return [each.type for each in connection.extract_statements(query)] == [duckdb.StatementType.SELECT]


def _select(path: Path, rows: pa.Table, *, hides_values: bool) -> pa.Table:
    """Run one file on rows, away from every other table, file, variable and time zone."""
    with duckdb.connect() as con:
        try:
            query = path.read_text()
            if not is_one_select(con, query):
                raise MigrationError(f"{path} is not one SELECT: {how_to_write(path.parent.name)}")
            con.register(RELATION, rows)
            con.execute(_ALONE)
            return con.sql(query).to_arrow_table()
        except (duckdb.Error, OSError, UnicodeDecodeError) as error:
            if hides_values:  # not even as the cause, which logs print
                said = f"{type(error).__name__}; what it says may hold personal data: try the query on made-up rows"
                raise MigrationError(f"{path} fails: {said}") from None
            raise MigrationError(f"{path} fails: {error}") from error

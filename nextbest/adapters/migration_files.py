"""Migrations as files: one DuckDB SELECT over `landed` per step from a major version of a contract to the next.

Belongs here: finding such a file and trying it on no rows. Does not belong here: which migrations are needed
(`nextbest.contract_release`), or migrating what landed.
"""

from pathlib import Path

import duckdb

from nextbest.adapters.migrations import is_one_select
from nextbest.contract_release import Demand, Migration
from nextbest.contracts import Contract
from nextbest.findings import Finding

_SPELLINGS = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}


def missing_migrations(folder: Path, migrations: list[Migration]) -> list[Demand]:
    """The migrations that have no file below the folder of the contracts, and what to write into each."""
    return [
        Demand(step.new.name, "migration-missing", f"{folder.name}/{step.file} is missing: {_what_to_write(step)}")
        for step in migrations
        if not (folder / step.file).is_file()
    ]


def check_migration(folder: Path, migration: Migration) -> list[Finding]:
    """What is wrong with a migration whose file is there: it is no SELECT over `landed`, or gives other columns."""
    try:
        found = _columns((folder / migration.file).read_text(encoding="utf-8"), migration.old)
    except (duckdb.Error, UnicodeDecodeError) as error:
        return [Finding(migration.file, 1, f"it is no SELECT over `landed`: {error}", "migration-invalid")]
    wanted = {field.name: field.physical_type for field in migration.new.fields}
    wrong = [f"`{name}` is missing" for name in wanted if name not in found]
    wrong += [f"`{name}` is no column of {_named(migration.new)}" for name in found if name not in wanted]
    wrong += [f"`{n}` is {t} and must be {wanted[n]}" for n, t in found.items() if n in wanted and t != wanted[n]]
    return [Finding(migration.file, 1, message, "migration-invalid") for message in wrong]


def _columns(sql: str, contract: Contract) -> dict[str, str]:
    """The columns and types that a query gives over rows of a contract; nothing but those rows can be read."""
    with duckdb.connect(config={"enable_external_access": False}) as connection:
        if not is_one_select(connection, sql):
            raise duckdb.ParserException("it must be one statement, and a SELECT")
        columns = ", ".join(f'"{field.name}" {field.physical_type}' for field in contract.fields)
        connection.execute(f"CREATE TEMP TABLE landed ({columns})")
        described = connection.execute(f"DESCRIBE {sql}").fetchall()
    return {name: _SPELLINGS.get(kind, kind) for name, kind, *_ in described}


def _what_to_write(migration: Migration) -> str:
    old, new = ([field.name for field in contract.fields] for contract in (migration.old, migration.new))
    return (
        f"one DuckDB SELECT over `landed` (rows of {_named(migration.old)}: {', '.join(old)}) "
        f"that gives the columns of {_named(migration.new)}: {', '.join(new)}"
    )


def _named(contract: Contract) -> str:
    return f"{contract.name} {contract.version}"

"""Tables of other people, wherever they are: a file, or a table of a database by its address.

Belongs here: opening them. A database is asked through SQLAlchemy: SQLite without more, PostgreSQL and others with
their driver installed; DuckDB by itself. Does not belong here: what a table means, or judging a value.
"""

from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import sqlalchemy
from pyarrow import csv
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from nextbest.adapters.deliveries import read_delivery
from nextbest.contracts import Contract, Field
from nextbest.errors import NextbestError
from nextbest.validation import ContractViolation

EXAMPLE: Final = "sqlite:///shop.db#stock"


class ImportTableError(NextbestError):
    """A table cannot be read; the message says which and why."""


def is_database(location: str) -> bool:
    """Whether a location is a table in a database (`<url>#<table>`), and no file."""
    return "://" in location


def label(location: str) -> str:
    """The location as it may be shown: a file by its name, a database without its password."""
    if not is_database(location):
        return Path(location).name
    url, _, table = location.partition("#")
    try:
        return f"{sqlalchemy.make_url(url).render_as_string(hide_password=True)}#{table}"
    except ArgumentError:
        return f"a database's table {table}"


def read_table(location: str) -> pa.Table:
    """Every row of a CSV, Parquet or JSON lines file (a CSV's values as text) or of a database's table.

    Raises:
        ImportTableError: there is no such table, or no way to read it.

    """
    if not is_database(location):
        path = Path(location)
        if not path.is_file():
            raise ImportTableError(f"there is no file {location}")
        return _read_file(path)
    url, _, table = location.partition("#")
    if not table:
        raise ImportTableError(f"{label(location)} names no table: write {EXAMPLE}")
    try:
        return _read_duckdb(url, table) if url.startswith("duckdb:///") else _read_database(url, table)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        message = (
            f"{label(location)} needs a driver that is not installed ({error}): for PostgreSQL, pip install psycopg2"
        )
        raise ImportTableError(message) from error
    except (SQLAlchemyError, duckdb.Error, pa.ArrowException) as error:
        cause = getattr(error, "orig", None) or error
        raise ImportTableError(f"{label(location)} cannot be read: {cause}") from error


def _read_file(path: Path) -> pa.Table:
    """As the door reads it: what is refused here could not be landed later."""
    _check_commas(path)
    try:
        return read_delivery(_as_text(path), path)
    except ContractViolation as error:
        if error.__cause__ is None:  # the suffix is none that is read
            raise ImportTableError(str(error)) from error
        is_encoding = "utf" in str(error.__cause__).lower()
        hint = f": save it as UTF-8, such as iconv -f latin1 -t utf-8 {path} > utf8.csv" if is_encoding else ""
        raise ImportTableError(f"{path} cannot be read: {error.__cause__}{hint}") from error


def _check_commas(path: Path) -> None:
    """A spreadsheet in half of Europe writes semicolons: read with commas, its columns would be one."""
    with path.open("rb") as file:
        first = file.readline(100_000) if path.suffix == ".csv" else b","
    if b"," not in first and (other := next((each for each in (";", "\t", "|") if each.encode() in first), None)):
        raise ImportTableError(f"{path} separates its columns by {other!r}: save it with commas")


def _as_text(path: Path) -> Contract:
    """A contract that takes every column of a CSV as text; of another format, as it is."""
    try:
        names = csv.open_csv(path).schema.names if path.suffix == ".csv" else []
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        names = []  # reading all of it says why
    return Contract(path.name, "1.0.0", tuple(Field(each, "string", "VARCHAR") for each in dict.fromkeys(names)))


def _read_duckdb(url: str, table: str) -> pa.Table:
    path = Path(url.removeprefix("duckdb:///"))
    if not path.is_file():
        raise ImportTableError(f"there is no file {path}")
    with closing(duckdb.connect(path, read_only=True)) as con:
        return con.table(table).to_arrow_table()


def _read_database(url: str, table: str) -> pa.Table:
    address = sqlalchemy.make_url(url)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
        raise ImportTableError(f"there is no file {address.database}")  # or SQLite would make it
    schema, _, name = table.rpartition(".")
    engine = sqlalchemy.create_engine(address)
    try:
        with engine.connect() as connection:
            source = sqlalchemy.table(name, schema=schema or None)
            result = connection.execute(sqlalchemy.select(sqlalchemy.text("*")).select_from(source))
            names, rows = list(result.keys()), result.all()
    finally:
        engine.dispose()
    return pa.table([_column([row[place] for row in rows]) for place in range(len(names))], names)


def _column(values: list[Any]) -> pa.Array:
    """The values as the type they share, or each as its own text; exact numbers as the nearest that the door takes."""
    values = [float(each) if isinstance(each, Decimal) else each for each in values]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if each is None else str(each) for each in values], pa.string())

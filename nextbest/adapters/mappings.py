"""Data of one's own as a source: a query per contract, `mappings/<contract>.sql`, over what has landed of others.

Belongs here: finding the queries, what each reads, in which order, and running them. Does not belong here: writing a
first draft of them (`nextbest.drafts.mappings`). A query reads what passed the door, never a file: DuckDB runs it
without access to anything else.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.contracts import Contract
from nextbest.errors import NextbestError
from nextbest.settings import Settings

FOLDER: Final = "mappings"
_ROWS: Final = "rows of the query"
_LINE: Final = re.compile(r"LINE (\d+): ")


class MappingError(NextbestError):
    """A query that cannot be used; the message names its file, and the line where DuckDB stumbles."""


class Mappings:
    """Supplies the contracts that `mappings/` of the home has a query for. A file of comments alone is no query."""

    name = "mappings"

    def __init__(self, settings: Settings) -> None:
        """Take the home; nothing is read yet."""
        self._settings = settings
        self._folder = settings.home / FOLDER

    def contracts(self) -> Sequence[str]:
        """Names of the contracts that have a query; what one reads or refers to comes before it.

        Raises:
            MappingError: there is no query, one is of no contract, reads what is none, or they need one another.

        """
        promises = load_contracts(self._settings.folder("contracts"))
        if not self.queries:
            needed = (
                "write customers.sql, products.sql and transactions.sql there, from the templates of `nextbest init`"
            )
            raise MappingError(f"{self._folder} holds no query: {needed}")
        for contract in self.queries:
            for needed in (contract, *self.reads(contract)):
                if needed not in promises:
                    raise MappingError(f"{self._path(contract)}: there is no contract {needed} in data_contracts/")
        needs = {
            contract: {*self.reads(contract), *_referred(promises[contract])} - {contract} for contract in self.queries
        }
        try:
            order = TopologicalSorter(needs).static_order()
            return [contract for contract in order if contract in self.queries]
        except CycleError as error:
            raise MappingError(f"{self._folder}: these need one another: {', '.join(error.args[1])}") from error

    def reads(self, contract: str) -> Sequence[str]:
        """Names of the contracts whose rows the query of `contract` reads."""
        with closing(duckdb.connect()) as con:
            try:
                return sorted(con.get_table_names(self.queries[contract]))
            except duckdb.Error as error:
                raise _explained(self._path(contract), error) from error

    def read(self, contract: str) -> pa.Table:
        """The query's rows, for the door to judge; see `nextbest.source.Source`.

        Raises:
            MappingError: DuckDB refuses the query, or nothing has landed of what it reads.

        """
        door = self._door
        needed = self.reads(contract)
        if missing := [name for name in needed if not door.receipts(name)]:
            said = f"reads {missing[0]}, of which nothing has landed: nextbest ingest {missing[0]} FILE"
            raise MappingError(f"{self._path(contract)} {said}")
        return run(self.queries[contract], {name: door.read(name) for name in needed}, self._path(contract))

    def fingerprint(self, contract: str) -> str:
        """A hash of the query and of the batches that it reads."""
        batches = [receipt.batch_id for name in self.reads(contract) for receipt in self._door.receipts(name)]
        return sha256("\n".join([self.queries[contract], *batches]).encode()).hexdigest()

    @cached_property
    def queries(self) -> Mapping[str, str]:
        """The SQL of each contract that has a query; none without the folder."""
        queries = {path.stem: _text(path) for path in sorted(self._folder.glob("*.sql"))}
        return {contract: sql for contract, sql in queries.items() if self._is_query(contract, sql)}

    def _is_query(self, contract: str, sql: str) -> bool:
        with closing(duckdb.connect()) as con:
            try:
                statements = con.extract_statements(sql)
            except duckdb.Error as error:
                raise _explained(self._path(contract), error) from error
        if len(statements) > 1 or any(each.type != duckdb.StatementType.SELECT for each in statements):
            raise MappingError(f"{self._path(contract)} is no query: it takes one SELECT, and nothing else")
        return bool(statements)

    @property
    def _door(self) -> Door:
        promises = load_contracts(self._settings.folder("contracts"))
        return Door(self._settings.landing, self._settings.quarantine, promises)

    def _path(self, contract: str) -> Path:
        return self._folder / f"{contract}.sql"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MappingError(f"{path} is not UTF-8: {error}") from error


def _referred(contract: Contract) -> set[str]:
    return {field.reference.split(".")[0] for field in contract.fields if field.reference}


def run(sql: str, tables: Mapping[str, pa.Table], path: Path) -> pa.Table:
    """The rows of a query over `tables`, in an order that does not depend on how they were computed.

    Raises:
        MappingError: DuckDB refuses it, said with the file and the line.

    """
    with closing(duckdb.connect()) as con:
        con.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            con.register(name, table)
        con.execute("SET enable_external_access = false")
        con.execute("SET python_enable_replacements = false")
        try:
            con.execute(f'CREATE TEMP TABLE "{_ROWS}" AS {sql}')  # on one line: what DuckDB names is the query's
        except duckdb.Error as error:
            raise _explained(path, error) from error
        return con.table(f'"{_ROWS}"').order("ALL").to_arrow_table()


def _explained(path: Path, error: duckdb.Error) -> MappingError:
    """What DuckDB says of a query, with the file and, where it names one, the line."""
    line = _LINE.search(str(error))
    return MappingError(f"{path}{f':{line[1]}' if line else ''}: {error}")

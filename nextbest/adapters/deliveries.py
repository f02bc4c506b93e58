"""Files that somebody delivers: Parquet, CSV or JSON lines, read into a table without judging a value.

Belongs here: reading each format so that a bad value stays a value of its row, for validation to find. Does not belong
here: casting and rules (`nextbest.casting`, `nextbest.validation`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from nextbest.contracts import Contract
from nextbest.validation import ContractViolation


def read_delivery(contract: Contract, path: Path) -> pa.Table:
    """The rows of a file, by its suffix.

    Raises:
        ContractViolation: the file has no header, is truncated, not UTF-8, of another format or cannot be opened.

    """
    if path.suffix not in _READERS:
        raise ContractViolation(contract.name, "readable", f"{path} is none of {', '.join(_READERS)}")
    try:
        table = _READERS[path.suffix](contract, path)
        _check(table)
    except (pa.ArrowException, OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContractViolation(contract.name, "readable", f"{path} cannot be read: {error}") from error
    return table


def _check(table: pa.Table) -> None:
    """Raise what would stop a later reader of the table: text or a column's name that is not UTF-8, endless nesting."""
    table.validate(full=True)
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if _depth(kind) > _DEEPEST:
            raise pa.ArrowInvalid(f"column {name} nests deeper than {_DEEPEST} lists or objects")


def _depth(kind: pa.DataType) -> int:
    return max((1 + _depth(kind.field(index).type) for index in range(kind.num_fields)), default=0)


def _read_parquet(_: Contract, path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()


def _read_csv(contract: Contract, path: Path) -> pa.Table:
    """Every column of the contract as text, an empty cell as null."""
    texts = dict.fromkeys((field.name for field in contract.fields), pa.string())
    return csv.read_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=texts, strings_can_be_null=True, null_values=[""]),
    )


def _read_json_lines(contract: Contract, path: Path) -> pa.Table:
    """One object a line; a field that no line has is null where the contract allows it."""
    with path.open("rb") as file:
        lines = (_parse_line(number, line) for number, line in enumerate(file, start=1) if line.strip())
        return from_pages(contract, iter(lambda: list(islice(lines, _PAGE)), []))


def from_pages(
    contract: Contract, pages: Iterable[Sequence[Mapping[str, Any]]], *, every_field: bool = False
) -> pa.Table:
    """Rows as JSON has them, of which no more than a page at a time need be in memory as objects of Python.

    A field that no row has is null where the contract allows it; with `every_field` elsewhere too, so that each row is
    rejected for it, and not the delivery.
    """
    optional = [field.name for field in contract.fields if every_field or not field.required]
    names: dict[str, None] = {}
    tables = []
    for rows in pages:
        names |= dict.fromkeys(name for row in rows for name in row)
        tables.append(from_rows(rows, [*names, *optional]))
    if not any(table.num_rows for table in tables):
        return from_rows([], [field.name for field in contract.fields])
    return _joined(tables, [*dict.fromkeys([*names, *optional])])


def _joined(tables: Sequence[pa.Table], names: Sequence[str]) -> pa.Table:
    if len(tables) == 1:
        return tables[0].select(names)
    return pa.table({name: _column_of([_part(table, name) for table in tables]) for name in names})


def _part(table: pa.Table, name: str) -> pa.Table:
    return table.select([name]) if name in table.column_names else pa.table({name: pa.nulls(table.num_rows)})


def _column_of(parts: Sequence[pa.Table]) -> pa.ChunkedArray:
    """The values of all parts as the type they share, or each as its own text."""
    try:
        return pa.concat_tables(parts, promote_options="permissive").column(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.chunked_array([pa.array(_texts(part.column(0).to_pylist()), pa.string()) for part in parts])


def from_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> pa.Table:
    """Rows as JSON has them, in every column that one of them has and in those of `names`."""
    every = dict.fromkeys([*(name for row in rows for name in row), *names])
    return pa.table({name: _column([row.get(name) for row in rows]) for name in every})


def _parse_line(number: int, line: bytes) -> dict[str, Any]:
    try:
        return _object.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"line {number:,}: {error}") from error


def _column(values: list[Any]) -> pa.Array:
    """The values as the type they share, or each as its own text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array(_texts(values), pa.string())


def _texts(values: list[Any]) -> list[str | None]:
    return [v if v is None or isinstance(v, str) else msgspec.json.encode(v).decode() for v in values]


_PAGE: Final = 20_000
_DEEPEST: Final = 50  # Arrow writes no more than 64
_object: Final = msgspec.json.Decoder(dict[str, Any])
_READERS: Final[Mapping[str, Callable[[Contract, Path], pa.Table]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".json": _read_json_lines,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
SUFFIXES: Final = tuple(_READERS)
"""How the names of files end that can be read."""

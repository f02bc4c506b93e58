"""Guessing what a table's columns are: type, required, key, closed list, date format; each guess with its evidence.

A type is guessed by asking the door: it is the narrowest one that holds every value without losing any
(`nextbest.casting`). Belongs here: what can be told from one table's rows and names. Does not belong here: reading the
table (`nextbest.adapters.imports`), what the columns mean to nextbest (`nextbest.roles`), or writing it down
(`nextbest.drafts`).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextbest.casting import can_hold, cast
from nextbest.errors import NextbestError

MOST_VALUES: Final = 20
"""A column with more different values is no closed list."""

_ROWS_PER_VALUE: Final = 20
_LONGEST_VALUE: Final = 60
_KEY_COLUMNS: Final = 3
_KEY_CANDIDATES: Final = 12
_SAMPLE: Final = 5_000
_TYPES: Final[Mapping[str, pa.DataType]] = {
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
}
_TIME_FORMATS: Final = tuple(
    f"{day}{time}"
    for time in (" %H:%M", " %H:%M:%S", "", " %I:%M %p")
    for day in ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%m/%d/%y", "%d/%m/%y")
)
_YEARS: Final = range(1900, 2100)
_LEADING_ZERO: Final = r"^-?0\d"
_TOO_LONG: Final = r"^-?\d{16}"  # more digits than a DOUBLE keeps
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# fmt: off
_ID_WORDS: Final = frozenset((
    "id", "ids", "no", "nr", "num", "number", "code", "key", "sku", "ean", "upc", "isbn", "uuid", "guid", "line",
    "customerid", "productid", "orderid", "invoiceno", "stockcode",
))
_PERSONAL_WORDS: Final = frozenset((
    "email", "mail", "phone", "mobile", "telephone", "firstname", "lastname", "surname", "forename", "address",
    "street", "birth", "birthday", "birthdate", "dob", "iban", "ssn", "passport",
))
# fmt: on


class GuessError(NextbestError):
    """A table that no contract can be guessed from; the message names the column."""


class Guess(msgspec.Struct, frozen=True):
    """What one column seems to be.

    `values` is a closed list, if it seems to be one; `time_format` that of a text that is a date, for strptime;
    `evidence` says in words what each guess rests on.
    """

    name: str
    physical_type: str
    required: bool = False
    key: bool = False
    is_personal: bool = False
    values: tuple[str, ...] = ()
    minimum: int | None = None
    time_format: str | None = None
    is_whole: bool = False
    evidence: tuple[str, ...] = ()


class Guesses(msgspec.Struct, frozen=True):
    """What a table seems to be: its columns, its number of rows, what was left out and why."""

    rows: int
    columns: tuple[Guess, ...]
    left_out: tuple[str, ...] = ()
    key_evidence: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.columns if each.key)


def words(name: str) -> list[str]:
    """The words of a column's name, in lower case.

    >>> words("InvoiceNo"), words("Customer ID"), words("unit_price")
    (['invoice', 'no'], ['customer', 'id'], ['unit', 'price'])
    """
    return [word.lower() for word in _WORD.findall(name)]


def guess(table: pa.Table) -> Guesses:
    """Guess what every column of `table` is; text is text of a CSV, whose numbers and times are to be found.

    Raises:
        GuessError: two columns have one name, or there is no column with a name and a type the door takes.

    """
    names = table.column_names
    table = pa.table([_decoded(column) for column in table.columns], names)
    same = Counter(name.lower() for name in names if name)
    if doubled := sorted({name for name in names if same[name.lower()] > 1}):
        raise GuessError(f"the column {doubled[0]!r} occurs more than once (capitals make no difference): rename one")
    usable = {name: kind for name in names if name and (kind := _type(table[name]))}
    left_out = [f"{name!r} ({table.schema.field(name).type})" for name in names if name and name not in usable]
    left_out += [f"column {place} without a name" for place, name in enumerate(names, 1) if not name]
    if not usable:
        raise GuessError("it has no column with a name and a type that can land")
    typed = {name: cast(table[name], _TYPES[kind])[0] for name, kind in usable.items()}
    columns = [_column(name, kind, table[name], typed[name]) for name, kind in usable.items()]
    key, evidence = _key(columns, typed, table.num_rows)
    return Guesses(
        table.num_rows,
        tuple(msgspec.structs.replace(each, key=each.name in key) for each in columns),
        tuple(left_out),
        evidence,
    )


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _type(column: pa.ChunkedArray) -> str | None:
    """The narrowest type that holds every value; else the one that loses least; None where none may stand for it."""
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return "VARCHAR" if can_hold(column.type, pa.string()) else _first_that_may(column.type)
    lost = {}
    for kind, target in _TYPES.items():
        if not can_hold(column.type, target) or (_is_text(column) and not _may_spell(kind, column)):
            continue
        lost[kind] = pc.sum(cast(column, target)[1]).as_py() or 0
        if not lost[kind]:
            return kind
    return min(lost, key=lost.__getitem__, default=None)


def _first_that_may(kind: pa.DataType) -> str | None:
    return next((name for name, target in _TYPES.items() if can_hold(kind, target)), None)


def _is_text(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _may_spell(kind: str, texts: pa.ChunkedArray) -> bool:
    """Whether a type keeps what is written: no leading zero, no digits lost; 0 and 1 are numbers before truths."""
    if kind in {"BIGINT", "DOUBLE"} and _any_match(texts, _LEADING_ZERO):
        return False
    if kind == "DOUBLE":
        return not _any_match(texts, _TOO_LONG)
    return kind != "BOOLEAN" or not _any_match(texts, "^[01]$")


def _any_match(texts: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _column(name: str, kind: str, raw: pa.ChunkedArray, typed: pa.ChunkedArray) -> Guess:
    rows, filled = len(raw), len(raw) - raw.null_count
    if kind == "BIGINT" and is_id(name) and can_hold(raw.type, pa.string()):
        kind, typed = "VARCHAR", cast(raw, pa.string())[0]
    required = rows > 0 and filled == rows
    evidence = [f"filled in {filled:,} of {rows:,} rows"]
    if lost := filled - (rows - typed.null_count):
        evidence.append(f"{lost:,} values are none: their rows will be turned away")
    values = _values(name, kind, typed)
    time_format, also = _time_format(typed) if kind == "VARCHAR" and not values else (None, None)
    if time_format:
        evidence.append(f"a time as {time_format}" + (f", or as {also}: which?" if also else ""))
    minimum, seen = _range(name, kind, typed)
    evidence += seen
    if values:
        evidence.append(f"{len(values)} different values")
    is_personal = not _PERSONAL_WORDS.isdisjoint([*words(name), "".join(words(name))])
    return Guess(
        name=name,
        physical_type=kind,
        required=required,
        is_personal=is_personal,
        values=() if is_personal else values,
        minimum=minimum,
        time_format=time_format,
        is_whole=kind == "DOUBLE"
        and filled > 0
        and not lost
        and bool(pc.all(pc.equal(pc.floor(typed), typed)).as_py()),
        evidence=tuple(evidence),
    )


def is_id(name: str) -> bool:
    """Whether a name is that of an identifier, which stays text however its values look."""
    return not _ID_WORDS.isdisjoint([*words(name), "".join(words(name))])


def _values(name: str, kind: str, typed: pa.ChunkedArray) -> tuple[str, ...]:
    """The different values, sorted, where they are few and each comes often."""
    if kind != "VARCHAR" or is_id(name):
        return ()
    counted = pc.value_counts(typed.drop_null())
    values = sorted(counted.field("values").to_pylist()) if len(counted) <= MOST_VALUES else []
    often = len(values) * _ROWS_PER_VALUE <= len(typed)
    return tuple(values) if often and all(len(value) <= _LONGEST_VALUE for value in values) else ()


def _time_format(texts: pa.ChunkedArray) -> tuple[str | None, str | None]:
    """The format that every text has, and another that every one has too, where days and months cannot be told."""
    present = texts.drop_null()
    if not len(present):
        return None, None
    found = [form for form in _TIME_FORMATS if _all_parse(present[:1], form) and _all_parse(present, form)]
    return (found[0], found[1] if len(found) > 1 else None) if found else (None, None)


def _all_parse(texts: pa.ChunkedArray, form: str) -> bool:
    times = pc.strptime(texts, format=form, unit="s", error_is_null=True)
    if times.null_count:
        return False
    years = pc.min_max(pc.year(times)).as_py()
    return years["min"] in _YEARS and years["max"] in _YEARS


def _range(name: str, kind: str, typed: pa.ChunkedArray) -> tuple[int | None, list[str]]:
    """A least value of 0 where no number is below it; the greatest of today is no bound of tomorrow's."""
    if kind not in {"BIGINT", "DOUBLE"} or typed.null_count == len(typed):
        return None, []
    ends: dict[str, Any] = pc.min_max(typed).as_py()
    return 0 if ends["min"] >= 0 and not is_id(name) else None, [f"from {ends['min']:,} to {ends['max']:,}"]


def _key(columns: Sequence[Guess], typed: Mapping[str, pa.ChunkedArray], rows: int) -> tuple[tuple[str, ...], str]:
    """The smallest set of columns that tells each row from the others, identifiers first; none of fewer than 2 rows."""
    if rows < 2:  # noqa: PLR2004  one row proves nothing
        return (), ""
    able = sorted(
        (c for c in columns if c.required and _may_be_key(c)), key=lambda c: (not is_id(c.name), c.is_personal)
    )
    codes = {c.name: _codes(typed[c.name]) for c in able}
    for names in _candidates(able):
        if _is_unique([codes[name][:_SAMPLE] for name in names]) and _is_unique([codes[name] for name in names]):
            return names, f"unique in {rows:,} of {rows:,} rows"
    return (), f"no set of up to {_KEY_COLUMNS} columns is unique in {rows:,} rows"


def _may_be_key(column: Guess) -> bool:
    """Whether a value can name something: a measure, a yes or no and a long text do not."""
    return column.physical_type == "VARCHAR" or is_id(column.name)


def _candidates(able: Sequence[Guess]) -> Iterator[tuple[str, ...]]:
    """Single columns, then sets of those that are identifiers or times: a text that happens to differ is no key."""
    yield from ((each.name,) for each in able)
    parts = [each.name for each in able if is_id(each.name) or each.time_format][:_KEY_CANDIDATES]
    for size in range(2, _KEY_COLUMNS + 1):
        yield from combinations(parts, size)


def _codes(values: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    codes: np.ndarray[Any, np.dtype[np.int64]] = (
        values.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    )
    return codes


def _is_unique(codes: Sequence[np.ndarray[Any, np.dtype[np.int64]]]) -> bool:
    combined = codes[0]
    for each in codes[1:]:
        combined = np.unique(combined, return_inverse=True)[1] * (int(each.max()) + 1) + each
    return len(np.unique(combined)) == len(combined)
